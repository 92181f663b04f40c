// SPDX-License-Identifier: BSD-2-Clause
//
// One list of tests of the functions that a token has, written as what an application does and what
// came of it: the same lines, whatever lies between the two.
#pragma once

#include "tests/integration/token.h"

namespace bulkhead::test {

/// What was called and what came of it.
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

inline void describe(Transcript& t, CK_FUNCTION_LIST* f, CK_SLOT_ID slot) {
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

inline void initialiseToken(Transcript& t, CK_FUNCTION_LIST* f) {
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

inline void useKnownKeys(Transcript& t, const Token& token, CK_SLOT_ID) {
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

inline void manageObjects(Transcript& t, const Token& token, CK_SLOT_ID) {
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

inline void generateKeys(Transcript& t, const Token& token, CK_SLOT_ID) {
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

inline void tryMechanisms(Transcript& t, const Token& token, CK_SLOT_ID slot) {
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
inline void misuse(Transcript& t, const Token& token, CK_SLOT_ID) {
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

// Operations in pieces, each with the ways of the two-call convention.
inline void useInPieces(Transcript& t, const Token& token, CK_SLOT_ID) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_SESSION_HANDLE s = token.session();
  CK_OBJECT_HANDLE aes = 0;
  t.note(
      "create AES",
      token.create(secretKey(CKK_AES, "pieces", false).bytes(CKA_VALUE, "0123456789abcdef"), aes));
  CK_BYTE iv[16] = {4, 5, 6};
  Bytes plain = bytesOf("a text of some length, more than two blocks of it, and an odd one");
  auto pieces =
      [&](std::string_view what,
          CK_RV (*update)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR),
          CK_RV (*final)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR), Bytes in) {
        Bytes all;
        CK_BYTE out[128];
        auto take = [&](CK_RV rv, CK_ULONG n) {
          t.note(what, rv, std::to_string(n));
          if (rv == CKR_OK) all.insert(all.end(), out, out + n);
        };
        for (std::size_t at = 0, n; at < in.size(); at += n) {
          n = std::min<std::size_t>(in.size() - at, 17);
          CK_ULONG room = 0;
          t.note("size", update(s, in.data() + at, n, nullptr, &room), std::to_string(room));
          room = 3;
          CK_RV rv = update(s, in.data() + at, n, out, &room);
          take(rv, room);
          if (rv != CKR_BUFFER_TOO_SMALL) continue;
          room = sizeof out;
          rv = update(s, in.data() + at, n, out, &room);
          take(rv, room);
        }
        CK_ULONG room = 0;
        t.note("size", final(s, nullptr, &room), std::to_string(room));
        room = sizeof out;
        CK_RV rv = final(s, out, &room);
        take(rv, room);
        t.note("all", CKR_OK, all);
        return all;
      };
  for (CK_MECHANISM_TYPE how : {CKM_AES_CBC, CKM_AES_CBC_PAD}) {
    CK_MECHANISM m{how, iv, sizeof iv};
    t.note("C_EncryptInit", f->C_EncryptInit(s, &m, aes));
    Bytes secret = pieces("C_EncryptUpdate", f->C_EncryptUpdate, f->C_EncryptFinal, plain);
    t.note("C_DecryptInit", f->C_DecryptInit(s, &m, aes));
    pieces("C_DecryptUpdate", f->C_DecryptUpdate, f->C_DecryptFinal, secret);
  }
  CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  t.note("create generic", token.create(secretKey(CKK_GENERIC_SECRET, "pieces", false)
                                            .bytes(CKA_VALUE, "a key that is long enough for this"),
                                        key));
  CK_BYTE mac[32] = {};
  CK_ULONG n = 5;
  t.note("C_SignInit", f->C_SignInit(s, &hmac, key));
  t.note("C_SignUpdate", f->C_SignUpdate(s, plain.data(), 10));
  t.note("C_SignUpdate", f->C_SignUpdate(s, plain.data() + 10, 20));
  t.note("C_SignFinal in 5", f->C_SignFinal(s, mac, &n), std::to_string(n));
  n = sizeof mac;
  t.note("C_SignFinal", f->C_SignFinal(s, mac, &n), Bytes(mac, mac + n));
  t.note("C_VerifyInit", f->C_VerifyInit(s, &hmac, key));
  t.note("C_VerifyUpdate", f->C_VerifyUpdate(s, plain.data(), 30));
  t.note("C_VerifyFinal", f->C_VerifyFinal(s, mac, sizeof mac));
  t.note("C_SignRecoverInit", f->C_SignRecoverInit(s, &hmac, key));
  t.note("C_VerifyRecoverInit", f->C_VerifyRecoverInit(s, &hmac, key));
  n = sizeof mac;
  t.note("C_DigestEncryptUpdate", f->C_DigestEncryptUpdate(s, plain.data(), 16, mac, &n));
  t.note("C_DecryptDigestUpdate", f->C_DecryptDigestUpdate(s, plain.data(), 16, mac, &n));
  t.note("C_SignEncryptUpdate", f->C_SignEncryptUpdate(s, plain.data(), 16, mac, &n));
  t.note("C_DecryptVerifyUpdate", f->C_DecryptVerifyUpdate(s, plain.data(), 16, mac, &n));
  t.note("C_SetOperationState", f->C_SetOperationState(s, plain.data(), 16, key, 0));
}

// Input and output in one buffer, or one that begins within the other.
inline void useInPlace(Transcript& t, const Token& token, CK_SLOT_ID) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_SESSION_HANDLE s = token.session();
  CK_OBJECT_HANDLE aes = 0;
  t.note(
      "create AES",
      token.create(secretKey(CKK_AES, "place", false).bytes(CKA_VALUE, "0123456789abcdef"), aes));
  CK_BYTE iv[16] = {7};
  CK_MECHANISM m{CKM_AES_CBC, iv, sizeof iv};
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  Bytes buffer(80, 0x31);
  CK_ULONG n = 48;
  t.note("C_EncryptInit", f->C_EncryptInit(s, &m, aes));
  t.note("C_Encrypt", f->C_Encrypt(s, buffer.data(), 48, buffer.data(), &n), buffer);
  n = 48;
  t.note("C_DecryptInit", f->C_DecryptInit(s, &m, aes));
  t.note("C_Decrypt", f->C_Decrypt(s, buffer.data(), 48, buffer.data(), &n), buffer);
  n = 48;
  t.note("C_EncryptInit", f->C_EncryptInit(s, &m, aes));
  t.note("C_EncryptUpdate", f->C_EncryptUpdate(s, buffer.data(), 32, buffer.data(), &n), buffer);
  n = sizeof iv;
  t.note("C_EncryptFinal", f->C_EncryptFinal(s, buffer.data() + 64, &n), std::to_string(n));
  n = 32;
  t.note("C_DigestInit", f->C_DigestInit(s, &sha));
  t.note("C_Digest", f->C_Digest(s, buffer.data(), 80, buffer.data(), &n), buffer);
  // The key's label goes where its template was.
  Template label;
  label.bytes(CKA_LABEL, "12345");
  t.note("C_GetAttributeValue", f->C_GetAttributeValue(s, aes, label.data(), label.size()),
         Bytes(static_cast<CK_BYTE*>(label[0].pValue), static_cast<CK_BYTE*>(label[0].pValue) + 5));
}

// NULL, and what is there and empty: the module tells them apart or not, as it likes.
inline void giveNothing(Transcript& t, const Token& token, CK_SLOT_ID slot) {
  CK_FUNCTION_LIST* f = token.operator->();
  CK_SESSION_HANDLE s = token.session();
  CK_BYTE some[64] = {1, 2, 3};
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  t.note("create generic", token.create(secretKey(CKK_GENERIC_SECRET, "nothing", false)
                                            .bytes(CKA_VALUE, "a key that is long enough for this"),
                                        key));
  struct {
    const char* name;
    CK_BYTE_PTR p;
    CK_ULONG n;
  } ways[] = {{"NULL", nullptr, 0}, {"empty", some, 0}, {"NULL of length 5", nullptr, 5}};
  for (auto& [name, p, n] : ways) {
    CK_ULONG room = sizeof some;
    t.note(name, CKR_OK);
    t.note("C_DigestInit", f->C_DigestInit(s, &sha));
    t.note("C_DigestUpdate", f->C_DigestUpdate(s, p, n));
    room = sizeof some;
    t.note("C_DigestFinal", f->C_DigestFinal(s, some, &room), std::to_string(room));
    t.note("C_DigestInit", f->C_DigestInit(s, &sha));
    room = sizeof some;
    t.note("C_Digest", f->C_Digest(s, p, n, some, &room), std::to_string(room));
    t.note("C_SignInit", f->C_SignInit(s, &hmac, key));
    room = sizeof some;
    t.note("C_Sign", f->C_Sign(s, p, n, some, &room), std::to_string(room));
    t.note("C_VerifyInit", f->C_VerifyInit(s, &hmac, key));
    t.note("C_Verify", f->C_Verify(s, some, 3, p, n));
    t.note("C_SeedRandom", f->C_SeedRandom(s, p, n));
    if (n == 0) t.note("C_GenerateRandom", f->C_GenerateRandom(s, p, n));
    t.note("C_Login", f->C_Login(s, CKU_USER, p, n));
    t.note("C_SetPIN", f->C_SetPIN(s, p, n, p, n));
    t.note("C_InitPIN", f->C_InitPIN(s, p, n));
    t.note("C_SetOperationState", f->C_SetOperationState(s, p, n, 0, 0));
    Template one;
    one.bytes(CKA_LABEL, "nothing");
    one[0].pValue = p;
    one[0].ulValueLen = n;
    t.note("C_SetAttributeValue", f->C_SetAttributeValue(s, key, one.data(), 1));
    t.note("label", CKR_OK, token.attribute(key, CKA_LABEL));
  }
  CK_ATTRIBUTE none{};
  CK_OBJECT_HANDLE object = 0x77;
  CK_ULONG n = 1;
  t.note("no template, C_GetAttributeValue", f->C_GetAttributeValue(s, key, nullptr, 0));
  t.note("no attribute, C_GetAttributeValue", f->C_GetAttributeValue(s, key, &none, 0));
  t.note("no template, C_SetAttributeValue", f->C_SetAttributeValue(s, key, nullptr, 0));
  t.note("no template, C_CreateObject", f->C_CreateObject(s, nullptr, 0, &object));
  t.note("nowhere, C_CreateObject", f->C_CreateObject(s, &none, 1, nullptr));
  t.note("no template, C_FindObjectsInit", f->C_FindObjectsInit(s, nullptr, 0));
  t.note("C_FindObjects nowhere", f->C_FindObjects(s, nullptr, 1, &n));
  t.note("C_FindObjects uncounted", f->C_FindObjects(s, &object, 1, nullptr));
  t.note("C_FindObjectsFinal", f->C_FindObjectsFinal(s));
  t.note("C_GetSlotInfo nowhere", f->C_GetSlotInfo(slot, nullptr));
  t.note("C_GetTokenInfo nowhere", f->C_GetTokenInfo(slot, nullptr));
  t.note("C_GetSessionInfo nowhere", f->C_GetSessionInfo(s, nullptr));
  t.note("C_GetMechanismList uncounted", f->C_GetMechanismList(slot, nullptr, nullptr));
  t.note("C_GetMechanismInfo nowhere", f->C_GetMechanismInfo(slot, CKM_SHA256, nullptr));
  t.note("C_GetObjectSize nowhere", f->C_GetObjectSize(s, key, nullptr));
  t.note("C_OpenSession nowhere",
         f->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, nullptr));
  t.note("C_GenerateKey nowhere", f->C_GenerateKey(s, &sha, nullptr, 0, nullptr));
  t.note("C_DeriveKey of nothing", f->C_DeriveKey(s, nullptr, key, nullptr, 0, &object));
}

/// One thing that an application does with a token.
struct FunctionTest {
  const char* name;
  void (*run)(Transcript&, const Token&, CK_SLOT_ID);
};
inline constexpr FunctionTest FUNCTION_TESTS[] = {
    {"use known keys", useKnownKeys}, {"use keys in pieces", useInPieces},
    {"use one buffer", useInPlace},   {"manage objects", manageObjects},
    {"generate keys", generateKeys},  {"try mechanisms", tryMechanisms},
    {"give nothing", giveNothing},    {"misuse", misuse},
};

/// All of them on a fresh token of a module that is not initialised.
inline std::vector<std::string> transcriptOf(CK_FUNCTION_LIST* f) {
  Transcript t;
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
    for (const FunctionTest& test : FUNCTION_TESTS) {
      t.note(test.name, CKR_OK);
      test.run(t, token, *slot);
    }
    describe(t, f, *slot);
    t.note("C_CloseAllSessions", f->C_CloseAllSessions(*slot));
    t.note("closed", f->C_Logout(token.session()));
    t.note("no such slot", f->C_CloseAllSessions(0x7fffffff));
  }
  t.note("after C_Finalize", f->C_GetSlotList(CK_FALSE, nullptr, &none));
  t.note("C_Finalize again", f->C_Finalize(nullptr));
  return t.lines();
}

}  // namespace bulkhead::test
