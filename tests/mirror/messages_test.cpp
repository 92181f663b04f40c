// SPDX-License-Identifier: BSD-2-Clause
//
// NSS's software token twice: loaded directly, and behind the proxy. Random sequences of the
// message functions that Cryptoki 3.0 brought, with AES-GCM: return values, lengths, bytes, and all
// that is written through the pointers of a parameter are the same. (What lies in the buffer beside
// an error is nobody's: this module wipes it, and through the proxy it stays as it was.) The module
// lacks messages in pieces and signatures of messages; the mirror has those.
// MIRROR_SEED= replays a run.
#include <algorithm>
#include <random>

#include "tests/integration/token.h"
#include "tests/mirror/layers.h"

namespace bulkhead::test {
namespace {

// One of the two: a session of the module's general slot, with an AES key that both know.
struct Side {
  CK_FUNCTION_LIST_3_0* f = nullptr;
  CK_SESSION_HANDLE session = 0;
  CK_OBJECT_HANDLE key = 0;
};

// A text that says how a call came out.
class Outcome {
 public:
  Outcome& operator<<(CK_ULONG n) {
    text_ += std::to_string(n) + " ";
    return *this;
  }
  Outcome& operator<<(const Bytes& bytes) {
    text_ += hex(bytes) + " ";
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class Messages : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(NSS_SOFTOKN);
    configuration_.emplace();
    std::string directory = configuration_->directory().makeDirectory("nss");
    std::string parameters = "configdir='sql:" + directory + "' flags=noModDB,noCertDB,forceOpen";
    configuration_->addModule("nss-softokn", NSS_SOFTOKN, "x-init-reserved: " + parameters + "\n");
    configuration_->addDropIn("nss-softokn", "[Filesystem]\nReadWritePaths=" + directory + "\n");

    directLibrary_.emplace(NSS_SOFTOKN);
    // NSS has one field more than the standard.
    struct {
      CK_C_INITIALIZE_ARGS standard{};
      void* more = nullptr;
    } arguments;
    arguments.standard.flags = CKF_OS_LOCKING_OK;
    arguments.standard.pReserved = parameters.data();
    open(direct_, *directLibrary_, &arguments);
    proxyLibrary_.emplace();
    CK_C_INITIALIZE_ARGS plain{};
    plain.flags = CKF_OS_LOCKING_OK;
    open(proxied_, *proxyLibrary_, &plain);
  }
  void TearDown() override {
    for (Side* side : {&direct_, &proxied_})
      if (side->f != nullptr) (void)side->f->C_Finalize(nullptr);
  }

  static void open(Side& side, const Library& library, void* arguments) {
    CK_VERSION version{3, 0};
    CK_INTERFACE_PTR interface = nullptr;
    auto get = library.symbol<CK_C_GetInterface>("C_GetInterface");
    CK_UTF8CHAR name[] = "PKCS 11";
    ASSERT_EQ(get(name, &version, &interface, 0), CKR_OK);
    side.f = static_cast<CK_FUNCTION_LIST_3_0*>(interface->pFunctionList);
    ASSERT_EQ(side.f->C_Initialize(arguments), CKR_OK);
    auto old = reinterpret_cast<CK_FUNCTION_LIST*>(side.f);
    auto slot = slotOf(old, "NSS Generic Crypto Services");
    ASSERT_TRUE(slot);
    ASSERT_EQ(side.f->C_OpenSession(*slot, CKF_SERIAL_SESSION, nullptr, nullptr, &side.session),
              CKR_OK);
    Template key = secretKey(CKK_AES, "messages", false);
    key.bytes(CKA_VALUE, "0123456789abcdef");
    ASSERT_EQ(side.f->C_CreateObject(side.session, key.data(), key.size(), &side.key), CKR_OK);
  }

  // Does the same on both sides; says on how many steps both succeeded.
  void both(const std::string& what, const std::function<CK_RV(Side&, Outcome&)>& call) {
    Outcome wanted, got;
    CK_RV rv = call(direct_, wanted);
    EXPECT_EQ(call(proxied_, got), rv) << what;
    EXPECT_EQ(got.text(), wanted.text()) << what;
    succeeded_ += rv == CKR_OK ? 1 : 0;
  }

  std::optional<Configuration> configuration_;
  std::optional<Library> directLibrary_, proxyLibrary_;
  Side direct_, proxied_;
  unsigned succeeded_ = 0;
};

TEST_F(Messages, hundredsOfThem) {
  const char* given = std::getenv("MIRROR_SEED");
  std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::printf("MIRROR_SEED=%llu\n", static_cast<unsigned long long>(seed));
  RecordProperty("seed", std::to_string(seed));
  std::mt19937_64 dice(seed);
  auto below = [&](CK_ULONG n) { return static_cast<CK_ULONG>(dice() % n); };
  auto random = [&](CK_ULONG n) {
    Bytes bytes(n);
    for (CK_BYTE& b : bytes) b = static_cast<CK_BYTE>(dice());
    return bytes;
  };

  for (int step = 0; step < 400 && !HasFailure(); ++step) {
    std::string what = "seed " + std::to_string(seed) + " step " + std::to_string(step);
    bool decrypting = below(2) == 0;
    bool withParameter = below(4) == 0;
    Bytes iv = random(12), tag(20), plain = random(below(100)), aad = random(below(40));
    CK_ULONG tagBits = below(8) == 0 ? 8 * below(20) : 128;
    // Where the IV comes from: the caller, a counter, chance in what the caller leaves free.
    static constexpr CK_GENERATOR_FUNCTION GENERATORS[] = {CKG_NO_GENERATE, CKG_NO_GENERATE,
                                                           CKG_GENERATE, CKG_GENERATE_COUNTER};
    CK_GENERATOR_FUNCTION generator = GENERATORS[below(std::size(GENERATORS))];
    CK_ULONG fixedBits = generator == CKG_NO_GENERATE ? 0 : 8 * below(12);
    // With room for what is generated at random there is nothing to compare.
    if (generator == CKG_GENERATE) fixedBits = 96;
    unsigned messages = static_cast<unsigned>(1 + below(3));
    CK_ULONG way = below(8);
    bool inPlace = below(3) == 0;

    both(what, [&](Side& s, Outcome& o) {
      Bytes ownIv = iv, ownTag = tag;
      CK_GCM_MESSAGE_PARAMS params{ownIv.data(), ownIv.size(),  fixedBits,
                                   generator,    ownTag.data(), tagBits};
      CK_MECHANISM m{CKM_AES_GCM, withParameter ? &params : nullptr,
                     withParameter ? sizeof params : 0};
      CK_RV rv = CKR_OK;
      // Now and then of a session that has no such operation, or not any more.
      if (way != 6) {
        rv = s.f->C_MessageEncryptInit(s.session, &m, s.key);
        o << rv << ownIv << ownTag;
      }
      Bytes secret;
      for (unsigned i = 0; i < messages; ++i) {
        Bytes in = plain, out(plain.size() + 7, 0xee);
        if (inPlace) out = in;
        Bytes before = out;
        CK_ULONG n = way == 1 ? plain.size() / 2 : out.size();
        CK_BYTE_PTR from = inPlace ? out.data() : in.data();
        rv = s.f->C_EncryptMessage(s.session, way == 2 ? nullptr : static_cast<void*>(&params),
                                   way == 3 ? 24 : sizeof params, aad.data(), aad.size(), from,
                                   in.size(), way == 4 ? nullptr : out.data(), &n);
        o << rv << n << ownIv << ownTag << params.ulIvLen << params.ulTagBits;
        if (rv != CKR_OK) {
          if (&s == &proxied_) {
            EXPECT_EQ(hex(out), hex(before)) << what;
          }
          break;
        }
        o << out;
        secret.assign(out.data(), out.data() + std::min<std::size_t>(n, out.size()));
      }
      CK_RV encrypted = rv;
      o << s.f->C_MessageEncryptFinal(s.session);
      if (!decrypting || way == 4) return encrypted;

      params.ivGenerator = CKG_NO_GENERATE;
      m = {CKM_AES_GCM, nullptr, 0};
      rv = s.f->C_MessageDecryptInit(s.session, &m, s.key);
      o << rv;
      if (way == 5 && !ownTag.empty()) ownTag[3] ^= 1;
      Bytes out = secret;
      out.resize(secret.size() + 7);
      CK_ULONG n = out.size();
      rv = s.f->C_DecryptMessage(s.session, &params, sizeof params, aad.data(), aad.size(),
                                 inPlace ? out.data() : secret.data(), secret.size(), out.data(),
                                 &n);
      o << rv << n << ownTag;
      if (rv == CKR_OK) o << out;
      if (rv == CKR_OK && encrypted == CKR_OK && way != 5) {
        out.resize(n);
        EXPECT_EQ(hex(out), hex(plain));
      }
      o << s.f->C_MessageDecryptFinal(s.session);
      return rv;
    });
  }
  EXPECT_GT(succeeded_, 50u);
}

// What this module says of a message in pieces and of signatures of messages: that it lacks them,
// until a newer one has them.
TEST_F(Messages, inPieces) {
  Bytes aad = bytesOf("said beside it"), plain = bytesOf("thirty-two bytes in two pieces..");
  CK_RV begun = CKR_OK;
  both("without an operation", [&](Side& s, Outcome& o) {
    Bytes iv(12, 5), tag(16), out(64);
    CK_GCM_MESSAGE_PARAMS params{iv.data(), iv.size(), 0, CKG_NO_GENERATE, tag.data(), 128};
    CK_ULONG n = out.size();
    CK_RV rv = s.f->C_EncryptMessage(s.session, &params, sizeof params, aad.data(), aad.size(),
                                     plain.data(), plain.size(), out.data(), &n);
    o << rv << n << iv << tag;
    EXPECT_EQ(rv, CKR_OPERATION_NOT_INITIALIZED);
    return rv;
  });
  both("in pieces", [&](Side& s, Outcome& o) {
    Bytes iv(12, 5), tag(16), out(64);
    CK_GCM_MESSAGE_PARAMS params{iv.data(), iv.size(), 0, CKG_NO_GENERATE, tag.data(), 128};
    CK_MECHANISM m{CKM_AES_GCM, nullptr, 0};
    o << s.f->C_MessageEncryptInit(s.session, &m, s.key);
    begun = s.f->C_EncryptMessageBegin(s.session, &params, sizeof params, aad.data(), aad.size());
    o << begun;
    for (CK_FLAGS last : {CK_FLAGS{0}, CK_FLAGS{CKF_END_OF_MESSAGE}}) {
      CK_ULONG n = out.size();
      CK_RV rv = s.f->C_EncryptMessageNext(s.session, &params, sizeof params, plain.data(), 16,
                                           out.data(), &n, last);
      o << rv << n << out << iv << tag;
      EXPECT_EQ(rv, begun);
    }
    o << s.f->C_MessageEncryptFinal(s.session);
    o << s.f->C_MessageDecryptInit(s.session, &m, s.key);
    CK_RV rv =
        s.f->C_DecryptMessageBegin(s.session, &params, sizeof params, aad.data(), aad.size());
    EXPECT_EQ(rv, begun);
    CK_ULONG n = out.size();
    o << rv
      << s.f->C_DecryptMessageNext(s.session, &params, sizeof params, out.data(), 16, out.data(),
                                   &n, CKF_END_OF_MESSAGE)
      << n << out << s.f->C_MessageDecryptFinal(s.session);
    o << s.f->C_SessionCancel(s.session, CKF_MESSAGE_ENCRYPT);
    CK_MECHANISM hmac{CKM_SHA256_HMAC, nullptr, 0};
    o << s.f->C_MessageSignInit(s.session, &hmac, s.key);
    n = out.size();
    o << s.f->C_SignMessage(s.session, nullptr, 0, plain.data(), plain.size(), out.data(), &n);
    o << s.f->C_SignMessageBegin(s.session, nullptr, 0);
    o << n << out << s.f->C_MessageSignFinal(s.session);
    CK_UTF8CHAR user[] = "nobody";
    o << s.f->C_LoginUser(s.session, CKU_USER, user, 3, user, 6);
    return CK_RV{CKR_OK};
  });
  std::printf("C_EncryptMessageBegin of this module: 0x%lx\n", begun);
  EXPECT_TRUE(begun == CKR_OK || begun == CKR_FUNCTION_NOT_SUPPORTED) << begun;
}

}  // namespace
}  // namespace bulkhead::test
