// SPDX-License-Identifier: BSD-2-Clause
//
// A real module behind the proxy, in the policy that is shipped for it. At the end of a test
// nothing may have been refused, and no layer may be missing but those that the policy or the
// machine leaves out.
#pragma once

#include <sys/prctl.h>

#include <stdio.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>

#include "sandbox/confine.h"
#include "sandbox/policy.h"
#include "tests/integration/fixture.h"
#include "tests/integration/template.h"

namespace bulkhead::test {

class InPolicy : public ::testing::Test {
 protected:
  InPolicy() : log_(configuration.path("log")), level_("BULKHEAD_LOG", "debug") {}

  /// Configures the module under a name that no policy has, so that the policy finds it by its
  /// file, and sees to it that it is the one that is shipped for it. `dropIn` is what belongs to
  /// this test: private directories, a free port.
  void configure(const std::string& policy, const std::string& module,
                 const std::string& dropIn = {}, const std::string& more = {}) {
    configureAs(policy + "-test", policy, module, dropIn, more);
  }
  void configureAs(const std::string& as, const std::string& policy, const std::string& module,
                   const std::string& dropIn = {}, const std::string& more = {}) {
    name = as;
    configuration.addModule(name, module, more);
    if (!dropIn.empty()) configuration.addDropIn(name, dropIn);
    auto loaded = sandbox::loadPolicy({name, module}, sandbox::policyDirectories(),
                                      sandbox::currentSpecifiers());
    ASSERT_TRUE(loaded) << loaded.error().message();
    policy_ = *loaded;
    EXPECT_EQ(policy_.name, policy);
    EXPECT_NE(policy_.violationLimit, 0U);
    RecordProperty("module", module);
    RecordProperty("policy", policy);
    RecordProperty("user", ::geteuid() == 0 ? "root" : "another");
  }

  /// A consumer's first steps.
  CK_FUNCTION_LIST* start() {
    library_.emplace();
    f = library_->functions();
    initialized_.emplace(f);
    return f;
  }
  /// Its worker ends and another starts.
  CK_FUNCTION_LIST* restart() {
    initialized_.reset();
    return start();
  }

  /// The worker is there, and confined as far as /proc can tell.
  void expectConfined() const {
    pid_t worker = workerOf(name);
    ASSERT_GT(worker, 0);
    std::string status = "/proc/" + std::to_string(worker) + "/status";
    EXPECT_EQ(procField(status, "Seccomp"), "2");
    EXPECT_EQ(procField(status, "NoNewPrivs"), "1");
    EXPECT_EQ(procField(status, "CapEff"), "0000000000000000");
  }

  std::string log() const { return log_.text(); }

  void TearDown() override {
    initialized_.reset();
    if (IsSkipped() || name.empty()) return;
    std::string text = log();
    std::size_t refused = 0;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(": refused ") != std::string::npos) ++refused;
      for (const sandbox::Layer& layer : sandbox::layers()) {
        if (line.find("layer " + std::string(layer.name) + " is not in force") == std::string::npos)
          continue;
        EXPECT_FALSE(layer.probe()) << "the machine has it: " << line;
      }
    }
    EXPECT_EQ(refused, 0U) << text;
    EXPECT_EQ(text.find(name + ": cannot start"), std::string::npos) << text;
    RecordProperty("violations", static_cast<int>(refused));
  }

  Configuration configuration;
  std::string name;
  CK_FUNCTION_LIST* f = nullptr;

 private:
  CapturedLog log_;
  Variable level_;
  sandbox::Policy policy_;
  std::optional<Library> library_;
  std::optional<Initialized> initialized_;
};

/// A daemon that a test starts, and ends by its number.
class Daemon {
 public:
  explicit Daemon(std::vector<std::string> command, const std::string& output = "/dev/null") {
    std::vector<char*> arguments;
    for (std::string& one : command) arguments.push_back(one.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ != 0) return;
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int file = ::open(output.c_str(), O_RDWR | O_CREAT, 0600);
    (void)::dup2(file, 1);
    (void)::dup2(file, 2);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  ~Daemon() {
    if (pid_ <= 1) return;
    (void)::kill(pid_, SIGTERM);
    auto gone = [&] { return ::waitpid(pid_, nullptr, WNOHANG) == pid_; };
    if (eventually(gone)) return;
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  bool alive() const { return pid_ > 1 && ::kill(pid_, 0) == 0; }

 private:
  pid_t pid_ = -1;
};

/// What bulkheadctl says.
inline std::string output(const std::string& arguments) {
  const char* program = ::getenv("BULKHEAD_CTL");
  std::string command = std::string(program == nullptr ? "bulkheadctl" : program) + " " + arguments;
  std::unique_ptr<FILE, decltype(&::pclose)> pipe(::popen((command + " 2>&1").c_str(), "r"),
                                                  &::pclose);
  std::string text;
  char part[4096];
  while (pipe && ::fgets(part, sizeof part, pipe.get()) != nullptr) text += part;
  return text;
}

/// Leaves the test, with the reason, where the machine has no such program.
#define BULKHEAD_NEEDS_PROGRAM(name)                                                       \
  do {                                                                                     \
    if (std::system("command -v " name " >/dev/null") != 0) GTEST_SKIP() << "no " << name; \
  } while (0)

// ---- what one does with a token ----

struct KeyPair {
  CK_OBJECT_HANDLE publicKey = CK_INVALID_HANDLE;
  CK_OBJECT_HANDLE privateKey = CK_INVALID_HANDLE;
};

/// A key pair on the token.
inline KeyPair generate(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type,
                        const std::string& label, bool onToken = true) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  Template open, secret;
  for (Template* one : {&open, &secret})
    one->boolean(CKA_TOKEN, onToken).bytes(CKA_LABEL, label).bytes(CKA_ID, label);
  open.boolean(CKA_VERIFY, true);
  secret.boolean(CKA_SIGN, true).boolean(CKA_PRIVATE, true).boolean(CKA_SENSITIVE, true);
  if (type == CKM_EC_KEY_PAIR_GEN)
    open.bytes(CKA_EC_PARAMS, std::string_view("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10));
  else
    open.number(CKA_MODULUS_BITS, 2048)
        .bytes(CKA_PUBLIC_EXPONENT, std::string_view("\x01\x00\x01", 3));
  KeyPair pair;
  EXPECT_EQ(f->C_GenerateKeyPair(session, &mechanism, open.data(), open.size(), secret.data(),
                                 secret.size(), &pair.publicKey, &pair.privateKey),
            CKR_OK);
  return pair;
}

/// `pin` is for keys that want it for each signature.
inline std::string sign(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                        CK_MECHANISM_TYPE type, std::string data, std::string pin = {}) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  std::string signature(1024, '\0');
  CK_ULONG size = signature.size();
  EXPECT_EQ(f->C_SignInit(session, &mechanism, key), CKR_OK);
  if (!pin.empty()) {
    EXPECT_EQ(f->C_Login(session, CKU_CONTEXT_SPECIFIC, reinterpret_cast<CK_UTF8CHAR*>(pin.data()),
                         pin.size()),
              CKR_OK);
  }
  EXPECT_EQ(f->C_Sign(session, reinterpret_cast<CK_BYTE*>(data.data()), data.size(),
                      reinterpret_cast<CK_BYTE*>(signature.data()), &size),
            CKR_OK);
  signature.resize(size <= signature.size() ? size : 0);
  return signature;
}

inline CK_RV verify(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
                    CK_MECHANISM_TYPE type, std::string data, std::string signature) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  EXPECT_EQ(f->C_VerifyInit(session, &mechanism, key), CKR_OK);
  return f->C_Verify(session, reinterpret_cast<CK_BYTE*>(data.data()), data.size(),
                     reinterpret_cast<CK_BYTE*>(signature.data()), signature.size());
}

/// Signs and verifies, and finds that another text does not have that signature. 32 bytes are what
/// every mechanism takes that hashes nothing itself.
inline void expectSigns(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, KeyPair pair,
                        CK_MECHANISM_TYPE type, const std::string& pin = {}) {
  std::string text(32, 'a');
  std::string signature = sign(f, session, pair.privateKey, type, text, pin);
  EXPECT_GE(signature.size(), 64U);
  EXPECT_EQ(verify(f, session, pair.publicKey, type, text, signature), CKR_OK);
  EXPECT_EQ(verify(f, session, pair.publicKey, type, std::string(32, 'b'), signature),
            CKR_SIGNATURE_INVALID);
}

inline std::vector<CK_OBJECT_HANDLE> find(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session,
                                          Template& wanted) {
  std::vector<CK_OBJECT_HANDLE> all;
  EXPECT_EQ(f->C_FindObjectsInit(session, wanted.data(), wanted.size()), CKR_OK);
  for (;;) {
    CK_OBJECT_HANDLE some[64];
    CK_ULONG count = 0;
    CK_RV rv = f->C_FindObjects(session, some, 64, &count);
    EXPECT_EQ(rv, CKR_OK);
    if (rv != CKR_OK || count == 0) break;
    all.insert(all.end(), some, some + count);
  }
  EXPECT_EQ(f->C_FindObjectsFinal(session), CKR_OK);
  return all;
}

/// The pair of that label.
inline KeyPair findPair(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, const std::string& label) {
  auto one = [&](CK_OBJECT_CLASS kind) {
    auto found = find(f, session, Template().number(CKA_CLASS, kind).bytes(CKA_LABEL, label));
    EXPECT_EQ(found.size(), 1U);
    return found.empty() ? CK_INVALID_HANDLE : found[0];
  };
  return {one(CKO_PUBLIC_KEY), one(CKO_PRIVATE_KEY)};
}

inline std::string attribute(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session,
                             CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  std::string value(65536, '\0');
  CK_ATTRIBUTE one{type, value.data(), value.size()};
  EXPECT_EQ(f->C_GetAttributeValue(session, object, &one, 1), CKR_OK);
  value.resize(one.ulValueLen <= value.size() ? one.ulValueLen : 0);
  return value;
}

inline CK_RV setPin(CK_FUNCTION_LIST* f, CK_SESSION_HANDLE session, std::string from,
                    std::string to) {
  return f->C_SetPIN(session, reinterpret_cast<CK_UTF8CHAR*>(from.data()), from.size(),
                     reinterpret_cast<CK_UTF8CHAR*>(to.data()), to.size());
}

}  // namespace bulkhead::test
