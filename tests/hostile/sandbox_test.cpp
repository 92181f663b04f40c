// SPDX-License-Identifier: BSD-2-Clause
//
// What a module can't do, tried by a module: in its constructor, in C_Initialize, in a call and on
// a thread of its own. Each attempt is checked from inside, by the errno that the module saw; from
// outside, by what did not happen; and in the log, where the system call's name must be.
#include "tests/hostile/outside.h"
#include "tests/hostile/properties.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

bool among(const std::string& word, const std::string& list) {
  return (" " + list + " ").find(" " + word + " ") != std::string::npos;
}

using Where = std::tuple<Property, const char*>;

class Sandbox : public testing::TestWithParam<Where> {};

// What the module sees here. What none but missing layers stop gets through, and what the policy
// grants by way of the broker takes the broker.
std::string expectedOf(const Property& property) {
  std::istringstream stops(property.stops);
  bool any = false, left = false;
  for (std::string layer; stops >> layer; any = true) left = left || !missing(layer);
  if (any && !left) return property.open;
  bool ungranted = property.unless == GRANTED && missing("broker");
  return std::string(property.answers) + (ungranted ? " EPERM" : "");
}

// Another host with a worker of this module, for as long as this lives. Attempts find out about it
// by a file, where they may write.
class Sibling {
 public:
  explicit Sibling(Rig& rig) {
    int told[2], kept[2];
    if (::pipe2(told, O_CLOEXEC) != 0 || ::pipe2(kept, O_CLOEXEC) != 0) return;
    Descriptor tells(told[1]), knows(told[0]), waits(kept[0]);
    keep_.reset(kept[1]);
    std::fflush(nullptr);
    host_ = ::fork();
    if (host_ == 0) {
      keep_.reset();
      {
        Rig own("error");
        own.configure("none@none");
        if (own.initialize() == CKR_OK) {
          pid_t worker = test::workerOf(own.evil());
          (void)!::write(tells.get(), &worker, sizeof worker);
          char end;
          (void)!::read(waits.get(), &end, 1);
        }
      }
      ::_exit(0);
    }
    tells.reset();
    if (::read(knows.get(), &worker_, sizeof worker_) != sizeof worker_) return;
    std::string maps = test::readFile("/proc/" + std::to_string(worker_) + "/maps");
    rig.setup().directory().write("writable/sibling",
                                  std::to_string(worker_) + " " + maps.substr(0, maps.find('-')));
  }
  Sibling(const Sibling&) = delete;
  Sibling& operator=(const Sibling&) = delete;
  ~Sibling() {
    keep_.reset();
    if (host_ > 0) ::waitpid(host_, nullptr, 0);
  }
  bool lives() const { return worker_ > 0 && test::alive(worker_); }

 private:
  Descriptor keep_;
  pid_t host_ = -1, worker_ = -1;
};

TEST_P(Sandbox, Holds) {
  auto& [property, point] = GetParam();
#ifdef BULKHEAD_SANITIZED
  // It takes terabytes of addresses, and its settings by the environment.
  if (among(property.attempt, "threads memory environment")) GTEST_SKIP() << "a sanitizer's worker";
#endif
  const char* refusedAbove = ::getenv("HOSTILE_REFUSED");
  Rig rig("warning");
  Outside outside(rig);
  Secrets secrets;
  std::optional<Sibling> sibling;
  if (std::string(property.attempt).starts_with("sibling-")) {
    sibling.emplace(rig);
    ASSERT_TRUE(sibling->lives());
  }
  rig.configure(std::string("try:") + property.attempt + "@" + point, outside.variables(),
                outside.sections());
  ASSERT_EQ(rig.initialize(), CKR_OK);
  bool dies = std::string(property.answers) == "dead";
  bool early = std::string(point) == "ctor" || std::string(point) == "init";
  if (dies && early) {
    EXPECT_TRUE(test::slots(rig.functions()).empty());
  } else {
    std::string text;
    CK_RV rv = rig.random(rig.open(rig.evilSlot()), text);
    EXPECT_EQ(rv, dies ? CKR_DEVICE_REMOVED : CKR_OK) << rig.log();
    if (!dies) {
      EXPECT_TRUE(among(text, expectedOf(property))) << text;
    }
  }
  if (dies) {
    EXPECT_TRUE(rig.logs("SIGSYS")) << rig.log();
  }
  // What a filter above refuses never gets as far as ours, which would ask.
  if (property.logged[0] != '\0' && !missing("broker") &&
      !among(property.logged, refusedAbove == nullptr ? "" : refusedAbove)) {
    EXPECT_TRUE(rig.logs(std::string("refused ") + property.logged + "(")) << rig.log();
  }
  outside.expectUntouched();
  if (sibling) {
    EXPECT_TRUE(sibling->lives());
  }
}

std::string nameOf(const testing::TestParamInfo<Where>& info) {
  return std::string(std::get<0>(info.param).name) + "_" + std::get<1>(info.param);
}

INSTANTIATE_TEST_SUITE_P(InACall, Sandbox,
                         testing::Combine(testing::ValuesIn(PROPERTIES),
                                          testing::Values("C_GenerateRandom")),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(InTheConstructor, Sandbox,
                         testing::Combine(testing::ValuesIn(PROPERTIES), testing::Values("ctor")),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(InInitialize, Sandbox,
                         testing::Combine(testing::ValuesIn(PROPERTIES), testing::Values("init")),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(OnAThread, Sandbox,
                         testing::Combine(testing::ValuesIn(PROPERTIES), testing::Values("thread")),
                         nameOf);

// ---- connections, with a policy that allows one ----

struct Connection {
  const char* name;
  const char* answers;
  const char* logged;
};

class Connections : public testing::TestWithParam<Connection> {};

TEST_P(Connections, AreThoseOfThePolicy) {
  Rig rig("warning");
  Outside outside(rig);
  rig.configure(std::string("try:") + GetParam().name + "@C_GenerateRandom", outside.variables(),
                outside.sections("[Network]\nNetwork=unix\nConnect=unix:" +
                                 rig.setup().path("outside/allowed") + "\n"));
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  ASSERT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_TRUE(among(text, GetParam().answers)) << text;
  EXPECT_EQ(outside.connected(outside.allowed()), text == "ok");
  if (GetParam().logged[0] != '\0') {
    EXPECT_TRUE(rig.logs(GetParam().logged)) << rig.log();
  }
  outside.expectUntouched();
}

INSTANTIATE_TEST_SUITE_P(
    Unix, Connections,
    testing::Values(Connection{"connect-allowed", "ok", ""},
                    Connection{"connect-unix", "EACCES", "refused connect(unix:"},
                    Connection{"connect-abstract", "EACCES", "refused connect(unix:@"},
                    Connection{"bind-unix", "EPERM", "refused bind("},
                    Connection{"udp", "EPERM", "refused socket("},
                    Connection{"inet", "EPERM", "refused socket("},
                    Connection{"unix-datagram", "ESOCKTNOSUPPORT", ""}),
    [](const testing::TestParamInfo<Connection>& at) {
      std::string name = at.param.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

// ---- what the policy makes of a violation ----

TEST(Violations, KillTheWorkerWhereThePolicySaysSo) {
  Rig rig("warning");
  rig.configure("try:ptrace-host@C_GenerateRandom", {}, "[Syscalls]\nSystemCallAction=kill\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_DEVICE_REMOVED);
  EXPECT_TRUE(rig.logs("refused ptrace(")) << rig.log();
  EXPECT_TRUE(rig.logs("it called ptrace")) << rig.log();
}

TEST(Violations, AreNotWhatCLibrariesAskInPassing) {
  for (const char* network : {"[Network]\nNetwork=none\n", "[Network]\nNetwork=unix\n"}) {
    SCOPED_TRACE(network);
    Rig rig("warning");
    rig.configure("try:services@C_GenerateRandom", {},
                  std::string("[Syscalls]\nViolationLimit=1\n") + network);
    ASSERT_EQ(rig.initialize(), CKR_OK);
    std::string text;
    EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
    EXPECT_EQ(text, "none");
    EXPECT_EQ(rig.log().find("refused"), std::string::npos) << rig.log();
  }
}

TEST(Violations, EndTheWorkerWhenThereAreTooMany) {
  Rig rig("warning");
  rig.configure("try:flood@C_GenerateRandom", {}, "[Syscalls]\nViolationLimit=50\n");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  pid_t neighbour = test::workerOf(rig.good());
  CK_SESSION_HANDLE other = rig.open(rig.goodSlot());
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_DEVICE_REMOVED);
  EXPECT_TRUE(rig.logs("more refused system calls than ViolationLimit= has it")) << rig.log();
  EXPECT_EQ(rig.digest(other), CKR_OK);
  EXPECT_EQ(test::workerOf(rig.good()), neighbour);
}

TEST(Violations, AreLoggedOnceForEachPlace) {
  Rig rig("warning");
  rig.configure("try:flood@C_GenerateRandom", {}, "[Syscalls]\nViolationLimit=0\n");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SESSION_HANDLE other = rig.open(rig.goodSlot());
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_EQ(text, "ok");
  EXPECT_EQ(rig.digest(other), CKR_OK);
  std::string log = rig.log();
  auto first = log.find("refused keyctl(");
  EXPECT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("refused keyctl(", first + 1), std::string::npos) << log.substr(0, 2000);
}

// A harmless address first does not hide another one, though libc has one place for both; and a
// flood of one call does not hide another call.
TEST(Violations, HideNoOthers) {
  Rig rig("warning");
  rig.configure("try:flood-connects@C_GenerateRandom", {}, "[Syscalls]\nViolationLimit=0\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  if (missing("broker")) GTEST_SKIP() << "nobody is told";
  EXPECT_TRUE(rig.logs("refused keyctl(")) << rig.log();
  std::string log = rig.log();
  EXPECT_NE(log.find("refused connect(unix:/nowhere/0)"), std::string::npos) << log;
  EXPECT_NE(log.find("refused connect(unix:/nowhere/1)"), std::string::npos) << log;
  EXPECT_NE(log.find("calls connect too often to log it all"), std::string::npos) << log;
  EXPECT_EQ(log.find("refused connect(unix:/nowhere/60)"), std::string::npos) << log;
}

// Where nobody can be asked, the kernel does it; and not for what C libraries ask in passing.
TEST(Violations, KillTheWorkerWithoutABroker) {
  constexpr const char* POLICY = "[Syscalls]\nSystemCallAction=kill\n[Layers]\nPrefer=~broker\n";
  for (bool harmless : {true, false}) {
    Rig rig("warning");
    rig.configure(harmless ? "try:services@C_GenerateRandom" : "try:ptrace-host@C_GenerateRandom",
                  {}, POLICY);
    ASSERT_EQ(rig.initialize(), CKR_OK);
    std::string text;
    EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), harmless ? CKR_OK : CKR_DEVICE_REMOVED)
        << rig.log();
    if (!harmless) {
      EXPECT_TRUE(rig.logs("SIGSYS in C_GenerateRandom")) << rig.log();
    }
  }
}

// ---- by a module that handles all signals and blocks them, SIGSYS among them ----

struct Handled {
  const char* name;
  const char* attempt;
  const char* policy;
  bool dies;
  const char* logged;
};

class UnderHandlers : public testing::TestWithParam<Handled> {};

TEST_P(UnderHandlers, NothingIsHiddenAndNobodyImmortal) {
  Rig rig("warning");
  Outside outside(rig);
  rig.configure("handled:" + std::string(GetParam().attempt) + "@C_GenerateRandom",
                outside.variables(), outside.sections() + GetParam().policy);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  pid_t worker = test::workerOf(rig.evil());
  std::string text;
  CK_RV rv = rig.random(rig.open(rig.evilSlot()), text);
  EXPECT_TRUE(rig.logs(GetParam().logged)) << rig.log();
  if (GetParam().dies) {
    EXPECT_EQ(rv, CKR_DEVICE_REMOVED) << text;
  } else {
    EXPECT_EQ(rv, CKR_OK);
    EXPECT_EQ(text, "EPERM");
  }
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([&] { return !test::alive(worker); }));
  outside.expectUntouched();
}

constexpr const char* KILLS = "[Syscalls]\nSystemCallAction=kill\n";
constexpr const char* KILLS_UNASKED =
    "[Syscalls]\nSystemCallAction=kill\n[Layers]\nPrefer=~broker\n";

constexpr Handled HANDLED[] = {
    {"AreReported", "ptrace-host", "", false, "refused ptrace("},
    {"OfTheSupervisorAreReported", "kill-supervisor", "", false, "refused kill("},
    {"EndTheWorker", "ptrace-host", KILLS, true, "it called ptrace"},
    {"EndTheWorkerWithoutABroker", "ptrace-host", KILLS_UNASKED, true,
     "SIGSYS in C_GenerateRandom"},
#if defined(__x86_64__)
    {"ByTheI386AbiEndTheWorker", "int80", "", true, "SIGSYS in C_GenerateRandom"},
#endif
};
INSTANTIATE_TEST_SUITE_P(Violations, UnderHandlers, testing::ValuesIn(HANDLED),
                         [](const testing::TestParamInfo<Handled>& one) {
                           return std::string(one.param.name);
                         });

// ---- limits ----

// Memory that is kept from being swapped out, which libraries with secrets want a little of. Root's
// own privilege to have it all is gone.
TEST(Limits, HoldForLockedMemory) {
  for (auto [lines, kib] :
       {std::pair<std::string, int>{"", 8 << 10}, {"LimitMEMLOCK=1M\n", 1 << 10}}) {
    Rig rig("warning");
    rig.configure("try:locked-memory@C_GenerateRandom", {}, "[Limits]\nMemoryMax=512M\n" + lines);
    ASSERT_EQ(rig.initialize(), CKR_OK);
    std::string text;
    EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK) << rig.log();
    rlimit own{};
    ::getrlimit(RLIMIT_MEMLOCK, &own);
    auto most = std::min<rlim_t>(static_cast<rlim_t>(kib), own.rlim_max >> 10);
    EXPECT_EQ(text, std::to_string(most) + " KiB, then ENOMEM");
    EXPECT_EQ(rig.log().find("refused"), std::string::npos) << rig.log();
  }
}

TEST(Policies, WithAnErrorStartNothing) {
  Rig rig("warning");
  rig.configure("none@none", {}, "[Filesystem]\nReadOnlyPath=/etc\n");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(test::slots(rig.functions()).size(), 1U);
  EXPECT_TRUE(rig.logs("cannot start: policy: ")) << rig.log();
  EXPECT_TRUE(rig.logs("test.conf:5: [Filesystem] ReadOnlyPath=: ")) << rig.log();
  EXPECT_TRUE(rig.logs("did you mean ReadOnlyPaths")) << rig.log();
}

// ---- what it leaves for later ----

class Planted : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::string without = GetParam();
    for (auto [one, other] : {std::pair{"landlock", "mountns"}, {"mountns", "landlock"}})
      if (missing(one) && without.find(other) != std::string::npos)
        GTEST_SKIP() << "there is no " << one;
  }
};

// A policy may name something within what the module may write. A module that puts a link there,
// has no worker the next time, rather than one that may do with the link's target what the policy
// says.
TEST_P(Planted, LinksLeadTheNextWorkerNowhere) {
  Rig rig("warning");
  auto& directory = rig.setup().directory();
  std::string writable = directory.makeDirectory("writable");
  directory.makeDirectory("writable/named");
  directory.write("other/secret", "secret");
  std::string other = rig.setup().path("other");
  std::string sections = "[Limits]\nMemoryMax=512M\n[Filesystem]\nReadWritePaths=" + writable +
                         "\nReadOnlyPaths=" + writable + "/named\n" + GetParam();
  std::string variables = "Environment=HOSTILE_WRITABLE=" + writable + "\nEnvironment=HOSTILE_" +
                          "OTHER=" + other + "\nEnvironment=HOSTILE_DIR=" + other + "\n";
  rig.configure("try:plant-link@C_GenerateRandom", variables, sections);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK) << rig.log();
  ASSERT_EQ(text, "ok");
  ASSERT_EQ(rig.finalize(), CKR_OK);

  rig.configure("try:secret@C_GenerateRandom", variables, sections);
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_TRUE(test::slots(rig.functions()).empty());
  EXPECT_TRUE(rig.logs("the module can have made the link " + writable + "/named")) << rig.log();
}

INSTANTIATE_TEST_SUITE_P(With, Planted,
                         testing::Values("", "[Layers]\nPrefer=~landlock\n",
                                         "[Layers]\nPrefer=~mountns\n"),
                         [](const testing::TestParamInfo<const char*>& with) {
                           return with.index == 0   ? "BothLayers"
                                  : with.index == 1 ? "MountsAlone"
                                                    : "LandlockAlone";
                         });

// The same for what it has removed: no layer is done without because a path is not there.
TEST_P(Planted, MissingPathsMeanNoWorker) {
  Rig rig("warning");
  rig.configure("none@none", {},
                "[Filesystem]\nReadOnlyPaths=" + rig.setup().path("nowhere") + "\n" + GetParam());
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_TRUE(test::slots(rig.functions()).empty());
  EXPECT_TRUE(rig.logs("cannot start: policy path")) << rig.log();
}

TEST(Descendants, EndWithTheWorker) {
  Rig rig("warning");
  rig.configure("try:leave-behind@C_GenerateRandom", {}, "[Syscalls]\nSystemCallFilter=@fork\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  ASSERT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK) << rig.log();
  pid_t left = std::atoi(text.c_str());
  ASSERT_GT(left, 0) << text;
  EXPECT_TRUE(test::alive(left));
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([&] { return !test::alive(left); }));
  if (test::alive(left)) ::kill(left, SIGKILL);
}

// With a device to talk to it may put any request to any descriptor.
TEST(Violations, CannotBeAnsweredByTheirOwner) {
  Rig rig("warning");
  rig.configure("try:forge@C_GenerateRandom", {},
                "[Syscalls]\nViolationLimit=0\n[Filesystem]\nDevices=/dev/null\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_EQ(text, "nothing") << rig.log();
  EXPECT_TRUE(rig.logs("refused keyctl(")) << rig.log();
}

class Typing : public testing::TestWithParam<const char*> {};

TEST_P(Typing, IsRefusedOnTerminalsThatArePolicysDevices) {
  Rig rig("warning");
  Outside outside(rig);
  rig.configure(std::string("try:") + GetParam() + "@C_GenerateRandom", outside.variables(),
                "[Filesystem]\nDevices=" + outside.terminal() + "\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_EQ(text, "EPERM");
  EXPECT_TRUE(rig.logs("refused ioctl(")) << rig.log();
}

INSTANTIATE_TEST_SUITE_P(Requests, Typing, testing::Values("tiocsti", "tiocsti-high"),
                         [](const testing::TestParamInfo<const char*>& at) {
                           return at.index == 0 ? "AsItIs" : "WithHighBits";
                         });

TEST(Violations, NameTheFunctionThatWasRunning) {
  Rig rig("warning");
  rig.configure("try:keyctl@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_TRUE(rig.logs("in C_GenerateRandom")) << rig.log();
}

}  // namespace
}  // namespace bulkhead::hostile
