// SPDX-License-Identifier: BSD-2-Clause
//
// What the standard names, listed once and compiled against several PKCS#11 headers: each gives a
// table of what it defines, and the tests compare the tables. A header that lacks a name falls back
// to an empty type or value of that name, declared one namespace further out.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

namespace bulkhead::test {

struct Absent {};

struct Constant {
  const char* name;
  bool present;
  unsigned long value;
};

struct Structure {
  const char* name;
  bool present;
  std::size_t size;
};

struct Field {
  const char* structure;
  const char* name;
  bool present;
  std::size_t offset;
  std::size_t size;
};

struct Header {
  const char* name;
  std::span<const Constant> constants;
  std::span<const Structure> structures;
  std::span<const Field> fields;
  std::span<const Field> functions;  ///< members of the function lists
};

constexpr Constant constantOf(const char* name, Absent) {
  return {name, false, 0};
}
constexpr Constant constantOf(const char* name, unsigned long value) {
  return {name, true, value};
}

// The headers that others ship.
Header nssHeader();
Header p11KitHeader();
Header softHsmHeader();

}  // namespace bulkhead::test

// clang-format off

#define PKCS11_ABSENT_STRUCTURE(structure, size) struct structure {};
#define PKCS11_ABSENT_CONSTANT(name) [[maybe_unused]] constexpr ::bulkhead::test::Absent name{};

// Both belong in the namespace around the one that includes the header. The constants come before
// the inclusion, while their names are no macros yet; the structures come after it, or the header's
// own forward declarations would find them.
#define PKCS11_FALLBACK_CONSTANTS PKCS11_CONSTANTS(PKCS11_ABSENT_CONSTANT)
#define PKCS11_FALLBACK_STRUCTURES PKCS11_STRUCTURES(PKCS11_ABSENT_STRUCTURE)

#define PKCS11_CONSTANT_ROW(name) ::bulkhead::test::constantOf(#name, name),
#define PKCS11_STRUCTURE_ROW(structure, bytes)                                                    \
  ::bulkhead::test::Structure{#structure, !std::is_empty_v<structure>, sizeof(structure)},
#define PKCS11_FIELD_ROW(structure, field, at, bytes)                                             \
  []<typename T>(std::type_identity<T>) {                                                         \
    if constexpr (requires { sizeof(T::field); })                                                 \
      return ::bulkhead::test::Field{#structure, #field, true, offsetof(T, field),                \
                                     sizeof(T::field)};                                           \
    else                                                                                          \
      return ::bulkhead::test::Field{#structure, #field, false, 0, 0};                            \
  }(std::type_identity<structure>{}),
#define PKCS11_MEMBER_2_40_ROW(name) PKCS11_FIELD_ROW(CK_FUNCTION_LIST, name, 0, 0)
#define PKCS11_MEMBER_3_0_ROW(name) PKCS11_FIELD_ROW(CK_FUNCTION_LIST_3_0, name, 0, 0)
#define PKCS11_MEMBER_3_2_ROW(name) PKCS11_FIELD_ROW(CK_FUNCTION_LIST_3_2, name, 0, 0)

// Defines the tables of the header that is in scope, and a function that gives them.
#define PKCS11_TABLES(function, headerName)                                                       \
  constexpr ::bulkhead::test::Constant constantTable[] = {PKCS11_CONSTANTS(PKCS11_CONSTANT_ROW)}; \
  constexpr ::bulkhead::test::Structure structureTable[] = {                                      \
      PKCS11_STRUCTURES(PKCS11_STRUCTURE_ROW)};                                                   \
  constexpr ::bulkhead::test::Field fieldTable[] = {PKCS11_FIELDS(PKCS11_FIELD_ROW)};             \
  constexpr ::bulkhead::test::Field functionTable[] = {                                           \
      PKCS11_FUNCTIONS_2_40(PKCS11_MEMBER_2_40_ROW)                                               \
      PKCS11_FUNCTIONS_2_40(PKCS11_MEMBER_3_0_ROW) PKCS11_FUNCTIONS_3_0(PKCS11_MEMBER_3_0_ROW)    \
      PKCS11_FUNCTIONS_2_40(PKCS11_MEMBER_3_2_ROW) PKCS11_FUNCTIONS_3_0(PKCS11_MEMBER_3_2_ROW)    \
      PKCS11_FUNCTIONS_3_2(PKCS11_MEMBER_3_2_ROW)};                                               \
  ::bulkhead::test::Header function() {                                                           \
    return {headerName, constantTable, structureTable, fieldTable, functionTable};                \
  }

// Structures and their size.
#define PKCS11_STRUCTURES(X)                                                                      \
  X(CK_VERSION, 2) X(CK_INFO, 88) X(CK_SLOT_INFO, 112) X(CK_TOKEN_INFO, 208)                      \
  X(CK_SESSION_INFO, 32) X(CK_ATTRIBUTE, 24) X(CK_DATE, 8) X(CK_MECHANISM, 24)                    \
  X(CK_MECHANISM_INFO, 24) X(CK_INTERFACE, 24) X(CK_C_INITIALIZE_ARGS, 48)                        \
  X(CK_RSA_PKCS_OAEP_PARAMS, 40) X(CK_RSA_PKCS_PSS_PARAMS, 24) X(CK_ECDH1_DERIVE_PARAMS, 40)      \
  X(CK_ECDH2_DERIVE_PARAMS, 72) X(CK_ECMQV_DERIVE_PARAMS, 80) X(CK_X9_42_DH1_DERIVE_PARAMS, 40)   \
  X(CK_X9_42_DH2_DERIVE_PARAMS, 72) X(CK_X9_42_MQV_DERIVE_PARAMS, 80) X(CK_KEA_DERIVE_PARAMS, 48) \
  X(CK_RC2_CBC_PARAMS, 16) X(CK_RC2_MAC_GENERAL_PARAMS, 16) X(CK_RC5_PARAMS, 16)                  \
  X(CK_RC5_CBC_PARAMS, 32) X(CK_RC5_MAC_GENERAL_PARAMS, 24) X(CK_DES_CBC_ENCRYPT_DATA_PARAMS, 24) \
  X(CK_AES_CBC_ENCRYPT_DATA_PARAMS, 32) X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, 88)                    \
  X(CK_SKIPJACK_RELAYX_PARAMS, 112) X(CK_PBE_PARAMS, 48) X(CK_KEY_WRAP_SET_OAEP_PARAMS, 24)       \
  X(CK_SSL3_RANDOM_DATA, 32) X(CK_SSL3_MASTER_KEY_DERIVE_PARAMS, 40) X(CK_SSL3_KEY_MAT_OUT, 48)   \
  X(CK_SSL3_KEY_MAT_PARAMS, 72) X(CK_TLS_PRF_PARAMS, 48) X(CK_WTLS_RANDOM_DATA, 32)               \
  X(CK_WTLS_MASTER_KEY_DERIVE_PARAMS, 48) X(CK_WTLS_PRF_PARAMS, 56) X(CK_WTLS_KEY_MAT_OUT, 24)    \
  X(CK_WTLS_KEY_MAT_PARAMS, 88) X(CK_CMS_SIG_PARAMS, 64) X(CK_KEY_DERIVATION_STRING_DATA, 16)     \
  X(CK_PKCS5_PBKD2_PARAMS, 72) X(CK_PKCS5_PBKD2_PARAMS2, 72) X(CK_OTP_PARAM, 24)                  \
  X(CK_OTP_PARAMS, 16) X(CK_OTP_SIGNATURE_INFO, 16) X(CK_KIP_PARAMS, 32) X(CK_AES_CTR_PARAMS, 24) \
  X(CK_GCM_PARAMS, 48) X(CK_GCM_MESSAGE_PARAMS, 48) X(CK_GCM_WRAP_PARAMS, 56)                     \
  X(CK_CCM_PARAMS, 48) X(CK_CCM_MESSAGE_PARAMS, 56) X(CK_CCM_WRAP_PARAMS, 64)                     \
  X(CK_AES_GCM_PARAMS, 48) X(CK_AES_CCM_PARAMS, 48) X(CK_CAMELLIA_CTR_PARAMS, 24)                 \
  X(CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS, 32) X(CK_ARIA_CBC_ENCRYPT_DATA_PARAMS, 32)               \
  X(CK_DSA_PARAMETER_GEN_PARAM, 32) X(CK_ECDH_AES_KEY_WRAP_PARAMS, 32)                            \
  X(CK_RSA_AES_KEY_WRAP_PARAMS, 16) X(CK_TLS12_MASTER_KEY_DERIVE_PARAMS, 48)                      \
  X(CK_TLS12_KEY_MAT_PARAMS, 80) X(CK_TLS_KDF_PARAMS, 72) X(CK_TLS_MAC_PARAMS, 24)                \
  X(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, 32) X(CK_GOSTR3410_DERIVE_PARAMS, 40)             \
  X(CK_GOSTR3410_KEY_WRAP_PARAMS, 40) X(CK_SEED_CBC_ENCRYPT_DATA_PARAMS, 32)                      \
  X(CK_PRF_DATA_PARAM, 24) X(CK_SP800_108_COUNTER_FORMAT, 16)                                     \
  X(CK_SP800_108_DKM_LENGTH_FORMAT, 24) X(CK_DERIVED_KEY, 24) X(CK_SP800_108_KDF_PARAMS, 40)      \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, 56) X(CK_EDDSA_PARAMS, 24) X(CK_CHACHA20_PARAMS, 32)        \
  X(CK_SALSA20_PARAMS, 24) X(CK_SALSA20_CHACHA20_POLY1305_PARAMS, 32)                             \
  X(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, 24) X(CK_X3DH_INITIATE_PARAMS, 56)                   \
  X(CK_X3DH_RESPOND_PARAMS, 48) X(CK_X2RATCHET_INITIALIZE_PARAMS, 64)                             \
  X(CK_X2RATCHET_RESPOND_PARAMS, 64) X(CK_XEDDSA_PARAMS, 8) X(CK_HKDF_PARAMS, 64)                 \
  X(specifiedParams, 136) X(CK_IKE2_PRF_PLUS_DERIVE_PARAMS, 40) X(CK_IKE_PRF_DERIVE_PARAMS, 56)   \
  X(CK_IKE1_PRF_DERIVE_PARAMS, 72) X(CK_IKE1_EXTENDED_DERIVE_PARAMS, 40) X(CK_ASYNC_DATA, 40)     \
  X(CK_SIGN_ADDITIONAL_CONTEXT, 24) X(CK_HASH_SIGN_ADDITIONAL_CONTEXT, 32)                        \
  X(CK_FUNCTION_LIST, 552) X(CK_FUNCTION_LIST_3_0, 744) X(CK_FUNCTION_LIST_3_2, 840)

// Fields: structure, name, offset, size.
#define PKCS11_FIELDS(X)                                                                          \
  X(CK_VERSION, major, 0, 1) X(CK_VERSION, minor, 1, 1) X(CK_INFO, cryptokiVersion, 0, 2)         \
  X(CK_INFO, manufacturerID, 2, 32) X(CK_INFO, flags, 40, 8)                                      \
  X(CK_INFO, libraryDescription, 48, 32) X(CK_INFO, libraryVersion, 80, 2)                        \
  X(CK_SLOT_INFO, slotDescription, 0, 64) X(CK_SLOT_INFO, manufacturerID, 64, 32)                 \
  X(CK_SLOT_INFO, flags, 96, 8) X(CK_SLOT_INFO, hardwareVersion, 104, 2)                          \
  X(CK_SLOT_INFO, firmwareVersion, 106, 2) X(CK_TOKEN_INFO, label, 0, 32)                         \
  X(CK_TOKEN_INFO, manufacturerID, 32, 32) X(CK_TOKEN_INFO, model, 64, 16)                        \
  X(CK_TOKEN_INFO, serialNumber, 80, 16) X(CK_TOKEN_INFO, flags, 96, 8)                           \
  X(CK_TOKEN_INFO, ulMaxSessionCount, 104, 8) X(CK_TOKEN_INFO, ulSessionCount, 112, 8)            \
  X(CK_TOKEN_INFO, ulMaxRwSessionCount, 120, 8) X(CK_TOKEN_INFO, ulRwSessionCount, 128, 8)        \
  X(CK_TOKEN_INFO, ulMaxPinLen, 136, 8) X(CK_TOKEN_INFO, ulMinPinLen, 144, 8)                     \
  X(CK_TOKEN_INFO, ulTotalPublicMemory, 152, 8) X(CK_TOKEN_INFO, ulFreePublicMemory, 160, 8)      \
  X(CK_TOKEN_INFO, ulTotalPrivateMemory, 168, 8) X(CK_TOKEN_INFO, ulFreePrivateMemory, 176, 8)    \
  X(CK_TOKEN_INFO, hardwareVersion, 184, 2) X(CK_TOKEN_INFO, firmwareVersion, 186, 2)             \
  X(CK_TOKEN_INFO, utcTime, 188, 16) X(CK_SESSION_INFO, slotID, 0, 8)                             \
  X(CK_SESSION_INFO, state, 8, 8) X(CK_SESSION_INFO, flags, 16, 8)                                \
  X(CK_SESSION_INFO, ulDeviceError, 24, 8) X(CK_ATTRIBUTE, type, 0, 8)                            \
  X(CK_ATTRIBUTE, pValue, 8, 8) X(CK_ATTRIBUTE, ulValueLen, 16, 8) X(CK_DATE, year, 0, 4)         \
  X(CK_DATE, month, 4, 2) X(CK_DATE, day, 6, 2) X(CK_MECHANISM, mechanism, 0, 8)                  \
  X(CK_MECHANISM, pParameter, 8, 8) X(CK_MECHANISM, ulParameterLen, 16, 8)                        \
  X(CK_MECHANISM_INFO, ulMinKeySize, 0, 8) X(CK_MECHANISM_INFO, ulMaxKeySize, 8, 8)               \
  X(CK_MECHANISM_INFO, flags, 16, 8) X(CK_INTERFACE, pInterfaceName, 0, 8)                        \
  X(CK_INTERFACE, pFunctionList, 8, 8) X(CK_INTERFACE, flags, 16, 8)                              \
  X(CK_C_INITIALIZE_ARGS, CreateMutex, 0, 8) X(CK_C_INITIALIZE_ARGS, DestroyMutex, 8, 8)          \
  X(CK_C_INITIALIZE_ARGS, LockMutex, 16, 8) X(CK_C_INITIALIZE_ARGS, UnlockMutex, 24, 8)           \
  X(CK_C_INITIALIZE_ARGS, flags, 32, 8) X(CK_C_INITIALIZE_ARGS, pReserved, 40, 8)                 \
  X(CK_RSA_PKCS_OAEP_PARAMS, hashAlg, 0, 8) X(CK_RSA_PKCS_OAEP_PARAMS, mgf, 8, 8)                 \
  X(CK_RSA_PKCS_OAEP_PARAMS, source, 16, 8) X(CK_RSA_PKCS_OAEP_PARAMS, pSourceData, 24, 8)        \
  X(CK_RSA_PKCS_OAEP_PARAMS, ulSourceDataLen, 32, 8) X(CK_RSA_PKCS_PSS_PARAMS, hashAlg, 0, 8)     \
  X(CK_RSA_PKCS_PSS_PARAMS, mgf, 8, 8) X(CK_RSA_PKCS_PSS_PARAMS, sLen, 16, 8)                     \
  X(CK_ECDH1_DERIVE_PARAMS, kdf, 0, 8) X(CK_ECDH1_DERIVE_PARAMS, ulSharedDataLen, 8, 8)           \
  X(CK_ECDH1_DERIVE_PARAMS, pSharedData, 16, 8) X(CK_ECDH1_DERIVE_PARAMS, ulPublicDataLen, 24, 8) \
  X(CK_ECDH1_DERIVE_PARAMS, pPublicData, 32, 8) X(CK_ECDH2_DERIVE_PARAMS, kdf, 0, 8)              \
  X(CK_ECDH2_DERIVE_PARAMS, ulSharedDataLen, 8, 8) X(CK_ECDH2_DERIVE_PARAMS, pSharedData, 16, 8)  \
  X(CK_ECDH2_DERIVE_PARAMS, ulPublicDataLen, 24, 8) X(CK_ECDH2_DERIVE_PARAMS, pPublicData, 32, 8) \
  X(CK_ECDH2_DERIVE_PARAMS, ulPrivateDataLen, 40, 8)                                              \
  X(CK_ECDH2_DERIVE_PARAMS, hPrivateData, 48, 8)                                                  \
  X(CK_ECDH2_DERIVE_PARAMS, ulPublicDataLen2, 56, 8)                                              \
  X(CK_ECDH2_DERIVE_PARAMS, pPublicData2, 64, 8) X(CK_ECMQV_DERIVE_PARAMS, kdf, 0, 8)             \
  X(CK_ECMQV_DERIVE_PARAMS, ulSharedDataLen, 8, 8) X(CK_ECMQV_DERIVE_PARAMS, pSharedData, 16, 8)  \
  X(CK_ECMQV_DERIVE_PARAMS, ulPublicDataLen, 24, 8) X(CK_ECMQV_DERIVE_PARAMS, pPublicData, 32, 8) \
  X(CK_ECMQV_DERIVE_PARAMS, ulPrivateDataLen, 40, 8)                                              \
  X(CK_ECMQV_DERIVE_PARAMS, hPrivateData, 48, 8)                                                  \
  X(CK_ECMQV_DERIVE_PARAMS, ulPublicDataLen2, 56, 8)                                              \
  X(CK_ECMQV_DERIVE_PARAMS, pPublicData2, 64, 8) X(CK_ECMQV_DERIVE_PARAMS, publicKey, 72, 8)      \
  X(CK_X9_42_DH1_DERIVE_PARAMS, kdf, 0, 8) X(CK_X9_42_DH1_DERIVE_PARAMS, ulOtherInfoLen, 8, 8)    \
  X(CK_X9_42_DH1_DERIVE_PARAMS, pOtherInfo, 16, 8)                                                \
  X(CK_X9_42_DH1_DERIVE_PARAMS, ulPublicDataLen, 24, 8)                                           \
  X(CK_X9_42_DH1_DERIVE_PARAMS, pPublicData, 32, 8) X(CK_X9_42_DH2_DERIVE_PARAMS, kdf, 0, 8)      \
  X(CK_X9_42_DH2_DERIVE_PARAMS, ulOtherInfoLen, 8, 8)                                             \
  X(CK_X9_42_DH2_DERIVE_PARAMS, pOtherInfo, 16, 8)                                                \
  X(CK_X9_42_DH2_DERIVE_PARAMS, ulPublicDataLen, 24, 8)                                           \
  X(CK_X9_42_DH2_DERIVE_PARAMS, pPublicData, 32, 8)                                               \
  X(CK_X9_42_DH2_DERIVE_PARAMS, ulPrivateDataLen, 40, 8)                                          \
  X(CK_X9_42_DH2_DERIVE_PARAMS, hPrivateData, 48, 8)                                              \
  X(CK_X9_42_DH2_DERIVE_PARAMS, ulPublicDataLen2, 56, 8)                                          \
  X(CK_X9_42_DH2_DERIVE_PARAMS, pPublicData2, 64, 8) X(CK_X9_42_MQV_DERIVE_PARAMS, kdf, 0, 8)     \
  X(CK_X9_42_MQV_DERIVE_PARAMS, ulOtherInfoLen, 8, 8)                                             \
  X(CK_X9_42_MQV_DERIVE_PARAMS, pOtherInfo, 16, 8)                                                \
  X(CK_X9_42_MQV_DERIVE_PARAMS, ulPublicDataLen, 24, 8)                                           \
  X(CK_X9_42_MQV_DERIVE_PARAMS, pPublicData, 32, 8)                                               \
  X(CK_X9_42_MQV_DERIVE_PARAMS, ulPrivateDataLen, 40, 8)                                          \
  X(CK_X9_42_MQV_DERIVE_PARAMS, hPrivateData, 48, 8)                                              \
  X(CK_X9_42_MQV_DERIVE_PARAMS, ulPublicDataLen2, 56, 8)                                          \
  X(CK_X9_42_MQV_DERIVE_PARAMS, pPublicData2, 64, 8)                                              \
  X(CK_X9_42_MQV_DERIVE_PARAMS, publicKey, 72, 8) X(CK_KEA_DERIVE_PARAMS, isSender, 0, 1)         \
  X(CK_KEA_DERIVE_PARAMS, ulRandomLen, 8, 8) X(CK_KEA_DERIVE_PARAMS, pRandomA, 16, 8)             \
  X(CK_KEA_DERIVE_PARAMS, pRandomB, 24, 8) X(CK_KEA_DERIVE_PARAMS, ulPublicDataLen, 32, 8)        \
  X(CK_KEA_DERIVE_PARAMS, pPublicData, 40, 8) X(CK_RC2_CBC_PARAMS, ulEffectiveBits, 0, 8)         \
  X(CK_RC2_CBC_PARAMS, iv, 8, 8) X(CK_RC2_MAC_GENERAL_PARAMS, ulEffectiveBits, 0, 8)              \
  X(CK_RC2_MAC_GENERAL_PARAMS, ulMacLength, 8, 8) X(CK_RC5_PARAMS, ulWordsize, 0, 8)              \
  X(CK_RC5_PARAMS, ulRounds, 8, 8) X(CK_RC5_CBC_PARAMS, ulWordsize, 0, 8)                         \
  X(CK_RC5_CBC_PARAMS, ulRounds, 8, 8) X(CK_RC5_CBC_PARAMS, pIv, 16, 8)                           \
  X(CK_RC5_CBC_PARAMS, ulIvLen, 24, 8) X(CK_RC5_MAC_GENERAL_PARAMS, ulWordsize, 0, 8)             \
  X(CK_RC5_MAC_GENERAL_PARAMS, ulRounds, 8, 8) X(CK_RC5_MAC_GENERAL_PARAMS, ulMacLength, 16, 8)   \
  X(CK_DES_CBC_ENCRYPT_DATA_PARAMS, iv, 0, 8) X(CK_DES_CBC_ENCRYPT_DATA_PARAMS, pData, 8, 8)      \
  X(CK_DES_CBC_ENCRYPT_DATA_PARAMS, length, 16, 8) X(CK_AES_CBC_ENCRYPT_DATA_PARAMS, iv, 0, 16)   \
  X(CK_AES_CBC_ENCRYPT_DATA_PARAMS, pData, 16, 8)                                                 \
  X(CK_AES_CBC_ENCRYPT_DATA_PARAMS, length, 24, 8)                                                \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, ulPasswordLen, 0, 8)                                         \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, pPassword, 8, 8)                                             \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, ulPublicDataLen, 16, 8)                                      \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, pPublicData, 24, 8)                                          \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, ulPAndGLen, 32, 8)                                           \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, ulQLen, 40, 8)                                               \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, ulRandomLen, 48, 8)                                          \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, pRandomA, 56, 8)                                             \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, pPrimeP, 64, 8)                                              \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, pBaseG, 72, 8)                                               \
  X(CK_SKIPJACK_PRIVATE_WRAP_PARAMS, pSubprimeQ, 80, 8)                                           \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulOldWrappedXLen, 0, 8)                                            \
  X(CK_SKIPJACK_RELAYX_PARAMS, pOldWrappedX, 8, 8)                                                \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulOldPasswordLen, 16, 8)                                           \
  X(CK_SKIPJACK_RELAYX_PARAMS, pOldPassword, 24, 8)                                               \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulOldPublicDataLen, 32, 8)                                         \
  X(CK_SKIPJACK_RELAYX_PARAMS, pOldPublicData, 40, 8)                                             \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulOldRandomLen, 48, 8)                                             \
  X(CK_SKIPJACK_RELAYX_PARAMS, pOldRandomA, 56, 8)                                                \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulNewPasswordLen, 64, 8)                                           \
  X(CK_SKIPJACK_RELAYX_PARAMS, pNewPassword, 72, 8)                                               \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulNewPublicDataLen, 80, 8)                                         \
  X(CK_SKIPJACK_RELAYX_PARAMS, pNewPublicData, 88, 8)                                             \
  X(CK_SKIPJACK_RELAYX_PARAMS, ulNewRandomLen, 96, 8)                                             \
  X(CK_SKIPJACK_RELAYX_PARAMS, pNewRandomA, 104, 8) X(CK_PBE_PARAMS, pInitVector, 0, 8)           \
  X(CK_PBE_PARAMS, pPassword, 8, 8) X(CK_PBE_PARAMS, ulPasswordLen, 16, 8)                        \
  X(CK_PBE_PARAMS, pSalt, 24, 8) X(CK_PBE_PARAMS, ulSaltLen, 32, 8)                               \
  X(CK_PBE_PARAMS, ulIteration, 40, 8) X(CK_KEY_WRAP_SET_OAEP_PARAMS, bBC, 0, 1)                  \
  X(CK_KEY_WRAP_SET_OAEP_PARAMS, pX, 8, 8) X(CK_KEY_WRAP_SET_OAEP_PARAMS, ulXLen, 16, 8)          \
  X(CK_SSL3_RANDOM_DATA, pClientRandom, 0, 8) X(CK_SSL3_RANDOM_DATA, ulClientRandomLen, 8, 8)     \
  X(CK_SSL3_RANDOM_DATA, pServerRandom, 16, 8) X(CK_SSL3_RANDOM_DATA, ulServerRandomLen, 24, 8)   \
  X(CK_SSL3_MASTER_KEY_DERIVE_PARAMS, RandomInfo, 0, 32)                                          \
  X(CK_SSL3_MASTER_KEY_DERIVE_PARAMS, pVersion, 32, 8)                                            \
  X(CK_SSL3_KEY_MAT_OUT, hClientMacSecret, 0, 8) X(CK_SSL3_KEY_MAT_OUT, hServerMacSecret, 8, 8)   \
  X(CK_SSL3_KEY_MAT_OUT, hClientKey, 16, 8) X(CK_SSL3_KEY_MAT_OUT, hServerKey, 24, 8)             \
  X(CK_SSL3_KEY_MAT_OUT, pIVClient, 32, 8) X(CK_SSL3_KEY_MAT_OUT, pIVServer, 40, 8)               \
  X(CK_SSL3_KEY_MAT_PARAMS, ulMacSizeInBits, 0, 8)                                                \
  X(CK_SSL3_KEY_MAT_PARAMS, ulKeySizeInBits, 8, 8)                                                \
  X(CK_SSL3_KEY_MAT_PARAMS, ulIVSizeInBits, 16, 8) X(CK_SSL3_KEY_MAT_PARAMS, bIsExport, 24, 1)    \
  X(CK_SSL3_KEY_MAT_PARAMS, RandomInfo, 32, 32)                                                   \
  X(CK_SSL3_KEY_MAT_PARAMS, pReturnedKeyMaterial, 64, 8) X(CK_TLS_PRF_PARAMS, pSeed, 0, 8)        \
  X(CK_TLS_PRF_PARAMS, ulSeedLen, 8, 8) X(CK_TLS_PRF_PARAMS, pLabel, 16, 8)                       \
  X(CK_TLS_PRF_PARAMS, ulLabelLen, 24, 8) X(CK_TLS_PRF_PARAMS, pOutput, 32, 8)                    \
  X(CK_TLS_PRF_PARAMS, pulOutputLen, 40, 8) X(CK_WTLS_RANDOM_DATA, pClientRandom, 0, 8)           \
  X(CK_WTLS_RANDOM_DATA, ulClientRandomLen, 8, 8) X(CK_WTLS_RANDOM_DATA, pServerRandom, 16, 8)    \
  X(CK_WTLS_RANDOM_DATA, ulServerRandomLen, 24, 8)                                                \
  X(CK_WTLS_MASTER_KEY_DERIVE_PARAMS, DigestMechanism, 0, 8)                                      \
  X(CK_WTLS_MASTER_KEY_DERIVE_PARAMS, RandomInfo, 8, 32)                                          \
  X(CK_WTLS_MASTER_KEY_DERIVE_PARAMS, pVersion, 40, 8)                                            \
  X(CK_WTLS_PRF_PARAMS, DigestMechanism, 0, 8) X(CK_WTLS_PRF_PARAMS, pSeed, 8, 8)                 \
  X(CK_WTLS_PRF_PARAMS, ulSeedLen, 16, 8) X(CK_WTLS_PRF_PARAMS, pLabel, 24, 8)                    \
  X(CK_WTLS_PRF_PARAMS, ulLabelLen, 32, 8) X(CK_WTLS_PRF_PARAMS, pOutput, 40, 8)                  \
  X(CK_WTLS_PRF_PARAMS, pulOutputLen, 48, 8) X(CK_WTLS_KEY_MAT_OUT, hMacSecret, 0, 8)             \
  X(CK_WTLS_KEY_MAT_OUT, hKey, 8, 8) X(CK_WTLS_KEY_MAT_OUT, pIV, 16, 8)                           \
  X(CK_WTLS_KEY_MAT_PARAMS, DigestMechanism, 0, 8)                                                \
  X(CK_WTLS_KEY_MAT_PARAMS, ulMacSizeInBits, 8, 8)                                                \
  X(CK_WTLS_KEY_MAT_PARAMS, ulKeySizeInBits, 16, 8)                                               \
  X(CK_WTLS_KEY_MAT_PARAMS, ulIVSizeInBits, 24, 8)                                                \
  X(CK_WTLS_KEY_MAT_PARAMS, ulSequenceNumber, 32, 8) X(CK_WTLS_KEY_MAT_PARAMS, bIsExport, 40, 1)  \
  X(CK_WTLS_KEY_MAT_PARAMS, RandomInfo, 48, 32)                                                   \
  X(CK_WTLS_KEY_MAT_PARAMS, pReturnedKeyMaterial, 80, 8)                                          \
  X(CK_CMS_SIG_PARAMS, certificateHandle, 0, 8) X(CK_CMS_SIG_PARAMS, pSigningMechanism, 8, 8)     \
  X(CK_CMS_SIG_PARAMS, pDigestMechanism, 16, 8) X(CK_CMS_SIG_PARAMS, pContentType, 24, 8)         \
  X(CK_CMS_SIG_PARAMS, pRequestedAttributes, 32, 8)                                               \
  X(CK_CMS_SIG_PARAMS, ulRequestedAttributesLen, 40, 8)                                           \
  X(CK_CMS_SIG_PARAMS, pRequiredAttributes, 48, 8)                                                \
  X(CK_CMS_SIG_PARAMS, ulRequiredAttributesLen, 56, 8)                                            \
  X(CK_KEY_DERIVATION_STRING_DATA, pData, 0, 8) X(CK_KEY_DERIVATION_STRING_DATA, ulLen, 8, 8)     \
  X(CK_PKCS5_PBKD2_PARAMS, saltSource, 0, 8) X(CK_PKCS5_PBKD2_PARAMS, pSaltSourceData, 8, 8)      \
  X(CK_PKCS5_PBKD2_PARAMS, ulSaltSourceDataLen, 16, 8)                                            \
  X(CK_PKCS5_PBKD2_PARAMS, iterations, 24, 8) X(CK_PKCS5_PBKD2_PARAMS, prf, 32, 8)                \
  X(CK_PKCS5_PBKD2_PARAMS, pPrfData, 40, 8) X(CK_PKCS5_PBKD2_PARAMS, ulPrfDataLen, 48, 8)         \
  X(CK_PKCS5_PBKD2_PARAMS, pPassword, 56, 8) X(CK_PKCS5_PBKD2_PARAMS, ulPasswordLen, 64, 8)       \
  X(CK_PKCS5_PBKD2_PARAMS2, saltSource, 0, 8) X(CK_PKCS5_PBKD2_PARAMS2, pSaltSourceData, 8, 8)    \
  X(CK_PKCS5_PBKD2_PARAMS2, ulSaltSourceDataLen, 16, 8)                                           \
  X(CK_PKCS5_PBKD2_PARAMS2, iterations, 24, 8) X(CK_PKCS5_PBKD2_PARAMS2, prf, 32, 8)              \
  X(CK_PKCS5_PBKD2_PARAMS2, pPrfData, 40, 8) X(CK_PKCS5_PBKD2_PARAMS2, ulPrfDataLen, 48, 8)       \
  X(CK_PKCS5_PBKD2_PARAMS2, pPassword, 56, 8) X(CK_PKCS5_PBKD2_PARAMS2, ulPasswordLen, 64, 8)     \
  X(CK_OTP_PARAM, type, 0, 8) X(CK_OTP_PARAM, pValue, 8, 8) X(CK_OTP_PARAM, ulValueLen, 16, 8)    \
  X(CK_OTP_PARAMS, pParams, 0, 8) X(CK_OTP_PARAMS, ulCount, 8, 8)                                 \
  X(CK_OTP_SIGNATURE_INFO, pParams, 0, 8) X(CK_OTP_SIGNATURE_INFO, ulCount, 8, 8)                 \
  X(CK_KIP_PARAMS, pMechanism, 0, 8) X(CK_KIP_PARAMS, hKey, 8, 8) X(CK_KIP_PARAMS, pSeed, 16, 8)  \
  X(CK_KIP_PARAMS, ulSeedLen, 24, 8) X(CK_AES_CTR_PARAMS, ulCounterBits, 0, 8)                    \
  X(CK_AES_CTR_PARAMS, cb, 8, 16) X(CK_GCM_PARAMS, pIv, 0, 8) X(CK_GCM_PARAMS, ulIvLen, 8, 8)     \
  X(CK_GCM_PARAMS, ulIvBits, 16, 8) X(CK_GCM_PARAMS, pAAD, 24, 8)                                 \
  X(CK_GCM_PARAMS, ulAADLen, 32, 8) X(CK_GCM_PARAMS, ulTagBits, 40, 8)                            \
  X(CK_GCM_MESSAGE_PARAMS, pIv, 0, 8) X(CK_GCM_MESSAGE_PARAMS, ulIvLen, 8, 8)                     \
  X(CK_GCM_MESSAGE_PARAMS, ulIvFixedBits, 16, 8) X(CK_GCM_MESSAGE_PARAMS, ivGenerator, 24, 8)     \
  X(CK_GCM_MESSAGE_PARAMS, pTag, 32, 8) X(CK_GCM_MESSAGE_PARAMS, ulTagBits, 40, 8)                \
  X(CK_GCM_WRAP_PARAMS, pIv, 0, 8) X(CK_GCM_WRAP_PARAMS, ulIvLen, 8, 8)                           \
  X(CK_GCM_WRAP_PARAMS, ulIvFixedBits, 16, 8) X(CK_GCM_WRAP_PARAMS, ivGenerator, 24, 8)           \
  X(CK_GCM_WRAP_PARAMS, pAAD, 32, 8) X(CK_GCM_WRAP_PARAMS, ulAADLen, 40, 8)                       \
  X(CK_GCM_WRAP_PARAMS, ulTagBits, 48, 8) X(CK_CCM_PARAMS, ulDataLen, 0, 8)                       \
  X(CK_CCM_PARAMS, pNonce, 8, 8) X(CK_CCM_PARAMS, ulNonceLen, 16, 8)                              \
  X(CK_CCM_PARAMS, pAAD, 24, 8) X(CK_CCM_PARAMS, ulAADLen, 32, 8)                                 \
  X(CK_CCM_PARAMS, ulMACLen, 40, 8) X(CK_CCM_MESSAGE_PARAMS, ulDataLen, 0, 8)                     \
  X(CK_CCM_MESSAGE_PARAMS, pNonce, 8, 8) X(CK_CCM_MESSAGE_PARAMS, ulNonceLen, 16, 8)              \
  X(CK_CCM_MESSAGE_PARAMS, ulNonceFixedBits, 24, 8)                                               \
  X(CK_CCM_MESSAGE_PARAMS, nonceGenerator, 32, 8) X(CK_CCM_MESSAGE_PARAMS, pMAC, 40, 8)           \
  X(CK_CCM_MESSAGE_PARAMS, ulMACLen, 48, 8) X(CK_CCM_WRAP_PARAMS, ulDataLen, 0, 8)                \
  X(CK_CCM_WRAP_PARAMS, pNonce, 8, 8) X(CK_CCM_WRAP_PARAMS, ulNonceLen, 16, 8)                    \
  X(CK_CCM_WRAP_PARAMS, ulNonceFixedBits, 24, 8) X(CK_CCM_WRAP_PARAMS, nonceGenerator, 32, 8)     \
  X(CK_CCM_WRAP_PARAMS, pAAD, 40, 8) X(CK_CCM_WRAP_PARAMS, ulAADLen, 48, 8)                       \
  X(CK_CCM_WRAP_PARAMS, ulMACLen, 56, 8) X(CK_AES_GCM_PARAMS, pIv, 0, 8)                          \
  X(CK_AES_GCM_PARAMS, ulIvLen, 8, 8) X(CK_AES_GCM_PARAMS, ulIvBits, 16, 8)                       \
  X(CK_AES_GCM_PARAMS, pAAD, 24, 8) X(CK_AES_GCM_PARAMS, ulAADLen, 32, 8)                         \
  X(CK_AES_GCM_PARAMS, ulTagBits, 40, 8) X(CK_AES_CCM_PARAMS, ulDataLen, 0, 8)                    \
  X(CK_AES_CCM_PARAMS, pNonce, 8, 8) X(CK_AES_CCM_PARAMS, ulNonceLen, 16, 8)                      \
  X(CK_AES_CCM_PARAMS, pAAD, 24, 8) X(CK_AES_CCM_PARAMS, ulAADLen, 32, 8)                         \
  X(CK_AES_CCM_PARAMS, ulMACLen, 40, 8) X(CK_CAMELLIA_CTR_PARAMS, ulCounterBits, 0, 8)            \
  X(CK_CAMELLIA_CTR_PARAMS, cb, 8, 16) X(CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS, iv, 0, 16)          \
  X(CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS, pData, 16, 8)                                            \
  X(CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS, length, 24, 8)                                           \
  X(CK_ARIA_CBC_ENCRYPT_DATA_PARAMS, iv, 0, 16) X(CK_ARIA_CBC_ENCRYPT_DATA_PARAMS, pData, 16, 8)  \
  X(CK_ARIA_CBC_ENCRYPT_DATA_PARAMS, length, 24, 8) X(CK_DSA_PARAMETER_GEN_PARAM, hash, 0, 8)     \
  X(CK_DSA_PARAMETER_GEN_PARAM, pSeed, 8, 8) X(CK_DSA_PARAMETER_GEN_PARAM, ulSeedLen, 16, 8)      \
  X(CK_DSA_PARAMETER_GEN_PARAM, ulIndex, 24, 8)                                                   \
  X(CK_ECDH_AES_KEY_WRAP_PARAMS, ulAESKeyBits, 0, 8) X(CK_ECDH_AES_KEY_WRAP_PARAMS, kdf, 8, 8)    \
  X(CK_ECDH_AES_KEY_WRAP_PARAMS, ulSharedDataLen, 16, 8)                                          \
  X(CK_ECDH_AES_KEY_WRAP_PARAMS, pSharedData, 24, 8)                                              \
  X(CK_RSA_AES_KEY_WRAP_PARAMS, ulAESKeyBits, 0, 8)                                               \
  X(CK_RSA_AES_KEY_WRAP_PARAMS, pOAEPParams, 8, 8)                                                \
  X(CK_TLS12_MASTER_KEY_DERIVE_PARAMS, RandomInfo, 0, 32)                                         \
  X(CK_TLS12_MASTER_KEY_DERIVE_PARAMS, pVersion, 32, 8)                                           \
  X(CK_TLS12_MASTER_KEY_DERIVE_PARAMS, prfHashMechanism, 40, 8)                                   \
  X(CK_TLS12_KEY_MAT_PARAMS, ulMacSizeInBits, 0, 8)                                               \
  X(CK_TLS12_KEY_MAT_PARAMS, ulKeySizeInBits, 8, 8)                                               \
  X(CK_TLS12_KEY_MAT_PARAMS, ulIVSizeInBits, 16, 8) X(CK_TLS12_KEY_MAT_PARAMS, bIsExport, 24, 1)  \
  X(CK_TLS12_KEY_MAT_PARAMS, RandomInfo, 32, 32)                                                  \
  X(CK_TLS12_KEY_MAT_PARAMS, pReturnedKeyMaterial, 64, 8)                                         \
  X(CK_TLS12_KEY_MAT_PARAMS, prfHashMechanism, 72, 8) X(CK_TLS_KDF_PARAMS, prfMechanism, 0, 8)    \
  X(CK_TLS_KDF_PARAMS, pLabel, 8, 8) X(CK_TLS_KDF_PARAMS, ulLabelLength, 16, 8)                   \
  X(CK_TLS_KDF_PARAMS, RandomInfo, 24, 32) X(CK_TLS_KDF_PARAMS, pContextData, 56, 8)              \
  X(CK_TLS_KDF_PARAMS, ulContextDataLength, 64, 8) X(CK_TLS_MAC_PARAMS, prfHashMechanism, 0, 8)   \
  X(CK_TLS_MAC_PARAMS, ulMacLength, 8, 8) X(CK_TLS_MAC_PARAMS, ulServerOrClient, 16, 8)           \
  X(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, prfHashMechanism, 0, 8)                           \
  X(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, pSessionHash, 8, 8)                               \
  X(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, ulSessionHashLen, 16, 8)                          \
  X(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS, pVersion, 24, 8)                                  \
  X(CK_GOSTR3410_DERIVE_PARAMS, kdf, 0, 8) X(CK_GOSTR3410_DERIVE_PARAMS, pPublicData, 8, 8)       \
  X(CK_GOSTR3410_DERIVE_PARAMS, ulPublicDataLen, 16, 8)                                           \
  X(CK_GOSTR3410_DERIVE_PARAMS, pUKM, 24, 8) X(CK_GOSTR3410_DERIVE_PARAMS, ulUKMLen, 32, 8)       \
  X(CK_GOSTR3410_KEY_WRAP_PARAMS, pWrapOID, 0, 8)                                                 \
  X(CK_GOSTR3410_KEY_WRAP_PARAMS, ulWrapOIDLen, 8, 8)                                             \
  X(CK_GOSTR3410_KEY_WRAP_PARAMS, pUKM, 16, 8) X(CK_GOSTR3410_KEY_WRAP_PARAMS, ulUKMLen, 24, 8)   \
  X(CK_GOSTR3410_KEY_WRAP_PARAMS, hKey, 32, 8) X(CK_SEED_CBC_ENCRYPT_DATA_PARAMS, iv, 0, 16)      \
  X(CK_SEED_CBC_ENCRYPT_DATA_PARAMS, pData, 16, 8)                                                \
  X(CK_SEED_CBC_ENCRYPT_DATA_PARAMS, length, 24, 8) X(CK_PRF_DATA_PARAM, type, 0, 8)              \
  X(CK_PRF_DATA_PARAM, pValue, 8, 8) X(CK_PRF_DATA_PARAM, ulValueLen, 16, 8)                      \
  X(CK_SP800_108_COUNTER_FORMAT, bLittleEndian, 0, 1)                                             \
  X(CK_SP800_108_COUNTER_FORMAT, ulWidthInBits, 8, 8)                                             \
  X(CK_SP800_108_DKM_LENGTH_FORMAT, dkmLengthMethod, 0, 8)                                        \
  X(CK_SP800_108_DKM_LENGTH_FORMAT, bLittleEndian, 8, 1)                                          \
  X(CK_SP800_108_DKM_LENGTH_FORMAT, ulWidthInBits, 16, 8) X(CK_DERIVED_KEY, pTemplate, 0, 8)      \
  X(CK_DERIVED_KEY, ulAttributeCount, 8, 8) X(CK_DERIVED_KEY, phKey, 16, 8)                       \
  X(CK_SP800_108_KDF_PARAMS, prfType, 0, 8)                                                       \
  X(CK_SP800_108_KDF_PARAMS, ulNumberOfDataParams, 8, 8)                                          \
  X(CK_SP800_108_KDF_PARAMS, pDataParams, 16, 8)                                                  \
  X(CK_SP800_108_KDF_PARAMS, ulAdditionalDerivedKeys, 24, 8)                                      \
  X(CK_SP800_108_KDF_PARAMS, pAdditionalDerivedKeys, 32, 8)                                       \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, prfType, 0, 8)                                              \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, ulNumberOfDataParams, 8, 8)                                 \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, pDataParams, 16, 8)                                         \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, ulIVLen, 24, 8)                                             \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, pIV, 32, 8)                                                 \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, ulAdditionalDerivedKeys, 40, 8)                             \
  X(CK_SP800_108_FEEDBACK_KDF_PARAMS, pAdditionalDerivedKeys, 48, 8)                              \
  X(CK_EDDSA_PARAMS, phFlag, 0, 1) X(CK_EDDSA_PARAMS, ulContextDataLen, 8, 8)                     \
  X(CK_EDDSA_PARAMS, pContextData, 16, 8) X(CK_CHACHA20_PARAMS, pBlockCounter, 0, 8)              \
  X(CK_CHACHA20_PARAMS, blockCounterBits, 8, 8) X(CK_CHACHA20_PARAMS, pNonce, 16, 8)              \
  X(CK_CHACHA20_PARAMS, ulNonceBits, 24, 8) X(CK_SALSA20_PARAMS, pBlockCounter, 0, 8)             \
  X(CK_SALSA20_PARAMS, pNonce, 8, 8) X(CK_SALSA20_PARAMS, ulNonceBits, 16, 8)                     \
  X(CK_SALSA20_CHACHA20_POLY1305_PARAMS, pNonce, 0, 8)                                            \
  X(CK_SALSA20_CHACHA20_POLY1305_PARAMS, ulNonceLen, 8, 8)                                        \
  X(CK_SALSA20_CHACHA20_POLY1305_PARAMS, pAAD, 16, 8)                                             \
  X(CK_SALSA20_CHACHA20_POLY1305_PARAMS, ulAADLen, 24, 8)                                         \
  X(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, pNonce, 0, 8)                                        \
  X(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, ulNonceLen, 8, 8)                                    \
  X(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS, pTag, 16, 8) X(CK_X3DH_INITIATE_PARAMS, kdf, 0, 8)   \
  X(CK_X3DH_INITIATE_PARAMS, pPeer_identity, 8, 8)                                                \
  X(CK_X3DH_INITIATE_PARAMS, pPeer_prekey, 16, 8)                                                 \
  X(CK_X3DH_INITIATE_PARAMS, pPrekey_signature, 24, 8)                                            \
  X(CK_X3DH_INITIATE_PARAMS, pOnetime_key, 32, 8)                                                 \
  X(CK_X3DH_INITIATE_PARAMS, pOwn_identity, 40, 8)                                                \
  X(CK_X3DH_INITIATE_PARAMS, pOwn_ephemeral, 48, 8) X(CK_X3DH_RESPOND_PARAMS, kdf, 0, 8)          \
  X(CK_X3DH_RESPOND_PARAMS, pIdentity_id, 8, 8) X(CK_X3DH_RESPOND_PARAMS, pPrekey_id, 16, 8)      \
  X(CK_X3DH_RESPOND_PARAMS, pOnetime_id, 24, 8)                                                   \
  X(CK_X3DH_RESPOND_PARAMS, pInitiator_identity, 32, 8)                                           \
  X(CK_X3DH_RESPOND_PARAMS, pInitiator_ephemeral, 40, 8)                                          \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, sk, 0, 8)                                                     \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, peer_public_prekey, 8, 8)                                     \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, peer_public_identity, 16, 8)                                  \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, own_public_identity, 24, 8)                                   \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, bEncryptedHeader, 32, 1)                                      \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, eCurve, 40, 8)                                                \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, aeadMechanism, 48, 8)                                         \
  X(CK_X2RATCHET_INITIALIZE_PARAMS, kdfMechanism, 56, 8) X(CK_X2RATCHET_RESPOND_PARAMS, sk, 0, 8) \
  X(CK_X2RATCHET_RESPOND_PARAMS, own_prekey, 8, 8)                                                \
  X(CK_X2RATCHET_RESPOND_PARAMS, initiator_identity, 16, 8)                                       \
  X(CK_X2RATCHET_RESPOND_PARAMS, own_public_identity, 24, 8)                                      \
  X(CK_X2RATCHET_RESPOND_PARAMS, bEncryptedHeader, 32, 1)                                         \
  X(CK_X2RATCHET_RESPOND_PARAMS, eCurve, 40, 8)                                                   \
  X(CK_X2RATCHET_RESPOND_PARAMS, aeadMechanism, 48, 8)                                            \
  X(CK_X2RATCHET_RESPOND_PARAMS, kdfMechanism, 56, 8) X(CK_XEDDSA_PARAMS, hash, 0, 8)             \
  X(CK_HKDF_PARAMS, bExtract, 0, 1) X(CK_HKDF_PARAMS, bExpand, 1, 1)                              \
  X(CK_HKDF_PARAMS, prfHashMechanism, 8, 8) X(CK_HKDF_PARAMS, ulSaltType, 16, 8)                  \
  X(CK_HKDF_PARAMS, pSalt, 24, 8) X(CK_HKDF_PARAMS, ulSaltLen, 32, 8)                             \
  X(CK_HKDF_PARAMS, hSaltKey, 40, 8) X(CK_HKDF_PARAMS, pInfo, 48, 8)                              \
  X(CK_HKDF_PARAMS, ulInfoLen, 56, 8) X(specifiedParams, levels, 0, 8)                            \
  X(specifiedParams, lm_type, 8, 64) X(specifiedParams, lm_ots_type, 72, 64)                      \
  X(CK_IKE2_PRF_PLUS_DERIVE_PARAMS, prfMechanism, 0, 8)                                           \
  X(CK_IKE2_PRF_PLUS_DERIVE_PARAMS, bHasSeedKey, 8, 1)                                            \
  X(CK_IKE2_PRF_PLUS_DERIVE_PARAMS, hSeedKey, 16, 8)                                              \
  X(CK_IKE2_PRF_PLUS_DERIVE_PARAMS, pSeedData, 24, 8)                                             \
  X(CK_IKE2_PRF_PLUS_DERIVE_PARAMS, ulSeedDataLen, 32, 8)                                         \
  X(CK_IKE_PRF_DERIVE_PARAMS, prfMechanism, 0, 8) X(CK_IKE_PRF_DERIVE_PARAMS, bDataAsKey, 8, 1)   \
  X(CK_IKE_PRF_DERIVE_PARAMS, bRekey, 9, 1) X(CK_IKE_PRF_DERIVE_PARAMS, pNi, 16, 8)               \
  X(CK_IKE_PRF_DERIVE_PARAMS, ulNiLen, 24, 8) X(CK_IKE_PRF_DERIVE_PARAMS, pNr, 32, 8)             \
  X(CK_IKE_PRF_DERIVE_PARAMS, ulNrLen, 40, 8) X(CK_IKE_PRF_DERIVE_PARAMS, hNewKey, 48, 8)         \
  X(CK_IKE1_PRF_DERIVE_PARAMS, prfMechanism, 0, 8)                                                \
  X(CK_IKE1_PRF_DERIVE_PARAMS, bHasPrevKey, 8, 1) X(CK_IKE1_PRF_DERIVE_PARAMS, hKeygxy, 16, 8)    \
  X(CK_IKE1_PRF_DERIVE_PARAMS, hPrevKey, 24, 8) X(CK_IKE1_PRF_DERIVE_PARAMS, pCKYi, 32, 8)        \
  X(CK_IKE1_PRF_DERIVE_PARAMS, ulCKYiLen, 40, 8) X(CK_IKE1_PRF_DERIVE_PARAMS, pCKYr, 48, 8)       \
  X(CK_IKE1_PRF_DERIVE_PARAMS, ulCKYrLen, 56, 8) X(CK_IKE1_PRF_DERIVE_PARAMS, keyNumber, 64, 1)   \
  X(CK_IKE1_EXTENDED_DERIVE_PARAMS, prfMechanism, 0, 8)                                           \
  X(CK_IKE1_EXTENDED_DERIVE_PARAMS, bHasKeygxy, 8, 1)                                             \
  X(CK_IKE1_EXTENDED_DERIVE_PARAMS, hKeygxy, 16, 8)                                               \
  X(CK_IKE1_EXTENDED_DERIVE_PARAMS, pExtraData, 24, 8)                                            \
  X(CK_IKE1_EXTENDED_DERIVE_PARAMS, ulExtraDataLen, 32, 8) X(CK_ASYNC_DATA, ulVersion, 0, 8)      \
  X(CK_ASYNC_DATA, pValue, 8, 8) X(CK_ASYNC_DATA, ulValue, 16, 8)                                 \
  X(CK_ASYNC_DATA, hObject, 24, 8) X(CK_ASYNC_DATA, hAdditionalObject, 32, 8)                     \
  X(CK_SIGN_ADDITIONAL_CONTEXT, hedgeVariant, 0, 8) X(CK_SIGN_ADDITIONAL_CONTEXT, pContext, 8, 8) \
  X(CK_SIGN_ADDITIONAL_CONTEXT, ulContextLen, 16, 8)                                              \
  X(CK_HASH_SIGN_ADDITIONAL_CONTEXT, hedgeVariant, 0, 8)                                          \
  X(CK_HASH_SIGN_ADDITIONAL_CONTEXT, pContext, 8, 8)                                              \
  X(CK_HASH_SIGN_ADDITIONAL_CONTEXT, ulContextLen, 16, 8)                                         \
  X(CK_HASH_SIGN_ADDITIONAL_CONTEXT, hash, 24, 8)

// Functions in the order of the function lists.
#define PKCS11_FUNCTIONS_2_40(X)                                                                  \
  X(C_Initialize) X(C_Finalize) X(C_GetInfo) X(C_GetFunctionList) X(C_GetSlotList)                \
  X(C_GetSlotInfo) X(C_GetTokenInfo) X(C_GetMechanismList) X(C_GetMechanismInfo) X(C_InitToken)   \
  X(C_InitPIN) X(C_SetPIN) X(C_OpenSession) X(C_CloseSession) X(C_CloseAllSessions)               \
  X(C_GetSessionInfo) X(C_GetOperationState) X(C_SetOperationState) X(C_Login) X(C_Logout)        \
  X(C_CreateObject) X(C_CopyObject) X(C_DestroyObject) X(C_GetObjectSize) X(C_GetAttributeValue)  \
  X(C_SetAttributeValue) X(C_FindObjectsInit) X(C_FindObjects) X(C_FindObjectsFinal)              \
  X(C_EncryptInit) X(C_Encrypt) X(C_EncryptUpdate) X(C_EncryptFinal) X(C_DecryptInit)             \
  X(C_Decrypt) X(C_DecryptUpdate) X(C_DecryptFinal) X(C_DigestInit) X(C_Digest) X(C_DigestUpdate) \
  X(C_DigestKey) X(C_DigestFinal) X(C_SignInit) X(C_Sign) X(C_SignUpdate) X(C_SignFinal)          \
  X(C_SignRecoverInit) X(C_SignRecover) X(C_VerifyInit) X(C_Verify) X(C_VerifyUpdate)             \
  X(C_VerifyFinal) X(C_VerifyRecoverInit) X(C_VerifyRecover) X(C_DigestEncryptUpdate)             \
  X(C_DecryptDigestUpdate) X(C_SignEncryptUpdate) X(C_DecryptVerifyUpdate) X(C_GenerateKey)       \
  X(C_GenerateKeyPair) X(C_WrapKey) X(C_UnwrapKey) X(C_DeriveKey) X(C_SeedRandom)                 \
  X(C_GenerateRandom) X(C_GetFunctionStatus) X(C_CancelFunction) X(C_WaitForSlotEvent)

// Added by 3.0.
#define PKCS11_FUNCTIONS_3_0(X)                                                                   \
  X(C_GetInterfaceList) X(C_GetInterface) X(C_LoginUser) X(C_SessionCancel)                       \
  X(C_MessageEncryptInit) X(C_EncryptMessage) X(C_EncryptMessageBegin) X(C_EncryptMessageNext)    \
  X(C_MessageEncryptFinal) X(C_MessageDecryptInit) X(C_DecryptMessage) X(C_DecryptMessageBegin)   \
  X(C_DecryptMessageNext) X(C_MessageDecryptFinal) X(C_MessageSignInit) X(C_SignMessage)          \
  X(C_SignMessageBegin) X(C_SignMessageNext) X(C_MessageSignFinal) X(C_MessageVerifyInit)         \
  X(C_VerifyMessage) X(C_VerifyMessageBegin) X(C_VerifyMessageNext) X(C_MessageVerifyFinal)

// Added by 3.2.
#define PKCS11_FUNCTIONS_3_2(X)                                                                   \
  X(C_EncapsulateKey) X(C_DecapsulateKey) X(C_VerifySignatureInit) X(C_VerifySignature)           \
  X(C_VerifySignatureUpdate) X(C_VerifySignatureFinal) X(C_GetSessionValidationFlags)             \
  X(C_AsyncComplete) X(C_AsyncGetID) X(C_AsyncJoin) X(C_WrapKeyAuthenticated)                     \
  X(C_UnwrapKeyAuthenticated)

// Constants.
#define PKCS11_CONSTANTS(X)                                                                       \
  X(CK_FALSE) X(CK_TRUE) X(CK_INVALID_HANDLE) X(CK_EFFECTIVELY_INFINITE)                          \
  X(CK_UNAVAILABLE_INFORMATION) X(CKR_OK) X(CKR_CANCEL) X(CKR_HOST_MEMORY) X(CKR_SLOT_ID_INVALID) \
  X(CKR_GENERAL_ERROR) X(CKR_FUNCTION_FAILED) X(CKR_ARGUMENTS_BAD) X(CKR_NO_EVENT)                \
  X(CKR_NEED_TO_CREATE_THREADS) X(CKR_CANT_LOCK) X(CKR_ATTRIBUTE_READ_ONLY)                       \
  X(CKR_ATTRIBUTE_SENSITIVE) X(CKR_ATTRIBUTE_TYPE_INVALID) X(CKR_ATTRIBUTE_VALUE_INVALID)         \
  X(CKR_ACTION_PROHIBITED) X(CKR_DATA_INVALID) X(CKR_DATA_LEN_RANGE) X(CKR_DEVICE_ERROR)          \
  X(CKR_DEVICE_MEMORY) X(CKR_DEVICE_REMOVED) X(CKR_ENCRYPTED_DATA_INVALID)                        \
  X(CKR_ENCRYPTED_DATA_LEN_RANGE) X(CKR_AEAD_DECRYPT_FAILED) X(CKR_FUNCTION_CANCELED)             \
  X(CKR_FUNCTION_NOT_PARALLEL) X(CKR_FUNCTION_NOT_SUPPORTED) X(CKR_KEY_HANDLE_INVALID)            \
  X(CKR_KEY_SIZE_RANGE) X(CKR_KEY_TYPE_INCONSISTENT) X(CKR_KEY_NOT_NEEDED) X(CKR_KEY_CHANGED)     \
  X(CKR_KEY_NEEDED) X(CKR_KEY_INDIGESTIBLE) X(CKR_KEY_FUNCTION_NOT_PERMITTED)                     \
  X(CKR_KEY_NOT_WRAPPABLE) X(CKR_KEY_UNEXTRACTABLE) X(CKR_MECHANISM_INVALID)                      \
  X(CKR_MECHANISM_PARAM_INVALID) X(CKR_OBJECT_HANDLE_INVALID) X(CKR_OPERATION_ACTIVE)             \
  X(CKR_OPERATION_NOT_INITIALIZED) X(CKR_PIN_INCORRECT) X(CKR_PIN_INVALID) X(CKR_PIN_LEN_RANGE)   \
  X(CKR_PIN_EXPIRED) X(CKR_PIN_LOCKED) X(CKR_SESSION_CLOSED) X(CKR_SESSION_COUNT)                 \
  X(CKR_SESSION_HANDLE_INVALID) X(CKR_SESSION_PARALLEL_NOT_SUPPORTED) X(CKR_SESSION_READ_ONLY)    \
  X(CKR_SESSION_EXISTS) X(CKR_SESSION_READ_ONLY_EXISTS) X(CKR_SESSION_READ_WRITE_SO_EXISTS)       \
  X(CKR_SIGNATURE_INVALID) X(CKR_SIGNATURE_LEN_RANGE) X(CKR_TEMPLATE_INCOMPLETE)                  \
  X(CKR_TEMPLATE_INCONSISTENT) X(CKR_TOKEN_NOT_PRESENT) X(CKR_TOKEN_NOT_RECOGNIZED)               \
  X(CKR_TOKEN_WRITE_PROTECTED) X(CKR_UNWRAPPING_KEY_HANDLE_INVALID)                               \
  X(CKR_UNWRAPPING_KEY_SIZE_RANGE) X(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT)                        \
  X(CKR_USER_ALREADY_LOGGED_IN) X(CKR_USER_NOT_LOGGED_IN) X(CKR_USER_PIN_NOT_INITIALIZED)         \
  X(CKR_USER_TYPE_INVALID) X(CKR_USER_ANOTHER_ALREADY_LOGGED_IN) X(CKR_USER_TOO_MANY_TYPES)       \
  X(CKR_WRAPPED_KEY_INVALID) X(CKR_WRAPPED_KEY_LEN_RANGE) X(CKR_WRAPPING_KEY_HANDLE_INVALID)      \
  X(CKR_WRAPPING_KEY_SIZE_RANGE) X(CKR_WRAPPING_KEY_TYPE_INCONSISTENT)                            \
  X(CKR_RANDOM_SEED_NOT_SUPPORTED) X(CKR_RANDOM_NO_RNG) X(CKR_DOMAIN_PARAMS_INVALID)              \
  X(CKR_CURVE_NOT_SUPPORTED) X(CKR_BUFFER_TOO_SMALL) X(CKR_SAVED_STATE_INVALID)                   \
  X(CKR_INFORMATION_SENSITIVE) X(CKR_STATE_UNSAVEABLE) X(CKR_CRYPTOKI_NOT_INITIALIZED)            \
  X(CKR_CRYPTOKI_ALREADY_INITIALIZED) X(CKR_MUTEX_BAD) X(CKR_MUTEX_NOT_LOCKED)                    \
  X(CKR_NEW_PIN_MODE) X(CKR_NEXT_OTP) X(CKR_EXCEEDED_MAX_ITERATIONS) X(CKR_FIPS_SELF_TEST_FAILED) \
  X(CKR_LIBRARY_LOAD_FAILED) X(CKR_PIN_TOO_WEAK) X(CKR_PUBLIC_KEY_INVALID)                        \
  X(CKR_FUNCTION_REJECTED) X(CKR_TOKEN_RESOURCE_EXCEEDED) X(CKR_OPERATION_CANCEL_FAILED)          \
  X(CKR_KEY_EXHAUSTED) X(CKR_PENDING) X(CKR_SESSION_ASYNC_NOT_SUPPORTED)                          \
  X(CKR_SEED_RANDOM_REQUIRED) X(CKR_OPERATION_NOT_VALIDATED) X(CKR_TOKEN_NOT_INITIALIZED)         \
  X(CKR_PARAMETER_SET_NOT_SUPPORTED) X(CKR_VENDOR_DEFINED) X(CKN_SURRENDER) X(CKN_OTP_CHANGED)    \
  X(CKU_SO) X(CKU_USER) X(CKU_CONTEXT_SPECIFIC) X(CKS_LAST_VALIDATION_OK)                         \
  X(CKS_RO_PUBLIC_SESSION) X(CKS_RO_USER_FUNCTIONS) X(CKS_RW_PUBLIC_SESSION)                      \
  X(CKS_RW_USER_FUNCTIONS) X(CKS_RW_SO_FUNCTIONS) X(CKF_LIBRARY_CANT_CREATE_OS_THREADS)           \
  X(CKF_OS_LOCKING_OK) X(CKF_TOKEN_PRESENT) X(CKF_REMOVABLE_DEVICE) X(CKF_HW_SLOT) X(CKF_RNG)     \
  X(CKF_WRITE_PROTECTED) X(CKF_LOGIN_REQUIRED) X(CKF_USER_PIN_INITIALIZED)                        \
  X(CKF_RESTORE_KEY_NOT_NEEDED) X(CKF_CLOCK_ON_TOKEN) X(CKF_PROTECTED_AUTHENTICATION_PATH)        \
  X(CKF_DUAL_CRYPTO_OPERATIONS) X(CKF_TOKEN_INITIALIZED) X(CKF_SECONDARY_AUTHENTICATION)          \
  X(CKF_USER_PIN_COUNT_LOW) X(CKF_USER_PIN_FINAL_TRY) X(CKF_USER_PIN_LOCKED)                      \
  X(CKF_USER_PIN_TO_BE_CHANGED) X(CKF_SO_PIN_COUNT_LOW) X(CKF_SO_PIN_FINAL_TRY)                   \
  X(CKF_SO_PIN_LOCKED) X(CKF_SO_PIN_TO_BE_CHANGED) X(CKF_ERROR_STATE) X(CKF_SEED_RANDOM_REQUIRED) \
  X(CKF_ASYNC_SESSION_SUPPORTED) X(CKF_RW_SESSION) X(CKF_SERIAL_SESSION) X(CKF_ASYNC_SESSION)     \
  X(CKF_HW) X(CKF_MESSAGE_ENCRYPT) X(CKF_MESSAGE_DECRYPT) X(CKF_MESSAGE_SIGN)                     \
  X(CKF_MESSAGE_VERIFY) X(CKF_MULTI_MESSAGE) X(CKF_MULTI_MESSGE) X(CKF_FIND_OBJECTS)              \
  X(CKF_ENCRYPT) X(CKF_DECRYPT) X(CKF_DIGEST) X(CKF_SIGN) X(CKF_SIGN_RECOVER) X(CKF_VERIFY)       \
  X(CKF_VERIFY_RECOVER) X(CKF_GENERATE) X(CKF_GENERATE_KEY_PAIR) X(CKF_WRAP) X(CKF_UNWRAP)        \
  X(CKF_DERIVE) X(CKF_EC_F_P) X(CKF_EC_F_2M) X(CKF_EC_ECPARAMETERS) X(CKF_EC_NAMEDCURVE)          \
  X(CKF_EC_OID) X(CKF_EC_UNCOMPRESS) X(CKF_EC_COMPRESS) X(CKF_EC_CURVENAME) X(CKF_ENCAPSULATE)    \
  X(CKF_DECAPSULATE) X(CKF_EXTENSION) X(CKF_DONT_BLOCK) X(CKF_END_OF_MESSAGE)                     \
  X(CKF_INTERFACE_FORK_SAFE) X(CKF_NEXT_OTP) X(CKF_EXCLUDE_TIME) X(CKF_EXCLUDE_COUNTER)           \
  X(CKF_EXCLUDE_CHALLENGE) X(CKF_EXCLUDE_PIN) X(CKF_USER_FRIENDLY_OTP) X(CKF_HKDF_SALT_NULL)      \
  X(CKF_HKDF_SALT_DATA) X(CKF_HKDF_SALT_KEY) X(CKF_ARRAY_ATTRIBUTE) X(CKO_DATA)                   \
  X(CKO_CERTIFICATE) X(CKO_PUBLIC_KEY) X(CKO_PRIVATE_KEY) X(CKO_SECRET_KEY) X(CKO_HW_FEATURE)     \
  X(CKO_DOMAIN_PARAMETERS) X(CKO_MECHANISM) X(CKO_OTP_KEY) X(CKO_PROFILE) X(CKO_VALIDATION)       \
  X(CKO_TRUST) X(CKO_VENDOR_DEFINED) X(CKH_HEDGE_PREFERRED) X(CKH_HEDGE_REQUIRED)                 \
  X(CKH_DETERMINISTIC_REQUIRED) X(CKH_MONOTONIC_COUNTER) X(CKH_CLOCK) X(CKH_USER_INTERFACE)       \
  X(CKH_VENDOR_DEFINED) X(CKC_X_509) X(CKC_X_509_ATTR_CERT) X(CKC_WTLS) X(CKC_VENDOR_DEFINED)     \
  X(CK_CERTIFICATE_CATEGORY_UNSPECIFIED) X(CK_CERTIFICATE_CATEGORY_TOKEN_USER)                    \
  X(CK_CERTIFICATE_CATEGORY_AUTHORITY) X(CK_CERTIFICATE_CATEGORY_OTHER_ENTITY)                    \
  X(CK_SECURITY_DOMAIN_UNSPECIFIED) X(CK_SECURITY_DOMAIN_MANUFACTURER)                            \
  X(CK_SECURITY_DOMAIN_OPERATOR) X(CK_SECURITY_DOMAIN_THIRD_PARTY) X(CKT_TRUST_UNKNOWN)           \
  X(CKT_TRUSTED) X(CKT_TRUST_ANCHOR) X(CKT_NOT_TRUSTED) X(CKT_TRUST_MUST_VERIFY_TRUST)            \
  X(CKV_AUTHORITY_TYPE_UNSPECIFIED) X(CKV_AUTHORITY_TYPE_NIST_CMVP)                               \
  X(CKV_AUTHORITY_TYPE_COMMON_CRITERIA) X(CKV_TYPE_UNSPECIFIED) X(CKV_TYPE_SOFTWARE)              \
  X(CKV_TYPE_HARDWARE) X(CKV_TYPE_FIRMWARE) X(CKV_TYPE_HYBRID) X(CKK_RSA) X(CKK_DSA) X(CKK_DH)    \
  X(CKK_EC) X(CKK_ECDSA) X(CKK_X9_42_DH) X(CKK_KEA) X(CKK_GENERIC_SECRET) X(CKK_RC2) X(CKK_RC4)   \
  X(CKK_DES) X(CKK_DES2) X(CKK_DES3) X(CKK_CAST) X(CKK_CAST3) X(CKK_CAST5) X(CKK_CAST128)         \
  X(CKK_RC5) X(CKK_IDEA) X(CKK_SKIPJACK) X(CKK_BATON) X(CKK_JUNIPER) X(CKK_CDMF) X(CKK_AES)       \
  X(CKK_BLOWFISH) X(CKK_TWOFISH) X(CKK_SECURID) X(CKK_HOTP) X(CKK_ACTI) X(CKK_CAMELLIA)           \
  X(CKK_ARIA) X(CKK_MD5_HMAC) X(CKK_SHA_1_HMAC) X(CKK_RIPEMD128_HMAC) X(CKK_RIPEMD160_HMAC)       \
  X(CKK_SHA256_HMAC) X(CKK_SHA384_HMAC) X(CKK_SHA512_HMAC) X(CKK_SHA224_HMAC) X(CKK_SEED)         \
  X(CKK_GOSTR3410) X(CKK_GOSTR3411) X(CKK_GOST28147) X(CKK_CHACHA20) X(CKK_POLY1305)              \
  X(CKK_AES_XTS) X(CKK_SHA3_224_HMAC) X(CKK_SHA3_256_HMAC) X(CKK_SHA3_384_HMAC)                   \
  X(CKK_SHA3_512_HMAC) X(CKK_BLAKE2B_160_HMAC) X(CKK_BLAKE2B_256_HMAC) X(CKK_BLAKE2B_384_HMAC)    \
  X(CKK_BLAKE2B_512_HMAC) X(CKK_SALSA20) X(CKK_X2RATCHET) X(CKK_EC_EDWARDS) X(CKK_EC_MONTGOMERY)  \
  X(CKK_HKDF) X(CKK_SHA512_224_HMAC) X(CKK_SHA512_256_HMAC) X(CKK_SHA512_T_HMAC) X(CKK_HSS)       \
  X(CKK_XMSS) X(CKK_XMSSMT) X(CKK_ML_KEM) X(CKK_ML_DSA) X(CKK_SLH_DSA) X(CKK_VENDOR_DEFINED)      \
  X(CKA_CLASS) X(CKA_TOKEN) X(CKA_PRIVATE) X(CKA_LABEL) X(CKA_UNIQUE_ID) X(CKA_APPLICATION)       \
  X(CKA_VALUE) X(CKA_OBJECT_ID) X(CKA_CERTIFICATE_TYPE) X(CKA_ISSUER) X(CKA_SERIAL_NUMBER)        \
  X(CKA_AC_ISSUER) X(CKA_OWNER) X(CKA_ATTR_TYPES) X(CKA_TRUSTED) X(CKA_CERTIFICATE_CATEGORY)      \
  X(CKA_JAVA_MIDP_SECURITY_DOMAIN) X(CKA_URL) X(CKA_HASH_OF_SUBJECT_PUBLIC_KEY)                   \
  X(CKA_HASH_OF_ISSUER_PUBLIC_KEY) X(CKA_NAME_HASH_ALGORITHM) X(CKA_CHECK_VALUE) X(CKA_KEY_TYPE)  \
  X(CKA_SUBJECT) X(CKA_ID) X(CKA_SENSITIVE) X(CKA_ENCRYPT) X(CKA_DECRYPT) X(CKA_WRAP)             \
  X(CKA_UNWRAP) X(CKA_SIGN) X(CKA_SIGN_RECOVER) X(CKA_VERIFY) X(CKA_VERIFY_RECOVER) X(CKA_DERIVE) \
  X(CKA_START_DATE) X(CKA_END_DATE) X(CKA_MODULUS) X(CKA_MODULUS_BITS) X(CKA_PUBLIC_EXPONENT)     \
  X(CKA_PRIVATE_EXPONENT) X(CKA_PRIME_1) X(CKA_PRIME_2) X(CKA_EXPONENT_1) X(CKA_EXPONENT_2)       \
  X(CKA_COEFFICIENT) X(CKA_PUBLIC_KEY_INFO) X(CKA_PRIME) X(CKA_SUBPRIME) X(CKA_BASE)              \
  X(CKA_PRIME_BITS) X(CKA_SUBPRIME_BITS) X(CKA_SUB_PRIME_BITS) X(CKA_VALUE_BITS) X(CKA_VALUE_LEN) \
  X(CKA_EXTRACTABLE) X(CKA_LOCAL) X(CKA_NEVER_EXTRACTABLE) X(CKA_ALWAYS_SENSITIVE)                \
  X(CKA_KEY_GEN_MECHANISM) X(CKA_MODIFIABLE) X(CKA_COPYABLE) X(CKA_DESTROYABLE)                   \
  X(CKA_ECDSA_PARAMS) X(CKA_EC_PARAMS) X(CKA_EC_POINT) X(CKA_SECONDARY_AUTH)                      \
  X(CKA_AUTH_PIN_FLAGS) X(CKA_ALWAYS_AUTHENTICATE) X(CKA_WRAP_WITH_TRUSTED) X(CKA_OTP_FORMAT)     \
  X(CKA_OTP_LENGTH) X(CKA_OTP_TIME_INTERVAL) X(CKA_OTP_USER_FRIENDLY_MODE)                        \
  X(CKA_OTP_CHALLENGE_REQUIREMENT) X(CKA_OTP_TIME_REQUIREMENT) X(CKA_OTP_COUNTER_REQUIREMENT)     \
  X(CKA_OTP_PIN_REQUIREMENT) X(CKA_OTP_USER_IDENTIFIER) X(CKA_OTP_SERVICE_IDENTIFIER)             \
  X(CKA_OTP_SERVICE_LOGO) X(CKA_OTP_SERVICE_LOGO_TYPE) X(CKA_OTP_COUNTER) X(CKA_OTP_TIME)         \
  X(CKA_GOSTR3410_PARAMS) X(CKA_GOSTR3411_PARAMS) X(CKA_GOST28147_PARAMS) X(CKA_HW_FEATURE_TYPE)  \
  X(CKA_RESET_ON_INIT) X(CKA_HAS_RESET) X(CKA_PIXEL_X) X(CKA_PIXEL_Y) X(CKA_RESOLUTION)           \
  X(CKA_CHAR_ROWS) X(CKA_CHAR_COLUMNS) X(CKA_COLOR) X(CKA_BITS_PER_PIXEL) X(CKA_CHAR_SETS)        \
  X(CKA_ENCODING_METHODS) X(CKA_MIME_TYPES) X(CKA_MECHANISM_TYPE) X(CKA_REQUIRED_CMS_ATTRIBUTES)  \
  X(CKA_DEFAULT_CMS_ATTRIBUTES) X(CKA_SUPPORTED_CMS_ATTRIBUTES) X(CKA_PROFILE_ID)                 \
  X(CKA_X2RATCHET_BAG) X(CKA_X2RATCHET_BAGSIZE) X(CKA_X2RATCHET_BOBS1STMSG) X(CKA_X2RATCHET_CKR)  \
  X(CKA_X2RATCHET_CKS) X(CKA_X2RATCHET_DHP) X(CKA_X2RATCHET_DHR) X(CKA_X2RATCHET_DHS)             \
  X(CKA_X2RATCHET_HKR) X(CKA_X2RATCHET_HKS) X(CKA_X2RATCHET_ISALICE) X(CKA_X2RATCHET_NHKR)        \
  X(CKA_X2RATCHET_NHKS) X(CKA_X2RATCHET_NR) X(CKA_X2RATCHET_NS) X(CKA_X2RATCHET_PNS)              \
  X(CKA_X2RATCHET_RK) X(CKA_HSS_LEVELS) X(CKA_HSS_LMS_TYPE) X(CKA_HSS_LMOTS_TYPE)                 \
  X(CKA_HSS_LMS_TYPES) X(CKA_HSS_LMOTS_TYPES) X(CKA_HSS_KEYS_REMAINING) X(CKA_PARAMETER_SET)      \
  X(CKA_OBJECT_VALIDATION_FLAGS) X(CKA_VALIDATION_TYPE) X(CKA_VALIDATION_VERSION)                 \
  X(CKA_VALIDATION_LEVEL) X(CKA_VALIDATION_MODULE_ID) X(CKA_VALIDATION_FLAG)                      \
  X(CKA_VALIDATION_AUTHORITY_TYPE) X(CKA_VALIDATION_COUNTRY)                                      \
  X(CKA_VALIDATION_CERTIFICATE_IDENTIFIER) X(CKA_VALIDATION_CERTIFICATE_URI)                      \
  X(CKA_VALIDATION_VENDOR_URI) X(CKA_VALIDATION_PROFILE) X(CKA_ENCAPSULATE_TEMPLATE)              \
  X(CKA_DECAPSULATE_TEMPLATE) X(CKA_TRUST_SERVER_AUTH) X(CKA_TRUST_CLIENT_AUTH)                   \
  X(CKA_TRUST_CODE_SIGNING) X(CKA_TRUST_EMAIL_PROTECTION) X(CKA_TRUST_IPSEC_IKE)                  \
  X(CKA_TRUST_TIME_STAMPING) X(CKA_TRUST_OCSP_SIGNING) X(CKA_ENCAPSULATE) X(CKA_DECAPSULATE)      \
  X(CKA_HASH_OF_CERTIFICATE) X(CKA_PUBLIC_CRC64_VALUE) X(CKA_SEED) X(CKA_WRAP_TEMPLATE)           \
  X(CKA_UNWRAP_TEMPLATE) X(CKA_DERIVE_TEMPLATE) X(CKA_ALLOWED_MECHANISMS) X(CKA_VENDOR_DEFINED)   \
  X(CKG_MGF1_SHA1) X(CKG_MGF1_SHA256) X(CKG_MGF1_SHA384) X(CKG_MGF1_SHA512) X(CKG_MGF1_SHA224)    \
  X(CKG_MGF1_SHA3_224) X(CKG_MGF1_SHA3_256) X(CKG_MGF1_SHA3_384) X(CKG_MGF1_SHA3_512)             \
  X(CKG_NO_GENERATE) X(CKG_GENERATE) X(CKG_GENERATE_COUNTER) X(CKG_GENERATE_RANDOM)               \
  X(CKG_GENERATE_COUNTER_XOR) X(CKD_NULL) X(CKD_SHA1_KDF) X(CKD_SHA1_KDF_ASN1)                    \
  X(CKD_SHA1_KDF_CONCATENATE) X(CKD_SHA224_KDF) X(CKD_SHA256_KDF) X(CKD_SHA384_KDF)               \
  X(CKD_SHA512_KDF) X(CKD_CPDIVERSIFY_KDF) X(CKD_SHA3_224_KDF) X(CKD_SHA3_256_KDF)                \
  X(CKD_SHA3_384_KDF) X(CKD_SHA3_512_KDF) X(CKD_SHA1_KDF_SP800) X(CKD_SHA224_KDF_SP800)           \
  X(CKD_SHA256_KDF_SP800) X(CKD_SHA384_KDF_SP800) X(CKD_SHA512_KDF_SP800)                         \
  X(CKD_SHA3_224_KDF_SP800) X(CKD_SHA3_256_KDF_SP800) X(CKD_SHA3_384_KDF_SP800)                   \
  X(CKD_SHA3_512_KDF_SP800) X(CKD_BLAKE2B_160_KDF) X(CKD_BLAKE2B_256_KDF) X(CKD_BLAKE2B_384_KDF)  \
  X(CKD_BLAKE2B_512_KDF) X(CKZ_DATA_SPECIFIED) X(CKZ_SALT_SPECIFIED) X(CKP_PKCS5_PBKD2_HMAC_SHA1) \
  X(CKP_PKCS5_PBKD2_HMAC_GOSTR3411) X(CKP_PKCS5_PBKD2_HMAC_SHA224) X(CKP_PKCS5_PBKD2_HMAC_SHA256) \
  X(CKP_PKCS5_PBKD2_HMAC_SHA384) X(CKP_PKCS5_PBKD2_HMAC_SHA512)                                   \
  X(CKP_PKCS5_PBKD2_HMAC_SHA512_224) X(CKP_PKCS5_PBKD2_HMAC_SHA512_256) X(CKP_ML_DSA_44)          \
  X(CKP_ML_DSA_65) X(CKP_ML_DSA_87) X(CKP_SLH_DSA_SHA2_128S) X(CKP_SLH_DSA_SHAKE_128S)            \
  X(CKP_SLH_DSA_SHA2_128F) X(CKP_SLH_DSA_SHAKE_128F) X(CKP_SLH_DSA_SHA2_192S)                     \
  X(CKP_SLH_DSA_SHAKE_192S) X(CKP_SLH_DSA_SHA2_192F) X(CKP_SLH_DSA_SHAKE_192F)                    \
  X(CKP_SLH_DSA_SHA2_256S) X(CKP_SLH_DSA_SHAKE_256S) X(CKP_SLH_DSA_SHA2_256F)                     \
  X(CKP_SLH_DSA_SHAKE_256F) X(CKP_ML_KEM_512) X(CKP_ML_KEM_768) X(CKP_ML_KEM_1024)                \
  X(CKP_INVALID_ID) X(CKP_BASELINE_PROVIDER) X(CKP_EXTENDED_PROVIDER) X(CKP_AUTHENTICATION_TOKEN) \
  X(CKP_PUBLIC_CERTIFICATES_TOKEN) X(CKP_COMPLETE_PROVIDER) X(CKP_HKDF_TLS_TOKEN)                 \
  X(CKP_VENDOR_DEFINED) X(CK_OTP_FORMAT_DECIMAL) X(CK_OTP_FORMAT_HEXADECIMAL)                     \
  X(CK_OTP_FORMAT_ALPHANUMERIC) X(CK_OTP_FORMAT_BINARY) X(CK_OTP_PARAM_IGNORED)                   \
  X(CK_OTP_PARAM_OPTIONAL) X(CK_OTP_PARAM_MANDATORY) X(CK_OTP_VALUE) X(CK_OTP_PIN)                \
  X(CK_OTP_CHALLENGE) X(CK_OTP_TIME) X(CK_OTP_COUNTER) X(CK_OTP_FLAGS) X(CK_OTP_OUTPUT_LENGTH)    \
  X(CK_OTP_OUTPUT_FORMAT) X(CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS)                                  \
  X(CK_SP800_108_DKM_LENGTH_SUM_OF_SEGMENTS) X(CK_SP800_108_ITERATION_VARIABLE)                   \
  X(CK_SP800_108_OPTIONAL_COUNTER) X(CK_SP800_108_COUNTER) X(CK_SP800_108_DKM_LENGTH)             \
  X(CK_SP800_108_BYTE_ARRAY) X(CK_SP800_108_KEY_HANDLE) X(CKM_RSA_PKCS_KEY_PAIR_GEN)              \
  X(CKM_RSA_PKCS) X(CKM_RSA_9796) X(CKM_RSA_X_509) X(CKM_MD2_RSA_PKCS) X(CKM_MD5_RSA_PKCS)        \
  X(CKM_SHA1_RSA_PKCS) X(CKM_RIPEMD128_RSA_PKCS) X(CKM_RIPEMD160_RSA_PKCS) X(CKM_RSA_PKCS_OAEP)   \
  X(CKM_RSA_X9_31_KEY_PAIR_GEN) X(CKM_RSA_X9_31) X(CKM_SHA1_RSA_X9_31) X(CKM_RSA_PKCS_PSS)        \
  X(CKM_SHA1_RSA_PKCS_PSS) X(CKM_ML_KEM_KEY_PAIR_GEN) X(CKM_DSA_KEY_PAIR_GEN) X(CKM_DSA)          \
  X(CKM_DSA_SHA1) X(CKM_DSA_SHA224) X(CKM_DSA_SHA256) X(CKM_DSA_SHA384) X(CKM_DSA_SHA512)         \
  X(CKM_ML_KEM) X(CKM_DSA_SHA3_224) X(CKM_DSA_SHA3_256) X(CKM_DSA_SHA3_384) X(CKM_DSA_SHA3_512)   \
  X(CKM_ML_DSA_KEY_PAIR_GEN) X(CKM_ML_DSA) X(CKM_HASH_ML_DSA) X(CKM_DH_PKCS_KEY_PAIR_GEN)         \
  X(CKM_DH_PKCS_DERIVE) X(CKM_HASH_ML_DSA_SHA224) X(CKM_HASH_ML_DSA_SHA256)                       \
  X(CKM_HASH_ML_DSA_SHA384) X(CKM_HASH_ML_DSA_SHA512) X(CKM_HASH_ML_DSA_SHA3_224)                 \
  X(CKM_HASH_ML_DSA_SHA3_256) X(CKM_HASH_ML_DSA_SHA3_384) X(CKM_HASH_ML_DSA_SHA3_512)             \
  X(CKM_HASH_ML_DSA_SHAKE128) X(CKM_HASH_ML_DSA_SHAKE256) X(CKM_SLH_DSA_KEY_PAIR_GEN)             \
  X(CKM_SLH_DSA) X(CKM_X9_42_DH_KEY_PAIR_GEN) X(CKM_X9_42_DH_DERIVE)                              \
  X(CKM_X9_42_DH_HYBRID_DERIVE) X(CKM_X9_42_MQV_DERIVE) X(CKM_HASH_SLH_DSA)                       \
  X(CKM_HASH_SLH_DSA_SHA224) X(CKM_HASH_SLH_DSA_SHA256) X(CKM_HASH_SLH_DSA_SHA384)                \
  X(CKM_HASH_SLH_DSA_SHA512) X(CKM_HASH_SLH_DSA_SHA3_224) X(CKM_HASH_SLH_DSA_SHA3_256)            \
  X(CKM_HASH_SLH_DSA_SHA3_384) X(CKM_HASH_SLH_DSA_SHA3_512) X(CKM_HASH_SLH_DSA_SHAKE128)          \
  X(CKM_HASH_SLH_DSA_SHAKE256) X(CKM_SHA256_RSA_PKCS) X(CKM_SHA384_RSA_PKCS)                      \
  X(CKM_SHA512_RSA_PKCS) X(CKM_SHA256_RSA_PKCS_PSS) X(CKM_SHA384_RSA_PKCS_PSS)                    \
  X(CKM_SHA512_RSA_PKCS_PSS) X(CKM_SHA224_RSA_PKCS) X(CKM_SHA224_RSA_PKCS_PSS) X(CKM_SHA512_224)  \
  X(CKM_SHA512_224_HMAC) X(CKM_SHA512_224_HMAC_GENERAL) X(CKM_SHA512_224_KEY_DERIVATION)          \
  X(CKM_SHA512_256) X(CKM_SHA512_256_HMAC) X(CKM_SHA512_256_HMAC_GENERAL)                         \
  X(CKM_SHA512_256_KEY_DERIVATION) X(CKM_SHA512_T) X(CKM_SHA512_T_HMAC)                           \
  X(CKM_SHA512_T_HMAC_GENERAL) X(CKM_SHA512_T_KEY_DERIVATION)                                     \
  X(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE) X(CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH)              \
  X(CKM_SHA3_256_RSA_PKCS) X(CKM_SHA3_384_RSA_PKCS) X(CKM_SHA3_512_RSA_PKCS)                      \
  X(CKM_SHA3_256_RSA_PKCS_PSS) X(CKM_SHA3_384_RSA_PKCS_PSS) X(CKM_SHA3_512_RSA_PKCS_PSS)          \
  X(CKM_SHA3_224_RSA_PKCS) X(CKM_SHA3_224_RSA_PKCS_PSS) X(CKM_RC2_KEY_GEN) X(CKM_RC2_ECB)         \
  X(CKM_RC2_CBC) X(CKM_RC2_MAC) X(CKM_RC2_MAC_GENERAL) X(CKM_RC2_CBC_PAD) X(CKM_RC4_KEY_GEN)      \
  X(CKM_RC4) X(CKM_DES_KEY_GEN) X(CKM_DES_ECB) X(CKM_DES_CBC) X(CKM_DES_MAC)                      \
  X(CKM_DES_MAC_GENERAL) X(CKM_DES_CBC_PAD) X(CKM_DES2_KEY_GEN) X(CKM_DES3_KEY_GEN)               \
  X(CKM_DES3_ECB) X(CKM_DES3_CBC) X(CKM_DES3_MAC) X(CKM_DES3_MAC_GENERAL) X(CKM_DES3_CBC_PAD)     \
  X(CKM_DES3_CMAC_GENERAL) X(CKM_DES3_CMAC) X(CKM_CDMF_KEY_GEN) X(CKM_CDMF_ECB) X(CKM_CDMF_CBC)   \
  X(CKM_CDMF_MAC) X(CKM_CDMF_MAC_GENERAL) X(CKM_CDMF_CBC_PAD) X(CKM_DES_OFB64) X(CKM_DES_OFB8)    \
  X(CKM_DES_CFB64) X(CKM_DES_CFB8) X(CKM_MD2) X(CKM_MD2_HMAC) X(CKM_MD2_HMAC_GENERAL) X(CKM_MD5)  \
  X(CKM_MD5_HMAC) X(CKM_MD5_HMAC_GENERAL) X(CKM_SHA_1) X(CKM_SHA_1_HMAC)                          \
  X(CKM_SHA_1_HMAC_GENERAL) X(CKM_RIPEMD128) X(CKM_RIPEMD128_HMAC) X(CKM_RIPEMD128_HMAC_GENERAL)  \
  X(CKM_RIPEMD160) X(CKM_RIPEMD160_HMAC) X(CKM_RIPEMD160_HMAC_GENERAL) X(CKM_SHA256)              \
  X(CKM_SHA256_HMAC) X(CKM_SHA256_HMAC_GENERAL) X(CKM_SHA224) X(CKM_SHA224_HMAC)                  \
  X(CKM_SHA224_HMAC_GENERAL) X(CKM_SHA384) X(CKM_SHA384_HMAC) X(CKM_SHA384_HMAC_GENERAL)          \
  X(CKM_SHA512) X(CKM_SHA512_HMAC) X(CKM_SHA512_HMAC_GENERAL) X(CKM_SECURID_KEY_GEN)              \
  X(CKM_SECURID) X(CKM_HOTP_KEY_GEN) X(CKM_HOTP) X(CKM_ACTI) X(CKM_ACTI_KEY_GEN) X(CKM_SHA3_256)  \
  X(CKM_SHA3_256_HMAC) X(CKM_SHA3_256_HMAC_GENERAL) X(CKM_SHA3_256_KEY_GEN) X(CKM_SHA3_224)       \
  X(CKM_SHA3_224_HMAC) X(CKM_SHA3_224_HMAC_GENERAL) X(CKM_SHA3_224_KEY_GEN) X(CKM_SHA3_384)       \
  X(CKM_SHA3_384_HMAC) X(CKM_SHA3_384_HMAC_GENERAL) X(CKM_SHA3_384_KEY_GEN) X(CKM_SHA3_512)       \
  X(CKM_SHA3_512_HMAC) X(CKM_SHA3_512_HMAC_GENERAL) X(CKM_SHA3_512_KEY_GEN) X(CKM_CAST_KEY_GEN)   \
  X(CKM_CAST_ECB) X(CKM_CAST_CBC) X(CKM_CAST_MAC) X(CKM_CAST_MAC_GENERAL) X(CKM_CAST_CBC_PAD)     \
  X(CKM_CAST3_KEY_GEN) X(CKM_CAST3_ECB) X(CKM_CAST3_CBC) X(CKM_CAST3_MAC)                         \
  X(CKM_CAST3_MAC_GENERAL) X(CKM_CAST3_CBC_PAD) X(CKM_CAST5_KEY_GEN) X(CKM_CAST128_KEY_GEN)       \
  X(CKM_CAST5_ECB) X(CKM_CAST128_ECB) X(CKM_CAST5_CBC) X(CKM_CAST128_CBC) X(CKM_CAST5_MAC)        \
  X(CKM_CAST128_MAC) X(CKM_CAST5_MAC_GENERAL) X(CKM_CAST128_MAC_GENERAL) X(CKM_CAST5_CBC_PAD)     \
  X(CKM_CAST128_CBC_PAD) X(CKM_RC5_KEY_GEN) X(CKM_RC5_ECB) X(CKM_RC5_CBC) X(CKM_RC5_MAC)          \
  X(CKM_RC5_MAC_GENERAL) X(CKM_RC5_CBC_PAD) X(CKM_IDEA_KEY_GEN) X(CKM_IDEA_ECB) X(CKM_IDEA_CBC)   \
  X(CKM_IDEA_MAC) X(CKM_IDEA_MAC_GENERAL) X(CKM_IDEA_CBC_PAD) X(CKM_GENERIC_SECRET_KEY_GEN)       \
  X(CKM_CONCATENATE_BASE_AND_KEY) X(CKM_CONCATENATE_BASE_AND_DATA)                                \
  X(CKM_CONCATENATE_DATA_AND_BASE) X(CKM_XOR_BASE_AND_DATA) X(CKM_EXTRACT_KEY_FROM_KEY)           \
  X(CKM_SSL3_PRE_MASTER_KEY_GEN) X(CKM_SSL3_MASTER_KEY_DERIVE) X(CKM_SSL3_KEY_AND_MAC_DERIVE)     \
  X(CKM_SSL3_MASTER_KEY_DERIVE_DH) X(CKM_TLS_PRE_MASTER_KEY_GEN) X(CKM_TLS_MASTER_KEY_DERIVE)     \
  X(CKM_TLS_KEY_AND_MAC_DERIVE) X(CKM_TLS_MASTER_KEY_DERIVE_DH) X(CKM_TLS_PRF)                    \
  X(CKM_SSL3_MD5_MAC) X(CKM_SSL3_SHA1_MAC) X(CKM_MD5_KEY_DERIVATION) X(CKM_MD2_KEY_DERIVATION)    \
  X(CKM_SHA1_KEY_DERIVATION) X(CKM_SHA256_KEY_DERIVATION) X(CKM_SHA384_KEY_DERIVATION)            \
  X(CKM_SHA512_KEY_DERIVATION) X(CKM_SHA224_KEY_DERIVATION) X(CKM_SHA3_256_KEY_DERIVATION)        \
  X(CKM_SHA3_256_KEY_DERIVE) X(CKM_SHA3_224_KEY_DERIVATION) X(CKM_SHA3_224_KEY_DERIVE)            \
  X(CKM_SHA3_384_KEY_DERIVATION) X(CKM_SHA3_384_KEY_DERIVE) X(CKM_SHA3_512_KEY_DERIVATION)        \
  X(CKM_SHA3_512_KEY_DERIVE) X(CKM_SHAKE_128_KEY_DERIVATION) X(CKM_SHAKE_128_KEY_DERIVE)          \
  X(CKM_SHAKE_256_KEY_DERIVATION) X(CKM_SHAKE_256_KEY_DERIVE) X(CKM_PBE_MD2_DES_CBC)              \
  X(CKM_PBE_MD5_DES_CBC) X(CKM_PBE_MD5_CAST_CBC) X(CKM_PBE_MD5_CAST3_CBC)                         \
  X(CKM_PBE_MD5_CAST5_CBC) X(CKM_PBE_MD5_CAST128_CBC) X(CKM_PBE_SHA1_CAST5_CBC)                   \
  X(CKM_PBE_SHA1_CAST128_CBC) X(CKM_PBE_SHA1_RC4_128) X(CKM_PBE_SHA1_RC4_40)                      \
  X(CKM_PBE_SHA1_DES3_EDE_CBC) X(CKM_PBE_SHA1_DES2_EDE_CBC) X(CKM_PBE_SHA1_RC2_128_CBC)           \
  X(CKM_PBE_SHA1_RC2_40_CBC) X(CKM_SP800_108_COUNTER_KDF) X(CKM_SP800_108_FEEDBACK_KDF)           \
  X(CKM_SP800_108_DOUBLE_PIPELINE_KDF) X(CKM_PKCS5_PBKD2) X(CKM_PBA_SHA1_WITH_SHA1_HMAC)          \
  X(CKM_WTLS_PRE_MASTER_KEY_GEN) X(CKM_WTLS_MASTER_KEY_DERIVE)                                    \
  X(CKM_WTLS_MASTER_KEY_DERIVE_DH_ECC) X(CKM_WTLS_PRF) X(CKM_WTLS_SERVER_KEY_AND_MAC_DERIVE)      \
  X(CKM_WTLS_CLIENT_KEY_AND_MAC_DERIVE) X(CKM_TLS10_MAC_SERVER) X(CKM_TLS10_MAC_CLIENT)           \
  X(CKM_TLS12_MAC) X(CKM_TLS12_KDF) X(CKM_TLS12_MASTER_KEY_DERIVE)                                \
  X(CKM_TLS12_KEY_AND_MAC_DERIVE) X(CKM_TLS12_MASTER_KEY_DERIVE_DH) X(CKM_TLS12_KEY_SAFE_DERIVE)  \
  X(CKM_TLS_MAC) X(CKM_TLS_KDF) X(CKM_KEY_WRAP_LYNKS) X(CKM_KEY_WRAP_SET_OAEP) X(CKM_CMS_SIG)     \
  X(CKM_KIP_DERIVE) X(CKM_KIP_WRAP) X(CKM_KIP_MAC) X(CKM_CAMELLIA_KEY_GEN) X(CKM_CAMELLIA_ECB)    \
  X(CKM_CAMELLIA_CBC) X(CKM_CAMELLIA_MAC) X(CKM_CAMELLIA_MAC_GENERAL) X(CKM_CAMELLIA_CBC_PAD)     \
  X(CKM_CAMELLIA_ECB_ENCRYPT_DATA) X(CKM_CAMELLIA_CBC_ENCRYPT_DATA) X(CKM_CAMELLIA_CTR)           \
  X(CKM_ARIA_KEY_GEN) X(CKM_ARIA_ECB) X(CKM_ARIA_CBC) X(CKM_ARIA_MAC) X(CKM_ARIA_MAC_GENERAL)     \
  X(CKM_ARIA_CBC_PAD) X(CKM_ARIA_ECB_ENCRYPT_DATA) X(CKM_ARIA_CBC_ENCRYPT_DATA)                   \
  X(CKM_SEED_KEY_GEN) X(CKM_SEED_ECB) X(CKM_SEED_CBC) X(CKM_SEED_MAC) X(CKM_SEED_MAC_GENERAL)     \
  X(CKM_SEED_CBC_PAD) X(CKM_SEED_ECB_ENCRYPT_DATA) X(CKM_SEED_CBC_ENCRYPT_DATA)                   \
  X(CKM_SKIPJACK_KEY_GEN) X(CKM_SKIPJACK_ECB64) X(CKM_SKIPJACK_CBC64) X(CKM_SKIPJACK_OFB64)       \
  X(CKM_SKIPJACK_CFB64) X(CKM_SKIPJACK_CFB32) X(CKM_SKIPJACK_CFB16) X(CKM_SKIPJACK_CFB8)          \
  X(CKM_SKIPJACK_WRAP) X(CKM_SKIPJACK_PRIVATE_WRAP) X(CKM_SKIPJACK_RELAYX)                        \
  X(CKM_KEA_KEY_PAIR_GEN) X(CKM_KEA_KEY_DERIVE) X(CKM_KEA_DERIVE) X(CKM_FORTEZZA_TIMESTAMP)       \
  X(CKM_BATON_KEY_GEN) X(CKM_BATON_ECB128) X(CKM_BATON_ECB96) X(CKM_BATON_CBC128)                 \
  X(CKM_BATON_COUNTER) X(CKM_BATON_SHUFFLE) X(CKM_BATON_WRAP) X(CKM_ECDSA_KEY_PAIR_GEN)           \
  X(CKM_EC_KEY_PAIR_GEN) X(CKM_ECDSA) X(CKM_ECDSA_SHA1) X(CKM_ECDSA_SHA224) X(CKM_ECDSA_SHA256)   \
  X(CKM_ECDSA_SHA384) X(CKM_ECDSA_SHA512) X(CKM_ECDSA_SHA3_224) X(CKM_ECDSA_SHA3_256)             \
  X(CKM_ECDSA_SHA3_384) X(CKM_ECDSA_SHA3_512) X(CKM_ECDH1_DERIVE) X(CKM_ECDH1_COFACTOR_DERIVE)    \
  X(CKM_ECMQV_DERIVE) X(CKM_ECDH_AES_KEY_WRAP) X(CKM_RSA_AES_KEY_WRAP)                            \
  X(CKM_EC_EDWARDS_KEY_PAIR_GEN) X(CKM_EC_MONTGOMERY_KEY_PAIR_GEN) X(CKM_EDDSA)                   \
  X(CKM_JUNIPER_KEY_GEN) X(CKM_JUNIPER_ECB128) X(CKM_JUNIPER_CBC128) X(CKM_JUNIPER_COUNTER)       \
  X(CKM_JUNIPER_SHUFFLE) X(CKM_JUNIPER_WRAP) X(CKM_FASTHASH) X(CKM_AES_XTS)                       \
  X(CKM_AES_XTS_KEY_GEN) X(CKM_AES_KEY_GEN) X(CKM_AES_ECB) X(CKM_AES_CBC) X(CKM_AES_MAC)          \
  X(CKM_AES_MAC_GENERAL) X(CKM_AES_CBC_PAD) X(CKM_AES_CTR) X(CKM_AES_GCM) X(CKM_AES_CCM)          \
  X(CKM_AES_CTS) X(CKM_AES_CMAC) X(CKM_AES_CMAC_GENERAL) X(CKM_AES_XCBC_MAC)                      \
  X(CKM_AES_XCBC_MAC_96) X(CKM_AES_GMAC) X(CKM_BLOWFISH_KEY_GEN) X(CKM_BLOWFISH_CBC)              \
  X(CKM_TWOFISH_KEY_GEN) X(CKM_TWOFISH_CBC) X(CKM_BLOWFISH_CBC_PAD) X(CKM_TWOFISH_CBC_PAD)        \
  X(CKM_DES_ECB_ENCRYPT_DATA) X(CKM_DES_CBC_ENCRYPT_DATA) X(CKM_DES3_ECB_ENCRYPT_DATA)            \
  X(CKM_DES3_CBC_ENCRYPT_DATA) X(CKM_AES_ECB_ENCRYPT_DATA) X(CKM_AES_CBC_ENCRYPT_DATA)            \
  X(CKM_GOSTR3410_KEY_PAIR_GEN) X(CKM_GOSTR3410) X(CKM_GOSTR3410_WITH_GOSTR3411)                  \
  X(CKM_GOSTR3410_KEY_WRAP) X(CKM_GOSTR3410_DERIVE) X(CKM_GOSTR3411) X(CKM_GOSTR3411_HMAC)        \
  X(CKM_GOST28147_KEY_GEN) X(CKM_GOST28147_ECB) X(CKM_GOST28147) X(CKM_GOST28147_MAC)             \
  X(CKM_GOST28147_KEY_WRAP) X(CKM_CHACHA20_KEY_GEN) X(CKM_CHACHA20) X(CKM_POLY1305_KEY_GEN)       \
  X(CKM_POLY1305) X(CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS) X(CKM_DSA_PARAMETER_GEN)                    \
  X(CKM_DH_PKCS_PARAMETER_GEN) X(CKM_X9_42_DH_PARAMETER_GEN)                                      \
  X(CKM_DSA_PROBABLISTIC_PARAMETER_GEN) X(CKM_DSA_PROBABILISTIC_PARAMETER_GEN)                    \
  X(CKM_DSA_SHAWE_TAYLOR_PARAMETER_GEN) X(CKM_DSA_FIPS_G_GEN) X(CKM_AES_OFB) X(CKM_AES_CFB64)     \
  X(CKM_AES_CFB8) X(CKM_AES_CFB128) X(CKM_AES_CFB1) X(CKM_AES_KEY_WRAP) X(CKM_AES_KEY_WRAP_PAD)   \
  X(CKM_AES_KEY_WRAP_KWP) X(CKM_AES_KEY_WRAP_PKCS7) X(CKM_RSA_PKCS_TPM_1_1)                       \
  X(CKM_RSA_PKCS_OAEP_TPM_1_1) X(CKM_SHA_1_KEY_GEN) X(CKM_SHA224_KEY_GEN) X(CKM_SHA256_KEY_GEN)   \
  X(CKM_SHA384_KEY_GEN) X(CKM_SHA512_KEY_GEN) X(CKM_SHA512_224_KEY_GEN) X(CKM_SHA512_256_KEY_GEN) \
  X(CKM_SHA512_T_KEY_GEN) X(CKM_NULL) X(CKM_BLAKE2B_160) X(CKM_BLAKE2B_160_HMAC)                  \
  X(CKM_BLAKE2B_160_HMAC_GENERAL) X(CKM_BLAKE2B_160_KEY_DERIVE) X(CKM_BLAKE2B_160_KEY_GEN)        \
  X(CKM_BLAKE2B_256) X(CKM_BLAKE2B_256_HMAC) X(CKM_BLAKE2B_256_HMAC_GENERAL)                      \
  X(CKM_BLAKE2B_256_KEY_DERIVE) X(CKM_BLAKE2B_256_KEY_GEN) X(CKM_BLAKE2B_384)                     \
  X(CKM_BLAKE2B_384_HMAC) X(CKM_BLAKE2B_384_HMAC_GENERAL) X(CKM_BLAKE2B_384_KEY_DERIVE)           \
  X(CKM_BLAKE2B_384_KEY_GEN) X(CKM_BLAKE2B_512) X(CKM_BLAKE2B_512_HMAC)                           \
  X(CKM_BLAKE2B_512_HMAC_GENERAL) X(CKM_BLAKE2B_512_KEY_DERIVE) X(CKM_BLAKE2B_512_KEY_GEN)        \
  X(CKM_SALSA20) X(CKM_CHACHA20_POLY1305) X(CKM_SALSA20_POLY1305) X(CKM_X3DH_INITIALIZE)          \
  X(CKM_X3DH_RESPOND) X(CKM_X2RATCHET_INITIALIZE) X(CKM_X2RATCHET_RESPOND)                        \
  X(CKM_X2RATCHET_ENCRYPT) X(CKM_X2RATCHET_DECRYPT) X(CKM_XEDDSA) X(CKM_HKDF_DERIVE)              \
  X(CKM_HKDF_DATA) X(CKM_HKDF_KEY_GEN) X(CKM_SALSA20_KEY_GEN) X(CKM_IKE2_PRF_PLUS_DERIVE)         \
  X(CKM_IKE_PRF_DERIVE) X(CKM_IKE1_PRF_DERIVE) X(CKM_IKE1_EXTENDED_DERIVE)                        \
  X(CKM_HSS_KEY_PAIR_GEN) X(CKM_HSS) X(CKM_XMSS_KEY_PAIR_GEN) X(CKM_XMSSMT_KEY_PAIR_GEN)          \
  X(CKM_XMSS) X(CKM_XMSSMT) X(CKM_ECDH_X_AES_KEY_WRAP) X(CKM_ECDH_COF_AES_KEY_WRAP)               \
  X(CKM_PUB_KEY_FROM_PRIV_KEY) X(CKM_VENDOR_DEFINED)

// clang-format on
