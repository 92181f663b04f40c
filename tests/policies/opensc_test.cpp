// SPDX-License-Identifier: BSD-2-Clause
//
// OpenSC in its policy, with a pcscd of the test's own and a PIV card in its virtual reader.
#include "tests/policies/fixture.h"

namespace bulkhead::test {
namespace {

using OpenSc = InPolicy;

constexpr const char* PIN = "123456";

TEST_F(OpenSc, SignsWithACardAndNothingIsRefused) {
  BULKHEAD_NEEDS(OPENSC);
  // Its cache would be in the home.
  Variable home("HOME", configuration.path());
  configure("opensc", OPENSC);
  start();
  expectConfined();
  // The reader finds the card in its own time.
  ASSERT_TRUE(eventually([&] { return !slots(f, true).empty(); })) << log();
  CK_SLOT_ID slot = slots(f, true).front();
  CK_TOKEN_INFO info{};
  EXPECT_EQ(f->C_GetTokenInfo(slot, &info), CKR_OK);
  EXPECT_EQ(field(info.model), "PKCS#15 emulated");

  Session session(f, slot, CKF_SERIAL_SESSION);
  // A wrong PIN is the card's to refuse, and costs one of three tries.
  EXPECT_EQ(session.login("654321"), CKR_PIN_INCORRECT);
  ASSERT_EQ(session.login(PIN), CKR_OK);
  auto keys = find(f, session, Template().number(CKA_CLASS, CKO_PRIVATE_KEY));
  ASSERT_EQ(keys.size(), 2U);
  unsigned asking = 0;
  for (CK_OBJECT_HANDLE key : keys) {
    std::string id = attribute(f, session, key, CKA_ID);
    auto open = find(f, session, Template().number(CKA_CLASS, CKO_PUBLIC_KEY).bytes(CKA_ID, id));
    ASSERT_EQ(open.size(), 1U);
    auto certificates =
        find(f, session, Template().number(CKA_CLASS, CKO_CERTIFICATE).bytes(CKA_ID, id));
    EXPECT_EQ(certificates.size(), 1U);
    if (attribute(f, session, key, CKA_ALWAYS_AUTHENTICATE) == std::string(1, CK_TRUE)) {
      ++asking;
      expectSigns(f, session, {open[0], key}, CKM_SHA256_RSA_PKCS, PIN);
    } else {
      expectSigns(f, session, {open[0], key}, CKM_SHA256_RSA_PKCS);
    }
  }
  EXPECT_EQ(asking, 1U);
}

}  // namespace
}  // namespace bulkhead::test
