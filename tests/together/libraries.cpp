// SPDX-License-Identifier: BSD-2-Clause
//
// Libraries that know nothing of each other, in one process and on one module.
//
// Usage: libraries MODULE KEY STEP...
// A step is the name of a library, which starts it, or -NAME, which finalises it, or `fork`, where
// all that are started sign in a child, too. After each step all that are started sign with the
// private key "key" on the token "one", each with the handles that it got at its start, and
// libcrypto verifies the signatures with the public key in the file KEY. The first thing that goes
// wrong is the last line of the output, and the exit status is 1.
#define OPENSSL_SUPPRESS_DEPRECATED  // engines are, and are in use all the same

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/pkcs11.h>
#include <keyhi.h>
#include <nspr.h>
#include <nss.h>
#include <openssl/ec.h>
#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pk11pub.h>
#include <secerr.h>
#include <secmod.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Bytes = std::vector<unsigned char>;

constexpr const char* PIN = "1234";
constexpr std::string_view TEXT = "signed by many";

// ---- libcrypto, which judges ----

template <typename T, void (*FREE)(T*)>
using Held = std::unique_ptr<T, decltype([](T* p) { FREE(p); })>;

std::runtime_error opensslError(const std::string& what) {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return std::runtime_error(what + ": " + text);
}

using Key = Held<EVP_PKEY, EVP_PKEY_free>;
using DigestContext = Held<EVP_MD_CTX, EVP_MD_CTX_free>;

Key readPublicKey(const char* path) {
  std::unique_ptr<FILE, decltype([](FILE* f) { std::fclose(f); })> file(std::fopen(path, "re"));
  if (file == nullptr) throw std::runtime_error(std::string("no file ") + path);
  Key key(d2i_PUBKEY_fp(file.get(), nullptr));
  if (key == nullptr) throw opensslError(path);
  return key;
}

bool verifies(EVP_PKEY* key, const Bytes& signature) {
  DigestContext context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(),
                          reinterpret_cast<const unsigned char*>(TEXT.data()), TEXT.size()) == 1;
}

// The signature that PKCS#11 has, r and s side by side, as the others encode it.
Bytes encoded(const unsigned char* raw, std::size_t size) {
  int half = static_cast<int>(size / 2);
  Held<ECDSA_SIG, ECDSA_SIG_free> signature(ECDSA_SIG_new());
  ECDSA_SIG_set0(signature.get(), BN_bin2bn(raw, half, nullptr),
                 BN_bin2bn(raw + half, half, nullptr));
  unsigned char* out = nullptr;
  int length = i2d_ECDSA_SIG(signature.get(), &out);
  if (length < 0) throw opensslError("i2d_ECDSA_SIG");
  Bytes result(out, out + length);
  OPENSSL_free(out);
  return result;
}

// ---- the libraries ----

/// A library on the module: starts in its constructor, is finalised in its destructor, as a program
/// does that has no use for it any more.
class Library {
 public:
  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  virtual ~Library() = default;
  virtual Bytes sign() = 0;
  /// In a forked child, for a library that does not do by itself all that is to be done in one.
  virtual void afterFork() {}
};

class GnuTls : public Library {
 public:
  explicit GnuTls(const std::string& module) {
    // p11-kit, which GnuTLS is built on, does not take its own proxy for a module: there it has the
    // modules from p11-kit's configuration.
    bool own = module.find("p11-kit-proxy") != std::string::npos;
    check(gnutls_pkcs11_init(own ? GNUTLS_PKCS11_FLAG_AUTO : GNUTLS_PKCS11_FLAG_MANUAL, nullptr),
          "gnutls_pkcs11_init");
    if (!own)
      check(gnutls_pkcs11_add_provider(module.c_str(), nullptr), "gnutls_pkcs11_add_provider");
    check(gnutls_privkey_init(&key_), "gnutls_privkey_init");
    std::string url = std::string("pkcs11:token=one;object=key;type=private?pin-value=") + PIN;
    check(gnutls_privkey_import_url(key_, url.c_str(), 0), "gnutls_privkey_import_url");
  }
  ~GnuTls() override {
    gnutls_privkey_deinit(key_);
    gnutls_pkcs11_deinit();
  }
  Bytes sign() override {
    gnutls_datum_t text{reinterpret_cast<unsigned char*>(const_cast<char*>(TEXT.data())),
                        static_cast<unsigned>(TEXT.size())};
    gnutls_datum_t signature{};
    check(gnutls_privkey_sign_data2(key_, GNUTLS_SIGN_ECDSA_SHA256, 0, &text, &signature),
          "gnutls_privkey_sign_data2");
    Bytes result(signature.data, signature.data + signature.size);
    gnutls_free(signature.data);
    return result;
  }

 private:
  static void check(int result, const char* what) {
    if (result < 0) throw std::runtime_error(std::string(what) + ": " + gnutls_strerror(result));
  }
  gnutls_privkey_t key_ = nullptr;
};

class Engine : public Library {
 public:
  explicit Engine(const std::string& module) : engine_(ENGINE_by_id("pkcs11")) {
    if (engine_ == nullptr) throw opensslError("ENGINE_by_id");
    if (ENGINE_ctrl_cmd_string(engine_.get(), "MODULE_PATH", module.c_str(), 0) != 1 ||
        ENGINE_ctrl_cmd_string(engine_.get(), "PIN", PIN, 0) != 1)
      throw opensslError("ENGINE_ctrl_cmd_string");
    if (ENGINE_init(engine_.get()) != 1) throw opensslError("ENGINE_init");
    key_.reset(ENGINE_load_private_key(engine_.get(), "pkcs11:token=one;object=key;type=private",
                                       nullptr, nullptr));
    if (key_ == nullptr) throw opensslError("ENGINE_load_private_key");
  }
  ~Engine() override {
    key_.reset();
    ENGINE_finish(engine_.get());
  }
  Bytes sign() override {
    DigestContext context(EVP_MD_CTX_new());
    Bytes signature(256);
    std::size_t size = signature.size();
    if (EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
        EVP_DigestSign(context.get(), signature.data(), &size,
                       reinterpret_cast<const unsigned char*>(TEXT.data()), TEXT.size()) != 1)
      throw opensslError("EVP_DigestSign");
    signature.resize(size);
    return signature;
  }

 private:
  Held<ENGINE, [](ENGINE* e) { ENGINE_free(e); }> engine_;
  Key key_;
};

class Nss : public Library {
 public:
  explicit Nss(const std::string& module) {
    check(NSS_NoDB_Init(nullptr), "NSS_NoDB_Init");
    PK11_SetPasswordFunc([](PK11SlotInfo*, PRBool again, void*) -> char* {
      if (again) return nullptr;
      auto pin = static_cast<char*>(PORT_Alloc(std::strlen(PIN) + 1));
      return pin == nullptr ? nullptr : std::strcpy(pin, PIN);
    });
    std::string parameters = "name=together library=" + module;
    module_ = SECMOD_LoadUserModule(parameters.data(), nullptr, PR_FALSE);
    if (module_ == nullptr || !module_->loaded) throw error("SECMOD_LoadUserModule");
    findKey();
  }
  void afterFork() override {
    // What it had was its parent's, and is lost.
    check(SECMOD_RestartModules(PR_TRUE), "SECMOD_RestartModules");
    slot_ = nullptr;
    key_ = nullptr;
    findKey();
  }
  ~Nss() override {
    SECKEY_DestroyPrivateKey(key_);
    PK11_FreeSlot(slot_);
    SECMOD_UnloadUserModule(module_);
    SECMOD_DestroyModule(module_);
    NSS_Shutdown();
  }
  Bytes sign() override {
    unsigned char digest[32];
    unsigned length = 0;
    EVP_Digest(TEXT.data(), TEXT.size(), digest, &length, EVP_sha256(), nullptr);
    SECItem hash{siBuffer, digest, length};
    Bytes raw(static_cast<std::size_t>(std::max(PK11_SignatureLen(key_), 0)));
    SECItem signature{siBuffer, raw.data(), static_cast<unsigned>(raw.size())};
    check(PK11_Sign(key_, &signature, &hash), "PK11_Sign");
    return encoded(signature.data, signature.len);
  }

 private:
  void findKey() {
    for (int i = 0; i < module_->slotCount && slot_ == nullptr; ++i)
      if (std::string_view(PK11_GetTokenName(module_->slots[i])) == "one")
        slot_ = PK11_ReferenceSlot(module_->slots[i]);
    if (slot_ == nullptr) throw std::runtime_error("SECMOD_LoadUserModule: the token is not there");
    check(PK11_Authenticate(slot_, PR_TRUE, nullptr), "PK11_Authenticate");
    char label[] = "key";
    SECKEYPrivateKeyList* keys = PK11_ListPrivKeysInSlot(slot_, label, nullptr);
    if (keys == nullptr) throw error("PK11_ListPrivKeysInSlot");
    SECKEYPrivateKeyListNode* first = PRIVKEY_LIST_HEAD(keys);
    if (!PRIVKEY_LIST_END(first, keys)) key_ = SECKEY_CopyPrivateKey(first->key);
    SECKEY_DestroyPrivateKeyList(keys);
    if (key_ == nullptr) throw std::runtime_error("PK11_ListPrivKeysInSlot: the key is not there");
  }
  static std::runtime_error error(const char* what) {
    const char* name = PR_ErrorToName(PR_GetError());
    return std::runtime_error(std::string(what) + ": " + (name == nullptr ? "?" : name));
  }
  static void check(SECStatus status, const char* what) {
    if (status != SECSuccess) throw error(what);
  }
  SECMODModule* module_ = nullptr;
  PK11SlotInfo* slot_ = nullptr;
  SECKEYPrivateKey* key_ = nullptr;
};

std::unique_ptr<Library> make(std::string_view name, const std::string& module) {
  if (name == "gnutls") return std::make_unique<GnuTls>(module);
  if (name == "engine") return std::make_unique<Engine>(module);
  if (name == "nss") return std::make_unique<Nss>(module);
  throw std::runtime_error("no library of that name");
}

// It has been said.
struct Failed {};

using Libraries = std::map<std::string, std::unique_ptr<Library>>;

void sign(const Libraries& live, EVP_PKEY* judge, const std::string& when) {
  for (auto& [name, library] : live) {
    try {
      if (!verifies(judge, library->sign()))
        throw std::runtime_error("its signature does not verify");
    } catch (const std::exception& e) {
      throw std::runtime_error("after " + when + ": " + name + ": " + e.what());
    }
  }
}

// Whoever goes wrong in the child says so, and then the step has gone wrong.
bool signInAChild(const Libraries& live, EVP_PKEY* judge) {
  pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    try {
      for (auto& [name, library] : live) library->afterFork();
      sign(live, judge, "fork in the child");
    } catch (const std::exception& e) {
      std::printf("%s\n", e.what());
      std::fflush(stdout);
      ::_exit(1);
    }
    ::_exit(0);
  }
  int status = 0;
  return child > 0 && ::waitpid(child, &status, 0) == child && status == 0;
}

void run(const std::string& module, const char* keyFile, const std::vector<std::string>& steps) {
  Key judge = readPublicKey(keyFile);
  Libraries live;
  for (const std::string& step : steps) {
    auto fails = [&](const std::string& who, const std::string& what) {
      return std::runtime_error("after " + step + ": " + who + ": " + what);
    };
    // Whoever dies in it has said where.
    std::printf("%s\n", step.c_str());
    std::fflush(stdout);
    if (step == "fork") {
      if (!signInAChild(live, judge.get())) throw Failed();
    } else if (step.starts_with("-")) {
      if (live.erase(step.substr(1)) != 1) throw fails(step, "it is not started");
    } else {
      try {
        live[step] = make(step, module);
      } catch (const std::exception& e) {
        throw fails(step, e.what());
      }
    }
    sign(live, judge.get(), step);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: libraries MODULE KEY STEP...\n");
    return 2;
  }
  ENGINE_load_builtin_engines();
  try {
    run(argv[1], argv[2], {argv + 3, argv + argc});
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    std::fflush(stdout);
    // What is half started is not finalised.
    ::_exit(1);
  } catch (const Failed&) {
    ::_exit(1);
  }
  std::printf("all signed\n");
}
