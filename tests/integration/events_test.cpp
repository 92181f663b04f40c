// SPDX-License-Identifier: BSD-2-Clause
//
// C_WaitForSlotEvent over all modules, for every consumer, whatever each module can do itself; and
// consumers that share no worker.
#include <atomic>
#include <barrier>
#include <future>

#include "tests/integration/fixture.h"

namespace bulkhead::test {
namespace {

using namespace std::chrono_literals;

// Two modules with readers, so that there is a slot of another module in every list.
class Readers {
 public:
  explicit Readers(const std::string& wait, const std::string& more = {}) {
    for (const char* name : {"one", "two"}) {
      set(name, {{1, false}, {2, false}});
      std::string copy = configuration.path(std::string(name) + ".so");
      std::filesystem::copy_file(BULKHEAD_READERS_MODULE, copy);
      configuration.addModule(name, copy);
      configuration.addDropIn(name, "[Worker]\nEnvironment=READERS=" + file(name) +
                                        " READERS_WAIT=" + wait + "\n" + more +
                                        "[Filesystem]\nReadOnlyPaths=" + directory(name) + "\n");
    }
  }
  void set(const std::string& name, const std::map<CK_SLOT_ID, bool>& slots) {
    std::string text;
    for (auto& [slot, token] : slots) text += std::to_string(slot) + (token ? " token\n" : "\n");
    // In one step, so that nobody sees half of it.
    configuration.directory().write(name + "/next", text);
    std::filesystem::rename(directory(name) + "/next", file(name));
  }
  std::string directory(const std::string& name) const { return configuration.path(name); }
  std::string file(const std::string& name) const { return directory(name) + "/readers"; }

  Configuration configuration;
};

std::future<std::pair<CK_RV, CK_SLOT_ID>> waitInThread(CK_FUNCTION_LIST* f) {
  return std::async(std::launch::async, [f] {
    CK_SLOT_ID slot = 0;
    CK_RV rv = f->C_WaitForSlotEvent(0, &slot, nullptr);
    return std::pair(rv, slot);
  });
}

bool nothingYet(std::future<std::pair<CK_RV, CK_SLOT_ID>>& wait) {
  return wait.wait_for(400ms) == std::future_status::timeout;
}

CK_RV look(CK_FUNCTION_LIST* f, CK_SLOT_ID& slot) {
  return f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr);
}

class Events : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Modules, Events,
                         ::testing::Values("blocks", "asks", "never", "fails", "returns"),
                         [](auto& p) { return std::string(p.param); });

TEST_P(Events, ofAnyModuleEndAWait) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST* f = library.functions();
  Initialized initialized(f);
  auto ids = slots(f);
  ASSERT_EQ(ids.size(), 4u);
  std::size_t before = threads();
  auto first = waitInThread(f);
  EXPECT_TRUE(nothingYet(first));
  EXPECT_EQ(threads(), before + 1) << "a wait takes no thread but the caller's";
  readers.set("two", {{1, false}, {2, true}});
  EXPECT_EQ(first.get(), std::pair(CK_RV{CKR_OK}, ids[3]));

  auto second = waitInThread(f);
  EXPECT_TRUE(nothingYet(second)) << "an event is told once";
  readers.set("one", {{1, true}, {2, false}});
  EXPECT_EQ(second.get(), std::pair(CK_RV{CKR_OK}, ids[0]));
}

TEST_P(Events, areThereForWhoeverAsksWithoutWaiting) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST* f = library.functions();
  Initialized initialized(f);
  auto ids = slots(f);
  CK_SLOT_ID slot = 0;
  EXPECT_EQ(look(f, slot), CKR_NO_EVENT);
  readers.set("one", {{1, false}, {2, true}});
  EXPECT_EQ(look(f, slot), CKR_OK);
  EXPECT_EQ(slot, ids[1]);
  EXPECT_EQ(look(f, slot), CKR_NO_EVENT);
  // Out again, and one that comes with its token.
  readers.set("one", {{1, false}, {2, false}, {9, true}});
  std::set<CK_SLOT_ID> told;
  while (look(f, slot) == CKR_OK) told.insert(slot);
  auto all = slots(f);
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(told, (std::set<CK_SLOT_ID>{ids[1], all[2]}));
}

TEST_P(Events, areNotLostBeforeTheFirstWait) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST* f = library.functions();
  Initialized initialized(f);
  auto ids = slots(f);
  ASSERT_TRUE(slots(f, true).empty());
  readers.set("two", {{1, true}, {2, false}});
  EXPECT_EQ(waitInThread(f).get(), std::pair(CK_RV{CKR_OK}, ids[2]));
}

TEST_P(Events, areToldToEveryConsumer) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST *a = library.functions(), *b = library.functions(), *c = library.functions();
  Initialized first(a), second(b), third(c);
  auto ids = slots(a);
  auto ofA = waitInThread(a), ofB = waitInThread(b);
  EXPECT_TRUE(nothingYet(ofA));
  readers.set("one", {{1, true}, {2, false}});
  EXPECT_EQ(ofA.get(), std::pair(CK_RV{CKR_OK}, ids[0]));
  EXPECT_EQ(ofB.get(), std::pair(CK_RV{CKR_OK}, ids[0]));
  // One that was not waiting finds it later, and once.
  CK_SLOT_ID slot = 0;
  EXPECT_EQ(look(c, slot), CKR_OK);
  EXPECT_EQ(slot, ids[0]);
  EXPECT_EQ(look(c, slot), CKR_NO_EVENT);
}

TEST_P(Events, areNoMoreWaitedForAfterFinalize) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST *a = library.functions(), *b = library.functions();
  Initialized first(a), second(b);
  auto ids = slots(b);
  auto ofA = waitInThread(a), ofB = waitInThread(b);
  EXPECT_TRUE(nothingYet(ofA));
  first.finalize();
  EXPECT_EQ(ofA.get().first, CKR_CRYPTOKI_NOT_INITIALIZED);
  // The other's wait goes on, even if it was A's that was under way in the module.
  EXPECT_TRUE(nothingYet(ofB));
  readers.set("two", {{1, false}, {2, true}});
  EXPECT_EQ(ofB.get(), std::pair(CK_RV{CKR_OK}, ids[3]));
  auto last = waitInThread(b);
  EXPECT_TRUE(nothingYet(last));
  second.finalize();
  EXPECT_EQ(last.get().first, CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_TRUE(processes().empty());
}

// Also where the consumer is initialised again before the thread that waits has looked.
TEST_P(Events, areNoMoreWaitedForInTheNextLife) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST *a = library.functions(), *b = library.functions();
  Initialized stays(b);
  for (int round = 0; round < 10; ++round) {
    ASSERT_EQ(a->C_Initialize(nullptr), CKR_OK);
    std::vector<std::future<std::pair<CK_RV, CK_SLOT_ID>>> waits;
    for (int i = 0; i < 8; ++i) waits.push_back(waitInThread(a));
    std::this_thread::sleep_for(20ms);
    ASSERT_EQ(a->C_Finalize(nullptr), CKR_OK);
    Initialized again(a);
    for (auto& wait : waits) {
      bool ended = wait.wait_for(5s) == std::future_status::ready;
      EXPECT_TRUE(ended) << "it waits on for the consumer's next life";
      if (ended) {
        EXPECT_EQ(wait.get().first, CKR_CRYPTOKI_NOT_INITIALIZED);
      }
    }
    if (HasFailure()) return;
  }
}

TEST_P(Events, surviveTheWorker) {
  Readers readers(GetParam());
  Library library;
  CK_FUNCTION_LIST* f = library.functions();
  Initialized initialized(f);
  auto ids = slots(f);
  auto wait = waitInThread(f);
  EXPECT_TRUE(nothingYet(wait));
  ASSERT_TRUE(killWorker("one"));
  EXPECT_TRUE(eventually([] { return workerOf("one") > 0; })) << "a wait starts a worker";
  // Only what happens from now on is the new worker's.
  EXPECT_TRUE(nothingYet(wait));
  readers.set("one", {{1, true}, {2, false}});
  EXPECT_EQ(wait.get(), std::pair(CK_RV{CKR_OK}, ids[0]));
}

TEST_P(Events, areWaitedForWhileCallsGoOn) {
  Readers readers(GetParam(), "Serialize=yes\n");
  Library library;
  CK_FUNCTION_LIST* f = library.functions();
  Initialized initialized(f);
  auto ids = slots(f);
  auto wait = waitInThread(f);
  EXPECT_TRUE(nothingYet(wait));
  for (int i = 0; i < 20; ++i) {
    Session session(f, ids[0]);
    EXPECT_NE(session.handle(), CK_INVALID_HANDLE);
  }
  readers.set("two", {{1, true}, {2, false}});
  EXPECT_EQ(wait.get(), std::pair(CK_RV{CKR_OK}, ids[2]));
}

TEST(EventArguments, areChecked) {
  Readers readers("never");
  Library library;
  CK_FUNCTION_LIST* f = library.functions();
  CK_SLOT_ID slot = 0;
  EXPECT_EQ(f->C_WaitForSlotEvent(0, &slot, nullptr), CKR_CRYPTOKI_NOT_INITIALIZED);
  Initialized initialized(f);
  EXPECT_EQ(f->C_WaitForSlotEvent(CKF_DONT_BLOCK, nullptr, nullptr), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(f->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, &slot), CKR_ARGUMENTS_BAD);
}

// ---- Share=consumer ----

TEST(ConsumersThatShareNothing, haveWorkersAndLoginsOfTheirOwn) {
  Readers readers("asks", "Share=consumer\n");
  Library library;
  CK_FUNCTION_LIST *a = library.functions(), *b = library.functions();
  Initialized first(a);
  EXPECT_EQ(supervisors().size(), 2u);
  Initialized second(b);
  EXPECT_EQ(supervisors().size(), 4u);
  EXPECT_EQ(slots(a), slots(b)) << "a slot has one id in the process";
  CK_SLOT_ID slot = slots(a).front();
  Session mine(a, slot), theirs(b, slot);
  EXPECT_EQ(mine.login("1"), CKR_OK);
  EXPECT_EQ(theirs.login("1"), CKR_OK) << "of another worker";
  EXPECT_EQ(a->C_Logout(mine), CKR_OK);
  EXPECT_EQ(theirs.login("1"), CKR_USER_ALREADY_LOGGED_IN);
  first.finalize();
  EXPECT_EQ(supervisors().size(), 2u);
  EXPECT_EQ(theirs.login("1"), CKR_USER_ALREADY_LOGGED_IN);
  // Whoever comes next gets new ones.
  Initialized again(a);
  EXPECT_EQ(supervisors().size(), 4u);
  Session fresh(a, slot);
  EXPECT_EQ(fresh.login("1"), CKR_OK);
}

TEST(ConsumersThatShareNothing, hearOfTheirOwnWorkersEvents) {
  Readers readers("blocks", "Share=consumer\n");
  Library library;
  CK_FUNCTION_LIST *a = library.functions(), *b = library.functions();
  Initialized first(a), second(b);
  auto ids = slots(a);
  auto ofA = waitInThread(a), ofB = waitInThread(b);
  EXPECT_TRUE(nothingYet(ofA));
  readers.set("one", {{1, true}, {2, false}});
  EXPECT_EQ(ofA.get(), std::pair(CK_RV{CKR_OK}, ids[0]));
  EXPECT_EQ(ofB.get(), std::pair(CK_RV{CKR_OK}, ids[0]));
  CK_SLOT_ID slot = 0;
  EXPECT_EQ(look(a, slot), CKR_NO_EVENT);
}

TEST(ConsumersThatShareNothing, shareNothingWhenTheyComeAtOnce) {
  Readers readers("asks", "Share=consumer\n");
  Library library;
  constexpr int N = 4;
  std::vector<CK_FUNCTION_LIST*> lists;
  for (int i = 0; i < N; ++i) lists.push_back(library.functions());
  for (int round = 0; round < 3; ++round) {
    std::barrier together(N);
    std::vector<std::future<CK_RV>> starts;
    for (auto f : lists)
      starts.push_back(std::async(std::launch::async, [&together, f] {
        together.arrive_and_wait();
        return f->C_Initialize(nullptr);
      }));
    for (auto& one : starts) EXPECT_EQ(one.get(), CKR_OK);
    EXPECT_EQ(supervisors().size(), 2u * N);
    for (auto f : lists) {
      CK_SESSION_HANDLE session = 0;
      CK_UTF8CHAR pin[] = "1";
      EXPECT_EQ(f->C_OpenSession(slots(f).front(), CKF_SERIAL_SESSION, nullptr, nullptr, &session),
                CKR_OK);
      EXPECT_EQ(f->C_Login(session, CKU_USER, pin, 1), CKR_OK);
    }
    for (auto f : lists) EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
    EXPECT_TRUE(processes().empty());
  }
}

}  // namespace
}  // namespace bulkhead::test
