// SPDX-License-Identifier: BSD-2-Clause
//
// A host with two modules behind the proxy: one that is hostile in a way that the test chooses, and
// its neighbour, which is the same module without a plan. What the product logs is kept for a look.
#pragma once

#include "tests/integration/fixture.h"

namespace bulkhead::hostile {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

using test::CapturedLog;
using test::SANITIZED;

class Rig {
 public:
  explicit Rig(const char* level = "debug")
      : evil_("h" + std::to_string(::getpid()) + "-a"),
        good_("h" + std::to_string(::getpid()) + "-b"),
        log_(setup_.path("log")),
        level_("BULKHEAD_LOG", level) {}

  /// The plan of the hostile module, and further lines of its policy: of [Worker], and whole
  /// sections.
  void configure(const std::string& plan, const std::string& worker = {},
                 const std::string& sections = {}) {
    setup_.addModule(evil_, module());
    setup_.addDropIn(evil_, "[Worker]\nEnvironment=HOSTILE=" + plan + "\n" + worker + "\n" +
                                (sections.empty() ? "[Limits]\nMemoryMax=512M\n" : sections));
  }
  void addNeighbour() { setup_.addModule(good_, copy("good.so")); }
  /// A file of its own: the same file under two names would be one module.
  std::string copy(const std::string& name) {
    std::filesystem::copy_file(module(), setup_.path(name));
    return setup_.path(name);
  }

  CK_RV initialize() {
    f_ = library().functions();
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    CK_RV rv = f_->C_Initialize(&args);
    active_ = rv == CKR_OK;
    return rv;
  }
  CK_RV finalize() {
    active_ = false;
    return f_->C_Finalize(nullptr);
  }
  ~Rig() {
    if (active_) (void)f_->C_Finalize(nullptr);
  }

  CK_FUNCTION_LIST* operator->() const { return f_; }
  CK_FUNCTION_LIST* functions() const { return f_; }
  test::Configuration& setup() { return setup_; }
  const std::string& evil() const { return evil_; }
  const std::string& good() const { return good_; }
  std::string log() const { return log_.text(); }
  bool logs(const std::string& text) const {
    return test::eventually([&] { return log().find(text) != std::string::npos; });
  }

  /// The slots of both, by the order of their names; of a module that has none 0.
  CK_SLOT_ID evilSlot() const { return test::slots(f_).front(); }
  CK_SLOT_ID goodSlot() const { return test::slots(f_).back(); }

  CK_SESSION_HANDLE open(CK_SLOT_ID slot) const {
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
    EXPECT_EQ(f_->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_OK);
    return session;
  }
  /// Whether a session does what it should.
  CK_RV digest(CK_SESSION_HANDLE session, const std::string& text = "hello") const {
    CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
    CK_RV rv = f_->C_DigestInit(session, &mechanism);
    if (rv != CKR_OK) return rv;
    std::string in = text, out(text.size() + 16, '\0');
    CK_ULONG size = out.size();
    rv = f_->C_Digest(session, reinterpret_cast<CK_BYTE*>(in.data()), in.size(),
                      reinterpret_cast<CK_BYTE*>(out.data()), &size);
    if (rv == CKR_OK && (size != text.size() || out.compare(0, size, text) != 0))
      return CKR_GENERAL_ERROR;
    return rv;
  }
  /// What C_GenerateRandom answers, as text.
  CK_RV random(CK_SESSION_HANDLE session, std::string& text) const {
    std::string buffer(16384, '\0');
    CK_RV rv =
        f_->C_GenerateRandom(session, reinterpret_cast<CK_BYTE*>(buffer.data()), buffer.size());
    text = buffer.c_str();
    return rv;
  }

  static test::Library& library() {
    static test::Library proxy;
    return proxy;
  }
  static std::string module() {
    const char* path = ::getenv("HOSTILE_MODULE");
    return path == nullptr ? "" : path;
  }

 private:
  test::Configuration setup_;
  std::string evil_, good_;
  CapturedLog log_;
  test::Variable level_;
  CK_FUNCTION_LIST* f_ = nullptr;
  bool active_ = false;
};

/// Waits until so many threads of a process, this one, are asleep in a system call; false when that
/// never is.
inline bool areAsleepIn(long call, std::size_t threads, pid_t pid = ::getpid()) {
  std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  return test::eventually([=] {
    std::size_t waiting = 0;
    for (auto& thread : std::filesystem::directory_iterator(tasks)) {
      std::ifstream file(thread.path() / "syscall");
      long number = -1;
      waiting += file >> number && number == call;
    }
    return waiting >= threads;
  });
}

/// Until they wait for the replies to their calls.
inline bool areInCalls(std::size_t threads) {
  return areAsleepIn(SYS_ppoll, threads);
}

/// Runs `body` in a process of its own; what it returns is the exit status. One that hangs is ended
/// by SIGALRM: 1014.
inline int inChild(const std::function<int()>& body) {
  std::fflush(nullptr);
  pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(240);
    int status = 99;
    try {
      status = body();
    } catch (const std::exception& e) {
      std::printf("%s\n", e.what());
    }
    std::fflush(nullptr);
    ::_exit(status);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/// How long something took.
template <typename Thing>
milliseconds timeOf(Thing&& thing) {
  auto start = Clock::now();
  thing();
  return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

/// A call in which the hostile module goes wrong costs its consumer one error code and the worker's
/// sessions, and returns `within` that time: the next one has a new worker, and the neighbour
/// notices nothing.
inline void expectOneErrorCode(Rig& rig, milliseconds within) {
  ASSERT_EQ(rig.initialize(), CKR_OK);
  auto before = test::slots(rig.functions());
  ASSERT_EQ(before.size(), 2U);
  CK_SESSION_HANDLE session = rig.open(before[0]), other = rig.open(before[0]);
  CK_SESSION_HANDLE neighbour = rig.open(before[1]);
  pid_t worker = test::workerOf(rig.evil());
  ASSERT_GT(worker, 0);

  std::string text;
  CK_RV rv = CKR_OK;
  EXPECT_LT(timeOf([&] { rv = rig.random(session, text); }), within);
  EXPECT_EQ(rv, CKR_DEVICE_REMOVED);

  EXPECT_EQ(rig.digest(session), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(rig.digest(other), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(rig->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(test::slots(rig.functions()), before);
  EXPECT_TRUE(test::eventually([&] { return !test::alive(worker); }));
  EXPECT_EQ(rig.digest(neighbour), CKR_OK);

  // A worker that is new, and as good as the first one was.
  CK_SESSION_HANDLE fresh = rig.open(before[0]);
  EXPECT_NE(fresh, session);
  EXPECT_EQ(rig.digest(fresh), CKR_OK);
  EXPECT_NE(test::workerOf(rig.evil()), worker);
  EXPECT_EQ(rig.digest(neighbour), CKR_OK);
}

}  // namespace bulkhead::hostile
