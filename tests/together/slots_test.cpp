// SPDX-License-Identifier: BSD-2-Clause
//
// Slot ids: one slot has one id in all consumers of a process and in its children, whatever comes
// and goes, and no other slot ever has it.
#include <atomic>
#include <future>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

using Tokens = std::map<std::string, CK_SLOT_ID>;

// What a module has to say in a thread, for as long as one cares to wait.
template <typename Call>
auto within(std::chrono::seconds patience, Call call) {
  auto result = std::make_shared<std::promise<decltype(call())>>();
  auto future = result->get_future();
  std::thread([result, call] { result->set_value(call()); }).detach();
  std::optional<decltype(call())> answer;
  if (future.wait_for(patience) == std::future_status::ready) answer = future.get();
  return answer;
}

class Slots : public Together {
 protected:
  // The tokens that a consumer sees, by label.
  static Tokens tokens(const Consumer& consumer) {
    Tokens all;
    for (CK_SLOT_ID slot : slots(consumer.functions(), true)) {
      CK_TOKEN_INFO info{};
      expect(consumer.does("C_GetTokenInfo"), consumer->C_GetTokenInfo(slot, &info));
      if ((info.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
      bool fresh = all.emplace(field(info.label), slot).second;
      expect(fresh, "token " + field(info.label) + " is in two slots");
    }
    return all;
  }
  static void hasNoDuplicates(const std::vector<CK_SLOT_ID>& ids) {
    expect(std::set<CK_SLOT_ID>(ids.begin(), ids.end()).size() == ids.size(),
           "C_GetSlotList has an id twice");
  }
};

TEST_F(Slots, areTheSameInAllConsumers) {
  sentence("A slot has the same id in all consumers, whoever looks first");
  addSlow();
  std::optional<std::vector<CK_SLOT_ID>> first;
  for (auto& order : orders(3)) {
    SCOPED_TRACE(toString(order));
    auto all = consumers(3);
    for (unsigned i : order) {
      all[i]->initialize();
      auto own = slots(all[i]->functions());
      hasNoDuplicates(own);
      if (!first) first = own;
      expect(own == *first, all[i]->does("slots have other ids"));
      EXPECT_EQ(tokens(*all[i]), tokens(*all[order[0]]));
    }
    if (HasFailure()) return;
  }
}

TEST_F(Slots, areTheSameInAChild) {
  sentence("A slot has the same id in a child after fork, and in the child's child");
  addSlow();
  auto a = consumer("A"), b = consumer("B");
  a->initialize();
  auto before = tokens(*a);
  inChild([&] {
    a->forget();
    // Another consumer is the first to look here.
    for (Consumer* one : {b.get(), a.get()}) {
      expect(one->does("C_Initialize in the child"), one->tryInitialize());
      expect(tokens(*one) == before, one->does("slots have other ids in the child"));
    }
    inChild([&] {
      a->forget();
      b->forget();
      expect(a->does("C_Initialize in the grandchild"), a->tryInitialize());
      expect(tokens(*a) == before, "slots have other ids in the grandchild");
    });
  });
  EXPECT_EQ(tokens(*a), before);
}

TEST_F(Slots, areTheSameAfterARestart) {
  BULKHEAD_NEEDS_ITSELF();
  addSlow();
  auto all = consumers(2);
  for (auto& one : all) one->initialize();
  auto before = slots(all[0]->functions());
  auto seen = tokens(*all[0]);
  for (const char* name : {"softhsm2", "slow", "softhsm2"}) {
    ASSERT_TRUE(killWorker(name));
    for (auto& one : all) {
      EXPECT_EQ(slots(one->functions()), before);
      EXPECT_EQ(tokens(*one), seen);
    }
  }
}

TEST_F(Slots, areTheSameAfterAllHaveFinalised) {
  sentence("A slot has the same id after all have finalised and initialised again");
  auto all = consumers(2);
  std::optional<Tokens> first;
  for (unsigned i : {0u, 1u, 0u}) {
    all[i]->initialize();
    auto own = tokens(*all[i]);
    if (!first) first = own;
    expect(own == *first, "slots have other ids afterwards");
    expect("C_Finalize", all[i]->finalize());
  }
}

// SoftHSM2 has one slot more than tokens: when that one gets its token, another appears.
TEST_F(Slots, comeWithTheirTokens) {
  sentence("A token that comes is seen by all in a slot of a new id; the other ids stay");
  for (unsigned who : {0u, 1u}) {
    SCOPED_TRACE(who);
    auto all = consumers(2);
    for (auto& one : all) one->initialize();
    auto before = slots(all[0]->functions());
    auto seen = tokens(*all[1]);
    std::string label = "new " + std::to_string(who);
    makeToken(all[who]->functions(), label);
    for (auto& one : all) {
      auto after = slots(one->functions());
      hasNoDuplicates(after);
      expect(after.size() == before.size() + 1, one->does("C_GetSlotList has no new slot"));
      for (CK_SLOT_ID id : before)
        expect(std::count(after.begin(), after.end(), id) == 1, one->does("old slot is gone"));
      auto now = tokens(*one);
      expect(now.count(label) == 1, one->name() + " does not see the new token");
      for (auto& [name, id] : seen) expect(now[name] == id, "token " + name + " has another id");
    }
    if (HasFailure()) return;
  }
}

// Others make tokens as well: after the next C_Initialize they are there, under ids that nothing
// else had, in the parent and in a child that was forked before.
TEST_F(Slots, ofNewTokensHaveNoOldIds) {
  sentence("A token that comes after a fork gets no other token's id in the child");
  addSlow();
  auto a = consumer();
  a->initialize();
  auto before = tokens(*a);
  auto old = slots(a->functions());
  inChild([&] {
    a->forget();
    {
      Library direct(SOFTHSM);
      // The parent's, of whom this is a copy where the module is in the process.
      if (kind() != Kind::Bulkhead) (void)direct.functions()->C_Finalize(nullptr);
      Initialized module(direct.functions());
      makeToken(direct.functions(), "three");
    }
    expect("C_Initialize in the child", a->tryInitialize());
    hasNoDuplicates(slots(a->functions()));
    auto now = tokens(*a);
    expect(now.count("three") == 1, "the new token is not seen");
    for (auto& [name, id] : before) expect(now[name] == id, "token " + name + " has another id");
    expect(std::count(old.begin(), old.end(), now["three"]) == 0,
           "the new token has an id that was another's");
  });
}

TEST_F(Slots, comeAndGoWithTheirModules) {
  sentence("A module that goes and comes again has its ids again; nobody had them meanwhile");
  BULKHEAD_NEEDS_A_PROXY();
  addSlow();
  auto all = consumers(2);
  all[0]->initialize();
  auto before = tokens(*all[0]);
  expect("C_Finalize", all[0]->finalize());

  configuration.removeModule("slow");
  all[1]->initialize();
  auto without = tokens(*all[1]);
  expect(without.count("slow") == 0, "the module that is gone is still there");
  EXPECT_EQ(without["one"], before["one"]);
  makeToken(all[1]->functions(), "new");
  for (auto& [name, id] : tokens(*all[1]))
    expect(id != before["slow"], "token " + name + " has the id of a module that is gone");
  CK_SLOT_INFO info{};
  expect("C_GetSlotInfo of a slot that is gone", (*all[1])->C_GetSlotInfo(before["slow"], &info),
         {CKR_SLOT_ID_INVALID});
  expect("C_Finalize", all[1]->finalize());

  addSlow();
  for (auto& one : all) {
    one->initialize();
    auto again = tokens(*one);
    for (auto& [name, id] : before) expect(again[name] == id, "token " + name + " has another id");
  }
}

// ---- a module that hangs ----

TEST_F(Slots, areListedWhileAModuleHangs) {
  sentence("`C_GetSlotList` answers while one module hangs, with the slots that it had");
  BULKHEAD_NEEDS_A_PROXY();
  addSlow();
  auto all = consumers(2);
  for (auto& one : all) one->initialize();
  auto before = slots(all[0]->functions());
  auto present = slots(all[0]->functions(), true);
  hang(true);
  for (auto& one : all) {
    for (CK_BBOOL token : {CK_BBOOL{CK_FALSE}, CK_BBOOL{CK_TRUE}}) {
      auto start = std::chrono::steady_clock::now();
      auto answer = within(std::chrono::seconds(20), [f = one->functions(), token] {
        std::vector<CK_SLOT_ID> ids(64);
        CK_ULONG count = ids.size();
        CK_RV rv = f->C_GetSlotList(token, ids.data(), &count);
        ids.resize(rv == CKR_OK ? count : 0);
        return std::make_pair(rv, ids);
      });
      std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      RecordProperty(token == CK_TRUE ? "seconds_present" : "seconds_all",
                     std::to_string(took.count()));
      expect(answer.has_value(), "C_GetSlotList hangs");
      if (!answer) break;
      expect("C_GetSlotList", answer->first);
      expect(answer->second == (token == CK_TRUE ? present : before),
             "C_GetSlotList has other slots than before");
    }
    if (HasFailure()) break;
  }
  hang(false);
  if (HasFailure()) return;
  EXPECT_EQ(slots(all[0]->functions()), before);
  EXPECT_EQ(tokens(*all[0]).count("slow"), 1u);
}

// The first to ask has patience; the others don't wait for what has not been answered yet.
TEST_F(Slots, haveNoEventsWhileTheirModuleHangs) {
  BULKHEAD_NEEDS_ITSELF();
  addSlow();
  auto all = consumers(2);
  for (auto& one : all) one->initialize();
  pid_t worker = workerOf("slow");
  hang(true);
  for (int i = 0; i < 3; ++i)
    for (auto& one : all) {
      auto start = std::chrono::steady_clock::now();
      CK_SLOT_ID slot = 0;
      expect(one->does("C_WaitForSlotEvent"),
             (*one)->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr), {CKR_NO_EVENT});
      EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
    }
  hang(false);
  // It was not killed for its silence, and is asked again.
  EXPECT_EQ(workerOf("slow"), worker);
  for (auto& one : all) {
    CK_SLOT_ID slot = 0;
    expect(one->does("C_WaitForSlotEvent"),
           (*one)->C_WaitForSlotEvent(CKF_DONT_BLOCK, &slot, nullptr), {CKR_NO_EVENT});
  }
  EXPECT_EQ(tokens(*all[0]).count("slow"), 1u);
}

TEST_F(Slots, ofOtherModulesWorkWhileOneHangs) {
  sentence("Sessions on the other modules work while a thread's `C_GetSlotList` hangs");
  BULKHEAD_NEEDS_A_PROXY();
  addSlow();
  auto all = consumers(2);
  for (auto& one : all) one->initialize();
  CK_SESSION_HANDLE session = all[0]->open(slot(*all[0]));
  hang(true);
  std::atomic<bool> done{false};
  std::thread lists([&] {
    CK_ULONG count = 0;
    (void)(*all[1])->C_GetSlotList(CK_FALSE, nullptr, &count);
    done = true;
  });
  // For as long as that one is at it, and so has to wait for the module.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  unsigned calls = 0;
  std::optional<CK_RV> rv;
  do {
    rv = within(std::chrono::seconds(20), [f = all[0]->functions(), session] {
      CK_BYTE bytes[8];
      return f->C_GenerateRandom(session, bytes, sizeof bytes);
    });
    if (rv == CKR_OK) ++calls;
  } while (rv == CKR_OK && !done && calls < 200);
  expect(rv.has_value(), "calls on the other module hang");
  if (rv) expect("a call on the other module", *rv);
  hang(false);
  lists.join();
  EXPECT_TRUE(HasFailure() || calls >= 10) << calls;
}

// A worker that is stopped altogether does not even read.
TEST_F(Slots, areListedWhileAWorkerIsStopped) {
  BULKHEAD_NEEDS_ITSELF();
  addSlow();
  auto all = consumers(2);
  for (auto& one : all) one->initialize();
  auto before = slots(all[0]->functions());
  auto present = slots(all[0]->functions(), true);
  CK_SESSION_HANDLE session = all[1]->open(slot(*all[1]));
  pid_t worker = workerOf("slow");
  ASSERT_GT(worker, 1);
  ASSERT_TRUE(stop(worker));
  for (auto& one : all) {
    EXPECT_EQ(slots(one->functions()), before);
    EXPECT_EQ(slots(one->functions(), true), present);
  }
  all[1]->works(session, "while another worker is stopped");
  ASSERT_EQ(::kill(worker, SIGCONT), 0);
  // It was not killed for its silence.
  EXPECT_EQ(workerOf("slow"), worker);
  EXPECT_EQ(slots(all[0]->functions()), before);
  EXPECT_EQ(tokens(*all[0]).count("slow"), 1u);
}

}  // namespace
}  // namespace bulkhead::test
