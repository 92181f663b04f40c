// SPDX-License-Identifier: BSD-2-Clause
//
// A software token twice: its module loaded directly, and behind the proxy. The same calls to both,
// thousands of them, valid and not: return values, lengths and bytes are the same wherever they are
// not random. MIRROR_SEED= replays a run; DIFFERENTIAL=opencryptoki takes openCryptoki's token in
// place of SoftHSM2's.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <random>

#include "ipc/pkcs11.h"

namespace bulkhead::mirror {
namespace {

constexpr const char* SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so";
constexpr const char* OPENCRYPTOKI = "/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0";

bool onOpenCryptoki() {
  const char* module = std::getenv("DIFFERENTIAL");
  return module != nullptr && std::strcmp(module, "opencryptoki") == 0;
}

using Bytes = std::vector<CK_BYTE>;

std::string hex(CK_ULONG n) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%lx", n);
  return text;
}
std::string hex(const Bytes& bytes, CK_ULONG n) {
  std::string text;
  for (CK_ULONG i = 0; i < n && i < bytes.size(); ++i) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", bytes[i]);
    text += two;
  }
  return text;
}

CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, Bytes& value) {
  return {type, value.data(), value.size()};
}
template <typename T>
Bytes value(T v) {
  auto p = reinterpret_cast<const CK_BYTE*>(&v);
  return Bytes(p, p + sizeof v);
}
Bytes text(const std::string& s) {
  return Bytes(s.begin(), s.end());
}

// One of the two.
struct Side {
  CK_FUNCTION_LIST* f = nullptr;
  CK_SESSION_HANDLE session = 0;
  std::vector<CK_OBJECT_HANDLE> objects;  // position for position the same on both
};

class Differential : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* proxy = std::getenv("BULKHEAD_PROXY");
    const char* module = onOpenCryptoki() ? OPENCRYPTOKI : SOFTHSM;
    if (::access(module, R_OK) != 0 || proxy == nullptr) return;
    char pattern[] = "/tmp/bulkhead-differential-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory = pattern;
    write("modules/token.module", std::string("module: ") + module + "\n");
    for (const char* side : {"direct", "proxied"}) {
      auto tokens = directory / side / "tokens";
      write(std::string(side) + "/softhsm2.conf",
            "directories.tokendir = " + tokens.string() + "\nobjectstore.backend = file\n");
      std::filesystem::create_directories(tokens);
    }
    // SoftHSM2 has a token on each side; openCryptoki's is the machine's.
    if (!onOpenCryptoki())
      write("policies/token.policy.d/tokens.conf",
            "[Filesystem]\nReadWritePaths=" + (directory / "proxied/tokens").string() +
                "\nReadOnlyPaths=" + (directory / "proxied/softhsm2.conf").string() + "\n");
    const char* shipped = std::getenv("BULKHEAD_POLICIES");
    std::string policies = (directory / "policies").string();
    if (shipped != nullptr) policies += std::string(":") + shipped;
    ::setenv("BULKHEAD_MODULES", (directory / "modules").c_str(), 1);
    ::setenv("BULKHEAD_POLICIES", policies.c_str(), 1);
    ::setenv("BULKHEAD_LOG", "warning", 1);
    start(direct, module, directory / "direct/softhsm2.conf", true);
    start(proxied, proxy, directory / "proxied/softhsm2.conf", !onOpenCryptoki());
  }
  static void TearDownTestSuite() {
    for (Side* side : {&direct, &proxied})
      if (side->f != nullptr) (void)side->f->C_Finalize(nullptr);
    if (directory.empty()) return;
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  void SetUp() override {
    if (directory.empty()) GTEST_SKIP() << "no such module here, or not run by meson test";
    ASSERT_NE(direct.session, 0U);
    ASSERT_NE(proxied.session, 0U);
    // No operation and no object is left from the test before.
    for (Side* side : {&direct, &proxied}) {
      CK_SESSION_INFO info{};
      ASSERT_EQ(side->f->C_GetSessionInfo(side->session, &info), CKR_OK);
      CK_SESSION_HANDLE fresh = 0;
      ASSERT_EQ(side->f->C_OpenSession(info.slotID, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr,
                                       nullptr, &fresh),
                CKR_OK);
      ASSERT_EQ(side->f->C_CloseSession(side->session), CKR_OK);
      side->session = fresh;
      side->objects.clear();
    }
  }

  // Does the same on both sides; what it says about the outcome must be the same.
  // Tells whether it began well.
  static bool both(const std::string& what, const std::function<std::string(Side&)>& call) {
    std::string wanted = call(direct);
    std::string got = call(proxied);
    EXPECT_EQ(got, wanted) << what;
    return wanted == "0x0" || wanted.rfind("0x0 ", 0) == 0;
  }

  static void write(const std::string& name, const std::string& content) {
    auto path = directory / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << content;
    ::chmod(path.c_str(), 0600);
    ::chmod(path.parent_path().c_str(), 0700);
  }

  static void start(Side& side, const char* library, const std::filesystem::path& conf,
                    bool fresh) {
    ::setenv("SOFTHSM2_CONF", conf.c_str(), 1);
    void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(handle, nullptr) << ::dlerror();
    auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(handle, "C_GetFunctionList"));
    ASSERT_EQ(get(&side.f), CKR_OK);
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    ASSERT_EQ(side.f->C_Initialize(&args), CKR_OK);
    CK_SLOT_ID slots[8];
    CK_ULONG n = std::size(slots);
    ASSERT_EQ(side.f->C_GetSlotList(CK_TRUE, slots, &n), CKR_OK);
    ASSERT_EQ(n, 1U);
    CK_UTF8CHAR pin[] = "1234";
    CK_UTF8CHAR label[32];
    std::memset(label, ' ', sizeof label);
    std::memcpy(label, "mirror", 6);
    // openCryptoki has first PINs for everybody, and insists that they are changed.
    CK_UTF8CHAR firstSo[] = "87654321";
    CK_UTF8CHAR firstUser[] = "12345678";
    CK_UTF8CHAR* so = onOpenCryptoki() ? firstSo : pin;
    CK_ULONG length = onOpenCryptoki() ? 8 : 4;
    if (fresh) {
      ASSERT_EQ(side.f->C_InitToken(slots[0], so, length, label), CKR_OK);
    }
    n = std::size(slots);
    ASSERT_EQ(side.f->C_GetSlotList(CK_TRUE, slots, &n), CKR_OK);
    CK_SLOT_ID slot = slots[0];
    for (CK_ULONG i = 0; i < n; ++i) {
      CK_TOKEN_INFO info{};
      ASSERT_EQ(side.f->C_GetTokenInfo(slots[i], &info), CKR_OK);
      if (std::memcmp(info.label, label, sizeof label) == 0) slot = slots[i];
    }
    CK_SESSION_HANDLE session = 0;
    ASSERT_EQ(side.f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                                    &session),
              CKR_OK);
    if (fresh) {
      ASSERT_EQ(side.f->C_Login(session, CKU_SO, so, length), CKR_OK);
      if (onOpenCryptoki()) {
        ASSERT_EQ(side.f->C_SetPIN(session, so, length, pin, 4), CKR_OK);
      }
      CK_UTF8CHAR* user = onOpenCryptoki() ? firstUser : pin;
      ASSERT_EQ(side.f->C_InitPIN(session, user, length), CKR_OK);
      ASSERT_EQ(side.f->C_Logout(session), CKR_OK);
      ASSERT_EQ(side.f->C_Login(session, CKU_USER, user, length), CKR_OK);
      if (onOpenCryptoki()) {
        ASSERT_EQ(side.f->C_SetPIN(session, user, length, pin, 4), CKR_OK);
        ASSERT_EQ(side.f->C_Logout(session), CKR_OK);
        ASSERT_EQ(side.f->C_Login(session, CKU_USER, pin, 4), CKR_OK);
      }
    } else {
      ASSERT_EQ(side.f->C_Login(session, CKU_USER, pin, 4), CKR_OK);
    }
    side.session = session;
  }

  static std::string create(Side& side, std::vector<CK_ATTRIBUTE> attributes) {
    CK_OBJECT_HANDLE object = 0x5a5a;
    CK_RV rv = side.f->C_CreateObject(side.session, attributes.data(), attributes.size(), &object);
    if (rv == CKR_OK) side.objects.push_back(object);
    return hex(rv) + (rv == CKR_OK ? "" : " " + hex(object));
  }

  static inline std::filesystem::path directory;
  static inline Side direct;
  static inline Side proxied;
};

// What C_Sign, C_Encrypt and C_Digest have in common.
using Operation = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR);

// One call by the two-call convention in one of its ways: `way` 0 asks only, 1 has too little room,
// 2 gives no length, others have room.
std::string produce(Side& side, Operation operation, Bytes in, CK_ULONG way, CK_ULONG room) {
  Bytes out(room, 0xee);
  CK_ULONG n = way == 1 ? room % 4 : room;
  CK_RV rv = operation(side.session, in.data(), in.size(), way == 0 ? nullptr : out.data(),
                       way == 2 ? nullptr : &n);
  std::string outcome = hex(rv) + " " + hex(n) + " " + hex(out, out.size());
  // Ends an operation that goes on.
  if (rv == CKR_BUFFER_TOO_SMALL || (rv == CKR_OK && way == 0)) {
    Bytes enough(8192, 0);
    n = enough.size();
    rv = operation(side.session, in.data(), in.size(), enough.data(), &n);
    outcome += " " + hex(rv) + " " + hex(n) + " " + hex(enough, n);
  }
  return outcome;
}

TEST_F(Differential, ThousandsOfCalls) {
  const char* given = std::getenv("MIRROR_SEED");
  std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::printf("MIRROR_SEED=%llu\n", static_cast<unsigned long long>(seed));
  RecordProperty("seed", std::to_string(seed));
  std::mt19937_64 dice(seed);
  auto below = [&](CK_ULONG n) { return dice() % n; };
  auto random = [&](CK_ULONG n) {
    Bytes bytes(n);
    for (CK_BYTE& b : bytes) b = static_cast<CK_BYTE>(dice());
    return bytes;
  };
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  // openCryptoki believes its callers: it writes whatever room there is, and reads as far as a
  // padding says. Here that is this program's memory, and for the proxy the end of the worker; so
  // it gets what is valid.
  const bool careful = onOpenCryptoki();
  std::vector<std::size_t> aesKeys, genericKeys;  // positions among the objects
  std::map<std::string, unsigned> good;           // how often each of them went well
  for (const char* name : {"digest", "HMAC", "wrap", "copy", "search", "attributes"})
    good[name] = 0;

  for (int step = 0; step < 3000 && !HasFailure(); ++step) {
    std::string what = "seed " + std::to_string(seed) + " step " + std::to_string(step) + " kind ";
    CK_ULONG kind = below(12);
    what += std::to_string(kind);
    CK_ULONG way = below(6);
    CK_ULONG room = below(100);
    if (careful && kind >= 4 && kind <= 7) {
      room += 200;
      way = way == 1 ? 0 : way;
    }
    CK_ULONG pick = direct.objects.empty() ? 0 : below(direct.objects.size());
    // What a key is needed for gets one, unless it is to be refused.
    auto& fitting = kind == 7 ? genericKeys : aesKeys;
    bool wantsKey = kind == 5 || kind == 6 || kind == 7 || kind == 9;
    if (wantsKey && !fitting.empty() && below(5) != 0) pick = fitting[below(fitting.size())];
    auto object = [pick](Side& s) {
      return s.objects.empty() ? CK_OBJECT_HANDLE{0} : s.objects[pick];
    };
    switch (kind) {
      case 0: {  // a data object, or one whose template says nothing of a class
        Bytes cls = value<CK_OBJECT_CLASS>(below(20) == 0 ? 0x77 : CKO_DATA);
        Bytes label = text("data " + std::to_string(below(7)));
        Bytes content = random(below(300));
        both(what, [&](Side& s) {
          return create(s, {attribute(CKA_CLASS, cls),
                            {CKA_TOKEN, &no, 1},
                            attribute(CKA_LABEL, label),
                            attribute(CKA_VALUE, content)});
        });
        break;
      }
      case 1: {  // a key, now and then of a length that AES does not have
        bool aes = below(2) == 0;
        Bytes cls = value<CK_OBJECT_CLASS>(CKO_SECRET_KEY);
        Bytes type = value<CK_KEY_TYPE>(aes ? CKK_AES : CKK_GENERIC_SECRET);
        Bytes content = random(below(8) == 0 ? below(50) : 16 + 8 * below(aes ? 3 : 7));
        CK_BBOOL* sensitive = below(2) == 0 ? &yes : &no;
        std::size_t before = direct.objects.size();
        both(what, [&](Side& s) {
          return create(s, {attribute(CKA_CLASS, cls),
                            attribute(CKA_KEY_TYPE, type),
                            {CKA_TOKEN, &no, 1},
                            {CKA_SENSITIVE, sensitive, 1},
                            {CKA_EXTRACTABLE, &yes, 1},
                            {CKA_ENCRYPT, &yes, 1},
                            {CKA_DECRYPT, &yes, 1},
                            {CKA_SIGN, &yes, 1},
                            {CKA_WRAP, &yes, 1},
                            {CKA_UNWRAP, &yes, 1},
                            attribute(CKA_VALUE, content)});
        });
        if (direct.objects.size() > before)
          (aes ? aesKeys : genericKeys).push_back(direct.objects.size() - 1);
        break;
      }
      case 2:
      case 3: {  // attributes: some there, some not, some with too little room
        static constexpr CK_ATTRIBUTE_TYPE TYPES[] = {
            CKA_CLASS, CKA_LABEL,         CKA_VALUE,      CKA_KEY_TYPE,
            CKA_TOKEN, CKA_VALUE_LEN,     CKA_SENSITIVE,  CKA_MODULUS,
            CKA_ID,    CKA_WRAP_TEMPLATE, CKA_START_DATE, CKA_VENDOR_DEFINED | 1};
        struct Asked {
          CK_ATTRIBUTE_TYPE type;
          CK_ULONG room;
          bool null;
        };
        std::vector<Asked> asked(below(6));
        for (Asked& a : asked) {
          a = {TYPES[below(std::size(TYPES))], below(2) == 0 ? 400 : below(12), below(4) == 0};
          // Of a nested template SoftHSM2 wants whole attributes.
          if (a.type == CKA_WRAP_TEMPLATE) a.null = true;
        }
        good["attributes"] += both(what, [&](Side& s) {
          std::vector<Bytes> buffers;
          std::vector<CK_ATTRIBUTE> list;
          for (const Asked& a : asked) buffers.emplace_back(a.room, 0xee);
          for (std::size_t i = 0; i < asked.size(); ++i)
            list.push_back(
                {asked[i].type, asked[i].null ? nullptr : buffers[i].data(), asked[i].room});
          CK_RV rv = s.f->C_GetAttributeValue(s.session, object(s), list.data(), list.size());
          std::string outcome = hex(rv);
          for (std::size_t i = 0; i < list.size(); ++i)
            outcome += " " + hex(list[i].type) + " " + hex(list[i].ulValueLen) + " " +
                       hex(buffers[i], buffers[i].size());
          return outcome;
        });
        break;
      }
      case 4: {  // digests
        static constexpr CK_MECHANISM_TYPE TYPES[] = {CKM_SHA_1, CKM_SHA256, CKM_SHA512, CKM_MD5,
                                                      CKM_VENDOR_DEFINED};
        CK_MECHANISM m{TYPES[below(std::size(TYPES))], nullptr, 0};
        Bytes in = random(below(500));
        good["digest"] += both(what, [&](Side& s) {
          CK_RV rv = s.f->C_DigestInit(s.session, &m);
          std::string outcome = hex(rv) + " " + produce(s, s.f->C_Digest, in, way, room);
          return outcome;
        });
        break;
      }
      case 5:
      case 6: {  // ciphers, in one call and in pieces, with whatever object as the key
        static constexpr CK_MECHANISM_TYPE TYPES[] = {CKM_AES_ECB, CKM_AES_CBC, CKM_AES_CBC_PAD,
                                                      CKM_AES_CTR, CKM_AES_GCM};
        Bytes iv = random(below(10) == 0 && !careful ? below(20) : 16);
        Bytes associated = random(below(40));
        CK_AES_CTR_PARAMS counter{128, {}};
        std::copy_n(iv.begin(), std::min(iv.size(), sizeof counter.cb), counter.cb);
        const CK_ULONG nonce = std::min<CK_ULONG>(iv.size(), 12);
        CK_GCM_PARAMS gcm{iv.data(), nonce, 8 * nonce, associated.data(), associated.size(), 128};
        // openCryptoki has the layout of Cryptoki 2.30.
        struct {
          CK_BYTE_PTR iv;
          CK_ULONG ivLength;
          CK_BYTE_PTR associated;
          CK_ULONG associatedLength, tagBits;
        } old{iv.data(), nonce, associated.data(), associated.size(), 128};
        CK_MECHANISM m{TYPES[below(std::size(TYPES))], iv.data(), iv.size()};
        if (m.mechanism == CKM_AES_ECB) m.pParameter = nullptr, m.ulParameterLen = 0;
        if (m.mechanism == CKM_AES_CTR) m.pParameter = &counter, m.ulParameterLen = sizeof counter;
        bool hasGcm = m.mechanism == CKM_AES_GCM;
        if (hasGcm) {
          iv.resize(12);
          m.pParameter = careful ? static_cast<void*>(&old) : &gcm;
          m.ulParameterLen = careful ? sizeof old : sizeof gcm;
          gcm.pIv = old.iv = iv.data();
        }
        // With nothing at all openCryptoki's AES-CBC reads beyond the stack now and then.
        Bytes in = careful         ? random(16 * (1 + below(8)))
                   : below(3) == 0 ? random(below(100))
                                   : random(16 * below(8));
        bool decrypt = below(3) == 0;
        if (careful && decrypt && m.mechanism == CKM_AES_CBC_PAD) m.mechanism = CKM_AES_CBC;
        std::vector<CK_ULONG> pieces;
        if (below(3) == 0 && !careful)
          for (CK_ULONG n = 1 + below(4); n != 0; --n) pieces.push_back(below(40));
        good["cipher " + hex(m.mechanism)] += both(what, [&](Side& s) {
          CK_RV rv = decrypt ? s.f->C_DecryptInit(s.session, &m, object(s))
                             : s.f->C_EncryptInit(s.session, &m, object(s));
          std::string outcome = hex(rv) + " " + hex(iv, iv.size()) + " ";
          if (pieces.empty())
            return outcome + produce(s, decrypt ? s.f->C_Decrypt : s.f->C_Encrypt, in, way, room);
          auto update = decrypt ? s.f->C_DecryptUpdate : s.f->C_EncryptUpdate;
          for (CK_ULONG size : pieces)
            outcome += produce(s, update, Bytes(size, 0x5c), way, room) + " ";
          Bytes out(100, 0xee);
          CK_ULONG n = out.size();
          rv = decrypt ? s.f->C_DecryptFinal(s.session, out.data(), &n)
                       : s.f->C_EncryptFinal(s.session, out.data(), &n);
          return outcome + hex(rv) + " " + hex(n) + " " + hex(out, out.size());
        });
        break;
      }
      case 7: {  // HMACs, in one call and in pieces
        CK_MECHANISM m{below(2) == 0 ? CKM_SHA256_HMAC : CKM_SHA512_HMAC, nullptr, 0};
        Bytes in = random(below(300));
        bool pieces = below(2) == 0;
        good["HMAC"] += both(what, [&](Side& s) {
          std::string outcome = hex(s.f->C_SignInit(s.session, &m, object(s)));
          if (!pieces) return outcome + " " + produce(s, s.f->C_Sign, in, way, room);
          outcome += " " + hex(s.f->C_SignUpdate(s.session, in.data(), in.size() / 2));
          Bytes out(64);
          CK_ULONG n = out.size();
          outcome += " " + hex(s.f->C_SignFinal(s.session, out.data(), &n));
          return outcome + " " + hex(n) + " " + hex(out, n);
        });
        break;
      }
      case 8: {  // searches
        Bytes label = text("data " + std::to_string(below(7)));
        CK_ATTRIBUTE wanted = attribute(CKA_LABEL, label);
        CK_ULONG batch = 1 + below(5);
        good["search"] += both(what, [&](Side& s) {
          std::string outcome = hex(s.f->C_FindObjectsInit(s.session, &wanted, 1));
          CK_ULONG total = 0;
          for (;;) {
            std::vector<CK_OBJECT_HANDLE> found(batch);
            CK_ULONG n = 0;
            CK_RV rv = s.f->C_FindObjects(s.session, found.data(), batch, &n);
            if (rv != CKR_OK || n == 0) {
              outcome += " " + hex(rv);
              break;
            }
            total += n;
          }
          return outcome + " " + hex(total) + " " + hex(s.f->C_FindObjectsFinal(s.session));
        });
        break;
      }
      case 9: {  // keys wrapped by keys, and unwrapped
        static constexpr CK_MECHANISM_TYPE TYPES[] = {CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD};
        CK_MECHANISM m{TYPES[below(2)], nullptr, 0};
        CK_ULONG other = direct.objects.empty() ? 0 : below(direct.objects.size());
        Bytes cls = value<CK_OBJECT_CLASS>(CKO_SECRET_KEY);
        Bytes type = value<CK_KEY_TYPE>(CKK_GENERIC_SECRET);
        good["wrap"] += both(what, [&](Side& s) {
          if (s.objects.empty()) return std::string();
          Bytes wrapped(300, 0xee);
          CK_ULONG n = way == 1 ? room % 20 : wrapped.size();
          CK_RV rv = s.f->C_WrapKey(s.session, &m, object(s), s.objects[other],
                                    way == 0 ? nullptr : wrapped.data(), &n);
          std::string outcome = hex(rv) + " " + hex(n) + " " + hex(wrapped, wrapped.size());
          if (rv != CKR_OK || way == 0) return outcome;
          std::vector<CK_ATTRIBUTE> key = {attribute(CKA_CLASS, cls),
                                           attribute(CKA_KEY_TYPE, type),
                                           {CKA_TOKEN, &no, 1},
                                           {CKA_SENSITIVE, &no, 1},
                                           {CKA_EXTRACTABLE, &yes, 1}};
          CK_OBJECT_HANDLE back = 0;
          if (way == 5) wrapped[3] ^= 1;
          rv = s.f->C_UnwrapKey(s.session, &m, object(s), wrapped.data(), n, key.data(), key.size(),
                                &back);
          if (rv == CKR_OK) s.objects.push_back(back);
          return outcome + " " + hex(rv);
        });
        break;
      }
      case 10: {  // copies, and what is changed in them
        Bytes label = text("data " + std::to_string(below(7)));
        good["copy"] += both(what, [&](Side& s) {
          CK_ATTRIBUTE renamed = attribute(CKA_LABEL, label);
          CK_OBJECT_HANDLE copy = 0;
          CK_RV rv = s.f->C_CopyObject(s.session, object(s), &renamed, way == 0 ? 0 : 1, &copy);
          std::string outcome = hex(rv);
          if (rv == CKR_OK) {
            s.objects.push_back(copy);
            renamed.type = way == 1 ? CKA_CLASS : CKA_LABEL;
            outcome += " " + hex(s.f->C_SetAttributeValue(s.session, copy, &renamed, 1));
          }
          return outcome;
        });
        break;
      }
      default: {  // what is wrong, and ends
        CK_ULONG which = below(7);
        both(what + "." + std::to_string(which), [&](Side& s) {
          CK_ULONG n = 0;
          CK_MECHANISM m{CKM_SHA256, nullptr, 0};
          switch (which) {
            case 0:
              return hex(s.f->C_DestroyObject(s.session, 0x7fffffff));
            case 1:
              return hex(s.f->C_DigestInit(s.session, nullptr));
            case 2:
              return hex(s.f->C_GetObjectSize(s.session, object(s), nullptr));
            case 3:
              return hex(s.f->C_Digest(s.session, nullptr, 0, nullptr, &n));
            case 4:
              return hex(s.f->C_SignInit(s.session, &m, object(s)));
            case 5:
              return hex(s.f->C_FindObjects(s.session, nullptr, 1, &n));
            default:  // and its handle stays among the others
              return hex(s.f->C_DestroyObject(s.session, object(s)));
          }
        });
      }
    }
  }
  if (HasFailure()) return;
  std::string counted;
  for (auto& [name, times] : good) {
    counted += name + " " + std::to_string(times) + ", ";
    // openCryptoki's token has neither counters, nor GCM, nor these ways of wrapping.
    bool lacking = careful && (name == "wrap" || name == "cipher " + hex(CKM_AES_CTR) ||
                               name == "cipher " + hex(CKM_AES_GCM));
    EXPECT_TRUE(times >= 10 || lacking) << name;
  }
  std::printf("%s\n", counted.c_str());
  EXPECT_EQ(good.size(), 11U);
}

TEST_F(Differential, RsaSignaturesOfOneKey) {
  CK_BBOOL yes = CK_TRUE;
  CK_BBOOL no = CK_FALSE;
  Bytes bits = value<CK_ULONG>(1024);
  Bytes exponent = {1, 0, 1};
  CK_ATTRIBUTE pub[] = {attribute(CKA_MODULUS_BITS, bits),
                        attribute(CKA_PUBLIC_EXPONENT, exponent)};
  CK_ATTRIBUTE priv[] = {{CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}};
  CK_MECHANISM generate{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  CK_OBJECT_HANDLE publicKey = 0;
  CK_OBJECT_HANDLE privateKey = 0;
  ASSERT_EQ(proxied.f->C_GenerateKeyPair(proxied.session, &generate, pub, 2, priv, 2, &publicKey,
                                         &privateKey),
            CKR_OK);
  static constexpr CK_ATTRIBUTE_TYPE PARTS[] = {
      CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1,
      CKA_PRIME_2, CKA_EXPONENT_1,      CKA_EXPONENT_2,       CKA_COEFFICIENT};
  std::vector<Bytes> parts;
  for (CK_ATTRIBUTE_TYPE type : PARTS) {
    Bytes one(512);
    CK_ATTRIBUTE a = attribute(type, one);
    ASSERT_EQ(proxied.f->C_GetAttributeValue(proxied.session, privateKey, &a, 1), CKR_OK);
    one.resize(a.ulValueLen);
    parts.push_back(one);
  }
  Bytes cls = value<CK_OBJECT_CLASS>(CKO_PRIVATE_KEY);
  Bytes type = value<CK_KEY_TYPE>(CKK_RSA);
  std::vector<CK_ATTRIBUTE> key = {attribute(CKA_CLASS, cls),
                                   attribute(CKA_KEY_TYPE, type),
                                   {CKA_SIGN, &yes, 1},
                                   {CKA_TOKEN, &no, 1}};
  for (std::size_t i = 0; i < parts.size(); ++i) key.push_back(attribute(PARTS[i], parts[i]));
  both("import", [&](Side& s) { return create(s, key); });
  Bytes in = text("what is signed");
  for (CK_MECHANISM_TYPE mechanism : {CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS})
    for (CK_ULONG way = 0; way < 4; ++way)
      both("sign", [&](Side& s) {
        CK_MECHANISM m{mechanism, nullptr, 0};
        std::string outcome = hex(s.f->C_SignInit(s.session, &m, s.objects.back()));
        return outcome + " " + produce(s, s.f->C_Sign, in, way, 200);
      });
}

TEST_F(Differential, FiveThousandObjects) {
  CK_BBOOL no = CK_FALSE;
  Bytes cls = value<CK_OBJECT_CLASS>(CKO_DATA);
  Bytes application = text("five thousand");
  std::size_t first = proxied.objects.size();
  for (CK_ULONG i = 0; i < 5000; ++i) {
    Bytes content = value(i);
    ASSERT_EQ(create(proxied, {attribute(CKA_CLASS, cls),
                               {CKA_TOKEN, &no, 1},
                               attribute(CKA_APPLICATION, application),
                               attribute(CKA_VALUE, content)}),
              "0x0");
  }
  CK_ATTRIBUTE wanted = attribute(CKA_APPLICATION, application);
  ASSERT_EQ(proxied.f->C_FindObjectsInit(proxied.session, &wanted, 1), CKR_OK);
  std::vector<CK_OBJECT_HANDLE> found(6000);
  CK_ULONG n = 0;
  ASSERT_EQ(proxied.f->C_FindObjects(proxied.session, found.data(), found.size(), &n), CKR_OK);
  EXPECT_EQ(n, 5000U);
  ASSERT_EQ(proxied.f->C_FindObjectsFinal(proxied.session), CKR_OK);
  std::vector<bool> seen(5000);
  for (CK_ULONG i = 0; i < n; ++i) {
    CK_ULONG content = ~CK_ULONG{0};
    CK_ATTRIBUTE a{CKA_VALUE, &content, sizeof content};
    ASSERT_EQ(proxied.f->C_GetAttributeValue(proxied.session, found[i], &a, 1), CKR_OK);
    ASSERT_LT(content, 5000U);
    seen[content] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 5000);
  for (CK_ULONG i = 0; i < n; ++i)
    EXPECT_EQ(proxied.f->C_DestroyObject(proxied.session, found[i]), CKR_OK);
  proxied.objects.resize(first);
}

TEST_F(Differential, AnObjectOfFourMebibytes) {
  CK_BBOOL no = CK_FALSE;
  Bytes cls = value<CK_OBJECT_CLASS>(CKO_DATA);
  Bytes content(std::size_t{4} << 20);
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<CK_BYTE>(i * 7 >> 3);
  ASSERT_EQ(create(proxied,
                   {attribute(CKA_CLASS, cls), {CKA_TOKEN, &no, 1}, attribute(CKA_VALUE, content)}),
            "0x0");
  CK_ATTRIBUTE a{CKA_VALUE, nullptr, 0};
  CK_OBJECT_HANDLE object = proxied.objects.back();
  proxied.objects.pop_back();
  ASSERT_EQ(proxied.f->C_GetAttributeValue(proxied.session, object, &a, 1), CKR_OK);
  ASSERT_EQ(a.ulValueLen, content.size());
  Bytes back(content.size());
  a.pValue = back.data();
  ASSERT_EQ(proxied.f->C_GetAttributeValue(proxied.session, object, &a, 1), CKR_OK);
  EXPECT_TRUE(back == content);
  EXPECT_EQ(proxied.f->C_DestroyObject(proxied.session, object), CKR_OK);
}

// A message carries MaxMessage= bytes of the caller's, 64 MiB unless the policy says otherwise.
TEST_F(Differential, SixtyFourMebibytesPassAndOneByteMoreIsRefused) {
  Bytes in(std::size_t{64} << 20, 0x5a);
  CK_MECHANISM m{CKM_SHA256, nullptr, 0};
  both("64 MiB", [&](Side& s) {
    CK_RV rv = s.f->C_DigestInit(s.session, &m);
    return hex(rv) + " " + produce(s, s.f->C_Digest, in, 5, 32);
  });
  in.push_back(0);
  Bytes out(32);
  CK_ULONG n = out.size();
  ASSERT_EQ(proxied.f->C_DigestInit(proxied.session, &m), CKR_OK);
  EXPECT_EQ(proxied.f->C_Digest(proxied.session, in.data(), in.size(), out.data(), &n),
            CKR_HOST_MEMORY);
  // Nothing was sent: the operation goes on.
  EXPECT_EQ(proxied.f->C_Digest(proxied.session, in.data(), 1, out.data(), &n), CKR_OK);
}

}  // namespace
}  // namespace bulkhead::mirror
