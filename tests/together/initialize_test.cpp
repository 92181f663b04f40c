// SPDX-License-Identifier: BSD-2-Clause
//
// C_Initialize and C_Finalize: counted for each consumer, in any order, by any number of threads.
#include <atomic>
#include <barrier>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

class Initialize : public Together {
 protected:
  static CK_RV info(const Consumer& consumer) {
    CK_INFO info{};
    return consumer->C_GetInfo(&info);
  }
};

TEST_F(Initialize, isForEachConsumer) {
  sentence("Several consumers initialise and finalise in every order, and the rest works");
  for (auto& coming : orders(3)) {
    for (auto& going : orders(3)) {
      SCOPED_TRACE(toString(coming) + " come, " + toString(going) + " go");
      auto all = consumers(3);
      std::vector<CK_SESSION_HANDLE> sessions(3);
      for (std::size_t n = 0; n < coming.size(); ++n) {
        Consumer& comes = *all[coming[n]];
        expect(comes.does("C_GetInfo before its C_Initialize"), info(comes),
               {CKR_CRYPTOKI_NOT_INITIALIZED});
        expect(comes.does("C_Initialize"), comes.tryInitialize());
        sessions[coming[n]] = comes.open(slot(comes));
      }
      for (std::size_t n = 0; n < going.size(); ++n) {
        Consumer& goes = *all[going[n]];
        expect(goes.does("C_Finalize"), goes.finalize());
        expect(goes.does("C_GetInfo after its C_Finalize"), info(goes),
               {CKR_CRYPTOKI_NOT_INITIALIZED});
        for (std::size_t m = n + 1; m < going.size(); ++m)
          all[going[m]]->works(sessions[going[m]], "after " + goes.does("C_Finalize"));
      }
      if (HasFailure()) return;
    }
  }
}

TEST_F(Initialize, isCounted) {
  sentence(
      "As many `C_Finalize` undo as many `C_Initialize`; the next is "
      "`CKR_CRYPTOKI_NOT_INITIALIZED`");
  for (bool beside : {false, true}) {
    for (int times : {1, 2, 7}) {
      SCOPED_TRACE(times);
      auto all = consumers(2);
      Consumer &a = *all[0], &b = *all[1];
      if (beside) b.initialize();
      for (int i = 0; i < times; ++i)
        expect(a.does("C_Initialize no. " + std::to_string(i + 1)), a.tryInitialize());
      CK_SESSION_HANDLE session = a.open(slot(a));
      for (int i = times; i > 0; --i) {
        a.works(session, "while it is initialised");
        expect(a.does("C_Finalize"), a.finalize());
      }
      expect("C_Finalize once more", a.finalize(), {CKR_CRYPTOKI_NOT_INITIALIZED});
      expect("C_GetInfo", info(a), {CKR_CRYPTOKI_NOT_INITIALIZED});
      expect("A's session", a.random(session), {CKR_CRYPTOKI_NOT_INITIALIZED});
      if (beside) expect("B's C_GetInfo", info(b));
      if (HasFailure()) return;
    }
  }
}

TEST_F(Initialize, checksItsArguments) {
  sentence("`C_INITIALIZE_ARGS` is checked: `pReserved`, and mutex callbacks all or none");
  auto create = [](CK_VOID_PTR_PTR mutex) -> CK_RV {
    *mutex = nullptr;
    return CKR_OK;
  };
  auto other = [](CK_VOID_PTR) -> CK_RV { return CKR_OK; };
  // As a consumer that is not initialised, and as one that is.
  for (bool before : {false, true}) {
    auto own = consumer();
    Consumer& a = *own;
    if (before) a.initialize();
    for (CK_FLAGS flags :
         {CK_FLAGS{0}, CK_FLAGS{CKF_OS_LOCKING_OK}, CK_FLAGS{CKF_LIBRARY_CANT_CREATE_OS_THREADS},
          CK_FLAGS{CKF_OS_LOCKING_OK | CKF_LIBRARY_CANT_CREATE_OS_THREADS}}) {
      for (unsigned set = 0; set < 16; ++set) {
        CK_C_INITIALIZE_ARGS args{};
        args.flags = flags;
        if ((set & 1) != 0) args.CreateMutex = create;
        if ((set & 2) != 0) args.DestroyMutex = other;
        if ((set & 4) != 0) args.LockMutex = other;
        if ((set & 8) != 0) args.UnlockMutex = other;
        CK_RV rv = a->C_Initialize(&args);
        bool complete = set == 0 || set == 15;
        if (rv == CKR_OK) expect("C_Finalize", a->C_Finalize(nullptr));
        expect(complete ? "C_Initialize with complete arguments"
                        : "C_Initialize with some of the four callbacks",
               rv, {complete ? CKR_OK : CKR_ARGUMENTS_BAD});
        int something = 0;
        args.pReserved = &something;
        rv = a->C_Initialize(&args);
        if (rv == CKR_OK) expect("C_Finalize", a->C_Finalize(nullptr));
        expect("C_Initialize with pReserved", rv, {CKR_ARGUMENTS_BAD});
        if (HasFailure()) return;
      }
    }
    expect("C_Initialize without arguments", a->C_Initialize(nullptr));
    expect("C_Finalize with pReserved", a->C_Finalize(&a), {CKR_ARGUMENTS_BAD});
    expect("C_Finalize", a->C_Finalize(nullptr));
    // What was refused was not counted, nor undone.
    expect("C_GetInfo", info(a), {before ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED});
  }
}

// Each thread finds the consumer initialised when its call returns, and the last C_Finalize is the
// one that ends it.
TEST_F(Initialize, firstByEightThreadsAtOnce) {
  sentence("Eight threads race the first `C_Initialize` of one consumer: each counts");
  constexpr unsigned THREADS = 8;
  auto own = consumer();
  Consumer& a = *own;
  for (int round = 0; round < 10; ++round) {
    std::barrier start(THREADS);
    std::vector<CK_RV> rvs(THREADS), found(THREADS);
    std::vector<std::thread> racing;
    for (unsigned i = 0; i < THREADS; ++i)
      racing.emplace_back([&, i] {
        CK_C_INITIALIZE_ARGS args{};
        args.flags = CKF_OS_LOCKING_OK;
        start.arrive_and_wait();
        rvs[i] = a->C_Initialize(&args);
        CK_ULONG count = 0;
        found[i] = a->C_GetSlotList(CK_FALSE, nullptr, &count);
      });
    for (std::thread& one : racing) one.join();
    for (unsigned i = 0; i < THREADS; ++i) {
      expect("C_Initialize of one of eight threads", rvs[i]);
      expect("C_GetSlotList after it", found[i]);
    }
    if (kind() == Kind::Bulkhead) {
      EXPECT_EQ(supervisors().size(), 1u);
    }
    for (unsigned i = 1; i < THREADS; ++i) {
      expect("C_Finalize", a->C_Finalize(nullptr));
      expect("the consumer after " + std::to_string(i) + " of 8 C_Finalize", info(a));
    }
    expect("the last C_Finalize", a->C_Finalize(nullptr));
    expect("the consumer after it", info(a), {CKR_CRYPTOKI_NOT_INITIALIZED});
    if (HasFailure()) break;
  }
  while (a->C_Finalize(nullptr) == CKR_OK) continue;
}

TEST_F(Initialize, ofEightConsumersAtOnce) {
  sentence("Eight consumers initialise at once, work, and finalise at once, again and again");
  constexpr unsigned THREADS = 8;
  auto all = consumers(THREADS);
  std::atomic<int> bad{0};
  std::atomic<CK_RV> first{CKR_OK};
  auto fine = [&](CK_RV rv) {
    CK_RV none = CKR_OK;
    if (rv == CKR_OK) return true;
    first.compare_exchange_strong(none, rv);
    ++bad;
    return false;
  };
  std::barrier start(THREADS);
  std::vector<std::thread> racing;
  for (auto& one : all)
    racing.emplace_back([&, consumer = one.get()] {
      for (int round = 0; round < 20; ++round) {
        start.arrive_and_wait();
        if (!fine(consumer->tryInitialize())) continue;
        CK_SLOT_ID list[8];
        CK_ULONG count = 8;
        CK_SESSION_HANDLE session = 0;
        if (fine((*consumer)->C_GetSlotList(CK_TRUE, list, &count)) &&
            fine((*consumer)->C_OpenSession(list[0], CKF_SERIAL_SESSION, nullptr, nullptr,
                                            &session)))
          fine(consumer->random(session));
        fine(consumer->finalize());
      }
    });
  for (std::thread& one : racing) one.join();
  expect(bad == 0,
         std::to_string(bad) + " calls fail, the first with " + ipc::returnValueName(first.load()));
  if (kind() == Kind::Bulkhead) {
    EXPECT_TRUE(supervisors().empty());
  }
}

// Threads of A are in calls when A is finalised: each gets an answer that the standard has, and
// those of B none but CKR_OK.
TEST_F(Initialize, isUndoneBesideCallsInFlight) {
  sentence(
      "`C_Finalize` while other threads are in calls: they end as the standard allows, B goes on");
  const Rvs allowed = {CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID,
                       CKR_SESSION_CLOSED};
  for (bool beside : {false, true}) {
    for (int round = 0; round < 8; ++round) {
      auto all = consumers(2);
      Consumer &a = *all[0], &b = *all[1];
      a.initialize();
      CK_SLOT_ID token = slot(a);
      std::atomic<bool> done{false};
      std::atomic<unsigned> calls{0}, wrong{0};
      std::vector<std::thread> callers;
      std::vector<std::set<CK_RV>> answers(5);
      auto call = [&](Consumer& consumer, std::set<CK_RV>& got) {
        CK_SESSION_HANDLE session = 0;
        got.insert(consumer->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &session));
        CK_TOKEN_INFO info{};
        CK_ULONG count = 0;
        while (!done) {
          got.insert(consumer.random(session));
          got.insert(consumer->C_GetTokenInfo(token, &info));
          CK_RV rv = consumer->C_GetSlotList(CK_TRUE, nullptr, &count);
          got.insert(rv);
          if (rv == CKR_OK && count != 3) ++wrong;
          ++calls;
        }
        got.insert(consumer->C_CloseSession(session));
      };
      if (beside) {
        b.initialize();
        callers.emplace_back([&] { call(b, answers[4]); });
      }
      for (unsigned i = 0; i < 4; ++i) callers.emplace_back([&, i] { call(a, answers[i]); });
      EXPECT_TRUE(eventually([&] { return calls > 20; }));
      CK_RV rv = a.finalize();
      unsigned seen = calls;
      EXPECT_TRUE(eventually([&] { return calls > seen + 20; }));
      done = true;
      for (std::thread& one : callers) one.join();
      expect("C_Finalize", rv);
      expect(wrong == 0, "C_GetSlotList answers CKR_OK without the slots");
      for (unsigned i = 0; i < 4; ++i)
        for (CK_RV answer : answers[i]) expect("a call of A", answer, allowed);
      for (CK_RV answer : answers[4]) expect("a call of B", answer);
      if (HasFailure()) return;
    }
  }
}

// The call is in the module when its consumer is finalised.
TEST_F(Initialize, isUndoneWhileAModuleIsInACall) {
  BULKHEAD_NEEDS_ITSELF();
  addSlow();
  for (bool beside : {true, false}) {
    SCOPED_TRACE(beside ? "with another consumer" : "alone");
    auto all = consumers(2);
    Consumer &a = *all[0], &b = *all[1];
    a.initialize();
    CK_SLOT_ID slow = slot(a, "slow");
    CK_SESSION_HANDLE session = a.open(slow), others = 0;
    if (beside) {
      b.initialize();
      others = b.open(slow);
    }
    CK_RV answer = CKR_GENERAL_ERROR;
    std::thread caller([&] {
      CK_BYTE bytes[2];
      answer = a->C_GenerateRandom(session, bytes, sizeof bytes);
    });
    EXPECT_TRUE(eventually([&] {
      CK_TOKEN_INFO info{};
      return a->C_GetTokenInfo(slow, &info) == CKR_OK && info.ulSessionCount == 1;
    }));
    pid_t worker = workerOf("slow");
    expect("C_Finalize", a.finalize());
    if (beside) {
      EXPECT_EQ(workerOf("slow"), worker);
      CK_SESSION_INFO info{};
      expect("B's session", b->C_GetSessionInfo(others, &info), {CKR_FUNCTION_NOT_SUPPORTED});
      expect("B's new session", b->C_CloseSession(b.open(slow)));
    } else {
      EXPECT_FALSE(alive(worker));
    }
    caller.join();
    expect("the call in flight", answer, {CKR_OK, CKR_CRYPTOKI_NOT_INITIALIZED});
  }
}

// Whoever comes then gets workers of its own, and none that is on its way out.
TEST_F(Initialize, mayComeWhileTheLastOneIsGoing) {
  BULKHEAD_NEEDS_ITSELF();
  addSlow();
  auto all = consumers(2);
  Consumer &a = *all[0], &b = *all[1];
  for (int round = 0; round < 2; ++round) {
    a.initialize();
    auto before = slots(a.functions());
    pid_t worker = workerOf("slow");
    ASSERT_GT(worker, 1);
    // Its end takes as long as StopTimeoutSec= lets it.
    ASSERT_TRUE(stop(worker));
    std::atomic<bool> gone{false};
    std::jthread goes([&] {
      expect("A's C_Finalize", a.finalize());
      gone = true;
    });
    EXPECT_TRUE(eventually([&] { return info(a) == CKR_CRYPTOKI_NOT_INITIALIZED; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    EXPECT_FALSE(gone);
    b.initialize();
    EXPECT_NE(workerOf("slow"), worker);
    EXPECT_EQ(slots(b.functions()), before);
    expect("B's C_CloseSession", b->C_CloseSession(b.open(slot(b, "slow"))));
    goes.join();
    b.works(b.open(slot(b)), "after A's C_Finalize");
    expect("B's C_Finalize", b.finalize());
    EXPECT_TRUE(processes().empty());
  }
}

}  // namespace
}  // namespace bulkhead::test
