// SPDX-License-Identifier: BSD-2-Clause
//
// A host whose memory is used up at any one moment: the call at that moment says so, and leaves
// the consumer as it was or without its life, never in between.
#include <stdlib.h>

#include <new>

#include "tests/together/together.h"

namespace {

// The allocation of this thread that is to fail, counted down; 0 for none.
thread_local unsigned failing = 0;

}  // namespace

// Also the proxy's, which finds these first.
void* operator new(std::size_t size) {
  if (failing != 0 && --failing == 0) throw std::bad_alloc();
  void* p = ::malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept {
  ::free(p);
}
void operator delete(void* p, std::size_t) noexcept {
  ::free(p);
}

namespace bulkhead::test {
namespace {

class Memory : public Together {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS_ITSELF();
    Together::SetUp();
  }
  // Calls with the first allocation failing, with the second, and so on, until none fails any more.
  // `after` looks at what is there then. Yields how many there were.
  static unsigned eachAllocation(const std::function<CK_RV()>& call,
                                 const std::function<void(CK_RV)>& after) {
    unsigned n = 1;
    for (unsigned left = 0; left == 0 && n < 5000;) {
      SCOPED_TRACE("allocation " + std::to_string(n));
      failing = n++;
      CK_RV rv = call();
      left = std::exchange(failing, 0u);
      after(rv);
      if (HasFailure()) break;
    }
    EXPECT_LT(n, 5000u);
    return n - 1;
  }
};

TEST_F(Memory, isMissedByInitializeWithoutAnyTrace) {
  addSlow();
  auto all = consumers(2);
  for (bool beside : {false, true}) {
    if (beside) all[1]->initialize();
    auto before = supervisors().size();
    unsigned n =
        eachAllocation([&] { return (*all[0])->C_Initialize(nullptr); },
                       [&](CK_RV rv) {
                         if (rv == CKR_OK) expect("C_Finalize", (*all[0])->C_Finalize(nullptr));
                         expect("C_Finalize once more", (*all[0])->C_Finalize(nullptr),
                                {CKR_CRYPTOKI_NOT_INITIALIZED});
                         EXPECT_TRUE(eventually([&] { return supervisors().size() == before; }));
                       });
    EXPECT_GT(n, 10u) << "the allocations are not the proxy's";
  }
}

TEST_F(Memory, isMissedByFinalizeAndTheNextLifeIsWell) {
  auto all = consumers(2);
  for (bool beside : {false, true}) {
    if (beside) all[1]->initialize();
    auto before = supervisors().size();
    CK_SLOT_ID token = 0;
    auto begin = [&] {
      all[0]->initialize();
      token = slot(*all[0]);
      for (int i = 0; i < 3; ++i) (void)all[0]->open(token);
    };
    begin();
    eachAllocation([&] { return all[0]->finalize(); },
                   [&](CK_RV rv) {
                     while (rv != CKR_CRYPTOKI_NOT_INITIALIZED) rv = all[0]->finalize();
                     EXPECT_TRUE(eventually([&] { return supervisors().size() == before; }));
                     begin();
                   });
    all[0]->finalize();
  }
}

// What it costs at most is the worker, whose answer could not be read.
TEST_F(Memory, isMissedByACallAndTheNextLifeIsWell) {
  auto own = consumer(), stays = consumer("B");
  Consumer& a = *own;
  stays->initialize();
  CK_SLOT_ID token = 0;
  CK_SESSION_HANDLE session = 0, another = 0;
  auto begin = [&] {
    a.initialize();
    token = slot(a);
    session = a.open(token);
  };
  begin();
  CK_SLOT_ID ids[8];
  CK_ULONG count = 8;
  CK_SESSION_INFO info{};
  CK_FUNCTION_LIST* list = nullptr;
  std::vector<std::pair<std::string, std::function<CK_RV()>>> calls = {
      {"C_GetSlotList", [&] { return count = 8, a->C_GetSlotList(CK_TRUE, ids, &count); }},
      {"C_OpenSession",
       [&] { return a->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &another); }},
      {"C_GetSessionInfo", [&] { return a->C_GetSessionInfo(session, &info); }},
      {"C_Login", [&] { return a.login(session); }},
      {"C_GenerateRandom", [&] { return a.random(session); }},
      {"C_WaitForSlotEvent", [&] { return a->C_WaitForSlotEvent(CKF_DONT_BLOCK, ids, nullptr); }},
      {"C_Logout", [&] { return a->C_Logout(session); }},
      {"C_CloseSession", [&] { return a->C_CloseSession(session); }},
      {"C_CloseAllSessions", [&] { return a->C_CloseAllSessions(token); }},
      {"C_GetFunctionList", [&] { return a->C_GetFunctionList(&list); }},
  };
  for (auto& one : calls) {
    const std::string& name = one.first;
    SCOPED_TRACE(name);
    eachAllocation(one.second, [&](CK_RV) {
      expect("C_Finalize", a.finalize());
      begin();
      a.works(session, "after " + name);
    });
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace bulkhead::test
