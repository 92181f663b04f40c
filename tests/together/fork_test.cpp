// SPDX-License-Identifier: BSD-2-Clause
//
// fork as servers do it: initialise, fork, and use in the children after their own C_Initialize.
#include <sys/file.h>

#include <atomic>
#include <barrier>

#include "tests/together/together.h"

namespace bulkhead::test {
namespace {

// SoftHSM2 writes to the token at a login, and another process that looks at it meanwhile finds no
// token, or one that is broken: whoever starts or logs in beside others takes turns.
class Turn {
 public:
  explicit Turn(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (::flock(file_.get(), LOCK_EX) != 0) throw std::runtime_error("flock " + path);
  }

 private:
  Descriptor file_;
};

class Fork : public Together {
 protected:
  void SetUp() override {
    Together::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    a = consumer("A");
    b = consumer("B");
  }
  // What remains of a parent in its child.
  void forget() {
    a->forget();
    b->forget();
  }
  CK_RV initialize(Consumer& one) {
    Turn turn(configuration.path());
    return one.tryInitialize();
  }
  // A key of the session, and as many signatures as are wanted, each checked.
  void work(const Consumer& one, CK_SLOT_ID slot, int times) {
    CK_SESSION_HANDLE own;
    {
      Turn turn(configuration.path());
      own = one.open(slot);
      expect(one.does("C_Login"), one.login(own), {CKR_OK, CKR_USER_ALREADY_LOGGED_IN});
    }
    CK_MECHANISM generate{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0},
        sign{CKM_SHA256_HMAC, nullptr, 0};
    CK_ULONG length = 32;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &length, sizeof length},
                        {CKA_SIGN, &yes, 1},
                        {CKA_VERIFY, &yes, 1},
                        {CKA_PRIVATE, &yes, 1}};
    CK_OBJECT_HANDLE key = 0;
    expect(one.does("C_GenerateKey"), one->C_GenerateKey(own, &generate, t, 4, &key));
    for (int i = 0; i < times && !HasFailure(); ++i) {
      CK_BYTE text[4] = {1, 2, 3, static_cast<CK_BYTE>(i)}, mac[32];
      CK_ULONG size = sizeof mac;
      expect(one.does("C_SignInit"), one->C_SignInit(own, &sign, key));
      expect(one.does("C_Sign"), one->C_Sign(own, text, sizeof text, mac, &size));
      expect(one.does("C_VerifyInit"), one->C_VerifyInit(own, &sign, key));
      expect(one.does("C_Verify"), one->C_Verify(own, text, sizeof text, mac, size));
    }
    expect(one.does("C_CloseSession"), one->C_CloseSession(own));
  }
  // A session of the parent, which has to go on after each thing that a child does.
  void begin(bool login = true) {
    a->initialize();
    token = slot(*a);
    session = a->open(token);
    if (login) expect("the parent's C_Login", a->login(session));
    loggedIn = login;
  }
  void goesOn(const std::string& when) {
    a->works(session, when);
    if (loggedIn)
      expect(a->state(session) == CKS_RW_USER_FUNCTIONS, "the parent is logged out " + when);
    work(*a, token, 2);
  }

  std::unique_ptr<Consumer> a, b;
  CK_SLOT_ID token = 0;
  CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
  bool loggedIn = false;
};

TEST_F(Fork, childWithoutItsOwnInitializeGetsACleanError) {
  sentence("A child without a `C_Initialize` of its own gets `CKR_CRYPTOKI_NOT_INITIALIZED`");
  begin();
  b->initialize();
  inChild([&] {
    for (Consumer* one : {b.get(), a.get()}) {
      CK_INFO info{};
      CK_SESSION_INFO of{};
      CK_ULONG count = 0;
      CK_SESSION_HANDLE fresh = 0;
      const Rvs not_ = {CKR_CRYPTOKI_NOT_INITIALIZED};
      expect("C_GetInfo", (*one)->C_GetInfo(&info), not_);
      expect("C_GetSlotList", (*one)->C_GetSlotList(CK_FALSE, nullptr, &count), not_);
      expect("C_OpenSession",
             (*one)->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &fresh), not_);
      expect("C_GetSessionInfo", (*one)->C_GetSessionInfo(session, &of), not_);
      expect("C_GenerateRandom", one->random(session), not_);
      expect("C_Login", one->login(session), not_);
      expect("C_Logout", (*one)->C_Logout(session), not_);
      expect("C_CloseSession", (*one)->C_CloseSession(session), not_);
      expect("C_CloseAllSessions", (*one)->C_CloseAllSessions(token), not_);
      expect("C_Finalize", (*one)->C_Finalize(nullptr), not_);
    }
    forget();
  });
  goesOn("after the child");
}

TEST_F(Fork, childWorksAfterItsOwnInitialize) {
  sentence("Initialise, fork, and use in the child after its own `C_Initialize`");
  begin();
  b->initialize();
  // In the child A comes first, then B; and the other way round; and one of them alone.
  for (auto& order : std::vector<std::vector<unsigned>>{{0, 1}, {1, 0}, {0}, {1}}) {
    SCOPED_TRACE(toString(order));
    inChild([&] {
      forget();
      Consumer* both[] = {a.get(), b.get()};
      for (unsigned i : order) {
        expect(both[i]->does("C_Initialize in the child"), initialize(*both[i]));
        work(*both[i], token, 3);
      }
      for (unsigned i : order)
        expect(both[i]->does("C_Finalize in the child"), both[i]->finalize());
    });
    goesOn("after the child's C_Finalize");
    if (HasFailure()) return;
  }
}

// The parent's sessions, logins and objects are not the child's.
TEST_F(Fork, childHasNothingOfItsParents) {
  sentence("The child's sessions and login are not the parent's, nor the parent's the child's");
  begin();
  inChild([&] {
    forget();
    expect("C_Initialize in the child", initialize(*a));
    expect("the parent's session in the child", a->random(session), {CKR_SESSION_HANDLE_INVALID});
    CK_SESSION_HANDLE own = a->open(token);
    expect(own != session, "the child's session has the parent's handle");
    expect(a->state(own) == CKS_RW_PUBLIC_SESSION, "the child is logged in");
    expect("the child's C_Login", a->login(own));
    expect("the child's C_Logout", (*a)->C_Logout(own));
  });
  expect(a->state(session) == CKS_RW_USER_FUNCTIONS, "the child's C_Logout logs out its parent");
  goesOn("after the child");
}

TEST_F(Fork, childsEndHarmsNobody) {
  sentence("However a child ends, its parent works on");
  begin();
  std::vector<std::pair<std::string, std::function<void()>>> ends = {
      {"_exit", [] { ::_exit(0); }},
      {"exit", [] { std::exit(0); }},
      {"SIGKILL", [] { ::raise(SIGKILL); }},
      {"abort", [] { ::signal(SIGABRT, SIG_DFL), ::abort(); }},
      {"exec", [] { ::execl("/bin/true", "true", nullptr); }},
  };
  for (bool initialized : {false, true}) {
    for (auto& [how, end] : ends) {
      SCOPED_TRACE(how);
      std::fflush(nullptr);
      pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        // Its output is nobody's: what its exit handlers print is the test's own.
        int null = ::open("/dev/null", O_WRONLY);
        ::dup2(null, 1);
        ::dup2(null, 2);
        if (initialized) {
          (void)initialize(*a);
          (void)a->open(token);
        } else {
          (void)(*a)->C_Finalize(nullptr);
        }
        end();
        ::_exit(99);
      }
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 99);
      goesOn("after the child's " + how);
      if (HasFailure()) return;
    }
  }
}

TEST_F(Fork, serversForkManyAtOnce) {
  sentence("A pre-forking server: several children at once, each with its own `C_Initialize`");
  begin();
  b->initialize();
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 6; ++i)
    children.push_back(std::make_unique<Child>([&, i] {
      forget();
      Consumer& own = i % 2 == 0 ? *a : *b;
      expect(own.does("C_Initialize in the child"), initialize(own));
      work(own, token, 30);
      expect(own.does("C_Finalize in the child"), own.finalize());
    }));
  work(*a, token, 30);
  for (auto& child : children) child->await();
  goesOn("after its children");
  // A server starts another for each that ends.
  for (int i = 0; i < 3; ++i) {
    Child child([&] {
      forget();
      expect("C_Initialize in the child", initialize(*a));
      work(*a, token, 1);
    });
  }
  goesOn("after more children");
}

// The parent has the list only, or has it no more.
TEST_F(Fork, parentNeedNotBeInitialised) {
  sentence("The parent only loads the module, or has finalised it: the children initialise it");
  for (bool finalised : {false, true}) {
    SCOPED_TRACE(finalised);
    if (finalised) {
      a->initialize();
      token = slot(*a);
      expect("the parent's C_Finalize", a->finalize());
    }
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 3; ++i)
      children.push_back(std::make_unique<Child>([&] {
        expect("C_Initialize in the child", initialize(*a));
        CK_SLOT_ID own;
        {
          Turn turn(configuration.path());
          own = slot(*a);
        }
        work(*a, own, 5);
        expect("C_Finalize in the child", a->finalize());
      }));
    for (auto& child : children) child->await();
    CK_INFO info{};
    expect("the parent's C_GetInfo", (*a)->C_GetInfo(&info), {CKR_CRYPTOKI_NOT_INITIALIZED});
    if (HasFailure()) return;
  }
}

// Apache's children are another user than the one that initialised.
TEST_F(Fork, childMayBeAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: there is no other user to become";
  constexpr uid_t NOBODY = 65534;
  // The token is both users', the configuration is root's.
  ASSERT_EQ(::chmod(configuration.path().c_str(), 0755), 0);
  std::string tokens = configuration.path("tokens");
  for (auto& entry : std::filesystem::recursive_directory_iterator(configuration.path())) {
    std::string path = entry.path();
    mode_t mode = entry.is_directory() ? 0755 : 0644;
    if (path.starts_with(tokens)) mode |= 0022;
    if (entry.is_symlink()) continue;
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
  }
  const char* worker = ::getenv("BULKHEAD_WORKER");
  begin();
  Child child([&] {
    if (::setresgid(NOBODY, NOBODY, NOBODY) != 0 || ::setresuid(NOBODY, NOBODY, NOBODY) != 0)
      throw std::runtime_error("cannot become nobody");
    forget();
    // A build that is root's alone is another matter.
    if (worker != nullptr && ::access(worker, X_OK) != 0) return;
    expect("C_Initialize in the child", initialize(*a));
    work(*a, token, 3);
    expect("C_Finalize in the child", a->finalize());
  });
  child.await();
  goesOn("after the child of another user");
}

// The master never uses what it initialised, and finalises it or not.
TEST_F(Fork, parentMayFinaliseWhileItsChildrenWork) {
  sentence("The parent finalises, or initialises again, while its children work");
  begin();
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 3; ++i)
    children.push_back(std::make_unique<Child>([&] {
      forget();
      expect("C_Initialize in the child", initialize(*a));
      work(*a, token, 60);
    }));
  for (int i = 0; i < 3; ++i) {
    expect("the parent's C_Finalize", a->finalize());
    expect("the parent's C_Initialize", initialize(*a));
  }
  work(*a, token, 2);
  for (auto& child : children) child->await();
}

// Initialise, fork twice, and the one in the middle goes: a daemon. Its parent goes as well.
TEST_F(Fork, daemonsForkTwice) {
  sentence("A daemon: initialise, fork twice, all that were before it exit");
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Descriptor reading(ends[0]), writing(ends[1]);
  // Whoever starts it is no process of this test's, so as to exit with what it has.
  std::fflush(nullptr);
  pid_t launcher = ::fork();
  ASSERT_GE(launcher, 0);
  if (launcher == 0) {
    begin();
    pid_t middle = ::fork();
    if (middle == 0) {
      pid_t daemon = ::fork();
      if (daemon != 0) ::_exit(daemon > 0 ? 0 : 1);
      ::setsid();
      // Until the launcher is gone.
      while (::getppid() == middle) ::usleep(1000);
      ::usleep(50'000);
      forget();
      CK_INFO info{};
      expect("C_GetInfo", (*a)->C_GetInfo(&info), {CKR_CRYPTOKI_NOT_INITIALIZED});
      expect("C_Initialize in the daemon", initialize(*a));
      if (!HasFailure()) work(*a, token, 5);
      expect("C_Finalize in the daemon", a->finalize());
      auto result = ::testing::UnitTest::GetInstance()->current_test_info()->result();
      std::string told = "good";
      for (int i = result->total_part_count() - 1; i >= 0; --i)
        if (result->GetTestPartResult(i).failed()) told = result->GetTestPartResult(i).message();
      (void)!::write(writing.get(), told.data(), told.size());
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(middle, &status, 0);
    ::_exit(0);
  }
  writing.reset();
  ASSERT_EQ(::waitpid(launcher, nullptr, 0), launcher);
  std::string told;
  char buffer[1024];
  for (ssize_t n; (n = ::read(reading.get(), buffer, sizeof buffer)) > 0;)
    told.append(buffer, static_cast<std::size_t>(n));
  auto start = told.find_last_of('\n');
  if (start != std::string::npos) told.erase(0, start + 1);
  expect(told == "good", told.empty() ? "the daemon dies" : told);
}

TEST_F(Fork, mayComeInTheMiddleOfCalls) {
  sentence(
      "Fork while other threads are in calls: the child works, and the threads' calls as well");
  if (SANITIZED) GTEST_SKIP() << "a sanitizer's allocator may be locked for ever in the child";
  begin();
  std::atomic<bool> done{false};
  std::atomic<unsigned> bad{0}, calls{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      CK_SESSION_HANDLE own = 0;
      if ((*a)->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &own) != CKR_OK) ++bad;
      while (!done) {
        if (a->random(own) != CKR_OK) ++bad;
        ++calls;
      }
    });
  EXPECT_TRUE(eventually([&] { return calls > 20; }));
  // What a child may do beside threads that were in the middle of anything: no expectation, no
  // allocation of its own.
  CK_RV wrong = CKR_OK;
  int endings = 0;
  for (int i = 0; i < 10 && wrong == CKR_OK && endings == 0; ++i) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    Descriptor reading(ends[0]), writing(ends[1]);
    pid_t child = ::fork();
    if (child == 0) {
      CK_INFO info{};
      CK_SESSION_HANDLE own = 0;
      CK_RV rv = (*a)->C_GetInfo(&info);
      rv = rv == CKR_CRYPTOKI_NOT_INITIALIZED ? (*a)->C_Initialize(nullptr) : CKR_GENERAL_ERROR;
      if (rv == CKR_OK) rv = (*a)->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &own);
      if (rv == CKR_OK) rv = a->random(own);
      if (rv == CKR_OK) rv = (*a)->C_Finalize(nullptr);
      ::_exit(::write(writing.get(), &rv, sizeof rv) == sizeof rv ? 0 : 1);
    }
    writing.reset();
    // One that hangs is ended.
    int status = 0;
    bool ended = eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; });
    if (!ended) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
    }
    if (!WIFEXITED(status)) {
      endings = ended ? WTERMSIG(status) : -1;
    } else if (::read(reading.get(), &wrong, sizeof wrong) != sizeof wrong) {
      wrong = CKR_GENERAL_ERROR;
    }
  }
  done = true;
  for (std::thread& caller : callers) caller.join();
  expect(endings == 0,
         endings < 0 ? "the child hangs" : "the child dies: " + std::string(::strsignal(endings)));
  expect("the child's first call that fails", wrong);
  expect(bad == 0, std::to_string(bad) + " calls of the parent's threads fail");
  goesOn("after forks in the middle of calls");
}

// Whoever is the first puts away what was the parent's, and nothing that another has made
// meanwhile.
TEST_F(Fork, childMayComeWithEightThreadsAtOnce) {
  sentence("Eight threads of a child race the first `C_Initialize` in it: each counts and works");
  begin();
  for (int round = 0; round < 20 && !HasFailure(); ++round)
    inChild([&] {
      forget();
      constexpr unsigned THREADS = 8;
      std::vector<CK_RV> rvs(THREADS, CKR_GENERAL_ERROR);
      std::barrier start(THREADS);
      std::vector<std::thread> racing;
      for (unsigned i = 0; i < THREADS; ++i)
        racing.emplace_back([&, i] {
          Consumer& own = i % 2 == 0 ? *a : *b;
          CK_SESSION_HANDLE mine = 0;
          start.arrive_and_wait();
          rvs[i] = own->C_Initialize(nullptr);
          if (rvs[i] == CKR_OK)
            rvs[i] = own->C_OpenSession(token, CKF_SERIAL_SESSION, nullptr, nullptr, &mine);
          for (int call = 0; call < 10 && rvs[i] == CKR_OK; ++call) rvs[i] = own.random(mine);
        });
      for (std::thread& one : racing) one.join();
      for (CK_RV rv : rvs) expect("a first call in the child", rv);
      for (unsigned i = 0; i < THREADS; ++i)
        expect("C_Finalize in the child", (*(i % 2 == 0 ? a : b))->C_Finalize(nullptr));
    });
  goesOn("after its children's threads");
}

// The child of a child, on and on; each has nothing of those before it.
TEST_F(Fork, goesOnForGenerations) {
  begin();
  auto before = slots(a->functions());
  std::function<void(int)> generation = [&](int left) {
    inChild([&] {
      forget();
      CK_INFO info{};
      expect("C_GetInfo", (*a)->C_GetInfo(&info), {CKR_CRYPTOKI_NOT_INITIALIZED});
      a->initialize();
      EXPECT_EQ(slots(a->functions()), before);
      if (left > 0) generation(left - 1);
      work(*a, token, 1);
    });
  };
  generation(4);
  goesOn("after generations of children");
}

// Workers belong to the process that started them, and to no other.
TEST_F(Fork, hasWorkersForEachProcess) {
  BULKHEAD_NEEDS_ITSELF();
  begin();
  auto parents = processes();
  Child child([&] {
    forget();
    auto inherited = supervisors();
    a->initialize();
    for (pid_t pid : processes())
      EXPECT_EQ(std::count(parents.begin(), parents.end(), pid), 0) << pid;
    // Of the parent's, nothing is open in the child any more.
    for (pid_t pid : supervisors())
      EXPECT_EQ(std::count(inherited.begin(), inherited.end(), pid), 0) << pid;
    auto own = processes();
    EXPECT_EQ(own.size(), parents.size());
    expect("C_Finalize in the child", a->finalize());
    for (pid_t pid : own) EXPECT_FALSE(alive(pid)) << pid;
  });
  child.await();
  EXPECT_EQ(processes(), parents);
  for (pid_t pid : parents) EXPECT_TRUE(alive(pid)) << pid;
  goesOn("after the child");
}

}  // namespace
}  // namespace bulkhead::test
