// SPDX-License-Identifier: BSD-2-Clause
//
// One token's login, and several consumers that each believe it to be theirs.
#include <atomic>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

constexpr CK_FLAGS READ_ONLY = CKF_SERIAL_SESSION;

// One consumer with a session on the token "one".
struct User {
  std::unique_ptr<Consumer> consumer;
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;

  Consumer* operator->() const { return consumer.get(); }
  bool in() const { return consumer->state(session) == CKS_RW_USER_FUNCTIONS; }
  bool out() const { return consumer->state(session) == CKS_RW_PUBLIC_SESSION; }
};

class Login : public Together {
 protected:
  // That are initialised and have a session, in that order.
  std::vector<User> users(unsigned n, const std::vector<unsigned>& order = {}) {
    std::vector<User> all(n);
    for (unsigned i = 0; i < n; ++i) all[i].consumer = consumer(toString({i}));
    for (unsigned i = 0; i < n; ++i) {
      User& one = all[order.empty() ? i : order[i]];
      one->initialize();
      one.session = one->open(slot(*one.consumer));
    }
    return all;
  }

  // The ways out.
  using Leaving = std::function<void(User&)>;
  static void logout(User& user) {
    expect(user->does("C_Logout"), (*user.consumer)->C_Logout(user.session));
  }
  static void finalize(User& user) { expect(user->does("C_Finalize"), user->finalize()); }
  void closeAll(User& user) {
    expect(user->does("C_CloseAllSessions"),
           (*user.consumer)->C_CloseAllSessions(slot(*user.consumer)));
  }
  static void closeLast(User& user) {
    expect(user->does("C_CloseSession"), (*user.consumer)->C_CloseSession(user.session));
  }

  // Three consumers log in, in every order, and leave, in every order: those who have not left yet
  // are logged in, and after the last one the token is not.
  void leaveOneAfterTheOther(const Leaving& leave, const std::string& call) {
    for (auto& coming : orders(3)) {
      for (auto& going : orders(3)) {
        SCOPED_TRACE(toString(coming) + " log in, " + toString(going) + " leave");
        auto all = users(3, coming);
        // One that is there all the while, and neither logs in nor asks.
        auto witness = consumer("W");
        witness->initialize();
        CK_SLOT_ID token = slot(*witness);
        bool first = true;
        for (unsigned i : coming) {
          expect(all[i]->does("C_Login"), all[i]->login(all[i].session),
                 {first ? CKR_OK : CKR_USER_ALREADY_LOGGED_IN});
          first = false;
        }
        for (std::size_t n = 0; n < going.size(); ++n) {
          User& goes = all[going[n]];
          leave(goes);
          for (std::size_t m = n + 1; m < going.size(); ++m)
            expect(all[going[m]].in(),
                   goes->does(call) + " logs " + all[going[m]]->name() + " out");
        }
        CK_SESSION_HANDLE look = witness->open(token);
        expect(witness->state(look) == CKS_RW_PUBLIC_SESSION,
               "the token stays logged in after the last " + call);
        if (HasFailure()) return;
      }
    }
  }
};

TEST_F(Login, ofASecondConsumerIsAlreadyLoggedInAndCounts) {
  sentence("B logs in when A has: `CKR_USER_ALREADY_LOGGED_IN`, and counts when A logs out");
  for (auto& order : orders(2)) {
    SCOPED_TRACE(toString(order));
    auto all = users(2);
    User &a = all[order[0]], &b = all[order[1]];
    expect(a->does("C_Login"), a->login(a.session));
    expect(b->does("C_Login"), b->login(b.session), {CKR_USER_ALREADY_LOGGED_IN});
    logout(a);
    expect(b.in(), a->does("C_Logout") + " logs " + b->name() + " out");
    logout(b);
    expect(b.out(), b->name() + " is logged in after its C_Logout");
    expect(a.out(), a->name() + " is logged in after the last C_Logout");
    if (HasFailure()) return;
  }
}

TEST_F(Login, outlastsTheLogoutOfOthers) {
  sentence("`C_Logout` of one leaves the others logged in; the last one's logs out the token");
  leaveOneAfterTheOther(logout, "C_Logout");
}

TEST_F(Login, outlastsTheFinalizeOfOthers) {
  sentence("`C_Finalize` of one leaves the others logged in; the last one's logs out the token");
  leaveOneAfterTheOther(finalize, "C_Finalize");
}

TEST_F(Login, outlastsTheCloseAllSessionsOfOthers) {
  sentence(
      "`C_CloseAllSessions` of one leaves the others logged in; the last one's logs out the token");
  leaveOneAfterTheOther([this](User& user) { closeAll(user); }, "C_CloseAllSessions");
}

TEST_F(Login, outlastsTheLastSessionOfOthers) {
  sentence("The end of one's last session leaves the others logged in");
  leaveOneAfterTheOther(closeLast, "last C_CloseSession");
}

TEST_F(Login, staysWithWhoHasAnotherSession) {
  auto all = users(2);
  User &a = all[0], &b = all[1];
  CK_SESSION_HANDLE second = b->open(slot(*b.consumer));
  expect("C_Login", a->login(a.session));
  expect("C_Login", b->login(b.session), {CKR_USER_ALREADY_LOGGED_IN});
  closeLast(b);
  logout(a);
  EXPECT_EQ(b->state(second), CKS_RW_USER_FUNCTIONS);
  expect("C_CloseSession", (*b.consumer)->C_CloseSession(second));
}

// Libraries ask before they log in, and don't when there is no need.
TEST_F(Login, staysWithWhoWasToldThatItIsLoggedIn) {
  sentence(
      "Who found the token logged in, and so did not log in itself, stays in when others leave");
  std::vector<Leaving> ways = {logout, finalize, [this](User& user) { closeAll(user); }, closeLast};
  for (auto& leave : ways) {
    for (auto& order : orders(2)) {
      auto all = users(2);
      User &a = all[order[0]], &b = all[order[1]];
      expect(a->does("C_Login"), a->login(a.session));
      expect(b.in(), b->name() + " does not see the login");
      leave(a);
      expect(b.in(), a->name() + "'s leaving logs " + b->name() + " out");
      logout(b);
      expect(b.out(), b->name() + " is logged in after its C_Logout");
      if (HasFailure()) return;
    }
  }
}

// OpenSSL's engine looks for the key, finds it, and asks nothing.
TEST_F(Login, staysForWhoUsesTheTokenWhenTheOneThatLoggedInGoes) {
  sentence(
      "Who uses a key that it found on a token that A has logged in to goes on when A is gone");
  std::vector<Leaving> ways = {finalize, [this](User& user) { closeAll(user); }, closeLast};
  for (auto& leave : ways) {
    for (auto& order : orders(2)) {
      auto all = users(2);
      User &a = all[order[0]], &b = all[order[1]];
      expect(a->does("C_Login"), a->login(a.session));
      CK_MECHANISM m{CKM_AES_KEY_GEN, nullptr, 0};
      CK_ULONG length = 16;
      CK_BBOOL yes = CK_TRUE;
      CK_ATTRIBUTE key[] = {{CKA_VALUE_LEN, &length, sizeof length}, {CKA_PRIVATE, &yes, 1}};
      CK_OBJECT_HANDLE handle = 0;
      expect(b->does("C_GenerateKey"),
             (*b.consumer)->C_GenerateKey(b.session, &m, key, 2, &handle));
      leave(a);
      CK_ULONG size = 0;
      expect(b->does("private key"), (*b.consumer)->C_GetObjectSize(b.session, handle, &size));
      // The last session of all ends it.
      finalize(b);
      b->initialize();
      b.session = b->open(slot(*b.consumer));
      expect(b.out(), "the token stays logged in when nobody is there any more");
      if (HasFailure()) return;
    }
  }
}

TEST_F(Login, isNotAnothersToEnd) {
  sentence("`C_Logout` of one that is not logged in: `CKR_USER_NOT_LOGGED_IN`, and A stays in");
  auto all = users(3);
  User &a = all[0], &b = all[1], &c = all[2];
  expect("B's C_Logout", (*b.consumer)->C_Logout(b.session), {CKR_USER_NOT_LOGGED_IN, CKR_OK});
  expect("A's C_Login", a->login(a.session));
  expect("C's C_Login", c->login(c.session), {CKR_USER_ALREADY_LOGGED_IN});
  expect("B's C_Logout", (*b.consumer)->C_Logout(b.session), {CKR_USER_NOT_LOGGED_IN});
  expect(a.in(), "B's C_Logout logs A out");
  expect("A's C_Logout", (*a.consumer)->C_Logout(a.session));
  expect("A's second C_Logout", (*a.consumer)->C_Logout(a.session), {CKR_USER_NOT_LOGGED_IN});
  expect(c.in(), "A's second C_Logout logs C out");
}

TEST_F(Login, isTheTokensState) {
  sentence("`C_GetSessionInfo` shows the token's state to every consumer");
  for (auto& order : orders(2)) {
    auto all = users(2);
    User &a = all[order[0]], &b = all[order[1]];
    CK_SESSION_HANDLE readOnly = b->open(slot(*b.consumer), READ_ONLY);
    EXPECT_EQ(b->state(readOnly), CKS_RO_PUBLIC_SESSION);
    EXPECT_EQ(b->state(b.session), CKS_RW_PUBLIC_SESSION);
    expect(a->does("C_Login"), a->login(a.session));
    EXPECT_EQ(b->state(readOnly), CKS_RO_USER_FUNCTIONS);
    EXPECT_EQ(b->state(b.session), CKS_RW_USER_FUNCTIONS);
    // Of this token alone.
    CK_SESSION_HANDLE other = b->open(slot(*b.consumer, "two"));
    EXPECT_EQ(b->state(other), CKS_RW_PUBLIC_SESSION);
    // B knows now; both have to leave.
    logout(a);
    logout(b);
    EXPECT_EQ(b->state(readOnly), CKS_RO_PUBLIC_SESSION);
    EXPECT_EQ(a->state(a.session), CKS_RW_PUBLIC_SESSION);
    if (HasFailure()) return;
  }
}

TEST_F(Login, ofTwoTokensAreTwo) {
  sentence("Logins to two tokens don't meet");
  auto all = users(2);
  User &a = all[0], &b = all[1];
  CK_SESSION_HANDLE onTwo = b->open(slot(*b.consumer, "two"));
  expect("A's C_Login to one", a->login(a.session));
  expect("B's C_Login to two", b->login(onTwo));
  logout(a);
  EXPECT_EQ(b->state(onTwo), CKS_RW_USER_FUNCTIONS);
  EXPECT_TRUE(b.out());
  expect("A's C_Login to one", a->login(a.session));
  expect("B's C_CloseAllSessions on two",
         (*b.consumer)->C_CloseAllSessions(slot(*b.consumer, "two")));
  EXPECT_TRUE(a.in());
}

TEST_F(Login, withAWrongPinDoesNotCount) {
  auto all = users(2);
  User &a = all[0], &b = all[1];
  expect("B's C_Login", b->login(b.session, "wrong"), {CKR_PIN_INCORRECT});
  expect("A's C_Login", a->login(a.session));
  logout(a);
  EXPECT_TRUE(a.out());
  // By the standard nobody looks at the PIN of one that comes second.
  expect("A's C_Login", a->login(a.session));
  expect("B's C_Login", b->login(b.session, "wrong"), {CKR_USER_ALREADY_LOGGED_IN});
}

TEST_F(Login, needsASessionOfOnesOwn) {
  sentence(
      "`C_Login` without a session of one's own: `CKR_SESSION_HANDLE_INVALID`, and doesn't count");
  auto all = users(2);
  User &a = all[0], &b = all[1];
  expect("B's C_Login with A's session", b->login(a.session), {CKR_SESSION_HANDLE_INVALID});
  expect("B's C_Login with no session", b->login(CK_INVALID_HANDLE), {CKR_SESSION_HANDLE_INVALID});
  expect("A's C_Login", a->login(a.session));
  expect("B's C_Login with A's session", b->login(a.session), {CKR_SESSION_HANDLE_INVALID});
  expect("B's C_Logout with A's session", (*b.consumer)->C_Logout(a.session),
         {CKR_SESSION_HANDLE_INVALID});
  expect(a.in(), "B's C_Logout logs A out");
  closeLast(b);
  expect("B's C_Login with a closed session", b->login(b.session), {CKR_SESSION_HANDLE_INVALID});
  logout(a);
  expect(a.out(), "B counts as logged in");
}

TEST_F(Login, ofTheSecurityOfficerIsTheTokensAsWell) {
  sentence("The security officer's login is counted like the user's");
  for (auto& order : orders(2)) {
    SCOPED_TRACE(toString(order));
    auto all = users(2);
    User &a = all[order[0]], &b = all[order[1]];
    expect(a->does("C_Login as SO"), a->login(a.session, SO_PIN, CKU_SO));
    expect(b->does("C_Login as user"), b->login(b.session), {CKR_USER_ANOTHER_ALREADY_LOGGED_IN});
    expect(b->does("C_Login as SO"), b->login(b.session, SO_PIN, CKU_SO),
           {CKR_USER_ALREADY_LOGGED_IN});
    logout(a);
    expect(b->state(b.session) == CKS_RW_SO_FUNCTIONS,
           a->does("C_Logout") + " logs " + b->name() + " out");
    CK_SESSION_HANDLE readOnly = 0;
    expect("C_OpenSession read-only",
           (*a.consumer)->C_OpenSession(slot(*a.consumer), READ_ONLY, nullptr, nullptr, &readOnly),
           {CKR_SESSION_READ_WRITE_SO_EXISTS});
    closeLast(b);
    // Nobody is the security officer any more, as far as others go by their own login.
    logout(a);
    readOnly = a->open(slot(*a.consumer), READ_ONLY);
    b.session = b->open(slot(*b.consumer));
    expect(b->does("C_Login as SO"), b->login(b.session, SO_PIN, CKU_SO),
           {CKR_SESSION_READ_ONLY_EXISTS});
    if (HasFailure()) return;
  }
}

// Between what its own C_Login, or C_GetSessionInfo, and its own C_Logout answer a consumer is
// logged in, whatever others do at that moment.
TEST_F(Login, isKeptWhileOthersComeAndGoAtOnce) {
  sentence("Four threads log in and out, each for its own consumer: each is in until it goes");
  for (bool asks : {false, true}) {
    auto all = users(4);
    std::atomic<unsigned> wrong{0}, unsure{0};
    std::vector<std::thread> threads;
    for (User& user : all)
      threads.emplace_back([&, one = &user] {
        for (int i = 0; i < 100; ++i) {
          if (!asks || !one->in()) {
            CK_RV rv = (*one)->login(one->session);
            if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) ++unsure;
          }
          for (int look = 0; look < 3; ++look)
            if (!one->in()) ++wrong;
          if ((*one->consumer)->C_Logout(one->session) != CKR_OK) ++unsure;
        }
      });
    for (std::thread& one : threads) one.join();
    expect(wrong == 0, "others' C_Logout logs one out, " + std::to_string(wrong) + " times");
    expect(unsure == 0, std::to_string(unsure) + " calls of C_Login and C_Logout fail");
    expect(all[0].out(), "the token stays logged in when all are out");
    if (HasFailure()) return;
  }
}

TEST_F(Login, beginsAnewWhenTheWorkerDies) {
  BULKHEAD_NEEDS_ITSELF();
  auto all = users(2);
  User &a = all[0], &b = all[1];
  expect("A's C_Login", a->login(a.session));
  expect("B's C_Login", b->login(b.session), {CKR_USER_ALREADY_LOGGED_IN});
  ASSERT_TRUE(killWorker("softhsm2"));
  // A's login went with the worker: B's is the only one on the new one's token, and its logout the
  // last.
  b.session = b->open(slot(*b.consumer));
  EXPECT_TRUE(b.out());
  expect("B's C_Login", b->login(b.session));
  a.session = a->open(slot(*a.consumer));
  logout(b);
  EXPECT_TRUE(b.out());
  EXPECT_TRUE(a.out());
}

}  // namespace
}  // namespace bulkhead::test
