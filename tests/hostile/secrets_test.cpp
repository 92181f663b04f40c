// SPDX-License-Identifier: BSD-2-Clause
//
// PINs, keys and plain text are planted, go through calls that end in every way, and are looked for
// afterwards: in the log, and in all memory of host, supervisor and worker. While a call is under
// way they are where they have to be, which shows that the search finds them, and only in memory
// that no core dump and no forked child gets.
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <atomic>
#include <random>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

using test::workerOf;

// Random bytes that this process has in disguise only, so that it does not find itself.
class Marker {
 public:
  static constexpr std::size_t SIZE = 32;
  static constexpr std::uint64_t DISGUISE = 0xa5c396f03c695a0fU;

  Marker() {
    std::random_device random;
    for (auto& word : words_) word = (std::uint64_t{random()} << 32) | random();
  }
  // The plain bytes, directly into a buffer that is wiped later.
  void writeTo(volatile unsigned char* to) const {
    for (std::size_t i = 0; i < SIZE; ++i)
      to[i] = static_cast<unsigned char>((words_[i / 8] ^ DISGUISE) >> (i % 8 * 8));
  }
  // Whether half of it is there, at any place, also where nobody is to look any more.
  __attribute__((no_sanitize("address"))) bool isIn(const unsigned char* data,
                                                    std::size_t size) const {
    for (std::size_t i = 0; i + 16 <= size; ++i) {
      std::uint64_t word;
      ::memcpy(&word, data + i, sizeof word);
      word ^= DISGUISE;
      if (word != words_[0] && word != words_[1] && word != words_[2]) continue;
      std::uint64_t next;
      ::memcpy(&next, data + i + 8, sizeof next);
      next ^= DISGUISE;
      for (int n = 0; n < 3; ++n)
        if (word == words_[n] && next == words_[n + 1]) return true;
    }
    return false;
  }

 private:
  std::uint64_t words_[SIZE / 8];
};

// What the test itself has of secrets: one mapping, which the search leaves out.
class Own {
 public:
  static constexpr std::size_t SIZE = std::size_t{32} << 20;
  Own()
      : memory_(static_cast<unsigned char*>(
            ::mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  Own(const Own&) = delete;
  Own& operator=(const Own&) = delete;
  ~Own() { ::munmap(memory_, SIZE); }
  // Room that is full of a marker, time and again.
  CK_BYTE* fill(const Marker& marker, std::size_t size) {
    CK_BYTE* at = room(size);
    for (std::size_t i = 0; i + Marker::SIZE <= size; i += Marker::SIZE) marker.writeTo(at + i);
    return at;
  }
  CK_BYTE* room(std::size_t size) {
    CK_BYTE* at = memory_ + used_;
    used_ += (size + 63) & ~std::size_t{63};
    return at;
  }
  void wipe() {
    ::explicit_bzero(memory_, SIZE);
    used_ = 0;
  }
  bool has(std::uint64_t start) const {
    auto own = reinterpret_cast<std::uint64_t>(memory_);
    return start >= own && start < own + SIZE;
  }

 private:
  unsigned char* memory_;
  std::size_t used_ = 0;
};

struct Found {
  std::string where;  // the line of /proc/PID/smaps
  std::string flags;
};

// All writable mappings of a process that have a marker in them, but for the test's own.
std::vector<Found> search(pid_t pid, const std::vector<Marker>& markers, const Own& own) {
  std::vector<Found> found;
  std::istringstream maps(test::readFile("/proc/" + std::to_string(pid) + "/smaps"));
  bool here = false;
  std::vector<unsigned char> copy;
  for (std::string line; std::getline(maps, line);) {
    unsigned long start, end;
    char rights[5];
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &start, &end, rights) == 3) {
      here = false;
      if (rights[0] != 'r' || rights[1] != 'w') continue;
      // A sanitizer's notes about memory: terabytes, and no bytes of anybody's.
      if (SANITIZED && end - start > std::size_t{128} << 20) continue;
      if (line.find("[vvar") != std::string::npos) continue;
      if (pid == ::getpid()) {
        // Where it lies: a copy would be found next.
        std::uint64_t from = start;
        if (own.has(from)) from += Own::SIZE;
        // One that is merged with a neighbour of the same kind.
        if (from >= end) continue;
        auto data = reinterpret_cast<const unsigned char*>(from);
        for (const Marker& marker : markers) here = here || marker.isIn(data, end - from);
      } else {
        copy.resize(end - start);
        iovec local{copy.data(), copy.size()};
        iovec remote{reinterpret_cast<void*>(start), copy.size()};
        ssize_t n = ::process_vm_readv(pid, &local, 1, &remote, 1, 0);
        if (n <= 0) continue;
        for (const Marker& marker : markers)
          here = here || marker.isIn(copy.data(), static_cast<std::size_t>(n));
        ::explicit_bzero(copy.data(), copy.size());
      }
      if (here) found.push_back({line, {}});
    } else if (here && line.starts_with("VmFlags:")) {
      found.back().flags = line.substr(8);
    }
  }
  return found;
}

class Secrets : public testing::Test {
 protected:
  // Every kind of secret through every kind of argument. What the calls answer, but those of
  // `slot`'s session itself.
  std::vector<CK_RV> use(CK_SESSION_HANDLE session) {
    std::vector<CK_RV> all;
    CK_BYTE* pin = own_.fill(markers_[0], 32);
    CK_BYTE* newPin = own_.fill(markers_[1], 32);
    all.push_back(rig_->C_Login(session, CKU_USER, pin, 32));
    all.push_back(rig_->C_SetPIN(session, pin, 32, newPin, 32));

    // Templates travel in messages: of several segments, too large for the buffers that are kept,
    // and small. The module gives back what it was given.
    CK_OBJECT_HANDLE object = 0;
    for (std::size_t size : {std::size_t{1} << 20, std::size_t{100'000}, std::size_t{4096}}) {
      all.push_back(create(session, size, object));
      CK_BYTE* value = own_.room(size);
      CK_ATTRIBUTE wanted{CKA_VALUE, value, size};
      all.push_back(rig_->C_GetAttributeValue(session, object, &wanted, 1));
      if (all.back() == CKR_OK) {
        EXPECT_TRUE(markers_[2].isIn(value, size)) << size;
      }
    }

    CK_PBE_PARAMS pbe{};
    CK_BYTE iv[8] = {};
    pbe.pInitVector = iv;
    pbe.pPassword = own_.fill(markers_[3], 64);
    pbe.ulPasswordLen = 64;
    CK_MECHANISM mechanism{CKM_PBE_SHA1_DES3_EDE_CBC, &pbe, sizeof pbe};
    all.push_back(rig_->C_DeriveKey(session, &mechanism, 11, nullptr, 0, &object));

    // What a vendor's mechanism is given: nothing is known of it, and it does not travel.
    CK_MECHANISM unknown{CKM_VENDOR_DEFINED + 77, own_.fill(markers_[3], 64), 64};
    EXPECT_EQ(rig_->C_DeriveKey(session, &unknown, 11, nullptr, 0, &object) == CKR_OK, false);

    // In a message, and in memory that host and worker share.
    CK_MECHANISM digest{CKM_SHA256, nullptr, 0};
    for (std::size_t size : {std::size_t{64}, std::size_t{100'000}, std::size_t{1} << 20}) {
      CK_BYTE* plain = own_.fill(markers_[4], size);
      CK_BYTE* out = own_.room(size);
      CK_ULONG length = size;
      CK_RV rv = rig_->C_DigestInit(session, &digest);
      if (rv == CKR_OK) rv = rig_->C_Digest(session, plain, size, out, &length);
      all.push_back(rv);
    }
    CK_BYTE* seed = own_.fill(markers_[4], 64);
    all.push_back(rig_->C_SeedRandom(session, seed, 64));
    return all;
  }

  CK_RV create(CK_SESSION_HANDLE session, std::size_t size, CK_OBJECT_HANDLE& object) {
    CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    CK_ATTRIBUTE list[] = {{CKA_CLASS, &secret, sizeof secret},
                           {CKA_VALUE, own_.fill(markers_[2], size), size}};
    return rig_->C_CreateObject(session, list, 2, &object);
  }

  void expectNowhere(const char* when) {
    own_.wipe();
    for (const Found& found : search(::getpid(), markers_, own_))
      ADD_FAILURE() << when << ", in the host: " << found.where;
    for (pid_t supervisor : test::supervisors())
      for (const Found& found : search(supervisor, markers_, own_))
        ADD_FAILURE() << when << ", in the supervisor: " << found.where;
    for (pid_t supervisor : test::supervisors())
      for (pid_t worker : test::childrenOf(supervisor))
        for (const Found& found : search(worker, markers_, own_))
          ADD_FAILURE() << when << ", in the worker: " << found.where;
    std::string log = rig_.log();
    EXPECT_FALSE(log.empty());
    for (const Marker& marker : markers_)
      EXPECT_FALSE(marker.isIn(reinterpret_cast<const unsigned char*>(log.data()), log.size()))
          << when << ", in the log";
  }

  // The workers go on for a moment after their answers: they wipe.
  void settle() {
    EXPECT_TRUE(test::eventually([] {
      for (pid_t supervisor : test::supervisors())
        for (pid_t worker : test::childrenOf(supervisor))
          if (!test::allThreadsAre(worker, 'S')) return false;
      return true;
    }));
  }

  Rig rig_{"debug"};
  Own own_;
  std::vector<Marker> markers_ = std::vector<Marker>(5);
};

TEST_F(Secrets, AreNowhereAfterCallsThatSucceed) {
  rig_.configure("none@none");
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  for (CK_RV rv : use(session)) EXPECT_EQ(rv, CKR_OK);
  settle();
  expectNowhere("after success");
  EXPECT_EQ(rig_.finalize(), CKR_OK);
  expectNowhere("after the end");
}

TEST_F(Secrets, AreNowhereAfterCallsThatFail) {
  rig_.configure("refuse@C_CreateObject");
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  EXPECT_EQ(use(session)[2], CKR_TEMPLATE_INCONSISTENT);
  // Without a session, and with more than a message carries.
  for (CK_RV rv : use(session + 1000)) EXPECT_EQ(rv, CKR_SESSION_HANDLE_INVALID);
  settle();
  expectNowhere("after failure");
}

class SecretsOf : public Secrets, public testing::WithParamInterface<const char*> {};

TEST_P(SecretsOf, ACallThatDiesMidwayAreNowhere) {
  rig_.configure(std::string("segv@") + GetParam());
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  auto answers = use(session);
  EXPECT_EQ(std::count(answers.begin(), answers.end(), CKR_DEVICE_REMOVED), 1);
  EXPECT_TRUE(rig_.logs("SIGSEGV in")) << rig_.log();
  expectNowhere("after a death");
}

TEST_P(SecretsOf, ACallThatTakesTooLongAreNowhere) {
  rig_.configure(std::string("hang@") + GetParam(),
                 std::string("CallTimeoutSec=1h ") + GetParam() + ":300ms");
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  auto answers = use(session);
  EXPECT_EQ(std::count(answers.begin(), answers.end(), CKR_DEVICE_REMOVED), 1);
  EXPECT_TRUE(rig_.logs("took longer than CallTimeoutSec=")) << rig_.log();
  expectNowhere("after a timeout");
}

TEST_P(SecretsOf, ACallWithALyingAnswerAreNowhere) {
  rig_.configure(std::string("frame-double@") + GetParam());
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  auto answers = use(session);
  EXPECT_GE(std::count(answers.begin(), answers.end(), CKR_DEVICE_REMOVED), 1);
  EXPECT_TRUE(test::eventually([&] { return workerOf(rig_.evil()) == -1; }));
  expectNowhere("after a lie");
}

INSTANTIATE_TEST_SUITE_P(All, SecretsOf,
                         testing::Values("C_Login", "C_CreateObject", "C_GetAttributeValue",
                                         "C_DeriveKey", "C_Digest"));

// The positive: in the middle of a call they are found, on both sides, and where no core dump and
// no child sees them. In a supervisor they never are.
class SecretsUnderWay : public Secrets, public testing::WithParamInterface<std::size_t> {};

TEST_P(SecretsUnderWay, AreInMemoryThatIsNotDumped) {
  rig_.configure("hang@C_CreateObject", "CallTimeoutSec=1h");
  ASSERT_EQ(rig_.initialize(), CKR_OK);
  CK_SESSION_HANDLE session = rig_.open(rig_.evilSlot());
  std::thread caller([&] {
    CK_OBJECT_HANDLE object;
    EXPECT_EQ(create(session, GetParam(), object), CKR_DEVICE_REMOVED);
  });
  pid_t worker = workerOf(rig_.evil());
  // The module has it all, and the caller has wiped what it sent when it waits for the answer.
  EXPECT_TRUE(areAsleepIn(SYS_pause, 1, worker));
  EXPECT_TRUE(areInCalls(1));
  auto inHost = search(::getpid(), markers_, own_);
  EXPECT_TRUE(inHost.empty()) << inHost.front().where;
  auto inWorker = search(worker, markers_, own_);
  EXPECT_FALSE(inWorker.empty());
  for (const Found& found : inWorker)
    EXPECT_NE(found.flags.find(" dd"), std::string::npos) << found.where << found.flags;
  for (pid_t supervisor : test::supervisors()) {
    EXPECT_TRUE(search(supervisor, markers_, own_).empty());
    for (pid_t pid : {supervisor, worker}) {
      std::string limits = test::readFile("/proc/" + std::to_string(pid) + "/limits");
      auto at = limits.find("Max core file size");
      ASSERT_NE(at, std::string::npos);
      std::istringstream words(limits.substr(at + ::strlen("Max core file size")));
      std::string soft, hard;
      words >> soft >> hard;
      // One byte: zero does not keep the kernel from piping a core to a program.
      EXPECT_EQ(soft, "1") << pid;
      EXPECT_EQ(hard, "1") << pid;
    }
  }
  ::kill(worker, SIGKILL);
  caller.join();
  expectNowhere("after a death");
}

// In a message of one segment, and in one of several that no kept buffer holds.
INSTANTIATE_TEST_SUITE_P(All, SecretsUnderWay, testing::Values(4096, 1 << 20));

}  // namespace
}  // namespace bulkhead::hostile
