// SPDX-License-Identifier: BSD-2-Clause
//
// GnuTLS, OpenSSL's pkcs11 engine and NSS in one process, on one token: each starts, signs and is
// finalised, in every order, and those that remain sign on. Each order in a process of its own, the
// program `libraries`.
#include <spawn.h>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

using Names = std::vector<std::string>;

// What a process says, and how it ends.
struct Outcome {
  bool good;
  std::string last;
};

class Libraries : public Together {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS("/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so");
    Together::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    makeKey();
  }

  // The key that all of them use: P-256, in the token "one".
  void makeKey() {
    Library direct(SOFTHSM);
    Initialized f(direct.functions());
    Session session(direct.functions(), slotOf(direct.functions(), "one").value());
    ASSERT_EQ(session.login(USER_PIN), CKR_OK);
    CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
    CK_BYTE curve[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_BYTE id[] = {1};
    char label[] = "key";
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE publicKey[] = {{CKA_TOKEN, &yes, 1},
                                {CKA_VERIFY, &yes, 1},
                                {CKA_LABEL, label, 3},
                                {CKA_ID, id, 1},
                                {CKA_EC_PARAMS, curve, sizeof curve}};
    CK_ATTRIBUTE privateKey[] = {{CKA_TOKEN, &yes, 1},     {CKA_PRIVATE, &yes, 1},
                                 {CKA_SENSITIVE, &yes, 1}, {CKA_SIGN, &yes, 1},
                                 {CKA_LABEL, label, 3},    {CKA_ID, id, 1}};
    CK_OBJECT_HANDLE one = 0, other = 0;
    ASSERT_EQ(f->C_GenerateKeyPair(session, &mechanism, publicKey, std::size(publicKey), privateKey,
                                   std::size(privateKey), &one, &other),
              CKR_OK);
    CK_BYTE point[67];  // an OCTET STRING with the 65 bytes of a point
    CK_ATTRIBUTE value{CKA_EC_POINT, point, sizeof point};
    ASSERT_EQ(f->C_GetAttributeValue(session, one, &value, 1), CKR_OK);
    ASSERT_EQ(value.ulValueLen, sizeof point);
    // A SubjectPublicKeyInfo of that curve is these bytes and the point.
    std::string key(
        "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce"
        "\x3d\x03\x01\x07\x03\x42\x00",
        26);
    key.append(reinterpret_cast<char*>(point) + 2, sizeof point - 2);
    keyFile = configuration.directory().write("key", key);
  }

  Outcome run(const Names& steps) {
    std::string log = configuration.path("log");
    Names words{BULKHEAD_LIBRARIES, moduleUnderTest(), keyFile};
    words.insert(words.end(), steps.begin(), steps.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                       0600);
    pid_t pid = -1;
    int error = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return {false, "cannot run: " + std::string(std::strerror(error))};
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    std::string text = readFile(log);
    if (text.ends_with("\n")) text.pop_back();
    auto start = text.find_last_of('\n');
    std::string last = text.substr(start == std::string::npos ? 0 : start + 1);
    if (WIFSIGNALED(status)) return {false, "after " + last + ": " + ::strsignal(WTERMSIG(status))};
    return {WEXITSTATUS(status) == 0 && last == "all signed", last};
  }

  // In every order of starts, every order of ends.
  std::vector<Names> allOrders(const Names& names) {
    std::vector<Names> all;
    for (auto& coming : orders(static_cast<unsigned>(names.size())))
      for (auto& going : orders(static_cast<unsigned>(names.size()))) {
        Names steps;
        for (unsigned i : coming) steps.push_back(names[i]);
        for (unsigned i : going) steps.push_back("-" + names[i]);
        all.push_back(steps);
      }
    return all;
  }

  void signInEveryOrder(const Names& names) {
    unsigned good = 0;
    auto all = allOrders(names);
    std::string first;
    for (const Names& steps : all) {
      Outcome outcome = run(steps);
      if (outcome.good)
        ++good;
      else if (first.empty())
        first = outcome.last;
    }
    expect(good == all.size(), std::to_string(all.size() - good) + " of " +
                                   std::to_string(all.size()) + " orders break, the first " +
                                   first);
  }

  std::string keyFile;
};

TEST_F(Libraries, gnuTlsAndOpenSsl) {
  sentence("GnuTLS and OpenSSL's pkcs11 engine start, sign and are finalised in every order");
  signInEveryOrder({"gnutls", "engine"});
}

TEST_F(Libraries, gnuTlsAndNss) {
  sentence("GnuTLS and NSS do");
  signInEveryOrder({"gnutls", "nss"});
}

TEST_F(Libraries, openSslAndNss) {
  sentence("OpenSSL's pkcs11 engine and NSS do");
  signInEveryOrder({"engine", "nss"});
}

TEST_F(Libraries, allThree) {
  sentence("All three do");
  signInEveryOrder({"gnutls", "engine", "nss"});
}

TEST_F(Libraries, comeBack) {
  sentence("Each of the three is finalised and started again while the others sign");
  Outcome outcome = run({"gnutls", "engine", "nss", "-gnutls", "gnutls", "-nss", "nss", "-engine",
                         "engine", "-gnutls", "-nss", "gnutls", "nss", "-engine"});
  expect(outcome.good, outcome.last);
}

// As servers do; and those that are finalised in the parent meanwhile are not in the next child.
// The engine starts first and logs in: where it found the token logged in it has no login to
// repeat, and a child has none of its parent's.
TEST_F(Libraries, forkInEveryOrder) {
  sentence("All three sign in a forked child as well, whoever has been finalised before");
  for (auto& order : orders(3)) {
    const Names names = {"engine", "gnutls", "nss"};
    Names steps(names);
    steps.push_back("fork");
    for (unsigned i : order) {
      steps.push_back("-" + names[i]);
      steps.push_back("fork");
    }
    Outcome outcome = run(steps);
    expect(outcome.good, outcome.last);
    if (HasFailure()) return;
  }
}

// What the proxy is for.
TEST_F(Libraries, breakEachOtherDirectlyOnTheModule) {
  if (kind() != Kind::Bulkhead) GTEST_SKIP() << "is about SoftHSM2 itself";
  Variable direct("TOGETHER_MODULE", SOFTHSM);
  for (const char* name : {"gnutls", "engine", "nss"}) {
    Outcome alone = run({name, std::string("-") + name});
    EXPECT_TRUE(alone.good) << name << " alone: " << alone.last;
  }
  // Who finalises takes the others along.
  for (const Names& steps : {Names{"gnutls", "engine", "-gnutls"}, Names{"nss", "engine", "-nss"},
                             Names{"nss", "gnutls", "-nss"}}) {
    Outcome outcome = run(steps);
    EXPECT_FALSE(outcome.good) << ::testing::PrintToString(steps);
    EXPECT_TRUE(outcome.last.starts_with("after " + steps.back())) << outcome.last;
  }
  // And NSS does not start where another has been before.
  for (const char* name : {"gnutls", "engine"}) {
    Outcome outcome = run({name, "nss"});
    EXPECT_FALSE(outcome.good);
    EXPECT_TRUE(outcome.last.starts_with("after nss: nss: SECMOD_LoadUserModule")) << outcome.last;
  }
}

}  // namespace
}  // namespace bulkhead::test
