// SPDX-License-Identifier: BSD-2-Clause
//
// bulkhead_initialize() and bulkhead_finalize() on modules that the caller loaded itself: SoftHSM2,
// p11-kit's trust module and NSS's softokn, and one of the test's own where the test must see, or
// decide, what the module is asked and answers.
#include <sys/wait.h>

#include <atomic>
#include <barrier>
#include <latch>
#include <stdexcept>

#include "proxy/bulkhead.h"
#include "tests/integration/fixture.h"

namespace bulkhead::test {
namespace {

// A module that notes what happens to it, and does what it is told to. N tells one from another.
template <int N>
struct Recorder {
  static inline std::function<CK_RV(CK_C_INITIALIZE_ARGS*)> onInitialize;
  static inline std::function<CK_RV()> onFinalize;
  static inline std::atomic<int> initializations, finalizations, inside;
  static inline std::atomic<bool> initialized, overlapped;

  static CK_RV initialize(void* args) {
    overlapped = overlapped || inside.fetch_add(1) != 0 || initialized;
    ++initializations;
    CK_RV rv = onInitialize ? onInitialize(static_cast<CK_C_INITIALIZE_ARGS*>(args)) : CKR_OK;
    if (rv == CKR_OK) initialized = true;
    --inside;
    return rv;
  }
  static CK_RV finalize(void*) {
    overlapped = overlapped || inside.fetch_add(1) != 0 || !initialized;
    ++finalizations;
    CK_RV rv = onFinalize ? onFinalize() : CKR_OK;
    if (rv == CKR_OK) initialized = false;
    --inside;
    return rv;
  }
  static CK_FUNCTION_LIST* list() {
    static CK_FUNCTION_LIST one = make();
    return &one;
  }
  static CK_FUNCTION_LIST make() {
    CK_FUNCTION_LIST one{};
    one.version = {2, 40};
    one.C_Initialize = initialize;
    one.C_Finalize = finalize;
    return one;
  }
  // Others get their chance in the middle of both.
  static void takeYourTime() {
    onInitialize = [](auto) -> CK_RV { return std::this_thread::yield(), CKR_OK; };
    onFinalize = []() -> CK_RV { return std::this_thread::yield(), CKR_OK; };
  }
  static void reset() {
    onInitialize = nullptr;
    onFinalize = nullptr;
    initializations = finalizations = inside = 0;
    initialized = overlapped = false;
  }
};
using One = Recorder<1>;
using Two = Recorder<2>;

class Coordinate : public ::testing::Test {
 protected:
  void SetUp() override {
    One::reset();
    Two::reset();
  }
  void TearDown() override {
    EXPECT_FALSE(One::overlapped) << "initialised twice, or finalised without";
    EXPECT_FALSE(Two::overlapped);
    // What a test left behind would be the next one's.
    EXPECT_EQ(bulkhead_finalize(One::list()), CKR_CRYPTOKI_NOT_INITIALIZED);
    EXPECT_EQ(bulkhead_finalize(Two::list()), CKR_CRYPTOKI_NOT_INITIALIZED);
  }
};

// Runs `body` in a forked child and yields what it answers, a number below 100.
template <typename Body>
int inChild(Body body) {
  pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(30);
    ::_exit(body());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

TEST_F(Coordinate, FirstInitializesAndLastFinalizes) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(One::initializations, 1);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(One::finalizations, 0);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(One::finalizations, 1);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(One::finalizations, 1);
  EXPECT_NE(std::string(bulkhead_message()), "");
}

TEST_F(Coordinate, ModulesAreCountedEachByItself) {
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_initialize(Two::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_TRUE(Two::initialized);
  EXPECT_EQ(bulkhead_finalize(Two::list()), CKR_OK);
}

TEST_F(Coordinate, GivesTheModuleLocksAndTheFirstCallersReserved) {
  char reserved[] = "for the module";
  One::onInitialize = [&](CK_C_INITIALIZE_ARGS* args) -> CK_RV {
    bool right = args != nullptr && args->flags == CKF_OS_LOCKING_OK && !args->CreateMutex &&
                 !args->DestroyMutex && !args->LockMutex && !args->UnlockMutex &&
                 args->pReserved == reserved;
    return right ? CKR_OK : CKR_ARGUMENTS_BAD;
  };
  EXPECT_EQ(bulkhead_initialize(One::list(), reserved), CKR_OK);
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

TEST_F(Coordinate, RefusesWhatIsNoList) {
  CK_FUNCTION_LIST empty{}, half = One::make();
  half.C_Finalize = nullptr;
  for (CK_FUNCTION_LIST* list : {static_cast<CK_FUNCTION_LIST*>(nullptr), &empty, &half}) {
    EXPECT_EQ(bulkhead_initialize(list, nullptr), CKR_ARGUMENTS_BAD);
    EXPECT_NE(std::string(bulkhead_message()), "");
    EXPECT_EQ(bulkhead_finalize(list), CKR_ARGUMENTS_BAD);
  }
  EXPECT_EQ(One::initializations, 0);
}

TEST_F(Coordinate, HandsOnAnErrorAndCountsNothing) {
  One::onInitialize = [](auto) -> CK_RV { return CKR_DEVICE_ERROR; };
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_DEVICE_ERROR);
  EXPECT_NE(std::string(bulkhead_message()).find("CKR_DEVICE_ERROR"), std::string::npos);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(One::finalizations, 0);
  One::onInitialize = nullptr;
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_STREQ(bulkhead_message(), "");
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

TEST_F(Coordinate, LeavesAModuleToWhoeverInitializedItWithoutUs) {
  ASSERT_EQ(One::list()->C_Initialize(nullptr), CKR_OK);
  One::onInitialize = [](auto) -> CK_RV { return CKR_CRYPTOKI_ALREADY_INITIALIZED; };
  One::initialized = false;  // for the recorder's own check
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(One::finalizations, 0);
}

TEST_F(Coordinate, CountsAsFinalizedWhateverFinalizeAnswers) {
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  One::onFinalize = []() -> CK_RV { return CKR_DEVICE_ERROR; };
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_DEVICE_ERROR);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_CRYPTOKI_NOT_INITIALIZED);
  // It still is initialised, and says so: now it is ours all the same.
  One::onInitialize = [](auto) -> CK_RV { return CKR_CRYPTOKI_ALREADY_INITIALIZED; };
  One::onFinalize = nullptr;
  One::initialized = false;
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  One::initialized = true;
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(One::finalizations, 2);
}

TEST_F(Coordinate, AModuleThatThrowsHasFailed) {
  One::onInitialize = [](auto) -> CK_RV { throw std::runtime_error("from a module"); };
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_GENERAL_ERROR);
  One::reset();
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

TEST_F(Coordinate, ListsOfOneModuleCountTogether) {
  CK_FUNCTION_LIST other = One::make();
  other.version = {3, 0};
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_initialize(&other, nullptr), CKR_OK);
  EXPECT_EQ(One::initializations, 1);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(One::finalizations, 0);
  EXPECT_EQ(bulkhead_finalize(&other), CKR_OK);
  EXPECT_EQ(One::finalizations, 1);
}

TEST_F(Coordinate, ListsOfSoftoknCountTogether) {
  BULKHEAD_NEEDS(NSS_SOFTOKN);
  Library softokn(NSS_SOFTOKN);
  auto getInterface =
      softokn.symbol<CK_RV (*)(CK_UTF8CHAR*, CK_VERSION*, CK_INTERFACE**, CK_FLAGS)>(
          "C_GetInterface");
  if (getInterface == nullptr) GTEST_SKIP() << "a softokn of PKCS#11 2.40";
  CK_VERSION version{3, 0};
  CK_UTF8CHAR name[] = "PKCS 11";
  CK_INTERFACE* interface = nullptr;
  ASSERT_EQ(getInterface(name, &version, &interface, 0), CKR_OK);
  CK_FUNCTION_LIST* older = softokn.functions();
  auto newer = static_cast<CK_FUNCTION_LIST*>(interface->pFunctionList);
  ASSERT_NE(older, newer);
  char parameters[] =
      "configdir='' certPrefix='' keyPrefix='' secmod='' flags=readOnly,noCertDB,noModDB";
  ASSERT_EQ(bulkhead_initialize(older, parameters), CKR_OK);
  ASSERT_EQ(bulkhead_initialize(newer, parameters), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(older), CKR_OK);
  EXPECT_FALSE(slots(newer).empty());
  EXPECT_EQ(bulkhead_finalize(newer), CKR_OK);
  CK_ULONG count = 9;
  // After C_Finalize this one lists no slots, and no error.
  (void)newer->C_GetSlotList(CK_FALSE, nullptr, &count);
  EXPECT_EQ(count, 0u);
}

TEST_F(Coordinate, AModuleMayComeBackFromItsInitialize) {
  CK_RV itself = CKR_OK, undone = CKR_OK, other = CKR_GENERAL_ERROR;
  One::onInitialize = [&](auto) -> CK_RV {
    itself = bulkhead_initialize(One::list(), nullptr);
    undone = bulkhead_finalize(One::list());
    other = bulkhead_initialize(Two::list(), nullptr);
    return CKR_OK;
  };
  One::onFinalize = [&]() -> CK_RV {
    EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_FUNCTION_FAILED);
    return bulkhead_finalize(Two::list());
  };
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_STREQ(bulkhead_message(), "");
  EXPECT_EQ(itself, CKR_FUNCTION_FAILED);
  EXPECT_EQ(undone, CKR_FUNCTION_FAILED);
  EXPECT_EQ(other, CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_FALSE(Two::initialized);
}

// Each module brings up the other from its C_Initialize, in two threads: somebody must give in.
TEST_F(Coordinate, ModulesThatWantEachOtherDoNotWaitForEver) {
  std::barrier both(2);
  std::atomic<int> failed{0};
  auto bringUp = [&](CK_FUNCTION_LIST* other) {
    both.arrive_and_wait();
    CK_RV rv = bulkhead_initialize(other, nullptr);
    if (rv == CKR_OK) rv = bulkhead_finalize(other);
    if (rv == CKR_FUNCTION_FAILED) ++failed;
    EXPECT_TRUE(rv == CKR_OK || rv == CKR_FUNCTION_FAILED);
    return CK_RV{CKR_OK};
  };
  One::onInitialize = [&](auto) { return bringUp(Two::list()); };
  Two::onInitialize = [&](auto) { return bringUp(One::list()); };
  std::thread first([] { EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK); });
  std::thread second([] { EXPECT_EQ(bulkhead_initialize(Two::list(), nullptr), CKR_OK); });
  first.join();
  second.join();
  EXPECT_EQ(failed, 1);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(Two::list()), CKR_OK);
}

TEST_F(Coordinate, AModuleThatHangsDelaysNoOther) {
  std::latch entered(1), leave(1);
  One::onInitialize = [&](auto) -> CK_RV {
    entered.count_down();
    leave.wait();
    return CKR_OK;
  };
  std::thread hanging([] { EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK); });
  entered.wait();
  EXPECT_EQ(bulkhead_initialize(Two::list(), nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(Two::list()), CKR_OK);
  // Who wants the same module waits for it, and then counts.
  std::thread waiting([] { EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK); });
  leave.count_down();
  hanging.join();
  waiting.join();
  EXPECT_EQ(One::initializations, 1);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

TEST_F(Coordinate, EightThreadsRace) {
  constexpr int THREADS = 8, ROUNDS = 2000;
  One::takeYourTime();
  std::barrier start(THREADS);
  std::vector<std::thread> threads;
  for (int t = 0; t < THREADS; ++t)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int i = 0; i < ROUNDS; ++i) {
        EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
        EXPECT_TRUE(One::initialized) << "torn down under one of its users";
        EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(One::initializations, One::finalizations);
  EXPECT_FALSE(One::initialized);
}

// Without regard to whether they have initialised it: each answer is one of two, and in the end it
// adds up.
TEST_F(Coordinate, EightThreadsRaceAndFinalizeTooOften) {
  constexpr int THREADS = 8, ROUNDS = 2000;
  One::takeYourTime();
  std::atomic<int> counted{0};
  std::barrier start(THREADS);
  std::vector<std::thread> threads;
  for (int t = 0; t < THREADS; ++t)
    threads.emplace_back([&, t] {
      start.arrive_and_wait();
      for (int i = 0; i < ROUNDS; ++i) {
        if ((i * 7 + t) % 3 == 0) {
          EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
          ++counted;
        } else {
          CK_RV rv = bulkhead_finalize(One::list());
          EXPECT_TRUE(rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED) << rv;
          if (rv == CKR_OK) --counted;
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_GE(counted, 0);
  for (int left = counted; left > 0; --left) EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

TEST_F(Coordinate, EightThreadsRaceOnSoftHsm) {
  BULKHEAD_NEEDS(SOFTHSM);
  Configuration configuration;
  configuration.addSoftHsm();
  Library library(SOFTHSM);
  CK_FUNCTION_LIST* module = library.functions();
  std::barrier start(8);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      start.arrive_and_wait();
      for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(bulkhead_initialize(module, nullptr), CKR_OK);
        EXPECT_EQ(slots(module).size(), 1u);
        EXPECT_EQ(bulkhead_finalize(module), CKR_OK);
      }
    });
  for (auto& thread : threads) thread.join();
  CK_ULONG count = 0;
  EXPECT_EQ(module->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
}

TEST_F(Coordinate, AForkedChildStartsAtZero) {
  ASSERT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  ASSERT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(inChild([] {
              if (bulkhead_finalize(One::list()) != CKR_CRYPTOKI_NOT_INITIALIZED) return 1;
              if (One::finalizations != 0) return 2;
              One::initialized = false;  // the child's copy, for the recorder's own check
              if (bulkhead_initialize(One::list(), nullptr) != CKR_OK) return 3;
              if (One::initializations != 2) return 4;
              if (bulkhead_finalize(One::list()) != CKR_OK) return 5;
              return One::finalizations == 1 ? 0 : 6;
            }),
            0);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_TRUE(One::initialized);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

TEST_F(Coordinate, AChildForkedWhileAModuleIsBusyIsNotKeptWaiting) {
  std::latch entered(1), leave(1);
  One::onInitialize = [&](auto) -> CK_RV {
    entered.count_down();
    leave.wait();
    return CKR_OK;
  };
  std::thread hanging([] { EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK); });
  entered.wait();
  EXPECT_EQ(inChild([] {
              One::reset();
              if (bulkhead_initialize(One::list(), nullptr) != CKR_OK) return 1;
              return bulkhead_finalize(One::list()) == CKR_OK ? 0 : 2;
            }),
            0);
  leave.count_down();
  hanging.join();
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
}

// Cancelled in the middle of the module's C_Initialize, at a cancellation point or at any
// instruction: that is completed and counted, and then the thread ends.
TEST_F(Coordinate, ACancelledThreadCompletesWhatItBegan) {
  static std::latch* entered;
  static std::latch* cancelled;
  for (int type : {PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS}) {
    std::latch in(1), sent(1);
    entered = &in;
    cancelled = &sent;
    One::onInitialize = [](auto) -> CK_RV {
      entered->count_down();
      cancelled->wait();
      ::usleep(1000);
      return CKR_OK;
    };
    pthread_t thread;
    ASSERT_EQ(::pthread_create(
                  &thread, nullptr,
                  [](void* how) -> void* {
                    ::pthread_setcanceltype(*static_cast<int*>(how), nullptr);
                    (void)bulkhead_initialize(One::list(), nullptr);
                    for (;;) ::pthread_testcancel();
                  },
                  &type),
              0);
    in.wait();
    ::pthread_cancel(thread);
    sent.count_down();
    void* result = nullptr;
    ASSERT_EQ(::pthread_join(thread, &result), 0);
    EXPECT_EQ(result, PTHREAD_CANCELED);
    EXPECT_TRUE(One::initialized);
    EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
    One::onInitialize = nullptr;
  }
}

TEST_F(Coordinate, KeepsErrno) {
  One::onInitialize = [](auto) -> CK_RV {
    errno = EIO;
    return CKR_OK;
  };
  errno = ERANGE;
  EXPECT_EQ(bulkhead_initialize(One::list(), nullptr), CKR_OK);
  EXPECT_EQ(errno, ERANGE);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(One::list()), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_EQ(errno, ERANGE);
}

// Two libraries in one process that know nothing of each other, each with its own handle on the
// same module.
class TwoLibraries : public ::testing::TestWithParam<const char*> {
 protected:
  struct Part {
    explicit Part(const char* file) : library(file) {}
    Library library;
    CK_RV begin(const char* path, bool directly) const {
      return library.symbol<CK_RV (*)(const char*, bool)>("begin")(path, directly);
    }
    CK_RV use() const { return library.symbol<CK_RV (*)()>("use")(); }
    CK_RV end() const { return library.symbol<CK_RV (*)()>("end")(); }
  };
  Part a{BULKHEAD_LIBRARY_A}, b{BULKHEAD_LIBRARY_B};
};

TEST_P(TwoLibraries, FinalizeInEitherOrderAndTheOtherGoesOn) {
  BULKHEAD_NEEDS(GetParam());
  Configuration configuration;
  configuration.addSoftHsm();
  for (bool firstComesFirst : {true, false}) {
    Part& first = firstComesFirst ? a : b;
    Part& last = firstComesFirst ? b : a;
    ASSERT_EQ(a.begin(GetParam(), false), CKR_OK);
    ASSERT_EQ(b.begin(GetParam(), false), CKR_OK);
    EXPECT_EQ(first.use(), CKR_OK);
    EXPECT_EQ(first.end(), CKR_OK);
    EXPECT_EQ(last.use(), CKR_OK);
    EXPECT_EQ(first.begin(GetParam(), false), CKR_OK);
    EXPECT_EQ(last.end(), CKR_OK);
    EXPECT_EQ(first.use(), CKR_OK);
    EXPECT_EQ(first.end(), CKR_OK);
    EXPECT_EQ(first.use(), CKR_CRYPTOKI_NOT_INITIALIZED);
  }
}

TEST_P(TwoLibraries, BreakEachOtherWithoutThis) {
  BULKHEAD_NEEDS(GetParam());
  Configuration configuration;
  configuration.addSoftHsm();
  ASSERT_EQ(a.begin(GetParam(), true), CKR_OK);
  ASSERT_EQ(b.begin(GetParam(), true), CKR_OK);
  EXPECT_EQ(a.end(), CKR_OK);
  // The trust module counts by itself.
  bool counts = std::string(GetParam()) == P11_KIT_TRUST;
  EXPECT_EQ(b.use(), counts ? CKR_OK : CKR_CRYPTOKI_NOT_INITIALIZED);
  (void)b.end();
}

INSTANTIATE_TEST_SUITE_P(On, TwoLibraries, ::testing::Values(SOFTHSM, P11_KIT_TRUST),
                         [](auto& one) { return one.param == SOFTHSM ? "SoftHsm" : "Trust"; });

}  // namespace
}  // namespace bulkhead::test
