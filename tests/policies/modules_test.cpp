// SPDX-License-Identifier: BSD-2-Clause
//
// Modules that need no daemon with a fixed place, each in its shipped policy.
#include "tests/policies/fixture.h"

namespace bulkhead::test {
namespace {

constexpr const char* P11_KIT_CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so";

using SoftHsm2 = InPolicy;
using P11KitTrust = InPolicy;
using NssSoftokn = InPolicy;
using P11KitClient = InPolicy;

TEST_F(SoftHsm2, WorksAndNothingIsRefused) {
  BULKHEAD_NEEDS(SOFTHSM);
  std::string tokens = configuration.directory().makeDirectory("tokens");
  // As talkative as can be: each line is an attempt at syslog.
  std::string conf = configuration.directory().write(
      "softhsm2.conf",
      "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = DEBUG\n");
  Variable softHsm("SOFTHSM2_CONF", conf);
  configure("softhsm2", SOFTHSM,
            "[Filesystem]\nReadOnlyPaths=" + conf + "\nReadWritePaths=" + tokens + "\n");
  start();
  makeToken(f, "shop");
  restart();
  expectConfined();
  auto slot = slotOf(f, "shop");
  ASSERT_TRUE(slot);
  {
    Session session(f, *slot);
    // More lines for syslog than a policy's limit of violations.
    for (int i = 0; i < 120; ++i) EXPECT_EQ(session.login("wrong"), CKR_PIN_INCORRECT);
    ASSERT_EQ(session.login(USER_PIN), CKR_OK);
    expectSigns(f, session, generate(f, session, CKM_EC_KEY_PAIR_GEN, "ec"), CKM_ECDSA);
    expectSigns(f, session, generate(f, session, CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa"),
                CKM_SHA256_RSA_PKCS);
    EXPECT_EQ(setPin(f, session, USER_PIN, "4321"), CKR_OK);
  }
  restart();
  Session session(f, *slot);
  EXPECT_EQ(session.login(USER_PIN), CKR_PIN_INCORRECT);
  ASSERT_EQ(session.login("4321"), CKR_OK);
  KeyPair pair = findPair(f, session, "ec");
  expectSigns(f, session, pair, CKM_ECDSA);
  EXPECT_EQ(f->C_DestroyObject(session, pair.privateKey), CKR_OK);
  EXPECT_EQ(find(f, session, Template().bytes(CKA_LABEL, "ec")).size(), 1U);
}

TEST_F(P11KitTrust, WorksAndNothingIsRefused) {
  BULKHEAD_NEEDS(P11_KIT_TRUST);
  BULKHEAD_NEEDS("/etc/ssl/certs/ca-certificates.crt");
  configure("p11-kit-trust", P11_KIT_TRUST);
  start();
  expectConfined();
  std::size_t certificates = 0, trusted = 0;
  for (CK_SLOT_ID slot : slots(f, true)) {
    Session session(f, slot, CKF_SERIAL_SESSION);
    auto found = find(f, session, Template().number(CKA_CLASS, CKO_CERTIFICATE));
    certificates += found.size();
    for (CK_OBJECT_HANDLE one : found) {
      std::string der = attribute(f, session, one, CKA_VALUE);
      EXPECT_EQ(der.substr(0, 1), "\x30");
      // Looked for by what it holds, it is found again.
      EXPECT_GE(find(f, session, Template().bytes(CKA_VALUE, der)).size(), 1U);
      trusted += attribute(f, session, one, CKA_TRUSTED) == std::string(1, CK_TRUE);
    }
  }
  EXPECT_GE(certificates, 10U);
  EXPECT_GE(trusted, 10U);
}

TEST_F(NssSoftokn, MakesADatabaseAndNothingIsRefused) {
  BULKHEAD_NEEDS(NSS_SOFTOKN);
  std::string nss = configuration.directory().makeDirectory("nss");
  configure("nss-softokn", NSS_SOFTOKN, "[Filesystem]\nReadWritePaths=" + nss + "\n",
            "x-init-reserved: configdir='sql:" + nss +
                "' certPrefix='' keyPrefix='' secmod='secmod.db' flags=\n");
  start();
  expectConfined();
  auto slot = slotOf(f, "NSS Certificate DB");
  ASSERT_TRUE(slot);
  // NSS makes them, and hides what is in them from others.
  for (const char* file : {"cert9.db", "key4.db"}) {
    struct stat status {};
    EXPECT_EQ(::stat((nss + "/" + file).c_str(), &status), 0) << file;
    EXPECT_EQ(status.st_mode & 07777, 0600U) << file;
  }
  {
    Session session(f, *slot);
    std::string pin = "a password";
    EXPECT_EQ(session.login("", CKU_SO), CKR_OK);
    EXPECT_EQ(f->C_InitPIN(session, reinterpret_cast<CK_UTF8CHAR*>(pin.data()), pin.size()),
              CKR_OK);
    EXPECT_EQ(f->C_Logout(session), CKR_OK);
    ASSERT_EQ(session.login(pin), CKR_OK);
    expectSigns(f, session, generate(f, session, CKM_EC_KEY_PAIR_GEN, "ec"), CKM_ECDSA);
    expectSigns(f, session, generate(f, session, CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa"),
                CKM_SHA256_RSA_PKCS);
  }
  restart();
  Session session(f, *slot);
  ASSERT_EQ(session.login("a password"), CKR_OK);
  expectSigns(f, session, findPair(f, session, "rsa"), CKM_SHA256_RSA_PKCS);
}

// The daemon is p11-kit's server with SoftHSM2, the socket is the usual one where this test may
// have it.
TEST_F(P11KitClient, WorksAndNothingIsRefused) {
  BULKHEAD_NEEDS(P11_KIT_CLIENT);
  BULKHEAD_NEEDS(SOFTHSM);
  BULKHEAD_NEEDS_PROGRAM("p11-kit");
  configuration.addSoftHsm("unused");
  configuration.removeModule("unused");
  makeSoftHsmTokens({"served"});
  std::string socket = configuration.path("pkcs11.socket"), dropIn;
  std::optional<Variable> address;
  if (::getenv("BULKHEAD_PRIVATE_RUN") != nullptr) {
    std::string directory = "/run/user/" + std::to_string(::geteuid()) + "/p11-kit";
    std::filesystem::create_directory(directory);
    socket = directory + "/pkcs11";
  } else {
    address.emplace("P11_KIT_SERVER_ADDRESS", "unix:path=" + socket);
    dropIn = "[Network]\nConnect=unix:" + socket + "\n";
  }
  Daemon server({"p11-kit", "server", "--foreground", "--name", socket, "--provider", SOFTHSM,
                 "pkcs11:token=served"});
  ASSERT_TRUE(eventually([&] { return ::access(socket.c_str(), F_OK) == 0; }));
  configure("p11-kit-client", P11_KIT_CLIENT, dropIn);
  start();
  expectConfined();
  auto slot = slotOf(f, "served");
  ASSERT_TRUE(slot) << log();
  Session session(f, *slot);
  ASSERT_EQ(session.login(USER_PIN), CKR_OK);
  expectSigns(f, session, generate(f, session, CKM_EC_KEY_PAIR_GEN, "ec"), CKM_ECDSA);
  expectSigns(f, session, findPair(f, session, "ec"), CKM_ECDSA);
}

}  // namespace
}  // namespace bulkhead::test
