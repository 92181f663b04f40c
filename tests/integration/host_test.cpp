// SPDX-License-Identifier: BSD-2-Clause
//
// What the process that loads the proxy gets to notice of it: nothing that it did not ask for. And
// what its workers get to see of the machine: little.
#include <errno.h>
#include <locale.h>
#include <sched.h>

#include <algorithm>
#include <atomic>

#include "ipc/descriptor.h"
#include "tests/integration/fixture.h"

namespace bulkhead::test {
namespace {

std::string outputOf(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  std::string out;
  char buffer[4096];
  std::size_t n;
  while ((n = std::fread(buffer, 1, sizeof buffer, pipe.get())) > 0) out.append(buffer, n);
  return out;
}

// Runs `check` in a forked child, which passes when no expectation in it failed.
void inChild(const std::function<void()>& check) {
  std::fflush(nullptr);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    check();
    std::fflush(nullptr);
    ::_exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

std::atomic<int> childSignals{0};

// SIGCHLDs that this process gets.
class ChildSignals {
 public:
  ChildSignals() {
    childSignals = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { ++childSignals; };
    ::sigaction(SIGCHLD, &action, &before_);
  }
  ChildSignals(const ChildSignals&) = delete;
  ChildSignals& operator=(const ChildSignals&) = delete;
  ~ChildSignals() { ::sigaction(SIGCHLD, &before_, nullptr); }
  int count() const { return childSignals; }

 private:
  struct sigaction before_ {};
};

bool hasNoChild() {
  int status;
  return ::waitpid(-1, &status, WNOHANG | __WALL) == -1 && errno == ECHILD;
}

class Host : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    configuration.addSoftHsm();
    configuration.addModule("slow", BULKHEAD_SLOW_MODULE);
    library.emplace();
    f = library->functions();
  }
  void openSessions() {
    unsigned opened = 0;
    for (CK_SLOT_ID slot : slots(f)) {
      CK_SESSION_HANDLE session;
      // One has no token.
      if (f->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session) == CKR_OK) {
        ++opened;
        EXPECT_EQ(f->C_CloseSession(session), CKR_OK);
      }
    }
    EXPECT_EQ(opened, 1u);
  }

  Configuration configuration;
  std::optional<Library> library;
  CK_FUNCTION_LIST* f = nullptr;
};

TEST_F(Host, seesNoChild) {
  ASSERT_TRUE(hasNoChild());
  ChildSignals signals;
  {
    Initialized initialized(f);
    EXPECT_TRUE(hasNoChild());
    openSessions();
    EXPECT_TRUE(hasNoChild());
    ASSERT_TRUE(killWorker("slow"));
    EXPECT_TRUE(hasNoChild());
    openSessions();
    EXPECT_NE(workerOf("slow"), -1);
    EXPECT_TRUE(hasNoChild());
  }
  EXPECT_TRUE(hasNoChild());
  EXPECT_EQ(signals.count(), 0);
}

// A host with a thread that reaps whatever there is, as init systems and browsers have one.
TEST_F(Host, hasNothingToReapWhileWorkersStart) {
  std::atomic<bool> done{false};
  std::atomic<int> reaped{0};
  std::thread reaper([&] {
    while (!done) {
      if (::waitpid(-1, nullptr, WNOHANG) > 0) ++reaped;
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 3; ++i) Initialized initialized(f);
  done = true;
  reaper.join();
  EXPECT_EQ(reaped.load(), 0);
}

TEST_F(Host, hasNoDescriptorThatOthersGet) {
  auto before = descriptors();
  Initialized initialized(f);
  openSessions();
  std::size_t ours = 0;
  for (auto& [fd, what] : descriptors()) {
    if (before.count(fd) != 0) continue;
    ++ours;
    EXPECT_GE(fd, 3) << what;
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << fd << " " << what;
  }
  EXPECT_GT(ours, 0u);
}

TEST_F(Host, hasNoDescriptorBelowThreeEvenIfTheyAreFree) {
  inChild([&] {
    Descriptor kept(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10));
    for (int fd : {0, 1, 2}) ::close(fd);
    {
      Initialized initialized(f);
      openSessions();
      for (int fd : {0, 1, 2}) EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << fd;
      EXPECT_GT(workerOf("slow"), 0);
    }
    for (int fd : {0, 1, 2}) EXPECT_EQ(::fcntl(fd, F_GETFD), -1) << fd;
    // For what the expectations have to say.
    for (int fd : {0, 1, 2}) ::dup2(kept.get(), fd);
  });
}

TEST_F(Host, hasNoThreadOfTheProxy) {
  std::size_t before = threads();
  Initialized initialized(f);
  openSessions();
  EXPECT_GE(supervisors().size(), 2u);
  EXPECT_EQ(threads(), before);
}

TEST_F(Host, keepsNothingAfterFinalize) {
  auto before = descriptors();
  std::vector<pid_t> all;
  {
    Initialized initialized(f);
    openSessions();
    all = processes();
    EXPECT_EQ(all.size(), 4u);
    for (pid_t pid : all) EXPECT_TRUE(alive(pid));
  }
  for (pid_t pid : all) EXPECT_FALSE(alive(pid)) << pid;
  EXPECT_EQ(descriptors(), before);
}

TEST_F(Host, leavesAChildThatStartsAnewNothingOfItsOwn) {
  auto before = descriptors();
  Initialized initialized(f);
  openSessions();
  inChild([&] {
    EXPECT_GT(descriptors().size(), before.size());
    EXPECT_EQ(f->C_Initialize(nullptr), CKR_OK);
    openSessions();
    EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
    EXPECT_EQ(descriptors(), before);
  });
}

TEST_F(Host, leavesNothingBehindWhenItIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Descriptor reading(ends[0]), writing(ends[1]);
  std::fflush(nullptr);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    CK_RV rv = f->C_Initialize(nullptr);
    auto all = processes();
    pid_t told[4] = {};
    std::copy_n(all.begin(), std::min<std::size_t>(all.size(), 4), told);
    if (rv != CKR_OK || ::write(writing.get(), told, sizeof told) != sizeof told) ::_exit(1);
    for (;;) ::pause();
  }
  pid_t told[4] = {};
  EXPECT_EQ(::read(reading.get(), told, sizeof told), static_cast<ssize_t>(sizeof told));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  for (pid_t pid : told) {
    EXPECT_GT(pid, 1);
    EXPECT_TRUE(eventually([&] { return !alive(pid); })) << pid;
  }
}

TEST_F(Host, isLeftAsItWas) {
  auto state = [] {
    std::vector<std::string> all;
    for (const char* line : {"SigBlk", "SigIgn", "SigCgt", "Umask", "NoNewPrivs", "Seccomp"})
      all.push_back(line + procField("/proc/self/status", line));
    all.push_back(std::filesystem::current_path());
    all.push_back(::setlocale(LC_ALL, nullptr));
    for (char** one = ::environ; *one != nullptr; ++one) all.push_back(*one);
    return all;
  };
  ::unsetenv("BULKHEAD_LOG");
  auto before = state();
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  {
    Initialized initialized(f);
    openSessions();
    EXPECT_TRUE(killWorker("slow"));
    openSessions();
    EXPECT_EQ(state(), before);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(state(), before);
}

// ---- the file ----

TEST(Export, isTheEntryPointsAlone) {
  std::string out = outputOf("nm -D --defined-only --format=posix '" + proxyPath() + "'");
  if (out.empty()) GTEST_SKIP() << "no nm";
  std::set<std::string> names;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) {
    std::string name = line.substr(0, line.find_first_of(" @"));
    // The version's own name, and the public API beside PKCS#11.
    if (name.starts_with("BULKHEAD_") || name.starts_with("bulkhead_")) continue;
    names.insert(name);
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"}));
}

TEST(Export, needsLittleAndIsNeverUnloaded) {
  std::string out = outputOf("LC_ALL=C readelf -dW '" + proxyPath() + "'");
  if (out.empty()) GTEST_SKIP() << "no readelf";
  EXPECT_NE(out.find("NODELETE"), std::string::npos) << out;
  EXPECT_NE(out.find("(NEEDED)"), std::string::npos) << out;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) {
    auto at = line.find("Shared library: [");
    if (at == std::string::npos) continue;
    std::string name = line.substr(at + std::strlen("Shared library: ["));
    name.resize(name.find_first_of(".-]"));
    // What serialises messages, the runtimes of the languages, and what a sanitizer adds.
    EXPECT_TRUE(
        (std::set<std::string>{"libcapnp", "libkj", "libstdc++", "libgcc_s", "libc", "libm", "ld"})
            .contains(name) ||
        name.ends_with("san"))
        << line;
  }
}

// What is not called changes nothing: handlers at exit and at fork, threads, signals, and what all
// of a process shares.
TEST(Export, callsNothingThatAHostWouldNotice) {
  std::string out = outputOf("nm -D --undefined-only --format=posix '" + proxyPath() + "'");
  if (out.empty()) GTEST_SKIP() << "no nm";
  if (out.find("san_") != std::string::npos) GTEST_SKIP() << "a sanitizer calls all of it";
  EXPECT_NE(out.find("pthread_mutex_lock"), std::string::npos) << out;
  std::istringstream lines(out);
  for (std::string line; std::getline(lines, line);) {
    std::string name = line.substr(0, line.find_first_of(" @"));
    EXPECT_FALSE(
        (std::set<std::string>{
             "atexit",         "__cxa_atexit", "on_exit",   "pthread_atfork", "__register_atfork",
             "pthread_create", "fork",         "signal",    "sigaction",      "setlocale",
             "chdir",          "fchdir",       "umask",     "setenv",         "putenv",
             "unsetenv",       "clearenv",     "setrlimit", "setrlimit64",    "prctl",
             "abort",          "exit",
         })
            .contains(name))
        << name;
  }
}

// ---- the worker ----

class Confined : public Host {
 protected:
  void SetUp() override {
    Host::SetUp();
    if (HasFatalFailure() || IsSkipped()) return;
    initialized.emplace(f);
    slow = slotOf(f, "slow").value();
    session.emplace(f, slow, CKF_SERIAL_SESSION);
  }
  void TearDown() override {
    session.reset();
    initialized.reset();
  }
  // 0 when the worker could read it, else its errno.
  int readByWorker(const std::string& path) {
    std::string copy = path;
    CK_RV rv = f->C_SeedRandom(*session, reinterpret_cast<CK_BYTE*>(copy.data()), copy.size());
    EXPECT_TRUE(rv == CKR_OK || (rv & CKR_VENDOR_DEFINED) != 0) << rv;
    return static_cast<int>(rv & ~CKR_VENDOR_DEFINED);
  }

  std::optional<Initialized> initialized;
  std::optional<Session> session;
  CK_SLOT_ID slow = 0;
};

TEST_F(Confined, aFilterIsInForceAndNoPrivilegeIsGained) {
  for (const char* name : {"slow", "softhsm2"}) {
    SCOPED_TRACE(name);
    std::string status = "/proc/" + std::to_string(workerOf(name)) + "/status";
    EXPECT_EQ(procField(status, "Seccomp"), "2");
    EXPECT_EQ(procField(status, "NoNewPrivs"), "1");
    EXPECT_EQ(procField(status, "CapEff"), "0000000000000000");
    EXPECT_EQ(procField(status, "CapPrm"), "0000000000000000");
    EXPECT_EQ(procField(status, "Uid").substr(0, procField(status, "Uid").find('\t')),
              std::to_string(::getuid()));
  }
}

TEST_F(Confined, theWorkerIsInOtherNamespaces) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
  int refused = 0;
  ASSERT_EQ(::waitpid(child, &refused, 0), child);
  if (refused != 0) GTEST_SKIP() << "this machine keeps user namespaces from its users";
  for (const char* kind : {"user", "net", "ipc", "mnt"}) {
    std::error_code error;
    auto own = std::filesystem::read_symlink("/proc/self/ns/" + std::string(kind), error);
    auto others = std::filesystem::read_symlink(
        "/proc/" + std::to_string(workerOf("slow")) + "/ns/" + kind, error);
    if (error) GTEST_SKIP() << "cannot look at the worker's namespaces: " << error.message();
    EXPECT_NE(own, others);
  }
}

TEST_F(Confined, theWorkerReadsOnlyWhatItsPolicyNames) {
  std::string mine = configuration.directory().write("secret", "of the user's own");
  EXPECT_EQ(readByWorker("/etc/ld.so.cache"), 0);
  // Not there, or where there is no mount namespace, closed by Landlock.
  auto closed = [&](const std::string& path) {
    int error = readByWorker(path);
    return error == EACCES || error == ENOENT;
  };
  EXPECT_TRUE(closed("/etc/shadow"));
  EXPECT_TRUE(closed(mine));
  EXPECT_TRUE(closed("/proc/" + std::to_string(::getpid()) + "/environ"));
  EXPECT_NE(readByWorker("/dev/mem"), 0);
}

}  // namespace
}  // namespace bulkhead::test
