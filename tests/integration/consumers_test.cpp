// SPDX-License-Identifier: BSD-2-Clause
//
// Several consumers in one process that know nothing of each other, and processes that are forked
// while they are at it.
#include <atomic>
#include <barrier>

#include "tests/integration/fixture.h"

namespace bulkhead::test {
namespace {

constexpr CK_SLOT_ID FIRST_SLOT = 0x11;

class Consumers : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    configuration.addSoftHsm("softhsm2", "priority: 1\n");
    configuration.addModule("slow", BULKHEAD_SLOW_MODULE);
    makeSoftHsmTokens({"one", "two"});
    library.emplace();
    a = library->functions();
    b = library->functions();
  }

  static CK_STATE stateOf(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session) {
    CK_SESSION_INFO info{};
    EXPECT_EQ(f->C_GetSessionInfo(session, &info), CKR_OK);
    return info.state;
  }
  static std::size_t privateKeys(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session) {
    CK_OBJECT_CLASS kind = CKO_SECRET_KEY;
    CK_ATTRIBUTE one{CKA_CLASS, &kind, sizeof kind};
    CK_OBJECT_HANDLE found[8];
    CK_ULONG count = 0;
    EXPECT_EQ(f->C_FindObjectsInit(session, &one, 1), CKR_OK);
    EXPECT_EQ(f->C_FindObjects(session, found, 8, &count), CKR_OK);
    EXPECT_EQ(f->C_FindObjectsFinal(session), CKR_OK);
    return count;
  }
  static CK_RV makeKey(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session) {
    CK_MECHANISM m{CKM_AES_KEY_GEN, nullptr, 0};
    CK_ULONG length = 16;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_PRIVATE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;
    return f->C_GenerateKey(session, &m, t, 2, &key);
  }
  // A count that needs the consumer to be initialised and the module to answer.
  static CK_RV random(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session) {
    CK_BYTE bytes[8];
    return f->C_GenerateRandom(session, bytes, sizeof bytes);
  }

  Configuration configuration;
  std::optional<Library> library;
  CK_FUNCTION_LIST* a = nullptr;
  CK_FUNCTION_LIST* b = nullptr;
};

// The first suite: ids are never given again, so the base is for the first test of a process to
// see.
class FreshProcess : public Consumers {};

TEST_F(FreshProcess, seesSlotsThatAreDenseFromTheBaseAndStay) {
  std::vector<CK_SLOT_ID> expected;
  for (CK_SLOT_ID id = FIRST_SLOT; id < FIRST_SLOT + 4; ++id) expected.push_back(id);
  std::map<std::string, CK_SLOT_ID> tokens;
  for (int i = 0; i < 3; ++i) {
    Initialized initialized(i == 1 ? b : a);
    CK_FUNCTION_LIST* f = i == 1 ? b : a;
    EXPECT_EQ(slots(f), expected);
    for (const char* label : {"one", "two", "slow"}) {
      auto slot = slotOf(f, label);
      ASSERT_TRUE(slot);
      EXPECT_EQ(tokens.emplace(label, *slot).first->second, *slot) << label;
    }
  }
  // By priority: those of the first module come first.
  EXPECT_EQ(tokens["slow"], FIRST_SLOT + 3);
}

TEST_F(Consumers, haveListsOfTheirOwn) {
  EXPECT_NE(a, b);
  CK_FUNCTION_LIST* same = nullptr;
  EXPECT_EQ(a->C_GetFunctionList(&same), CKR_OK);
  EXPECT_EQ(same, a);
}

TEST_F(Consumers, shareTheWorkers) {
  Initialized first(a), second(b);
  EXPECT_EQ(supervisors().size(), 2u);
  EXPECT_EQ(slots(a), slots(b));
}

TEST_F(Consumers, areInitialisedEachOnItsOwn) {
  CK_ULONG count = 0;
  Initialized first(a);
  EXPECT_EQ(b->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(b->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(a->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_OK);
}

TEST_F(Consumers, countTheirInitialisations) {
  CK_ULONG count = 0;
  EXPECT_EQ(a->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(a->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(a->C_Finalize(nullptr), CKR_OK);
  EXPECT_EQ(a->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_OK);
  EXPECT_FALSE(supervisors().empty());
  EXPECT_EQ(a->C_Finalize(nullptr), CKR_OK);
  EXPECT_EQ(a->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_TRUE(supervisors().empty());
  EXPECT_EQ(a->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
}

TEST_F(Consumers, doNotSeeEachOthersSessions) {
  Initialized first(a), second(b);
  CK_SLOT_ID slot = slotOf(a, "one").value();
  Session mine(a, slot);
  Session theirs(b, slot);
  EXPECT_NE(mine.handle(), theirs.handle());
  CK_SESSION_INFO info{};
  EXPECT_EQ(b->C_GetSessionInfo(mine, &info), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(b->C_CloseSession(mine), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(a->C_GetSessionInfo(theirs, &info), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(a->C_CloseAllSessions(slot), CKR_OK);
  EXPECT_EQ(a->C_GetSessionInfo(mine, &info), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(b->C_GetSessionInfo(theirs, &info), CKR_OK);
}

TEST_F(Consumers, leaveOthersWorkingAndLoggedInWhenTheyGo) {
  Initialized second(b);
  CK_SLOT_ID slot = slotOf(b, "one").value();
  Session theirs(b, slot);
  ASSERT_EQ(theirs.login(USER_PIN), CKR_OK);
  ASSERT_EQ(makeKey(b, theirs), CKR_OK);
  {
    Initialized first(a);
    Session mine(a, slot);
    // Whether it is the first to log in or not is not its concern to know beforehand.
    CK_RV rv = mine.login(USER_PIN);
    EXPECT_TRUE(rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) << rv;
    EXPECT_EQ(a->C_Logout(mine), CKR_OK);
    EXPECT_EQ(stateOf(b, theirs), CKS_RW_USER_FUNCTIONS);
  }
  EXPECT_EQ(stateOf(b, theirs), CKS_RW_USER_FUNCTIONS);
  EXPECT_EQ(privateKeys(b, theirs), 1u);
  EXPECT_EQ(random(b, theirs), CKR_OK);
  EXPECT_EQ(b->C_Logout(theirs), CKR_OK);
  EXPECT_EQ(stateOf(b, theirs), CKS_RW_PUBLIC_SESSION);
}

TEST_F(Consumers, mayAllInitialiseAtOnce) {
  constexpr int THREADS = 8;
  for (int round = 0; round < 3; ++round) {
    std::vector<CK_FUNCTION_LIST*> lists;
    for (int i = 0; i < THREADS; ++i) lists.push_back(round == 0 ? a : library->functions());
    std::barrier start(THREADS);
    std::atomic<unsigned> good{0};
    std::vector<std::thread> threads;
    for (CK_FUNCTION_LIST* f : lists)
      threads.emplace_back([&, f] {
        CK_C_INITIALIZE_ARGS args{};
        args.flags = CKF_OS_LOCKING_OK;
        start.arrive_and_wait();
        CK_ULONG count = 0;
        if (f->C_Initialize(&args) == CKR_OK &&
            f->C_GetSlotList(CK_FALSE, nullptr, &count) == CKR_OK && count == 4)
          ++good;
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(good.load(), static_cast<unsigned>(THREADS));
    EXPECT_EQ(supervisors().size(), 2u);
    // And all go at once.
    threads.clear();
    for (CK_FUNCTION_LIST* f : lists)
      threads.emplace_back([&, f] {
        start.arrive_and_wait();
        EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
      });
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(supervisors().empty());
  }
}

TEST_F(Consumers, mayComeAndGoWhileOthersWork) {
  Initialized stays(a);
  CK_SLOT_ID slot = slotOf(a, "one").value();
  Session session(a, slot);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      CK_FUNCTION_LIST* f = library->functions();
      while (!done) {
        EXPECT_EQ(f->C_Initialize(nullptr), CKR_OK);
        CK_SESSION_HANDLE own = 0;
        EXPECT_EQ(f->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &own), CKR_OK);
        EXPECT_EQ(random(f, own), CKR_OK);
        EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
      }
    });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(random(a, session), CKR_OK);
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(supervisors().size(), 2u);
}

// ---- slots ----

TEST_F(Consumers, keepTheirSlotsWhenAWorkerDies) {
  Initialized initialized(a);
  CK_SLOT_ID one = slotOf(a, "one").value(), two = slotOf(a, "two").value();
  auto before = slots(a);
  ASSERT_TRUE(killWorker("softhsm2"));
  EXPECT_EQ(slots(a), before);
  EXPECT_EQ(slotOf(a, "one"), one);
  EXPECT_EQ(slotOf(a, "two"), two);
}

TEST_F(Consumers, neverFindAnotherModulesSlotUnderAnOldNumber) {
  std::vector<CK_SLOT_ID> before;
  CK_SLOT_ID gone;
  {
    Initialized initialized(a);
    before = slots(a);
    gone = slotOf(a, "slow").value();
  }
  configuration.removeModule("slow");
  configuration.addModule("another", BULKHEAD_SLOW_MODULE);
  Initialized initialized(a);
  CK_SLOT_INFO info{};
  EXPECT_EQ(a->C_GetSlotInfo(gone, &info), CKR_SLOT_ID_INVALID);
  auto slot = slotOf(a, "slow");
  ASSERT_TRUE(slot);
  EXPECT_EQ(std::count(before.begin(), before.end(), *slot), 0);
}

// ---- fork ----

class Fork : public Consumers {
 protected:
  void SetUp() override {
    Consumers::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    initialized.emplace(a);
    slot = slotOf(a, "one").value();
    session.emplace(a, slot);
    ASSERT_EQ(session->login(USER_PIN), CKR_OK);
    ASSERT_EQ(makeKey(a, *session), CKR_OK);
  }
  void TearDown() override {
    session.reset();
    initialized.reset();
  }

  // In a forked child, which passes when no expectation in it failed.
  void inChild(const std::function<void()>& check) {
    std::fflush(nullptr);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      check();
      std::fflush(nullptr);
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  void expectUnaffected() {
    EXPECT_EQ(stateOf(a, *session), CKS_RW_USER_FUNCTIONS);
    EXPECT_EQ(privateKeys(a, *session), 1u);
    EXPECT_EQ(random(a, *session), CKR_OK);
  }

  std::optional<Initialized> initialized;
  std::optional<Session> session;
  CK_SLOT_ID slot = 0;
};

TEST_F(Fork, theChildIsNotInitialised) {
  pid_t worker = workerOf("softhsm2");
  inChild([&] {
    CK_INFO info{};
    CK_ULONG count = 0;
    EXPECT_EQ(a->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT_EQ(a->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT_EQ(random(a, *session), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT_EQ(a->C_CloseSession(*session), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT_EQ(a->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT_EQ(a->C_Finalize(nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  });
  expectUnaffected();
  EXPECT_EQ(workerOf("softhsm2"), worker);
}

TEST_F(Fork, theChildsOwnInitialisationBringsItsOwnWorkers) {
  auto parents = processes();
  auto before = slots(a);
  inChild([&] {
    auto inherited = descriptors();
    EXPECT_EQ(a->C_Initialize(nullptr), CKR_OK);
    for (pid_t pid : processes())
      EXPECT_EQ(std::count(parents.begin(), parents.end(), pid), 0) << pid;
    EXPECT_EQ(slots(a), before);
    EXPECT_EQ(slotOf(a, "one"), slot);
    // The parent's session and login are not the child's.
    EXPECT_EQ(random(a, *session), CKR_SESSION_HANDLE_INVALID);
    {
      Session own(a, slot);
      EXPECT_EQ(stateOf(a, own), CKS_RW_PUBLIC_SESSION);
      EXPECT_EQ(own.login(USER_PIN), CKR_OK);
      EXPECT_EQ(random(a, own), CKR_OK);
      // Session objects are the parent's alone.
      EXPECT_EQ(privateKeys(a, own), 0u);
    }
    auto own = processes();
    EXPECT_EQ(own.size(), 4u);
    EXPECT_EQ(a->C_Finalize(nullptr), CKR_OK);
    for (pid_t pid : own) EXPECT_FALSE(alive(pid)) << pid;
    for (auto& [fd, what] : descriptors()) EXPECT_EQ(inherited.count(fd), 1u) << fd << " " << what;
  });
  expectUnaffected();
  EXPECT_EQ(processes(), parents);
}

TEST_F(Fork, theChildMayGoWithoutAWord) {
  inChild([] {});
  expectUnaffected();
  inChild([&] { EXPECT_EQ(a->C_Initialize(nullptr), CKR_OK); });
  expectUnaffected();
}

TEST_F(Fork, theChildOfABusyParentIsWell) {
  if (SANITIZED) GTEST_SKIP() << "a sanitizer's allocator may be locked for ever in the child";
  std::atomic<bool> done{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&] {
      Session own(a, slot);
      while (!done) EXPECT_EQ(random(a, own), CKR_OK);
    });
  // What the child may do beside threads that were in the middle of anything: no expectation, no
  // allocation of its own here.
  for (int i = 0; i < 5; ++i) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      CK_INFO info{};
      bool good = a->C_GetInfo(&info) == CKR_CRYPTOKI_NOT_INITIALIZED &&
                  a->C_Initialize(nullptr) == CKR_OK && a->C_GetInfo(&info) == CKR_OK &&
                  a->C_Finalize(nullptr) == CKR_OK;
      ::_exit(good ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  done = true;
  for (std::thread& caller : callers) caller.join();
  expectUnaffected();
}

TEST_F(Fork, theGrandchildIsLikeAChild) {
  auto before = slots(a);
  inChild([&] {
    EXPECT_EQ(a->C_Initialize(nullptr), CKR_OK);
    inChild([&] {
      CK_INFO info{};
      EXPECT_EQ(a->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
      EXPECT_EQ(a->C_Initialize(nullptr), CKR_OK);
      EXPECT_EQ(slots(a), before);
      EXPECT_EQ(a->C_Finalize(nullptr), CKR_OK);
    });
    EXPECT_EQ(slots(a), before);
    EXPECT_EQ(a->C_Finalize(nullptr), CKR_OK);
  });
  expectUnaffected();
}

}  // namespace
}  // namespace bulkhead::test
