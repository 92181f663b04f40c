// SPDX-License-Identifier: BSD-2-Clause
//
// A token under test, with the operations that tests want in one line.
#pragma once

#include <iomanip>

#include "tests/integration/fixture.h"
#include "tests/integration/template.h"

namespace bulkhead::test {

using Bytes = std::vector<CK_BYTE>;

inline CK_UTF8CHAR* text(std::string& s) {
  return reinterpret_cast<CK_UTF8CHAR*>(s.data());
}

inline Bytes bytesOf(std::string_view s) {
  return {s.begin(), s.end()};
}

inline std::string hex(const Bytes& bytes) {
  std::ostringstream out;
  for (CK_BYTE b : bytes) out << std::hex << std::setw(2) << std::setfill('0') << unsigned{b};
  return out.str();
}

// prime256v1
inline constexpr std::string_view P256{"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10};

// The two ways of an operation: the first call asks for the size, the second for the result. Both
// answers are part of what is compared.
template <typename Call>
CK_RV twice(Call call, Bytes& out) {
  CK_ULONG size = 0;
  CK_RV rv = call(nullptr, &size);
  if (rv != CKR_OK) return rv;
  out.assign(size, 0);
  rv = call(out.data(), &size);
  if (rv == CKR_OK) out.resize(size);
  return rv;
}

// A module under a session, with the operations that tests want in one line.
class Token {
 public:
  Token(CK_FUNCTION_LIST* f, CK_SLOT_ID slot) : f_(f), session_(f, slot) {}

  const Session& session() const { return session_; }
  CK_FUNCTION_LIST* operator->() const { return f_; }

  CK_RV encrypt(CK_MECHANISM m, CK_OBJECT_HANDLE key, Bytes in, Bytes& out) const {
    CK_RV rv = f_->C_EncryptInit(session_, &m, key);
    if (rv != CKR_OK) return rv;
    return twice([&](CK_BYTE* p,
                     CK_ULONG* n) { return f_->C_Encrypt(session_, in.data(), in.size(), p, n); },
                 out);
  }
  CK_RV decrypt(CK_MECHANISM m, CK_OBJECT_HANDLE key, Bytes in, Bytes& out) const {
    CK_RV rv = f_->C_DecryptInit(session_, &m, key);
    if (rv != CKR_OK) return rv;
    return twice([&](CK_BYTE* p,
                     CK_ULONG* n) { return f_->C_Decrypt(session_, in.data(), in.size(), p, n); },
                 out);
  }
  CK_RV sign(CK_MECHANISM m, CK_OBJECT_HANDLE key, Bytes in, Bytes& out) const {
    CK_RV rv = f_->C_SignInit(session_, &m, key);
    if (rv != CKR_OK) return rv;
    return twice(
        [&](CK_BYTE* p, CK_ULONG* n) { return f_->C_Sign(session_, in.data(), in.size(), p, n); },
        out);
  }
  CK_RV verify(CK_MECHANISM m, CK_OBJECT_HANDLE key, Bytes in, Bytes signature) const {
    CK_RV rv = f_->C_VerifyInit(session_, &m, key);
    if (rv != CKR_OK) return rv;
    return f_->C_Verify(session_, in.data(), in.size(), signature.data(), signature.size());
  }
  CK_RV wrap(CK_MECHANISM m, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key, Bytes& out) const {
    return twice(
        [&](CK_BYTE* p, CK_ULONG* n) { return f_->C_WrapKey(session_, &m, by, key, p, n); }, out);
  }
  CK_RV unwrap(CK_MECHANISM m, CK_OBJECT_HANDLE by, Bytes in, Template t,
               CK_OBJECT_HANDLE& key) const {
    return f_->C_UnwrapKey(session_, &m, by, in.data(), in.size(), t.data(), t.size(), &key);
  }
  CK_RV derive(CK_MECHANISM m, CK_OBJECT_HANDLE from, Template t, CK_OBJECT_HANDLE& key) const {
    return f_->C_DeriveKey(session_, &m, from, t.data(), t.size(), &key);
  }
  CK_RV create(Template t, CK_OBJECT_HANDLE& key) const {
    return f_->C_CreateObject(session_, t.data(), t.size(), &key);
  }
  std::vector<CK_OBJECT_HANDLE> find(Template t) const {
    std::vector<CK_OBJECT_HANDLE> found(100);
    CK_ULONG count = 0;
    EXPECT_EQ(f_->C_FindObjectsInit(session_, t.data(), t.size()), CKR_OK);
    EXPECT_EQ(f_->C_FindObjects(session_, found.data(), found.size(), &count), CKR_OK);
    EXPECT_EQ(f_->C_FindObjectsFinal(session_), CKR_OK);
    found.resize(count);
    return found;
  }
  CK_OBJECT_HANDLE one(CK_OBJECT_CLASS kind, std::string_view label) const {
    auto found = find(Template().number(CKA_CLASS, kind).bytes(CKA_LABEL, label));
    EXPECT_EQ(found.size(), 1u) << label;
    return found.empty() ? CK_INVALID_HANDLE : found[0];
  }
  // An attribute, or its error.
  std::string attribute(CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) const {
    CK_ATTRIBUTE one{type, nullptr, 0};
    CK_RV rv = f_->C_GetAttributeValue(session_, object, &one, 1);
    if (rv != CKR_OK)
      return "error " + std::to_string(rv) + " length " + std::to_string(one.ulValueLen);
    Bytes value(one.ulValueLen);
    one.pValue = value.data();
    rv = f_->C_GetAttributeValue(session_, object, &one, 1);
    return rv == CKR_OK ? hex(value) : "error " + std::to_string(rv);
  }

 private:
  CK_FUNCTION_LIST* f_;
  Session session_;
};

inline Template secretKey(CK_KEY_TYPE type, std::string_view label, bool token) {
  Template t;
  t.number(CKA_CLASS, CKO_SECRET_KEY)
      .number(CKA_KEY_TYPE, type)
      .boolean(CKA_TOKEN, token)
      .boolean(CKA_SENSITIVE, false)
      .boolean(CKA_EXTRACTABLE, true)
      .bytes(CKA_LABEL, label);
  for (CK_ATTRIBUTE_TYPE use :
       {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE})
    t.boolean(use, true);
  return t;
}

inline CK_RV generatePair(const Token& token, CK_MECHANISM_TYPE how, std::string_view label,
                          CK_OBJECT_HANDLE& publicKey, CK_OBJECT_HANDLE& privateKey) {
  bool rsa = how == CKM_RSA_PKCS_KEY_PAIR_GEN;
  Template pub, priv;
  pub.boolean(CKA_TOKEN, true).bytes(CKA_LABEL, label).boolean(CKA_VERIFY, true);
  priv.boolean(CKA_TOKEN, true)
      .bytes(CKA_LABEL, label)
      .boolean(CKA_SIGN, true)
      .boolean(CKA_SENSITIVE, false)
      .boolean(CKA_EXTRACTABLE, true);
  if (rsa) {
    pub.number(CKA_MODULUS_BITS, 1024)
        .bytes(CKA_PUBLIC_EXPONENT, {"\x01\x00\x01", 3})
        .boolean(CKA_ENCRYPT, true)
        .boolean(CKA_WRAP, true);
    priv.boolean(CKA_DECRYPT, true).boolean(CKA_UNWRAP, true);
  } else {
    pub.bytes(CKA_EC_PARAMS, P256);
    priv.boolean(CKA_DERIVE, true);
  }
  CK_MECHANISM m{how, nullptr, 0};
  return token->C_GenerateKeyPair(token.session(), &m, pub.data(), pub.size(), priv.data(),
                                  priv.size(), &publicKey, &privateKey);
}

}  // namespace bulkhead::test
