// SPDX-License-Identifier: BSD-2-Clause
//
// ipc/pkcs11.h against the layouts of the standard, written down in the list, and against the
// headers that NSS, p11-kit and SoftHSM ship.
#include "ipc/pkcs11.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <ostream>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "tests/unit/pkcs11_header_list.h"

namespace bulkhead::test {
namespace {

namespace own {
PKCS11_TABLES(tables, "bulkhead")
}

// clang-format off
#define PKCS11_EXPECTED_STRUCTURE(structure, bytes) {#structure, true, bytes},
#define PKCS11_EXPECTED_FIELD(structure, field, at, bytes) {#structure, #field, true, at, bytes},
#define PKCS11_NAME(name) #name,
// clang-format on

constexpr Structure expectedStructures[] = {PKCS11_STRUCTURES(PKCS11_EXPECTED_STRUCTURE)};
constexpr Field expectedFields[] = {PKCS11_FIELDS(PKCS11_EXPECTED_FIELD)};
constexpr std::string_view functionNames[] = {PKCS11_FUNCTIONS_2_40(
    PKCS11_NAME) PKCS11_FUNCTIONS_3_0(PKCS11_NAME) PKCS11_FUNCTIONS_3_2(PKCS11_NAME)};
constexpr std::size_t functionCounts[] = {68, 92, 104};

// Layout tables count in LP64 units; the types behind them are not in the tables.
static_assert(std::is_same_v<CK_ULONG, unsigned long> && sizeof(CK_ULONG) == sizeof(void*));
static_assert(std::is_unsigned_v<CK_BYTE> && sizeof(CK_BBOOL) == 1);

/// A value another header has and the standard does not.
struct ConstantDeviation {
  std::string_view name;
  unsigned long theirs;
};

// Both descend from one header, written when the values were not yet assigned; the standard then
// chose others.
constexpr ConstantDeviation earlyReturnValues[] = {
    {"CKR_EXCEEDED_MAX_ITERATIONS", 0x1c0}, {"CKR_FIPS_SELF_TEST_FAILED", 0x1c1},
    {"CKR_LIBRARY_LOAD_FAILED", 0x1c2},     {"CKR_PIN_TOO_WEAK", 0x1c3},
    {"CKR_PUBLIC_KEY_INVALID", 0x1c4},
};

// NSS named vendor attributes of its own so, long before 3.2 took the names for other values.
constexpr unsigned long nssTrust = 0x80000000UL + 0x4E534350UL + 0x2000UL;
constexpr ConstantDeviation nssConstants[] = {
    {"CKA_TRUST_SERVER_AUTH", nssTrust + 8},    {"CKA_TRUST_CLIENT_AUTH", nssTrust + 9},
    {"CKA_TRUST_CODE_SIGNING", nssTrust + 10},  {"CKA_TRUST_EMAIL_PROTECTION", nssTrust + 11},
    {"CKA_TRUST_TIME_STAMPING", nssTrust + 15},
};

// NSS put LibraryParameters where the standard has pReserved, and its pReserved behind.
constexpr Structure nssStructures[] = {{"CK_C_INITIALIZE_ARGS", true, 56}};
constexpr Field nssFields[] = {{"CK_C_INITIALIZE_ARGS", "pReserved", true, 48, 8}};

struct Foreign {
  Header header;
  std::span<const ConstantDeviation> constants;
  std::span<const Structure> structures;
  std::span<const Field> fields;
  // How much at least is compared, so that a header that suddenly defines nothing is no success.
  std::size_t leastConstants, leastStructures, leastFields, leastFunctions;

  friend void PrintTo(const Foreign& foreign, std::ostream* out) { *out << foreign.header.name; }
};

class AgainstForeignHeader : public testing::TestWithParam<Foreign> {
 protected:
  const Foreign& foreign() const { return GetParam(); }
};

TEST(Pkcs11Header, StructuresHaveTheSizesOfTheStandard) {
  const Header ours = own::tables();
  ASSERT_EQ(ours.structures.size(), std::size(expectedStructures));
  EXPECT_EQ(std::size(expectedStructures), 97u + 3u);
  for (std::size_t i = 0; i < ours.structures.size(); i++) {
    const Structure& expected = expectedStructures[i];
    EXPECT_EQ(ours.structures[i].size, expected.size) << expected.name;
  }
}

TEST(Pkcs11Header, FieldsLieWhereTheStandardPutsThem) {
  const Header ours = own::tables();
  ASSERT_EQ(ours.fields.size(), std::size(expectedFields));
  for (std::size_t i = 0; i < ours.fields.size(); i++) {
    const Field& expected = expectedFields[i];
    SCOPED_TRACE(std::string(expected.structure) + "." + expected.name);
    EXPECT_TRUE(ours.fields[i].present);
    EXPECT_EQ(ours.fields[i].offset, expected.offset);
    EXPECT_EQ(ours.fields[i].size, expected.size);
  }
}

// Together with the sizes this leaves no room for a field that the list forgot: alignment explains
// every gap between two fields and behind the last one.
TEST(Pkcs11Header, FieldsLeaveNoUnexplainedGaps) {
  for (const Structure& structure : expectedStructures) {
    std::size_t end = 0;
    bool any = false;
    for (const Field& field : expectedFields) {
      if (std::string_view(field.structure) != structure.name) continue;
      any = true;
      EXPECT_GE(field.offset, end) << structure.name << "." << field.name;
      EXPECT_LT(field.offset - end, sizeof(CK_ULONG)) << structure.name << "." << field.name;
      end = field.offset + field.size;
    }
    if (!any) continue;  // the function lists, below
    EXPECT_LT(structure.size - end, sizeof(CK_ULONG)) << structure.name;
  }
}

TEST(Pkcs11Header, FunctionListsHaveTheOrderOfTheStandard) {
  const Header ours = own::tables();
  std::size_t row = 0;
  for (std::size_t count : functionCounts) {
    for (std::size_t i = 0; i < count; i++, row++) {
      ASSERT_LT(row, ours.functions.size());
      const Field& member = ours.functions[row];
      EXPECT_EQ(member.name, functionNames[i]);
      // The version takes the first eight bytes, padding included.
      EXPECT_EQ(member.offset, 8 * (i + 1)) << member.structure << "." << member.name;
      EXPECT_EQ(member.size, sizeof(void*));
    }
  }
  EXPECT_EQ(row, ours.functions.size());
}

TEST(Pkcs11Header, XMacroNamesTheSameFunctions) {
#define PKCS11_NAME_OF_FUNCTION(name, args) #name,
  constexpr std::string_view names[] = {BULKHEAD_PKCS11_FUNCTIONS(PKCS11_NAME_OF_FUNCTION)};
#undef PKCS11_NAME_OF_FUNCTION
  EXPECT_TRUE(std::ranges::equal(names, functionNames));
}

TEST(Pkcs11Header, ListNamesEachConstantOnce) {
  std::set<std::string_view> names;
  for (const Constant& constant : own::tables().constants) {
    EXPECT_TRUE(constant.present) << constant.name;
    EXPECT_TRUE(names.insert(constant.name).second) << constant.name;
  }
  EXPECT_EQ(names.size(), 1047u);
}

// Values that no installed header knows are the ones of 3.1 and 3.2; these are the anchors of their
// ranges.
TEST(Pkcs11Header, NewestConstants) {
  EXPECT_EQ(CKR_KEY_EXHAUSTED, 0x203u);
  EXPECT_EQ(CKR_PENDING, 0x204u);
  EXPECT_EQ(CKR_PARAMETER_SET_NOT_SUPPORTED, 0x209u);
  EXPECT_EQ(CKK_HSS, 0x46u);
  EXPECT_EQ(CKK_SLH_DSA, 0x4bu);
  EXPECT_EQ(CKA_HSS_LEVELS, 0x617u);
  EXPECT_EQ(CKA_PARAMETER_SET, 0x61du);
  EXPECT_EQ(CKA_ENCAPSULATE_TEMPLATE, 0x62au);
  EXPECT_EQ(CKA_DECAPSULATE_TEMPLATE, 0x62bu);
  EXPECT_EQ(CKA_TRUST_OCSP_SIGNING, 0x632u);
  EXPECT_EQ(CKA_SEED, 0x637u);
  EXPECT_EQ(CKM_ML_KEM_KEY_PAIR_GEN, 0x0fu);
  EXPECT_EQ(CKM_ML_KEM, 0x17u);
  EXPECT_EQ(CKM_ML_DSA, 0x1du);
  EXPECT_EQ(CKM_HASH_SLH_DSA_SHAKE256, 0x3fu);
  EXPECT_EQ(CKM_PUB_KEY_FROM_PRIV_KEY, 0x403au);
  EXPECT_EQ(CKF_ASYNC_SESSION, 0x8u);
  EXPECT_EQ(CKF_ASYNC_SESSION_SUPPORTED, 0x4000000u);
  EXPECT_EQ(CKF_DECAPSULATE, 0x20000000u);
}

TEST_P(AgainstForeignHeader, Constants) {
  const Header ours = own::tables();
  ASSERT_EQ(ours.constants.size(), foreign().header.constants.size());
  std::size_t compared = 0, deviations = 0;
  for (std::size_t i = 0; i < ours.constants.size(); i++) {
    const Constant& mine = ours.constants[i];
    const Constant& theirs = foreign().header.constants[i];
    if (!theirs.present) continue;
    const auto known =
        std::ranges::find(foreign().constants, theirs.name, &ConstantDeviation::name);
    if (known == foreign().constants.end()) {
      EXPECT_EQ(mine.value, theirs.value) << mine.name;
      compared++;
    } else {
      EXPECT_EQ(theirs.value, known->theirs) << mine.name;
      EXPECT_NE(theirs.value, mine.value) << mine.name << " no longer deviates";
      deviations++;
    }
  }
  EXPECT_EQ(deviations, foreign().constants.size());
  EXPECT_GE(compared, foreign().leastConstants);
}

TEST_P(AgainstForeignHeader, Structures) {
  const Header ours = own::tables();
  ASSERT_EQ(ours.structures.size(), foreign().header.structures.size());
  std::size_t compared = 0, deviations = 0;
  for (std::size_t i = 0; i < ours.structures.size(); i++) {
    const Structure& mine = ours.structures[i];
    const Structure& theirs = foreign().header.structures[i];
    if (!theirs.present) continue;
    const auto known =
        std::ranges::find(foreign().structures, std::string_view(theirs.name),
                          [](const Structure& s) { return std::string_view(s.name); });
    if (known == foreign().structures.end()) {
      EXPECT_EQ(mine.size, theirs.size) << mine.name;
      compared++;
    } else {
      EXPECT_EQ(theirs.size, known->size) << mine.name;
      EXPECT_NE(theirs.size, mine.size) << mine.name << " no longer deviates";
      deviations++;
    }
  }
  EXPECT_EQ(deviations, foreign().structures.size());
  EXPECT_GE(compared, foreign().leastStructures);
}

TEST_P(AgainstForeignHeader, Fields) {
  const Header ours = own::tables();
  ASSERT_EQ(ours.fields.size(), foreign().header.fields.size());
  std::size_t compared = 0, deviations = 0;
  for (std::size_t i = 0; i < ours.fields.size(); i++) {
    const Field& mine = ours.fields[i];
    const Field& theirs = foreign().header.fields[i];
    if (!theirs.present) continue;
    SCOPED_TRACE(std::string(mine.structure) + "." + mine.name);
    EXPECT_EQ(mine.size, theirs.size);
    const auto known = std::ranges::find_if(foreign().fields, [&](const Field& f) {
      return std::string_view(f.structure) == theirs.structure &&
             std::string_view(f.name) == theirs.name;
    });
    if (known == foreign().fields.end()) {
      EXPECT_EQ(mine.offset, theirs.offset);
      compared++;
    } else {
      EXPECT_EQ(theirs.offset, known->offset);
      EXPECT_NE(theirs.offset, mine.offset) << "no longer deviates";
      deviations++;
    }
  }
  EXPECT_EQ(deviations, foreign().fields.size());
  EXPECT_GE(compared, foreign().leastFields);
}

TEST_P(AgainstForeignHeader, FunctionLists) {
  const Header ours = own::tables();
  ASSERT_EQ(ours.functions.size(), foreign().header.functions.size());
  std::size_t compared = 0;
  for (std::size_t i = 0; i < ours.functions.size(); i++) {
    const Field& mine = ours.functions[i];
    const Field& theirs = foreign().header.functions[i];
    if (!theirs.present) continue;
    EXPECT_EQ(mine.offset, theirs.offset) << mine.structure << "." << mine.name;
    EXPECT_EQ(mine.size, theirs.size) << mine.structure << "." << mine.name;
    compared++;
  }
  EXPECT_GE(compared, foreign().leastFunctions);
}

INSTANTIATE_TEST_SUITE_P(Nss, AgainstForeignHeader,
                         testing::Values(Foreign{nssHeader(), nssConstants, nssStructures,
                                                 nssFields, 880, 85, 410, 68 + 92}));
INSTANTIATE_TEST_SUITE_P(P11Kit, AgainstForeignHeader,
                         testing::Values(Foreign{
                             p11KitHeader(), earlyReturnValues, {}, {}, 680, 22, 88, 68}));
INSTANTIATE_TEST_SUITE_P(SoftHsm, AgainstForeignHeader,
                         testing::Values(Foreign{
                             softHsmHeader(), earlyReturnValues, {}, {}, 680, 22, 88, 68}));

}  // namespace
}  // namespace bulkhead::test
