// SPDX-License-Identifier: BSD-2-Clause
//
// How soon a death is told, and how little of it a neighbour notices. Times are measured against
// each other within one run and printed; what is asserted leaves room for a machine that is busy.
#include <poll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

using Micros = std::chrono::duration<double, std::micro>;

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

// From the death of a worker to the return of the call that it was in. The death is seen by a
// pidfd, which is readable as soon as the process is dead.
TEST(Deaths, AreToldAtOnce) {
  Rig rig("error");
  rig.configure("hang@C_GenerateRandom", "CallTimeoutSec=1h\nStartLimitBurst=1000");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID slot = rig.evilSlot();
  std::vector<double> after;
  for (int i = 0; i < 30; ++i) {
    CK_SESSION_HANDLE session = rig.open(slot);
    pid_t worker = test::workerOf(rig.evil());
    ASSERT_GT(worker, 0);
    int death = static_cast<int>(::syscall(SYS_pidfd_open, worker, 0));
    ASSERT_GE(death, 0);
    Clock::time_point died, returned;
    std::thread watch([&] {
      pollfd one{death, POLLIN, 0};
      while (::poll(&one, 1, -1) != 1) {
      }
      died = Clock::now();
    });
    std::thread call([&] {
      std::string text;
      EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);
      returned = Clock::now();
    });
    std::this_thread::sleep_for(milliseconds(20));
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
    call.join();
    watch.join();
    ::close(death);
    // The call's own thread can be the faster one of the two.
    after.push_back(std::max(0.0, Micros(returned - died).count()));
  }
  std::printf("a call returns after its worker's death: median %.0f us, p90 %.0f us, max %.0f us\n",
              quantile(after, 0.5), quantile(after, 0.9), quantile(after, 1));
  // 50 ms, of the typical death: the worst is the machine's.
  EXPECT_LT(quantile(after, 0.5), 50'000);
}

// The neighbour's calls in many short rounds, now with and now without a module beside it that
// crashes, and is restarted, as often as ten times a second: a crash loop within a StartLimitBurst=
// that is generous. Without it, the same sessions are opened and closed on the same slot, so that
// the rounds differ in the crashes alone.
TEST(Neighbours, NoticeNothingOfACrashLoop) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer's time is not the product's";
  Rig rig("error");
  rig.configure("segv@C_GenerateRandom", "StartLimitBurst=100000");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID evil = rig.evilSlot(), good = rig.goodSlot();
  CK_SESSION_HANDLE neighbour = rig.open(good);

  enum class Loop { Quiet, Crashes, Ends };
  std::atomic<Loop> loop{Loop::Quiet};
  std::atomic<unsigned> crashes{0};
  std::thread crasher([&] {
    for (Loop now; (now = loop.load()) != Loop::Ends;) {
      CK_SESSION_HANDLE session;
      if (rig->C_OpenSession(evil, CKF_SERIAL_SESSION, nullptr, nullptr, &session) == CKR_OK) {
        std::string text;
        if (now == Loop::Crashes && rig.random(session, text) == CKR_DEVICE_REMOVED)
          ++crashes;
        else
          (void)rig->C_CloseSession(session);
      }
      std::this_thread::sleep_for(milliseconds(100));
    }
  });

  constexpr int ROUNDS = 40, CALLS = 400;
  std::vector<double> ratios, quiet, loud;
  unsigned wrong = 0;
  auto round = [&](Loop what) {
    loop = what;
    std::vector<double> times;
    for (int i = 0; i < CALLS; ++i) {
      CK_SESSION_INFO info;
      auto start = Clock::now();
      if (rig->C_GetSessionInfo(neighbour, &info) != CKR_OK) ++wrong;
      times.push_back(Micros(Clock::now() - start).count());
      // Spread over the interval in which a crash happens.
      if (i % 4 == 3) std::this_thread::sleep_for(milliseconds(1));
    }
    return quantile(times, 0.99);
  };
  (void)round(Loop::Quiet);
  for (int i = 0; i < ROUNDS; ++i) {
    // Which is first changes, as the machine does.
    double with = 0, without = 0;
    if (i % 2 == 0) without = round(Loop::Quiet);
    with = round(Loop::Crashes);
    if (i % 2 != 0) without = round(Loop::Quiet);
    quiet.push_back(without);
    loud.push_back(with);
    ratios.push_back(with / without);
  }
  loop = Loop::Ends;
  crasher.join();
  std::printf(
      "p99 of a neighbour's calls, median of %d rounds: %.0f us, in a crash loop %.0f us; "
      "ratio %.2f (quartiles %.2f to %.2f), %u crashes\n",
      ROUNDS, quantile(quiet, 0.5), quantile(loud, 0.5), quantile(ratios, 0.5),
      quantile(ratios, 0.25), quantile(ratios, 0.75), crashes.load());
  EXPECT_EQ(wrong, 0U);
  EXPECT_GT(crashes, static_cast<unsigned>(ROUNDS) / 2);
  EXPECT_LT(quantile(ratios, 0.5), 2.0);
  EXPECT_EQ(rig.finalize(), CKR_OK);
}

}  // namespace
}  // namespace bulkhead::hostile
