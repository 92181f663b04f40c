// SPDX-License-Identifier: BSD-2-Clause
//
// openCryptoki's software token in its policy, with a slot daemon of the test's own.
#include "tests/policies/fixture.h"

namespace bulkhead::test {
namespace {

using OpenCryptoki = InPolicy;

constexpr const char* MODULE = "/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0";
// What a new token has, and wants to have changed first.
constexpr const char* FIRST_SO_PIN = "87654321";
constexpr const char* FIRST_USER_PIN = "12345678";
constexpr const char* OWN_SO_PIN = "76543210";
constexpr const char* OBJECTS = "/var/lib/opencryptoki/swtok/TOK_OBJ";

TEST_F(OpenCryptoki, WorksAndNothingIsRefused) {
  BULKHEAD_NEEDS(MODULE);
  configure("opencryptoki", MODULE);
  start();
  expectConfined();
  auto present = slots(f, true);
  ASSERT_EQ(present.size(), 1U) << log();
  CK_SLOT_ID slot = present[0];
  auto initialize = [&](const std::string& pin) {
    std::string so = pin, label(32, ' ');
    label.replace(0, 4, "soft");
    return f->C_InitToken(slot, reinterpret_cast<CK_UTF8CHAR*>(so.data()), so.size(),
                          reinterpret_cast<CK_UTF8CHAR*>(label.data()));
  };
  ASSERT_EQ(initialize(FIRST_SO_PIN), CKR_OK) << log();
  {
    Session session(f, slot);
    ASSERT_EQ(session.login(FIRST_SO_PIN, CKU_SO), CKR_OK);
    EXPECT_EQ(setPin(f, session, FIRST_SO_PIN, OWN_SO_PIN), CKR_OK);
    std::string user = FIRST_USER_PIN;
    EXPECT_EQ(f->C_InitPIN(session, reinterpret_cast<CK_UTF8CHAR*>(user.data()), user.size()),
              CKR_OK);
    EXPECT_EQ(f->C_Logout(session), CKR_OK);
    ASSERT_EQ(session.login(FIRST_USER_PIN), CKR_OK);
    EXPECT_EQ(setPin(f, session, FIRST_USER_PIN, USER_PIN), CKR_OK);
    // It has no mechanism that hashes and signs.
    expectSigns(f, session, generate(f, session, CKM_RSA_PKCS_KEY_PAIR_GEN, "rsa"), CKM_RSA_PKCS);
  }
  restart();
  {
    Session session(f, slot);
    ASSERT_EQ(session.login(USER_PIN), CKR_OK);
    expectSigns(f, session, findPair(f, session, "rsa"), CKM_RSA_PKCS);
  }
  // A token that is made anew has nothing of the old one.
  ASSERT_EQ(initialize(OWN_SO_PIN), CKR_OK);
  restart();
  Session session(f, slot);
  EXPECT_EQ(find(f, session, Template().bytes(CKA_LABEL, "rsa")).size(), 0U);
  std::size_t files = 0;
  for (auto& entry : std::filesystem::directory_iterator(OBJECTS)) files += entry.is_regular_file();
  EXPECT_EQ(files, 0U);
}

}  // namespace
}  // namespace bulkhead::test
