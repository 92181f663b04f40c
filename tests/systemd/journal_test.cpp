// SPDX-License-Identifier: BSD-2-Clause
//
// What is in the journal when something has happened to a worker: read back from a real
// systemd-journald, see with_journald.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <iomanip>
#include <nlohmann/json.hpp>
#include <random>

#include "ipc/descriptor.h"
#include "tests/hostile/rig.h"
#include "tests/systemd/process.h"
#include "worker/journal.h"

namespace bulkhead {
namespace {

using hostile::Rig;
using hostile::timeOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using Json = nlohmann::json;
namespace id = worker::message_id;

std::string journalctl(const std::string& arguments) {
  return test::output("journalctl --sync && journalctl -q --directory=/run/log/journal " +
                      arguments);
}

/// A host, and the journal from then on: hosts in one process have modules of one name.
class Told : public Rig {
 public:
  explicit Told(const char* level = "warning") : Rig(level) {
    timespec now;
    ::clock_gettime(CLOCK_REALTIME, &now);
    std::ostringstream text;
    text << " --since=@" << now.tv_sec << "." << std::setw(6) << std::setfill('0')
         << now.tv_nsec / 1000 << " BULKHEAD_MODULE=" << evil() << " ";
    mine_ = text.str();
  }
  /// What journalctl shows of the module.
  std::string shown(const std::string& arguments) const { return journalctl(arguments + mine_); }
  /// The records of one kind, oldest first.
  std::vector<Json> records(const char* kind) const {
    std::vector<Json> all;
    std::istringstream lines(shown("-o json MESSAGE_ID=" + std::string(kind)));
    for (std::string line; std::getline(lines, line);) all.push_back(Json::parse(line));
    return all;
  }
  /// Its record number `n` of a kind, once it is there. It is about the module and this program,
  /// comes from the supervisor, and is what was said on stderr.
  Json record(const char* kind, std::size_t n = 0) const {
    std::vector<Json> found;
    if (!test::eventually([&] { return (found = records(kind)).size() > n; })) {
      ADD_FAILURE() << "no record " << kind << ":\n" << shown("-o verbose") << log();
      return Json::object();
    }
    Json one = found[n];
    EXPECT_EQ(one["BULKHEAD_MODULE_PATH"], module());
    EXPECT_EQ(one["BULKHEAD_HOST_PID"], std::to_string(::getpid()));
    EXPECT_EQ(one["SYSLOG_IDENTIFIER"], "bulkhead");
    EXPECT_EQ(one["_COMM"], "bulkhead-worker");
    EXPECT_NE(one["_PID"], one["BULKHEAD_HOST_PID"]);
    if (one["PRIORITY"] <= "4") {
      EXPECT_TRUE(logs("bulkhead: " + one["MESSAGE"].get<std::string>() + "\n")) << log();
    }
    return one;
  }

 private:
  std::string mine_;
};

struct Death {
  const char* plan;
  const char* field;
  const char* value;
  const char* how;
};

class Deaths : public testing::TestWithParam<Death> {};

TEST_P(Deaths, AreRecorded) {
  const Death& death = GetParam();
  Told rig;
  rig.configure(std::string(death.plan) + "@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  pid_t first = test::workerOf(rig.evil());
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);

  Json died = rig.record(id::DIED);
  EXPECT_EQ(died["PRIORITY"], "4");
  EXPECT_EQ(died["MESSAGE"], rig.evil() + ": worker " + death.how + " in C_GenerateRandom");
  EXPECT_EQ(died[death.field], death.value);
  EXPECT_EQ(died.contains("BULKHEAD_SIGNAL") + died.contains("BULKHEAD_EXIT_STATUS"), 1);
  EXPECT_EQ(died["BULKHEAD_WORKER_PID"], std::to_string(first));
  EXPECT_EQ(died["BULKHEAD_FUNCTION"], "C_GenerateRandom");
  EXPECT_THAT(died["BULKHEAD_UPTIME_MSEC"].get<std::string>(), MatchesRegex("[0-9]+"));
  EXPECT_EQ(died["BULKHEAD_RESTARTS"], "0");
  EXPECT_EQ(died["BULKHEAD_VIOLATIONS"], "0");

  // A start again is told, and counted when it, too, dies.
  session = rig.open(rig.evilSlot());
  pid_t second = test::workerOf(rig.evil());
  EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);
  EXPECT_EQ(rig.record(id::DIED, 1)["BULKHEAD_RESTARTS"], "1");
  Json again = rig.record(id::RESTARTED);
  EXPECT_EQ(again["BULKHEAD_WORKER_PID"], std::to_string(second));
  EXPECT_EQ(again["BULKHEAD_RESTARTS"], "1");
  EXPECT_EQ(rig.records(id::RESTARTED).size(), 1U);
}
INSTANTIATE_TEST_SUITE_P(
    Journal, Deaths,
    testing::Values(Death{"segv", "BULKHEAD_SIGNAL", "11", "was ended by SIGSEGV"},
                    Death{"kill", "BULKHEAD_SIGNAL", "9", "was ended by SIGKILL"},
                    Death{"_exit", "BULKHEAD_EXIT_STATUS", "0", "exited with status 0"}),
    [](const auto& one) {
      return std::string(one.param.plan[0] == '_' ? "exit" : one.param.plan);
    });

TEST(Journal, HasTheWorkerThatWasKilledForADeadline) {
  Told rig;
  rig.configure("hang@C_GenerateRandom", "CallTimeoutSec=C_GenerateRandom:1");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_DEVICE_REMOVED);
  Json killed = rig.record(id::KILLED);
  EXPECT_EQ(killed["PRIORITY"], "4");
  EXPECT_EQ(killed["BULKHEAD_SIGNAL"], "9");
  EXPECT_EQ(killed["BULKHEAD_FUNCTION"], "C_GenerateRandom");
  EXPECT_THAT(killed["MESSAGE"].get<std::string>(), HasSubstr("CallTimeoutSec="));
  EXPECT_GE(std::stoul(killed["BULKHEAD_UPTIME_MSEC"].get<std::string>()), 1000U);
  EXPECT_TRUE(rig.records(id::DIED).empty());
}

TEST(Journal, HasWhatWasRefused) {
  Told rig;
  rig.configure("try:sethostname@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  EXPECT_EQ(rig.random(session, text), CKR_OK);
  Json refused = rig.record(id::VIOLATION);
  EXPECT_EQ(refused["PRIORITY"], "4");
  EXPECT_EQ(refused["BULKHEAD_SYSCALL"], "sethostname");
  EXPECT_THAT(refused["BULKHEAD_ARGUMENTS"].get<std::string>(), HasSubstr("7"));
  EXPECT_THAT(refused["BULKHEAD_LOCATION"].get<std::string>(), HasSubstr("libc"));
  EXPECT_EQ(refused["BULKHEAD_FUNCTION"], "C_GenerateRandom");
  EXPECT_EQ(refused["BULKHEAD_WORKER_PID"], std::to_string(test::workerOf(rig.evil())));

  // From the same place again: counted, and no further record.
  EXPECT_EQ(rig.random(session, text), CKR_OK);
  ASSERT_TRUE(test::killWorker(rig.evil()));
  EXPECT_EQ(rig.record(id::DIED)["BULKHEAD_VIOLATIONS"], "2");
  EXPECT_EQ(rig.records(id::VIOLATION).size(), 1U);
}

TEST(Journal, HasTheStartThatFailed) {
  Told rig;
  rig.configure("none@none", "NoSuchKey=1");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  Json failed = rig.record(id::FAILED);
  EXPECT_EQ(failed["PRIORITY"], "3");
  EXPECT_THAT(failed["MESSAGE"].get<std::string>(), HasSubstr("NoSuchKey"));
  EXPECT_FALSE(failed.contains("BULKHEAD_WORKER_PID"));
}

TEST(Journal, SaysNothingOfAWorkerThatDoesWell) {
  Told rig;
  rig.configure("none@none", "", "[Limits]\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_EQ(rig.shown("-o cat"), "");
}

TEST(Journal, IsExplainedByTheCatalog) {
  Told rig;
  rig.configure("segv@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_DEVICE_REMOVED);
  (void)rig.record(id::DIED);
  std::string explained = rig.shown("-x -t bulkhead");
  EXPECT_THAT(explained,
              HasSubstr("Subject: The worker of PKCS#11 module " + rig.evil() + " has died"));
  EXPECT_THAT(explained, HasSubstr("was C_GenerateRandom."));
  EXPECT_THAT(explained, HasSubstr("man:bulkhead-worker(8)"));
}

TEST(Journal, ThatHangsCostsNoCallAndNoStart) {
  pid_t journald = ::atoi(::getenv("JOURNALD_PID"));
  ASSERT_GT(journald, 1);
  Told rig;
  hostile::milliseconds took;
  {
    test::Stopped stopped(journald);
    // Nobody reads, and the queue is full.
    Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{AF_UNIX, "/run/systemd/journal/socket"};
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const std::string fill = "MESSAGE=fills the queue\n";
    while (::send(socket.get(), fill.data(), fill.size(), 0) >= 0) continue;
    ASSERT_EQ(errno, EAGAIN);

    rig.configure("try:sethostname@C_GenerateRandom");
    took = timeOf([&] {
      ASSERT_EQ(rig.initialize(), CKR_OK);
      CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
      std::string text;
      EXPECT_EQ(rig.random(session, text), CKR_OK);
      ASSERT_TRUE(test::killWorker(rig.evil()));
      EXPECT_EQ(rig.digest(session), CKR_DEVICE_REMOVED);
      EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
    });
    EXPECT_TRUE(rig.logs("refused sethostname")) << rig.log();
    EXPECT_TRUE(rig.logs("worker was ended by SIGKILL")) << rig.log();
  }
  RecordProperty("milliseconds", std::to_string(took.count()));
  EXPECT_LT(took, std::chrono::seconds(10));
  // What it did not take is lost; what comes after it is not.
  EXPECT_TRUE(rig.records(id::VIOLATION).empty());
  ASSERT_TRUE(test::killWorker(rig.evil()));
  (void)rig.record(id::DIED);
}

// PINs, keys and plain text go through calls that end in every way. What is told of it, in the
// journal or on stderr, has none of them: not as they are, nor as numbers.
class PlantedSecrets : public testing::Test {
 protected:
  CK_BYTE* bytes(std::size_t n) { return reinterpret_cast<CK_BYTE*>(secrets_[n].data()); }

  void use(Rig& rig, CK_SESSION_HANDLE session) {
    (void)rig->C_Login(session, CKU_USER, bytes(0), SIZE);
    (void)rig->C_SetPIN(session, bytes(0), SIZE, bytes(1), SIZE);
    CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
    CK_OBJECT_HANDLE object = 0;
    CK_ATTRIBUTE key[] = {{CKA_CLASS, &secret, sizeof secret}, {CKA_VALUE, bytes(2), SIZE}};
    (void)rig->C_CreateObject(session, key, 2, &object);
    CK_PBE_PARAMS pbe{};
    CK_BYTE iv[8] = {};
    pbe.pInitVector = iv;
    pbe.pPassword = bytes(3);
    pbe.ulPasswordLen = SIZE;
    CK_MECHANISM known{CKM_PBE_SHA1_DES3_EDE_CBC, &pbe, sizeof pbe};
    (void)rig->C_DeriveKey(session, &known, 11, nullptr, 0, &object);
    CK_MECHANISM unknown{CKM_VENDOR_DEFINED + 77, bytes(3), SIZE};
    (void)rig->C_DeriveKey(session, &unknown, 11, nullptr, 0, &object);
    (void)rig.digest(session, secrets_[4]);
  }
  bool isIn(const std::string& text) const {
    for (const std::string& secret : secrets_) {
      std::ostringstream hex;
      for (char c : secret)
        hex << std::hex << std::setw(2) << std::setfill('0')
            << static_cast<unsigned>(static_cast<unsigned char>(c));
      if (text.find(secret) != std::string::npos || text.find(hex.str()) != std::string::npos)
        return true;
    }
    return false;
  }

  static constexpr CK_ULONG SIZE = 24;
  std::vector<std::string> secrets_ = [] {
    std::random_device random;
    std::vector<std::string> all(5);
    for (std::string& one : all)
      while (one.size() < SIZE) one += static_cast<char>('a' + random() % 26);
    return all;
  }();
};

class Planted : public PlantedSecrets, public testing::WithParamInterface<const char*> {};

TEST_P(Planted, SecretsAreNotInIt) {
  Told rig;
  rig.configure(GetParam(), "CallTimeoutSec=1h C_Digest:300ms");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  for (int i = 0; i < 2; ++i) use(rig, rig.open(rig.evilSlot()));
  (void)test::killWorker(rig.evil());
  // A death is recorded, whichever it is; and with it all that came before.
  std::string told;
  ASSERT_TRUE(test::eventually([&] {
    told = rig.shown("-a -o export");
    return told.find("worker ") != std::string::npos;
  }));
  EXPECT_THAT(told, HasSubstr("BULKHEAD_MODULE=" + rig.evil()));
  EXPECT_FALSE(isIn(told)) << told;
  EXPECT_FALSE(isIn(journalctl("-a -o export"))) << "in a record of another kind";
  EXPECT_FALSE(isIn(rig.log())) << rig.log();
}
INSTANTIATE_TEST_SUITE_P(Journal, Planted,
                         testing::Values("none@none", "refuse@C_CreateObject", "segv@C_Login",
                                         "segv@C_SetPIN", "segv@C_CreateObject", "segv@C_DeriveKey",
                                         "segv@C_Digest", "hang@C_Digest", "frame-garbage@C_Login",
                                         "try:sethostname@C_Login", "leak@C_Login"),
                         [](const auto& one) {
                           std::string name;
                           for (char c : std::string(one.param)) name += ::isalnum(c) ? c : '_';
                           return name;
                         });

// A search that finds what is there: what a module says is for whoever asks for it by name.
TEST_F(PlantedSecrets, SecretsThatAModuleSaysAreForWhoDebugsItAlone) {
  Told rig("debug");
  rig.configure("leak@C_Login");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  use(rig, rig.open(rig.evilSlot()));
  EXPECT_TRUE(test::eventually([&] { return isIn(rig.log()); }));
  EXPECT_FALSE(isIn(journalctl("-a -o export")));
}

TEST(Journal, TakesARecordOfAnySizeAndBytes) {
  const std::string lines = "one\ntwo\n", large(3 << 20, 'x');
  std::string module = "size-" + std::to_string(::getpid());
  for (const std::string& value : {lines, large})
    EXPECT_TRUE(worker::sendToJournal(
        LogLevel::Warning, "sized",
        {{"BULKHEAD_MODULE", module}, {"MESSAGE_ID", id::DIED}, {"BULKHEAD_FUNCTION", value}}));
  std::string found = journalctl("-a -o json BULKHEAD_MODULE=" + module);
  std::istringstream in(found);
  for (const std::string& value : {lines, large}) {
    std::string line;
    ASSERT_TRUE(std::getline(in, line));
    EXPECT_TRUE(Json::parse(line)["BULKHEAD_FUNCTION"] == value);
  }
}

}  // namespace
}  // namespace bulkhead
