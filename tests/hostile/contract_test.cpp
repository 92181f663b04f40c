// SPDX-License-Identifier: BSD-2-Clause
//
// Hosts that do to the proxy what hosts do: close its descriptors, fork, ignore signals, give up
// their rights, end without a word. Nothing of theirs is harmed, and no worker outlives them.
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

// A process that starts workers, tells their ids, and waits to be told how to end.
struct Started {
  pid_t host = -1;
  std::vector<pid_t> processes;
};

Started startHost(Rig& rig, const std::function<void()>& then) {
  int pipe[2];
  EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  Started started;
  started.host = ::fork();
  if (started.host == 0) {
    if (rig.initialize() != CKR_OK) ::_exit(1);
    for (pid_t pid : test::processes()) (void)!::write(pipe[1], &pid, sizeof pid);
    ::close(pipe[1]);
    then();
    ::_exit(0);
  }
  ::close(pipe[1]);
  pid_t pid;
  while (::read(pipe[0], &pid, sizeof pid) == sizeof pid) started.processes.push_back(pid);
  ::close(pipe[0]);
  return started;
}

void expectAllGone(const Started& started) {
  EXPECT_GE(started.processes.size(), 4U) << "two supervisors and two workers";
  for (pid_t pid : started.processes)
    EXPECT_TRUE(test::eventually([pid] { return !test::alive(pid); })) << pid;
}

class Contract : public testing::Test {
 protected:
  void SetUp() override {
    rig_.configure("none@none");
    rig_.addNeighbour();
  }
  Rig rig_;
};

TEST_F(Contract, AHostThatIgnoresSigchldHasWorkersAllTheSame) {
  EXPECT_EQ(inChild([&] {
              ::signal(SIGCHLD, SIG_IGN);
              if (rig_.initialize() != CKR_OK) return 1;
              if (rig_.digest(rig_.open(rig_.evilSlot())) != CKR_OK) return 2;
              return rig_.finalize() == CKR_OK ? 0 : 3;
            }),
            0);
}

TEST_F(Contract, AHostThatReapsAllChildrenReapsNoneOfOurs) {
  EXPECT_EQ(inChild([&] {
              static std::atomic<int> signals{0};
              ::signal(SIGCHLD, [](int) { ++signals; });
              std::atomic<bool> done{false};
              std::atomic<int> reaped{0};
              std::thread reaper([&] {
                while (!done)
                  if (::waitpid(-1, nullptr, WNOHANG) > 0) ++reaped;
              });
              bool good = rig_.initialize() == CKR_OK;
              good = good && rig_.digest(rig_.open(rig_.evilSlot())) == CKR_OK;
              ::kill(test::workerOf(rig_.evil()), SIGKILL);
              good = good && test::eventually([&] { return test::workerOf(rig_.evil()) == -1; });
              good = rig_.finalize() == CKR_OK && good;
              done = true;
              reaper.join();
              return !good ? 1 : reaped != 0 ? 2 : signals != 0 ? 3 : 0;
            }),
            0);
}

// Sockets and pipes of the host's under every number that was the proxy's: not one byte arrives.
TEST_F(Contract, NotOneByteGoesIntoADescriptorThatWasReused) {
  EXPECT_EQ(inChild([&] {
              auto before = test::descriptors();
              if (rig_.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
              if (rig_.digest(session) != CKR_OK) return 2;
              std::vector<int> numbers;
              for (auto& [fd, what] : test::descriptors())
                if (!before.contains(fd)) numbers.push_back(fd);
              if (numbers.empty()) return 3;
              for (int fd : numbers) ::close(fd);
              std::vector<int> peers;
              for (int fd : numbers) {
                int pair[2];
                if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return 4;
                // The other end is out of the way of the numbers that are still to come.
                int peer = ::fcntl(pair[1], F_DUPFD, 500);
                int own = ::fcntl(pair[0], F_DUPFD, 500);
                ::close(pair[0]);
                ::close(pair[1]);
                if (::dup2(own, fd) != fd) return 5;
                ::close(own);
                peers.push_back(peer);
              }
              CK_RV rv = rig_.digest(session);
              if (rv == CKR_OK) return 6;
              std::string text;
              (void)rig_.random(session, text);
              (void)rig_->C_CloseSession(session);
              // And it gets over it.
              if (rig_.digest(rig_.open(rig_.evilSlot())) != CKR_OK) return 7;
              if (rig_.finalize() != CKR_OK) return 8;
              for (int peer : peers) {
                char byte;
                if (::recv(peer, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN) return 9;
              }
              // They are still open, too.
              for (int fd : numbers)
                if (::fcntl(fd, F_GETFD) < 0) return 10;
              return 0;
            }),
            0);
}

TEST_F(Contract, AHostAtItsLimitOfDescriptorsGetsErrorsAndRecovers) {
  EXPECT_EQ(inChild([&] {
              if (rig_.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
              std::vector<int> taken;
              for (int fd; (fd = ::open("/dev/null", O_RDONLY)) >= 0;) taken.push_back(fd);
              // What it has is enough for calls one at a time.
              if (rig_.digest(session) != CKR_OK) return 2;
              std::atomic<int> wrong{0};
              std::vector<std::thread> threads;
              for (int i = 0; i < 4; ++i)
                threads.emplace_back([&] {
                  for (int n = 0; n < 20; ++n)
                    if (rig_.digest(session) != CKR_OK) ++wrong;
                });
              for (auto& thread : threads) thread.join();
              for (int fd : taken) ::close(fd);
              if (rig_.digest(session) != CKR_OK) return 3;
              if (rig_.finalize() != CKR_OK) return 4;
              return wrong == 0 ? 0 : 5;
            }),
            0);
}

TEST_F(Contract, AThreadWithASmallStackMayCall) {
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  struct Call {
    Rig& rig;
    CK_SLOT_ID slot;
    CK_RV rv = CKR_GENERAL_ERROR;
  } call{rig_, rig_.evilSlot()};
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ASSERT_EQ(::pthread_attr_setstacksize(&attributes, 32 * 1024), 0);
  pthread_t thread;
  ASSERT_EQ(::pthread_create(
                &thread, &attributes,
                [](void* p) -> void* {
                  auto& c = *static_cast<Call*>(p);
                  CK_SESSION_HANDLE session;
                  c.rv =
                      c.rig->C_OpenSession(c.slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session);
                  CK_BYTE bytes[16];
                  if (c.rv == CKR_OK) c.rv = c.rig->C_GenerateRandom(session, bytes, 16);
                  return nullptr;
                },
                &call),
            0);
  ::pthread_join(thread, nullptr);
  ::pthread_attr_destroy(&attributes);
  EXPECT_EQ(call.rv, CKR_OK);
}

TEST(ContractOfSlowCalls, ACancelledThreadLeavesNoHalfUsedChannel) {
  Rig rig;
  rig.configure("slow@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  for (int i = 0; i < 3; ++i) {
    std::pair<Rig*, CK_SESSION_HANDLE> both{&rig, session};
    pthread_t thread;
    ASSERT_EQ(::pthread_create(
                  &thread, nullptr,
                  [](void* p) -> void* {
                    auto& [r, s] = *static_cast<std::pair<Rig*, CK_SESSION_HANDLE>*>(p);
                    CK_BYTE bytes[8];
                    for (;;) {
                      (void)(*r)->C_GenerateRandom(s, bytes, sizeof bytes);
                      ::pthread_testcancel();
                    }
                  },
                  &both),
              0);
    std::this_thread::sleep_for(milliseconds(100));
    ::pthread_cancel(thread);
    void* result = nullptr;
    ::pthread_join(thread, &result);
    EXPECT_EQ(result, PTHREAD_CANCELED);
    EXPECT_EQ(rig.digest(session), CKR_OK);
  }
}

TEST(ContractOfSlowCalls, SignalsThatInterruptReadsDoNotDisturbACall) {
  Rig rig;
  rig.configure("slow@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  static std::atomic<int> signals{0};
  signals = 0;
  struct sigaction before {
  }, count{};
  count.sa_handler = [](int) { ++signals; };  // without SA_RESTART
  ::sigaction(SIGUSR2, &count, &before);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  pthread_t self = ::pthread_self();
  std::atomic<bool> done{false};
  std::thread storm([&] {
    while (!done) {
      ::pthread_kill(self, SIGUSR2);
      std::this_thread::sleep_for(milliseconds(1));
    }
  });
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_OK);
  EXPECT_EQ(text, "random");
  done = true;
  storm.join();
  ::sigaction(SIGUSR2, &before, nullptr);
  EXPECT_GT(signals, 10);
}

TEST(ContractOfSlowCalls, AForkWhileOthersAreInCallsDisturbsNobody) {
  Rig rig;
  rig.configure("slow@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID slot = rig.evilSlot();
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i) {
    CK_SESSION_HANDLE session = rig.open(slot);
    threads.emplace_back([&rig, &good, session] {
      std::string text;
      for (int n = 0; n < 2; ++n)
        if (rig.random(session, text) == CKR_OK && text == "random") ++good;
    });
  }
  std::this_thread::sleep_for(milliseconds(50));
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(inChild([&] {
                CK_ULONG count = 0;
                if (rig->C_GetSlotList(CK_FALSE, nullptr, &count) != CKR_CRYPTOKI_NOT_INITIALIZED)
                  return 1;
                if (rig->C_Finalize(nullptr) != CKR_CRYPTOKI_NOT_INITIALIZED) return 2;
                if (rig->C_Initialize(nullptr) != CKR_OK) return 3;
                if (rig.digest(rig.open(slot)) != CKR_OK) return 4;
                return rig->C_Finalize(nullptr) == CKR_OK ? 0 : 5;
              }),
              0);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
}

// For the stacks of many threads.
constexpr const char* ROOM = "[Limits]\nMemoryMax=infinity\n";

// As many calls at once as may be, in sleep until the last has come; false when one went wrong.
bool burst(Rig& rig, const std::vector<CK_SESSION_HANDLE>& sessions,
           const std::function<void()>& meanwhile) {
  std::vector<std::thread> threads;
  std::atomic<std::size_t> begun{0}, good{0};
  for (CK_SESSION_HANDLE session : sessions)
    threads.emplace_back([&, session] {
      std::string text;
      ++begun;
      if (rig.random(session, text) == CKR_OK && text == "random") ++good;
    });
  while (begun != sessions.size()) std::this_thread::yield();
  meanwhile();
  for (auto& thread : threads) thread.join();
  return good == sessions.size();
}

// What its parent's shared memory takes is no reason for a child to make its own anew for each
// call.
TEST(ContractOfAChild, KeepsItsOwnSharedMemory) {
  Rig rig;
  rig.configure("none@none", {}, "[Limits]\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID slot = rig.evilSlot();
  auto keeps = [] {
    return test::readFile("/proc/self/maps").find("/memfd:bulkhead") != std::string::npos;
  };
  ASSERT_EQ(rig.digest(rig.open(slot), std::string(20 << 20, 'x')), CKR_OK);
  EXPECT_TRUE(keeps());
  EXPECT_EQ(inChild([&] {
              if (keeps()) return 1;
              if (rig->C_Initialize(nullptr) != CKR_OK) return 2;
              if (rig.digest(rig.open(slot), std::string(100'000, 'x')) != CKR_OK) return 3;
              if (!keeps()) return 4;
              return rig->C_Finalize(nullptr) == CKR_OK ? 0 : 5;
            }),
            0);
}

// A child has copies of all channels, and most of those of a burst are closed when it is over.
TEST(ContractOfSlowCalls, ABurstHasRoomWhateverAChildKeepsOpen) {
  EXPECT_EQ(inChild([] {
              Rig rig;
              rig.configure("slow@C_GenerateRandom", "", ROOM);
              if (rig.initialize() != CKR_OK) return 1;
              std::vector<CK_SESSION_HANDLE> sessions;
              for (int i = 0; i < 110; ++i) sessions.push_back(rig.open(rig.evilSlot()));
              std::vector<pid_t> children;
              int status = 0;
              for (int i = 0; i < 3 && status == 0; ++i) {
                bool good = burst(rig, sessions, [&] {
                  // In the middle of a call of 300 ms.
                  std::this_thread::sleep_for(milliseconds(100));
                  pid_t child = ::fork();
                  if (child == 0)
                    for (;;) ::pause();
                  children.push_back(child);
                });
                if (!good) status = 2 + i;
              }
              for (pid_t child : children) {
                ::kill(child, SIGKILL);
                ::waitpid(child, nullptr, 0);
              }
              if (rig.finalize() != CKR_OK) return 9;
              return status;
            }),
            0);
}

TEST(ContractOfSlowCalls, AsManyAsThereMayBeLeaveTheModuleDescriptors) {
  Rig rig;
  rig.configure("slow@C_GenerateRandom", "", ROOM);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::vector<CK_SESSION_HANDLE> sessions;
  for (int i = 0; i < 120; ++i) sessions.push_back(rig.open(rig.evilSlot()));
  std::string process = "/proc/" + std::to_string(test::workerOf(rig.evil()));
  std::error_code error;
  std::ptrdiff_t most = 0;
  EXPECT_TRUE(burst(rig, sessions, [&] {
    for (auto end = Clock::now() + milliseconds(250); Clock::now() < end && !error;) {
      std::filesystem::directory_iterator open(process + "/fd", error);
      if (!error)
        most = std::max(most, std::distance(begin(open), std::filesystem::directory_iterator()));
    }
  }));
  if (error) GTEST_SKIP() << "the worker is not ours to look at: " << error.message();
  rlimit limit{};
  ASSERT_EQ(::prlimit(test::workerOf(rig.evil()), RLIMIT_NOFILE, nullptr, &limit), 0);
  std::printf("%td open files of %llu\n", most, static_cast<unsigned long long>(limit.rlim_cur));
  EXPECT_GE(limit.rlim_cur, static_cast<rlim_t>(most) + 128);
}

TEST_F(Contract, NoWorkerOutlivesAHostThatExitsWithoutFinalize) {
  Started started = startHost(rig_, [] { ::_exit(0); });
  ::waitpid(started.host, nullptr, 0);
  expectAllGone(started);
}

TEST_F(Contract, NoWorkerOutlivesAHostThatRunsItsExitHandlers) {
  Started started = startHost(rig_, [] { ::exit(0); });
  ::waitpid(started.host, nullptr, 0);
  expectAllGone(started);
}

TEST_F(Contract, NoWorkerOutlivesAHostThatIsKilled) {
  Started started = startHost(rig_, [] { ::pause(); });
  ::kill(started.host, SIGKILL);
  ::waitpid(started.host, nullptr, 0);
  expectAllGone(started);
}

// The children that it forked hold its sockets open, and are no host.
TEST_F(Contract, NoWorkerOutlivesAHostWhoseChildrenDo) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  Started started = startHost(rig_, [&] {
    ::close(ends[1]);
    if (::fork() == 0) {
      char byte;
      (void)!::read(ends[0], &byte, 1);
      ::_exit(0);
    }
    ::raise(SIGKILL);
  });
  ::waitpid(started.host, nullptr, 0);
  expectAllGone(started);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(Contract, AWorkerThatIsStoppedGoesWithItsHost) {
  Started started = startHost(rig_, [&] {
    ::kill(test::workerOf(rig_.evil()), SIGSTOP);
    ::raise(SIGKILL);
  });
  ::waitpid(started.host, nullptr, 0);
  expectAllGone(started);
}

TEST_F(Contract, AHostMayGiveUpItsRightsAfterTheStart) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: there are no rights to give up";
  EXPECT_EQ(inChild([&] {
              if (rig_.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
              if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 2;
              if (rig_.digest(session) != CKR_OK) return 3;
              auto processes = test::processes();
              if (rig_.finalize() != CKR_OK) return 4;
              for (pid_t pid : processes)
                if (!test::eventually([pid] { return !test::alive(pid); })) return 5;
              return 0;
            }),
            0);
}

TEST_F(Contract, DlcloseUnloadsNothingThatIsInUse) {
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  void* again = ::dlopen(test::proxyPath().c_str(), RTLD_NOW);
  ASSERT_NE(again, nullptr);
  ::dlclose(again);
  ::dlclose(again);
  ::dlclose(again);
  EXPECT_EQ(rig_.digest(session), CKR_OK);
}

}  // namespace
}  // namespace bulkhead::hostile
