// SPDX-License-Identifier: BSD-2-Clause
//
// What tests of the whole product share: a private directory with modules, policies and tokens; the
// proxy, or a module itself, loaded as any application loads it; and a look at this process and at
// its workers from outside.
//
// A test says in one Configuration what is configured, and holds it for as long as the product is
// in use.
#pragma once

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ipc/pkcs11.h"

namespace bulkhead::test {

inline constexpr const char* SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so";
inline constexpr const char* P11_KIT_TRUST = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-trust.so";
inline constexpr const char* OPENSC = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so";
inline constexpr const char* NSS_SOFTOKN = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so";

/// Whether this is built with a sanitizer that has memory and stacks of its own.
#ifdef BULKHEAD_SANITIZED
inline constexpr bool SANITIZED = true;
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool HEAP_IS_CHECKED = true;
#elif defined(__has_feature)
inline constexpr bool HEAP_IS_CHECKED = __has_feature(address_sanitizer);
#else
inline constexpr bool HEAP_IS_CHECKED = false;
#endif
#else
inline constexpr bool SANITIZED = false;
inline constexpr bool HEAP_IS_CHECKED = true;
#endif

/// Leaves the test, with the reason, where the machine has no such file.
#define BULKHEAD_NEEDS(path)                                               \
  do {                                                                     \
    if (::access(path, R_OK) != 0) GTEST_SKIP() << path << " is not here"; \
  } while (0)

/// The proxy under test.
inline std::string proxyPath() {
  const char* path = ::getenv("BULKHEAD_PROXY");
  return path == nullptr ? "libbulkhead.so.0" : path;
}

inline std::string readFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// An environment variable for a while. Not while another thread uses the environment.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    if (const char* before = ::getenv(name_.c_str())) before_ = before;
    ::setenv(name_.c_str(), value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() {
    if (before_)
      ::setenv(name_.c_str(), before_->c_str(), 1);
    else
      ::unsetenv(name_.c_str());
  }

 private:
  std::string name_;
  std::optional<std::string> before_;
};

/// The file descriptor 2 of this process, and of what it starts, in a file for a while.
class CapturedLog {
 public:
  explicit CapturedLog(std::string path) : path_(std::move(path)) {
    kept_ = ::fcntl(2, F_DUPFD_CLOEXEC, 3);
    int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)::dup2(file, 2);
    ::close(file);
  }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  ~CapturedLog() {
    (void)::dup2(kept_, 2);
    ::close(kept_);
  }
  std::string text() const { return readFile(path_); }

 private:
  std::string path_;
  int kept_;
};

/// A directory of this user's alone, gone with all that is in it at the end.
class Directory {
 public:
  Directory() {
    const char* base = ::getenv("TMPDIR");
    std::string pattern = std::string(base == nullptr ? "/tmp" : base) + "/bulkhead-test.XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    path_ = std::filesystem::canonical(pattern);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  /// The directory, or a path in it.
  std::string path(std::string_view name = {}) const {
    return name.empty() ? path_ : path_ + "/" + std::string(name);
  }
  /// Makes a directory in it, with those above.
  std::string makeDirectory(std::string_view name) const {
    std::filesystem::create_directories(path(name));
    for (std::filesystem::path p = path(name); p.string().size() > path_.size();
         p = p.parent_path())
      std::filesystem::permissions(p, std::filesystem::perms(0700));
    return path(name);
  }
  /// Writes a file in it, with the directories above, readable and writable by its owner alone.
  std::string write(std::string_view name, std::string_view text) const {
    makeDirectory(std::filesystem::path(name).parent_path().string());
    std::ofstream(path(name), std::ios::binary) << text;
    std::filesystem::permissions(path(name), std::filesystem::perms(0600));
    return path(name);
  }

 private:
  std::string path_;
};

/// A configuration of its own: BULKHEAD_MODULES and BULKHEAD_POLICIES point into a private
/// directory, the shipped policies behind it.
class Configuration {
 public:
  Configuration()
      : modules_("BULKHEAD_MODULES", directory_.makeDirectory("modules")),
        policies_("BULKHEAD_POLICIES", directory_.makeDirectory("policies") + behind()) {}

  const Directory& directory() const { return directory_; }
  std::string path(std::string_view name = {}) const { return directory_.path(name); }

  /// NAME.module; `more` is further lines.
  void addModule(const std::string& name, const std::string& module, const std::string& more = {}) {
    directory_.write("modules/" + name + ".module", "module: " + module + "\n" + more);
  }
  void removeModule(const std::string& name) {
    std::filesystem::remove(path("modules/" + name + ".module"));
  }
  /// A drop-in to the policy that module NAME gets anyway.
  void addDropIn(const std::string& name, const std::string& text) {
    directory_.write("policies/" + name + ".policy.d/test.conf", text);
  }
  /// A policy of its own for module NAME.
  void addPolicy(const std::string& name, const std::string& text) {
    directory_.write("policies/" + name + ".policy", text);
  }
  /// SoftHSM2 without tokens: SOFTHSM2_CONF for whoever loads it here, and the module NAME.
  void addSoftHsm(const std::string& name = "softhsm2", const std::string& more = {}) {
    std::string tokens = directory_.makeDirectory("tokens");
    std::string conf = directory_.write("softhsm2.conf", "directories.tokendir = " + tokens +
                                                             "\nobjectstore.backend = file\n"
                                                             "log.level = ERROR\n");
    softHsm_.emplace("SOFTHSM2_CONF", conf);
    addModule(name, SOFTHSM, more);
    addDropIn(name, "[Filesystem]\nReadWritePaths=" + tokens + "\nReadOnlyPaths=" + conf + "\n");
  }

 private:
  static std::string behind() {
    const char* shipped = ::getenv("BULKHEAD_POLICIES");
    return shipped == nullptr ? "" : ":" + std::string(shipped);
  }

  Directory directory_;
  Variable modules_;
  Variable policies_;
  std::optional<Variable> softHsm_;
};

/// A PKCS#11 module in this process: the proxy, or another to compare with. Stays loaded when it is
/// not to be unloaded; otherwise it goes with this.
class Library {
 public:
  explicit Library(const std::string& path = proxyPath())
      : handle_(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (handle_ == nullptr) throw std::runtime_error(::dlerror());
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() { ::dlclose(handle_); }

  template <typename Function>
  Function symbol(const char* name) const {
    return reinterpret_cast<Function>(::dlsym(handle_, name));
  }

  /// What C_GetFunctionList answers; of the proxy, another consumer each time.
  CK_FUNCTION_LIST* functions() const {
    auto get = symbol<CK_RV (*)(CK_FUNCTION_LIST_PTR_PTR)>("C_GetFunctionList");
    CK_FUNCTION_LIST* list = nullptr;
    if (get == nullptr || get(&list) != CKR_OK) throw std::runtime_error("C_GetFunctionList");
    return list;
  }

 private:
  void* handle_;
};

/// C_Initialize with the operating system's locks, and C_Finalize.
class Initialized {
 public:
  explicit Initialized(CK_FUNCTION_LIST* f) : f_(f) {
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    rv_ = f_->C_Initialize(&args);
    EXPECT_EQ(rv_, CKR_OK);
  }
  Initialized(const Initialized&) = delete;
  Initialized& operator=(const Initialized&) = delete;
  ~Initialized() { finalize(); }
  void finalize() {
    if (rv_ != CKR_OK) return;
    EXPECT_EQ(f_->C_Finalize(nullptr), CKR_OK);
    rv_ = CKR_CRYPTOKI_NOT_INITIALIZED;
  }
  CK_FUNCTION_LIST* operator->() const { return f_; }

 private:
  CK_FUNCTION_LIST* f_;
  CK_RV rv_;
};

/// A session, closed at the end.
class Session {
 public:
  Session(CK_FUNCTION_LIST* f, CK_SLOT_ID slot,
          CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION)
      : f_(f), rv_(f->C_OpenSession(slot, flags, nullptr, nullptr, &handle_)) {
    EXPECT_EQ(rv_, CKR_OK) << "C_OpenSession on slot " << slot;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() {
    if (rv_ == CKR_OK) (void)f_->C_CloseSession(handle_);
  }
  CK_RV login(const std::string& pin, CK_USER_TYPE user = CKU_USER) const {
    std::string copy = pin;
    return f_->C_Login(handle_, user, reinterpret_cast<CK_UTF8CHAR*>(copy.data()), copy.size());
  }
  CK_SESSION_HANDLE handle() const { return handle_; }
  operator CK_SESSION_HANDLE() const { return handle_; }

 private:
  CK_FUNCTION_LIST* f_;
  CK_SESSION_HANDLE handle_ = CK_INVALID_HANDLE;
  CK_RV rv_;
};

inline std::vector<CK_SLOT_ID> slots(CK_FUNCTION_LIST* f, bool tokenPresent = false) {
  std::vector<CK_SLOT_ID> ids(64);
  CK_ULONG count = ids.size();
  CK_RV rv = f->C_GetSlotList(tokenPresent ? CK_TRUE : CK_FALSE, ids.data(), &count);
  EXPECT_EQ(rv, CKR_OK);
  ids.resize(rv == CKR_OK ? count : 0);
  return ids;
}

/// A field of a structure without the blanks that pad it.
template <typename Character, std::size_t N>
std::string field(const Character (&text)[N]) {
  std::string s(reinterpret_cast<const char*>(text), N);
  auto end = s.find_last_not_of(std::string_view(" \0", 2));
  return end == std::string::npos ? std::string() : s.substr(0, end + 1);
}

/// The slot with the initialised token of that label.
inline std::optional<CK_SLOT_ID> slotOf(CK_FUNCTION_LIST* f, const std::string& label) {
  for (CK_SLOT_ID slot : slots(f, true)) {
    CK_TOKEN_INFO info{};
    if (f->C_GetTokenInfo(slot, &info) == CKR_OK && field(info.label) == label) return slot;
  }
  return std::nullopt;
}

inline constexpr const char* SO_PIN = "12345678";
inline constexpr const char* USER_PIN = "1234";

/// Makes a token in the first slot that has an uninitialised one, through any module that is
/// initialised. With SoftHSM2 the slot gets its final number at the next C_Initialize.
inline void makeToken(CK_FUNCTION_LIST* f, const std::string& label,
                      const std::string& soPin = SO_PIN, const std::string& userPin = USER_PIN) {
  std::string so = soPin, user = userPin, padded = label;
  padded.resize(32, ' ');
  for (CK_SLOT_ID slot : slots(f, true)) {
    CK_TOKEN_INFO info{};
    if (f->C_GetTokenInfo(slot, &info) != CKR_OK || (info.flags & CKF_TOKEN_INITIALIZED) != 0)
      continue;
    ASSERT_EQ(f->C_InitToken(slot, reinterpret_cast<CK_UTF8CHAR*>(so.data()), so.size(),
                             reinterpret_cast<CK_UTF8CHAR*>(padded.data())),
              CKR_OK);
    Session session(f, slot);
    ASSERT_EQ(session.login(so, CKU_SO), CKR_OK);
    ASSERT_EQ(f->C_InitPIN(session, reinterpret_cast<CK_UTF8CHAR*>(user.data()), user.size()),
              CKR_OK);
    ASSERT_EQ(f->C_Logout(session), CKR_OK);
    return;
  }
  FAIL() << "no slot has an uninitialised token";
}

/// Makes SoftHSM2 tokens directly, with the module in this process; needs
/// Configuration::addSoftHsm().
inline void makeSoftHsmTokens(const std::vector<std::string>& labels) {
  Library direct(SOFTHSM);
  for (const std::string& label : labels) {
    Initialized module(direct.functions());
    makeToken(direct.functions(), label);
  }
}

// ---- this process and its workers, from outside ----

/// The open descriptors of this process and what they are.
inline std::map<int, std::string> descriptors() {
  std::map<int, std::string> open;
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return open;
  while (dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    int fd = ::atoi(entry->d_name);
    if (fd == ::dirfd(directory)) continue;
    char target[4096];
    ssize_t n = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target);
    open[fd] = n < 0 ? "?" : std::string(target, static_cast<std::size_t>(n));
  }
  ::closedir(directory);
  return open;
}

/// The value of a line "NAME:\tvalue" of a file in /proc.
inline std::string procField(const std::string& file, const std::string& name) {
  std::istringstream in(readFile(file));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":")) {
      auto at = line.find_first_not_of(" \t", name.size() + 1);
      return at == std::string::npos ? "" : line.substr(at);
    }
  return {};
}

/// Whether the process runs: one that only waits for its parent to notice does not.
inline bool alive(pid_t pid) {
  std::string state = procField("/proc/" + std::to_string(pid) + "/status", "State");
  return !state.empty() && state[0] != 'Z' && state[0] != 'X';
}

/// Waits until something holds; false when it does not for very long.
inline bool eventually(const std::function<bool()>& holds) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

/// Whether all threads of a process are in a state of those that /proc knows: 'S' asleep, 'T'
/// stopped.
inline bool allThreadsAre(pid_t pid, char state) {
  std::error_code gone;
  for (auto& thread :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", gone))
    if (!procField(thread.path().string() + "/status", "State").starts_with(state)) return false;
  return !gone;
}

/// Stops a process, and returns when all its threads stand still; false when they don't.
inline bool stop(pid_t pid) {
  return ::kill(pid, SIGSTOP) == 0 && eventually([pid] { return allThreadsAre(pid, 'T'); });
}

/// The supervisors that this process has, by the pidfds it holds on them.
inline std::vector<pid_t> supervisors() {
  std::set<pid_t> pids;
  for (auto& [fd, what] : descriptors()) {
    if (what.find("pidfd") == std::string::npos) continue;
    std::string pid = procField("/proc/self/fdinfo/" + std::to_string(fd), "Pid");
    if (::atoi(pid.c_str()) > 0) pids.insert(::atoi(pid.c_str()));
  }
  return {pids.begin(), pids.end()};
}

/// The processes with that parent.
inline std::vector<pid_t> childrenOf(pid_t parent) {
  std::vector<pid_t> found;
  for (auto& entry : std::filesystem::directory_iterator("/proc")) {
    pid_t pid = ::atoi(entry.path().filename().c_str());
    if (pid > 0 && procField(entry.path().string() + "/status", "PPid") == std::to_string(parent))
      found.push_back(pid);
  }
  return found;
}

/// The worker of module NAME that this process uses; -1 when there is none. One that is dead and
/// not yet buried is none.
inline pid_t workerOf(const std::string& name) {
  std::string comm = ("bh:" + name).substr(0, 15) + "\n";
  for (pid_t supervisor : supervisors())
    for (pid_t pid : childrenOf(supervisor))
      if (alive(pid) && readFile("/proc/" + std::to_string(pid) + "/comm") == comm) return pid;
  return -1;
}

/// Kills the worker of module NAME and waits until it is dead; false when there is none.
inline bool killWorker(const std::string& name) {
  // -1 would be everybody.
  pid_t pid = workerOf(name);
  if (pid <= 1 || ::kill(pid, SIGKILL) != 0) return false;
  return eventually([&] { return !alive(pid); });
}

/// All supervisors and workers of this process.
inline std::vector<pid_t> processes() {
  std::vector<pid_t> all = supervisors();
  for (pid_t supervisor : supervisors())
    for (pid_t pid : childrenOf(supervisor)) all.push_back(pid);
  return all;
}

/// How many threads this process has.
inline std::size_t threads() {
  std::size_t n = 0;
  for ([[maybe_unused]] auto& entry : std::filesystem::directory_iterator("/proc/self/task")) ++n;
  return n;
}

}  // namespace bulkhead::test
