// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/names.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "ipc/pkcs11.h"
#include "tests/unit/pkcs11_header_list.h"

namespace bulkhead::ipc {
namespace {

constexpr test::Constant constants[] = {PKCS11_CONSTANTS(PKCS11_CONSTANT_ROW)};

/// The value of a name in the header; names that do not exist fail the test.
unsigned long valueOf(std::string_view name) {
  for (const test::Constant& constant : constants) {
    if (name == constant.name) return constant.value;
  }
  ADD_FAILURE() << "no constant is called " << name;
  return CK_UNAVAILABLE_INFORMATION;
}

TEST(Names, KnownNumbers) {
  EXPECT_EQ(returnValueName(CKR_OK), "CKR_OK");
  EXPECT_EQ(returnValueName(CKR_DEVICE_REMOVED), "CKR_DEVICE_REMOVED");
  EXPECT_EQ(returnValueName(CKR_VENDOR_DEFINED), "CKR_VENDOR_DEFINED");
  EXPECT_EQ(mechanismName(CKM_RSA_PKCS_KEY_PAIR_GEN), "CKM_RSA_PKCS_KEY_PAIR_GEN");
  EXPECT_EQ(mechanismName(CKM_AES_GCM), "CKM_AES_GCM");
  EXPECT_EQ(attributeName(CKA_CLASS), "CKA_CLASS");
  EXPECT_EQ(attributeName(CKA_WRAP_TEMPLATE), "CKA_WRAP_TEMPLATE");
}

TEST(Names, UnknownNumbersAreHexadecimal) {
  EXPECT_EQ(returnValueName(0x1c0), "CKR_0x000001c0");
  EXPECT_EQ(mechanismName(0xce534351UL), "CKM_0xce534351");
  EXPECT_EQ(attributeName(0x80000001UL), "CKA_0x80000001");
  EXPECT_EQ(returnValueName(~0UL), "CKR_0xffffffffffffffff");
}

// Guards against a constant that was added to the header and not to the names.
TEST(Names, EveryConstantHasItsName) {
  std::size_t seen = 0;
  for (const test::Constant& constant : constants) {
    const std::string_view name = constant.name;
    std::string given;
    if (name.starts_with("CKR_")) {
      given = returnValueName(constant.value);
    } else if (name.starts_with("CKM_")) {
      given = mechanismName(constant.value);
      EXPECT_EQ(mechanismByName(name), constant.value) << name;
    } else if (name.starts_with("CKA_")) {
      given = attributeName(constant.value);
    } else {
      continue;
    }
    // An alias gives the preferred name, which has the same value.
    EXPECT_EQ(valueOf(given), constant.value) << name;
    seen++;
  }
  EXPECT_EQ(seen, 105u + 480u + 160u);
}

TEST(Names, CurrentNamesArePreferred) {
  EXPECT_EQ(mechanismName(CKM_ECDSA_KEY_PAIR_GEN), "CKM_EC_KEY_PAIR_GEN");
  EXPECT_EQ(mechanismName(CKM_CAST5_ECB), "CKM_CAST128_ECB");
  EXPECT_EQ(mechanismName(CKM_DSA_PROBABLISTIC_PARAMETER_GEN),
            "CKM_DSA_PROBABILISTIC_PARAMETER_GEN");
  EXPECT_EQ(attributeName(CKA_ECDSA_PARAMS), "CKA_EC_PARAMS");
  EXPECT_EQ(attributeName(CKA_SUB_PRIME_BITS), "CKA_SUBPRIME_BITS");
}

TEST(Names, MechanismsByNumber) {
  EXPECT_EQ(mechanismByName("0x1087"), CKM_AES_GCM);
  EXPECT_EQ(mechanismByName("0X0000CE53"), 0xce53u);
  EXPECT_EQ(mechanismByName("0xffffffffffffffff"), ~0UL);
  EXPECT_EQ(mechanismByName(mechanismName(0xce534351UL)), 0xce534351UL);
}

TEST(Names, NoMechanisms) {
  for (const char* name :
       {"", "CKM_", "CKM_AES", "AES_GCM", "ckm_aes_gcm", "CKR_OK", "4231", "0x", "0x-1", "0x10g",
        "0x10 ", " 0x10", "0x0x10", "0x10000000000000000", "CKM_AES_GCM "}) {
    EXPECT_EQ(mechanismByName(name), std::nullopt) << '"' << name << '"';
  }
}

}  // namespace
}  // namespace bulkhead::ipc
