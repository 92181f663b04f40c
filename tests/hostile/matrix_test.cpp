// SPDX-License-Identifier: BSD-2-Clause
//
// Every way to go wrong at every point of a module's life: what it costs follows from the kind of
// behaviour and the kind of point, and is not said case by case.
#include <algorithm>
#include <cctype>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

using test::workerOf;

// Not a limit on how fast the product is: how long a machine that is busy with other things may
// take for what is meant to take a moment.
constexpr milliseconds PROMPTLY{10'000};

// What a behaviour comes to.
enum class Kind {
  Dies,   // the process ends by itself
  Hangs,  // it goes on, and never answers
  Either  // by the point, the C library and the limits
};

struct Behaviour {
  const char* name;
  Kind kind;
  const char* logged;  // a part of the log, where it dies
};

constexpr Behaviour BEHAVIOURS[] = {
    {"segv", Kind::Dies, "SIGSEGV"},
    {"abort", Kind::Dies, "SIGABRT"},
    {"exit", Kind::Dies, "status 0"},
    {"_exit", Kind::Dies, "status 0"},
    {"kill", Kind::Dies, "SIGKILL"},
    {"stack", Kind::Dies, "SIGSEGV"},
    {"heap", Kind::Dies, "SIGABRT"},
    {"throw", Kind::Dies, "SIGABRT"},
    {"throw-int", Kind::Dies, "SIGABRT"},
    {"oom", Kind::Dies, ""},
    {"longjmp", Kind::Either, ""},
    {"pthread-exit", Kind::Either, ""},
    {"close", Kind::Either, ""},
    {"hang", Kind::Hangs, ""},
    {"spin", Kind::Hangs, ""},
    {"stop", Kind::Hangs, ""},
    {"deaf", Kind::Hangs, ""},
    {"handled-segv", Kind::Hangs, ""},
};

std::string word(const std::string& text) {
  std::string name;
  for (char c : text)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_') name += c;
  return name;
}

// A rig whose module does that at that point. What hangs has deadlines that make no test of it one;
// what dies, and every other call, has all the time of a busy machine.
class At : public Rig {
 public:
  At(const Behaviour& behaviour, const std::string& point) {
    std::string call = point.starts_with("C_") ? point : "C_GenerateRandom";
    bool dies = behaviour.kind == Kind::Dies;
    configure(
        std::string(behaviour.name) + "@" + point,
        dies ? ""
             : "StartTimeoutSec=1s\nStopTimeoutSec=400ms\nCallTimeoutSec=1h " + call + ":300ms");
    addNeighbour();
  }
};

class Matrix : public testing::TestWithParam<std::tuple<Behaviour, const char*>> {
 public:
  static std::string nameOf(const testing::TestParamInfo<ParamType>& info) {
    return word(std::get<0>(info.param).name) + "_at_" + word(std::get<1>(info.param));
  }

 protected:
  Behaviour behaviour_ = std::get<0>(GetParam());
  std::string point_ = std::get<1>(GetParam());

  void SetUp() override {
    if (SANITIZED && std::string(behaviour_.name) == "oom")
      GTEST_SKIP() << "no limit holds for a sanitizer's memory";
  }
  void expectLogged(const Rig& rig) const {
    if (behaviour_.kind == Kind::Dies) {
      EXPECT_TRUE(rig.logs(behaviour_.logged)) << rig.log();
    }
  }
};

// ---- before it is ready ----

using AtTheStart = Matrix;
TEST_P(AtTheStart, TheOtherModulesAreThere) {
  At rig(behaviour_, point_);
  CK_RV rv = CKR_GENERAL_ERROR;
  EXPECT_LT(timeOf([&] { rv = rig.initialize(); }), PROMPTLY);
  ASSERT_EQ(rv, CKR_OK);
  auto slots = test::slots(rig.functions());
  ASSERT_EQ(slots.size(), 1U);
  EXPECT_EQ(rig.digest(rig.open(slots[0])), CKR_OK);
  EXPECT_TRUE(test::eventually([&] { return workerOf(rig.evil()) == -1; }));
  expectLogged(rig);
  if (behaviour_.kind == Kind::Hangs) {
    EXPECT_TRUE(rig.logs("StartTimeoutSec=")) << rig.log();
  }
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}
INSTANTIATE_TEST_SUITE_P(All, AtTheStart,
                         testing::Combine(testing::ValuesIn(BEHAVIOURS),
                                          testing::Values("ctor", "getlist", "init")),
                         Matrix::nameOf);

// ---- in a call, and in the background of one ----

using InACall = Matrix;
TEST_P(InACall, ItCostsOneErrorCode) {
  At rig(behaviour_, point_);
  ASSERT_NO_FATAL_FAILURE(expectOneErrorCode(rig, PROMPTLY));
  expectLogged(rig);
  if (behaviour_.kind == Kind::Dies && point_ != "thread" && behaviour_.logged[0] != '\0') {
    EXPECT_TRUE(rig.logs(std::string(behaviour_.logged) + " in " + point_)) << rig.log();
  }
  if (behaviour_.kind == Kind::Hangs && point_ != "thread") {
    EXPECT_TRUE(rig.logs(point_ + " took longer than CallTimeoutSec=")) << rig.log();
  }
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}
INSTANTIATE_TEST_SUITE_P(All, InACall,
                         testing::Combine(testing::ValuesIn(BEHAVIOURS),
                                          testing::Values("C_GenerateRandom", "thread")),
                         Matrix::nameOf);

// ---- in any call ----

// A session that works its way through all functions of the module. What it got where it went
// wrong, or CKR_OK.
CK_RV walk(Rig& rig, CK_SLOT_ID slot) {
  CK_FUNCTION_LIST* f = rig.functions();
  CK_RV rv;
  CK_SLOT_INFO slotInfo;
  CK_TOKEN_INFO tokenInfo;
  CK_MECHANISM_TYPE mechanisms[4];
  CK_ULONG count = 4;
  CK_SESSION_HANDLE session;
  CK_SESSION_INFO info;
  CK_BYTE bytes[8] = {};
  CK_OBJECT_HANDLE object = 11;
  CK_ATTRIBUTE attribute{CKA_VALUE, bytes, sizeof bytes};
  std::string text;
  if ((rv = f->C_GetSlotInfo(slot, &slotInfo)) != CKR_OK) return rv;
  if ((rv = f->C_GetTokenInfo(slot, &tokenInfo)) != CKR_OK) return rv;
  if ((rv = f->C_GetMechanismList(slot, mechanisms, &count)) != CKR_OK) return rv;
  if ((rv = f->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session)) != CKR_OK)
    return rv;
  if ((rv = f->C_GetSessionInfo(session, &info)) != CKR_OK) return rv;
  if ((rv = f->C_Login(session, CKU_USER, bytes, 4)) != CKR_OK) return rv;
  if ((rv = f->C_FindObjectsInit(session, nullptr, 0)) != CKR_OK) return rv;
  if ((rv = f->C_FindObjects(session, &object, 1, &count)) != CKR_OK) return rv;
  if ((rv = f->C_FindObjectsFinal(session)) != CKR_OK) return rv;
  if ((rv = f->C_GetAttributeValue(session, object, &attribute, 1)) != CKR_OK) return rv;
  if ((rv = rig.digest(session)) != CKR_OK) return rv;
  if ((rv = f->C_SeedRandom(session, bytes, sizeof bytes)) != CKR_OK) return rv;
  if ((rv = rig.random(session, text)) != CKR_OK) return rv;
  if ((rv = f->C_Logout(session)) != CKR_OK) return rv;
  return f->C_CloseSession(session);
}

using InAnyCall = Matrix;
TEST_P(InAnyCall, TheCallFailsAndTheHostGoesOn) {
  At rig(behaviour_, point_);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  auto slots = test::slots(rig.functions());
  ASSERT_EQ(slots.size(), 2U);
  for (int life = 0; life < 2; ++life) {
    CK_RV rv = CKR_OK;
    EXPECT_LT(timeOf([&] { rv = walk(rig, slots[0]); }), PROMPTLY);
    EXPECT_EQ(rv, CKR_DEVICE_REMOVED);
    EXPECT_EQ(walk(rig, slots[1]), CKR_OK);
    EXPECT_EQ(test::slots(rig.functions()), slots);
  }
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}
INSTANTIATE_TEST_SUITE_P(
    All, InAnyCall,
    testing::Combine(testing::Values(BEHAVIOURS[0], BEHAVIOURS[2], BEHAVIOURS[13]),
                     testing::Values("C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList",
                                     "C_OpenSession", "C_GetSessionInfo", "C_Login",
                                     "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal",
                                     "C_GetAttributeValue", "C_DigestInit", "C_Digest",
                                     "C_SeedRandom", "C_GenerateRandom", "C_Logout",
                                     "C_CloseSession")),
    Matrix::nameOf);

// The one call that is made of all modules at once: a module that goes wrong in it has the slots
// that it had, which at the first time are none.
using InTheListOfSlots = Matrix;
TEST_P(InTheListOfSlots, TheOthersAreListed) {
  At rig(behaviour_, point_);
  CK_RV rv = CKR_GENERAL_ERROR;
  EXPECT_LT(timeOf([&] { rv = rig.initialize(); }), PROMPTLY);
  ASSERT_EQ(rv, CKR_OK);
  auto slots = test::slots(rig.functions());
  ASSERT_EQ(slots.size(), 1U);
  EXPECT_EQ(walk(rig, slots[0]), CKR_OK);
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY);
  EXPECT_TRUE(test::eventually([] { return test::processes().empty(); }));
}
INSTANTIATE_TEST_SUITE_P(All, InTheListOfSlots,
                         testing::Combine(testing::Values(BEHAVIOURS[0], BEHAVIOURS[2],
                                                          BEHAVIOURS[13]),
                                          testing::Values("C_GetSlotList")),
                         Matrix::nameOf);

// ---- the end ----

using AtTheEnd = Matrix;
TEST_P(AtTheEnd, ItIsNotTheHostsConcern) {
  At rig(behaviour_, point_);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  EXPECT_LT(timeOf([&] { EXPECT_EQ(rig.finalize(), CKR_OK); }), PROMPTLY);
  EXPECT_TRUE(test::processes().empty());
  EXPECT_EQ(rig->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  // And another life is as good as the first.
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
}
INSTANTIATE_TEST_SUITE_P(All, AtTheEnd,
                         testing::Combine(testing::ValuesIn(BEHAVIOURS),
                                          testing::Values("finalize", "dtor")),
                         Matrix::nameOf);

// Modules that hang in C_Finalize take the longest StopTimeoutSec= and not the sum, whatever calls
// and sessions are open.
TEST(ManyModules, ThatHangAtTheEndTakeTheLongestTimeoutNotTheSum) {
  Rig rig;
  rig.configure("hang@finalize", "StopTimeoutSec=1500ms");
  for (int i = 0; i < 5; ++i) {
    std::string name = "h" + std::to_string(::getpid()) + "-x" + std::to_string(i);
    rig.setup().addModule(name, rig.copy(name + ".so"));
    rig.setup().addDropIn(name, std::string("[Worker]\nEnvironment=HOSTILE=hang@") +
                                    (i % 2 == 0 ? "finalize" : "C_CloseSession") +
                                    "\nCallTimeoutSec=infinity\nStopTimeoutSec=1500ms\n");
  }
  ASSERT_EQ(rig.initialize(), CKR_OK);
  auto slots = test::slots(rig.functions());
  ASSERT_EQ(slots.size(), 6U);
  for (CK_SLOT_ID slot : slots)
    for (int i = 0; i < 3; ++i) (void)rig.open(slot);
  CK_RV rv = CKR_OK;
  auto took = timeOf([&] { rv = rig.finalize(); });
  EXPECT_EQ(rv, CKR_OK);
  EXPECT_GE(took, milliseconds(1'500));
  EXPECT_LT(took, milliseconds(2 * 1'500));
  EXPECT_TRUE(test::processes().empty());
}

// ---- handles ----

class Handles : public testing::Test {
 protected:
  void SetUp() override {
    rig_.configure("segv@C_GenerateRandom");
    ASSERT_EQ(rig_.initialize(), CKR_OK);
    slot_ = rig_.evilSlot();
  }
  void die() {
    std::string text;
    EXPECT_EQ(rig_.random(rig_.open(slot_), text), CKR_DEVICE_REMOVED);
  }
  CK_OBJECT_HANDLE find(CK_SESSION_HANDLE session) {
    CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
    CK_ULONG count = 0;
    EXPECT_EQ(rig_->C_FindObjectsInit(session, nullptr, 0), CKR_OK);
    EXPECT_EQ(rig_->C_FindObjects(session, &object, 1, &count), CKR_OK);
    EXPECT_EQ(count, 1U);
    EXPECT_EQ(rig_->C_FindObjectsFinal(session), CKR_OK);
    return object;
  }
  // The module derives a key from two: its answer is what it was given, one added to the other.
  CK_RV concatenate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE other,
                    CK_OBJECT_HANDLE& made) {
    CK_MECHANISM mechanism{CKM_CONCATENATE_BASE_AND_KEY, &other, sizeof other};
    return rig_->C_DeriveKey(session, &mechanism, base, nullptr, 0, &made);
  }
  // The same with the other in a field of a struct.
  CK_RV ecmqv(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE base, CK_OBJECT_HANDLE other,
              CK_OBJECT_HANDLE& made) {
    CK_BYTE point[8] = {};
    CK_ECMQV_DERIVE_PARAMS params{};
    params.kdf = CKD_NULL;
    params.pPublicData = params.pPublicData2 = point;
    params.ulPublicDataLen = params.ulPublicDataLen2 = sizeof point;
    params.hPrivateData = other;
    CK_MECHANISM mechanism{CKM_ECMQV_DERIVE, &params, sizeof params};
    return rig_->C_DeriveKey(session, &mechanism, base, nullptr, 0, &made);
  }

  Rig rig_;
  CK_SLOT_ID slot_ = 0;
};

TEST_F(Handles, OfTheFirstWorkerPassUntouchedAlsoInParameters) {
  CK_SESSION_HANDLE session = rig_.open(slot_);
  CK_OBJECT_HANDLE object = find(session), made = 0;
  EXPECT_EQ(object, 11U);
  EXPECT_EQ(concatenate(session, object, 7, made), CKR_OK);
  EXPECT_EQ(made, 18U);
  EXPECT_EQ(ecmqv(session, object, 9, made), CKR_OK);
  EXPECT_EQ(made, 20U);
}

TEST_F(Handles, FromBeforeADeathReachNoObjectAfterItAlsoInParameters) {
  CK_OBJECT_HANDLE before = find(rig_.open(slot_));
  std::vector<CK_OBJECT_HANDLE> old{before};
  for (int life = 0; life < 3; ++life) {
    die();
    CK_SESSION_HANDLE session = rig_.open(slot_);
    CK_OBJECT_HANDLE now = find(session), made = 0;
    char value[8];
    CK_ATTRIBUTE attribute{CKA_VALUE, value, sizeof value};
    for (CK_OBJECT_HANDLE one : old) {
      EXPECT_NE(one, now);
      EXPECT_EQ(rig_->C_GetAttributeValue(session, one, &attribute, 1), CKR_OBJECT_HANDLE_INVALID);
      EXPECT_EQ(concatenate(session, one, now, made), CKR_KEY_HANDLE_INVALID);
      EXPECT_EQ(concatenate(session, now, one, made), CKR_KEY_HANDLE_INVALID);
      EXPECT_EQ(ecmqv(session, now, one, made), CKR_KEY_HANDLE_INVALID);
    }
    // Those of the present worker arrive as the module knows them, and leave as no other's.
    EXPECT_EQ(rig_->C_GetAttributeValue(session, now, &attribute, 1), CKR_OK);
    CK_OBJECT_HANDLE tag = now - before;
    EXPECT_EQ(concatenate(session, now, now, made), CKR_OK);
    EXPECT_EQ(made, tag + 22);
    EXPECT_EQ(ecmqv(session, now, now, made), CKR_OK);
    EXPECT_EQ(made, tag + 22);
    old.push_back(now);
  }
}

TEST_F(Handles, OfSessionsAreUniqueInTheProcess) {
  std::set<CK_SESSION_HANDLE> all;
  for (int life = 0; life < 3; ++life) {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(all.insert(rig_.open(slot_)).second);
    die();
  }
  EXPECT_EQ(rig_.finalize(), CKR_OK);
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  EXPECT_TRUE(all.insert(rig_.open(slot_)).second);
}

// A module that gives everybody the same handle: each session of the host's has its own.
TEST(HandlesOfAModule, ThatAreAllTheSameAreDifferentSessionsOfTheHost) {
  Rig rig;
  rig.configure("same@C_OpenSession");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE one = rig.open(rig.evilSlot()), two = rig.open(rig.evilSlot());
  EXPECT_NE(one, two);
  EXPECT_EQ(rig.digest(one), CKR_OK);
  EXPECT_EQ(rig->C_CloseSession(one), CKR_OK);
  EXPECT_EQ(rig.digest(one), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(rig.digest(two), CKR_OK);
}

}  // namespace
}  // namespace bulkhead::hostile
