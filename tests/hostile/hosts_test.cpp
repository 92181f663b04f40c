// SPDX-License-Identifier: BSD-2-Clause
//
// Kinds of hosts: init processes and reapers, hosts without descriptors, memory, stack, rights, a
// root or a /proc of their own, hosts that cancel, interrupt, fork and exec. Each of them is a
// process of its own, and what is wrong with it is its exit status.
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <atomic>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

class HostOf : public testing::Test {
 protected:
  void SetUp() override {
    rig_.configure("segv@C_GenerateRandom");
    rig_.addNeighbour();
  }

  // The life of a host: start, calls, a worker that dies, another one, the end. 0 when all is well.
  int live() {
    if (rig_.initialize() != CKR_OK) return 1;
    if (test::slots(rig_.functions()).size() != 2) return 2;
    CK_SLOT_ID slot = rig_.evilSlot();
    CK_SESSION_HANDLE session = rig_.open(slot), neighbour = rig_.open(rig_.goodSlot());
    if (rig_.digest(session) != CKR_OK || rig_.digest(neighbour) != CKR_OK) return 3;
    std::string text;
    if (rig_.random(session, text) != CKR_DEVICE_REMOVED) return 4;
    if (rig_.digest(session) != CKR_SESSION_HANDLE_INVALID) return 5;
    if (rig_.digest(rig_.open(slot)) != CKR_OK) return 6;
    if (rig_.digest(neighbour) != CKR_OK) return 7;
    return rig_.finalize() == CKR_OK ? 0 : 8;
  }
  Rig rig_;
};

// ---- hosts and children ----

TEST_F(HostOf, NoZombiesWantedLivesAsOthersDo) {
  EXPECT_EQ(inChild([&] {
              struct sigaction action {};
              action.sa_handler = SIG_DFL;
              action.sa_flags = SA_NOCLDWAIT;
              ::sigaction(SIGCHLD, &action, nullptr);
              return live();
            }),
            0);
}

// Blocked in the wait for a child of its own, as the main loop of a daemon is. It sees nothing else
// come by, unless it asks for children of every kind: then the start does without what it reaped.
TEST_F(HostOf, AThreadThatWaitsForAnyChildLivesAsOthersDo) {
  for (int kind : {0, __WALL})
    EXPECT_EQ(inChild([&] {
                pid_t own = ::fork();
                if (own == 0)
                  for (;;) ::pause();
                std::atomic<int> foreign{0};
                std::thread reaper([&] {
                  for (pid_t pid; (pid = ::waitpid(-1, nullptr, kind)) != own;)
                    if (pid > 0) ++foreign;
                });
                int status = 0;
                for (int i = 0; i < 5 && status == 0; ++i) status = live();
                ::kill(own, SIGKILL);
                reaper.join();
                return kind == 0 && foreign != 0 ? 20 : status;
              }),
              0)
        << kind;
}

// The supervisors of an init process become its children when what started them is gone, as all
// orphans do. It need not reap them.
int zombies() {
  int found = 0;
  for (pid_t pid : test::childrenOf(::getpid()))
    if (!test::alive(pid)) ++found;
  return found;
}

TEST_F(HostOf, ASubreaperIsLeftNoZombies) {
  EXPECT_EQ(inChild([&] {
              ::prctl(PR_SET_CHILD_SUBREAPER, 1);
              for (int i = 0; i < 3; ++i)
                if (int status = live(); status != 0) return status;
              return zombies() == 0 ? 0 : 20;
            }),
            0);
}

TEST_F(HostOf, ASubreaperThatReapsTakesNothingFromTheProxy) {
  EXPECT_EQ(inChild([&] {
              ::prctl(PR_SET_CHILD_SUBREAPER, 1);
              std::atomic<bool> done{false};
              std::thread reaper([&] {
                while (!done)
                  if (::waitpid(-1, nullptr, WNOHANG) <= 0)
                    std::this_thread::sleep_for(milliseconds(1));
              });
              int status = 0;
              for (int i = 0; i < 3 && status == 0; ++i) status = live();
              done = true;
              reaper.join();
              return status;
            }),
            0);
}

TEST_F(HostOf, TheFirstProcessOfAContainerLivesAsOthersDo) {
  int status = inChild([&] {
    if (::unshare(CLONE_NEWPID | (::geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) return 77;
    return inChild([&] {
      if (::getpid() != 1) return 21;
      for (int i = 0; i < 3; ++i)
        if (int wrong = live(); wrong != 0) return wrong;
      // Whoever is left is a child of the first process.
      int left = 0;
      for (siginfo_t info{};
           ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) == 0 && info.si_pid != 0;
           info = {})
        ++left;
      return left == 0 ? 0 : 20;
    });
  });
  if (status == 77) GTEST_SKIP() << "no PID namespaces for this user";
  EXPECT_EQ(status, 0);
}

TEST_F(HostOf, ProgramsStartedByVforkDisturbNobody) {
  EXPECT_EQ(inChild([&] {
              if (rig_.initialize() != CKR_OK) return 1;
              CK_SLOT_ID slot = rig_.goodSlot();
              std::atomic<bool> done{false};
              std::atomic<int> wrong{0};
              std::vector<std::thread> threads;
              for (int i = 0; i < 2; ++i)
                threads.emplace_back([&, session = rig_.open(slot)] {
                  while (!done)
                    if (rig_.digest(session) != CKR_OK) ++wrong;
                });
              for (int i = 0; i < 20; ++i) {
                pid_t pid = ::vfork();
                if (pid == 0) {
                  ::execl("/bin/true", "true", static_cast<char*>(nullptr));
                  ::_exit(1);
                }
                int status = 1;
                ::waitpid(pid, &status, 0);
                if (status != 0) ++wrong;
              }
              done = true;
              for (auto& thread : threads) thread.join();
              if (rig_.finalize() != CKR_OK) return 3;
              return wrong == 0 ? 0 : 2;
            }),
            0);
}

// ---- another program in the same process, and the proxy loaded in other ways ----

std::string hostProgram() {
  const char* path = ::getenv("HOST_PROGRAM");
  return path == nullptr ? "" : path;
}

// What the program `host` says, with its exit status as the last line.
std::string output(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen((command + "; echo status $?").c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[512];
  while (::fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
  ::pclose(pipe);
  return text;
}

TEST_F(HostOf, AnotherProgramAfterExecStartsAnewAndTheOldWorkersGo) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  EXPECT_EQ(inChild([&] {
              if (rig_.initialize() != CKR_OK) return 1;
              if (rig_.digest(rig_.open(rig_.evilSlot())) != CKR_OK) return 2;
              for (pid_t pid : test::processes()) (void)!::write(ends[1], &pid, sizeof pid);
              ::execl(hostProgram().c_str(), "host", test::proxyPath().c_str(),
                      static_cast<char*>(nullptr));
              return 3;
            }),
            0);
  ::close(ends[1]);
  int told = 0;
  for (pid_t pid; ::read(ends[0], &pid, sizeof pid) == sizeof pid; ++told)
    EXPECT_TRUE(test::eventually([pid] { return !test::alive(pid); })) << pid;
  ::close(ends[0]);
  EXPECT_EQ(told, 4);
}

TEST_F(HostOf, APreloadedProxyIsNotLoadedIntoItsWorkers) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer has to be the first library of a program";
  std::string said = output("LD_PRELOAD='" + test::proxyPath() + "' '" + hostProgram() + "'");
  EXPECT_NE(said.find("2 slots\n"), std::string::npos) << said;
  EXPECT_NE(said.find("2 digests\n"), std::string::npos) << said;
  EXPECT_NE(said.find("2 workers\n"), std::string::npos) << said;
  EXPECT_NE(said.find("0 with the proxy in them\n"), std::string::npos) << said;
  EXPECT_NE(said.find("status 0\n"), std::string::npos) << said;
}

// What a setuid program is told by its caller's environment: nothing.
TEST_F(HostOf, ASetuidProgramListensToNoVariable) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: cannot make a setuid program";
  std::string marker = rig_.setup().directory().makeDirectory("open") + "/marker";
  ::chmod(rig_.setup().path().c_str(), 0755);
  ::chmod(rig_.setup().path("open").c_str(), 0777);
  std::string script =
      rig_.setup().directory().write("open/worker", "#!/bin/sh\ntouch '" + marker + "'\n");
  ::chmod(script.c_str(), 0755);
  // Readable for the caller, so that only the privilege can be why it is not read.
  ::chmod(rig_.setup().path("modules").c_str(), 0755);
  for (auto& entry : std::filesystem::directory_iterator(rig_.setup().path("modules")))
    ::chmod(entry.path().c_str(), 0644);
  std::string said;
  int status = inChild([&] {
    // A file system of its own, on which setuid counts.
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("host", rig_.setup().directory().makeDirectory("mount").c_str(), "tmpfs", 0,
                "mode=755") != 0)
      return 77;
    std::string program = rig_.setup().path("mount/host"), proxy = rig_.setup().path("mount/p.so");
    std::filesystem::copy_file(hostProgram(), program);
    std::filesystem::copy_file(test::proxyPath(), proxy);
    ::chmod(program.c_str(), 04755);
    ::setenv("BULKHEAD_WORKER", script.c_str(), 1);
    ::setenv("BULKHEAD_LOG", "debug", 1);
    int pipe[2];
    if (::pipe(pipe) != 0) return 2;
    pid_t pid = ::fork();
    if (pid == 0) {
      ::dup2(pipe[1], 1);
      ::dup2(pipe[1], 2);
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(3);
      ::execl(program.c_str(), "host", proxy.c_str(), static_cast<char*>(nullptr));
      ::_exit(4);
    }
    ::close(pipe[1]);
    std::string text;
    char buffer[512];
    for (ssize_t n; (n = ::read(pipe[0], buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<std::size_t>(n));
    int wait = 0;
    ::waitpid(pid, &wait, 0);
    rig_.setup().directory().write("said", text);
    return WIFEXITED(wait) ? WEXITSTATUS(wait) : 5;
  });
  if (status == 77) GTEST_SKIP() << "no mount namespace here";
  said = test::readFile(rig_.setup().path("said"));
  EXPECT_EQ(status, 0) << said;
  EXPECT_NE(said.find("secure 1\n"), std::string::npos) << said;
  EXPECT_EQ(said.find("slot: hostile"), std::string::npos) << said;
  EXPECT_EQ(said.find("bulkhead: "), std::string::npos) << said;
  EXPECT_NE(::access(marker.c_str(), F_OK), 0);
}

// ---- hosts and descriptors ----

// Under every number that anybody could have had, time and again, and whatever is called then.
TEST_F(HostOf, DescriptorsThatAreReusedAgainAndAgainGetNotOneByte) {
  EXPECT_EQ(inChild([&] {
              for (int round = 0; round < 8; ++round) {
                if (rig_.initialize() != CKR_OK) return 1;
                CK_SLOT_ID slot = rig_.evilSlot();
                CK_SESSION_HANDLE session = rig_.open(slot);
                int most = 3;
                for (auto& [fd, what] : test::descriptors()) most = std::max(most, fd);
                (void)::syscall(SYS_close_range, 3U, ~0U, 0U);
                // Of the same types as those that are gone.
                std::vector<std::pair<int, int>> ends;
                int type = round % 2 == 0 ? SOCK_STREAM : SOCK_SEQPACKET;
                for (int fd = 3; fd <= most; ++fd) {
                  int pair[2];
                  if (::socketpair(AF_UNIX, type, 0, pair) != 0) return 2;
                  int far = ::fcntl(pair[1], F_DUPFD, 900);
                  int near = ::fcntl(pair[0], F_DUPFD, 900);
                  ::close(pair[0]);
                  ::close(pair[1]);
                  if (::dup2(near, fd) != fd) return 3;
                  ::close(near);
                  ends.emplace_back(fd, far);
                }
                std::string text;
                CK_ULONG count = 0;
                CK_SESSION_HANDLE other;
                switch (round / 2) {
                  case 0:
                    if (rig_.digest(session) == CKR_OK) return 4;
                    break;
                  case 1:
                    (void)rig_->C_GetSlotList(CK_FALSE, nullptr, &count);
                    if (rig_.digest(session) == CKR_OK) return 5;
                    break;
                  case 2:
                    (void)rig_->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &other);
                    break;
                  default:
                    break;  // straight to the end
                }
                if (rig_.finalize() != CKR_OK) return 6;
                for (auto [near, far] : ends) {
                  char byte;
                  if (::recv(far, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN) return 7;
                  ::close(far);
                  if (::fcntl(near, F_GETFD) < 0) return 8;
                  ::close(near);
                }
              }
              return live();
            }),
            0);
}

rlim_t descriptorLimit(rlim_t soft) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  rlim_t before = limit.rlim_cur;
  limit.rlim_cur = soft;
  EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  return before;
}

bool isShortage(CK_RV rv) {
  return rv == CKR_HOST_MEMORY || rv == CKR_GENERAL_ERROR || rv == CKR_TOKEN_NOT_PRESENT ||
         rv == CKR_DEVICE_REMOVED || rv == CKR_SLOT_ID_INVALID ||
         rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_DEVICE_ERROR;
}

// With each number of descriptors left, from none to more than enough: the start and calls of four
// threads at once answer in time, and nothing is left behind.
TEST_F(HostOf, AStartNearTheLimitOfDescriptorsIsCleanWhateverIsLeft) {
  rig_.configure("none@none", "CallTimeoutSec=1h");
  int firstGood = -1;
  for (unsigned left = 0; left <= 24; ++left) {
    int status = inChild([&] {
      ::alarm(60);
      auto before = test::descriptors();
      (void)Rig::library();
      std::vector<int> fill;
      descriptorLimit(static_cast<rlim_t>(before.rbegin()->first) + 64);
      for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) fill.push_back(fd);
      for (unsigned i = 0; i < left && !fill.empty(); ++i) {
        ::close(fill.back());
        fill.pop_back();
      }
      CK_RV rv = rig_.initialize();
      if (rv != CKR_OK && !isShortage(rv)) {
        std::printf("C_Initialize answered 0x%lx\n", rv);
        return 1;
      }
      std::size_t served = 0, modules = 0;
      if (rv == CKR_OK) {
        std::vector<CK_SLOT_ID> ids(8);
        CK_ULONG count = ids.size();
        if (rig_->C_GetSlotList(CK_FALSE, ids.data(), &count) != CKR_OK) return 2;
        ids.resize(count);
        modules = count;
        std::atomic<int> wrong{0};
        std::atomic<std::size_t> good{0};
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < 4 && !ids.empty(); ++t)
          threads.emplace_back([&, slot = ids[t % ids.size()]] {
            for (int n = 0; n < 20; ++n) {
              CK_SESSION_HANDLE session;
              CK_RV answer =
                  rig_->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session);
              if (answer == CKR_OK) answer = rig_.digest(session);
              if (answer == CKR_OK) ++good;
              if (answer != CKR_OK && !isShortage(answer)) ++wrong;
            }
          });
        for (auto& thread : threads) thread.join();
        if (wrong != 0) return 3;
        served = good;
        if (rig_.finalize() != CKR_OK) return 4;
      }
      for (int fd : fill) ::close(fd);
      if (test::descriptors() != before) return 5;
      // And when there are enough again, all is well again.
      if (rig_.initialize() != CKR_OK || test::slots(rig_.functions()).size() != 2) return 6;
      if (rig_.digest(rig_.open(rig_.evilSlot())) != CKR_OK) return 7;
      if (rig_.finalize() != CKR_OK) return 8;
      return served == 80 && modules == 2 ? 50 : 0;
    });
    EXPECT_TRUE(status == 0 || status == 50) << status << " with " << left << " left";
    if (status == 50 && firstGood < 0) firstGood = static_cast<int>(left);
  }
  // Neither too few to be true nor never.
  EXPECT_GT(firstGood, 0);
  std::printf("two modules and four threads need %d descriptors\n", firstGood);
}

// A worker that runs and no channel to it, and no descriptor for one: each of many threads is told
// so at once, and none waits for what others cannot get, either.
TEST(HostWithoutDescriptors, IsToldAtOnceWhenItHasNoChannelEither) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("hang-later@C_GetSlotList", "CallTimeoutSec=1h");
              if (rig.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              // The channel is given up together with the question.
              if (test::slots(rig.functions()).size() != 1) return 2;
              std::vector<int> fill;
              for (int fd; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;)
                fill.push_back(fd);
              std::atomic<int> wrong{0};
              std::vector<std::thread> threads;
              for (int t = 0; t < 8; ++t)
                threads.emplace_back([&] {
                  for (auto end = Clock::now() + milliseconds(500); Clock::now() < end;)
                    if (rig.digest(session) != CKR_HOST_MEMORY) ++wrong;
                });
              for (auto& thread : threads) thread.join();
              for (int fd : fill) ::close(fd);
              if (rig.digest(session) != CKR_OK) return 3;
              if (rig.finalize() != CKR_OK) return 4;
              return wrong == 0 ? 0 : 5;
            }),
            0);
}

// ---- hosts and threads ----

// The deepest that the stack was used, of a thread that runs `body`.
std::size_t stackOf(std::function<void()> body) {
  static constexpr std::size_t SIZE = 512 * 1024;
  auto stack = static_cast<unsigned char*>(::mmap(nullptr, SIZE, PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  std::memset(stack, 0xa5, SIZE);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstack(&attributes, stack, SIZE);
  pthread_t thread;
  EXPECT_EQ(::pthread_create(
                &thread, &attributes,
                [](void* p) -> void* {
                  (*static_cast<std::function<void()>*>(p))();
                  return nullptr;
                },
                &body),
            0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
  std::size_t free = 0;
  while (free < SIZE && stack[free] == 0xa5) ++free;
  ::munmap(stack, SIZE);
  return SIZE - free;
}

TEST_F(HostOf, CallsTakeLittleStack) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer's frames are larger";
  const std::size_t nothing = stackOf([] {});
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  CK_SLOT_ID slot = 0;
  std::string text, large(1 << 20, 'x');
  std::pair<const char*, std::function<void()>> parts[] = {
      {"C_Initialize", [&] { EXPECT_EQ(rig_.initialize(), CKR_OK); }},
      {"C_GetSlotList", [&] { slot = rig_.evilSlot(); }},
      {"C_OpenSession", [&] { session = rig_.open(slot); }},
      {"C_Digest", [&] { EXPECT_EQ(rig_.digest(session), CKR_OK); }},
      {"C_Digest of a MiB", [&] { EXPECT_EQ(rig_.digest(session, large), CKR_OK); }},
      {"C_GetAttributeValue",
       [&] {
         CK_BYTE value[4][64];
         CK_ATTRIBUTE list[] = {{CKA_VALUE, value[0], 64},
                                {CKA_ID, value[1], 64},
                                {CKA_LABEL, value[2], 64},
                                {CKA_MODULUS, value[3], 64}};
         EXPECT_EQ(rig_->C_GetAttributeValue(session, 11, list, 4), CKR_OK);
       }},
      {"a death", [&] { EXPECT_EQ(rig_.random(session, text), CKR_DEVICE_REMOVED); }},
      {"a restart", [&] { session = rig_.open(slot); }},
      {"C_Finalize", [&] { EXPECT_EQ(rig_.finalize(), CKR_OK); }}};
  for (auto& [name, body] : parts) {
    std::size_t used = stackOf(body) - nothing;
    std::printf("%s: %zu bytes of stack\n", name, used);
    // A thread of 32 KiB has its own frames, thread-local data and a signal handler's on it, too.
    EXPECT_LT(used, 20U * 1024) << name;
  }
}

// Cancelled wherever it is, also at any instruction: it ends, and it ends between calls.
TEST(HostThatCancels, AsynchronouslyIsNotEndedByIt) {
  EXPECT_EQ(inChild([] {
              Rig rig;
              rig.configure("slow@C_GenerateRandom");
              if (rig.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              for (int i = 0; i < 4; ++i) {
                std::pair<Rig*, CK_SESSION_HANDLE> both{&rig, session};
                pthread_t thread;
                if (::pthread_create(
                        &thread, nullptr,
                        [](void* p) -> void* {
                          auto [r, s] = *static_cast<std::pair<Rig*, CK_SESSION_HANDLE>*>(p);
                          CK_FUNCTION_LIST* f = r->functions();
                          CK_BYTE bytes[8];
                          ::pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
                          for (;;) (void)f->C_GenerateRandom(s, bytes, sizeof bytes);
                          return nullptr;
                        },
                        &both) != 0)
                  return 2;
                // In the middle of a call of 300 ms.
                std::this_thread::sleep_for(milliseconds(100));
                ::pthread_cancel(thread);
                if (::pthread_join(thread, nullptr) != 0) return 3;
                if (rig.digest(session) != CKR_OK) return 4;
              }
              return rig.finalize() == CKR_OK ? 0 : 5;
            }),
            0);
}

// A signal every half a millisecond, without SA_RESTART, through a whole life.
TEST_F(HostOf, AStormOfSignalsLivesAsOthersDo) {
  EXPECT_EQ(inChild([&] {
              static std::atomic<int> signals{0};
              struct sigaction count {};
              count.sa_handler = [](int) { ++signals; };
              ::sigaction(SIGUSR2, &count, nullptr);
              std::atomic<bool> done{false};
              pthread_t self = ::pthread_self();
              std::thread storm([&] {
                while (!done) {
                  ::pthread_kill(self, SIGUSR2);
                  ::usleep(500);
                }
              });
              int status = 0;
              for (int i = 0; i < 4 && status == 0; ++i) status = live();
              done = true;
              storm.join();
              return status != 0 ? status : signals > 10 ? 0 : 20;
            }),
            0);
}

// More threads than the sockets to a worker hold requests for channels, and a worker that takes
// none: C_Finalize still ends in time, and all of them with it.
TEST(HostOfManyThreads, BlockedByAStoppedWorkerAreAllReleasedByFinalize) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("none@none", "CallTimeoutSec=infinity\nStopTimeoutSec=500ms");
              rig.addNeighbour();
              if (rig.initialize() != CKR_OK) return 1;
              CK_SLOT_ID slot = rig.evilSlot();
              std::vector<CK_SESSION_HANDLE> sessions;
              for (int i = 0; i < 40; ++i) sessions.push_back(rig.open(slot));
              CK_SESSION_HANDLE neighbour = rig.open(rig.goodSlot());
              if (!test::stop(test::workerOf(rig.evil()))) return 2;
              std::atomic<int> wrong{0};
              std::vector<std::thread> threads;
              for (CK_SESSION_HANDLE session : sessions)
                threads.emplace_back([&rig, &wrong, session] {
                  CK_RV rv = rig.digest(session);
                  if (rv != CKR_CRYPTOKI_NOT_INITIALIZED && rv != CKR_DEVICE_REMOVED) ++wrong;
                });
              std::this_thread::sleep_for(milliseconds(200));
              if (rig.digest(neighbour) != CKR_OK) return 3;
              CK_RV rv = CKR_OK;
              auto took = timeOf([&] { rv = rig.finalize(); });
              for (auto& thread : threads) thread.join();
              if (took > milliseconds(10'000)) return 4;
              return rv != CKR_OK ? 5 : wrong == 0 ? 0 : 6;
            }),
            0);
}

// ---- hosts and what they give up ----

TEST_F(HostOf, AHostThatChangesItsRootKeepsItsWorkers) {
  std::string empty = rig_.setup().directory().makeDirectory("empty");
  int status = inChild([&] {
    if (rig_.initialize() != CKR_OK) return 1;
    CK_SLOT_ID slot = rig_.evilSlot(), good = rig_.goodSlot();
    CK_SESSION_HANDLE session = rig_.open(slot), neighbour = rig_.open(good);
    if (::geteuid() != 0 && ::unshare(CLONE_NEWUSER) != 0) return 77;
    if (::chroot(empty.c_str()) != 0 || ::chdir("/") != 0) return 77;
    if (rig_.digest(session) != CKR_OK || rig_.digest(rig_.open(slot)) != CKR_OK) return 2;
    std::string text;
    if (rig_.random(session, text) != CKR_DEVICE_REMOVED) return 3;
    // No program to start another worker from: that token is gone, and no more than that.
    CK_SESSION_HANDLE other;
    CK_RV rv = rig_->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &other);
    if (rv != CKR_TOKEN_NOT_PRESENT) return 4;
    if (test::slots(rig_.functions()).size() != 2) return 5;
    if (rig_.digest(neighbour) != CKR_OK) return 6;
    return rig_.finalize() == CKR_OK ? 0 : 7;
  });
  if (status == 77) GTEST_SKIP() << "no chroot for this user";
  EXPECT_EQ(status, 0);
}

TEST_F(HostOf, AHostThatDropsAllItsRightsStillGetsNewWorkers) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: there are no rights to give up";
  if (inChild([] {
        if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0)
          return 1;
        return ::access(::getenv("BULKHEAD_WORKER"), X_OK) == 0 &&
                       ::access(Rig::module().c_str(), R_OK) == 0
                   ? 0
                   : 1;
      }) != 0)
    GTEST_SKIP() << "the build directory is not nobody's to read";
  ::chmod(rig_.setup().path().c_str(), 0755);
  for (auto& entry : std::filesystem::recursive_directory_iterator(rig_.setup().path()))
    ::chmod(entry.path().c_str(), 0755);
  EXPECT_EQ(inChild([&] {
              if (rig_.initialize() != CKR_OK) return 1;
              CK_SLOT_ID slot = rig_.evilSlot();
              CK_SESSION_HANDLE session = rig_.open(slot);
              std::vector<pid_t> all = test::processes();
              if (::setgroups(0, nullptr) != 0 || ::setresgid(65534, 65534, 65534) != 0 ||
                  ::setresuid(65534, 65534, 65534) != 0)
                return 2;
              if (rig_.digest(session) != CKR_OK) return 3;
              std::string text;
              if (rig_.random(session, text) != CKR_DEVICE_REMOVED) return 4;
              if (rig_.digest(rig_.open(slot)) != CKR_OK) return 5;
              if (rig_.finalize() != CKR_OK) return 6;
              for (pid_t pid : all)
                if (!test::eventually([pid] { return !test::alive(pid); })) return 7;
              return 0;
            }),
            0);
}

TEST_F(HostOf, AHostWithoutProcHasWorkersAllTheSame) {
  int status = inChild([&] {
    if (::unshare(CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) return 77;
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", "/proc", "tmpfs", MS_RDONLY, "size=4k") != 0)
      return 77;
    if (::access("/proc/self", F_OK) == 0) return 20;
    return live();
  });
  if (status == 77) GTEST_SKIP() << "no mount namespace for this user";
  EXPECT_EQ(status, 0) << rig_.log();
}

// ---- hosts and memory ----

// With each amount of memory left, from none to plenty: errors, and never an end that is not its
// own.
TEST_F(HostOf, AHostThatIsShortOfMemoryGetsErrors) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer has reserved its memory before";
  int served = 0, refused = 0;
  for (std::size_t left = 0; left <= 4'000; left += left < 800 ? 40 : 400) {
    int status = inChild([&] {
      ::alarm(60);
      // What the C library keeps for itself is used up first.
      std::size_t pages = 0;
      std::istringstream(test::readFile("/proc/self/statm")) >> pages;
      rlimit limit{}, before{};
      ::getrlimit(RLIMIT_AS, &before);
      limit = before;
      limit.rlim_cur = pages * 4096 + left * 1024;
      CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
      CK_SLOT_ID ids[8];
      CK_ULONG count = 8;
      std::string large(100'000, 'x'), out(100'000, '\0');
      if (::setrlimit(RLIMIT_AS, &limit) != 0) return 1;
      std::vector<void*> taken;
      taken.reserve(8);
      CK_RV rv = rig_.initialize();
      bool all = rv == CKR_OK;
      if (rv != CKR_OK && !isShortage(rv)) return 2;
      if (rv == CKR_OK) {
        rv = rig_->C_GetSlotList(CK_FALSE, ids, &count);
        if (rv != CKR_OK && !isShortage(rv)) return 3;
        if (rv != CKR_OK) count = 0;
        all = count == 2;
        for (CK_ULONG i = 0; i < count; ++i) {
          rv = rig_->C_OpenSession(ids[i], CKF_SERIAL_SESSION, nullptr, nullptr, &session);
          if (rv == CKR_OK) {
            CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
            rv = rig_->C_DigestInit(session, &mechanism);
          }
          CK_ULONG size = out.size();
          if (rv == CKR_OK)
            rv = rig_->C_Digest(session, reinterpret_cast<CK_BYTE*>(large.data()), large.size(),
                                reinterpret_cast<CK_BYTE*>(out.data()), &size);
          if (rv != CKR_OK) all = false;
          if (rv != CKR_OK && !isShortage(rv)) return 4;
        }
        CK_BYTE random[8];
        if (session != CK_INVALID_HANDLE) (void)rig_->C_GenerateRandom(session, random, 8);
        rv = rig_.finalize();
        if (rv != CKR_OK && !isShortage(rv)) return 5;
      }
      ::setrlimit(RLIMIT_AS, &before);
      // Nothing is stuck: with memory all is well again.
      if (rv == CKR_OK || all) {
        if (rig_.initialize() != CKR_OK) return 6;
        if (test::slots(rig_.functions()).size() != 2) return 7;
        if (rig_.digest(rig_.open(rig_.goodSlot())) != CKR_OK) return 8;
        if (rig_.finalize() != CKR_OK) return 9;
      }
      return all ? 50 : 0;
    });
    EXPECT_TRUE(status == 0 || status == 50) << status << " with " << left << " KiB left";
    ++(status == 50 ? served : refused);
  }
  std::printf("%d amounts of memory were enough, %d were not\n", served, refused);
  EXPECT_GT(served, 0);
  EXPECT_GT(refused, 0);
}

// The start copies nothing of the host's: it does not wait as a fork does.
TEST(HostWithMuchMemory, StartsWorkersWithoutCopyingIt) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer doubles the memory";
  constexpr std::size_t GIB = std::size_t{1} << 30;
  std::size_t have = static_cast<std::size_t>(::sysconf(_SC_AVPHYS_PAGES)) * 4096;
  if (have < 5 * GIB) GTEST_SKIP() << "less than 5 GiB of memory are free";
  EXPECT_EQ(inChild([] {
              Rig rig("error");
              rig.configure("none@none");
              using Micros = std::chrono::microseconds;
              auto micros = [](auto&& thing) {
                auto start = Clock::now();
                thing();
                return std::chrono::duration_cast<Micros>(Clock::now() - start);
              };
              bool good = true;
              auto start = [&] {
                Micros best = Micros::max();
                for (int i = 0; i < 7; ++i) {
                  best = std::min(best, micros([&] { good = rig.initialize() == CKR_OK && good; }));
                  good = rig.finalize() == CKR_OK && good;
                }
                return best;
              };
              auto fork = [] {
                Micros best = Micros::max();
                for (int i = 0; i < 3; ++i)
                  best = std::min(best, [&] {
                    auto from = Clock::now();
                    pid_t pid = ::fork();
                    if (pid == 0) ::_exit(0);
                    auto took = std::chrono::duration_cast<Micros>(Clock::now() - from);
                    ::waitpid(pid, nullptr, 0);
                    return took;
                  }());
                return best;
              };
              Micros small = start(), smallFork = fork();
              void* memory = ::mmap(nullptr, 3 * GIB, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
              if (memory == MAP_FAILED) return 1;
              (void)::madvise(memory, 3 * GIB, MADV_NOHUGEPAGE);
              for (std::size_t at = 0; at < 3 * GIB; at += 4096)
                static_cast<volatile char*>(memory)[at] = 1;
              Micros large = start(), largeFork = fork();
              std::printf(
                  "C_Initialize with one module: %ld us, with 3 GiB resident %ld us; "
                  "fork() alone: %ld us and %ld us\n",
                  static_cast<long>(small.count()), static_cast<long>(large.count()),
                  static_cast<long>(smallFork.count()), static_cast<long>(largeFork.count()));
              if (!good) return 2;
              return large < small + largeFork / 2 ? 0 : 3;
            }),
            0);
}

// ---- hosts that are killed ----

// Whatever their modules are at.
class KilledHost : public testing::TestWithParam<const char*> {};

TEST_P(KilledHost, LeavesNoWorkerForLong) {
  const std::string plan = GetParam();
  Rig rig;
  rig.configure(plan, "CallTimeoutSec=infinity\nStopTimeoutSec=1h");
  rig.addNeighbour();
  std::vector<long> times;
  for (int i = 0; i < 5; ++i) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pid_t host = ::fork();
    if (host == 0) {
      if (rig.initialize() != CKR_OK) ::_exit(1);
      std::thread caller;
      if (plan.ends_with("@C_GenerateRandom")) {
        caller = std::thread([&, session = rig.open(rig.evilSlot())] {
          std::string text;
          (void)rig.random(session, text);
        });
        if (!areInCalls(1)) ::_exit(1);
      }
      for (pid_t pid : test::processes()) (void)!::write(ends[1], &pid, sizeof pid);
      ::close(ends[1]);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    std::vector<pid_t> all;
    for (pid_t pid; ::read(ends[0], &pid, sizeof pid) == sizeof pid;) all.push_back(pid);
    ::close(ends[0]);
    EXPECT_EQ(all.size(), 4U);
    times.push_back(timeOf([&] {
                      ::kill(host, SIGKILL);
                      ::waitpid(host, nullptr, 0);
                      for (pid_t pid : all)
                        EXPECT_TRUE(test::eventually([pid] { return !test::alive(pid); })) << pid;
                    }).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("all of them were gone after %ld ms (median of %zu; at most %ld ms)\n",
              times[times.size() / 2], times.size(), times.back());
  // Of several, as others may keep the machine busy.
  EXPECT_LT(times[times.size() / 2], 1000);
}

INSTANTIATE_TEST_SUITE_P(All, KilledHost,
                         testing::Values("none@none", "hang@finalize", "deaf@finalize",
                                         "deaf@C_GenerateRandom", "stop@C_GenerateRandom"),
                         [](const testing::TestParamInfo<const char*>& one) {
                           std::string name = one.param;
                           std::replace(name.begin(), name.end(), '@', '_');
                           return name;
                         });

}  // namespace
}  // namespace bulkhead::hostile
