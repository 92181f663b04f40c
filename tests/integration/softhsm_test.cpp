// SPDX-License-Identifier: BSD-2-Clause
//
// SoftHSM2 in its worker answers as it does in this process. Two ways to see it: the same calls on
// fresh tokens, whose results are compared line by line; and one token used both ways at once,
// where each side has to understand what the other made.
#include <iomanip>

#include "tests/integration/fixture.h"
#include "tests/integration/template.h"

namespace bulkhead::test {
namespace {

using Bytes = std::vector<CK_BYTE>;

CK_UTF8CHAR* text(std::string& s) {
  return reinterpret_cast<CK_UTF8CHAR*>(s.data());
}

Bytes bytesOf(std::string_view s) {
  return {s.begin(), s.end()};
}

std::string hex(const Bytes& bytes) {
  std::ostringstream out;
  for (CK_BYTE b : bytes) out << std::hex << std::setw(2) << std::setfill('0') << unsigned{b};
  return out.str();
}

// prime256v1
constexpr std::string_view P256{"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10};

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

Template secretKey(CK_KEY_TYPE type, std::string_view label, bool token) {
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

CK_RV generatePair(const Token& token, CK_MECHANISM_TYPE how, std::string_view label,
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

// ---- the same calls on fresh tokens ----

// What was called and what came of it.
class Transcript {
 public:
  void note(std::string_view what, CK_RV rv, const std::string& detail = {}) {
    std::ostringstream line;
    line << what << " -> 0x" << std::hex << rv;
    if (!detail.empty()) line << " " << detail;
    lines_.push_back(line.str());
  }
  void note(std::string_view what, CK_RV rv, const Bytes& bytes) { note(what, rv, hex(bytes)); }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  std::vector<std::string> lines_;
};

void describe(Transcript& t, CK_FUNCTION_LIST* f, CK_SLOT_ID slot) {
  CK_SLOT_INFO info{};
  CK_RV rv = f->C_GetSlotInfo(slot, &info);
  std::string description = field(info.slotDescription);
  // It names the slot's number, which is the module's on one side and the proxy's on the other.
  t.note("C_GetSlotInfo", rv,
         description.substr(0, 12) + "|" + field(info.manufacturerID) + "|" +
             std::to_string(info.flags) + "|" + std::to_string(info.hardwareVersion.major) + "." +
             std::to_string(info.firmwareVersion.minor));
  CK_TOKEN_INFO token{};
  rv = f->C_GetTokenInfo(slot, &token);
  std::ostringstream out;
  out << field(token.label) << "|" << field(token.manufacturerID) << "|" << field(token.model)
      << "|" << std::hex << token.flags << "|" << token.ulMaxSessionCount << "|"
      << token.ulSessionCount << "|" << token.ulRwSessionCount << "|" << token.ulMaxPinLen << "|"
      << token.ulMinPinLen << "|" << token.ulTotalPublicMemory << "|" << token.ulFreePublicMemory;
  t.note("C_GetTokenInfo", rv, out.str());
}

void initialiseToken(Transcript& t, CK_FUNCTION_LIST* f) {
  CK_SLOT_ID slot = slots(f, true).at(0);
  describe(t, f, slot);
  std::string label = "compared", so = "so-pin-1", wrong = "wrong-pin", user = "user-pin",
              fresh = "fresh-pin", tiny = "1";
  label.resize(32, ' ');
  t.note("short SO PIN", f->C_InitToken(slot, text(tiny), tiny.size(), text(label)));
  t.note("C_InitToken", f->C_InitToken(slot, text(so), so.size(), text(label)));
  t.note("wrong SO PIN", f->C_InitToken(slot, text(wrong), wrong.size(), text(label)));
  describe(t, f, slot);
  Session s(f, slot);
  t.note("user before its PIN", s.login(user));
  t.note("C_InitPIN by nobody", f->C_InitPIN(s, text(user), user.size()));
  t.note("wrong SO", s.login(wrong, CKU_SO));
  t.note("SO", s.login(so, CKU_SO));
  t.note("C_InitPIN short", f->C_InitPIN(s, text(tiny), tiny.size()));
  t.note("C_InitPIN", f->C_InitPIN(s, text(user), user.size()));
  t.note("user beside SO", s.login(user));
  t.note("C_Logout", f->C_Logout(s));
  t.note("C_Logout again", f->C_Logout(s));
  t.note("wrong user", s.login(wrong));
  describe(t, f, slot);
  t.note("user", s.login(user));
  t.note("user again", s.login(user));
  t.note("wrong C_SetPIN", f->C_SetPIN(s, text(wrong), wrong.size(), text(fresh), fresh.size()));
  t.note("C_SetPIN", f->C_SetPIN(s, text(user), user.size(), text(fresh), fresh.size()));
  t.note("C_Logout", f->C_Logout(s));
  t.note("old user PIN", s.login(user));
  t.note("new user PIN", s.login(fresh));
  CK_SESSION_INFO info{};
  CK_RV rv = f->C_GetSessionInfo(s, &info);
  t.note("C_GetSessionInfo", rv,
         std::to_string(info.state) + "|" + std::to_string(info.flags) + "|" +
             std::to_string(info.ulDeviceError) + (info.slotID == slot ? "" : "|other slot"));
  describe(t, f, slot);
}

void useKnownKeys(Transcript& t, const Token& token) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_OBJECT_HANDLE aes = 0, hmac = 0;
  t.note("create AES",
         token.create(
             secretKey(CKK_AES, "aes", false).bytes(CKA_VALUE, "0123456789abcdef0123456789abcdef"),
             aes));
  t.note("create generic",
         token.create(secretKey(CKK_GENERIC_SECRET, "generic", false)
                          .bytes(CKA_VALUE, "the quick brown fox jumps over the lazy dog"),
                      hmac));
  for (CK_ATTRIBUTE_TYPE type :
       {CKA_CLASS, CKA_KEY_TYPE, CKA_TOKEN, CKA_PRIVATE, CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE,
        CKA_EXTRACTABLE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL, CKA_KEY_GEN_MECHANISM, CKA_VALUE,
        CKA_VALUE_LEN, CKA_CHECK_VALUE, CKA_LABEL, CKA_MODULUS, CKA_START_DATE})
    t.note("attribute " + std::to_string(type), CKR_OK, token.attribute(aes, type));

  // Several at once: one that is there, one that is not, one without enough room.
  Template mixed;
  mixed.room(CKA_LABEL, 8).room(CKA_MODULUS, 8).room(CKA_VALUE, 4);
  CK_RV rv = f->C_GetAttributeValue(token.session(), aes, mixed.data(), mixed.size());
  t.note("C_GetAttributeValue", rv,
         std::to_string(mixed[0].ulValueLen) + "|" + std::to_string(mixed[1].ulValueLen) + "|" +
             std::to_string(mixed[2].ulValueLen));

  Bytes out, again,
      plain = bytesOf(
          "sixteen bytes..."
          "and sixteen more");
  CK_BYTE iv[16] = {1, 2, 3};
  CK_AES_CTR_PARAMS ctr{};
  ctr.ulCounterBits = 128;
  ctr.cb[0] = 9;
  CK_BYTE associated[] = {5, 6, 7};
  CK_GCM_PARAMS gcm{};
  gcm.pIv = iv;
  gcm.ulIvLen = 12;
  gcm.ulIvBits = 96;
  gcm.pAAD = associated;
  gcm.ulAADLen = sizeof associated;
  gcm.ulTagBits = 128;
  const std::pair<const char*, CK_MECHANISM> CIPHERS[] = {
      {"ECB", {CKM_AES_ECB, nullptr, 0}},
      {"CBC", {CKM_AES_CBC, iv, sizeof iv}},
      {"CBC_PAD", {CKM_AES_CBC_PAD, iv, sizeof iv}},
      {"CBC without IV", {CKM_AES_CBC, nullptr, 0}},
      {"CTR", {CKM_AES_CTR, &ctr, sizeof ctr}},
      {"GCM", {CKM_AES_GCM, &gcm, sizeof gcm}},
      {"GCM with half a parameter", {CKM_AES_GCM, &gcm, sizeof gcm / 2}},
  };
  for (auto& [name, m] : CIPHERS) {
    t.note(std::string("encrypt ") + name, token.encrypt(m, aes, plain, out), out);
    t.note(std::string("decrypt ") + name, token.decrypt(m, aes, out, again), again);
    out.clear();
    again.clear();
  }
  t.note("odd length", token.encrypt({CKM_AES_ECB, nullptr, 0}, aes, bytesOf("odd"), out));
  for (CK_MECHANISM_TYPE m : {CKM_SHA256_HMAC, CKM_SHA512_HMAC}) {
    Bytes mac;
    t.note("HMAC", token.sign({m, nullptr, 0}, hmac, plain, mac), mac);
    t.note("HMAC right", token.verify({m, nullptr, 0}, hmac, plain, mac));
    if (!mac.empty()) mac[0] ^= 1;
    t.note("HMAC wrong", token.verify({m, nullptr, 0}, hmac, plain, mac));
  }
  Bytes cmac;
  t.note("CMAC", token.sign({CKM_AES_CMAC, nullptr, 0}, aes, plain, cmac), cmac);
  Bytes wrapped;
  for (CK_MECHANISM_TYPE m : {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD}) {
    t.note("wrap", token.wrap({m, nullptr, 0}, aes, aes, wrapped), wrapped);
    CK_OBJECT_HANDLE back = 0;
    t.note("unwrap",
           token.unwrap({m, nullptr, 0}, aes, wrapped, secretKey(CKK_AES, "back", false), back));
    t.note("unwrapped", CKR_OK, token.attribute(back, CKA_VALUE));
    if (!wrapped.empty()) wrapped[3] ^= 1;
    t.note("unwrap damaged",
           token.unwrap({m, nullptr, 0}, aes, wrapped, secretKey(CKK_AES, "back", false), back));
  }
  CK_OBJECT_HANDLE derived = 0;
  CK_KEY_DERIVATION_STRING_DATA data{plain.data(), plain.size()};
  t.note("derive ECB_ENCRYPT_DATA",
         token.derive({CKM_AES_ECB_ENCRYPT_DATA, &data, sizeof data}, aes,
                      secretKey(CKK_GENERIC_SECRET, "derived", false).number(CKA_VALUE_LEN, 32),
                      derived));
  t.note("derived", CKR_OK, token.attribute(derived, CKA_VALUE));
  CK_AES_CBC_ENCRYPT_DATA_PARAMS cbc{};
  cbc.iv[0] = 4;
  cbc.pData = plain.data();
  cbc.length = plain.size();
  t.note("derive CBC_ENCRYPT_DATA",
         token.derive({CKM_AES_CBC_ENCRYPT_DATA, &cbc, sizeof cbc}, aes,
                      secretKey(CKK_GENERIC_SECRET, "derived", false).number(CKA_VALUE_LEN, 32),
                      derived));
  t.note("derived", CKR_OK, token.attribute(derived, CKA_VALUE));

  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  t.note("C_DigestInit", f->C_DigestInit(token.session(), &sha));
  t.note("C_DigestUpdate", f->C_DigestUpdate(token.session(), plain.data(), 5));
  t.note("C_DigestKey", f->C_DigestKey(token.session(), hmac));
  CK_BYTE digest[32];
  CK_ULONG size = 3;
  t.note("C_DigestFinal in 3", f->C_DigestFinal(token.session(), digest, &size),
         std::to_string(size));
  size = sizeof digest;
  rv = f->C_DigestFinal(token.session(), digest, &size);
  t.note("C_DigestFinal", rv, Bytes(digest, digest + 32));
}

void manageObjects(Transcript& t, const Token& token) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_OBJECT_HANDLE object = 0, copy = 0;
  t.note("create data", token.create(Template()
                                         .number(CKA_CLASS, CKO_DATA)
                                         .boolean(CKA_TOKEN, true)
                                         .bytes(CKA_LABEL, "note")
                                         .bytes(CKA_APPLICATION, "")
                                         .bytes(CKA_VALUE, {"with\0zero", 9}),
                                     object));
  t.note("value", CKR_OK, token.attribute(object, CKA_VALUE));
  t.note("empty", CKR_OK, token.attribute(object, CKA_APPLICATION));
  Template renamed;
  renamed.bytes(CKA_LABEL, "another");
  t.note("C_SetAttributeValue",
         f->C_SetAttributeValue(token.session(), object, renamed.data(), renamed.size()));
  t.note("label", CKR_OK, token.attribute(object, CKA_LABEL));
  Template copied;
  copied.bytes(CKA_LABEL, "copy").boolean(CKA_TOKEN, false);
  t.note("C_CopyObject",
         f->C_CopyObject(token.session(), object, copied.data(), copied.size(), &copy));
  t.note("found", CKR_OK,
         std::to_string(token.find(Template().number(CKA_CLASS, CKO_DATA)).size()));
  CK_ULONG size = 0;
  t.note("C_GetObjectSize", f->C_GetObjectSize(token.session(), object, &size));
  t.note("C_DestroyObject", f->C_DestroyObject(token.session(), object));
  t.note("C_DestroyObject again", f->C_DestroyObject(token.session(), object));
  t.note("found", CKR_OK,
         std::to_string(token.find(Template().number(CKA_CLASS, CKO_DATA)).size()));
  t.note("no such class", token.create(Template().number(CKA_CLASS, 0x1234), object));
  t.note("an empty template", token.create(Template(), object));
}

void generateKeys(Transcript& t, const Token& token) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_MECHANISM gen{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  for (CK_ULONG length : {16UL, 32UL, 17UL}) {
    Template one = secretKey(CKK_AES, "generated", true);
    one.number(CKA_VALUE_LEN, length);
    t.note("C_GenerateKey", f->C_GenerateKey(token.session(), &gen, one.data(), one.size(), &key));
    if (length != 17) t.note("length", CKR_OK, token.attribute(key, CKA_VALUE_LEN));
  }
  for (CK_MECHANISM_TYPE how : {CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN}) {
    CK_OBJECT_HANDLE pub = 0, priv = 0;
    t.note("C_GenerateKeyPair", generatePair(token, how, "pair", pub, priv));
    for (CK_ATTRIBUTE_TYPE type : {CKA_KEY_TYPE, CKA_LOCAL, CKA_MODULUS_BITS, CKA_PUBLIC_EXPONENT,
                                   CKA_EC_PARAMS, CKA_VERIFY, CKA_SENSITIVE})
      t.note("public", CKR_OK, token.attribute(pub, type));
    t.note(
        "length of modulus or point", CKR_OK,
        std::to_string(
            token.attribute(pub, how == CKM_EC_KEY_PAIR_GEN ? CKA_EC_POINT : CKA_MODULUS).size()));
    CK_MECHANISM m{how == CKM_EC_KEY_PAIR_GEN ? CKM_ECDSA : CKM_RSA_PKCS, nullptr, 0};
    Bytes signature;
    CK_RV rv = token.sign(m, priv, bytesOf("0123456789abcdef0123456789abcdef"), signature);
    t.note("sign", rv, std::to_string(signature.size()));
    t.note("verify", token.verify(m, pub, bytesOf("0123456789abcdef0123456789abcdef"), signature));
    t.note("verify other", token.verify(m, pub, bytesOf("other"), signature));
    t.note("sign by the public key", token.sign(m, pub, bytesOf("x"), signature));
  }
}

void tryMechanisms(Transcript& t, const Token& token, CK_SLOT_ID slot) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_ULONG count = 0;
  t.note("C_GetMechanismList", f->C_GetMechanismList(slot, nullptr, &count), std::to_string(count));
  std::vector<CK_MECHANISM_TYPE> list(count);
  t.note("C_GetMechanismList", f->C_GetMechanismList(slot, list.data(), &count),
         std::to_string(count));
  CK_ULONG few = 2;
  t.note("C_GetMechanismList in 2", f->C_GetMechanismList(slot, list.data(), &few),
         std::to_string(few));
  for (CK_MECHANISM_TYPE type : list) {
    CK_MECHANISM_INFO info{};
    CK_RV rv = f->C_GetMechanismInfo(slot, type, &info);
    t.note("mechanism " + std::to_string(type), rv,
           std::to_string(info.ulMinKeySize) + "|" + std::to_string(info.ulMaxKeySize) + "|" +
               std::to_string(info.flags));
  }
  CK_MECHANISM_INFO info{};
  t.note("no such mechanism", f->C_GetMechanismInfo(slot, 0x7fffffff, &info));
}

// No order of calls that a module is not ready for; no handle that it does not know.
void misuse(Transcript& t, const Token& token) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_BYTE buffer[64] = {};
  CK_ULONG size = sizeof buffer;
  t.note("C_Sign without C_SignInit", f->C_Sign(token.session(), buffer, 3, buffer, &size));
  size = sizeof buffer;
  t.note("C_Encrypt without C_EncryptInit",
         f->C_Encrypt(token.session(), buffer, 3, buffer, &size));
  CK_MECHANISM m{CKM_AES_ECB, nullptr, 0};
  t.note("no such key", f->C_EncryptInit(token.session(), &m, 0x7777));
  t.note("no mechanism", f->C_EncryptInit(token.session(), nullptr, 1));
  t.note("no such session", f->C_Logout(0x123456));
  t.note("no room for random", f->C_GenerateRandom(token.session(), nullptr, 0));
  t.note("C_GenerateRandom", f->C_GenerateRandom(token.session(), buffer, sizeof buffer));
  t.note("C_SeedRandom", f->C_SeedRandom(token.session(), buffer, sizeof buffer));
  t.note("C_GetFunctionStatus", f->C_GetFunctionStatus(token.session()));
  t.note("C_CancelFunction", f->C_CancelFunction(token.session()));
  CK_ULONG n = 0;
  t.note("C_GetOperationState", f->C_GetOperationState(token.session(), nullptr, &n));
  t.note("C_FindObjects without init", f->C_FindObjects(token.session(), &n, 1, &n));
}

std::vector<std::string> allCalls(const std::string& path) {
  Transcript t;
  Library library(path);
  CK_FUNCTION_LIST* f = library.functions();
  CK_ULONG none = 0;
  t.note("before C_Initialize", f->C_GetSlotList(CK_FALSE, nullptr, &none));
  {
    Initialized initialized(f);
    initialiseToken(t, f);
  }
  {
    Initialized initialized(f);
    auto slot = slotOf(f, "compared");
    EXPECT_TRUE(slot);
    if (!slot) return {};
    Token token(f, *slot);
    t.note("user", token.session().login("fresh-pin"));
    useKnownKeys(t, token);
    manageObjects(t, token);
    generateKeys(t, token);
    tryMechanisms(t, token, *slot);
    misuse(t, token);
    describe(t, f, *slot);
    t.note("C_CloseAllSessions", f->C_CloseAllSessions(*slot));
    t.note("closed", f->C_Logout(token.session()));
    t.note("no such slot", f->C_CloseAllSessions(0x7fffffff));
  }
  t.note("after C_Finalize", f->C_GetSlotList(CK_FALSE, nullptr, &none));
  t.note("C_Finalize again", f->C_Finalize(nullptr));
  return t.lines();
}

TEST(SoftHsm, everyCallGivesWhatTheModuleGives) {
  BULKHEAD_NEEDS(SOFTHSM);
  std::vector<std::string> direct, proxied;
  {
    Configuration configuration;
    configuration.addSoftHsm();
    direct = allCalls(SOFTHSM);
  }
  {
    Configuration configuration;
    configuration.addSoftHsm();
    proxied = allCalls(proxyPath());
  }
  ASSERT_GT(direct.size(), 200u);
  for (std::size_t i = 0; i < std::min(direct.size(), proxied.size()); ++i)
    EXPECT_EQ(direct[i], proxied[i]) << "line " << i;
  EXPECT_EQ(direct.size(), proxied.size());
}

// ---- one token, both ways ----

class SoftHsmBothWays : public ::testing::Test {
 protected:
  static constexpr const char* LABEL = "shared";

  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    configuration_.emplace();
    configuration_->addSoftHsm();
    makeSoftHsmTokens({LABEL});
    directLibrary_.emplace(SOFTHSM);
    proxyLibrary_.emplace();
    reopen();
  }
  // SoftHSM2 does not see what another process adds to a token while it has it open.
  void reopen() {
    for (auto [library, initialized, token] :
         {std::tuple{&directLibrary_, &direct_, &directToken_},
          std::tuple{&proxyLibrary_, &proxied_, &proxiedToken_}}) {
      token->reset();
      initialized->reset();
      CK_FUNCTION_LIST* f = (*library)->functions();
      initialized->emplace(f);
      auto slot = slotOf(f, LABEL);
      ASSERT_TRUE(slot);
      token->emplace(f, *slot);
      ASSERT_EQ((*token)->session().login(USER_PIN), CKR_OK);
    }
  }
  const Token& direct() const { return *directToken_; }
  const Token& proxied() const { return *proxiedToken_; }

  // A mechanism that leaves nothing to chance.
  void expectSame(CK_MECHANISM m, std::string_view label, const Bytes& data) {
    SCOPED_TRACE("mechanism " + std::to_string(m.mechanism));
    Bytes one, two;
    ASSERT_EQ(direct().sign(m, direct().one(CKO_PRIVATE_KEY, label), data, one), CKR_OK);
    ASSERT_EQ(proxied().sign(m, proxied().one(CKO_PRIVATE_KEY, label), data, two), CKR_OK);
    EXPECT_EQ(hex(one), hex(two));
  }
  void expectVerified(CK_MECHANISM m, std::string_view label, const Bytes& data) {
    SCOPED_TRACE("mechanism " + std::to_string(m.mechanism));
    for (auto [signer, verifier] :
         {std::pair{&direct(), &proxied()}, std::pair{&proxied(), &direct()}}) {
      Bytes signature;
      ASSERT_EQ(signer->sign(m, signer->one(CKO_PRIVATE_KEY, label), data, signature), CKR_OK);
      CK_OBJECT_HANDLE key = verifier->one(CKO_PUBLIC_KEY, label);
      EXPECT_EQ(verifier->verify(m, key, data, signature), CKR_OK);
      signature[5] ^= 1;
      EXPECT_EQ(verifier->verify(m, key, data, signature), CKR_SIGNATURE_INVALID);
    }
  }
  void expectDecrypted(CK_MECHANISM m, CK_OBJECT_CLASS encryptingKey, CK_OBJECT_CLASS decryptingKey,
                       std::string_view label, const Bytes& data) {
    SCOPED_TRACE("mechanism " + std::to_string(m.mechanism));
    for (auto [sender, receiver] :
         {std::pair{&direct(), &proxied()}, std::pair{&proxied(), &direct()}}) {
      Bytes secret, plain;
      ASSERT_EQ(sender->encrypt(m, sender->one(encryptingKey, label), data, secret), CKR_OK);
      ASSERT_EQ(receiver->decrypt(m, receiver->one(decryptingKey, label), secret, plain), CKR_OK);
      EXPECT_EQ(hex(plain), hex(data));
    }
  }

 private:
  std::optional<Configuration> configuration_;
  std::optional<Library> directLibrary_, proxyLibrary_;
  std::optional<Initialized> direct_, proxied_;
  std::optional<Token> directToken_, proxiedToken_;
};

TEST_F(SoftHsmBothWays, rsaKeysSignAndDecryptForEachOther) {
  CK_OBJECT_HANDLE pub, priv;
  ASSERT_EQ(generatePair(proxied(), CKM_RSA_PKCS_KEY_PAIR_GEN, "made by proxy", pub, priv), CKR_OK);
  reopen();
  ASSERT_EQ(generatePair(direct(), CKM_RSA_PKCS_KEY_PAIR_GEN, "made directly", pub, priv), CKR_OK);
  reopen();
  CK_RSA_PKCS_PSS_PARAMS pss{CKM_SHA256, CKG_MGF1_SHA256, 32};
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, nullptr, 0};
  Bytes data = bytesOf("what is to be signed");
  for (const char* label : {"made by proxy", "made directly"}) {
    SCOPED_TRACE(label);
    for (CK_MECHANISM_TYPE m : {CKM_RSA_PKCS, CKM_SHA1_RSA_PKCS, CKM_SHA256_RSA_PKCS,
                                CKM_SHA384_RSA_PKCS, CKM_SHA512_RSA_PKCS}) {
      expectSame({m, nullptr, 0}, label, data);
      expectVerified({m, nullptr, 0}, label, data);
    }
    expectVerified({CKM_SHA256_RSA_PKCS_PSS, &pss, sizeof pss}, label, data);
    expectDecrypted({CKM_RSA_PKCS, nullptr, 0}, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, label, data);
    expectDecrypted({CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep}, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY, label,
                    data);
  }
}

TEST_F(SoftHsmBothWays, ecKeysSignAndDeriveForEachOther) {
  CK_OBJECT_HANDLE ours, theirs, priv;
  ASSERT_EQ(generatePair(proxied(), CKM_EC_KEY_PAIR_GEN, "made by proxy", ours, priv), CKR_OK);
  reopen();
  ASSERT_EQ(generatePair(direct(), CKM_EC_KEY_PAIR_GEN, "made directly", theirs, priv), CKR_OK);
  reopen();
  for (const char* label : {"made by proxy", "made directly"})
    expectVerified({CKM_ECDSA, nullptr, 0}, label, bytesOf("0123456789abcdef0123456789abcdef"));

  // The same secret from the same two keys, on either side.
  auto secret = [](const Token& token) {
    CK_OBJECT_HANDLE peer = token.one(CKO_PUBLIC_KEY, "made directly");
    CK_ATTRIBUTE size{CKA_EC_POINT, nullptr, 0};
    EXPECT_EQ(token->C_GetAttributeValue(token.session(), peer, &size, 1), CKR_OK);
    Bytes point(size.ulValueLen);
    size.pValue = point.data();
    EXPECT_EQ(token->C_GetAttributeValue(token.session(), peer, &size, 1), CKR_OK);
    CK_ECDH1_DERIVE_PARAMS params{};
    params.kdf = CKD_NULL;
    params.pPublicData = point.data();
    params.ulPublicDataLen = point.size();
    CK_OBJECT_HANDLE derived = 0;
    EXPECT_EQ(token.derive({CKM_ECDH1_DERIVE, &params, sizeof params},
                           token.one(CKO_PRIVATE_KEY, "made by proxy"),
                           secretKey(CKK_GENERIC_SECRET, "secret", false).number(CKA_VALUE_LEN, 32),
                           derived),
              CKR_OK);
    return token.attribute(derived, CKA_VALUE);
  };
  std::string one = secret(direct()), two = secret(proxied());
  EXPECT_EQ(one.size(), 64u);
  EXPECT_EQ(one, two);
}

TEST_F(SoftHsmBothWays, aesKeysEncryptAndWrapForEachOther) {
  CK_MECHANISM gen{CKM_AES_KEY_GEN, nullptr, 0};
  CK_BYTE iv[16] = {8, 8, 8};
  CK_GCM_PARAMS gcm{};
  gcm.pIv = iv;
  gcm.ulIvLen = 12;
  gcm.ulTagBits = 128;
  auto generate = [&](const Token& token, const char* label) {
    CK_OBJECT_HANDLE key = 0;
    Template t = secretKey(CKK_AES, label, true);
    t.number(CKA_VALUE_LEN, 32);
    ASSERT_EQ(token->C_GenerateKey(token.session(), &gen, t.data(), t.size(), &key), CKR_OK);
    reopen();
  };
  generate(proxied(), "made by proxy");
  generate(direct(), "made directly");
  for (const char* label : {"made by proxy", "made directly"}) {
    SCOPED_TRACE(label);
    for (std::size_t size : {16UL, 4096UL, 1UL << 18}) {
      expectDecrypted({CKM_AES_CBC_PAD, iv, sizeof iv}, CKO_SECRET_KEY, CKO_SECRET_KEY, label,
                      Bytes(size, 0x33));
      expectDecrypted({CKM_AES_GCM, &gcm, sizeof gcm}, CKO_SECRET_KEY, CKO_SECRET_KEY, label,
                      Bytes(size, 0x33));
    }
    // Wrapped by one side, unwrapped by the other: the same key.
    Bytes wrapped;
    CK_OBJECT_HANDLE by = proxied().one(CKO_SECRET_KEY, label);
    ASSERT_EQ(proxied().wrap({CKM_AES_KEY_WRAP, nullptr, 0}, by, by, wrapped), CKR_OK);
    CK_OBJECT_HANDLE back = 0;
    CK_OBJECT_HANDLE own = direct().one(CKO_SECRET_KEY, label);
    ASSERT_EQ(direct().unwrap({CKM_AES_KEY_WRAP, nullptr, 0}, own, wrapped,
                              secretKey(CKK_AES, "back", false), back),
              CKR_OK);
    EXPECT_EQ(direct().attribute(back, CKA_VALUE), proxied().attribute(by, CKA_VALUE));
    EXPECT_EQ(direct().attribute(back, CKA_VALUE).size(), 64u);
  }
}

TEST_F(SoftHsmBothWays, allMechanismsOfTheModuleAreListed) {
  auto list = [](const Token& token) {
    CK_SESSION_INFO info{};
    EXPECT_EQ(token->C_GetSessionInfo(token.session(), &info), CKR_OK);
    std::vector<CK_MECHANISM_TYPE> types(1000);
    CK_ULONG count = types.size();
    EXPECT_EQ(token->C_GetMechanismList(info.slotID, types.data(), &count), CKR_OK);
    types.resize(count);
    return types;
  };
  auto all = list(direct());
  EXPECT_GT(all.size(), 50u);
  EXPECT_EQ(all, list(proxied()));
}

// ---- pkcs11-tool ----

std::string outputOf(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "re"), ::pclose);
  std::string out;
  char buffer[4096];
  std::size_t n;
  while ((n = std::fread(buffer, 1, sizeof buffer, pipe.get())) > 0) out.append(buffer, n);
  return out;
}

TEST(SoftHsm, pkcs11ToolTestPrintsWhatItPrintsDirectly) {
  BULKHEAD_NEEDS(SOFTHSM);
  if (std::system("command -v pkcs11-tool >/dev/null") != 0) GTEST_SKIP() << "no pkcs11-tool";
  // A sanitizer's runtime has to come first in a program that was built without it.
  std::string runtime;
  std::istringstream maps(readFile("/proc/self/maps"));
  for (std::string line; std::getline(maps, line);)
    if (line.find("/libasan.so") != std::string::npos ||
        line.find("/libtsan.so") != std::string::npos)
      runtime = line.substr(line.find('/'));
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  if (runtime.empty()) GTEST_SKIP() << "the sanitizer is not a library of its own";
#endif
  auto run = [&](const std::string& module) {
    return outputOf("env -u BULKHEAD_LOG ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD='" + runtime +
                    "' pkcs11-tool --module '" + module + "' --token-label tool --login --pin " +
                    USER_PIN + " --test 2>&1; echo status $?");
  };
  // One pair at a time: the module lists objects in the order of their addresses, which is another
  // each time.
  for (CK_MECHANISM_TYPE how : {CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN}) {
    Configuration configuration;
    configuration.addSoftHsm();
    makeSoftHsmTokens({"tool"});
    {
      Library direct(SOFTHSM);
      Initialized initialized(direct.functions());
      Token token(direct.functions(), slotOf(direct.functions(), "tool").value());
      ASSERT_EQ(token.session().login(USER_PIN), CKR_OK);
      CK_OBJECT_HANDLE pub, priv;
      ASSERT_EQ(generatePair(token, how, "pair", pub, priv), CKR_OK);
    }
    std::string direct = run(SOFTHSM), proxied = run(proxyPath());
    EXPECT_NE(direct.find("all 4 digest functions seem to work"), std::string::npos) << direct;
    EXPECT_EQ(direct, proxied);
  }
}

}  // namespace
}  // namespace bulkhead::test
