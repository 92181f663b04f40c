// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/params.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace bulkhead::ipc {
namespace {

using enum Direction;

struct Where {
  const char* name;
  std::uint16_t offset;
  std::uint16_t size;
};

constexpr Where at(const char* name, std::size_t offset, std::size_t size) {
  return {name, static_cast<std::uint16_t>(offset), static_cast<std::uint16_t>(size)};
}

constexpr Length fixed(std::size_t n) {
  return {Length::Rule::Fixed, static_cast<std::uint16_t>(n), 0};
}
constexpr Length by(Where w) {
  return {Length::Rule::Field, w.offset, 0};
}
constexpr Length byBits(Where w) {
  return {Length::Rule::Bits, w.offset, 0};
}
constexpr Length byOrBits(Where w, Where bits) {
  return {Length::Rule::FieldOrBits, w.offset, bits.offset};
}
constexpr Length through(Where w) {
  return {Length::Rule::Through, w.offset, 0};
}
constexpr Length parentBits(std::size_t offset) {
  return {Length::Rule::ParentBits, static_cast<std::uint16_t>(offset), 0};
}
constexpr Length bitsOrBytes(Where w) {
  return {Length::Rule::BitsOrBytes, w.offset, 0};
}
constexpr Length terminated() {
  return {Length::Rule::Terminated, 0, 0};
}
constexpr Length unknown() {
  return {Length::Rule::Unknown, 0, 0};
}

constexpr Condition set(Where flag) {
  return {Condition::Rule::Set, flag.offset, 0, 0};
}
constexpr Condition equals(Where number, CK_ULONG value) {
  return {Condition::Rule::Equals, 0, number.offset, value};
}
constexpr Condition both(Where flag, Where number, CK_ULONG value) {
  return {Condition::Rule::SetAndEquals, flag.offset, number.offset, value};
}

constexpr Field number(Where w, Direction d = In) {
  return {w.name, Kind::Number, d, w.offset, w.size, {}, {}, nullptr};
}
constexpr Field handle(Where w, Direction d = In, Condition when = {}) {
  return {w.name, Kind::Handle, d, w.offset, w.size, {}, when, nullptr};
}
constexpr Field handlePointer(Where w, Direction d = In) {
  return {w.name, Kind::HandlePointer, d, w.offset, w.size, fixed(sizeof(CK_ULONG)), {}, nullptr};
}
constexpr Field bytes(Where w, Length length, Direction d = In, Condition when = {}) {
  return {w.name, Kind::Bytes, d, w.offset, w.size, length, when, nullptr};
}
constexpr Field bytesOrHandle(Where w, Length length, Condition when) {
  return {w.name, Kind::BytesOrHandle, In, w.offset, w.size, length, when, nullptr};
}
constexpr Field nested(Where w, const Shape& shape, Length count, Direction d = In) {
  return {w.name, Kind::Nested, d, w.offset, w.size, count, {}, &shape};
}
constexpr Field attributes(Where w, Length count) {
  return {w.name, Kind::Attributes, In, w.offset, w.size, count, {}, nullptr};
}
constexpr Field mechanism(Where w) {
  return {w.name, Kind::Mechanism, In, w.offset, w.size, fixed(1), {}, nullptr};
}

namespace shape {

// Inside SHAPE, F(field) names a field of the struct being described.
#define F(m) at(#m, offsetof(T, m), sizeof(std::declval<T&>().m))
#define SHAPE(S, ...) SHAPE_OF(S, ::S, #S, __VA_ARGS__)
#define SHAPE_OF(S, STRUCT, name, ...)        \
  namespace fields_of_##S {                   \
    using T = STRUCT;                         \
    constexpr Field fields[] = {__VA_ARGS__}; \
  }                                           \
  constexpr Shape S = {name, sizeof(STRUCT), fields_of_##S::fields};

// clang-format off

SHAPE(CK_RSA_PKCS_OAEP_PARAMS,
      number(F(hashAlg)),
      number(F(mgf)),
      number(F(source)),
      bytes(F(pSourceData), by(F(ulSourceDataLen)), In, equals(F(source), CKZ_DATA_SPECIFIED)),
      number(F(ulSourceDataLen)))

SHAPE(CK_RSA_PKCS_PSS_PARAMS,
      number(F(hashAlg)),
      number(F(mgf)),
      number(F(sLen)))

SHAPE(CK_ECDH1_DERIVE_PARAMS,
      number(F(kdf)),
      number(F(ulSharedDataLen)),
      bytes(F(pSharedData), by(F(ulSharedDataLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))))

SHAPE(CK_ECDH2_DERIVE_PARAMS,
      number(F(kdf)),
      number(F(ulSharedDataLen)),
      bytes(F(pSharedData), by(F(ulSharedDataLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))),
      number(F(ulPrivateDataLen)),
      handle(F(hPrivateData)),
      number(F(ulPublicDataLen2)),
      bytes(F(pPublicData2), by(F(ulPublicDataLen2))))

SHAPE(CK_ECMQV_DERIVE_PARAMS,
      number(F(kdf)),
      number(F(ulSharedDataLen)),
      bytes(F(pSharedData), by(F(ulSharedDataLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))),
      number(F(ulPrivateDataLen)),
      handle(F(hPrivateData)),
      number(F(ulPublicDataLen2)),
      bytes(F(pPublicData2), by(F(ulPublicDataLen2))),
      handle(F(publicKey)))

SHAPE(CK_X9_42_DH1_DERIVE_PARAMS,
      number(F(kdf)),
      number(F(ulOtherInfoLen)),
      bytes(F(pOtherInfo), by(F(ulOtherInfoLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))))

SHAPE(CK_X9_42_DH2_DERIVE_PARAMS,
      number(F(kdf)),
      number(F(ulOtherInfoLen)),
      bytes(F(pOtherInfo), by(F(ulOtherInfoLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))),
      number(F(ulPrivateDataLen)),
      handle(F(hPrivateData)),
      number(F(ulPublicDataLen2)),
      bytes(F(pPublicData2), by(F(ulPublicDataLen2))))

SHAPE(CK_X9_42_MQV_DERIVE_PARAMS,
      number(F(kdf)),
      number(F(ulOtherInfoLen)),
      bytes(F(pOtherInfo), by(F(ulOtherInfoLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))),
      number(F(ulPrivateDataLen)),
      handle(F(hPrivateData)),
      number(F(ulPublicDataLen2)),
      bytes(F(pPublicData2), by(F(ulPublicDataLen2))),
      handle(F(publicKey)))

SHAPE(CK_KEA_DERIVE_PARAMS,
      number(F(isSender)),
      number(F(ulRandomLen)),
      bytes(F(pRandomA), by(F(ulRandomLen)), InOut),
      bytes(F(pRandomB), by(F(ulRandomLen)), InOut),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))))

SHAPE(CK_RC2_CBC_PARAMS,
      number(F(ulEffectiveBits)),
      number(F(iv)))

SHAPE(CK_RC2_MAC_GENERAL_PARAMS,
      number(F(ulEffectiveBits)),
      number(F(ulMacLength)))

SHAPE(CK_RC5_PARAMS,
      number(F(ulWordsize)),
      number(F(ulRounds)))

SHAPE(CK_RC5_CBC_PARAMS,
      number(F(ulWordsize)),
      number(F(ulRounds)),
      bytes(F(pIv), by(F(ulIvLen))),
      number(F(ulIvLen)))

SHAPE(CK_RC5_MAC_GENERAL_PARAMS,
      number(F(ulWordsize)),
      number(F(ulRounds)),
      number(F(ulMacLength)))

SHAPE(CK_DES_CBC_ENCRYPT_DATA_PARAMS,
      number(F(iv)),
      bytes(F(pData), by(F(length))),
      number(F(length)))

SHAPE(CK_AES_CBC_ENCRYPT_DATA_PARAMS,
      number(F(iv)),
      bytes(F(pData), by(F(length))),
      number(F(length)))

SHAPE(CK_SKIPJACK_PRIVATE_WRAP_PARAMS,
      number(F(ulPasswordLen)),
      bytes(F(pPassword), by(F(ulPasswordLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))),
      number(F(ulPAndGLen)),
      number(F(ulQLen)),
      number(F(ulRandomLen)),
      bytes(F(pRandomA), by(F(ulRandomLen))),
      bytes(F(pPrimeP), by(F(ulPAndGLen))),
      bytes(F(pBaseG), by(F(ulPAndGLen))),
      bytes(F(pSubprimeQ), by(F(ulQLen))))

SHAPE(CK_SKIPJACK_RELAYX_PARAMS,
      number(F(ulOldWrappedXLen)),
      bytes(F(pOldWrappedX), by(F(ulOldWrappedXLen))),
      number(F(ulOldPasswordLen)),
      bytes(F(pOldPassword), by(F(ulOldPasswordLen))),
      number(F(ulOldPublicDataLen)),
      bytes(F(pOldPublicData), by(F(ulOldPublicDataLen))),
      number(F(ulOldRandomLen)),
      bytes(F(pOldRandomA), by(F(ulOldRandomLen))),
      number(F(ulNewPasswordLen)),
      bytes(F(pNewPassword), by(F(ulNewPasswordLen))),
      number(F(ulNewPublicDataLen)),
      bytes(F(pNewPublicData), by(F(ulNewPublicDataLen))),
      number(F(ulNewRandomLen)),
      bytes(F(pNewRandomA), by(F(ulNewRandomLen))))

SHAPE(CK_PBE_PARAMS,
      bytes(F(pInitVector), fixed(8), Out),
      bytes(F(pPassword), by(F(ulPasswordLen))),
      number(F(ulPasswordLen)),
      bytes(F(pSalt), by(F(ulSaltLen))),
      number(F(ulSaltLen)),
      number(F(ulIteration)))

SHAPE(CK_KEY_WRAP_SET_OAEP_PARAMS,
      number(F(bBC), InOut),
      bytes(F(pX), by(F(ulXLen)), InOut),
      number(F(ulXLen), InOut))

SHAPE(CK_SSL3_RANDOM_DATA,
      bytes(F(pClientRandom), by(F(ulClientRandomLen))),
      number(F(ulClientRandomLen)),
      bytes(F(pServerRandom), by(F(ulServerRandomLen))),
      number(F(ulServerRandomLen)))

SHAPE(CK_SSL3_MASTER_KEY_DERIVE_PARAMS,
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      bytes(F(pVersion), fixed(sizeof(CK_VERSION)), InOut))

SHAPE(CK_SSL3_KEY_MAT_OUT,
      handle(F(hClientMacSecret), Out),
      handle(F(hServerMacSecret), Out),
      handle(F(hClientKey), Out),
      handle(F(hServerKey), Out),
      bytes(F(pIVClient), parentBits(offsetof(CK_SSL3_KEY_MAT_PARAMS, ulIVSizeInBits)), Out),
      bytes(F(pIVServer), parentBits(offsetof(CK_SSL3_KEY_MAT_PARAMS, ulIVSizeInBits)), Out))

SHAPE(CK_SSL3_KEY_MAT_PARAMS,
      number(F(ulMacSizeInBits)),
      number(F(ulKeySizeInBits)),
      number(F(ulIVSizeInBits)),
      number(F(bIsExport)),
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      nested(F(pReturnedKeyMaterial), shape::CK_SSL3_KEY_MAT_OUT, fixed(1), Out))

SHAPE(CK_TLS_PRF_PARAMS,
      bytes(F(pSeed), by(F(ulSeedLen))),
      number(F(ulSeedLen)),
      bytes(F(pLabel), by(F(ulLabelLen))),
      number(F(ulLabelLen)),
      bytes(F(pOutput), through(F(pulOutputLen)), Out),
      bytes(F(pulOutputLen), fixed(sizeof(CK_ULONG)), InOut))

SHAPE(CK_WTLS_RANDOM_DATA,
      bytes(F(pClientRandom), by(F(ulClientRandomLen))),
      number(F(ulClientRandomLen)),
      bytes(F(pServerRandom), by(F(ulServerRandomLen))),
      number(F(ulServerRandomLen)))

SHAPE(CK_WTLS_MASTER_KEY_DERIVE_PARAMS,
      number(F(DigestMechanism)),
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      bytes(F(pVersion), fixed(1), InOut))

SHAPE(CK_WTLS_PRF_PARAMS,
      number(F(DigestMechanism)),
      bytes(F(pSeed), by(F(ulSeedLen))),
      number(F(ulSeedLen)),
      bytes(F(pLabel), by(F(ulLabelLen))),
      number(F(ulLabelLen)),
      bytes(F(pOutput), through(F(pulOutputLen)), Out),
      bytes(F(pulOutputLen), fixed(sizeof(CK_ULONG)), InOut))

SHAPE(CK_WTLS_KEY_MAT_OUT,
      handle(F(hMacSecret), Out),
      handle(F(hKey), Out),
      bytes(F(pIV), parentBits(offsetof(CK_WTLS_KEY_MAT_PARAMS, ulIVSizeInBits)), Out))

SHAPE(CK_WTLS_KEY_MAT_PARAMS,
      number(F(DigestMechanism)),
      number(F(ulMacSizeInBits)),
      number(F(ulKeySizeInBits)),
      number(F(ulIVSizeInBits)),
      number(F(ulSequenceNumber)),
      number(F(bIsExport)),
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      nested(F(pReturnedKeyMaterial), shape::CK_WTLS_KEY_MAT_OUT, fixed(1), Out))

SHAPE(CK_CMS_SIG_PARAMS,
      handle(F(certificateHandle)),
      mechanism(F(pSigningMechanism)),
      mechanism(F(pDigestMechanism)),
      bytes(F(pContentType), terminated()),
      bytes(F(pRequestedAttributes), by(F(ulRequestedAttributesLen))),
      number(F(ulRequestedAttributesLen)),
      bytes(F(pRequiredAttributes), by(F(ulRequiredAttributesLen))),
      number(F(ulRequiredAttributesLen)))

SHAPE(CK_KEY_DERIVATION_STRING_DATA,
      bytes(F(pData), by(F(ulLen))),
      number(F(ulLen)))

SHAPE(CK_PKCS5_PBKD2_PARAMS,
      number(F(saltSource)),
      bytes(F(pSaltSourceData), by(F(ulSaltSourceDataLen))),
      number(F(ulSaltSourceDataLen)),
      number(F(iterations)),
      number(F(prf)),
      bytes(F(pPrfData), by(F(ulPrfDataLen))),
      number(F(ulPrfDataLen)),
      bytes(F(pPassword), through(F(ulPasswordLen))),
      bytes(F(ulPasswordLen), fixed(sizeof(CK_ULONG))))

SHAPE(CK_PKCS5_PBKD2_PARAMS2,
      number(F(saltSource)),
      bytes(F(pSaltSourceData), by(F(ulSaltSourceDataLen))),
      number(F(ulSaltSourceDataLen)),
      number(F(iterations)),
      number(F(prf)),
      bytes(F(pPrfData), by(F(ulPrfDataLen))),
      number(F(ulPrfDataLen)),
      bytes(F(pPassword), by(F(ulPasswordLen))),
      number(F(ulPasswordLen)))

SHAPE(CK_OTP_PARAM,
      number(F(type)),
      bytes(F(pValue), by(F(ulValueLen))),
      number(F(ulValueLen)))

SHAPE(CK_OTP_PARAMS,
      nested(F(pParams), shape::CK_OTP_PARAM, by(F(ulCount))),
      number(F(ulCount)))

SHAPE(CK_OTP_SIGNATURE_INFO,
      nested(F(pParams), shape::CK_OTP_PARAM, by(F(ulCount)), Out),
      number(F(ulCount)))

SHAPE(CK_KIP_PARAMS,
      mechanism(F(pMechanism)),
      handle(F(hKey)),
      bytes(F(pSeed), by(F(ulSeedLen))),
      number(F(ulSeedLen)))

SHAPE(CK_AES_CTR_PARAMS,
      number(F(ulCounterBits)),
      number(F(cb)))

SHAPE(CK_GCM_PARAMS,
      bytes(F(pIv), byOrBits(F(ulIvLen), F(ulIvBits)), InOut),
      number(F(ulIvLen)),
      number(F(ulIvBits)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulTagBits)))

SHAPE(CK_GCM_MESSAGE_PARAMS,
      bytes(F(pIv), by(F(ulIvLen)), InOut),
      number(F(ulIvLen)),
      number(F(ulIvFixedBits)),
      number(F(ivGenerator)),
      bytes(F(pTag), byBits(F(ulTagBits)), InOut),
      number(F(ulTagBits)))

SHAPE(CK_GCM_WRAP_PARAMS,
      bytes(F(pIv), by(F(ulIvLen)), InOut),
      number(F(ulIvLen)),
      number(F(ulIvFixedBits)),
      number(F(ivGenerator)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulTagBits)))

SHAPE(CK_CCM_PARAMS,
      number(F(ulDataLen)),
      bytes(F(pNonce), by(F(ulNonceLen))),
      number(F(ulNonceLen)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulMACLen)))

SHAPE(CK_CCM_MESSAGE_PARAMS,
      number(F(ulDataLen)),
      bytes(F(pNonce), by(F(ulNonceLen)), InOut),
      number(F(ulNonceLen)),
      number(F(ulNonceFixedBits)),
      number(F(nonceGenerator)),
      bytes(F(pMAC), by(F(ulMACLen)), InOut),
      number(F(ulMACLen)))

SHAPE(CK_CCM_WRAP_PARAMS,
      number(F(ulDataLen)),
      bytes(F(pNonce), by(F(ulNonceLen)), InOut),
      number(F(ulNonceLen)),
      number(F(ulNonceFixedBits)),
      number(F(nonceGenerator)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulMACLen)))

SHAPE(CK_AES_GCM_PARAMS,
      bytes(F(pIv), by(F(ulIvLen)), InOut),
      number(F(ulIvLen)),
      number(F(ulIvBits)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulTagBits)))

SHAPE(CK_AES_CCM_PARAMS,
      number(F(ulDataLen)),
      bytes(F(pNonce), by(F(ulNonceLen))),
      number(F(ulNonceLen)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulMACLen)))

SHAPE(CK_CAMELLIA_CTR_PARAMS,
      number(F(ulCounterBits)),
      number(F(cb)))

SHAPE(CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS,
      number(F(iv)),
      bytes(F(pData), by(F(length))),
      number(F(length)))

SHAPE(CK_ARIA_CBC_ENCRYPT_DATA_PARAMS,
      number(F(iv)),
      bytes(F(pData), by(F(length))),
      number(F(length)))

SHAPE(CK_DSA_PARAMETER_GEN_PARAM,
      number(F(hash)),
      bytes(F(pSeed), by(F(ulSeedLen)), InOut),
      number(F(ulSeedLen), InOut),
      number(F(ulIndex)))

SHAPE(CK_ECDH_AES_KEY_WRAP_PARAMS,
      number(F(ulAESKeyBits)),
      number(F(kdf)),
      number(F(ulSharedDataLen)),
      bytes(F(pSharedData), by(F(ulSharedDataLen))))

SHAPE(CK_RSA_AES_KEY_WRAP_PARAMS,
      number(F(ulAESKeyBits)),
      nested(F(pOAEPParams), shape::CK_RSA_PKCS_OAEP_PARAMS, fixed(1)))

SHAPE(CK_TLS12_MASTER_KEY_DERIVE_PARAMS,
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      bytes(F(pVersion), fixed(sizeof(CK_VERSION)), InOut),
      number(F(prfHashMechanism)))

SHAPE(CK_TLS12_KEY_MAT_PARAMS,
      number(F(ulMacSizeInBits)),
      number(F(ulKeySizeInBits)),
      number(F(ulIVSizeInBits)),
      number(F(bIsExport)),
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      nested(F(pReturnedKeyMaterial), shape::CK_SSL3_KEY_MAT_OUT, fixed(1), Out),
      number(F(prfHashMechanism)))

SHAPE(CK_TLS_KDF_PARAMS,
      number(F(prfMechanism)),
      bytes(F(pLabel), by(F(ulLabelLength))),
      number(F(ulLabelLength)),
      bytes(F(RandomInfo.pClientRandom), by(F(RandomInfo.ulClientRandomLen))),
      number(F(RandomInfo.ulClientRandomLen)),
      bytes(F(RandomInfo.pServerRandom), by(F(RandomInfo.ulServerRandomLen))),
      number(F(RandomInfo.ulServerRandomLen)),
      bytes(F(pContextData), by(F(ulContextDataLength))),
      number(F(ulContextDataLength)))

SHAPE(CK_TLS_MAC_PARAMS,
      number(F(prfHashMechanism)),
      number(F(ulMacLength)),
      number(F(ulServerOrClient)))

SHAPE(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS,
      number(F(prfHashMechanism)),
      bytes(F(pSessionHash), by(F(ulSessionHashLen))),
      number(F(ulSessionHashLen)),
      bytes(F(pVersion), fixed(sizeof(CK_VERSION)), InOut))

SHAPE(CK_GOSTR3410_DERIVE_PARAMS,
      number(F(kdf)),
      bytes(F(pPublicData), by(F(ulPublicDataLen))),
      number(F(ulPublicDataLen)),
      bytes(F(pUKM), by(F(ulUKMLen))),
      number(F(ulUKMLen)))

SHAPE(CK_GOSTR3410_KEY_WRAP_PARAMS,
      bytes(F(pWrapOID), by(F(ulWrapOIDLen))),
      number(F(ulWrapOIDLen)),
      bytes(F(pUKM), by(F(ulUKMLen))),
      number(F(ulUKMLen)),
      handle(F(hKey)))

SHAPE(CK_SEED_CBC_ENCRYPT_DATA_PARAMS,
      number(F(iv)),
      bytes(F(pData), by(F(length))),
      number(F(length)))

SHAPE(CK_PRF_DATA_PARAM,
      number(F(type)),
      bytesOrHandle(F(pValue), by(F(ulValueLen)), equals(F(type), CK_SP800_108_KEY_HANDLE)),
      number(F(ulValueLen)))

SHAPE(CK_SP800_108_COUNTER_FORMAT,
      number(F(bLittleEndian)),
      number(F(ulWidthInBits)))

SHAPE(CK_SP800_108_DKM_LENGTH_FORMAT,
      number(F(dkmLengthMethod)),
      number(F(bLittleEndian)),
      number(F(ulWidthInBits)))

SHAPE(CK_DERIVED_KEY,
      attributes(F(pTemplate), by(F(ulAttributeCount))),
      number(F(ulAttributeCount)),
      handlePointer(F(phKey), Out))

SHAPE(CK_SP800_108_KDF_PARAMS,
      number(F(prfType)),
      number(F(ulNumberOfDataParams)),
      nested(F(pDataParams), shape::CK_PRF_DATA_PARAM, by(F(ulNumberOfDataParams))),
      number(F(ulAdditionalDerivedKeys)),
      nested(F(pAdditionalDerivedKeys), shape::CK_DERIVED_KEY, by(F(ulAdditionalDerivedKeys)), InOut))

SHAPE(CK_SP800_108_FEEDBACK_KDF_PARAMS,
      number(F(prfType)),
      number(F(ulNumberOfDataParams)),
      nested(F(pDataParams), shape::CK_PRF_DATA_PARAM, by(F(ulNumberOfDataParams))),
      number(F(ulIVLen)),
      bytes(F(pIV), by(F(ulIVLen))),
      number(F(ulAdditionalDerivedKeys)),
      nested(F(pAdditionalDerivedKeys), shape::CK_DERIVED_KEY, by(F(ulAdditionalDerivedKeys)), InOut))

SHAPE(CK_EDDSA_PARAMS,
      number(F(phFlag)),
      number(F(ulContextDataLen)),
      bytes(F(pContextData), by(F(ulContextDataLen))))

SHAPE(CK_CHACHA20_PARAMS,
      bytes(F(pBlockCounter), byBits(F(blockCounterBits))),
      number(F(blockCounterBits)),
      bytes(F(pNonce), byBits(F(ulNonceBits))),
      number(F(ulNonceBits)))

SHAPE(CK_SALSA20_PARAMS,
      bytes(F(pBlockCounter), fixed(8)),
      bytes(F(pNonce), byBits(F(ulNonceBits))),
      number(F(ulNonceBits)))

SHAPE(CK_SALSA20_CHACHA20_POLY1305_PARAMS,
      bytes(F(pNonce), bitsOrBytes(F(ulNonceLen))),
      number(F(ulNonceLen)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)))

SHAPE(CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS,
      bytes(F(pNonce), bitsOrBytes(F(ulNonceLen))),
      number(F(ulNonceLen)),
      bytes(F(pTag), fixed(16), InOut))

SHAPE(CK_X3DH_INITIATE_PARAMS,
      number(F(kdf)),
      handle(F(pPeer_identity)),
      handle(F(pPeer_prekey)),
      bytes(F(pPrekey_signature), unknown()),
      bytes(F(pOnetime_key), unknown()),
      handle(F(pOwn_identity)),
      handle(F(pOwn_ephemeral)))

SHAPE(CK_X3DH_RESPOND_PARAMS,
      number(F(kdf)),
      bytes(F(pIdentity_id), unknown()),
      bytes(F(pPrekey_id), unknown()),
      bytes(F(pOnetime_id), unknown()),
      handle(F(pInitiator_identity)),
      bytes(F(pInitiator_ephemeral), unknown()))

SHAPE(CK_X2RATCHET_INITIALIZE_PARAMS,
      bytes(F(sk), unknown()),
      handle(F(peer_public_prekey)),
      handle(F(peer_public_identity)),
      handle(F(own_public_identity)),
      number(F(bEncryptedHeader)),
      number(F(eCurve)),
      number(F(aeadMechanism)),
      number(F(kdfMechanism)))

SHAPE(CK_X2RATCHET_RESPOND_PARAMS,
      bytes(F(sk), unknown()),
      handle(F(own_prekey)),
      handle(F(initiator_identity)),
      handle(F(own_public_identity)),
      number(F(bEncryptedHeader)),
      number(F(eCurve)),
      number(F(aeadMechanism)),
      number(F(kdfMechanism)))

SHAPE(CK_XEDDSA_PARAMS,
      number(F(hash)))

SHAPE(CK_HKDF_PARAMS,
      number(F(bExtract)),
      number(F(bExpand)),
      number(F(prfHashMechanism)),
      number(F(ulSaltType)),
      bytes(F(pSalt), by(F(ulSaltLen)), In, both(F(bExtract), F(ulSaltType), CKF_HKDF_SALT_DATA)),
      number(F(ulSaltLen)),
      handle(F(hSaltKey), In, both(F(bExtract), F(ulSaltType), CKF_HKDF_SALT_KEY)),
      bytes(F(pInfo), by(F(ulInfoLen)), In, set(F(bExpand))),
      number(F(ulInfoLen)))

SHAPE(specifiedParams,
      number(F(levels)),
      number(F(lm_type)),
      number(F(lm_ots_type)))

SHAPE(CK_IKE2_PRF_PLUS_DERIVE_PARAMS,
      number(F(prfMechanism)),
      number(F(bHasSeedKey)),
      handle(F(hSeedKey), In, set(F(bHasSeedKey))),
      bytes(F(pSeedData), by(F(ulSeedDataLen))),
      number(F(ulSeedDataLen)))

SHAPE(CK_IKE_PRF_DERIVE_PARAMS,
      number(F(prfMechanism)),
      number(F(bDataAsKey)),
      number(F(bRekey)),
      bytes(F(pNi), by(F(ulNiLen))),
      number(F(ulNiLen)),
      bytes(F(pNr), by(F(ulNrLen))),
      number(F(ulNrLen)),
      handle(F(hNewKey), In, set(F(bRekey))))

SHAPE(CK_IKE1_PRF_DERIVE_PARAMS,
      number(F(prfMechanism)),
      number(F(bHasPrevKey)),
      handle(F(hKeygxy)),
      handle(F(hPrevKey), In, set(F(bHasPrevKey))),
      bytes(F(pCKYi), by(F(ulCKYiLen))),
      number(F(ulCKYiLen)),
      bytes(F(pCKYr), by(F(ulCKYrLen))),
      number(F(ulCKYrLen)),
      number(F(keyNumber)))

SHAPE(CK_IKE1_EXTENDED_DERIVE_PARAMS,
      number(F(prfMechanism)),
      number(F(bHasKeygxy)),
      handle(F(hKeygxy), In, set(F(bHasKeygxy))),
      bytes(F(pExtraData), by(F(ulExtraDataLen))),
      number(F(ulExtraDataLen)))

SHAPE(CK_ASYNC_DATA,
      number(F(ulVersion)),
      bytes(F(pValue), by(F(ulValue)), InOut),
      number(F(ulValue)),
      handle(F(hObject)),
      handle(F(hAdditionalObject)))

SHAPE(CK_SIGN_ADDITIONAL_CONTEXT,
      number(F(hedgeVariant)),
      bytes(F(pContext), by(F(ulContextLen))),
      number(F(ulContextLen)))

SHAPE(CK_HASH_SIGN_ADDITIONAL_CONTEXT,
      number(F(hedgeVariant)),
      bytes(F(pContext), by(F(ulContextLen))),
      number(F(ulContextLen)),
      number(F(hash)))

// The layout that Cryptoki 2.30 gave AES-GCM, still in use: no ulIvBits.
struct GCM_PARAMS_2_30_STRUCT {
  CK_BYTE_PTR pIv;
  CK_ULONG ulIvLen;
  CK_BYTE_PTR pAAD;
  CK_ULONG ulAADLen;
  CK_ULONG ulTagBits;
};
SHAPE_OF(GCM_PARAMS_2_30, GCM_PARAMS_2_30_STRUCT, "CK_GCM_PARAMS (2.30)",
      bytes(F(pIv), by(F(ulIvLen)), InOut),
      number(F(ulIvLen)),
      bytes(F(pAAD), by(F(ulAADLen))),
      number(F(ulAADLen)),
      number(F(ulTagBits)))

// clang-format on

#undef SHAPE_OF
#undef SHAPE
#undef F
}  // namespace shape

constexpr const Shape* ALL[] = {
    &shape::GCM_PARAMS_2_30,
    &shape::CK_RSA_PKCS_OAEP_PARAMS,
    &shape::CK_RSA_PKCS_PSS_PARAMS,
    &shape::CK_ECDH1_DERIVE_PARAMS,
    &shape::CK_ECDH2_DERIVE_PARAMS,
    &shape::CK_ECMQV_DERIVE_PARAMS,
    &shape::CK_X9_42_DH1_DERIVE_PARAMS,
    &shape::CK_X9_42_DH2_DERIVE_PARAMS,
    &shape::CK_X9_42_MQV_DERIVE_PARAMS,
    &shape::CK_KEA_DERIVE_PARAMS,
    &shape::CK_RC2_CBC_PARAMS,
    &shape::CK_RC2_MAC_GENERAL_PARAMS,
    &shape::CK_RC5_PARAMS,
    &shape::CK_RC5_CBC_PARAMS,
    &shape::CK_RC5_MAC_GENERAL_PARAMS,
    &shape::CK_DES_CBC_ENCRYPT_DATA_PARAMS,
    &shape::CK_AES_CBC_ENCRYPT_DATA_PARAMS,
    &shape::CK_SKIPJACK_PRIVATE_WRAP_PARAMS,
    &shape::CK_SKIPJACK_RELAYX_PARAMS,
    &shape::CK_PBE_PARAMS,
    &shape::CK_KEY_WRAP_SET_OAEP_PARAMS,
    &shape::CK_SSL3_RANDOM_DATA,
    &shape::CK_SSL3_MASTER_KEY_DERIVE_PARAMS,
    &shape::CK_SSL3_KEY_MAT_OUT,
    &shape::CK_SSL3_KEY_MAT_PARAMS,
    &shape::CK_TLS_PRF_PARAMS,
    &shape::CK_WTLS_RANDOM_DATA,
    &shape::CK_WTLS_MASTER_KEY_DERIVE_PARAMS,
    &shape::CK_WTLS_PRF_PARAMS,
    &shape::CK_WTLS_KEY_MAT_OUT,
    &shape::CK_WTLS_KEY_MAT_PARAMS,
    &shape::CK_CMS_SIG_PARAMS,
    &shape::CK_KEY_DERIVATION_STRING_DATA,
    &shape::CK_PKCS5_PBKD2_PARAMS,
    &shape::CK_PKCS5_PBKD2_PARAMS2,
    &shape::CK_OTP_PARAM,
    &shape::CK_OTP_PARAMS,
    &shape::CK_OTP_SIGNATURE_INFO,
    &shape::CK_KIP_PARAMS,
    &shape::CK_AES_CTR_PARAMS,
    &shape::CK_GCM_PARAMS,
    &shape::CK_GCM_MESSAGE_PARAMS,
    &shape::CK_GCM_WRAP_PARAMS,
    &shape::CK_CCM_PARAMS,
    &shape::CK_CCM_MESSAGE_PARAMS,
    &shape::CK_CCM_WRAP_PARAMS,
    &shape::CK_AES_GCM_PARAMS,
    &shape::CK_AES_CCM_PARAMS,
    &shape::CK_CAMELLIA_CTR_PARAMS,
    &shape::CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS,
    &shape::CK_ARIA_CBC_ENCRYPT_DATA_PARAMS,
    &shape::CK_DSA_PARAMETER_GEN_PARAM,
    &shape::CK_ECDH_AES_KEY_WRAP_PARAMS,
    &shape::CK_RSA_AES_KEY_WRAP_PARAMS,
    &shape::CK_TLS12_MASTER_KEY_DERIVE_PARAMS,
    &shape::CK_TLS12_KEY_MAT_PARAMS,
    &shape::CK_TLS_KDF_PARAMS,
    &shape::CK_TLS_MAC_PARAMS,
    &shape::CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS,
    &shape::CK_GOSTR3410_DERIVE_PARAMS,
    &shape::CK_GOSTR3410_KEY_WRAP_PARAMS,
    &shape::CK_SEED_CBC_ENCRYPT_DATA_PARAMS,
    &shape::CK_PRF_DATA_PARAM,
    &shape::CK_SP800_108_COUNTER_FORMAT,
    &shape::CK_SP800_108_DKM_LENGTH_FORMAT,
    &shape::CK_DERIVED_KEY,
    &shape::CK_SP800_108_KDF_PARAMS,
    &shape::CK_SP800_108_FEEDBACK_KDF_PARAMS,
    &shape::CK_EDDSA_PARAMS,
    &shape::CK_CHACHA20_PARAMS,
    &shape::CK_SALSA20_PARAMS,
    &shape::CK_SALSA20_CHACHA20_POLY1305_PARAMS,
    &shape::CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS,
    &shape::CK_X3DH_INITIATE_PARAMS,
    &shape::CK_X3DH_RESPOND_PARAMS,
    &shape::CK_X2RATCHET_INITIALIZE_PARAMS,
    &shape::CK_X2RATCHET_RESPOND_PARAMS,
    &shape::CK_XEDDSA_PARAMS,
    &shape::CK_HKDF_PARAMS,
    &shape::specifiedParams,
    &shape::CK_IKE2_PRF_PLUS_DERIVE_PARAMS,
    &shape::CK_IKE_PRF_DERIVE_PARAMS,
    &shape::CK_IKE1_PRF_DERIVE_PARAMS,
    &shape::CK_IKE1_EXTENDED_DERIVE_PARAMS,
    &shape::CK_ASYNC_DATA,
    &shape::CK_SIGN_ADDITIONAL_CONTEXT,
    &shape::CK_HASH_SIGN_ADDITIONAL_CONTEXT,
};

// Two or three layouts may serve one mechanism; the call and the size decide.
struct Choice {
  unsigned uses;  // a bit per Use
  const Shape* shape;
  bool (*fits)(const std::byte*) = nullptr;
};

constexpr unsigned on(Use use) {
  return 1U << static_cast<unsigned>(use);
}
constexpr unsigned EVERY = on(Use::Operation) | on(Use::Wrap);
constexpr unsigned BY_MESSAGE = on(Use::Message) | on(Use::AuthenticatedWrap);

// Both versions of the PBKD2 struct have one size. Where the second has the password's length, the
// first has a pointer to it; no pointer is that small and no password that long.
bool passwordLengthIsPointer(const std::byte* p) {
  CK_ULONG value;
  std::memcpy(&value, p + offsetof(CK_PKCS5_PBKD2_PARAMS2, ulPasswordLen), sizeof value);
  return value > 8192;
}

constexpr Choice GCM[] = {{on(Use::Wrap), &shape::CK_GCM_WRAP_PARAMS},
                          {EVERY, &shape::CK_GCM_PARAMS},
                          {EVERY, &shape::GCM_PARAMS_2_30},
                          {BY_MESSAGE, &shape::CK_GCM_MESSAGE_PARAMS}};
constexpr Choice GMAC[] = {{EVERY, &shape::CK_GCM_PARAMS}, {EVERY, &shape::GCM_PARAMS_2_30}};
constexpr Choice CCM[] = {{on(Use::Wrap), &shape::CK_CCM_WRAP_PARAMS},
                          {EVERY, &shape::CK_CCM_PARAMS},
                          {BY_MESSAGE, &shape::CK_CCM_MESSAGE_PARAMS}};
constexpr Choice POLY1305[] = {{EVERY, &shape::CK_SALSA20_CHACHA20_POLY1305_PARAMS},
                               {BY_MESSAGE, &shape::CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS}};
constexpr Choice PBKD2[] = {{EVERY, &shape::CK_PKCS5_PBKD2_PARAMS, passwordLengthIsPointer},
                            {EVERY, &shape::CK_PKCS5_PBKD2_PARAMS2}};

// One mechanism: a single shape, or choices, or neither for flat bytes. And what its signatures
// are, where they are not just bytes.
struct Line {
  CK_MECHANISM_TYPE type;
  Layout::Kind kind;
  const Shape* shape = nullptr;
  std::span<const Choice> choices = {};
  const Shape* signature = nullptr;

  constexpr Line(CK_MECHANISM_TYPE t, Layout::Kind k) : type(t), kind(k) {}
  constexpr Line(CK_MECHANISM_TYPE t, const Shape* s, const Shape* signed_ = nullptr)
      : type(t), kind(Layout::Kind::Shaped), shape(s), signature(signed_) {}
  constexpr Line(CK_MECHANISM_TYPE t, std::span<const Choice> c)
      : type(t), kind(Layout::Kind::Shaped), choices(c) {}
};

constexpr auto FLAT = Layout::Kind::Flat;
constexpr auto FLAT_OUT = Layout::Kind::FlatOut;
constexpr auto HANDLE = Layout::Kind::Handle;

// clang-format off
constexpr Line LINES[] = {
    {CKM_RSA_PKCS_KEY_PAIR_GEN, FLAT},
    {CKM_RSA_PKCS, FLAT},
    {CKM_RSA_9796, FLAT},
    {CKM_RSA_X_509, FLAT},
    {CKM_MD2_RSA_PKCS, FLAT},
    {CKM_MD5_RSA_PKCS, FLAT},
    {CKM_SHA1_RSA_PKCS, FLAT},
    {CKM_RIPEMD128_RSA_PKCS, FLAT},
    {CKM_RIPEMD160_RSA_PKCS, FLAT},
    {CKM_RSA_PKCS_OAEP, &shape::CK_RSA_PKCS_OAEP_PARAMS},
    {CKM_RSA_X9_31_KEY_PAIR_GEN, FLAT},
    {CKM_RSA_X9_31, FLAT},
    {CKM_SHA1_RSA_X9_31, FLAT},
    {CKM_RSA_PKCS_PSS, FLAT},
    {CKM_SHA1_RSA_PKCS_PSS, FLAT},
    {CKM_DSA_KEY_PAIR_GEN, FLAT},
    {CKM_DSA, FLAT},
    {CKM_DSA_SHA1, FLAT},
    {CKM_DSA_SHA224, FLAT},
    {CKM_DSA_SHA256, FLAT},
    {CKM_DSA_SHA384, FLAT},
    {CKM_DSA_SHA512, FLAT},
    {CKM_DSA_SHA3_224, FLAT},
    {CKM_DSA_SHA3_256, FLAT},
    {CKM_DSA_SHA3_384, FLAT},
    {CKM_DSA_SHA3_512, FLAT},
    {CKM_DH_PKCS_KEY_PAIR_GEN, FLAT},
    {CKM_DH_PKCS_DERIVE, FLAT},
    {CKM_X9_42_DH_KEY_PAIR_GEN, FLAT},
    {CKM_X9_42_DH_DERIVE, &shape::CK_X9_42_DH1_DERIVE_PARAMS},
    {CKM_X9_42_DH_HYBRID_DERIVE, &shape::CK_X9_42_DH2_DERIVE_PARAMS},
    {CKM_X9_42_MQV_DERIVE, &shape::CK_X9_42_MQV_DERIVE_PARAMS},
    {CKM_SHA256_RSA_PKCS, FLAT},
    {CKM_SHA384_RSA_PKCS, FLAT},
    {CKM_SHA512_RSA_PKCS, FLAT},
    {CKM_SHA256_RSA_PKCS_PSS, FLAT},
    {CKM_SHA384_RSA_PKCS_PSS, FLAT},
    {CKM_SHA512_RSA_PKCS_PSS, FLAT},
    {CKM_SHA224_RSA_PKCS, FLAT},
    {CKM_SHA224_RSA_PKCS_PSS, FLAT},
    {CKM_SHA512_224, FLAT},
    {CKM_SHA512_224_HMAC, FLAT},
    {CKM_SHA512_224_HMAC_GENERAL, FLAT},
    {CKM_SHA512_224_KEY_DERIVATION, FLAT},
    {CKM_SHA512_256, FLAT},
    {CKM_SHA512_256_HMAC, FLAT},
    {CKM_SHA512_256_HMAC_GENERAL, FLAT},
    {CKM_SHA512_256_KEY_DERIVATION, FLAT},
    {CKM_SHA512_T, FLAT},
    {CKM_SHA512_T_HMAC, FLAT},
    {CKM_SHA512_T_HMAC_GENERAL, FLAT},
    {CKM_SHA512_T_KEY_DERIVATION, FLAT},
    {CKM_SHA3_256_RSA_PKCS, FLAT},
    {CKM_SHA3_384_RSA_PKCS, FLAT},
    {CKM_SHA3_512_RSA_PKCS, FLAT},
    {CKM_SHA3_256_RSA_PKCS_PSS, FLAT},
    {CKM_SHA3_384_RSA_PKCS_PSS, FLAT},
    {CKM_SHA3_512_RSA_PKCS_PSS, FLAT},
    {CKM_SHA3_224_RSA_PKCS, FLAT},
    {CKM_SHA3_224_RSA_PKCS_PSS, FLAT},
    {CKM_RC2_KEY_GEN, FLAT},
    {CKM_RC2_ECB, FLAT},
    {CKM_RC2_CBC, FLAT},
    {CKM_RC2_MAC, FLAT},
    {CKM_RC2_MAC_GENERAL, FLAT},
    {CKM_RC2_CBC_PAD, FLAT},
    {CKM_RC4_KEY_GEN, FLAT},
    {CKM_RC4, FLAT},
    {CKM_DES_KEY_GEN, FLAT},
    {CKM_DES_ECB, FLAT},
    {CKM_DES_CBC, FLAT},
    {CKM_DES_MAC, FLAT},
    {CKM_DES_MAC_GENERAL, FLAT},
    {CKM_DES_CBC_PAD, FLAT},
    {CKM_DES2_KEY_GEN, FLAT},
    {CKM_DES3_KEY_GEN, FLAT},
    {CKM_DES3_ECB, FLAT},
    {CKM_DES3_CBC, FLAT},
    {CKM_DES3_MAC, FLAT},
    {CKM_DES3_MAC_GENERAL, FLAT},
    {CKM_DES3_CBC_PAD, FLAT},
    {CKM_DES3_CMAC_GENERAL, FLAT},
    {CKM_DES3_CMAC, FLAT},
    {CKM_CDMF_KEY_GEN, FLAT},
    {CKM_CDMF_ECB, FLAT},
    {CKM_CDMF_CBC, FLAT},
    {CKM_CDMF_MAC, FLAT},
    {CKM_CDMF_MAC_GENERAL, FLAT},
    {CKM_CDMF_CBC_PAD, FLAT},
    {CKM_DES_OFB64, FLAT},
    {CKM_DES_OFB8, FLAT},
    {CKM_DES_CFB64, FLAT},
    {CKM_DES_CFB8, FLAT},
    {CKM_MD2, FLAT},
    {CKM_MD2_HMAC, FLAT},
    {CKM_MD2_HMAC_GENERAL, FLAT},
    {CKM_MD5, FLAT},
    {CKM_MD5_HMAC, FLAT},
    {CKM_MD5_HMAC_GENERAL, FLAT},
    {CKM_SHA_1, FLAT},
    {CKM_SHA_1_HMAC, FLAT},
    {CKM_SHA_1_HMAC_GENERAL, FLAT},
    {CKM_RIPEMD128, FLAT},
    {CKM_RIPEMD128_HMAC, FLAT},
    {CKM_RIPEMD128_HMAC_GENERAL, FLAT},
    {CKM_RIPEMD160, FLAT},
    {CKM_RIPEMD160_HMAC, FLAT},
    {CKM_RIPEMD160_HMAC_GENERAL, FLAT},
    {CKM_SHA256, FLAT},
    {CKM_SHA256_HMAC, FLAT},
    {CKM_SHA256_HMAC_GENERAL, FLAT},
    {CKM_SHA224, FLAT},
    {CKM_SHA224_HMAC, FLAT},
    {CKM_SHA224_HMAC_GENERAL, FLAT},
    {CKM_SHA384, FLAT},
    {CKM_SHA384_HMAC, FLAT},
    {CKM_SHA384_HMAC_GENERAL, FLAT},
    {CKM_SHA512, FLAT},
    {CKM_SHA512_HMAC, FLAT},
    {CKM_SHA512_HMAC_GENERAL, FLAT},
    {CKM_SECURID_KEY_GEN, FLAT},
    {CKM_SECURID, &shape::CK_OTP_PARAMS, &shape::CK_OTP_SIGNATURE_INFO},
    {CKM_HOTP_KEY_GEN, FLAT},
    {CKM_HOTP, &shape::CK_OTP_PARAMS, &shape::CK_OTP_SIGNATURE_INFO},
    {CKM_ACTI, &shape::CK_OTP_PARAMS, &shape::CK_OTP_SIGNATURE_INFO},
    {CKM_ACTI_KEY_GEN, FLAT},
    {CKM_SHA3_256, FLAT},
    {CKM_SHA3_256_HMAC, FLAT},
    {CKM_SHA3_256_HMAC_GENERAL, FLAT},
    {CKM_SHA3_256_KEY_GEN, FLAT},
    {CKM_SHA3_224, FLAT},
    {CKM_SHA3_224_HMAC, FLAT},
    {CKM_SHA3_224_HMAC_GENERAL, FLAT},
    {CKM_SHA3_224_KEY_GEN, FLAT},
    {CKM_SHA3_384, FLAT},
    {CKM_SHA3_384_HMAC, FLAT},
    {CKM_SHA3_384_HMAC_GENERAL, FLAT},
    {CKM_SHA3_384_KEY_GEN, FLAT},
    {CKM_SHA3_512, FLAT},
    {CKM_SHA3_512_HMAC, FLAT},
    {CKM_SHA3_512_HMAC_GENERAL, FLAT},
    {CKM_SHA3_512_KEY_GEN, FLAT},
    {CKM_CAST_KEY_GEN, FLAT},
    {CKM_CAST_ECB, FLAT},
    {CKM_CAST_CBC, FLAT},
    {CKM_CAST_MAC, FLAT},
    {CKM_CAST_MAC_GENERAL, FLAT},
    {CKM_CAST_CBC_PAD, FLAT},
    {CKM_CAST3_KEY_GEN, FLAT},
    {CKM_CAST3_ECB, FLAT},
    {CKM_CAST3_CBC, FLAT},
    {CKM_CAST3_MAC, FLAT},
    {CKM_CAST3_MAC_GENERAL, FLAT},
    {CKM_CAST3_CBC_PAD, FLAT},
    {CKM_CAST5_KEY_GEN, FLAT},
    {CKM_CAST5_ECB, FLAT},
    {CKM_CAST5_CBC, FLAT},
    {CKM_CAST5_MAC, FLAT},
    {CKM_CAST5_MAC_GENERAL, FLAT},
    {CKM_CAST5_CBC_PAD, FLAT},
    {CKM_RC5_KEY_GEN, FLAT},
    {CKM_RC5_ECB, FLAT},
    {CKM_RC5_CBC, &shape::CK_RC5_CBC_PARAMS},
    {CKM_RC5_MAC, FLAT},
    {CKM_RC5_MAC_GENERAL, FLAT},
    {CKM_RC5_CBC_PAD, &shape::CK_RC5_CBC_PARAMS},
    {CKM_IDEA_KEY_GEN, FLAT},
    {CKM_IDEA_ECB, FLAT},
    {CKM_IDEA_CBC, FLAT},
    {CKM_IDEA_MAC, FLAT},
    {CKM_IDEA_MAC_GENERAL, FLAT},
    {CKM_IDEA_CBC_PAD, FLAT},
    {CKM_GENERIC_SECRET_KEY_GEN, FLAT},
    {CKM_CONCATENATE_BASE_AND_KEY, HANDLE},
    {CKM_CONCATENATE_BASE_AND_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_CONCATENATE_DATA_AND_BASE, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_XOR_BASE_AND_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_EXTRACT_KEY_FROM_KEY, FLAT},
    {CKM_SSL3_PRE_MASTER_KEY_GEN, FLAT},
    {CKM_SSL3_MASTER_KEY_DERIVE, &shape::CK_SSL3_MASTER_KEY_DERIVE_PARAMS},
    {CKM_SSL3_KEY_AND_MAC_DERIVE, &shape::CK_SSL3_KEY_MAT_PARAMS},
    {CKM_SSL3_MASTER_KEY_DERIVE_DH, &shape::CK_SSL3_MASTER_KEY_DERIVE_PARAMS},
    {CKM_TLS_PRE_MASTER_KEY_GEN, FLAT},
    {CKM_TLS_MASTER_KEY_DERIVE, &shape::CK_SSL3_MASTER_KEY_DERIVE_PARAMS},
    {CKM_TLS_KEY_AND_MAC_DERIVE, &shape::CK_SSL3_KEY_MAT_PARAMS},
    {CKM_TLS_MASTER_KEY_DERIVE_DH, &shape::CK_SSL3_MASTER_KEY_DERIVE_PARAMS},
    {CKM_TLS_PRF, &shape::CK_TLS_PRF_PARAMS},
    {CKM_SSL3_MD5_MAC, FLAT},
    {CKM_SSL3_SHA1_MAC, FLAT},
    {CKM_MD5_KEY_DERIVATION, FLAT},
    {CKM_MD2_KEY_DERIVATION, FLAT},
    {CKM_SHA1_KEY_DERIVATION, FLAT},
    {CKM_SHA256_KEY_DERIVATION, FLAT},
    {CKM_SHA384_KEY_DERIVATION, FLAT},
    {CKM_SHA512_KEY_DERIVATION, FLAT},
    {CKM_SHA224_KEY_DERIVATION, FLAT},
    {CKM_SHA3_256_KEY_DERIVATION, FLAT},
    {CKM_SHA3_224_KEY_DERIVATION, FLAT},
    {CKM_SHA3_384_KEY_DERIVATION, FLAT},
    {CKM_SHA3_512_KEY_DERIVATION, FLAT},
    {CKM_SHAKE_128_KEY_DERIVATION, FLAT},
    {CKM_SHAKE_256_KEY_DERIVATION, FLAT},
    {CKM_PBE_MD2_DES_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_MD5_DES_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_MD5_CAST_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_MD5_CAST3_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_MD5_CAST5_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_CAST5_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_RC4_128, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_RC4_40, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_DES3_EDE_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_DES2_EDE_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_RC2_128_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PBE_SHA1_RC2_40_CBC, &shape::CK_PBE_PARAMS},
    {CKM_PKCS5_PBKD2, PBKD2},
    {CKM_PBA_SHA1_WITH_SHA1_HMAC, &shape::CK_PBE_PARAMS},
    {CKM_WTLS_PRE_MASTER_KEY_GEN, FLAT},
    {CKM_WTLS_MASTER_KEY_DERIVE, &shape::CK_WTLS_MASTER_KEY_DERIVE_PARAMS},
    {CKM_WTLS_MASTER_KEY_DERIVE_DH_ECC, &shape::CK_WTLS_MASTER_KEY_DERIVE_PARAMS},
    {CKM_WTLS_PRF, &shape::CK_WTLS_PRF_PARAMS},
    {CKM_WTLS_SERVER_KEY_AND_MAC_DERIVE, &shape::CK_WTLS_KEY_MAT_PARAMS},
    {CKM_WTLS_CLIENT_KEY_AND_MAC_DERIVE, &shape::CK_WTLS_KEY_MAT_PARAMS},
    {CKM_TLS10_MAC_SERVER, FLAT},
    {CKM_TLS10_MAC_CLIENT, FLAT},
    {CKM_TLS12_MAC, FLAT},
    {CKM_TLS12_KDF, &shape::CK_TLS_KDF_PARAMS},
    {CKM_TLS12_MASTER_KEY_DERIVE, &shape::CK_TLS12_MASTER_KEY_DERIVE_PARAMS},
    {CKM_TLS12_KEY_AND_MAC_DERIVE, &shape::CK_TLS12_KEY_MAT_PARAMS},
    {CKM_TLS12_MASTER_KEY_DERIVE_DH, &shape::CK_TLS12_MASTER_KEY_DERIVE_PARAMS},
    {CKM_TLS12_KEY_SAFE_DERIVE, &shape::CK_TLS12_KEY_MAT_PARAMS},
    {CKM_TLS_MAC, FLAT},
    {CKM_TLS_KDF, &shape::CK_TLS_KDF_PARAMS},
    {CKM_KEY_WRAP_LYNKS, FLAT},
    {CKM_KEY_WRAP_SET_OAEP, &shape::CK_KEY_WRAP_SET_OAEP_PARAMS},
    {CKM_CMS_SIG, &shape::CK_CMS_SIG_PARAMS},
    {CKM_KIP_DERIVE, &shape::CK_KIP_PARAMS},
    {CKM_KIP_WRAP, &shape::CK_KIP_PARAMS},
    {CKM_KIP_MAC, &shape::CK_KIP_PARAMS},
    {CKM_CAMELLIA_KEY_GEN, FLAT},
    {CKM_CAMELLIA_ECB, FLAT},
    {CKM_CAMELLIA_CBC, FLAT},
    {CKM_CAMELLIA_MAC, FLAT},
    {CKM_CAMELLIA_MAC_GENERAL, FLAT},
    {CKM_CAMELLIA_CBC_PAD, FLAT},
    {CKM_CAMELLIA_ECB_ENCRYPT_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_CAMELLIA_CBC_ENCRYPT_DATA, &shape::CK_CAMELLIA_CBC_ENCRYPT_DATA_PARAMS},
    {CKM_CAMELLIA_CTR, FLAT},
    {CKM_ARIA_KEY_GEN, FLAT},
    {CKM_ARIA_ECB, FLAT},
    {CKM_ARIA_CBC, FLAT},
    {CKM_ARIA_MAC, FLAT},
    {CKM_ARIA_MAC_GENERAL, FLAT},
    {CKM_ARIA_CBC_PAD, FLAT},
    {CKM_ARIA_ECB_ENCRYPT_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_ARIA_CBC_ENCRYPT_DATA, &shape::CK_ARIA_CBC_ENCRYPT_DATA_PARAMS},
    {CKM_SEED_KEY_GEN, FLAT},
    {CKM_SEED_ECB, FLAT},
    {CKM_SEED_CBC, FLAT},
    {CKM_SEED_MAC, FLAT},
    {CKM_SEED_MAC_GENERAL, FLAT},
    {CKM_SEED_CBC_PAD, FLAT},
    {CKM_SEED_ECB_ENCRYPT_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_SEED_CBC_ENCRYPT_DATA, &shape::CK_SEED_CBC_ENCRYPT_DATA_PARAMS},
    {CKM_SKIPJACK_KEY_GEN, FLAT},
    {CKM_SKIPJACK_ECB64, FLAT_OUT},
    {CKM_SKIPJACK_CBC64, FLAT_OUT},
    {CKM_SKIPJACK_OFB64, FLAT_OUT},
    {CKM_SKIPJACK_CFB64, FLAT_OUT},
    {CKM_SKIPJACK_CFB32, FLAT_OUT},
    {CKM_SKIPJACK_CFB16, FLAT_OUT},
    {CKM_SKIPJACK_CFB8, FLAT_OUT},
    {CKM_SKIPJACK_WRAP, FLAT},
    {CKM_SKIPJACK_PRIVATE_WRAP, &shape::CK_SKIPJACK_PRIVATE_WRAP_PARAMS},
    {CKM_SKIPJACK_RELAYX, &shape::CK_SKIPJACK_RELAYX_PARAMS},
    {CKM_KEA_KEY_PAIR_GEN, FLAT},
    {CKM_KEA_KEY_DERIVE, &shape::CK_KEA_DERIVE_PARAMS},
    {CKM_KEA_DERIVE, &shape::CK_KEA_DERIVE_PARAMS},
    {CKM_FORTEZZA_TIMESTAMP, FLAT},
    {CKM_BATON_KEY_GEN, FLAT},
    {CKM_BATON_ECB128, FLAT_OUT},
    {CKM_BATON_ECB96, FLAT_OUT},
    {CKM_BATON_CBC128, FLAT_OUT},
    {CKM_BATON_COUNTER, FLAT_OUT},
    {CKM_BATON_SHUFFLE, FLAT_OUT},
    {CKM_BATON_WRAP, FLAT},
    {CKM_ECDSA_KEY_PAIR_GEN, FLAT},
    {CKM_ECDSA, FLAT},
    {CKM_ECDSA_SHA1, FLAT},
    {CKM_ECDSA_SHA224, FLAT},
    {CKM_ECDSA_SHA256, FLAT},
    {CKM_ECDSA_SHA384, FLAT},
    {CKM_ECDSA_SHA512, FLAT},
    {CKM_EC_KEY_PAIR_GEN_W_EXTRA_BITS, FLAT},
    {CKM_ECDH1_DERIVE, &shape::CK_ECDH1_DERIVE_PARAMS},
    {CKM_ECDH1_COFACTOR_DERIVE, &shape::CK_ECDH1_DERIVE_PARAMS},
    {CKM_ECMQV_DERIVE, &shape::CK_ECMQV_DERIVE_PARAMS},
    {CKM_ECDH_AES_KEY_WRAP, &shape::CK_ECDH_AES_KEY_WRAP_PARAMS},
    {CKM_RSA_AES_KEY_WRAP, &shape::CK_RSA_AES_KEY_WRAP_PARAMS},
    {CKM_JUNIPER_KEY_GEN, FLAT},
    {CKM_JUNIPER_ECB128, FLAT_OUT},
    {CKM_JUNIPER_CBC128, FLAT_OUT},
    {CKM_JUNIPER_COUNTER, FLAT_OUT},
    {CKM_JUNIPER_SHUFFLE, FLAT_OUT},
    {CKM_JUNIPER_WRAP, FLAT},
    {CKM_FASTHASH, FLAT},
    {CKM_AES_XTS, FLAT},
    {CKM_AES_XTS_KEY_GEN, FLAT},
    {CKM_AES_KEY_GEN, FLAT},
    {CKM_AES_ECB, FLAT},
    {CKM_AES_CBC, FLAT},
    {CKM_AES_MAC, FLAT},
    {CKM_AES_MAC_GENERAL, FLAT},
    {CKM_AES_CBC_PAD, FLAT},
    {CKM_AES_CTR, FLAT},
    {CKM_AES_GCM, GCM},
    {CKM_AES_CCM, CCM},
    {CKM_AES_CTS, FLAT},
    {CKM_AES_CMAC, FLAT},
    {CKM_AES_CMAC_GENERAL, FLAT},
    {CKM_AES_XCBC_MAC, FLAT},
    {CKM_AES_XCBC_MAC_96, FLAT},
    {CKM_AES_GMAC, GMAC},
    {CKM_BLOWFISH_KEY_GEN, FLAT},
    {CKM_BLOWFISH_CBC, FLAT},
    {CKM_TWOFISH_KEY_GEN, FLAT},
    {CKM_TWOFISH_CBC, FLAT},
    {CKM_BLOWFISH_CBC_PAD, FLAT},
    {CKM_TWOFISH_CBC_PAD, FLAT},
    {CKM_DES_ECB_ENCRYPT_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_DES_CBC_ENCRYPT_DATA, &shape::CK_DES_CBC_ENCRYPT_DATA_PARAMS},
    {CKM_DES3_ECB_ENCRYPT_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_DES3_CBC_ENCRYPT_DATA, &shape::CK_DES_CBC_ENCRYPT_DATA_PARAMS},
    {CKM_AES_ECB_ENCRYPT_DATA, &shape::CK_KEY_DERIVATION_STRING_DATA},
    {CKM_AES_CBC_ENCRYPT_DATA, &shape::CK_AES_CBC_ENCRYPT_DATA_PARAMS},
    {CKM_GOSTR3410_KEY_PAIR_GEN, FLAT},
    {CKM_GOSTR3410, FLAT},
    {CKM_GOSTR3410_WITH_GOSTR3411, FLAT},
    {CKM_GOSTR3410_KEY_WRAP, &shape::CK_GOSTR3410_KEY_WRAP_PARAMS},
    {CKM_GOSTR3410_DERIVE, &shape::CK_GOSTR3410_DERIVE_PARAMS},
    {CKM_GOSTR3411, FLAT},
    {CKM_GOSTR3411_HMAC, FLAT},
    {CKM_GOST28147_KEY_GEN, FLAT},
    {CKM_GOST28147_ECB, FLAT},
    {CKM_GOST28147, FLAT},
    {CKM_GOST28147_MAC, FLAT},
    {CKM_GOST28147_KEY_WRAP, FLAT},
    {CKM_CHACHA20_KEY_GEN, FLAT},
    {CKM_CHACHA20, &shape::CK_CHACHA20_PARAMS},
    {CKM_POLY1305_KEY_GEN, FLAT},
    {CKM_POLY1305, FLAT},
    {CKM_DSA_PARAMETER_GEN, FLAT},
    {CKM_DH_PKCS_PARAMETER_GEN, FLAT},
    {CKM_X9_42_DH_PARAMETER_GEN, FLAT},
    {CKM_DSA_PROBABILISTIC_PARAMETER_GEN, &shape::CK_DSA_PARAMETER_GEN_PARAM},
    {CKM_DSA_SHAWE_TAYLOR_PARAMETER_GEN, &shape::CK_DSA_PARAMETER_GEN_PARAM},
    {CKM_DSA_FIPS_G_GEN, &shape::CK_DSA_PARAMETER_GEN_PARAM},
    {CKM_AES_OFB, FLAT},
    {CKM_AES_CFB64, FLAT},
    {CKM_AES_CFB8, FLAT},
    {CKM_AES_CFB128, FLAT},
    {CKM_AES_CFB1, FLAT},
    {CKM_AES_KEY_WRAP, FLAT},
    {CKM_AES_KEY_WRAP_PAD, FLAT},
    {CKM_AES_KEY_WRAP_KWP, FLAT},
    {CKM_AES_KEY_WRAP_PKCS7, FLAT},
    {CKM_RSA_PKCS_TPM_1_1, FLAT},
    {CKM_RSA_PKCS_OAEP_TPM_1_1, FLAT},
    {CKM_SHA_1_KEY_GEN, FLAT},
    {CKM_SHA224_KEY_GEN, FLAT},
    {CKM_SHA256_KEY_GEN, FLAT},
    {CKM_SHA384_KEY_GEN, FLAT},
    {CKM_SHA512_KEY_GEN, FLAT},
    {CKM_SHA512_224_KEY_GEN, FLAT},
    {CKM_SHA512_256_KEY_GEN, FLAT},
    {CKM_SHA512_T_KEY_GEN, FLAT},
    {CKM_NULL, FLAT},
    {CKM_BLAKE2B_160, FLAT},
    {CKM_BLAKE2B_160_HMAC, FLAT},
    {CKM_BLAKE2B_160_HMAC_GENERAL, FLAT},
    {CKM_BLAKE2B_160_KEY_DERIVE, FLAT},
    {CKM_BLAKE2B_160_KEY_GEN, FLAT},
    {CKM_BLAKE2B_256, FLAT},
    {CKM_BLAKE2B_256_HMAC, FLAT},
    {CKM_BLAKE2B_256_HMAC_GENERAL, FLAT},
    {CKM_BLAKE2B_256_KEY_DERIVE, FLAT},
    {CKM_BLAKE2B_256_KEY_GEN, FLAT},
    {CKM_BLAKE2B_384, FLAT},
    {CKM_BLAKE2B_384_HMAC, FLAT},
    {CKM_BLAKE2B_384_HMAC_GENERAL, FLAT},
    {CKM_BLAKE2B_384_KEY_DERIVE, FLAT},
    {CKM_BLAKE2B_384_KEY_GEN, FLAT},
    {CKM_BLAKE2B_512, FLAT},
    {CKM_BLAKE2B_512_HMAC, FLAT},
    {CKM_BLAKE2B_512_HMAC_GENERAL, FLAT},
    {CKM_BLAKE2B_512_KEY_DERIVE, FLAT},
    {CKM_BLAKE2B_512_KEY_GEN, FLAT},
    {CKM_SALSA20, &shape::CK_SALSA20_PARAMS},
    {CKM_CHACHA20_POLY1305, POLY1305},
    {CKM_SALSA20_POLY1305, POLY1305},
    {CKM_X3DH_INITIALIZE, &shape::CK_X3DH_INITIATE_PARAMS},
    {CKM_X3DH_RESPOND, &shape::CK_X3DH_RESPOND_PARAMS},
    {CKM_X2RATCHET_INITIALIZE, &shape::CK_X2RATCHET_INITIALIZE_PARAMS},
    {CKM_X2RATCHET_RESPOND, &shape::CK_X2RATCHET_RESPOND_PARAMS},
    {CKM_X2RATCHET_ENCRYPT, FLAT},
    {CKM_X2RATCHET_DECRYPT, FLAT},
    {CKM_XEDDSA, FLAT},
    {CKM_HKDF_DERIVE, &shape::CK_HKDF_PARAMS},
    {CKM_HKDF_DATA, &shape::CK_HKDF_PARAMS},
    {CKM_HKDF_KEY_GEN, FLAT},
    {CKM_SALSA20_KEY_GEN, FLAT},
    {CKM_ECDSA_SHA3_224, FLAT},
    {CKM_ECDSA_SHA3_256, FLAT},
    {CKM_ECDSA_SHA3_384, FLAT},
    {CKM_ECDSA_SHA3_512, FLAT},
    {CKM_EC_EDWARDS_KEY_PAIR_GEN, FLAT},
    {CKM_EC_MONTGOMERY_KEY_PAIR_GEN, FLAT},
    {CKM_EDDSA, &shape::CK_EDDSA_PARAMS},
    {CKM_SP800_108_COUNTER_KDF, &shape::CK_SP800_108_KDF_PARAMS},
    {CKM_SP800_108_FEEDBACK_KDF, &shape::CK_SP800_108_FEEDBACK_KDF_PARAMS},
    {CKM_SP800_108_DOUBLE_PIPELINE_KDF, &shape::CK_SP800_108_KDF_PARAMS},
    {CKM_IKE2_PRF_PLUS_DERIVE, &shape::CK_IKE2_PRF_PLUS_DERIVE_PARAMS},
    {CKM_IKE_PRF_DERIVE, &shape::CK_IKE_PRF_DERIVE_PARAMS},
    {CKM_IKE1_PRF_DERIVE, &shape::CK_IKE1_PRF_DERIVE_PARAMS},
    {CKM_IKE1_EXTENDED_DERIVE, &shape::CK_IKE1_EXTENDED_DERIVE_PARAMS},
    {CKM_HSS_KEY_PAIR_GEN, FLAT},
    {CKM_HSS, FLAT},
    {CKM_XMSS_KEY_PAIR_GEN, FLAT},
    {CKM_XMSSMT_KEY_PAIR_GEN, FLAT},
    {CKM_XMSS, FLAT},
    {CKM_XMSSMT, FLAT},
    {CKM_ECDH_X_AES_KEY_WRAP, &shape::CK_ECDH_AES_KEY_WRAP_PARAMS},
    {CKM_ECDH_COF_AES_KEY_WRAP, &shape::CK_ECDH_AES_KEY_WRAP_PARAMS},
    {CKM_PUB_KEY_FROM_PRIV_KEY, FLAT},
    {CKM_ML_KEM_KEY_PAIR_GEN, FLAT},
    {CKM_ML_KEM, FLAT},
    {CKM_ML_DSA_KEY_PAIR_GEN, FLAT},
    {CKM_ML_DSA, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA, &shape::CK_HASH_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA224, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA256, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA384, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA512, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA3_224, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA3_256, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA3_384, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHA3_512, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHAKE128, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_ML_DSA_SHAKE256, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_SLH_DSA_KEY_PAIR_GEN, FLAT},
    {CKM_SLH_DSA, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA, &shape::CK_HASH_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA224, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA256, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA384, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA512, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA3_224, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA3_256, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA3_384, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHA3_512, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHAKE128, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_HASH_SLH_DSA_SHAKE256, &shape::CK_SIGN_ADDITIONAL_CONTEXT},
    {CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE, &shape::CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS},
    {CKM_TLS12_EXTENDED_MASTER_KEY_DERIVE_DH, &shape::CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS},
};
// clang-format on

constexpr auto SORTED = [] {
  std::array<std::uint16_t, std::size(LINES)> index{};
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::uint16_t>(i);
  std::sort(index.begin(), index.end(),
            [](std::uint16_t a, std::uint16_t b) { return LINES[a].type < LINES[b].type; });
  return index;
}();

constexpr auto TYPES = [] {
  std::array<CK_MECHANISM_TYPE, std::size(LINES)> types{};
  for (std::size_t i = 0; i < types.size(); ++i) types[i] = LINES[SORTED[i]].type;
  return types;
}();

const Line* lineOf(CK_MECHANISM_TYPE mechanism) {
  auto found = std::lower_bound(TYPES.begin(), TYPES.end(), mechanism);
  if (found == TYPES.end() || *found != mechanism) return nullptr;
  return &LINES[SORTED[static_cast<std::size_t>(found - TYPES.begin())]];
}

}  // namespace

std::span<const Shape* const> shapes() {
  return ALL;
}

std::span<const CK_MECHANISM_TYPE> knownMechanisms() {
  return TYPES;
}

const Shape* signatureOf(CK_MECHANISM_TYPE mechanism) {
  const Line* line = lineOf(mechanism);
  return line == nullptr ? nullptr : line->signature;
}

Layout layoutOf(CK_MECHANISM_TYPE mechanism, Use use, const void* parameter, CK_ULONG length) {
  const Line* found = lineOf(mechanism);
  if (found == nullptr) return {};
  const Line& line = *found;
  if (line.shape != nullptr) return {line.kind, line.shape};
  if (line.choices.empty()) return {line.kind, nullptr};

  // An exact size decides; of a size that fits none, the first layout for this call is taken and
  // the module judges the length. In a call that none is for, all of them may be meant.
  auto fits = [&](const Choice& choice) {
    return choice.fits == nullptr || (parameter != nullptr && length >= choice.shape->size &&
                                      choice.fits(static_cast<const std::byte*>(parameter)));
  };
  const Shape* taken = nullptr;
  for (unsigned uses : {on(use), ~0U}) {
    for (const Choice& choice : line.choices) {
      if ((choice.uses & uses) == 0 || !fits(choice)) continue;
      if (choice.shape->size == length) return {line.kind, choice.shape};
      if (taken == nullptr) taken = choice.shape;
    }
    if (taken != nullptr) break;
  }
  return {line.kind, taken};
}

}  // namespace bulkhead::ipc
