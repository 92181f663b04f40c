// SPDX-License-Identifier: BSD-2-Clause
//
// Several consumers on one module that know nothing of each other. Which module it is the
// environment says: TOGETHER_MODULE is bulkhead where it is not set, and may be SoftHSM2 itself or
// p11-kit's proxy to see what they make of the same tests; tests/together/comparison does that. A
// test whose sentence() is said is a row of the comparison, and what its first failure says last is
// what happens there.
#pragma once

#include <sys/prctl.h>

#include <algorithm>
#include <numeric>

#include "ipc/descriptor.h"
#include "ipc/names.h"
#include "tests/integration/fixture.h"

namespace bulkhead::test {

enum class Kind { Bulkhead, P11Kit, Direct };

inline std::string moduleUnderTest() {
  const char* path = ::getenv("TOGETHER_MODULE");
  return path == nullptr ? proxyPath() : path;
}

inline Kind kind() {
  std::string path = moduleUnderTest();
  if (path.find("p11-kit-proxy") != std::string::npos) return Kind::P11Kit;
  return path == SOFTHSM ? Kind::Direct : Kind::Bulkhead;
}

/// Leaves a test that takes more than one module, or that looks at bulkhead's own processes.
#define BULKHEAD_NEEDS_A_PROXY() \
  if (kind() == Kind::Direct) GTEST_SKIP() << "a module has no other beside it"
#define BULKHEAD_NEEDS_ITSELF() \
  if (kind() != Kind::Bulkhead) GTEST_SKIP() << "looks at bulkhead's own processes, or its log"

/// The row that the test is of the comparison.
inline void sentence(const std::string& text) {
  ::testing::Test::RecordProperty("sentence", text);
}

/// A place in a test. (clang 14 has no std::source_location.)
struct Where {
  const char* file;
  int line;
  static constexpr Where here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

using Rvs = std::vector<CK_RV>;

/// Fails, with the value's name, unless it is one of those allowed.
inline void expect(const std::string& call, CK_RV rv, const Rvs& allowed = {CKR_OK},
                   Where where = Where::here()) {
  if (std::find(allowed.begin(), allowed.end(), rv) != allowed.end()) return;
  ADD_FAILURE_AT(where.file, where.line) << "\n" << call << ": " << ipc::returnValueName(rv);
}

/// Fails with what happened in place of what should hold.
inline void expect(bool holds, const std::string& otherwise, Where where = Where::here()) {
  if (holds) return;
  ADD_FAILURE_AT(where.file, where.line) << "\n" << otherwise;
}

/// Every order of n things.
inline std::vector<std::vector<unsigned>> orders(unsigned n) {
  std::vector<unsigned> order(n);
  std::iota(order.begin(), order.end(), 0u);
  std::vector<std::vector<unsigned>> all;
  do all.push_back(order);
  while (std::next_permutation(order.begin(), order.end()));
  return all;
}

inline std::string toString(const std::vector<unsigned>& order) {
  std::string text;
  for (unsigned one : order) text += static_cast<char>('A' + one);
  return text;
}

/// One consumer. Finalised at the end as often as it was initialised.
class Consumer {
 public:
  Consumer(CK_FUNCTION_LIST* f, std::string name) : f_(f), name_(std::move(name)) {}
  Consumer(const Consumer&) = delete;
  Consumer& operator=(const Consumer&) = delete;
  ~Consumer() {
    while (count_ > 0) (void)finalize();
  }

  CK_FUNCTION_LIST* operator->() const { return f_; }
  CK_FUNCTION_LIST* functions() const { return f_; }
  const std::string& name() const { return name_; }
  /// "A's C_Login"
  std::string does(const std::string& call) const { return name_ + "'s " + call; }

  CK_RV tryInitialize() {
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    CK_RV rv = f_->C_Initialize(&args);
    if (rv == CKR_OK) ++count_;
    return rv;
  }
  CK_RV finalize() {
    if (count_ > 0) --count_;
    return f_->C_Finalize(nullptr);
  }
  /// In a forked child: what was initialised is the parent's.
  void forget() { count_ = 0; }

  void initialize(Where where = Where::here()) {
    CK_RV rv = tryInitialize();
    // Directly on a module, a library that is not the first takes this for a yes, and goes on.
    if (kind() == Kind::Direct && rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) {
      ++count_;
      return;
    }
    expect(does("C_Initialize"), rv, {CKR_OK}, where);
  }
  CK_SESSION_HANDLE open(CK_SLOT_ID slot, CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION,
                         Where where = Where::here()) const {
    CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
    expect(does("C_OpenSession"), f_->C_OpenSession(slot, flags, nullptr, nullptr, &session),
           {CKR_OK}, where);
    return session;
  }
  CK_RV login(CK_SESSION_HANDLE session, const std::string& pin = USER_PIN,
              CK_USER_TYPE user = CKU_USER) const {
    std::string copy = pin;
    return f_->C_Login(session, user, reinterpret_cast<CK_UTF8CHAR*>(copy.data()), copy.size());
  }
  CK_RV random(CK_SESSION_HANDLE session) const {
    CK_BYTE bytes[8];
    return f_->C_GenerateRandom(session, bytes, sizeof bytes);
  }
  void works(CK_SESSION_HANDLE session, const std::string& when,
             Where where = Where::here()) const {
    expect(does("session " + when), random(session), {CKR_OK}, where);
  }
  std::optional<CK_STATE> state(CK_SESSION_HANDLE session) const {
    CK_SESSION_INFO info{};
    if (f_->C_GetSessionInfo(session, &info) != CKR_OK) return std::nullopt;
    return info.state;
  }

 private:
  CK_FUNCTION_LIST* f_;
  std::string name_;
  int count_ = 0;
};

/// Runs something in a forked child; what fails in it fails here. An exception is a failure, too.
class Child {
 public:
  explicit Child(const std::function<void()>& check) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    Descriptor writing(ends[1]);
    reading_ = Descriptor(ends[0]);
    auto result = ::testing::UnitTest::GetInstance()->current_test_info()->result();
    int before = result->total_part_count();
    std::fflush(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ != 0) return;
    // Nothing goes on without the test.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::string wrong;
    try {
      check();
    } catch (const std::exception& e) {
      wrong = e.what();
    }
    for (int i = result->total_part_count() - 1; i >= before; --i)
      if (result->GetTestPartResult(i).failed()) wrong = result->GetTestPartResult(i).message();
    // Where the test was in its loops is for the test to say again.
    wrong = wrong.substr(0, wrong.find("\nGoogle Test trace:"));
    bool told = ::write(writing.get(), wrong.data(), wrong.size()) >= 0;
    std::fflush(nullptr);
    ::_exit(wrong.empty() && told ? 0 : 1);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { await(); }

  pid_t pid() const { return pid_; }
  void await(Where where = Where::here()) {
    if (pid_ <= 0) return;
    std::string wrong;
    char buffer[4096];
    for (ssize_t n; (n = ::read(reading_.get(), buffer, sizeof buffer)) > 0;)
      wrong.append(buffer, static_cast<std::size_t>(n));
    int status = 0;
    EXPECT_EQ(::waitpid(pid_, &status, 0), pid_);
    pid_ = -1;
    if (WIFSIGNALED(status))
      wrong = std::string("it dies: ") + ::strsignal(WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0 && wrong.empty())
      wrong = "it exits with " + std::to_string(WEXITSTATUS(status));
    auto start = wrong.find_last_of('\n');
    expect(wrong.empty(), "the child: " + wrong.substr(start == std::string::npos ? 0 : start + 1),
           where);
  }

 private:
  pid_t pid_ = -1;
  Descriptor reading_;
};

inline void inChild(const std::function<void()>& check, Where where = Where::here()) {
  Child(check).await(where);
}

/// A configuration with the tokens "one" and "two" on SoftHSM2, and as many consumers as a test
/// likes. With addSlow(), another module beside it.
class Together : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    BULKHEAD_NEEDS(moduleUnderTest().c_str());
    configuration.addSoftHsm("softhsm2", "priority: 1\n");
    // The same files for p11-kit, which reads no others then; not when it is root.
    configuration.directory().write("pkcs11/pkcs11.conf", "user-config: only\n");
    std::filesystem::create_directory_symlink("../modules", configuration.path("pkcs11/modules"));
    makeSoftHsmTokens({"one", "two"});
    library.emplace(moduleUnderTest());
  }

  std::unique_ptr<Consumer> consumer(const std::string& name = "A") {
    return std::make_unique<Consumer>(library->functions(), name);
  }
  std::vector<std::unique_ptr<Consumer>> consumers(unsigned n) {
    std::vector<std::unique_ptr<Consumer>> all;
    for (unsigned i = 0; i < n; ++i) all.push_back(consumer(toString({i})));
    return all;
  }
  /// A consumer that is there all the while keeps the workers running.
  CK_SLOT_ID slot(const Consumer& consumer, const std::string& label = "one") {
    auto found = slotOf(consumer.functions(), label);
    if (!found) throw std::runtime_error("token " + label + " is not there");
    return *found;
  }

  /// Adds a module whose C_GetSlotList hangs while hang() is true.
  void addSlow() {
    configuration.directory().makeDirectory("flags");
    slowFlag_.emplace("SLOW_HANG", configuration.path("flags/hang"));
    configuration.addModule("slow", BULKHEAD_SLOW_MODULE);
    configuration.addDropIn("slow",
                            "[Worker]\nPassEnvironment=SLOW_HANG\n[Filesystem]\nReadOnlyPaths=" +
                                configuration.path("flags") + "\n");
  }
  void hang(bool on) {
    if (on)
      configuration.directory().write("flags/hang", "");
    else
      std::filesystem::remove(configuration.path("flags/hang"));
  }

  Configuration configuration;
  Variable p11Kit{"XDG_CONFIG_HOME", configuration.path()};
  std::optional<Library> library;

 private:
  std::optional<Variable> slowFlag_;
};

}  // namespace bulkhead::test
