// SPDX-License-Identifier: BSD-2-Clause
//
// The pool of function lists: a consumer for each call that asks for one, many at once, thousands
// one after another, and what happens when all lists are taken.
#include <malloc.h>

#include <atomic>
#include <random>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

// More than there are lists.
constexpr std::size_t PLENTY = 4096;

class Pool : public Together {
 protected:
  // Every list that there is, in the order in which they come.
  std::vector<CK_FUNCTION_LIST*> allLists() {
    std::vector<CK_FUNCTION_LIST*> all;
    while (all.size() < PLENTY) {
      CK_FUNCTION_LIST* next = library->functions();
      if (!all.empty() && next == all.front()) {
        // It was handed out again, and is the last used now.
        all.erase(all.begin());
        all.push_back(next);
        break;
      }
      all.push_back(next);
    }
    return all;
  }
  CK_RV next(CK_FUNCTION_LIST** list) {
    auto get = library->symbol<CK_RV (*)(CK_FUNCTION_LIST_PTR_PTR)>("C_GetFunctionList");
    return get(list);
  }
};

TEST_F(Pool, hasRoomFor128AtOnce) {
  sentence("128 consumers are live at once, and go in any order while the rest works");
  constexpr unsigned MANY = 128;
  std::mt19937 random(1);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<Consumer>> all;
    std::vector<CK_SESSION_HANDLE> sessions;
    std::set<CK_FUNCTION_LIST*> lists;
    for (unsigned i = 0; i < MANY; ++i) {
      all.push_back(consumer("consumer " + std::to_string(i + 1)));
      Consumer& one = *all.back();
      lists.insert(one.functions());
      expect(one.does("C_Initialize"), one.tryInitialize());
      sessions.push_back(one.open(slot(one)));
      if (HasFailure()) return;
    }
    EXPECT_EQ(lists.size(), MANY);
    std::vector<unsigned> order(MANY);
    std::iota(order.begin(), order.end(), 0u);
    if (round == 1) std::reverse(order.begin(), order.end());
    if (round == 2) std::shuffle(order.begin(), order.end(), random);
    for (unsigned n = 0; n < MANY; ++n) {
      expect(all[order[n]]->does("C_Finalize"), all[order[n]]->finalize());
      for (unsigned m = n + 1; m < MANY; m += 16)
        all[order[m]]->works(sessions[order[m]], "after " + all[order[n]]->name());
    }
    if (HasFailure()) return;
  }
}

TEST_F(Pool, hasRoomForThousandsOneAfterAnother) {
  sentence("Thousands of consumers come one after another: a program that loads and unloads");
  auto stays = consumer("the one that stays");
  stays->initialize();
  CK_SESSION_HANDLE session = stays->open(slot(*stays));
  auto before = descriptors().size();
  for (int i = 0; i < 3000; ++i) {
    Library again(moduleUnderTest());
    Consumer comes(again.functions(), "consumer " + std::to_string(i + 1));
    // Some only look what it is; and now and then one forgets to finalise nothing.
    if (i % 3 == 0) continue;
    CK_RV rv = comes.tryInitialize();
    expect(comes.does("C_Initialize"), rv);
    CK_INFO info{};
    if (rv == CKR_OK) expect(comes.does("C_GetInfo"), comes->C_GetInfo(&info));
    if (HasFailure()) return;
  }
  stays->works(session, "after 3000 others");
  EXPECT_LE(descriptors().size(), before + 8);
}

// With nobody beside it that keeps the workers: each time all is started, and nothing is left.
TEST_F(Pool, keepsNothingOfThoseThatCameAndWent) {
  sentence(
      "A program loads, initialises, logs in, finalises and unloads hundreds of times: no leak");
  std::optional<Consumer> one;
  auto come = [&](bool initialize) {
    Library again(moduleUnderTest());
    one.emplace(again.functions(), "A");
    if (initialize) {
      one->initialize();
      expect("A's C_Login", one->login(one->open(slot(*one))));
      expect("A's C_Finalize", one->finalize());
    }
    one.reset();
  };
  for (bool initialize : {true, false}) {
    int times = initialize ? 200 : 5000;
    // What is kept once is no leak.
    for (int i = 0; i < 140; ++i) come(initialize && i < 10);
    auto open = descriptors();
    auto running = threads();
    auto taken = ::mallinfo2().uordblks;
    for (int i = 0; i < times && !HasFailure(); ++i) come(initialize);
    expect(descriptors() == open, "descriptors are left open");
    expect(threads() == running, "threads are left");
    auto more = static_cast<long long>(::mallinfo2().uordblks - taken);
    // For each time less than the smallest allocation.
    expect(more < times * 16, std::to_string(more) + " bytes are not given back");
    RecordProperty(initialize ? "bytes_kept_of_lives" : "bytes_kept_of_loads",
                   std::to_string(more));
    EXPECT_TRUE(kind() != Kind::Bulkhead || childrenOf(::getpid()).empty());
    if (HasFailure()) return;
  }
}

TEST_F(Pool, givesAgainWhatIsIdleLongest) {
  BULKHEAD_NEEDS_ITSELF();
  auto all = allLists();
  ASSERT_GE(all.size(), 128u);
  ASSERT_LT(all.size(), PLENTY);
  // Those that were not touched since come again in their order: the longest idle first.
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(library->functions(), all[i]) << i;
  {
    // One is live, one was until just now; the others never were.
    Initialized live(all[0]);
    { Initialized was(all[2]); }
    std::vector<CK_FUNCTION_LIST*> expected;
    for (std::size_t i = 0; i < all.size(); ++i)
      if (i != 0 && i != 2) expected.push_back(all[i]);
    expected.push_back(all[2]);
    for (CK_FUNCTION_LIST* one : expected) EXPECT_EQ(library->functions(), one);
    // And so on; never the live one.
    for (std::size_t i = 0; i < 2 * all.size(); ++i) EXPECT_NE(library->functions(), all[0]);
  }
  // Now it may be, and is the last.
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_NE(library->functions(), all[0]);
  EXPECT_EQ(library->functions(), all[0]);
}

TEST_F(Pool, givesNobodyAnothersState) {
  BULKHEAD_NEEDS_ITSELF();
  auto all = allLists();
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  CK_SLOT_ID one;
  {
    Initialized first(all[0]);
    one = slotOf(all[0], "one").value();
    ASSERT_EQ(all[0]->C_OpenSession(one, CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_OK);
    std::string pin = USER_PIN;
    ASSERT_EQ(
        all[0]->C_Login(session, CKU_USER, reinterpret_cast<CK_UTF8CHAR*>(pin.data()), pin.size()),
        CKR_OK);
  }
  // Whoever gets the list next begins at the beginning.
  CK_FUNCTION_LIST* again = nullptr;
  for (std::size_t i = 0; i < all.size() && again != all[0]; ++i) again = library->functions();
  ASSERT_EQ(again, all[0]);
  CK_SESSION_INFO info{};
  EXPECT_EQ(again->C_GetSessionInfo(session, &info), CKR_CRYPTOKI_NOT_INITIALIZED);
  Initialized second(again);
  EXPECT_EQ(again->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
  Session own(again, one);
  EXPECT_EQ(again->C_GetSessionInfo(own, &info), CKR_OK);
  EXPECT_EQ(info.state, CKS_RW_PUBLIC_SESSION);
}

TEST_F(Pool, refusesTheNextWhenAllAreLive) {
  BULKHEAD_NEEDS_ITSELF();
  Variable level("BULKHEAD_LOG", "error");
  auto lists = allLists();
  std::vector<std::unique_ptr<Consumer>> all;
  for (CK_FUNCTION_LIST* list : lists) {
    all.push_back(std::make_unique<Consumer>(list, std::to_string(all.size())));
    all.back()->initialize();
  }
  Consumer& first = *all[0];
  CK_SESSION_HANDLE session = first.open(slot(first));
  auto untouched = reinterpret_cast<CK_FUNCTION_LIST*>(&session);
  CK_FUNCTION_LIST* list = untouched;
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(next(&list), CKR_HOST_MEMORY);
  std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("all function lists are in use"), std::string::npos) << log;
  EXPECT_EQ(list, untouched);
  // The other ways to ask.
  ::testing::internal::CaptureStderr();
  CK_INTERFACE* interface = nullptr;
  auto getInterface =
      library->symbol<CK_RV (*)(CK_UTF8CHAR_PTR, CK_VERSION_PTR, CK_INTERFACE_PTR_PTR, CK_FLAGS)>(
          "C_GetInterface");
  EXPECT_EQ(getInterface(nullptr, nullptr, &interface, 0), CKR_HOST_MEMORY);
  EXPECT_EQ(interface, nullptr);
  CK_INTERFACE interfaces[3];
  CK_ULONG count = 3;
  auto getList = library->symbol<CK_RV (*)(CK_INTERFACE_PTR, CK_ULONG_PTR)>("C_GetInterfaceList");
  EXPECT_EQ(getList(interfaces, &count), CKR_HOST_MEMORY);
  (void)::testing::internal::GetCapturedStderr();
  // A consumer's own list is no new consumer.
  EXPECT_EQ(first->C_GetFunctionList(&list), CKR_OK);
  EXPECT_EQ(list, lists[0]);
  first.works(session, "when all lists are in use");
  // One that is initialised twice and finalised once is live.
  all[5]->initialize();
  expect("C_Finalize", all[5]->finalize());
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(next(&list), CKR_HOST_MEMORY);
  (void)::testing::internal::GetCapturedStderr();
  expect("C_Finalize", all[5]->finalize());
  EXPECT_EQ(next(&list), CKR_OK);
  EXPECT_EQ(list, lists[5]);
}

// The list that is idle longest is no more idle from the moment at which it is being initialised.
TEST_F(Pool, doesNotGiveAwayAListThatIsBeingInitialised) {
  BULKHEAD_NEEDS_ITSELF();
  auto all = allLists();
  for (std::size_t round = 0; round < 5; ++round) {
    CK_FUNCTION_LIST* own = all[round];
    std::atomic<bool> ready{false}, handedOut{false};
    std::thread initializes([&] {
      Initialized live(own);
      ready = true;
    });
    // Its worker is there: C_Initialize is under way.
    while (supervisors().empty() && !ready) std::this_thread::yield();
    if (!ready)
      for (std::size_t i = 0; i < all.size() + 3 && !ready; ++i)
        if (library->functions() == own && !ready) handedOut = true;
    initializes.join();
    EXPECT_FALSE(handedOut);
    all = allLists();
  }
}

// What is live in a process is not in its child: there the lists are idle, and those that were
// never handed out come first.
TEST_F(Pool, isTheChildsToUseUp) {
  sentence("A child whose parent has 128 live consumers has room for 128 of its own");
  std::vector<std::unique_ptr<Consumer>> all;
  for (unsigned i = 0; i < 128; ++i) {
    all.push_back(consumer("parent's " + std::to_string(i + 1)));
    expect(all.back()->does("C_Initialize"), all.back()->tryInitialize());
    if (HasFailure()) return;
  }
  inChild([&] {
    for (auto& one : all) one->forget();
    std::vector<std::unique_ptr<Consumer>> own;
    for (unsigned i = 0; i < 128; ++i) {
      own.push_back(consumer("child's " + std::to_string(i + 1)));
      expect(own.back()->does("C_Initialize"), own.back()->tryInitialize());
    }
  });
}

}  // namespace
}  // namespace bulkhead::test
