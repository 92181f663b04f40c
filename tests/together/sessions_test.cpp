// SPDX-License-Identifier: BSD-2-Clause
//
// Sessions belong to the consumer that opened them.
#include <atomic>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

class Sessions : public Together {
 protected:
  // Consumers that are initialised, each with a session on the token "one".
  void begin(unsigned n) {
    all = consumers(n);
    sessions.clear();
    for (auto& one : all) {
      one->initialize();
      sessions.push_back(one->open(slot(*one)));
    }
  }

  std::vector<std::unique_ptr<Consumer>> all;
  std::vector<CK_SESSION_HANDLE> sessions;
};

TEST_F(Sessions, haveHandlesThatAreUniqueInTheProcess) {
  begin(3);
  std::set<CK_SESSION_HANDLE> handles(sessions.begin(), sessions.end());
  for (int i = 0; i < 20; ++i)
    for (auto& one : all) handles.insert(one->open(slot(*one)));
  EXPECT_EQ(handles.size(), 3u + 3 * 20);
}

TEST_F(Sessions, ofOthersAreInvalid) {
  sentence("Another consumer's session handle is `CKR_SESSION_HANDLE_INVALID`");
  begin(3);
  CK_BYTE bytes[64] = {};
  CK_ULONG size = sizeof bytes;
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  CK_SESSION_INFO info{};
  CK_OBJECT_HANDLE object = 0;
  CK_ATTRIBUTE nothing{CKA_LABEL, nullptr, 0};
  std::vector<std::pair<std::string, std::function<CK_RV(CK_FUNCTION_LIST*, CK_SESSION_HANDLE)>>>
      calls = {
          {"C_GetSessionInfo", [&](auto f, auto s) { return f->C_GetSessionInfo(s, &info); }},
          {"C_GenerateRandom", [&](auto f, auto s) { return f->C_GenerateRandom(s, bytes, 8); }},
          {"C_SeedRandom", [&](auto f, auto s) { return f->C_SeedRandom(s, bytes, 8); }},
          {"C_FindObjectsInit",
           [&](auto f, auto s) { return f->C_FindObjectsInit(s, nullptr, 0); }},
          {"C_FindObjects", [&](auto f, auto s) { return f->C_FindObjects(s, &object, 1, &size); }},
          {"C_FindObjectsFinal", [&](auto f, auto s) { return f->C_FindObjectsFinal(s); }},
          {"C_DigestInit", [&](auto f, auto s) { return f->C_DigestInit(s, &sha); }},
          {"C_Digest", [&](auto f, auto s) { return f->C_Digest(s, bytes, 8, bytes, &size); }},
          {"C_DigestUpdate", [&](auto f, auto s) { return f->C_DigestUpdate(s, bytes, 8); }},
          {"C_SignInit", [&](auto f, auto s) { return f->C_SignInit(s, &sha, 1); }},
          {"C_Sign", [&](auto f, auto s) { return f->C_Sign(s, bytes, 8, bytes, &size); }},
          {"C_EncryptInit", [&](auto f, auto s) { return f->C_EncryptInit(s, &sha, 1); }},
          {"C_GetAttributeValue",
           [&](auto f, auto s) { return f->C_GetAttributeValue(s, 1, &nothing, 1); }},
          {"C_DestroyObject", [&](auto f, auto s) { return f->C_DestroyObject(s, 1); }},
          {"C_GetOperationState",
           [&](auto f, auto s) { return f->C_GetOperationState(s, bytes, &size); }},
          {"C_Login", [&](auto f, auto s) { return f->C_Login(s, CKU_USER, bytes, 4); }},
          {"C_Logout", [&](auto f, auto s) { return f->C_Logout(s); }},
          {"C_CloseSession", [&](auto f, auto s) { return f->C_CloseSession(s); }},
      };
  for (auto& [name, call] : calls)
    for (std::size_t who = 0; who < all.size(); ++who)
      for (std::size_t whose = 0; whose < all.size(); ++whose)
        if (who != whose)
          expect(all[who]->does(name + " with " + all[whose]->name() + "'s session"),
                 call(all[who]->functions(), sessions[whose]), {CKR_SESSION_HANDLE_INVALID});
  for (std::size_t i = 0; i < all.size(); ++i) all[i]->works(sessions[i], "after that");
}

TEST_F(Sessions, outliveTheCloseAllSessionsOfOthers) {
  sentence("`C_CloseAllSessions` closes one's own sessions, and no others");
  for (auto& order : orders(3)) {
    SCOPED_TRACE(toString(order));
    begin(3);
    for (std::size_t n = 0; n < order.size(); ++n) {
      Consumer& closes = *all[order[n]];
      // Of another token first.
      expect(closes.does("C_CloseAllSessions"), closes->C_CloseAllSessions(slot(closes, "two")));
      closes.works(sessions[order[n]], "after a C_CloseAllSessions of the other token");
      expect(closes.does("C_CloseAllSessions"), closes->C_CloseAllSessions(slot(closes)));
      expect(closes.does("closed session"), closes.random(sessions[order[n]]),
             {CKR_SESSION_HANDLE_INVALID});
      for (std::size_t m = n + 1; m < order.size(); ++m)
        all[order[m]]->works(sessions[order[m]], "after " + closes.does("C_CloseAllSessions"));
    }
    if (HasFailure()) return;
  }
}

TEST_F(Sessions, outliveTheFinalizeOfOthers) {
  sentence("`C_Finalize` closes one's own sessions, and no others");
  for (auto& order : orders(3)) {
    SCOPED_TRACE(toString(order));
    begin(3);
    for (std::size_t n = 0; n < order.size(); ++n) {
      Consumer& goes = *all[order[n]];
      expect(goes.does("C_Finalize"), goes.finalize());
      for (std::size_t m = n + 1; m < order.size(); ++m)
        all[order[m]]->works(sessions[order[m]], "after " + goes.does("C_Finalize"));
      // Back again, it has none of its old sessions.
      goes.initialize();
      expect(goes.does("old session"), goes.random(sessions[order[n]]),
             {CKR_SESSION_HANDLE_INVALID});
      goes.works(goes.open(slot(goes)), "of its second life");
    }
    if (HasFailure()) return;
  }
}

// A session that nobody knows of any more keeps the token logged in, for one.
TEST_F(Sessions, areAllClosedByAFinalizeBesideWhichTheyAreOpened) {
  sentence("Threads open sessions while their consumer is finalised: none is left in the module");
  auto both = consumers(2);
  Consumer &a = *both[0], &b = *both[1];
  b.initialize();
  CK_SLOT_ID token = slot(b);
  for (int round = 0; round < 25 && !HasFailure(); ++round) {
    a.initialize();
    expect("A's C_Login", a.login(a.open(token)));
    std::atomic<unsigned> opened{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&] {
        CK_SESSION_HANDLE own = 0;
        while (a->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &own) == CKR_OK)
          ++opened;
      });
    EXPECT_TRUE(eventually([&] { return opened > 8; }));
    expect("A's C_Finalize", a.finalize());
    for (std::thread& one : threads) one.join();
    CK_SESSION_HANDLE own = b.open(token);
    expect(b.state(own) == CKS_RW_PUBLIC_SESSION, "A's session is left in the module");
    expect("B's C_CloseSession", b->C_CloseSession(own));
  }
}

TEST_F(Sessions, haveOperationsThatDoNotMeet) {
  sentence("Operations of several consumers on one token don't meet");
  // What each would get alone.
  begin(1);
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  std::vector<std::string> texts = {"of A", "of B, longer", "of C, the longest of all"};
  std::vector<std::string> expected;
  for (std::string text : texts) {
    std::string digest(32, '\0');
    CK_ULONG size = digest.size();
    expect("C_DigestInit", (*all[0])->C_DigestInit(sessions[0], &sha));
    expect("C_Digest",
           (*all[0])->C_Digest(sessions[0], reinterpret_cast<CK_BYTE*>(text.data()), text.size(),
                               reinterpret_cast<CK_BYTE*>(digest.data()), &size));
    expected.push_back(digest);
  }
  all.clear();
  for (auto& order : orders(3)) {
    SCOPED_TRACE(toString(order));
    begin(3);
    auto each = [&](const std::string& call, const std::function<CK_RV(unsigned)>& step) {
      for (unsigned i : order) expect(all[i]->does(call), step(i));
    };
    // SoftHSM2 has one operation in a session at a time.
    std::vector<CK_SESSION_HANDLE> searching;
    for (auto& one : all) searching.push_back(one->open(slot(*one)));
    // One object for each to find, by its label; the token's, so all would be seen by all.
    std::vector<CK_OBJECT_HANDLE> objects(3);
    each("C_CreateObject", [&](unsigned i) {
      CK_OBJECT_CLASS data = CKO_DATA;
      CK_BBOOL no = CK_FALSE;
      CK_ATTRIBUTE t[] = {{CKA_CLASS, &data, sizeof data},
                          {CKA_PRIVATE, &no, 1},
                          {CKA_LABEL, texts[i].data(), texts[i].size()}};
      return (*all[i])->C_CreateObject(sessions[i], t, 3, &objects[i]);
    });
    each("C_DigestInit", [&](unsigned i) { return (*all[i])->C_DigestInit(sessions[i], &sha); });
    each("C_FindObjectsInit", [&](unsigned i) {
      CK_ATTRIBUTE label{CKA_LABEL, texts[i].data(), texts[i].size()};
      return (*all[i])->C_FindObjectsInit(searching[i], &label, 1);
    });
    // A character each at a time.
    for (std::size_t at = 0; at < texts[2].size(); ++at)
      each("C_DigestUpdate", [&](unsigned i) {
        if (at >= texts[i].size()) return CK_RV{CKR_OK};
        auto byte = reinterpret_cast<CK_BYTE*>(&texts[i][at]);
        return (*all[i])->C_DigestUpdate(sessions[i], byte, 1);
      });
    each("C_FindObjects", [&](unsigned i) {
      CK_OBJECT_HANDLE found[4] = {};
      CK_ULONG count = 0;
      CK_RV rv = (*all[i])->C_FindObjects(searching[i], found, 4, &count);
      expect(count == 1 && found[0] == objects[i], all[i]->does("search") + " finds another's");
      return rv;
    });
    each("C_DigestFinal", [&](unsigned i) {
      std::string digest(32, '\0');
      CK_ULONG size = digest.size();
      CK_RV rv =
          (*all[i])->C_DigestFinal(sessions[i], reinterpret_cast<CK_BYTE*>(digest.data()), &size);
      expect(digest == expected[i], all[i]->does("digest") + " is not of its own text");
      return rv;
    });
    each("C_FindObjectsFinal",
         [&](unsigned i) { return (*all[i])->C_FindObjectsFinal(searching[i]); });
    // Session objects go with the session of their own consumer, and not before.
    CK_ULONG size = 0;
    unsigned goes = order[0], stays = order[1];
    expect("C_Finalize", all[goes]->finalize());
    expect(all[stays]->does("object"),
           (*all[stays])->C_GetObjectSize(sessions[stays], objects[stays], &size));
    expect(all[goes]->does("object"),
           (*all[stays])->C_GetObjectSize(sessions[stays], objects[goes], &size),
           {CKR_OBJECT_HANDLE_INVALID});
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace bulkhead::test
