// SPDX-License-Identifier: BSD-2-Clause
//
// Limits that the service manager's scope holds, with a manager that does, one that only says so,
// one that hangs, and none. Runs beside a manager of its own: with_manager.
#include "sandbox/scope.h"

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/hostile/rig.h"
#include "tests/systemd/process.h"

namespace bulkhead {
namespace {

using hostile::Rig;
using hostile::timeOf;
using test::output;
using test::Stopped;
using Json = nlohmann::json;

// Without the limits of processes there is only the scope.
constexpr const char* ONLY_SCOPE = "[Layers]\nPrefer=~limits\n";

/// The cgroup of a process for one controller, "" for the unified hierarchy.
std::string groupOf(pid_t pid, const std::string& controller) {
  std::istringstream groups(test::readFile("/proc/" + std::to_string(pid) + "/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    auto first = line.find(':'), second = line.find(':', first + 1);
    if (line.substr(first + 1, second - first - 1) == controller) return line.substr(second + 1);
  }
  return {};
}

/// Where the kernel has the group: in a hierarchy of the controller's own or in the unified one.
std::string directoryOf(pid_t pid, const std::string& controller) {
  std::string own = groupOf(pid, controller);
  return own.empty() ? "/sys/fs/cgroup" + groupOf(pid, "") : "/sys/fs/cgroup/" + controller + own;
}

bool inScope(const std::string& module) {
  pid_t pid = test::workerOf(module);
  std::string units = groupOf(pid, "name=systemd");
  if (units.empty()) units = groupOf(pid, "");
  return units.ends_with("/" + sandbox::scopeName(module, pid));
}

/// Initialises until the manager was in time, which on a busy machine takes another try.
void initializeInTime(Rig& rig) {
  auto late = [&] { return rig.log().rfind("the service manager: Connection timed out"); };
  for (int i = 0; i < 20; ++i) {
    std::size_t before = late();
    ASSERT_EQ(rig.initialize(), CKR_OK);
    if (late() == before) return;
    ASSERT_EQ(rig.finalize(), CKR_OK);
  }
  FAIL() << rig.log();
}

pid_t manager() {
  return ::atoi(::getenv("MANAGER_PID"));
}
pid_t bus() {
  return ::atoi(output("systemctl --user show --value -p MainPID dbus.service").c_str());
}

Json bulkheadctl(const std::string& command, const std::string& module) {
  return Json::parse(output(::getenv("BULKHEADCTL") + (" --json " + command) + " " + module));
}

/// How bad `bulkheadctl security` finds one of its checks.
double badness(const std::string& module, const std::string& check) {
  const Json all = bulkheadctl("security", module);
  for (const Json& one : all.at(0).at("checks"))
    if (one["check"] == check) return one["badness"];
  return -1;
}

TEST(Scope, MemoryBeyondTheLimitEndsTheWorker) {
  Rig rig;
  rig.configure("oom@C_GenerateRandom", "", "[Limits]\nMemoryMax=192M\n" + std::string(ONLY_SCOPE));
  initializeInTime(rig);
  ASSERT_TRUE(inScope(rig.evil())) << rig.log();
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);
  EXPECT_TRUE(rig.logs("worker was ended by SIGKILL in C_GenerateRandom")) << rig.log();
  EXPECT_EQ(rig.log().find("not enforced"), std::string::npos) << rig.log();

  // The next worker has a scope of its own.
  session = rig.open(rig.evilSlot());
  EXPECT_EQ(rig.digest(session), CKR_OK);
  EXPECT_TRUE(inScope(rig.evil()));
}

TEST(Scope, TasksAreLimited) {
  Rig rig;
  rig.configure("try:threads@C_GenerateRandom", "",
                "[Limits]\nTasksMax=16\n" + std::string(ONLY_SCOPE));
  initializeInTime(rig);
  pid_t pid = test::workerOf(rig.evil());
  EXPECT_EQ(test::readFile(directoryOf(pid, "pids") + "/pids.max"), "16\n");
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_OK);
  EXPECT_NE(text.find("EAGAIN"), std::string::npos) << text;
  EXPECT_EQ(rig.digest(session), CKR_OK);
}

TEST(Scope, ProcessorTimeIsLimited) {
  Rig rig;
  rig.configure("spin@C_GenerateRandom", "CallTimeoutSec=C_GenerateRandom:2",
                "[Limits]\nCPUQuota=20%\n");
  initializeInTime(rig);
  std::string directory = directoryOf(test::workerOf(rig.evil()), "cpu");
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  std::thread call([&] {
    std::string text;
    EXPECT_EQ(rig.random(session, text), CKR_DEVICE_REMOVED);
  });
  EXPECT_TRUE(test::eventually([&] {
    std::istringstream in(test::readFile(directory + "/cpu.stat"));
    std::string name;
    for (unsigned long value; in >> name >> value;)
      if (name == "nr_throttled" && value > 0) return true;
    return false;
  }));
  call.join();
}

TEST(Scope, HoldsTheWorkerAloneAndEndsWithIt) {
  Rig rig;
  rig.configure("none@none", "", "[Limits]\nMemoryMax=512M\nTasksMax=200\nCPUQuota=150%\n");
  initializeInTime(rig);
  pid_t worker = test::workerOf(rig.evil());
  ASSERT_TRUE(inScope(rig.evil())) << rig.log();
  std::string scope = sandbox::scopeName(rig.evil(), worker);
  auto properties =
      output("systemctl --user show -p MemoryMax,TasksMax,CPUQuotaPerSecUSec " + scope);
  EXPECT_NE(properties.find("MemoryMax=536870912\n"), std::string::npos) << properties;
  EXPECT_NE(properties.find("TasksMax=200\n"), std::string::npos) << properties;
  EXPECT_NE(properties.find("CPUQuotaPerSecUSec=1.5"), std::string::npos) << properties;

  std::string directory = directoryOf(worker, "pids");
  EXPECT_EQ(test::readFile(directory + "/cgroup.procs"), std::to_string(worker) + "\n");
  EXPECT_EQ(rig.finalize(), CKR_OK);
  EXPECT_TRUE(test::eventually([&] { return !std::filesystem::exists(directory); }));
}

TEST(Scope, LibsystemdIsInTheSupervisorAndNotInTheWorker) {
  Rig rig;
  rig.configure("none@none", "", "[Limits]\nTasksMax=200\n");
  initializeInTime(rig);
  pid_t worker = test::workerOf(rig.evil());
  std::string supervisor = test::procField("/proc/" + std::to_string(worker) + "/status", "PPid");
  auto maps = [](const std::string& pid) { return test::readFile("/proc/" + pid + "/maps"); };
  EXPECT_NE(maps(supervisor).find("libsystemd"), std::string::npos);
  EXPECT_EQ(maps(std::to_string(worker)).find("libsystemd"), std::string::npos);
  EXPECT_EQ(maps("self").find("libsystemd"), std::string::npos);
}

TEST(Scope, IsMadeForALimitOrWhenItIsRequired) {
  for (auto [sections, expected] :
       {std::pair{"[Limits]\n", false},
        {"[Layers]\nRequire=cgroup\n", true},
        {"[Limits]\nTasksMax=200\n[Layers]\nPrefer=~cgroup\n", false}}) {
    Rig rig;
    rig.configure("none@none", "", sections);
    initializeInTime(rig);
    EXPECT_EQ(inScope(rig.evil()), expected) << sections << rig.log();
    EXPECT_TRUE(expected || rig.log().find("cgroup") == std::string::npos) << rig.log();
  }
}

TEST(Scope, AModuleMayHaveAnyName) {
  EXPECT_EQ(sandbox::scopeName("a b/\xc3\xa4", 7), "bulkhead-a\\x20b\\x2f\\xc3\\xa4-7.scope");
  EXPECT_LE(sandbox::scopeName(std::string(255, ' '), 4194304).size(), 255U);
}

void hangs(pid_t (*who)()) {
  pid_t pid = who();
  ASSERT_GT(pid, 1);
  {
    Rig rig;
    rig.configure("none@none", "", "[Limits]\nTasksMax=200\n");
    hostile::milliseconds took;
    {
      Stopped stopped(pid);
      took = timeOf([&] { ASSERT_EQ(rig.initialize(), CKR_OK); });
    }
    EXPECT_LT(took, std::chrono::seconds(8));
    testing::Test::RecordProperty("initialize_ms", std::to_string(took.count()));
    EXPECT_TRUE(rig.logs("layer cgroup is not in force: the service manager: Connection timed out"))
        << rig.log();
    EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  }
  Rig rig;
  rig.configure("none@none", "", "[Layers]\nRequire=cgroup\n");
  {
    Stopped stopped(pid);
    ASSERT_EQ(rig.initialize(), CKR_OK);
  }
  EXPECT_TRUE(test::slots(rig.functions()).empty());
  EXPECT_TRUE(
      rig.logs("cannot start: required layer cgroup: the service manager: "
               "Connection timed out"))
      << rig.log();
}
TEST(Scope, AManagerThatHangsCostsABoundedWait) {
  hangs(manager);
}
TEST(Scope, ABusThatHangsCostsABoundedWait) {
  hangs(bus);
}

// Whoever waits for the manager, it is none of the program's other threads: a call of theirs begins
// and ends while a worker is started that the manager keeps waiting. The machine may be as busy as
// to miss that moment, but not each time.
TEST(Scope, AManagerThatHangsHoldsUpNoOtherThread) {
  pid_t pid = manager();
  ASSERT_GT(pid, 1);
  Rig rig;
  rig.configure("none@none", "StartLimitBurst=100", "[Limits]\nTasksMax=200\n");
  rig.addNeighbour();
  ASSERT_EQ(rig.initialize(), CKR_OK);
  CK_SLOT_ID evil = rig.evilSlot();
  CK_SESSION_HANDLE neighbour = rig.open(rig.goodSlot());
  bool meanwhile = false;
  for (int round = 0; round < 20 && !meanwhile; ++round) {
    ASSERT_TRUE(test::killWorker(rig.evil()));
    Stopped stopped(pid);
    std::atomic<bool> done{false};
    CK_SESSION_HANDLE fresh = 0;
    std::thread starts([&] {
      CK_RV rv;
      // The call that finds the worker dead says so; the next one starts another.
      do {
        rv = rig->C_OpenSession(evil, CKF_SERIAL_SESSION, nullptr, nullptr, &fresh);
      } while (rv == CKR_DEVICE_REMOVED);
      EXPECT_EQ(rv, CKR_OK);
      done = true;
    });
    EXPECT_TRUE(test::eventually([&] { return test::workerOf(rig.evil()) > 1; }));
    bool waits = !done;
    EXPECT_EQ(rig.digest(neighbour), CKR_OK);
    meanwhile = waits && !done;
    starts.join();
    EXPECT_EQ(rig.digest(fresh), CKR_OK);
  }
  EXPECT_TRUE(meanwhile) << rig.log();
}

TEST(Scope, WithoutAManagerTheLayerIsMissing) {
  const char *here = "/run/systemd/system", *away = "/run/systemd/away";
  ASSERT_EQ(::rename(here, away), 0);
  {
    Rig rig;
    rig.configure("none@none", "", "[Limits]\nTasksMax=200\nCPUQuota=50%\n");
    EXPECT_EQ(rig.initialize(), CKR_OK);
    EXPECT_TRUE(
        rig.logs("layer cgroup is not in force: no service manager: systemd is not "
                 "running; nothing holds TasksMax= CPUQuota="))
        << rig.log();
    for (const char* check : {"cgroup", "TasksMax=", "CPUQuota="})
      EXPECT_EQ(badness(rig.evil(), check), 1) << check;
  }
  {
    Rig rig;
    rig.configure("none@none", "", "[Layers]\nRequire=cgroup\n");
    EXPECT_EQ(rig.initialize(), CKR_OK);
    EXPECT_TRUE(rig.logs("cannot start: required layer cgroup: no service manager")) << rig.log();
  }
  ASSERT_EQ(::rename(away, here), 0);
}

TEST(Scope, IsExplained) {
  Rig rig;
  rig.configure("none@none", "", "[Limits]\nCPUQuota=50%\n");
  EXPECT_EQ(badness(rig.evil(), "cgroup"), 0);
  EXPECT_EQ(badness(rig.evil(), "CPUQuota="), 0);
  EXPECT_EQ(badness(rig.evil(), "TasksMax="), 1);
  rig.configure("none@none", "", "[Limits]\nMemoryMax=512M\n");
  auto layer = [&] {
    Json explained = bulkheadctl("explain", rig.evil());
    for (const Json& one : explained.value("layers", Json::array()))
      if (one["name"] == "cgroup") return one;
    return Json::object();
  };
  EXPECT_EQ(layer().value("state", ""), "in force");
  rig.configure("none@none", "", "[Limits]\n");
  EXPECT_EQ(layer().value("state", ""), "not wanted");
  EXPECT_TRUE(layer().value("available", false));
  rig.configure("none@none", "", "[Layers]\nRequire=cgroup\n");
  EXPECT_EQ(layer().value("wanted", ""), "required");
  EXPECT_EQ(layer().value("state", ""), "in force");
}

TEST(Toothless, LimitsThatNothingEnforcesAreTold) {
  Rig rig;
  rig.configure("none@none", "", "[Limits]\nTasksMax=200\nCPUQuota=50%\n");
  initializeInTime(rig);
  // systemd believes in them.
  ASSERT_TRUE(inScope(rig.evil())) << rig.log();
  auto scope = sandbox::scopeName(rig.evil(), test::workerOf(rig.evil()));
  EXPECT_EQ(output("systemctl --user show --value -p TasksMax " + scope), "200\n");
  EXPECT_TRUE(
      rig.logs("layer cgroup is not in force: TasksMax= CPUQuota= accepted by the service "
               "manager and not enforced: the worker's cgroup for pids is "))
      << rig.log();
  EXPECT_TRUE(rig.logs("; nothing holds TasksMax= CPUQuota=")) << rig.log();
}

TEST(Toothless, NoWorkerThatRequiresThem) {
  Rig rig;
  rig.configure("none@none", "", "[Limits]\nMemoryMax=512M\n[Layers]\nRequire=cgroup\n");
  initializeInTime(rig);
  EXPECT_TRUE(test::slots(rig.functions()).empty());
  EXPECT_TRUE(
      rig.logs("required layer cgroup: MemoryMax= accepted by the service manager and not "
               "enforced"))
      << rig.log();
}

// As an unprivileged user, who has no manager here.
TEST(NoScope, TasksAreLimitedInTheirOwnUserNamespace) {
  if (auto scope = sandbox::probeScope()) GTEST_SKIP() << "this user has a service manager";
  Rig rig;
  rig.configure("try:threads@C_GenerateRandom", "", "[Limits]\nTasksMax=16\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  ASSERT_TRUE(rig.logs("layer cgroup is not in force: no service manager")) << rig.log();
  if (rig.log().find("layer userns is not in force") != std::string::npos)
    GTEST_SKIP() << "no user namespace for it";
  EXPECT_EQ(rig.log().find("nothing holds"), std::string::npos) << rig.log();
  CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
  std::string text;
  EXPECT_EQ(rig.random(session, text), CKR_OK);
  EXPECT_NE(text.find("EAGAIN"), std::string::npos) << text;
  EXPECT_EQ(rig.digest(session), CKR_OK);
}

TEST(NoScope, TasksAreNotLimitedByTheUsersOtherPrograms) {
  if (auto scope = sandbox::probeScope()) GTEST_SKIP() << "this user has a service manager";
  Rig rig;
  rig.configure("none@none", "", "[Limits]\nTasksMax=2\n[Layers]\nPrefer=~userns ~netns ~ipcns\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  EXPECT_EQ(rig.digest(rig.open(rig.evilSlot())), CKR_OK);
  EXPECT_TRUE(rig.logs("; nothing holds TasksMax=")) << rig.log();
}

}  // namespace
}  // namespace bulkhead
