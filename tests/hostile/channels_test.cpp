// SPDX-License-Identifier: BSD-2-Clause
//
// The pipes that calls travel through, between a host and a worker of which either may do to them
// what it likes: close one of them alone, put something else in its place, keep copies, take away
// what makes them large.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <atomic>

#include "ipc/descriptor.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

using test::SANITIZED;
using test::workerOf;

// Not a limit on how fast the product is: how long a machine that is busy with other things may
// take for what is meant to take no time at all.
constexpr milliseconds PROMPTLY{10'000};

// What this process opened since.
std::map<int, std::string> openedSince(const std::map<int, std::string>& before) {
  std::map<int, std::string> now = test::descriptors();
  std::erase_if(now, [&](auto& one) { return before.contains(one.first); });
  return now;
}

CK_RV seed(Rig& rig, CK_SESSION_HANDLE session) {
  CK_BYTE byte[1] = {};
  return rig->C_SeedRandom(session, byte, 1);
}

// ---- hosts that close descriptors ----

// Each alone, those of the channel and all others: closed, and with a socket of the host's in its
// place; while the worker is there, and when it is dead.
struct Loss {
  bool reused, dead;
};

class OneDescriptorAlone : public testing::TestWithParam<Loss> {};

TEST_P(OneDescriptorAlone, CostsAnErrorAndNoSignal) {
  std::size_t pipes = 0;
  for (std::size_t n = 0;; ++n) {
    int status = inChild([&] {
      ::signal(SIGPIPE, SIG_DFL);
      Rig rig;
      rig.configure("none@none");
      auto before = test::descriptors();
      if (rig.initialize() != CKR_OK) return 1;
      CK_SLOT_ID slot = rig.evilSlot();
      CK_SESSION_HANDLE session = rig.open(slot);
      if (rig.digest(session) != CKR_OK) return 2;
      auto all = openedSince(before);
      if (n >= all.size()) return 77;
      auto [fd, what] = *std::next(all.begin(), static_cast<long>(n));
      bool isPipe = what.starts_with("pipe:");
      if (GetParam().dead && !test::killWorker(rig.evil())) return 3;
      int pair[2] = {-1, -1};
      ::close(fd);
      if (GetParam().reused) {
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0) return 4;
        // Out of the way of that number.
        for (int& end : pair) {
          int moved = ::fcntl(end, F_DUPFD_CLOEXEC, 500);
          ::close(std::exchange(end, moved));
        }
        if (::dup2(pair[0], fd) != fd || ::close(pair[0]) != 0) return 5;
        // Somebody else's bytes, which are nobody's reply.
        if (::send(pair[1], "0123456789abcdef", 16, 0) != 16) return 6;
      }
      CK_RV rv = rig.digest(session);
      if (rv == CKR_OK && (isPipe || GetParam().dead)) return 7;
      // And it gets over it. A worker may take a moment to see that the host has closed its socket.
      auto works = [&] {
        rv = rig->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session);
        return rv == CKR_OK && rig.digest(session) == CKR_OK;
      };
      bool costOne = rv != CKR_OK;
      if (!works() && (costOne || !works())) return 8;
      if (rig.finalize() != CKR_OK) return 9;
      if (GetParam().reused) {
        char bytes[32];
        // The host's socket is as it was: open, with what was for it, and nothing was sent by it.
        if (::recv(fd, bytes, sizeof bytes, 0) != 16) return 10;
        if (::recv(pair[1], bytes, 1, 0) != -1 || errno != EAGAIN) return 11;
      }
      return isPipe ? 50 : 0;
    });
    if (status == 77) break;
    ASSERT_LT(n, 64U);
    EXPECT_TRUE(status == 0 || status == 50) << "descriptor " << n << ": " << status;
    pipes += status == 50;
  }
  EXPECT_GE(pipes, 3U);
}
INSTANTIATE_TEST_SUITE_P(All, OneDescriptorAlone,
                         testing::Values(Loss{false, false}, Loss{true, false}, Loss{false, true},
                                         Loss{true, true}),
                         [](const auto& one) {
                           return std::string(one.param.reused ? "Reused" : "Closed") +
                                  (one.param.dead ? "AfterADeath" : "InLife");
                         });

// Some kinds of descriptors are all of one file, as the system has it: not by that is one known.
TEST(Descriptors, OfHostsThatWaitForEventsGetNotOneByte) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("none@none");
              auto before = test::descriptors();
              if (rig.initialize() != CKR_OK) return 1;
              std::thread waiter([&] {
                CK_SLOT_ID slot;
                (void)rig->C_WaitForSlotEvent(0, &slot, nullptr);
              });
              bool waits = areAsleepIn(SYS_poll, 1);
              std::vector<int> mine;
              for (auto& [fd, what] : openedSince(before)) {
                int own = ::eventfd(0, EFD_NONBLOCK);
                // Not by dup2(): that another thread has made what was there before is a race to a
                // sanitizer, and here it is the point.
                if (own < 0 || ::syscall(SYS_dup3, own, fd, 0) != fd) return 3;
                ::close(own);
                mine.push_back(fd);
              }
              CK_RV rv = rig.finalize();
              waiter.join();
              if (rv != CKR_OK || !waits) return 4;
              for (int fd : mine) {
                eventfd_t count = 0;
                if (::eventfd_read(fd, &count) != -1 || errno != EAGAIN) return 5;
              }
              return 0;
            }),
            0);
}

// Nor is a call held up that is under way at that time, though it waits for what is no reply.
TEST(Descriptors, ThatAreReusedInACallEndIt) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("hang@C_GenerateRandom", "CallTimeoutSec=infinity");
              auto before = test::descriptors();
              if (rig.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              std::atomic<CK_RV> rv{CKR_OK};
              std::thread caller([&] {
                std::string text;
                rv = rig.random(session, text);
              });
              bool waits = areInCalls(1);
              std::vector<int> mine;
              int nothing[2];
              bool made = ::pipe(nothing) == 0;
              for (auto& [fd, what] : openedSince(before)) {
                if (fd == nothing[0] || fd == nothing[1]) continue;
                made = ::dup2(nothing[0], fd) == fd && made;
                mine.push_back(fd);
              }
              caller.join();
              if (!waits || !made || rv != CKR_DEVICE_REMOVED) return 2;
              if (rig.digest(rig.open(rig.evilSlot())) != CKR_OK) return 3;
              if (rig.finalize() != CKR_OK) return 4;
              for (int fd : mine)
                if (::fcntl(fd, F_GETFD) < 0) return 5;
              return 0;
            }),
            0);
}

// As programs do that lock themselves in: they may open nothing more, and poll what they have not,
// either.
TEST(Hosts, ThatMayHaveNoDescriptorsCallAllTheSame) {
  EXPECT_EQ(inChild([] {
              Rig rig;
              rig.configure("segv@C_GenerateRandom");
              if (rig.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              if (rig.digest(session) != CKR_OK) return 2;
              rlimit before{};
              ::getrlimit(RLIMIT_NOFILE, &before);
              rlimit none{0, before.rlim_max};
              if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return 3;
              int status = 0;
              for (int i = 0; i < 20 && status == 0; ++i)
                if (rig.digest(session, std::string(100'000, 'x')) != CKR_OK) status = 4;
              std::string text;
              if (status == 0 && rig.random(session, text) != CKR_DEVICE_REMOVED) status = 5;
              ::setrlimit(RLIMIT_NOFILE, &before);
              if (status == 0 && rig.digest(rig.open(rig.evilSlot())) != CKR_OK) status = 6;
              if (status == 0 && rig.finalize() != CKR_OK) status = 7;
              return status;
            }),
            0);
}

// Of an unprivileged user the system has so many pages for pipes, and then pipes are small.
TEST(Hosts, WhoseUserHasNoMorePagesForPipesCallAllTheSame) {
  if (::geteuid() == 0) GTEST_SKIP() << "root: pipes are always large";
  int status = inChild([] {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 8192);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    std::vector<int> fill;
    int small = 0;
    for (int i = 0; i < 2000 && small == 0; ++i) {
      int ends[2];
      if (::pipe2(ends, O_CLOEXEC) != 0) return 77;
      fill.insert(fill.end(), ends, ends + 2);
      if (::fcntl(ends[0], F_GETPIPE_SZ) <= 8192) small = ::fcntl(ends[0], F_GETPIPE_SZ);
    }
    if (small == 0) return 77;
    Rig rig;
    rig.configure("segv@C_GenerateRandom");
    if (rig.initialize() != CKR_OK) return 1;
    CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
    for (std::size_t size : {1U, 4'000U, 5'000U, 9'000U, 31'000U, 500'000U})
      if (rig.digest(session, std::string(size, 'x')) != CKR_OK) return 2;
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, own = rig.open(rig.evilSlot())] {
        for (int n = 0; n < 20; ++n)
          if (rig.digest(own, std::string(20'000, 'y')) != CKR_OK) ++wrong;
      });
    for (auto& thread : threads) thread.join();
    std::string text;
    if (rig.random(session, text) != CKR_DEVICE_REMOVED) return 3;
    if (rig.digest(rig.open(rig.evilSlot())) != CKR_OK) return 4;
    if (rig.finalize() != CKR_OK) return 5;
    return wrong == 0 ? 0 : 6;
  });
  if (status == 77) GTEST_SKIP() << "no limit to the pages for pipes that could be reached";
  EXPECT_EQ(status, 0);
}

// ---- copies in other processes ----

// Copies of all pipe ends of a process.
std::vector<Descriptor> pipesOf(pid_t pid) {
  std::vector<Descriptor> copies;
  Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  for (int fd = 3; process && fd < 64; ++fd) {
    Descriptor copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
    if (copy && ::fcntl(copy.get(), F_GETPIPE_SZ) > 0) copies.push_back(std::move(copy));
  }
  return copies;
}

// A process that is forked just when a channel is made has the worker's ends as well, and then no
// pipe tells of the worker's death.
TEST(Copies, OfTheWorkersEndsHideNoDeath) {
  Rig rig;
  rig.configure("hang@C_GenerateRandom", "CallTimeoutSec=infinity");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot()), other = rig.open(rig.evilSlot());
  pid_t worker = workerOf(rig.evil());
  ASSERT_GT(worker, 0);
  std::thread caller([&] {
    std::string text;
    EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);
  });
  // The second channel is there when this is answered.
  EXPECT_EQ(rig.digest(other), CKR_OK);
  auto copies = pipesOf(worker);
  EXPECT_LT(timeOf([&] {
              ::kill(worker, SIGKILL);
              caller.join();
            }),
            PROMPTLY);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  EXPECT_EQ(rig.finalize(), CKR_OK);
  if (copies.size() < 4) GTEST_SKIP() << "this user may not take the worker's descriptors";
}

// And one whose worker is dead before it is written to, more than a pipe holds.
TEST(Copies, OfTheWorkersEndsTakeNoRequestForIt) {
  Rig rig;
  rig.configure("none@none", "CallTimeoutSec=infinity");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  for (std::size_t size : {16U, 30'000U, 8U << 20}) {
    CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
    ASSERT_EQ(rig.digest(session), CKR_OK);
    auto copies = pipesOf(workerOf(rig.evil()));
    ASSERT_TRUE(test::killWorker(rig.evil()));
    EXPECT_EQ(rig.digest(session, std::string(size, 'x')), CKR_DEVICE_REMOVED);
  }
}

std::size_t threadsOf(pid_t pid) {
  return static_cast<std::size_t>(
      ::atol(test::procField("/proc/" + std::to_string(pid) + "/status", "Threads").c_str()));
}

// The channels of a burst of threads are closed again, and what served them in the worker goes,
// too, whoever was forked meanwhile.
TEST(Copies, OfTheHostsEndsKeepNoThreadOfTheWorkerBusy) {
  EXPECT_EQ(inChild([] {
              Rig rig;
              rig.configure("slow@C_GenerateRandom", "", "[Limits]\n");
              if (rig.initialize() != CKR_OK) return 1;
              CK_SLOT_ID slot = rig.evilSlot();
              std::vector<CK_SESSION_HANDLE> sessions;
              for (int i = 0; i < 44; ++i) sessions.push_back(rig.open(slot));
              pid_t worker = workerOf(rig.evil());
              // With one channel.
              const std::size_t own = threadsOf(worker);
              std::atomic<int> wrong{0};
              std::vector<std::thread> threads;
              std::atomic<bool> done{false};
              for (CK_SESSION_HANDLE session : sessions)
                threads.emplace_back([&, session] {
                  std::string text;
                  while (!done)
                    if (rig.random(session, text) != CKR_OK) ++wrong;
                });
              bool busy = test::eventually([&] { return threadsOf(worker) > 44; });
              pid_t child = ::fork();
              if (child == 0)
                for (;;) ::pause();
              done = true;
              for (auto& thread : threads) thread.join();
              // With as many as a host keeps.
              bool gone = test::eventually([&] { return threadsOf(worker) <= own + 31; });
              if (!gone) std::printf("%zu threads are left\n", threadsOf(worker));
              bool served = rig.digest(sessions[0]) == CKR_OK;
              ::kill(child, SIGKILL);
              ::waitpid(child, nullptr, 0);
              if (rig.finalize() != CKR_OK) return 3;
              return !busy ? 2 : wrong != 0 ? 4 : !served ? 5 : gone ? 0 : 6;
            }),
            0);
}

// ---- those who wait for ever ----

// A worker is given up, and its supervisor does not end it: nor do those wait for it who have all
// the time of the world.
TEST(Waiting, WithoutADeadlineEndsWithTheWorkerThatIsGivenUp) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("none@none", "CallTimeoutSec=infinity C_SeedRandom:300ms");
              if (rig.initialize() != CKR_OK) return 1;
              CK_SLOT_ID slot = rig.evilSlot();
              CK_SESSION_HANDLE patient = rig.open(slot), hasty = rig.open(slot);
              auto all = test::processes();
              for (pid_t pid : all)
                if (!test::stop(pid)) return 8;
              std::atomic<CK_RV> rv{CKR_OK};
              std::thread waiter([&] { rv = rig.digest(patient); });
              bool waits = areInCalls(1);
              CK_RV given = seed(rig, hasty);
              waiter.join();
              if (!waits) return 7;
              if (given != CKR_DEVICE_REMOVED) return 2;
              if (rv != CKR_DEVICE_REMOVED) return 3;
              if (rig.digest(rig.open(slot)) != CKR_OK) return 4;
              for (pid_t pid : all)
                if (!test::eventually([pid] { return !test::alive(pid); })) return 5;
              return rig.finalize() == CKR_OK ? 0 : 6;
            }),
            0);
}

// ---- workers whose limits leave room for few threads ----

class Room : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    rig_.configure("slow@C_GenerateRandom", {}, std::string("[Limits]\n") + GetParam() + "\n");
    ASSERT_EQ(rig_.initialize(), CKR_OK);
    worker_ = workerOf(rig_.evil());
    for (int i = 0; i < 40; ++i) sessions_.push_back(rig_.open(rig_.evilSlot()));
  }
  // The answers to calls on all sessions at once.
  template <typename Call>
  std::vector<CK_RV> burst(Call&& call) {
    std::vector<CK_RV> answers(sessions_.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < sessions_.size(); ++i)
      threads.emplace_back([&, i] { answers[i] = call(sessions_[i]); });
    for (auto& thread : threads) thread.join();
    return answers;
  }

  Rig rig_;
  pid_t worker_ = -1;
  std::vector<CK_SESSION_HANDLE> sessions_;
};

// Calls beyond them wait, with small requests and with such as no pipe holds, and nothing is lost.
TEST_P(Room, ForFewThreadsCostsNoCallAndNoWorker) {
  const std::vector<CK_RV> good(sessions_.size(), CKR_OK);
  EXPECT_EQ(burst([&](CK_SESSION_HANDLE session) {
              std::string text;
              return rig_.random(session, text);
            }),
            good);
  EXPECT_EQ(burst([&](CK_SESSION_HANDLE session) {
              std::string value(200'000, 'v');
              CK_ATTRIBUTE attribute{CKA_VALUE, value.data(), value.size()};
              CK_OBJECT_HANDLE object;
              return rig_->C_CreateObject(session, &attribute, 1, &object);
            }),
            good);
  EXPECT_EQ(workerOf(rig_.evil()), worker_);
  EXPECT_EQ(rig_.finalize(), CKR_OK);
  EXPECT_TRUE(rig_.logs("says: finalized"));
}
INSTANTIATE_TEST_SUITE_P(All, Room,
                         testing::Values("MemoryMax=200M", "MemoryMax=201M", "MemoryMax=203M",
                                         "MemoryMax=256M", "LimitNOFILE=32", "LimitNOFILE=33"),
                         [](const auto& one) {
                           std::string name = one.param;
                           std::erase(name, '=');
                           return name;
                         });

// A worker that refuses on a channel that it has served is lying, and is asked but once.
TEST(Refusal, OfACallThatWasMadeEndsTheWorker) {
  Rig rig;
  rig.configure("end@C_SeedRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(seed(rig, session), CKR_DEVICE_REMOVED);
  EXPECT_TRUE(rig.logs("on a channel that it has served")) << rig.log();
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  std::string log = rig.log();
  EXPECT_EQ(log.find("says: called"), log.rfind("says: called")) << log;
}

// A host at its limit of descriptors, whose only channel is taken by a call of days.
TEST(Refusal, ComesAtOnceWhereNoChannelIsToBeHad) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("none@none", "CallTimeoutSec=infinity");
              if (rig.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              std::thread waiter([&] {
                CK_SLOT_ID slot;
                (void)rig->C_WaitForSlotEvent(0, &slot, nullptr);
              });
              if (!areAsleepIn(SYS_poll, 1)) return 2;
              rlimit files{256, 256};
              if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return 3;
              std::vector<Descriptor> taken;
              for (Descriptor fd; (fd = Descriptor(::open("/dev/null", O_RDONLY | O_CLOEXEC)));)
                taken.push_back(std::move(fd));
              CK_RV rv = rig.digest(session);
              taken.clear();
              if (rv != CKR_HOST_MEMORY && rv != CKR_OK) return 4;
              if (rig.finalize() != CKR_OK) return 5;
              waiter.join();
              return 0;
            }),
            0);
}

// ---- modules that use the worker's sockets ----

// Descriptors that are under way count against the user, and there is a limit to them.
TEST(Sockets, ThatAModuleStuffsKeepNoOtherFromStarting) {
  Rig rig;
  rig.configure("inflight@C_SeedRandom");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID evil = rig.evilSlot(), good = rig.goodSlot();
  CK_SESSION_HANDLE first = rig.open(evil), second = rig.open(good);
  (void)seed(rig, first);
  ASSERT_TRUE(test::killWorker(rig.good()));
  EXPECT_EQ(rig.digest(second), CKR_DEVICE_REMOVED);
  EXPECT_EQ(rig.digest(rig.open(good)), CKR_OK);
  ASSERT_TRUE(test::killWorker(rig.evil()));
  EXPECT_EQ(rig.digest(first), CKR_DEVICE_REMOVED);
  EXPECT_EQ(rig.digest(rig.open(evil)), CKR_OK);
}

// What closes slowly closes in the worker, and not in the host.
TEST(Sockets, ThatAModuleSendsHoldUpNoEnd) {
  Descriptor listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto name = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(listening.get(), name, size), 0);
  ASSERT_EQ(::listen(listening.get(), 9), 0);
  ASSERT_EQ(::getsockname(listening.get(), name, &size), 0);
  std::string port = std::to_string(ntohs(address.sin_port));
  for (const char* plan : {"linger@init", "linger@C_SeedRandom"}) {
    Rig rig;
    rig.configure(plan, "StartTimeoutSec=5s\nStopTimeoutSec=1s\nEnvironment=PORT=" + port,
                  "[Limits]\nMemoryMax=512M\n[Network]\nNetwork=client\nConnect=tcp:127.0.0.1:" +
                      port + "\n");
    rig.addNeighbour();
    EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.initialize(), CKR_OK); }), PROMPTLY) << plan;
    (void)seed(rig, rig.open(rig.evilSlot()));
    EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY) << plan;
  }
}

TEST(Sockets, TellNothingOfAWorkerThatLivesOn) {
  Rig rig;
  rig.configure("false-report@C_SeedRandom", "CallTimeoutSec=60s");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(seed(rig, session), CKR_DEVICE_REMOVED);
  EXPECT_TRUE(rig.logs("cannot start: all is well")) << rig.log();
  EXPECT_TRUE(rig.logs("was ended by SIGKILL in C_SeedRandom: it has given up")) << rig.log();
}

// ---- hosts whose stderr is a pipe that nobody reads for now ----

TEST(Stderr, ThatIsFullHoldsUpNobody) {
  EXPECT_EQ(inChild([] {
              ::alarm(60);
              Rig rig;
              rig.configure("flood@C_SeedRandom");
              rig.addNeighbour();
              int ends[2];
              if (::pipe2(ends, O_CLOEXEC) != 0 || ::dup2(ends[1], STDERR_FILENO) < 0) return 1;
              if (rig.initialize() != CKR_OK) return 2;
              CK_SLOT_ID good = rig.goodSlot();
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              if (seed(rig, session) != CKR_OK) return 3;
              CK_SESSION_HANDLE other = rig.open(good);
              if (!test::killWorker(rig.good())) return 4;
              if (rig.digest(other) != CKR_DEVICE_REMOVED) return 7;
              if (rig.digest(rig.open(good)) != CKR_OK) return 5;
              return rig.finalize() == CKR_OK ? 0 : 6;
            }),
            0);
}

// ---- modules that use the worker's pipes ----

class Tampering : public testing::TestWithParam<const char*> {};

// What a module may do with the worker's pipes without harm to itself is none of the host's
// business.
TEST_P(Tampering, CostsTheHostNothing) {
  Rig rig;
  rig.configure(std::string(GetParam()) + "@C_SeedRandom");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(seed(rig, session), CKR_OK);
  for (std::size_t size : {1U, 5'000U, 31'000U, 1U << 20})
    EXPECT_EQ(rig.digest(session, std::string(size, 'x')), CKR_OK) << size;
  EXPECT_EQ(rig.digest(rig.open(rig.goodSlot())), CKR_OK);
  EXPECT_EQ(rig.finalize(), CKR_OK);
}
INSTANTIATE_TEST_SUITE_P(All, Tampering, testing::Values("pipe-small", "pipe-flags"),
                         [](const auto& one) { return std::string(one.param + 5); });

class Breaking : public testing::TestWithParam<const char*> {};

TEST_P(Breaking, CostsOneErrorCode) {
  Rig rig;
  rig.configure(std::string(GetParam()) + "@C_GenerateRandom",
                "CallTimeoutSec=1h C_GenerateRandom:300ms");
  rig.addNeighbour();
  ASSERT_NO_FATAL_FAILURE(expectOneErrorCode(rig, PROMPTLY));
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}
INSTANTIATE_TEST_SUITE_P(All, Breaking,
                         testing::Values("pipe-swapped", "pipe-looped", "pipe-kept", "pipe-filled"),
                         [](const auto& one) { return std::string(one.param + 5); });

TEST(Stealing, RequestsEndsTheWorkerAndNoOther) {
  Rig rig;
  rig.configure("pipe-stolen@C_SeedRandom", "CallTimeoutSec=300ms");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot()), neighbour = rig.open(rig.goodSlot());
  EXPECT_EQ(seed(rig, session), CKR_OK);
  CK_RV rv = CKR_OK;
  for (int i = 0; i < 10'000 && rv == CKR_OK; ++i) rv = rig.digest(session);
  EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
  EXPECT_EQ(rig.digest(neighbour), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
}

}  // namespace
}  // namespace bulkhead::hostile
