// SPDX-License-Identifier: BSD-2-Clause
//
// SoftHSM2 in its worker and in this process on one token: each side understands what the other
// made. (tests/mirror has the same calls on fresh tokens, compared line by line.)
#include "tests/integration/token.h"

namespace bulkhead::test {
namespace {

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
  if (SANITIZED) GTEST_SKIP() << "a program without the sanitizer can't load a proxy with it";
  auto run = [&](const std::string& module) {
    return outputOf("env -u BULKHEAD_LOG pkcs11-tool --module '" + module +
                    "' --token-label tool --login --pin " + USER_PIN +
                    " --test 2>&1; echo status $?");
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
