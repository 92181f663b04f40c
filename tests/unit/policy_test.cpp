// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/policy.h"

#include <gtest/gtest.h>
#include <seccomp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "sandbox/syscall_groups.h"

#ifndef BULKHEAD_SOURCE_POLICIES
#define BULKHEAD_SOURCE_POLICIES "data/policies"
#endif

namespace bulkhead::sandbox {
namespace {

using namespace std::chrono_literals;
using std::string;
using std::vector;
using Strings = vector<string>;

const Specifiers SOMEBODY{"/home/some body", "somebody", "1234", "/run/user/1234"};

struct Reading {
  Policy policy;
  Strings errors;
};

Reading read(std::string_view text, Policy over = {}) {
  Reading result{std::move(over), {}};
  for (const Error& error : readPolicyText(text, "t.policy", SOMEBODY, result.policy)) {
    EXPECT_EQ(error.operation, "policy");
    EXPECT_EQ(error.message().find('\n'), string::npos);
    result.errors.push_back(error.detail);
  }
  return result;
}

Policy good(std::string_view text, Policy over = {}) {
  Reading reading = read(text, std::move(over));
  EXPECT_EQ(reading.errors, Strings{}) << text;
  return reading.policy;
}

// The only error of a text.
string bad(std::string_view text) {
  Reading reading = read(text);
  EXPECT_EQ(reading.errors.size(), 1U) << text << ::testing::PrintToString(reading.errors);
  return reading.errors.empty() ? "" : reading.errors.front();
}

string badKey(const string& section, const string& line) {
  string error = bad("[" + section + "]\n" + line + "\n");
  string prefix = "t.policy:2: [" + section + "] " + line.substr(0, line.find('=') + 1) + ": ";
  EXPECT_EQ(error.substr(0, prefix.size()), prefix);
  return error.size() < prefix.size() ? error : error.substr(prefix.size());
}

void expectHas(const string& text, const string& part) {
  EXPECT_NE(text.find(part), string::npos) << text << "\nlacks: " << part;
}

vector<PolicyPath> paths(const Strings& names) {
  vector<PolicyPath> list;
  for (const string& name : names) {
    bool optional = name.starts_with('-');
    list.push_back({name.substr(optional ? 1 : 0), optional});
  }
  return list;
}

// ---- Every key ---------------------------------------------------------------------------------

TEST(PolicyKeys, Match) {
  EXPECT_EQ(good("[Module]\nMatch=libfoo.so libfoo.so.*\nMatch=bar*.so\n").match,
            (Strings{"libfoo.so", "libfoo.so.*", "bar*.so"}));
  expectHas(badKey("Module", "Match=/usr/lib/libfoo.so"), "matched without directories");
}

TEST(PolicyKeys, Environment) {
  Policy policy = good(
      "[Worker]\n"
      "Environment=A=1 \"B=two words\" C='single \\ quoted' D=\n"
      "Environment=HOME_IS=%h/x E=100%% F=a=b \"G=x ;y\" H=\\\"\n"
      "Environment=A=2\n");
  EXPECT_EQ(policy.environment, (std::map<string, string>{{"A", "2"},
                                                          {"B", "two words"},
                                                          {"C", "single \\ quoted"},
                                                          {"D", ""},
                                                          {"HOME_IS", "/home/some body/x"},
                                                          {"E", "100%"},
                                                          {"F", "a=b"},
                                                          {"G", "x ;y"},
                                                          {"H", "\""}}));
  EXPECT_EQ(good("[Worker]\nEnvironment=A=1 B=2\nEnvironment=~A\n").environment,
            (std::map<string, string>{{"B", "2"}}));
  expectHas(badKey("Worker", "Environment=~A"), "'A' is not in the list");
  expectHas(badKey("Worker", "Environment=1A=x"), "'1A' is no name of a variable");
  expectHas(badKey("Worker", "Environment=A='x"), "no closing '");
}

TEST(PolicyKeys, EnvironmentValuesStayOutOfMessages) {
  string error = badKey("Worker", "Environment=A=1 s3cret");
  EXPECT_EQ(error.find("s3cret"), string::npos) << error;
  expectHas(error, "a word has no =");
  error = badKey("Worker", "Environment=1=s3cret");
  EXPECT_EQ(error.find("s3cret"), string::npos) << error;
}

TEST(PolicyKeys, PassEnvironment) {
  EXPECT_EQ(good("[Worker]\nPassEnvironment=LANG TZ\nPassEnvironment=LANG X_1\n").passEnvironment,
            (Strings{"LANG", "TZ", "X_1"}));
  expectHas(badKey("Worker", "PassEnvironment=A=b"), "Environment=");
  expectHas(badKey("Worker", "PassEnvironment=LC_*"), "'LC_*' is no name of a variable");
}

TEST(PolicyKeys, Times) {
  Policy policy =
      good("[Worker]\nStartTimeoutSec=1min 30s\nStopTimeoutSec=500ms\nStartLimitIntervalSec=2h\n");
  EXPECT_EQ(policy.startTimeout, 90s);
  EXPECT_EQ(policy.stopTimeout, 500ms);
  EXPECT_EQ(policy.startLimitInterval, 2h);
  for (auto [text, time] : std::map<string, std::chrono::milliseconds>{{"10", 10s},
                                                                       {"10s", 10s},
                                                                       {"10 s", 10s},
                                                                       {"2min", 2min},
                                                                       {"1.5", 1500ms},
                                                                       {"0.25s", 250ms},
                                                                       {"1h30min5", 5405s},
                                                                       {"1day", 24h},
                                                                       {"2 minutes", 2min},
                                                                       {"7msec", 7ms}})
    EXPECT_EQ(good("[Worker]\nStartTimeoutSec=" + text).startTimeout, time) << text;
  for (const char* text : {"x", "10x", "-1", "1.", ".5", "1.2345", "10 10 x", "s", "1,5", "+1"})
    expectHas(badKey("Worker", string("StartTimeoutSec=") + text), "is not a time such as");
  for (const char* text : {"25d", "99999999999999999h", "18446744073709551615s", "24d 24d"})
    expectHas(badKey("Worker", string("StopTimeoutSec=") + text), "longer than 24 days");
  expectHas(badKey("Worker", "StartTimeoutSec=99999999999999999999"), "is not a time");
  expectHas(badKey("Worker", "StartTimeoutSec=0"), "more than 0");
  expectHas(badKey("Worker", "StartTimeoutSec=infinity"), "has to end");
  EXPECT_EQ(good("[Worker]\nStartTimeoutSec=1\nStartTimeoutSec=").startTimeout, 10s);
}

TEST(PolicyKeys, CallTimeout) {
  Policy policy = good("[Worker]\nCallTimeoutSec=60 C_Login:300 C_GenerateKeyPair:infinity\n");
  EXPECT_EQ(policy.callTimeout, 60s);
  EXPECT_EQ(policy.callTimeouts.at("C_Login"), 300s);
  EXPECT_EQ(policy.callTimeouts.at("C_GenerateKeyPair"), 0ms);

  policy = good("[Worker]\nCallTimeoutSec=C_Sign:2min\nCallTimeoutSec=infinity\n");
  EXPECT_EQ(policy.callTimeout, 0ms);
  EXPECT_EQ(policy.callTimeouts.at("C_Sign"), 2min);

  policy = good("[Worker]\nCallTimeoutSec=1 C_Sign:1\nCallTimeoutSec=\n");
  EXPECT_EQ(policy.callTimeout, 60s);
  EXPECT_FALSE(policy.callTimeouts.contains("C_Sign"));
  EXPECT_EQ(policy.callTimeouts.at("C_WaitForSlotEvent"), 0ms);

  expectHas(badKey("Worker", "CallTimeoutSec=C_Logn:3"),
            "unknown function 'C_Logn', did you mean C_Login?");
  expectHas(badKey("Worker", "CallTimeoutSec=60 70"), "two times");
  expectHas(badKey("Worker", "CallTimeoutSec=C_Login"), "has no time");
  expectHas(badKey("Worker", "CallTimeoutSec=0"), "for none use infinity");
  expectHas(badKey("Worker", "CallTimeoutSec=C_Login:"), "is not a time");
}

TEST(PolicyKeys, TheRestOfWorker) {
  Policy policy = good(
      "[Worker]\nStartLimitBurst=3\nWorkingDirectory=%h//x/./y/\nSerialize=yes\nShare=consumer\n");
  EXPECT_EQ(policy.startLimitBurst, 3U);
  EXPECT_EQ(policy.workingDirectory, "/home/some body/x/y");
  EXPECT_TRUE(policy.serialize);
  EXPECT_EQ(policy.share, WorkerSharing::Consumer);
  for (const char* yes : {"true", "on", "1"})
    EXPECT_TRUE(good(string("[Worker]\nSerialize=") + yes).serialize);
  for (const char* no : {"false", "off", "0", "no", ""})
    EXPECT_FALSE(good(string("[Worker]\nSerialize=yes\nSerialize=") + no).serialize);
  EXPECT_EQ(good("[Worker]\nShare=consumer\nShare=process").share, WorkerSharing::Process);
  policy = good("[Worker]\nStartLimitBurst=\nWorkingDirectory=\nSerialize=\nShare=\n", policy);
  EXPECT_EQ(policy.startLimitBurst, 5U);
  EXPECT_EQ(policy.workingDirectory, "/");
  EXPECT_FALSE(policy.serialize);
  EXPECT_EQ(policy.share, WorkerSharing::Process);

  expectHas(badKey("Worker", "StartLimitBurst=0"), "'0' is not a number from 1");
  expectHas(badKey("Worker", "StartLimitBurst=-1"), "is not a number");
  expectHas(badKey("Worker", "StartLimitBurst=4294967296"), "is not a number");
  expectHas(badKey("Worker", "WorkingDirectory=tmp"), "not an absolute path");
  expectHas(badKey("Worker", "WorkingDirectory=/a /b"), "one value is expected, not 2");
  expectHas(badKey("Worker", "Serialize=ys"), "unknown value 'ys', did you mean yes?");
  expectHas(badKey("Worker", "Share=consummer"), "did you mean consumer? (process, consumer)");
}

TEST(PolicyKeys, Limits) {
  Policy policy = good(
      "[Limits]\nMemoryMax=1G\nTasksMax=64\nCPUQuota=150%\nLimitNOFILE=1024\nLimitFSIZE=64M\n"
      "LimitMEMLOCK=8192K\nLimitSTACK=8388608\nMaxMessage=4M\n");
  EXPECT_EQ(policy.memoryMax, std::uint64_t{1} << 30);
  EXPECT_EQ(policy.tasksMax, 64U);
  EXPECT_EQ(policy.cpuQuotaPercent, 150U);
  EXPECT_EQ(policy.limitNoFile, 1024U);
  EXPECT_EQ(policy.limitFsize, 64U << 20);
  EXPECT_EQ(policy.limitMemlock, 8U << 20);
  EXPECT_EQ(policy.limitStack, 8U << 20);
  EXPECT_EQ(policy.maxMessage, 4U << 20);

  Policy endless = good(
      "[Limits]\nMemoryMax=infinity\nTasksMax=infinity\nCPUQuota=infinity\nLimitNOFILE=infinity\n"
      "LimitFSIZE=infinity\nLimitMEMLOCK=infinity\nLimitSTACK=infinity\n",
      policy);
  for (const Limit& limit :
       {endless.memoryMax, endless.tasksMax, endless.cpuQuotaPercent, endless.limitNoFile,
        endless.limitFsize, endless.limitMemlock, endless.limitStack})
    EXPECT_FALSE(limit.has_value());

  Policy reset = good(
      "[Limits]\nMemoryMax=\nTasksMax=\nCPUQuota=\nLimitNOFILE=\nLimitFSIZE=\nLimitMEMLOCK=\n"
      "LimitSTACK=\nMaxMessage=\n",
      policy);
  EXPECT_FALSE(reset.memoryMax.has_value());
  EXPECT_FALSE(reset.tasksMax.has_value());
  EXPECT_FALSE(reset.cpuQuotaPercent.has_value());
  EXPECT_EQ(reset.limitNoFile, 512U);
  EXPECT_EQ(reset.limitFsize, 64U << 20);
  EXPECT_EQ(reset.limitMemlock, 8U << 20);
  EXPECT_FALSE(reset.limitStack.has_value());
  EXPECT_EQ(reset.maxMessage, 64U << 20);

  EXPECT_EQ(good("[Limits]\nLimitFSIZE=0\n").limitFsize, 0U);
  for (const char* text : {"1X", "64MB", "-1", "K", "1.5G", "64m", "64 M x"})
    badKey("Limits", string("MemoryMax=") + text);
  expectHas(badKey("Limits", "MemoryMax=64MB"), "is not a size such as");
  expectHas(badKey("Limits", "MemoryMax=1K"), "less than a worker can start with");
  expectHas(badKey("Limits", "MemoryMax=99999999999999T"), "too large");
  expectHas(badKey("Limits", "TasksMax=0"), "is not a number from 1");
  expectHas(badKey("Limits", "LimitNOFILE=1K"), "is not a number from 16");
  expectHas(badKey("Limits", "CPUQuota=50"), "such as 50%");
  expectHas(badKey("Limits", "CPUQuota=0%"), "such as 50%");
  expectHas(badKey("Limits", "MaxMessage=infinity"), "from 64K to 1G");
  expectHas(badKey("Limits", "MaxMessage=2G"), "from 64K to 1G");
  expectHas(badKey("Limits", "MaxMessage=1"), "from 64K to 1G");
}

TEST(PolicyKeys, Paths) {
  for (auto [key, member] :
       std::map<string, vector<PolicyPath> Policy::*>{{"ReadOnlyPaths", &Policy::readOnlyPaths},
                                                      {"ReadWritePaths", &Policy::readWritePaths},
                                                      {"ExecPaths", &Policy::execPaths}}) {
    Policy policy = good("[Filesystem]\n" + key + "=/a -/b/\n" + key + "=\"-/c d\" %t/e%%\n");
    EXPECT_EQ(policy.*member, paths({"/a", "-/b", "-/c d", "/run/user/1234/e%"})) << key;
    policy = good("[Filesystem]\n" + key + "=~-/b ~-/nowhere\n", policy);
    EXPECT_EQ(policy.*member, paths({"/a", "-/c d", "/run/user/1234/e%"})) << key;
    policy = good("[Filesystem]\n" + key + "=~/a -%t/e%%\n", policy);
    EXPECT_EQ(policy.*member, paths({"-/c d", "-/run/user/1234/e%"})) << key;
    policy = good("[Filesystem]\n" + key + "=\n" + key + "=/z/%U/%u\n", policy);
    EXPECT_EQ(policy.*member, paths({"/z/1234/somebody"})) << key;

    expectHas(badKey("Filesystem", key + "=a/b"), "'a/b' is not an absolute path");
    expectHas(badKey("Filesystem", key + "=/a/../b"), "may not contain ..");
    expectHas(badKey("Filesystem", key + "=~/.config"), "a home directory is %h");
    expectHas(badKey("Filesystem", key + "=/lib/*.so"), "patterns are not expanded");
    expectHas(badKey("Filesystem", key + "=%H/x"), "unknown specifier '%H'");
    expectHas(badKey("Filesystem", key + "=/x%"), "a lone %");
    expectHas(badKey("Filesystem", key + "=/a # why"), "a comment has a line of its own");
    expectHas(badKey("Filesystem", key + "=/a ; why"), "a comment has a line of its own");
    expectHas(badKey("Filesystem", key + "=/a \\"), "not continued by");
    expectHas(badKey("Filesystem", key + "=\"/a"), "no closing \"");
    expectHas(badKey("Filesystem", key + "=\"\""), "'' is not an absolute path");
  }
}

TEST(PolicyKeys, ASemicolonWithinAWordIsNoComment) {
  EXPECT_EQ(good("[Filesystem]\nReadOnlyPaths=/a;b /c#d \"/e ;f\" /g\n").readOnlyPaths,
            paths({"/a;b", "/c#d", "/e ;f", "/g"}));
}

TEST(PolicyKeys, Devices) {
  EXPECT_EQ(good("[Filesystem]\nDevices=-/dev/tpmrm0 /dev/bus/usb\n").devices,
            paths({"-/dev/tpmrm0", "/dev/bus/usb"}));
  expectHas(badKey("Filesystem", "Devices=/etc/passwd"), "is not a device");
  expectHas(badKey("Filesystem", "Devices=/dev"), "is not a device");
}

TEST(PolicyKeys, SpecifiersThatStandForNothing) {
  Specifiers nobody{"", "", "99", ""};
  Policy policy;
  auto errors = readPolicyText("[Filesystem]\nReadOnlyPaths=-%h/x -/y\nReadOnlyPaths=%h/x\n", "n",
                               nobody, policy);
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors[0].detail,
            "n:3: [Filesystem] ReadOnlyPaths=: %h stands for nothing here: this user has none");
  EXPECT_EQ(policy.readOnlyPaths, paths({"-/y"}));
}

TEST(PolicyKeys, Network) {
  EXPECT_EQ(good("[Network]\nNetwork=unix\n").network, NetworkAccess::Unix);
  EXPECT_EQ(good("[Network]\nNetwork=client\n").network, NetworkAccess::Client);
  EXPECT_EQ(good("[Network]\nNetwork=client\nNetwork=none\n").network, NetworkAccess::None);
  EXPECT_EQ(good("[Network]\nNetwork=client\nNetwork=\n").network, NetworkAccess::None);
  expectHas(badKey("Network", "Network=unxi"), "unknown value 'unxi', did you mean unix?");
}

TEST(PolicyKeys, Connect) {
  using Kind = Destination::Kind;
  Policy policy = good(
      "[Network]\nConnect=@pcscd unix:%t/p11-kit/pkcs11 tcp:hsm.example.com:1792\n"
      "Connect=tcp:10.0.0.0/24:1 tcp:[2001:db8::]/32:2 tcp:[::1]:65535 tcp:192.0.2.1:4\n");
  EXPECT_EQ(policy.connect, (vector<Destination>{
                                {Kind::Unix, "/run/pcscd/pcscd.comm", "", 0},
                                {Kind::Unix, "/run/user/1234/p11-kit/pkcs11", "", 0},
                                {Kind::Tcp, "", "hsm.example.com", 1792},
                                {Kind::Tcp, "", "10.0.0.0/24", 1},
                                {Kind::Tcp, "", "2001:db8::/32", 2},
                                {Kind::Tcp, "", "::1", 65535},
                                {Kind::Tcp, "", "192.0.2.1", 4},
                            }));
  EXPECT_EQ(good("[Network]\nConnect=~@pcscd ~-@pkcsslotd\n", policy).connect.size(), 6U);
  EXPECT_TRUE(good("[Network]\nConnect=\n", policy).connect.empty());

  expectHas(badKey("Network", "Connect=@pcsc"), "unknown socket '@pcsc', did you mean @pcscd?");
  expectHas(badKey("Network", "Connect=/run/x"), "did you mean unix:/run/x?");
  expectHas(badKey("Network", "Connect=unix:x"), "not an absolute path");
  expectHas(badKey("Network", "Connect=unix:/" + string(120, 'x')), "longer than a socket's");
  expectHas(badKey("Network", "Connect=udp:a:1"), "unknown destination");
  expectHas(badKey("Network", "Connect=tcp:host"), "has no port");
  expectHas(badKey("Network", "Connect=tcp:[::1]"), "has no port");
  expectHas(badKey("Network", "Connect=tcp:host:0"), "not a port");
  expectHas(badKey("Network", "Connect=tcp:host:65536"), "not a port");
  expectHas(badKey("Network", "Connect=tcp:host:x"), "not a port");
  expectHas(badKey("Network", "Connect=tcp::1"), "neither an address nor a name");
  expectHas(badKey("Network", "Connect=tcp:*:1"), "neither an address nor a name");
  expectHas(badKey("Network", "Connect=tcp:300.1.1.1:1"), "neither an address nor a name");
  expectHas(badKey("Network", "Connect=tcp:::1:80"), "goes into brackets");
  expectHas(badKey("Network", "Connect=tcp:[host]:80"), "is no IPv6 address");
  expectHas(badKey("Network", "Connect=tcp:[::1:80"), "has no closing ]");
  badKey("Network", "Connect=tcp:[2001:db8:]:1:80");
  expectHas(badKey("Network", "Connect=tcp:10.0.0.0/33:1"), "with a prefix length");
  expectHas(badKey("Network", "Connect=tcp:host/8:1"), "with a prefix length");
  expectHas(badKey("Network", "Connect=tcp:10.0.0.1/24:1"), "bits set beyond");
}

TEST(PolicyKeys, SyscallsRest) {
  EXPECT_EQ(good("[Syscalls]\nSystemCallAction=kill\n").violationAction, ViolationAction::Kill);
  EXPECT_EQ(good("[Syscalls]\nSystemCallAction=log\n").violationAction, ViolationAction::Log);
  EXPECT_EQ(good("[Syscalls]\nSystemCallAction=log\nSystemCallAction=deny\n").violationAction,
            ViolationAction::Deny);
  EXPECT_EQ(good("[Syscalls]\nViolationLimit=0\n").violationLimit, 0U);
  EXPECT_EQ(good("[Syscalls]\nViolationLimit=0\nViolationLimit=\n").violationLimit, 100U);
  expectHas(badKey("Syscalls", "SystemCallAction=dney"), "did you mean deny?");
  expectHas(badKey("Syscalls", "ViolationLimit=many"), "is not a number");
}

TEST(PolicyKeys, Layers) {
  Policy policy = good("[Layers]\nRequire=seccomp landlock\nPrefer=userns cgroup\n");
  EXPECT_EQ(policy.require, (Strings{"seccomp", "landlock"}));
  EXPECT_EQ(policy.prefer, (Strings{"userns", "cgroup"}));
  EXPECT_EQ(good("[Layers]\nPrefer=~ipcns\n", builtInPolicy()).prefer.size(),
            builtInPolicy().prefer.size() - 1);
  expectHas(badKey("Layers", "Require=landlok"), "unknown layer 'landlok', did you mean landlock?");
  expectHas(badKey("Layers", "Prefer=~ipcns"), "is not in the list");
}

TEST(PolicyKeys, FlatMechanisms) {
  EXPECT_EQ(good("[Mechanisms]\nFlatMechanisms=0x80000001 2147483650\nFlatMechanisms=0XFF\n"
                 "FlatMechanisms=~255 0xffffffffffffffff\n")
                .flatMechanisms,
            (vector<std::uint64_t>{0x80000001, 0x80000002, 0xffffffffffffffff}));
  for (const char* text : {"0x", "CKM_AES_GCM", "-1", "0x1g", "18446744073709551616"})
    expectHas(badKey("Mechanisms", string("FlatMechanisms=") + text), "not a mechanism's number");
}

TEST(PolicyKeys, OriginSaysWhereAValueCameFrom) {
  Policy policy = good(
      "[Worker]\nShare=consumer\n\n[Filesystem]\nReadOnlyPaths=/a\nReadOnlyPaths=/b\n"
      "ExecPaths=/c\nExecPaths=\nExecPaths=/d\n");
  EXPECT_EQ(policy.origin,
            (std::map<string, Strings>{{"Worker.Share", {"t.policy:2"}},
                                       {"Filesystem.ReadOnlyPaths", {"t.policy:5", "t.policy:6"}},
                                       {"Filesystem.ExecPaths", {"t.policy:8", "t.policy:9"}}}));
}

TEST(PolicyKeys, IgnoredOnes) {
  Policy policy = good(
      "[X-Vendor]\nwhatever=1\nAnd=2\n[Worker]\nX-Note=\"unclosed\nShare=consumer\n"
      "[X-Other]\nShare=process\n");
  EXPECT_EQ(policy.share, WorkerSharing::Consumer);
}

// ---- System calls ------------------------------------------------------------------------------

std::set<string> granted(const Strings& groups) {
  std::set<string> names;
  for (const string& name : groups) {
    const SyscallGroup* group = findSyscallGroup(name);
    EXPECT_NE(group, nullptr) << name;
    if (group == nullptr) continue;
    for (auto call : syscallsOf(*group)) names.emplace(call);
  }
  return names;
}

TEST(PolicySyscalls, DefaultsFollowWhatElseIsGranted) {
  const Strings plain = {"@worker", "@thread", "@fs-read"};
  auto plus = [&](Strings more) {
    more.insert(more.end(), plain.begin(), plain.end());
    return granted(more);
  };
  EXPECT_EQ(builtInPolicy().syscalls, plus({}));
  EXPECT_EQ(good("").syscalls, plus({}));
  EXPECT_EQ(good("[Filesystem]\nReadWritePaths=-/x").syscalls, plus({"@fs-write"}));
  EXPECT_EQ(good("[Network]\nNetwork=unix").syscalls, plus({"@unix-client"}));
  EXPECT_EQ(good("[Network]\nNetwork=client").syscalls, plus({"@net-client"}));
  EXPECT_FALSE(good("").syscalls.contains("socket"));
  EXPECT_FALSE(good("").syscalls.contains("unlink"));
}

TEST(PolicySyscalls, AListAppendsToTheDefaultAndEmptinessLeavesTheWorker) {
  auto all = granted({"@worker", "@thread", "@fs-read", "@sysvipc"});
  all.insert("getpgrp");
  all.insert("mlockall");
  EXPECT_EQ(good("[Syscalls]\nSystemCallFilter=@sysvipc\nSystemCallFilter=mlockall\n").syscalls,
            all);
  EXPECT_EQ(good("[Syscalls]\nSystemCallFilter=@sysvipc\nSystemCallFilter=\n").syscalls,
            granted({"@worker"}));
  EXPECT_EQ(good("[Syscalls]\nSystemCallFilter=\nSystemCallFilter=@fs-read\n"
                 "[Filesystem]\nReadWritePaths=/x\n")
                .syscalls,
            granted({"@worker", "@fs-read"}));
}

TEST(PolicySyscalls, RemovalsHoldUntilTheNameIsGrantedAgain) {
  Policy policy = good("[Syscalls]\nSystemCallFilter=~mlock ~@thread\n");
  EXPECT_FALSE(policy.syscalls.contains("mlock"));
  EXPECT_FALSE(policy.syscalls.contains("clone"));
  EXPECT_TRUE(policy.syscalls.contains("mlock2"));
  policy = good("[Network]\nNetwork=unix\n", policy);
  EXPECT_FALSE(policy.syscalls.contains("mlock")) << "in a later file too";
  EXPECT_TRUE(policy.syscalls.contains("connect"));
  policy = good("[Syscalls]\nSystemCallFilter=mlock\n", policy);
  EXPECT_TRUE(policy.syscalls.contains("mlock"));
  policy = good("[Syscalls]\nSystemCallFilter=~mlock\n", policy);
  EXPECT_FALSE(policy.syscalls.contains("mlock")) << "the last word counts";
  policy = good("[Syscalls]\nSystemCallFilter=@thread\n", policy);
  EXPECT_TRUE(policy.syscalls.contains("clone"));
}

TEST(PolicySyscalls, RemovingAGroupLeavesWhatAnotherGrants) {
  Policy policy = good(
      "[Network]\nNetwork=client\n[Syscalls]\nSystemCallFilter=@unix-client\n"
      "SystemCallFilter=~@net-client\n");
  EXPECT_TRUE(policy.syscalls.contains("socket"));
  EXPECT_FALSE(policy.syscalls.contains("bind"));
}

TEST(PolicySyscalls, MistakesAreNamed) {
  expectHas(badKey("Syscalls", "SystemCallFilter=@fs-raed"),
            "unknown group '@fs-raed', did you mean @fs-read?");
  expectHas(badKey("Syscalls", "SystemCallFilter=@system-service"), "unknown group");
  expectHas(badKey("Syscalls", "SystemCallFilter=opennat"),
            "unknown system call 'opennat', did you mean openat?");
  expectHas(badKey("Syscalls", "SystemCallFilter=~opennat"), "did you mean openat?");
  expectHas(badKey("Syscalls", "SystemCallFilter=~@worker"), "can do without @worker");
  expectHas(badKey("Syscalls", "SystemCallFilter=~mlock mremap"), "~ in front of a list");
  expectHas(badKey("Syscalls", "SystemCallFilter=500"), "unknown system call '500'");
  EXPECT_EQ(read("[Syscalls]\nSystemCallFilter=foo bar openat baz\n").errors.size(), 3U);
}

TEST(PolicySyscalls, SomeAreNeverGrantedAndSayWhy) {
  expectHas(badKey("Syscalls", "SystemCallFilter=ptrace"),
            "'ptrace' can't be granted by any policy: it reads or steers other processes");
  for (const char* name : {"process_vm_readv",
                           "pidfd_getfd",
                           "bpf",
                           "io_uring_setup",
                           "unshare",
                           "setns",
                           "mount",
                           "move_mount",
                           "fsopen",
                           "open_tree",
                           "seccomp",
                           "userfaultfd",
                           "perf_event_open",
                           "keyctl",
                           "add_key",
                           "request_key",
                           "open_by_handle_at",
                           "kexec_load",
                           "kexec_file_load",
                           "init_module",
                           "finit_module",
                           "delete_module",
                           "reboot",
                           "swapon",
                           "swapoff",
                           "pivot_root",
                           "chroot",
                           "setuid",
                           "setresgid",
                           "setgroups",
                           "capset",
                           "landlock_restrict_self",
                           "clone3"})
    expectHas(badKey("Syscalls", string("SystemCallFilter=") + name), "can't be granted");
  good("[Syscalls]\nSystemCallFilter=~ptrace\n");
}

TEST(SyscallTables, EveryNameExistsOnceAndHasAReason) {
  // Newer than the oldest libseccomp that is supported; left out of the filter there.
  const std::set<std::string_view> recent = {"map_shadow_stack", "quotactl_fd", "futex_waitv"};
  std::set<std::string_view> groups;
  for (const SyscallGroup& group : syscallGroups()) {
    EXPECT_TRUE(groups.insert(group.name).second) << group.name;
    EXPECT_TRUE(group.name.starts_with('@'));
    EXPECT_FALSE(group.intent.empty());
    EXPECT_EQ(findSyscallGroup(group.name), &group);
    std::set<std::string_view> names;
    for (const SyscallLine& line : group.lines) EXPECT_FALSE(line.reason.empty()) << line.names;
    for (auto name : syscallsOf(group)) {
      EXPECT_TRUE(names.insert(name).second) << name << " twice in " << group.name;
      EXPECT_TRUE(isSyscallName(name) || recent.contains(name)) << name;
      EXPECT_EQ(whyNeverGrantable(name), "") << name << " in " << group.name;
    }
  }
  for (const SyscallLine& line : neverGrantable()) {
    EXPECT_FALSE(line.reason.empty());
    EXPECT_EQ(line.names.find("  "), std::string_view::npos);
  }
  std::set<std::string_view> quiet;
  for (const QuietRefusal& refusal : quietRefusals()) {
    EXPECT_TRUE(quiet.insert(refusal.name).second);
    EXPECT_TRUE(isSyscallName(refusal.name)) << refusal.name;
    EXPECT_NE(refusal.error, 0);
    EXPECT_FALSE(refusal.reason.empty());
    for (const SyscallGroup& group : syscallGroups())
      for (auto name : syscallsOf(group)) EXPECT_NE(name, refusal.name) << group.name;
  }
  EXPECT_FALSE(isSyscallName("frobnicate"));
  EXPECT_FALSE(isSyscallName(""));
  EXPECT_FALSE(isSyscallName(std::string_view("read\0x", 6)));
  EXPECT_EQ(findSyscallGroup("worker"), nullptr);
}

TEST(SyscallTables, AWorkerAloneCanNeitherOpenNorConnectNorStartAnything) {
  auto worker = granted({"@worker"});
  for (const char* name : {"open", "openat", "openat2", "socket", "connect", "clone", "fork",
                           "vfork", "execve", "execveat", "kill", "memfd_create"})
    EXPECT_FALSE(worker.contains(name)) << name;
}

// What real modules were seen to call between dlopen and exit, with a policy's usual groups.
TEST(SyscallTables, KnownModulesFitTheirGroups) {
  const std::set<string> quiet = [] {
    std::set<string> names;
    for (const QuietRefusal& refusal : quietRefusals()) names.emplace(refusal.name);
    return names;
  }();
  const Strings seen = {
      "access",        "brk",           "clone3",     "close",        "connect",
      "eventfd2",      "exit",          "exit_group", "fchmod",       "fchown",
      "fcntl",         "fdatasync",     "flock",      "ftruncate",    "futex",
      "getdents64",    "getegid",       "geteuid",    "getpeername",  "getpid",
      "getrandom",     "getsockname",   "getsockopt", "gettid",       "getuid",
      "ioctl",         "lseek",         "madvise",    "mkdir",        "mmap",
      "mprotect",      "msync",         "munmap",     "newfstatat",   "openat",
      "poll",          "prctl",         "pread64",    "pwrite64",     "read",
      "recvfrom",      "recvmsg",       "rseq",       "rt_sigaction", "rt_sigprocmask",
      "sched_getattr", "sched_setattr", "sendmsg",    "sendto",       "set_robust_list",
      "shmat",         "shmdt",         "shmget",     "socket",       "statfs",
      "sysinfo",       "uname",         "unlink",     "write"};
  auto all = granted({"@worker", "@thread", "@fs-read", "@fs-write", "@unix-client", "@sysvipc"});
  for (const string& name : seen) EXPECT_TRUE(all.contains(name) || quiet.contains(name)) << name;
}

// ---- Lines -------------------------------------------------------------------------------------

TEST(PolicyLines, NothingIsAPolicy) {
  for (const char* text : {"", "\n", "\r\n", "# comment", "; comment\n", "\xEF\xBB\xBF", "[Worker]",
                           "[Worker]\n\n[Worker]\n", "   \t \n"})
    EXPECT_EQ(good(text).origin.size(), 0U);
}

TEST(PolicyLines, EndingsBlanksAndTheByteOrderMark) {
  for (const char* text : {
           "[Worker]\nShare=consumer",
           "[Worker]\r\nShare=consumer\r\n",
           "[Worker]\r\nShare=consumer\r",
           "\xEF\xBB\xBF[Worker]\nShare=consumer\n",
           "  [Worker]  \n\t Share \t = \t consumer \t \n",
           "# c\n[Worker]\n; c\n  # c\nShare=consumer\n",
       })
    EXPECT_EQ(good(text).share, WorkerSharing::Consumer) << text;
}

TEST(PolicyLines, AnIndentedLineContinuesNothing) {
  EXPECT_EQ(bad("[Filesystem]\nReadOnlyPaths=/a\n  /b\n"),
            "t.policy:3: neither [Section] nor Key=value nor a comment: '/b'");
  EXPECT_EQ(bad("[Filesystem]\nReadOnlyPaths=/a \\\n").substr(0, 13), "t.policy:2: [");
}

TEST(PolicyLines, MalformedOnes) {
  EXPECT_EQ(bad("[Worker\n"),
            "t.policy:1: a section's name is one word in brackets, and alone on its line");
  for (const char* text : {"[]\n", "[Worker] ; x\n", "[Worker] # x\n", "[Wor ker]\n", "[Worker]]\n",
                           "[[Worker]\n", "[Worker]x\n", "[\n"})
    expectHas(bad(text), "t.policy:1: a section's name");
  EXPECT_EQ(bad("[Worker]\n\nShare: consumer\n"),
            "t.policy:3: neither [Section] nor Key=value nor a comment: 'Share: consumer'");
  expectHas(bad("[Worker]\nShare\n"), "t.policy:2: neither");
  expectHas(bad("[Worker]\n=x\n"), "t.policy:2: neither");
  expectHas(bad("[Worker]\nA b=x\n"), "t.policy:2: neither");
  EXPECT_EQ(bad("Share=consumer\n"), "t.policy:1: Share= before any [Section]");
}

TEST(PolicyLines, NulAndControlCharacters) {
  using namespace std::string_view_literals;
  EXPECT_EQ(bad("[Worker]\nShare=con\0sumer\n"sv), "t.policy:2: a NUL byte in the line");
  EXPECT_EQ(bad("[Worker]\n\0"sv), "t.policy:2: a NUL byte in the line");
  EXPECT_EQ(bad("# \0\n"sv), "t.policy:1: a NUL byte in the line");
  EXPECT_EQ(bad("[Worker]\nShare=\x01\n"), "t.policy:2: a control character in the line");
  EXPECT_EQ(bad("[Worker]\nShare=a\rb\n"), "t.policy:2: a control character in the line");
  EXPECT_EQ(bad("[Worker]\n# \x1b[2J\n"), "t.policy:2: a control character in the line");
}

TEST(PolicyLines, OverLongOnesAreRefusedNotSplit) {
  const string prefix = "[Filesystem]\nReadOnlyPaths=/";
  for (std::size_t length : {150U, 182U}) {
    Policy policy = good(prefix + string(length, 'x') + "\n");
    ASSERT_EQ(policy.readOnlyPaths.size(), 1U);
    EXPECT_EQ(policy.readOnlyPaths[0].path.size(), length + 1);
  }
  // At whatever length inih's build draws the line, a longer one gives exactly one error.
  for (std::size_t length : {5'000U, 20'000U, 50'000U}) {
    Reading reading = read(prefix + string(length, 'x') + "\nReadOnlyPaths=/ok\n");
    ASSERT_EQ(reading.errors.size(), 1U) << length;
    expectHas(reading.errors[0], "t.policy:2: the line is longer than ");
    EXPECT_EQ(reading.policy.readOnlyPaths, paths({"/ok"}));
  }
  std::size_t refused = 0;
  for (std::size_t length = 183; length < 260; ++length) {
    Reading reading = read(prefix + string(length, 'x') + "\nReadOnlyPaths=/ok\n");
    std::size_t whole = 0;
    for (const auto& path : reading.policy.readOnlyPaths)
      whole += path.path == "/ok" || path.path == "/" + string(length, 'x');
    EXPECT_EQ(whole, reading.policy.readOnlyPaths.size()) << length;
    EXPECT_EQ(reading.errors.size() + reading.policy.readOnlyPaths.size(), 2U) << length;
    refused += reading.errors.size();
  }
  EXPECT_GT(refused, 0U);
  // A comment may be as long as it likes.
  good("# " + string(5000, 'x') + "\n[Worker]\n");
}

TEST(PolicyLines, UnknownSectionsAndKeys) {
  EXPECT_EQ(bad("[Wroker]\nShare=x\nMore=y\n"),
            "t.policy:1: [Wroker]: unknown section, did you mean [Worker]?");
  EXPECT_EQ(bad("[Quux]\n"), "t.policy:1: [Quux]: unknown section");
  EXPECT_EQ(bad("[worker]\n"), "t.policy:1: [worker]: unknown section, did you mean [Worker]?");
  EXPECT_EQ(bad("[" + string(100, 'x') + "]\n").substr(0, 13), "t.policy:1: [");
  EXPECT_EQ(bad("[Worker]\nStartTimoutSec=3\n"),
            "t.policy:2: [Worker] StartTimoutSec=: unknown key, did you mean StartTimeoutSec=?");
  EXPECT_EQ(bad("[Worker]\nshare=process\n"),
            "t.policy:2: [Worker] share=: unknown key, did you mean Share=?");
  EXPECT_EQ(bad("[Worker]\nMemoryMax=1G\n"),
            "t.policy:2: [Worker] MemoryMax=: unknown key in this section, did you mean [Limits] "
            "MemoryMax=?");
  EXPECT_EQ(bad("[Worker]\nMemryMax=1G\n"),
            "t.policy:2: [Worker] MemryMax=: unknown key, did you mean [Limits] MemoryMax=?");
  EXPECT_EQ(bad("[Worker]\nFrobnicate=1\n"), "t.policy:2: [Worker] Frobnicate=: unknown key");
}

TEST(PolicyLines, AllErrorsOfAFileAreReported) {
  Reading reading = read(
      "Early=1\n[Worker]\nShare=x\nFoo=1\n\n[Nope]\nBar=2\n[Limits]\r\nTasksMax=a\n"
      "MemoryMax=1G\nLimitNOFILE=b");
  ASSERT_EQ(reading.errors.size(), 6U) << ::testing::PrintToString(reading.errors);
  vector<int> lines;
  for (const string& error : reading.errors) lines.push_back(std::stoi(error.substr(9)));
  EXPECT_EQ(lines, (vector<int>{1, 3, 4, 6, 9, 11}));
  EXPECT_EQ(reading.policy.memoryMax, std::uint64_t{1} << 30);
}

TEST(PolicyLines, ErrorsEndSomewhere) {
  string text = "[Worker]\n";
  for (int i = 0; i < 10'000; ++i) text += "Nonsense=1\n";
  Reading reading = read(text);
  EXPECT_EQ(reading.errors.size(), 51U);
  expectHas(reading.errors.back(), "too many errors");
}

// ---- Files -------------------------------------------------------------------------------------

class PolicyFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    ::umask(022);
    string pattern = std::filesystem::temp_directory_path() / "policy_test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    ASSERT_EQ(::chmod(pattern.c_str(), 0755), 0);
    for (const char* name : {"etc", "vendor"}) std::filesystem::create_directory(root_ / name);
  }
  void TearDown() override {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  string path(const string& name) const { return root_ / name; }

  void write(const string& name, std::string_view text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
  }

  Strings directories() const { return {path("etc"), path("vendor")}; }

  Result<Policy> load(const string& name, const string& file = "/usr/lib/libfoo.so") const {
    return loadPolicy({name, file}, directories(), SOMEBODY);
  }

  Policy loaded(const string& name, const string& file = "/usr/lib/libfoo.so") const {
    auto policy = load(name, file);
    EXPECT_TRUE(policy.ok()) << policy.error().message();
    return policy.ok() ? *policy : Policy{};
  }

  string refusal(const string& name, const string& file = "/usr/lib/libfoo.so") const {
    auto policy = load(name, file);
    EXPECT_FALSE(policy.ok());
    return policy.ok() ? "" : policy.error().message();
  }

  std::filesystem::path root_;
};

string burst(int n) {
  return "[Worker]\nStartLimitBurst=" + std::to_string(n) + "\n";
}

TEST_F(PolicyFiles, WithoutAnyTheBuiltInHolds) {
  Policy policy = loaded("foo");
  EXPECT_EQ(policy.name, "built-in");
  EXPECT_EQ(policy.syscalls, builtInPolicy().syscalls);
  EXPECT_EQ(policy.execPaths, builtInPolicy().execPaths);
  EXPECT_TRUE(policy.origin.empty());
  EXPECT_TRUE(loadPolicy({"foo", "/x.so"}, {path("nowhere")}, SOMEBODY).ok());
  EXPECT_TRUE(loadPolicy({"foo", "/x.so"}, {}, SOMEBODY).ok());
}

TEST_F(PolicyFiles, TheModulesNameComesFirst) {
  write("vendor/foo.policy", burst(1));
  write("vendor/bar.policy", "[Module]\nMatch=libfoo.so\n" + burst(2));
  write("vendor/default.policy", burst(3));
  EXPECT_EQ(loaded("foo").startLimitBurst, 1U);
  EXPECT_EQ(loaded("foo").name, "foo");
  EXPECT_EQ(loaded("other").startLimitBurst, 2U);
  EXPECT_EQ(loaded("other").name, "bar");
  EXPECT_EQ(loaded("other", "/usr/lib/libother.so").startLimitBurst, 3U);
  EXPECT_EQ(loaded("other", "/usr/lib/libother.so").name, "default");
  EXPECT_EQ(loaded("foo").origin.at("Worker.StartLimitBurst"),
            (Strings{path("vendor/foo.policy") + ":2"}));
}

TEST_F(PolicyFiles, MatchTakesPatternsAndTheFirstFileInOrder) {
  write("vendor/a.policy", "[Module]\nMatch=libfoo*\n" + burst(1));
  write("vendor/b.policy", "[Module]\nMatch=libfoo.so\n" + burst(2));
  EXPECT_EQ(loaded("m", "/opt/libfoo.so.3").startLimitBurst, 1U);
  EXPECT_EQ(loaded("m", "libfoo.so").startLimitBurst, 1U);
  EXPECT_EQ(loaded("m", "/libfoo/x.so").name, "built-in") << "directories do not match";
  write("etc/z.policy", "[Module]\nMatch=libfoo.*\n" + burst(3));
  EXPECT_EQ(loaded("m", "/opt/libfoo.so.3").startLimitBurst, 3U);
  // The operator's file of the same name hides the vendor's, Match= and all.
  write("etc/a.policy", burst(4));
  EXPECT_EQ(loaded("m", "/opt/libfoo_x.so").name, "built-in");
}

TEST_F(PolicyFiles, AnEarlierDirectoryWinsTheMainFile) {
  write("vendor/foo.policy", burst(1) + "Share=consumer\n");
  write("etc/foo.policy", burst(2));
  EXPECT_EQ(loaded("foo").startLimitBurst, 2U);
  EXPECT_EQ(loaded("foo").share, WorkerSharing::Process);
}

TEST_F(PolicyFiles, DropInsComeInTheOrderOfTheirNamesAndHideEachOther) {
  write("vendor/foo.policy", "[Filesystem]\nReadOnlyPaths=\nReadOnlyPaths=/main\n");
  auto dropIn = [&](const string& name, const string& text) {
    write(name, "[Filesystem]\nReadOnlyPaths=" + text + "\n");
  };
  dropIn("vendor/foo.policy.d/20-v.conf", "/v20");
  dropIn("vendor/foo.policy.d/10-v.conf", "/v10");
  dropIn("etc/foo.policy.d/15-e.conf", "/e15");
  dropIn("vendor/foo.policy.d/30-x.conf", "/hidden");
  dropIn("etc/foo.policy.d/30-x.conf", "/shown");
  dropIn("etc/foo.policy.d/40-x.txt", "/wrong-ending");
  dropIn("etc/foo.policy.d/.50.conf", "/dot");
  EXPECT_EQ(loaded("foo").readOnlyPaths, paths({"/main", "/v10", "/e15", "/v20", "/shown"}));
  EXPECT_EQ(loaded("foo").origin.at("Filesystem.ReadOnlyPaths").back(),
            path("etc/foo.policy.d/30-x.conf") + ":2");
  // An empty file or a link to /dev/null hides as well.
  write("etc/foo.policy.d/10-v.conf", "");
  ASSERT_EQ(::symlink("/dev/null", path("etc/foo.policy.d/20-v.conf").c_str()), 0);
  EXPECT_EQ(loaded("foo").readOnlyPaths, paths({"/main", "/e15", "/shown"}));
  // A drop-in may reset and remove.
  dropIn("etc/foo.policy.d/90.conf", "~/main");
  EXPECT_EQ(loaded("foo").readOnlyPaths, paths({"/e15", "/shown"}));
  dropIn("etc/foo.policy.d/91.conf", "");
  EXPECT_TRUE(loaded("foo").readOnlyPaths.empty());
}

TEST_F(PolicyFiles, DropInsOfTheModulesNameFollowThoseOfThePolicys) {
  write("vendor/default.policy", burst(1));
  write("etc/default.policy.d/a.conf", burst(2) + "Share=consumer\n");
  write("etc/foo.policy.d/a.conf", burst(3));
  EXPECT_EQ(loaded("foo").startLimitBurst, 3U);
  EXPECT_EQ(loaded("foo").share, WorkerSharing::Consumer);
  EXPECT_EQ(loaded("bar").startLimitBurst, 2U);
  std::filesystem::remove(path("vendor/default.policy"));
  EXPECT_EQ(loaded("foo").startLimitBurst, 3U);
  EXPECT_EQ(loaded("foo").name, "built-in");
}

TEST_F(PolicyFiles, AMatchMayStandInADropIn) {
  write("vendor/bar.policy", burst(2));
  write("etc/bar.policy.d/a.conf", "[Module]\nMatch=libfoo.so\n");
  EXPECT_EQ(loaded("foo").name, "bar");
}

TEST_F(PolicyFiles, AnErrorInAnyOfTheFilesRefusesTheModule) {
  write("vendor/foo.policy", burst(1));
  write("etc/foo.policy.d/a.conf", "[Worker]\n\nShaer=process\nQ=1\n");
  EXPECT_EQ(refusal("foo"),
            "policy: " + path("etc/foo.policy.d/a.conf") +
                ":3: [Worker] Shaer=: unknown key, did you mean Share=? (and 1 more)");
}

TEST_F(PolicyFiles, ABrokenFileOfAnotherModuleCountsOnlyWhereItsMatchIsUnknown) {
  write("vendor/a.policy", "[Module]\nMatch=liba.so\n[Worker]\nShare=x\n");
  EXPECT_EQ(loaded("foo").name, "built-in");
  expectHas(refusal("m", "/liba.so"), "a.policy:4: [Worker] Share=: unknown value 'x'");
  for (const char* text :
       {"[Module]\nMtach=libfoo.so\n", "[Modul]\nMatch=libfoo.so\n", "[Module\nMatch=libfoo.so\n",
        "Match=libfoo.so\n", "[Module]\nMatch=/usr/lib/libfoo.so\n"}) {
    write("vendor/a.policy", text);
    expectHas(refusal("foo"), "it may have been meant for module foo");
  }
  // A module with a policy of its name never looks there.
  write("vendor/foo.policy", "");
  EXPECT_EQ(loaded("foo").name, "foo");
}

TEST_F(PolicyFiles, WhatOthersCanWriteIsRefused) {
  write("etc/foo.policy", burst(1));
  for (mode_t mode : {0664U, 0646U, 0666U}) {
    ASSERT_EQ(::chmod(path("etc/foo.policy").c_str(), mode), 0);
    expectHas(refusal("foo"), path("etc/foo.policy") + ": refused: others than its owner");
  }
  ASSERT_EQ(::chmod(path("etc/foo.policy").c_str(), 0640), 0);
  EXPECT_EQ(loaded("foo").startLimitBurst, 1U);

  for (mode_t mode : {0775U, 0757U}) {
    ASSERT_EQ(::chmod(path("etc").c_str(), mode), 0);
    expectHas(refusal("foo"), path("etc") + ": refused: others than its owner");
    expectHas(refusal("bar"), path("etc") + ": refused: others than its owner");
    Policy policy;
    auto errors = readPolicyFile(path("etc/foo.policy"), SOMEBODY, policy);
    ASSERT_EQ(errors.size(), 1U);
    expectHas(errors[0].detail, "its directory " + path("etc"));
  }
  // As /tmp is: nobody can replace a file of ours there.
  ASSERT_EQ(::chmod(path("etc").c_str(), 01777), 0);
  EXPECT_EQ(loaded("foo").startLimitBurst, 1U);
  ASSERT_EQ(::chmod(path("etc").c_str(), 0755), 0);

  write("etc/foo.policy.d/a.conf", "");
  ASSERT_EQ(::chmod(path("etc/foo.policy.d").c_str(), 0777), 0);
  expectHas(refusal("foo"), path("etc/foo.policy.d") + ": refused");
  ASSERT_EQ(::chmod(path("etc/foo.policy.d").c_str(), 0755), 0);
  ASSERT_EQ(::chmod(path("etc/foo.policy.d/a.conf").c_str(), 0666), 0);
  expectHas(refusal("foo"), path("etc/foo.policy.d/a.conf") + ": refused");
}

TEST_F(PolicyFiles, WhatBelongsToOthersIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  write("etc/foo.policy", burst(1));
  ASSERT_EQ(::chown(path("etc/foo.policy").c_str(), 12345, 0), 0);
  expectHas(refusal("foo"),
            "refused: it belongs to user 12345, neither to root nor to the present");
  ASSERT_EQ(::chmod(path("etc").c_str(), 01777), 0);
  expectHas(refusal("foo"), "refused: it belongs to user 12345");
  ASSERT_EQ(::chown(path("etc/foo.policy").c_str(), 0, 0), 0);
  ASSERT_EQ(::chown(path("etc").c_str(), 12345, 0), 0);
  expectHas(refusal("foo"), path("etc") + ": refused: it belongs to user 12345");
}

TEST_F(PolicyFiles, LinksAreFollowedAndTheirEndIsChecked) {
  write("store/foo.policy", burst(7));
  ASSERT_EQ(::symlink(path("store/foo.policy").c_str(), path("etc/foo.policy").c_str()), 0);
  EXPECT_EQ(loaded("foo").startLimitBurst, 7U);
  ASSERT_EQ(::chmod(path("store").c_str(), 0777), 0);
  expectHas(refusal("foo"), "its directory " + path("store"));
  std::filesystem::remove_all(path("store"));
  expectHas(refusal("foo"), "leads nowhere");
}

TEST_F(PolicyFiles, OnlyRegularFilesOfReasonableSizeAreRead) {
  ASSERT_EQ(::mkfifo(path("etc/foo.policy").c_str(), 0644), 0);
  expectHas(refusal("foo"), "it is not a regular file");
  std::filesystem::remove(path("etc/foo.policy"));
  std::filesystem::create_directory(path("etc/foo.policy"));
  expectHas(refusal("foo"), "it is not a regular file");
  std::filesystem::remove(path("etc/foo.policy"));
  write("etc/foo.policy", string(70'000, '\n'));
  expectHas(refusal("foo"), "it is larger than 65536 bytes");
  write("etc/foo.policy", string(65'536, '\n'));
  EXPECT_EQ(loaded("foo").name, "foo");
  Policy policy;
  auto errors = readPolicyFile(path("etc/none.policy"), SOMEBODY, policy);
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors[0].code, ENOENT);
}

TEST_F(PolicyFiles, AnUnreadableFileIsAnErrorNotAnAbsentOne) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  write("etc/foo.policy", burst(1));
  ASSERT_EQ(::chmod(path("etc/foo.policy").c_str(), 0), 0);
  expectHas(refusal("foo"), "can't be opened: Permission denied");
}

TEST_F(PolicyFiles, ModuleNamesDoNotLeaveTheDirectory) {
  write("foo.policy", burst(9));
  for (const char* name : {"../foo", "", ".foo", "a/b", ".."})
    expectHas(refusal(name), "is no name of a module");
}

TEST_F(PolicyFiles, ConnectNeedsANetworkThatAllowsIt) {
  write("etc/foo.policy", "[Network]\nConnect=@pcscd\n");
  EXPECT_EQ(refusal("foo"), "policy: " + path("etc/foo.policy") +
                                ":2: [Network] Connect=: a socket needs Network=unix or client");
  write("etc/foo.policy.d/a.conf", "[Network]\nNetwork=unix\n");
  EXPECT_EQ(loaded("foo").connect.size(), 1U);
  write("etc/foo.policy.d/b.conf", "[Network]\nConnect=tcp:h:1\n");
  expectHas(refusal("foo"), "b.conf:2: [Network] Connect=: tcp: needs Network=client");
  write("etc/foo.policy.d/a.conf", "[Network]\nNetwork=client\n");
  EXPECT_EQ(loaded("foo").connect.size(), 2U);
}

TEST_F(PolicyFiles, ANetworkBringsWhatTheResolverReadsAndLeavesItsNamespace) {
  auto has = [](const auto& list, const auto& what) {
    return std::find(list.begin(), list.end(), what) != list.end();
  };
  write("etc/foo.policy", "[Network]\nNetwork=client\n");
  Policy policy = loaded("foo");
  EXPECT_TRUE(has(policy.readOnlyPaths, PolicyPath{"/etc/resolv.conf", true}));
  EXPECT_TRUE(has(policy.readOnlyPaths, PolicyPath{"/etc/hosts", true}));
  EXPECT_FALSE(has(policy.prefer, "netns"));
  write("etc/foo.policy", "");
  policy = loaded("foo");
  EXPECT_FALSE(has(policy.readOnlyPaths, PolicyPath{"/etc/resolv.conf", true}));
  EXPECT_TRUE(has(policy.prefer, "netns"));
  write("etc/foo.policy", "[Network]\nNetwork=client\n[Layers]\nRequire=netns\n");
  expectHas(refusal("foo"), "Require=netns");
}

TEST(PolicyDirectories, FollowTheEnvironment) {
  ::unsetenv("BULKHEAD_POLICIES");
  Strings standard = policyDirectories();
  ASSERT_EQ(standard.size(), 2U);
  ::setenv("BULKHEAD_POLICIES", "/a::/b/c:", 1);
  EXPECT_EQ(policyDirectories(), (Strings{"/a", "/b/c"}));
  ::setenv("BULKHEAD_POLICIES", "", 1);
  EXPECT_EQ(policyDirectories(), standard);
  ::unsetenv("BULKHEAD_POLICIES");
}

TEST(PolicySpecifiers, AreThePresentUsers) {
  ::setenv("HOME", "/nonsense", 1);
  Specifiers specifiers = currentSpecifiers();
  EXPECT_NE(specifiers.home, "/nonsense");
  EXPECT_EQ(specifiers.userId, std::to_string(::geteuid()));
  EXPECT_EQ(specifiers.runtimeDirectory,
            ::geteuid() == 0 ? "/run" : "/run/user/" + specifiers.userId);
}

// ---- What is shipped ---------------------------------------------------------------------------

TEST(ShippedPolicies, AreWithoutErrorAndSayWhy) {
  std::set<string> seen;
  for (const auto& entry : std::filesystem::directory_iterator(BULKHEAD_SOURCE_POLICIES)) {
    SCOPED_TRACE(entry.path().string());
    EXPECT_EQ(entry.path().extension(), ".policy");
    seen.insert(entry.path().stem());
    std::ifstream file(entry.path());
    string text((std::istreambuf_iterator<char>(file)), {});
    Policy policy = builtInPolicy();
    for (const Error& error : readPolicyText(text, entry.path(), SOMEBODY, policy))
      ADD_FAILURE() << error.message();
    EXPECT_TRUE(policy.violationAction == ViolationAction::Deny);

    // A grant follows a comment, or another grant that does.
    bool explained = false;
    std::istringstream lines(text);
    for (string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), 100U) << line;
      if (line.starts_with('#')) explained = true;
      if (line.empty() || line.starts_with('[')) explained = false;
      for (const char* key : {"ReadOnlyPaths=", "ReadWritePaths=", "ExecPaths=", "Devices=",
                              "Connect=", "SystemCallFilter=", "PassEnvironment="})
        if (line.starts_with(key)) {
          EXPECT_TRUE(explained) << line;
        }
    }
  }
  for (const char* name : {"default", "softhsm2", "p11-kit-trust", "opensc", "nss-softokn",
                           "opencryptoki", "tpm2-pkcs11", "p11-kit-client", "network-hsm"})
    EXPECT_TRUE(seen.contains(name)) << name;
}

TEST(ShippedPolicies, FitTheirModules) {
  // A copy, for a source tree may be writable by others.
  string copy = std::filesystem::temp_directory_path() / "policy_test.XXXXXX";
  ASSERT_NE(::mkdtemp(copy.data()), nullptr);
  for (const auto& entry : std::filesystem::directory_iterator(BULKHEAD_SOURCE_POLICIES)) {
    std::ifstream file(entry.path());
    std::ofstream(copy + "/" + entry.path().filename().string()) << file.rdbuf();
  }
  for (auto [file, name] : std::map<string, string>{
           {"/usr/lib/softhsm/libsofthsm2.so", "softhsm2"},
           {"/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-trust.so", "p11-kit-trust"},
           {"/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so", "opensc"},
           {"/usr/lib/x86_64-linux-gnu/onepin-opensc-pkcs11.so", "opensc"},
           {"/usr/lib/x86_64-linux-gnu/libsoftokn3.so", "nss-softokn"},
           {"/usr/lib/x86_64-linux-gnu/opencryptoki/libopencryptoki.so.0", "opencryptoki"},
           {"/usr/lib/x86_64-linux-gnu/pkcs11/PKCS11_API.so", "opencryptoki"},
           {"/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1", "tpm2-pkcs11"},
           {"/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so", "p11-kit-client"},
           {"/opt/vendor/libvendor.so", "default"}}) {
    auto policy = loadPolicy({"whatever", file}, {copy}, SOMEBODY);
    ASSERT_TRUE(policy.ok()) << policy.error().message();
    EXPECT_EQ(policy->name, name) << file;
  }
  auto byName = loadPolicy({"network-hsm", "/opt/vendor/libvendor.so"}, {copy}, SOMEBODY);
  EXPECT_TRUE(byName.ok()) << byName.error().message();
  // The default grants nothing beyond what is built in.
  auto standard = loadPolicy({"x", "/usr/lib/x.so"}, {copy}, SOMEBODY);
  ASSERT_TRUE(standard.ok());
  EXPECT_EQ(standard->syscalls, builtInPolicy().syscalls);
  EXPECT_EQ(standard->readOnlyPaths, builtInPolicy().readOnlyPaths);
  EXPECT_TRUE(standard->readWritePaths.empty());
  EXPECT_EQ(standard->network, NetworkAccess::None);
  std::filesystem::remove_all(copy);
}

}  // namespace
}  // namespace bulkhead::sandbox
