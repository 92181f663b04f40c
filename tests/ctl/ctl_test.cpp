// SPDX-License-Identifier: BSD-2-Clause
//
// bulkheadctl as its users have it: the program is run, and its output, complaints and exit status
// are looked at. Modules, policies and temporary files are in a directory of the test's own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sandbox/policy.h"

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string program;
constexpr const char* SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so";
const std::string SOURCE = BULKHEAD_SOURCE;

std::string contentOf(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

struct Outcome {
  int status = -1;
  std::string out, err;
  Json json() const { return Json::parse(out); }  // throws, and so fails the test, when it is none
};

class Ctl : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/bulkheadctl-test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    // Policies are refused below what others can write, whatever the umask is.
    ::umask(022);
    root = fs::canonical(pattern);
    for (const char* name : {"modules", "policies", "tmp", "tokens"})
      fs::create_directory(root / name);
    write(root / "softhsm2.conf", "directories.tokendir = " + (root / "tokens").string() +
                                      "\nobjectstore.backend = file\n");
    const char* proxy = std::getenv("BULKHEAD_PROXY");
    const char* worker = std::getenv("BULKHEAD_WORKER");
    environment = {
        "PATH=/usr/bin:/bin",
        "TMPDIR=" + (root / "tmp").string(),
        "HOME=" + root.string(),
        "BULKHEAD_MODULES=" + (root / "modules").string(),
        "BULKHEAD_POLICIES=" + (root / "policies").string() + ":" + SOURCE + "/data/policies",
        "SOFTHSM2_CONF=" + (root / "softhsm2.conf").string(),
        std::string("BULKHEAD_PROXY=") + (proxy == nullptr ? "" : proxy),
        std::string("BULKHEAD_WORKER=") + (worker == nullptr ? "" : worker)};
    struct stat status;
    if (::stat((SOURCE + "/data/policies").c_str(), &status) == 0 && status.st_uid != 0 &&
        status.st_uid != ::geteuid()) {
      // The sources are somebody else's, whose policies are refused: take a copy.
      fs::copy(SOURCE + "/data/policies", root / "shipped", fs::copy_options::recursive);
      environment[4] =
          "BULKHEAD_POLICIES=" + (root / "policies").string() + ":" + (root / "shipped").string();
    }
  }

  void TearDown() override {
    EXPECT_TRUE(fs::is_empty(root / "tmp")) << "temporary files were left behind";
    fs::remove_all(root);
  }

  void module(const std::string& name, const std::string& text) {
    write(root / "modules" / (name + ".module"), text);
  }
  void softhsm() { module("softhsm2", std::string("module: ") + SOFTHSM + "\n"); }
  fs::path dropIn(const std::string& text, const std::string& name = "softhsm2") {
    fs::path path = root / "policies" / (name + ".policy.d") / "test.conf";
    write(path, text);
    return path;
  }
  void softhsmWithTokens(const std::string& more = {}) {
    softhsm();
    dropIn("[Filesystem]\nReadWritePaths=" + (root / "tokens").string() +
           "\nReadOnlyPaths=" + (root / "softhsm2.conf").string() + "\n" + more);
  }

  Outcome run(std::vector<std::string> arguments, std::vector<std::string> more = {}) const {
    arguments.insert(arguments.begin(), program);
    return execute(arguments, more);
  }

  Outcome execute(std::vector<std::string> arguments, std::vector<std::string> more = {}) const {
    Outcome outcome;
    fs::path out = root / "out", err = root / "err";
    std::vector<std::string> variables = environment;
    variables.insert(variables.end(), more.begin(), more.end());
    pid_t pid = ::fork();
    if (pid == 0) {
      int o = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      int e = ::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
      ::dup2(o, 1);
      ::dup2(e, 2);
      std::vector<char*> argv, envp;
      for (std::string& one : arguments) argv.push_back(one.data());
      for (std::string& one : variables) envp.push_back(one.data());
      argv.push_back(nullptr);
      envp.push_back(nullptr);
      ::execvpe(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    outcome.out = contentOf(out);
    outcome.err = contentOf(err);
    return outcome;
  }

  // What the program writes when its standard output is a terminal.
  std::string onATerminal(std::vector<std::string> arguments, const std::string& more) const {
    arguments.insert(arguments.begin(), program);
    std::vector<std::string> variables = environment;
    variables.push_back("TERM=xterm");
    variables.push_back(more);
    int terminal = -1;
    pid_t pid = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    if (pid == 0) {
      std::vector<char*> argv, envp;
      for (std::string& one : arguments) argv.push_back(one.data());
      for (std::string& one : variables) envp.push_back(one.data());
      argv.push_back(nullptr);
      envp.push_back(nullptr);
      ::execvpe(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    std::string text;
    char buffer[1024];
    ssize_t n;
    while ((n = ::read(terminal, buffer, sizeof buffer)) > 0)
      text.append(buffer, static_cast<std::size_t>(n));
    ::close(terminal);
    int status;
    ::waitpid(pid, &status, 0);
    return text;
  }

  fs::path root;
  std::vector<std::string> environment;
};

#define NEEDS_SOFTHSM() \
  if (!fs::exists(SOFTHSM)) GTEST_SKIP() << "no " << SOFTHSM << " on this machine"

const Json* named(const Json& list, const char* key, const std::string& name) {
  for (const Json& one : list)
    if (one[key] == name) return &one;
  return nullptr;
}

// ---- list ----

TEST_F(Ctl, ListShowsModulesWithPolicySlotsAndTokens) {
  NEEDS_SOFTHSM();
  softhsmWithTokens();
  Outcome outcome = run({"list", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  Json all = outcome.json();
  const Json* one = named(all["modules"], "name", "softhsm2");
  ASSERT_NE(one, nullptr);
  EXPECT_EQ((*one)["state"], "ok");
  EXPECT_EQ((*one)["policy"], "softhsm2");
  ASSERT_EQ((*one)["slots"].size(), 1U);
  EXPECT_EQ((*one)["slots"][0]["token"]["model"], "SoftHSM v2");
  Outcome text = run({"list"});
  EXPECT_NE(text.out.find("not initialized"), std::string::npos) << text.out;
}

TEST_F(Ctl, ListTellsWhyAModuleIsMissing) {
  module("gone", "critical: no\nmodule: /nonexistent/module.so\n");
  module("hidden", "module: " + program + "\ndisable-in: bulkhead\n");
  module("typo", "module: " + program + "\n");
  fs::path file = dropIn("[Worker]\nShare=nobody\n", "typo");
  Outcome outcome = run({"list", "--json", "--no-start"});
  EXPECT_EQ(outcome.status, 1);
  Json all = outcome.json()["modules"];
  ASSERT_EQ(all.size(), 3U) << outcome.out;
  EXPECT_EQ((*named(all, "name", "gone"))["state"], "broken");
  std::string place = (root / "modules/gone.module").string() + ":2";
  EXPECT_NE((*named(all, "name", "gone"))["reason"].get<std::string>().find(place),
            std::string::npos);
  EXPECT_EQ((*named(all, "name", "hidden"))["state"], "disabled");
  std::string reason = (*named(all, "name", "typo"))["reason"];
  EXPECT_NE(reason.find(file.string() + ":2"), std::string::npos) << reason;
  EXPECT_NE(run({"list", "--no-start"}).out.find(reason), std::string::npos);
}

TEST_F(Ctl, ListOfAModuleThatIsNoneSaysSoAndFails) {
  module("text", "module: " + (root / "softhsm2.conf").string() + "\n");
  Outcome outcome = run({"list", "--json"});
  EXPECT_EQ(outcome.status, 1);
  Json one = outcome.json()["modules"][0];
  EXPECT_EQ(one["state"], "failed");
  EXPECT_NE(one["reason"].get<std::string>().find("softhsm2.conf"), std::string::npos) << one;
}

// ---- show and explain ----

TEST_F(Ctl, ShowHasEveryKeyWithTheLineItComesFrom) {
  NEEDS_SOFTHSM();
  softhsm();
  fs::path file = dropIn("[Worker]\nSerialize=yes\n[Limits]\nMemoryMax=64M\n");
  Outcome outcome = run({"show", "softhsm2", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  std::map<std::string, Json> keys;
  Json shown = outcome.json();
  for (const Json& key : shown["keys"])
    keys[key["section"].get<std::string>() + "." + key["key"].get<std::string>()] = key;
  for (const std::string& key : bulkhead::sandbox::policyKeys()) {
    ASSERT_TRUE(keys.contains(key)) << key;
    EXPECT_EQ(keys[key]["value"].dump().find("does not know"), std::string::npos) << key;
  }
  EXPECT_EQ(keys["Limits.MemoryMax"]["value"], Json({"64M"}));
  EXPECT_EQ(keys["Limits.MemoryMax"]["origin"], Json({file.string() + ":4"}));
  EXPECT_EQ(keys["Worker.Serialize"]["value"], Json({"yes"}));
  EXPECT_EQ(keys["Limits.TasksMax"]["origin"], Json::array());
}

TEST_F(Ctl, WhatShowPrintsIsAPolicy) {
  NEEDS_SOFTHSM();
  softhsmWithTokens(
      "[Worker]\nEnvironment=A='b c#d'\n[Network]\nNetwork=client\nConnect=@pcscd "
      "tcp:192.0.2.0/28:1792 tcp:[2001:db8::1]:5\n[Syscalls]\nSystemCallFilter=@fork\n");
  Outcome shown = run({"show", "softhsm2"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  write(root / "policies/again.policy", shown.out);
  Outcome checked = run({"check", (root / "policies/again.policy").string()});
  EXPECT_EQ(checked.status, 0) << checked.err;
  EXPECT_NE(shown.out.find("SystemCallFilter=@fork"), std::string::npos);
}

TEST_F(Ctl, ExplainListsAllLayersAndWhatTheWorkerReaches) {
  NEEDS_SOFTHSM();
  softhsmWithTokens("[Network]\nNetwork=unix\nConnect=unix:/run/some.socket\n");
  Outcome outcome = run({"explain", "softhsm2", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  Json all = outcome.json();
  for (std::string_view layer : bulkhead::sandbox::LAYER_NAMES)
    EXPECT_NE(named(all["layers"], "name", std::string(layer)), nullptr) << layer;
  const Json* tokens = named(all["paths"], "path", (root / "tokens").string());
  ASSERT_NE(tokens, nullptr);
  EXPECT_EQ((*tokens)["access"], "write");
  EXPECT_EQ(all["connect"], Json({"unix:/run/some.socket"}));
  std::string text = run({"explain", "softhsm2"}).out;
  EXPECT_NE(text.find("unix:/run/some.socket"), std::string::npos);
  EXPECT_NE(text.find((root / "tokens").string()), std::string::npos);
}

TEST_F(Ctl, ExplainFailsWhereAPathIsMissing) {
  NEEDS_SOFTHSM();
  softhsm();
  dropIn("[Filesystem]\nReadOnlyPaths=/nonexistent/file\n");
  Outcome outcome = run({"explain", "softhsm2"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.out.find("missing, and not optional"), std::string::npos);
}

TEST_F(Ctl, AnUnknownModuleIsToldWhichThereAre) {
  module("one", "module: " + program + "\n");
  for (const char* command : {"show", "explain", "try", "security"}) {
    Outcome outcome = run({command, "two"});
    EXPECT_EQ(outcome.status, 1) << command;
    EXPECT_NE(outcome.err.find("there are one"), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

// ---- check ----

TEST_F(Ctl, CheckNamesFileLineKeyAndWhatMayBeMeant) {
  fs::path file = root / "policies/mine.policy";
  write(file, "[Filesystem]\nReadOnlyPath=/etc/x\n[Netwrok]\n[Limits]\nMemoryMax=much\n");
  for (std::vector<std::string> arguments :
       {std::vector<std::string>{"check"}, std::vector<std::string>{"check", file.string()}}) {
    Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_NE(outcome.err.find(file.string() + ":2: [Filesystem] ReadOnlyPath=: unknown key, did "
                                               "you mean ReadOnlyPaths=?"),
              std::string::npos)
        << outcome.err;
    EXPECT_NE(outcome.err.find(file.string() + ":3: "), std::string::npos)
        << "only the first error";
    EXPECT_NE(outcome.err.find(file.string() + ":5: "), std::string::npos) << outcome.err;
  }
  Json all = run({"check", "--json", file.string()}).json();
  ASSERT_EQ(all["errors"].size(), 3U);
  EXPECT_EQ(all["errors"][0]["file"], file.string());
  EXPECT_EQ(all["errors"][0]["line"], 2);
  EXPECT_EQ(all["errors"][0]["key"], "[Filesystem] ReadOnlyPath");
}

TEST_F(Ctl, CheckReadsADropInOverItsPolicy) {
  fs::path good = dropIn("[Filesystem]\nReadOnlyPaths=~/etc/softhsm\n");
  EXPECT_EQ(run({"check", good.string()}).status, 0);
  EXPECT_EQ(run({"check"}).status, 0);
  fs::path bad = dropIn("[Filesystem]\nReadOnlyPaths=~/etc/softhsm3\n");
  Outcome outcome = run({"check", bad.string()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find(bad.string() + ":2"), std::string::npos) << outcome.err;
  EXPECT_EQ(run({"check"}).status, 1);
}

TEST_F(Ctl, CheckFindsFaultsInModuleFiles) {
  module("bad", "module /usr/lib/x.so\n");
  std::string place = (root / "modules/bad.module").string() + ":1";
  Outcome all = run({"check"});
  EXPECT_EQ(all.status, 1);
  EXPECT_NE(all.err.find(place), std::string::npos) << all.err;
  Outcome one = run({"check", (root / "modules/bad.module").string()});
  EXPECT_EQ(one.status, 1);
  EXPECT_NE(one.err.find(place), std::string::npos) << one.err;
}

TEST_F(Ctl, CheckFindsNoFaultInWhatIsShipped) {
  Outcome outcome = run({"check"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Ctl, CheckOfAFileThatIsNotThereFails) {
  Outcome outcome = run({"check", "/nonexistent/x.policy"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("/nonexistent/x.policy"), std::string::npos);
}

// ---- security ----

TEST_F(Ctl, SecurityScoresAWeakPolicyWorse) {
  NEEDS_SOFTHSM();
  softhsmWithTokens();
  double strong = run({"security", "--json"}).json()[0]["exposure"];
  dropIn("[Layers]\nRequire=\nPrefer=\n[Filesystem]\nReadWritePaths=/\n");
  Json weak = run({"security", "softhsm2", "--json"}).json()[0];
  EXPECT_GE(strong, 0.0);
  EXPECT_LE(weak["exposure"].get<double>(), 10.0);
  EXPECT_GT(weak["exposure"].get<double>(), strong + 3);
  EXPECT_NE(weak["rating"], "SAFE");
  EXPECT_EQ(run({"security"}).status, 0);
}

// ---- try ----

TEST_F(Ctl, TryReportsWhatWasRefused) {
  NEEDS_SOFTHSM();
  softhsmWithTokens("[Syscalls]\nSystemCallFilter=~getdents64\n");
  Outcome outcome = run({"try", "softhsm2", "--json"});
  Json all = outcome.json();
  if (all["degraded"].dump().find("broker") != std::string::npos)
    GTEST_SKIP() << "nobody can be asked about system calls here";
  const Json* violation = named(all["violations"], "syscall", "getdents64");
  ASSERT_NE(violation, nullptr) << outcome.out;
  EXPECT_NE((*violation)["location"].get<std::string>().find("libc"), std::string::npos);
  EXPECT_NE(run({"try", "softhsm2"}).out.find("getdents64"), std::string::npos);
}

TEST_F(Ctl, TryTellsTimesAndSlots) {
  NEEDS_SOFTHSM();
  softhsmWithTokens();
  Outcome outcome = run({"try", "softhsm2", "--json"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  Json all = outcome.json();
  EXPECT_TRUE(all["started"].get<bool>());
  EXPECT_GT(all["initialize_ms"].get<double>(), 0);
  EXPECT_EQ(all["slots"].size(), 1U);
}

TEST_F(Ctl, TryOfAModuleThatCannotStartFails) {
  NEEDS_SOFTHSM();
  softhsm();  // without a line for its configuration
  Outcome outcome = run({"try", "softhsm2", "--json"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_FALSE(outcome.json()["started"].get<bool>());
  EXPECT_NE(outcome.json()["failure"], "");
}

// ---- trace ----

TEST_F(Ctl, TraceTellsWhatThePolicyLacksAndWhatItHas) {
  NEEDS_SOFTHSM();
  softhsm();
  Outcome outcome = run({"trace", "softhsm2", "--json", "--", program, "probe"});
  if (outcome.err.find("nothing can be traced here") != std::string::npos)
    GTEST_SKIP() << outcome.err;
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  Json all = outcome.json();
  std::string configuration = (root / "softhsm2.conf").string();
  const Json* line = named(all["paths"], "value", configuration);
  ASSERT_NE(line, nullptr) << outcome.out;
  EXPECT_TRUE((*line)["missing"].get<bool>());
  EXPECT_EQ((*line)["key"], "ReadOnlyPaths");
  // SoftHSM2 reads its configuration when it is initialised, and then only.
  EXPECT_EQ((*line)["phases"], Json({{"C_Initialize", (*line)["count"]}}));
  EXPECT_NE(all["text"].get<std::string>().find(" in C_Initialize; missing from the policy"),
            std::string::npos)
      << all["text"];
  EXPECT_NE(named(all["paths"], "value", (root / "tokens").string()), nullptr) << outcome.out;

  softhsmWithTokens("ReadOnlyPaths=" + (root / "policies").string() + "\n");
  outcome = run({"trace", "softhsm2", "--json", "--", program, "probe"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  all = outcome.json();
  line = named(all["paths"], "value", configuration);
  ASSERT_NE(line, nullptr) << outcome.out;
  EXPECT_FALSE((*line)["missing"].get<bool>());
  EXPECT_NE(all["unused"].dump().find((root / "policies").string()), std::string::npos)
      << all["unused"];
}

TEST_F(Ctl, WhatTracePrintsIsAPolicyThatIsEnough) {
  NEEDS_SOFTHSM();
  softhsm();
  Outcome outcome = run({"trace", "softhsm2", "--", program, "probe"});
  if (outcome.err.find("nothing can be traced here") != std::string::npos)
    GTEST_SKIP() << outcome.err;
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  // The environment is not traced.
  write(root / "policies/softhsm2.policy",
        outcome.out + "\n[Worker]\nPassEnvironment=SOFTHSM2_CONF\n");
  Outcome checked = run({"check", (root / "policies/softhsm2.policy").string()});
  EXPECT_EQ(checked.status, 0) << checked.err << outcome.out;
  Outcome tried = run({"try", "softhsm2", "--json"});
  EXPECT_EQ(tried.status, 0) << tried.out << outcome.out;
  // It would write its complaints to syslog, and does without.
  Json tries = tried.json();
  EXPECT_TRUE(tries["violations"].empty()) << outcome.out;
}

TEST_F(Ctl, TraceOfACommandWithoutBulkheadSaysSo) {
  NEEDS_SOFTHSM();
  softhsmWithTokens();
  Outcome outcome =
      run({"trace", "softhsm2", "--", "/bin/sh", "-c", "echo for stderr; echo 2 >&2"});
  if (outcome.err.find("nothing can be traced here") != std::string::npos)
    GTEST_SKIP() << outcome.err;
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("for stderr"), std::string::npos);
  EXPECT_NE(outcome.err.find("no worker of softhsm2 was started"), std::string::npos);
}

// ---- adopt and release ----

TEST_F(Ctl, AdoptMakesAFileThatReleaseRemoves) {
  module("some", "module: " + program + "\n");
  fs::path overrides = root / "etc/modules";
  Outcome outcome = run({"adopt", "some", "--directory", overrides.string()});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  std::string text = contentOf(overrides / "some.module");
  EXPECT_NE(text.find("\nenable-in: bulkhead\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("# Made by bulkheadctl"), 0U);
  // Twice is once.
  EXPECT_EQ(run({"adopt", "some", "--directory", overrides.string()}).status, 0);
  EXPECT_EQ(contentOf(overrides / "some.module"), text);
  EXPECT_EQ(run({"release", "--all", "--directory", overrides.string()}).status, 0);
  EXPECT_FALSE(fs::exists(root / "etc")) << "adopt made it";
}

TEST_F(Ctl, TheOperatorsFileComesBackByteForByte) {
  module("some", "module: " + program + "\n");
  fs::path overrides = root / "etc", file = overrides / "some.module";
  for (const char* before :
       {"# mine\npriority: 5\n", "priority: 5", "", "\n\n  # x\r\ncritical: no\n"}) {
    write(file, before);
    fs::permissions(file, fs::perms(0640));
    EXPECT_EQ(run({"adopt", "--all", "--directory", overrides.string()}).status, 0);
    EXPECT_NE(contentOf(file).find("\nenable-in: bulkhead\n"), std::string::npos);
    EXPECT_EQ(contentOf(file).find(before), 0U);
    EXPECT_EQ(run({"release", "some", "--directory", overrides.string()}).status, 0);
    EXPECT_EQ(contentOf(file), before);
    EXPECT_EQ(fs::status(file).permissions(), fs::perms(0640));
  }
  // And what was added meanwhile stays.
  write(file, "priority: 5");
  run({"adopt", "some", "--directory", overrides.string()});
  write(file, contentOf(file) + "critical: yes\n");
  EXPECT_EQ(run({"release", "some", "--directory", overrides.string()}).status, 0);
  EXPECT_EQ(contentOf(file), "priority: 5\ncritical: yes\n");
}

TEST_F(Ctl, ReleaseNeverTouchesWhatIsNotOurs) {
  fs::path overrides = root / "etc", file = overrides / "some.module";
  const std::string theirs = "# a comment\nenable-in: bulkhead\n";
  write(file, theirs);
  EXPECT_EQ(run({"release", "--all", "--directory", overrides.string()}).status, 0);
  EXPECT_EQ(run({"release", "some", "--directory", overrides.string()}).status, 0);
  EXPECT_EQ(contentOf(file), theirs);
}

TEST_F(Ctl, AdoptLeavesAloneWhatSomebodyDecided) {
  module("some", "module: " + program + "\nenable-in: ctl-test-client\n");
  fs::path overrides = root / "etc";
  Outcome outcome =
      run({"adopt", "some", "--program", "ctl-test-client", "--directory", overrides.string()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("enable-in: ctl-test-client"), std::string::npos) << outcome.err;
  EXPECT_FALSE(fs::exists(overrides / "some.module"));
}

TEST_F(Ctl, ADryRunChangesNothing) {
  module("some", "module: " + program + "\n");
  fs::path overrides = root / "etc";
  EXPECT_EQ(run({"adopt", "--all", "--dry-run", "--directory", overrides.string()}).status, 0);
  EXPECT_FALSE(fs::exists(overrides));
}

TEST_F(Ctl, P11KitNoLongerShowsAnAdoptedModule) {
  NEEDS_SOFTHSM();
  if (!fs::exists("/usr/bin/p11-kit")) GTEST_SKIP() << "no p11-kit on this machine";
  if (!fs::exists("/usr/share/p11-kit/modules/softhsm2.module"))
    GTEST_SKIP() << "SoftHSM is not configured for p11-kit here";
  softhsm();
  // p11-kit reads the user's directory for ordinary users only.
  fs::permissions(root, fs::perms(0755));
  std::vector<std::string> list = {"p11-kit", "list-modules"};
  if (::geteuid() == 0) {
    if (!fs::exists("/usr/bin/setpriv")) GTEST_SKIP() << "no setpriv on this machine";
    list.insert(list.begin(), {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  }
  std::vector<std::string> where = {"XDG_CONFIG_HOME=" + (root / "config").string()};
  fs::path overrides = root / "config/pkcs11/modules";
  fs::create_directories(overrides);
  auto shown = [&] { return execute(list, where).out.find("softhsm2") != std::string::npos; };
  if (!shown()) GTEST_SKIP() << "p11-kit does not list SoftHSM here: " << execute(list, where).err;
  EXPECT_EQ(run({"adopt", "softhsm2", "--directory", overrides.string()}).status, 0);
  EXPECT_FALSE(shown());
  EXPECT_EQ(run({"release", "softhsm2", "--directory", overrides.string()}).status, 0);
  EXPECT_TRUE(shown());
}

// ---- the command line ----

TEST_F(Ctl, AWrongCommandLineIsStatus2) {
  for (std::vector<std::string> arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"lst"},
                                             {"list", "--wat"},
                                             {"show"},
                                             {"list", "--", "x"},
                                             {"trace", "x"},
                                             {"adopt"},
                                             {"adopt", "x", "--all"}}) {
    Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.status, 2) << (arguments.empty() ? "" : arguments[0]);
    EXPECT_NE(outcome.err, "");
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(run({"--help"}).status, 0);
  EXPECT_EQ(run({"--version"}).status, 0);
}

TEST_F(Ctl, ColoursAreForTerminalsWithoutNoColor) {
  module("some", "module: " + program + "\n");
  EXPECT_EQ(run({"list", "--no-start"}, {"TERM=xterm"}).out.find('\033'), std::string::npos);
  EXPECT_NE(onATerminal({"list", "--no-start"}, "X=y").find('\033'), std::string::npos);
  EXPECT_EQ(onATerminal({"list", "--no-start"}, "NO_COLOR=1").find('\033'), std::string::npos);
}

TEST_F(Ctl, WhatAModuleFileSaysDoesNotReachTheTerminalRaw) {
  module("some", "module: /nonexistent/\033[31mred.so\n");
  Outcome outcome = run({"list", "--no-start"});
  EXPECT_EQ(outcome.out.find('\033'), std::string::npos);
  EXPECT_EQ(outcome.err.find('\033'), std::string::npos);
}

TEST_F(Ctl, BashCompletesCommandsAndModules) {
  if (!fs::exists("/bin/bash")) GTEST_SKIP() << "no bash on this machine";
  module("some", "module: " + program + "\n");
  write(root / "completion", run({"completion", "bash"}).out);
  auto complete = [&](const std::string& words, const std::string& index) {
    return execute({"/bin/bash", "-euc",
                    "PATH=" + fs::path(program).parent_path().string() + ":$PATH; . " +
                        (root / "completion").string() + "; COMP_WORDS=(" + words +
                        "); COMP_CWORD=" + index + "; _bulkheadctl; echo \"${COMPREPLY[@]}\""});
  };
  EXPECT_EQ(complete("bulkheadctl exp", "1").out, "explain\n");
  EXPECT_EQ(complete("bulkheadctl show so", "2").out, "some\n");
  EXPECT_EQ(complete("bulkheadctl adopt --dr", "2").out, "--dry-run\n");
  EXPECT_EQ(complete("bulkheadctl completion z", "2").out, "zsh\n");
}

TEST_F(Ctl, FishCompletesCommandsAndModules) {
  if (!fs::exists("/usr/bin/fish")) GTEST_SKIP() << "no fish on this machine";
  module("some", "module: " + program + "\n");
  write(root / "completion", run({"completion", "fish"}).out);
  auto complete = [&](const std::string& line) {
    std::string out =
        execute({"fish", "--no-config", "-c",
                 "set -p PATH " + fs::path(program).parent_path().string() + "; source " +
                     (root / "completion").string() + "; complete -C '" + line + "'"})
            .out;
    return out.substr(0, out.find_first_of("\t\n"));
  };
  EXPECT_EQ(complete("bulkheadctl exp"), "explain");
  EXPECT_EQ(complete("bulkheadctl show so"), "some");
  EXPECT_EQ(complete("bulkheadctl adopt --dr"), "--dry-run");
  EXPECT_EQ(complete("bulkheadctl completion z"), "zsh");
}

// It completes on a terminal only: one zsh types into another's.
TEST_F(Ctl, ZshCompletesCommandsAndModules) {
  if (!fs::exists("/usr/bin/zsh")) GTEST_SKIP() << "no zsh on this machine";
  module("some", "module: " + program + "\n");
  write(root / "functions/_bulkheadctl", run({"completion", "zsh"}).out);
  write(root / "type",
        "zmodload zsh/zpty || exit 3\n"
        "zpty shell zsh -f -i\n"
        "zpty -w shell \"PROMPT=; path=(" +
            fs::path(program).parent_path().string() + " \\$path); fpath=(" +
            (root / "functions").string() +
            " \\$fpath); autoload -Uz compinit; compinit -u -D; print rea''dy\"\n"
            "zpty -r shell seen '*ready*'\n"
            "zpty -n -w shell $1$'\\t'\n"
            "zpty -r shell seen $2\n"
            "zpty -d shell\n");
  auto completes = [&](const std::string& typed, const std::string& seen) {
    return execute(
               {"timeout", "60", "zsh", "-f", (root / "type").string(), typed, "*" + seen + "*"},
               {"TERM=dumb"})
        .status;
  };
  EXPECT_EQ(completes("bulkheadctl exp", "explain"), 0);
  EXPECT_EQ(completes("bulkheadctl show so", "show some"), 0);
  EXPECT_EQ(completes("bulkheadctl adopt --dr", "--dry-run"), 0);
  EXPECT_EQ(completes("bulkheadctl completion z", "zsh"), 0);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc < 2) return 2;
  program = argv[1];
  return RUN_ALL_TESTS();
}
