// SPDX-License-Identifier: BSD-2-Clause
//
// Whatever a module does, it costs its consumers one error code: the call in flight returns
// CKR_DEVICE_REMOVED, a new worker serves the next session, and nobody else notices. The plain ways
// to die and to hang, at every point, are in matrix_test.cpp.
#include <fenv.h>
#include <locale.h>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

using test::workerOf;

// Not a limit on how fast the product is: how long a machine that is busy with other things may
// take for what is meant to take no time at all.
constexpr milliseconds PROMPTLY{5'000};
// Short, so that a test of a hang is not one.
constexpr const char* DEADLINES = "CallTimeoutSec=300ms";

struct Case {
  const char* plan;
  const char* worker = "";  // lines of [Worker]
  const char* logged = "";  // a part of the log
};

std::string nameOf(const testing::TestParamInfo<Case>& info) {
  std::string name;
  for (char c : std::string(info.param.plan)) {
    if (c == '@') name += "_at_";
    if (::isalnum(c) || c == '_') name += c;
  }
  return name;
}

// ---- a call in flight ----

class DeathInACall : public testing::TestWithParam<Case> {};

TEST_P(DeathInACall, CostsOneErrorCode) {
  Rig rig;
  rig.configure(GetParam().plan, GetParam().worker);
  rig.addNeighbour();
  ASSERT_NO_FATAL_FAILURE(expectOneErrorCode(rig, PROMPTLY));
  if (GetParam().logged[0] != '\0') {
    EXPECT_TRUE(rig.logs(GetParam().logged)) << rig.log();
  }
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}

INSTANTIATE_TEST_SUITE_P(ByNotAnswering, DeathInACall,
                         testing::Values(Case{"frame-stall@C_GenerateRandom", DEADLINES,
                                              "took longer than CallTimeoutSec="},
                                         Case{"frame-drip@C_GenerateRandom", DEADLINES,
                                              "took longer than CallTimeoutSec="},
                                         Case{"hang@C_GenerateRandom",
                                              "CallTimeoutSec=1h C_GenerateRandom:200ms",
                                              "took longer than CallTimeoutSec="}),
                         nameOf);

INSTANTIATE_TEST_SUITE_P(
    ByLyingOnTheWire, DeathInACall,
    testing::Values(Case{"frame-garbage@C_GenerateRandom", DEADLINES},
                    Case{"frame-oversized@C_GenerateRandom", "", "the rules of frames"},
                    Case{"frame-zero@C_GenerateRandom", "", "the rules of frames"},
                    Case{"frame-double@C_GenerateRandom"}, Case{"frame-forged@C_GenerateRandom"},
                    Case{"frame-sequence@C_GenerateRandom"}, Case{"frame-cyclic@C_GenerateRandom"},
                    Case{"frame-far@C_GenerateRandom"}, Case{"frame-segments@C_GenerateRandom"},
                    Case{"frame-list@C_GenerateRandom"}, Case{"frame-truncated@C_GenerateRandom"},
                    Case{"frame-flood@C_GenerateRandom", DEADLINES}),
    nameOf);

TEST(Containment, ACorruptHeapEndsTheCallThatComesUponIt) {
  if (!test::HEAP_IS_CHECKED) GTEST_SKIP() << "this sanitizer's heap does not notice";
  Rig rig;
  rig.configure("heap-later@C_Digest");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot()), neighbour = rig.open(rig.goodSlot());
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  CK_BYTE in[8] = "earlier", out[3][64] = {};
  auto digest = [&](int call) {
    CK_ULONG size = sizeof out[call];
    CK_RV rv = rig->C_DigestInit(session, &mechanism);
    return rv == CKR_OK ? rig->C_Digest(session, in, sizeof in, out[call], &size) : rv;
  };
  // The first corrupts it, and it is the third that needs it.
  EXPECT_EQ(digest(0), CKR_OK);
  EXPECT_EQ(digest(1), CKR_OK);
  EXPECT_EQ(digest(2), CKR_DEVICE_REMOVED);
  for (int call : {0, 1}) EXPECT_EQ(std::memcmp(out[call], in, sizeof in), 0) << call;
  EXPECT_EQ(digest(2), CKR_SESSION_HANDLE_INVALID);
  EXPECT_TRUE(rig.logs("SIGABRT in C_Digest")) << rig.log();
  EXPECT_EQ(rig.digest(neighbour), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
}

TEST(Containment, AReplyThatNobodyAskedForEndsTheWorker) {
  Rig rig;
  rig.configure("frame-later@C_SeedRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  CK_BYTE seed[1] = {};
  ASSERT_EQ(rig->C_SeedRandom(session, seed, 1), CKR_OK);
  // It comes 50 ms after the answer that was asked for.
  CK_RV rv = CKR_OK;
  EXPECT_TRUE(test::eventually([&] {
    rv = rig->C_SeedRandom(session, seed, 1);
    return rv != CKR_OK;
  }));
  EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
}

TEST(Containment, GarbageOnTheControlSocketHarmsNobody) {
  Rig rig;
  // Nobody reads it: it fills, and then the module waits.
  rig.configure("control-garbage@C_SeedRandom", DEADLINES);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  CK_BYTE seed[1] = {};
  for (int i = 0; i < 200; ++i) {
    CK_RV rv = rig->C_SeedRandom(session, seed, 1);
    if (rv == CKR_DEVICE_REMOVED) break;
    ASSERT_EQ(rv, CKR_OK);
  }
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  EXPECT_EQ(rig.finalize(), CKR_OK);
}

TEST(Containment, AStoppedWorkerThatReadsNothingIsNotWrittenToForEver) {
  Rig rig;
  rig.configure("none@none", DEADLINES);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  ASSERT_EQ(rig.digest(session), CKR_OK);
  ASSERT_TRUE(test::stop(workerOf(rig.evil())));
  // More than a socket holds.
  CK_RV rv = CKR_OK;
  EXPECT_LT(timeOf([&] { rv = rig.digest(session, std::string(8 << 20, 'x')); }), PROMPTLY);
  EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
}

TEST(Containment, ADeadSupervisorTakesItsWorkerWithIt) {
  Rig rig;
  rig.configure("hang@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  pid_t worker = workerOf(rig.evil());
  std::thread killer([] {
    EXPECT_TRUE(areInCalls(1));
    for (pid_t supervisor : test::supervisors()) ::kill(supervisor, SIGKILL);
  });
  std::string text;
  CK_RV rv = CKR_OK;
  EXPECT_LT(timeOf([&] { rv = rig.random(session, text); }), PROMPTLY);
  killer.join();
  EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
  EXPECT_TRUE(test::eventually([&] { return !test::alive(worker); }));
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
}

TEST(Containment, AStoppedSupervisorHoldsNobodyUp) {
  Rig rig;
  rig.configure("hang@C_GenerateRandom", "CallTimeoutSec=300ms\nStopTimeoutSec=300ms");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  pid_t worker = workerOf(rig.evil());
  for (pid_t supervisor : test::supervisors()) ASSERT_TRUE(test::stop(supervisor));
  std::string text;
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED); }), PROMPTLY);
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY);
  EXPECT_TRUE(test::eventually([&] { return !test::alive(worker); }));
}

TEST(Containment, CallsOnOtherThreadsReturnWhenTheWorkerDies) {
  Rig rig;
  rig.configure("hang@C_Digest");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID slot = rig.evilSlot();
  std::vector<CK_RV> answers(8, CKR_OK);
  std::vector<std::thread> threads;
  for (auto& rv : answers) {
    CK_SESSION_HANDLE session = rig.open(slot);
    threads.emplace_back([&rig, &rv, session] { rv = rig.digest(session); });
  }
  EXPECT_TRUE(areInCalls(answers.size()));
  ASSERT_EQ(::kill(workerOf(rig.evil()), SIGKILL), 0);
  EXPECT_LT(timeOf([&] {
              for (auto& thread : threads) thread.join();
            }),
            PROMPTLY);
  for (CK_RV rv : answers) EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
}

TEST(Containment, ASlowCallHoldsUpNoOther) {
  Rig rig;
  rig.configure("hang@C_GenerateRandom", "CallTimeoutSec=1h");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE blocked = rig.open(rig.evilSlot()), free = rig.open(rig.evilSlot());
  CK_SESSION_HANDLE neighbour = rig.open(rig.goodSlot());
  std::thread thread([&] {
    std::string text;
    EXPECT_EQ(rig.random(blocked, text), CKR_CRYPTOKI_NOT_INITIALIZED);
  });
  EXPECT_TRUE(areInCalls(1));
  EXPECT_LT(timeOf([&] {
              for (int i = 0; i < 20; ++i) {
                EXPECT_EQ(rig.digest(free), CKR_OK);
                EXPECT_EQ(rig.digest(neighbour), CKR_OK);
              }
              CK_SESSION_HANDLE more = rig.open(rig.evilSlot());
              EXPECT_EQ(rig->C_CloseSession(more), CKR_OK);
              EXPECT_EQ(test::slots(rig.functions(), true).size(), 2U);
            }),
            PROMPTLY);
  // And C_Finalize ends the blocked one.
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY);
  thread.join();
}

// ---- the restart budget ----

TEST(Containment, PastTheRestartLimitTheTokenIsNotPresent) {
  Rig rig;
  rig.configure("segv@C_GenerateRandom", "StartLimitBurst=2\nStartLimitIntervalSec=1h");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  auto slots = test::slots(rig.functions());
  std::string text;
  for (int life = 0; life < 3; ++life) {
    CK_SESSION_HANDLE session = rig.open(slots[0]);
    EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED) << life;
  }
  for (int i = 0; i < 3; ++i) {
    CK_SESSION_HANDLE session;
    EXPECT_EQ(rig->C_OpenSession(slots[0], CKF_SERIAL_SESSION, nullptr, nullptr, &session),
              CKR_TOKEN_NOT_PRESENT);
    CK_TOKEN_INFO info;
    EXPECT_EQ(rig->C_GetTokenInfo(slots[0], &info), CKR_TOKEN_NOT_PRESENT);
  }
  EXPECT_TRUE(test::eventually([&] { return workerOf(rig.evil()) == -1; }));
  EXPECT_EQ(test::slots(rig.functions()), slots);
  EXPECT_EQ(test::slots(rig.functions(), true), std::vector<CK_SLOT_ID>{slots[1]});
  EXPECT_EQ(rig.digest(rig.open(slots[1])), CKR_OK);
  // Another C_Initialize is another beginning.
  EXPECT_EQ(rig.finalize(), CKR_OK);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(test::slots(rig.functions()), slots);
  EXPECT_EQ(rig.digest(rig.open(slots[0])), CKR_OK);
}

TEST(Containment, WhateverLooksForATokenStartsANewWorker) {
  Rig rig;
  rig.configure("segv@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  const std::vector<CK_SLOT_ID> slots = test::slots(rig.functions());
  CK_TOKEN_INFO info{};
  const std::function<void()> looks[] = {
      [&] { (void)rig.open(slots[0]); },
      [&] { EXPECT_EQ(rig->C_GetTokenInfo(slots[0], &info), CKR_OK); },
      [&] { EXPECT_EQ(test::slots(rig.functions(), true), slots); }};
  for (auto& look : looks) {
    std::string text;
    EXPECT_EQ(rig.random(rig.open(slots[0]), text), CKR_DEVICE_REMOVED);
    EXPECT_TRUE(test::eventually([&] { return workerOf(rig.evil()) == -1; }));
    look();
    EXPECT_GT(workerOf(rig.evil()), 0);
  }
}

TEST(Containment, AfterTheIntervalTheTokenIsThereAgain) {
  Rig rig;
  rig.configure("segv@C_GenerateRandom", "StartLimitBurst=1\nStartLimitIntervalSec=1s");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID slot = rig.evilSlot();
  std::string text;
  for (int life = 0; life < 2; ++life)
    EXPECT_EQ(rig.random(rig.open(slot), text), CKR_DEVICE_REMOVED);
  CK_SESSION_HANDLE session;
  EXPECT_EQ(rig->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session),
            CKR_TOKEN_NOT_PRESENT);
  std::this_thread::sleep_for(milliseconds(1'100));
  EXPECT_EQ(rig.digest(rig.open(slot)), CKR_OK);
}

TEST(Containment, AnObjectHandleFromBeforeTheDeathNamesNothingAfterIt) {
  Rig rig;
  rig.configure("segv@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID slot = rig.evilSlot();
  auto find = [&](CK_SESSION_HANDLE session) {
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_ULONG count = 0;
    EXPECT_EQ(rig->C_FindObjectsInit(session, nullptr, 0), CKR_OK);
    EXPECT_EQ(rig->C_FindObjects(session, &object, 1, &count), CKR_OK);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(rig->C_FindObjectsFinal(session), CKR_OK);
    return object;
  };
  char value[8];
  CK_ATTRIBUTE attribute{CKA_VALUE, value, sizeof value};
  CK_SESSION_HANDLE session = rig.open(slot);
  CK_OBJECT_HANDLE before = find(session);
  EXPECT_EQ(rig->C_GetAttributeValue(session, before, &attribute, 1), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);
  session = rig.open(slot);
  CK_OBJECT_HANDLE after = find(session);
  EXPECT_NE(after, before);
  EXPECT_EQ(rig->C_GetAttributeValue(session, after, &attribute, 1), CKR_OK);
  EXPECT_EQ(rig->C_GetAttributeValue(session, before, &attribute, 1), CKR_OBJECT_HANDLE_INVALID);
}

// ---- before it is ready ----

class DeathAtStart : public testing::TestWithParam<Case> {};

TEST_P(DeathAtStart, LeavesTheOtherModules) {
  Rig rig;
  // Those that end by themselves are to do so within it, which takes longer with a sanitizer.
  std::string timeout = SANITIZED ? "StartTimeoutSec=3s\n" : "StartTimeoutSec=400ms\n";
  rig.configure(GetParam().plan, timeout + GetParam().worker);
  rig.addNeighbour();
  CK_RV rv = CKR_OK;
  EXPECT_LT(timeOf([&] { rv = rig.initialize(); }), PROMPTLY);
  ASSERT_EQ(rv, CKR_OK);
  auto slots = test::slots(rig.functions());
  ASSERT_EQ(slots.size(), 1U);
  EXPECT_EQ(rig.digest(rig.open(slots[0])), CKR_OK);
  EXPECT_TRUE(test::eventually([&] { return workerOf(rig.evil()) == -1; }));
  EXPECT_TRUE(rig.logs(GetParam().logged[0] == '\0' ? rig.evil() : GetParam().logged)) << rig.log();
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}

INSTANTIATE_TEST_SUITE_P(AnyPoint, DeathAtStart,
                         testing::Values(Case{"control-garbage@ctor"}, Case{"control-garbage@init"},
                                         Case{"null-table@getlist", "", "gave no function list"},
                                         Case{"error@getlist", "", "gave no function list"},
                                         Case{"version-zero@getlist", "", "0.0"},
                                         Case{"version-absurd@getlist", "", "255.255"},
                                         Case{"no-initialize@getlist", "", "C_Initialize"}),
                         nameOf);

// Whatever C_Initialize answers but CKR_OK: no worker, and the log says what it was. CKR_CANT_LOCK
// does so where it is the answer to every way of asking.
INSTANTIATE_TEST_SUITE_P(
    ByWhatInitializeReturns, DeathAtStart,
    testing::Values(
        Case{"returns:0x5@C_Initialize", "", "C_Initialize answered CKR_GENERAL_ERROR"},
        Case{"returns:0x7@C_Initialize", "", "C_Initialize answered CKR_ARGUMENTS_BAD"},
        Case{"returns:0x9@C_Initialize", "", "C_Initialize answered CKR_NEED_TO_CREATE_THREADS"},
        Case{"returns:0xa@C_Initialize", "", "C_Initialize answered CKR_CANT_LOCK"},
        Case{"returns:0x30@C_Initialize", "", "C_Initialize answered CKR_DEVICE_ERROR"},
        Case{"returns:0x54@C_Initialize", "", "C_Initialize answered CKR_FUNCTION_NOT_SUPPORTED"},
        Case{"returns:0x190@C_Initialize", "",
             "C_Initialize answered CKR_CRYPTOKI_NOT_INITIALIZED"},
        Case{"returns:0xdeadbeef@C_Initialize", "", "C_Initialize answered CKR_0xdeadbeef"},
        Case{"returns:0xffffffffffffffff@C_Initialize", "",
             "C_Initialize answered CKR_0xffffffffffffffff"}),
    nameOf);

// Some libraries do it themselves, in their constructors. The worker is nobody else's, so it is
// this worker's initialisation.
TEST(Containment, AModuleThatSaysItIsInitializedAlreadyIsTakenAtItsWord) {
  Rig rig;
  rig.configure("returns:0x191@C_Initialize");
  rig.addNeighbour();
  for (int life = 0; life < 2; ++life) {
    ASSERT_EQ(rig.initialize(), CKR_OK);
    ASSERT_EQ(test::slots(rig.functions()).size(), 2U) << rig.log();
    EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
    EXPECT_EQ(rig.digest(rig.open(rig.goodSlot())), CKR_OK);
    EXPECT_EQ(rig.finalize(), CKR_OK);
  }
}

TEST(Containment, AModuleThatDiesAtStartIsNotTriedForEver) {
  Rig rig;
  rig.configure("segv@init", "StartLimitBurst=2\nStartLimitIntervalSec=1h");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(test::slots(rig.functions()).size(), 1U);
  EXPECT_TRUE(rig.logs("SIGSEGV in C_Initialize"));
  std::size_t deaths = 0;
  std::string log = rig.log();
  for (auto at = log.find("worker was ended by"); at != std::string::npos;
       at = log.find("worker was ended by", at + 1))
    ++deaths;
  EXPECT_LE(deaths, 3U) << log;
}

TEST(Containment, ManyHangingModulesTakeTheLongestTimeoutNotTheSum) {
  Rig rig;
  rig.configure("none@none");
  for (int i = 0; i < 6; ++i) {
    std::string name = "h" + std::to_string(::getpid()) + "-x" + std::to_string(i);
    rig.setup().addModule(name, rig.copy(name + ".so"));
    rig.setup().addDropIn(name,
                          "[Worker]\nEnvironment=HOSTILE=hang@init\nStartTimeoutSec=1500ms\n");
  }
  CK_RV rv = CKR_OK;
  auto took = timeOf([&] { rv = rig.initialize(); });
  EXPECT_EQ(rv, CKR_OK);
  EXPECT_GE(took, milliseconds(1'500));
  EXPECT_LT(took, milliseconds(2 * 1'500));
}

TEST(Containment, ACriticalModuleThatDiesFailsTheStart) {
  Rig rig;
  rig.configure("segv@init");
  rig.setup().addModule(rig.evil(), Rig::module(), "critical: yes\n");
  rig.addNeighbour();
  CK_RV rv = rig.initialize();
  EXPECT_NE(rv, CKR_OK);
  EXPECT_NE(rv, CKR_CRYPTOKI_ALREADY_INITIALIZED);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}

// ---- lies in answers ----

struct Guarded {
  // What is behind the room that a call is given.
  static constexpr std::size_t ROOM = 64, BEHIND = 8192;
  std::vector<unsigned char> bytes = std::vector<unsigned char>(ROOM + BEHIND, 0xcc);
  bool untouched() const {
    return std::all_of(bytes.begin() + ROOM, bytes.end(),
                       [](unsigned char c) { return c == 0xcc; });
  }
};

// A lie, and what it costs: the worker, by whom it is found out, or nothing.
struct Told {
  const char* plan;
  const char* logged;  // of the worker's end; empty where it lives
};

// What the worker makes of its module's answer is checked before it is sent: it ends itself rather
// than go on with a module that has written where it must not.
constexpr const char* BY_THE_WORKER = "worker exited with status 70 in ";
constexpr const char* BY_THE_HOST = "worker was ended by SIGKILL: ";
constexpr const char* BY_THE_KERNEL = "worker was ended by SIGSEGV in ";

class Lie : public testing::TestWithParam<Told> {
 public:
  static std::string nameOf(const testing::TestParamInfo<Told>& info) {
    return bulkhead::hostile::nameOf({{info.param.plan}, info.index});
  }

 protected:
  void SetUp() override {
    rig_.configure(GetParam().plan);
    rig_.addNeighbour();
    ASSERT_EQ(rig_.initialize(), CKR_OK);
    session_ = rig_.open(rig_.evilSlot());
    neighbour_ = rig_.open(rig_.goodSlot());
    worker_ = workerOf(rig_.evil());
    ASSERT_GT(worker_, 0);
  }
  // Whether the answer was believed, after which `rv` is the module's own.
  void expectCost(CK_RV rv, CK_RV own = CKR_OK) {
    if (GetParam().logged[0] == '\0') {
      EXPECT_EQ(rv, own);
      EXPECT_EQ(workerOf(rig_.evil()), worker_);
      CK_SESSION_INFO info;
      EXPECT_EQ(rig_->C_GetSessionInfo(session_, &info), CKR_OK);
    } else {
      EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
      EXPECT_TRUE(rig_.logs(GetParam().logged)) << rig_.log();
      EXPECT_TRUE(test::eventually([&] { return !test::alive(worker_); }));
      EXPECT_EQ(rig_->C_CloseSession(session_), CKR_SESSION_HANDLE_INVALID);
      (void)rig_.open(rig_.evilSlot());
    }
    EXPECT_EQ(rig_.digest(neighbour_), CKR_OK);
  }
  Rig rig_;
  CK_SESSION_HANDLE session_ = CK_INVALID_HANDLE, neighbour_ = CK_INVALID_HANDLE;
  pid_t worker_ = -1;
};

using LieInDigest = Lie;
TEST_P(LieInDigest, WritesNothingPastTheRoom) {
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  ASSERT_EQ(rig_->C_DigestInit(session_, &mechanism), CKR_OK);
  Guarded out;
  CK_BYTE in[8] = {};
  CK_ULONG size = Guarded::ROOM;
  CK_RV rv = rig_->C_Digest(session_, in, sizeof in, out.bytes.data(), &size);
  EXPECT_TRUE(out.untouched());
  expectCost(rv);
}
INSTANTIATE_TEST_SUITE_P(Lengths, LieInDigest,
                         testing::Values(Told{"longer@C_Digest", BY_THE_WORKER},
                                         Told{"count@C_Digest", BY_THE_WORKER},
                                         Told{"beyond@C_Digest", BY_THE_WORKER}),
                         Lie::nameOf);

// As callers do it, who ask for the length and then offer so much.
using LieInTwoCalls = Lie;
TEST_P(LieInTwoCalls, WritesNothingPastTheRoom) {
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  ASSERT_EQ(rig_->C_DigestInit(session_, &mechanism), CKR_OK);
  std::string plan = GetParam().plan;
  CK_BYTE in[64] = {};
  CK_ULONG size = 0;
  ASSERT_EQ(rig_->C_Digest(session_, in, sizeof in, nullptr, &size), CKR_OK);
  ASSERT_EQ(size, plan.starts_with("shrinks") ? 10'000U : 10U);
  std::vector<unsigned char> out(size + Guarded::BEHIND, 0xcc);
  const CK_ULONG room = size;
  CK_RV rv = rig_->C_Digest(session_, in, sizeof in, out.data(), &size);
  const bool shrinks = plan.starts_with("shrinks"), told = plan.starts_with("grows-told");
  auto from = out.begin() + static_cast<long>(shrinks ? 10 : room);
  EXPECT_TRUE(std::all_of(from, out.end(), [](unsigned char c) { return c == 0xcc; }));
  if (shrinks || told) {
    // For the caller to ask again with so much.
    EXPECT_EQ(size, told ? 10'000U : 10U);
  }
  expectCost(rv, told ? CKR_BUFFER_TOO_SMALL : CKR_OK);
}
INSTANTIATE_TEST_SUITE_P(Lengths, LieInTwoCalls,
                         testing::Values(Told{"grows@C_Digest", BY_THE_WORKER},
                                         Told{"grows-told@C_Digest", ""},
                                         Told{"shrinks@C_Digest", ""}),
                         Lie::nameOf);

using LieInFind = Lie;
TEST_P(LieInFind, WritesNothingPastTheRoom) {
  ASSERT_EQ(rig_->C_FindObjectsInit(session_, nullptr, 0), CKR_OK);
  CK_OBJECT_HANDLE objects[8];
  for (auto& one : objects) one = 0xcccc;
  CK_ULONG count = 0;
  CK_RV rv = rig_->C_FindObjects(session_, objects, 4, &count);
  for (int i = 4; i < 8; ++i) EXPECT_EQ(objects[i], 0xccccU);
  expectCost(rv);
}
// Of a first worker any handle is one.
INSTANTIATE_TEST_SUITE_P(Counts, LieInFind,
                         testing::Values(Told{"count@C_FindObjects", BY_THE_WORKER},
                                         Told{"handle@C_FindObjects", ""}),
                         Lie::nameOf);

using LieInMechanisms = Lie;
TEST_P(LieInMechanisms, WritesNothingPastTheRoom) {
  CK_MECHANISM_TYPE list[8];
  for (auto& one : list) one = 0xcccc;
  CK_ULONG count = 4;
  CK_RV rv = rig_->C_GetMechanismList(rig_.evilSlot(), list, &count);
  for (int i = 4; i < 8; ++i) EXPECT_EQ(list[i], 0xccccU);
  expectCost(rv);
}
INSTANTIATE_TEST_SUITE_P(Counts, LieInMechanisms,
                         testing::Values(Told{"count@C_GetMechanismList", BY_THE_WORKER}),
                         Lie::nameOf);

using LieInAttributes = Lie;
TEST_P(LieInAttributes, WritesNothingPastTheRoom) {
  ASSERT_EQ(rig_->C_FindObjectsInit(session_, nullptr, 0), CKR_OK);
  CK_OBJECT_HANDLE object;
  CK_ULONG count = 0;
  ASSERT_EQ(rig_->C_FindObjects(session_, &object, 1, &count), CKR_OK);
  Guarded value, other;
  CK_ATTRIBUTE attributes[2] = {{CKA_VALUE, value.bytes.data(), Guarded::ROOM},
                                {CKA_LABEL, other.bytes.data(), Guarded::ROOM}};
  CK_RV rv = rig_->C_GetAttributeValue(session_, object, attributes, 2);
  EXPECT_TRUE(value.untouched());
  EXPECT_TRUE(other.untouched());
  // What the template is made of is the caller's.
  EXPECT_EQ(attributes[0].type, CKA_VALUE);
  EXPECT_EQ(attributes[0].pValue, value.bytes.data());
  expectCost(rv);
}
INSTANTIATE_TEST_SUITE_P(Lengths, LieInAttributes,
                         testing::Values(Told{"count@C_GetAttributeValue", BY_THE_HOST},
                                         Told{"longer@C_GetAttributeValue", BY_THE_HOST},
                                         Told{"type@C_GetAttributeValue", ""},
                                         Told{"pointer@C_GetAttributeValue", BY_THE_KERNEL}),
                         Lie::nameOf);

// Whatever number an answer has, no memory is taken for it beyond the room that the call offered.
class LieAboutSizes : public testing::TestWithParam<const char*> {};
TEST_P(LieAboutSizes, CostsTheHostNoMemory) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer takes memory as it likes";
  EXPECT_EQ(inChild([] {
              Rig rig;
              rig.configure(GetParam());
              if (rig.initialize() != CKR_OK) return 1;
              CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
              CK_ULONG count = 0;
              (void)rig->C_FindObjectsInit(session, nullptr, 0);
              auto peak = [] {
                return ::atol(test::procField("/proc/self/status", "VmPeak").c_str());
              };
              CK_OBJECT_HANDLE objects[4];
              CK_MECHANISM_TYPE mechanisms[4];
              CK_ULONG room = 4;
              std::string text;
              long before = peak();
              (void)rig->C_GetMechanismList(rig.evilSlot(), mechanisms, &room);
              (void)rig->C_FindObjects(session, objects, 4, &count);
              (void)rig.digest(session);
              (void)rig.random(session, text);
              long after = peak();
              if (after - before > 1024) {
                std::printf("%ld KiB\n", after - before);
                return 2;
              }
              return rig.finalize() == CKR_OK ? 0 : 3;
            }),
            0);
}
INSTANTIATE_TEST_SUITE_P(All, LieAboutSizes,
                         testing::Values("frame-oversized@C_GenerateRandom",
                                         "frame-segments@C_GenerateRandom",
                                         "frame-list@C_GenerateRandom", "count@C_Digest",
                                         "longer@C_Digest", "count@C_FindObjects",
                                         "count@C_GetMechanismList"));

TEST(Containment, AnAbsurdNumberOfSlotsIsNone) {
  Rig rig;
  rig.configure("count@C_GetSlotList");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(test::slots(rig.functions()).size(), 1U);
  EXPECT_EQ(rig.digest(rig.open(rig.goodSlot())), CKR_OK);
}

TEST(Containment, AReturnValueThatNobodyKnowsIsPassedOn) {
  Rig rig;
  rig.configure("returns:0xdeadbeef@C_Digest");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(rig.digest(session), 0xdeadbeefU);
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_OK);
}

TEST(Containment, ASessionHandleOfZeroIsTheModulesAffair) {
  Rig rig;
  rig.configure("zero@C_OpenSession");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_NE(session, CK_INVALID_HANDLE);
  EXPECT_EQ(rig.digest(session), CKR_OK);
}

TEST(Containment, ATableThatChangesAfterTheStartChangesNothing) {
  Rig rig;
  rig.configure("table@C_OpenSession");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(rig.digest(session), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_OK);
}

TEST(Containment, EntriesThatAreNullAreNotSupported) {
  Rig rig;
  rig.configure("null-entries@getlist");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(test::slots(rig.functions()).size(), 1U);
  EXPECT_EQ(rig.digest(rig.open(rig.goodSlot())), CKR_OK);
}

TEST(Containment, AShortTableWithANewVersionIsNotReadPastItsEnd) {
  Rig rig;
  rig.configure("version-newer@getlist");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(rig.digest(session), CKR_OK);
}

// ---- what libraries change under their programs ----

std::vector<std::string> ofThisProcess() {
  mode_t mask = ::umask(0);
  ::umask(mask);
  struct sigaction term {};
  ::sigaction(SIGTERM, nullptr, &term);
  auto variable = [](const char* name) {
    const char* value = ::getenv(name);
    return std::string(value == nullptr ? "(none)" : value);
  };
  return {"directory " + std::filesystem::current_path().string(),
          "mask " + std::to_string(mask),
          "TZ " + variable("TZ"),
          "PATH " + variable("PATH"),
          "locale " + std::string(::setlocale(LC_ALL, nullptr)),
          "rounding " + std::to_string(::fegetround()),
          "SIGTERM " + std::to_string(term.sa_handler == SIG_IGN)};
}

TEST(Containment, WhatAModuleChangesInItsProcessIsNoneOfTheHosts) {
  const auto before = ofThisProcess();
  // In the same process it changes all of it.
  EXPECT_EQ(inChild([&] {
              ::setenv("HOSTILE", "change@C_SeedRandom", 1);
              test::Library direct(Rig::module());
              (void)direct.functions()->C_SeedRandom(0, nullptr, 0);
              auto after = ofThisProcess();
              for (std::size_t i = 0; i < before.size(); ++i) {
                if (after[i] != before[i]) continue;
                std::printf("not changed: %s\n", after[i].c_str());
                return 1;
              }
              return 0;
            }),
            0);
  Rig rig;
  rig.configure("change@C_SeedRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  CK_BYTE seed[1] = {};
  EXPECT_EQ(rig->C_SeedRandom(session, seed, 1), CKR_OK);
  EXPECT_EQ(rig.digest(session), CKR_OK);
  EXPECT_EQ(ofThisProcess(), before);
  EXPECT_EQ(rig.finalize(), CKR_OK);
}

// ---- noise ----

TEST(Containment, AFloodOnTheOutputStallsNobodyAndIsNotLogged) {
  Rig rig;
  rig.configure("flood@C_SeedRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  CK_BYTE seed[1] = {};
  EXPECT_EQ(rig->C_SeedRandom(session, seed, 1), CKR_OK);
  EXPECT_EQ(rig.digest(session), CKR_OK);
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_LT(rig.log().size(), 2U << 20);
}

TEST(Containment, WhatAModuleSaysForgesNoLogLine) {
  Rig rig;
  rig.configure("say@C_SeedRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_BYTE seed[1] = {};
  EXPECT_EQ(rig->C_SeedRandom(rig.open(rig.evilSlot()), seed, 1), CKR_OK);
  EXPECT_TRUE(rig.logs("says: line one"));
  EXPECT_TRUE(rig.logs("says: line  [31m two")) << rig.log();
}

}  // namespace
}  // namespace bulkhead::hostile
