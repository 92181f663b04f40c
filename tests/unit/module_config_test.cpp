// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/module_config.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace bulkhead::proxy {
namespace {

namespace fs = std::filesystem;
using Kind = SkippedModule::Kind;

// A directory with a configuration of its own, and modules that are merely files.
class ModuleConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/module_config_test.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    root_ = pattern;
    for (const char* each : {"user", "system", "package", "lib", "other"}) {
      fs::create_directory(root_ / each);
    }
    paths_.systemConfig = root_ / "system.conf";
    paths_.userConfig = root_ / "user.conf";
    paths_.userModules = root_ / "user";
    paths_.systemModules = root_ / "system";
    paths_.packageModules = root_ / "package";
    paths_.modulePath = root_ / "lib";
    for (const char* each : {"a.so", "b.so", "c.so"}) write(std::string("lib/") + each, "");
  }

  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name, std::ios::binary) << text;
  }

  std::string path(const std::string& name) const { return root_ / name; }

  void load(std::string_view program = "program") { set_ = loadModules(paths_, program); }

  const ModuleConfig* module(std::string_view name) const {
    for (const ModuleConfig& each : set_.modules) {
      if (each.name == name) return &each;
    }
    return nullptr;
  }

  const SkippedModule* skipped(std::string_view name) const {
    for (const SkippedModule& each : set_.skipped) {
      if (each.name == name) return &each;
    }
    return nullptr;
  }

  void expectSkipped(std::string_view name, Kind kind, const std::string& reason) const {
    const SkippedModule* entry = skipped(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->kind, kind) << name;
    EXPECT_NE(entry->reason.find(reason), std::string::npos) << entry->reason;
    EXPECT_EQ(entry->reason.find('\n'), std::string::npos) << entry->reason;
    EXPECT_EQ(module(name), nullptr) << name;
  }

  fs::path root_;
  ConfigPaths paths_;
  ModuleSet set_;
};

TEST(ParseModuleText, TakesKeysAndValuesApart) {
  std::map<std::string, std::string> out;
  auto errors = parseModuleText(
      "# comment\n\n  # another\n\t module :\t/a b:c  \r\nempty:\nmodule:second\nlast: x", "f",
      out);
  EXPECT_TRUE(errors.empty());
  std::map<std::string, std::string> expected = {
      {"module", "second"}, {"empty", ""}, {"last", "x"}};
  EXPECT_EQ(out, expected);
}

TEST(ParseModuleText, ReportsFaultsWithLineAndGoesOn) {
  std::map<std::string, std::string> out;
  using namespace std::string_literals;
  std::string text = "a: 1\nnonsense\n[section]\n: v\nb: 2\nc\0: 3\n-----BEGIN X: y-----\nd: 4"s;
  auto errors = parseModuleText(text, "dir/f.module", out);
  ASSERT_EQ(errors.size(), 5u);
  EXPECT_EQ(errors[0].operation, "dir/f.module:2");
  EXPECT_EQ(errors[1].operation, "dir/f.module:3");
  EXPECT_EQ(errors[2].operation, "dir/f.module:4");
  EXPECT_EQ(errors[3].operation, "dir/f.module:6");
  EXPECT_EQ(errors[4].operation, "dir/f.module:7");
  std::map<std::string, std::string> expected = {{"a", "1"}, {"b", "2"}, {"d", "4"}};
  EXPECT_EQ(out, expected);
}

TEST(ParseModuleText, BoundsSizeAndNumberOfFaults) {
  std::map<std::string, std::string> out;
  EXPECT_EQ(parseModuleText(std::string(65537, '\n'), "f", out).size(), 1u);
  EXPECT_TRUE(parseModuleText(std::string(65536, '\n'), "f", out).empty());
  EXPECT_EQ(parseModuleText(std::string(4096, '[') + std::string(100, '\n'), "f", out).size(), 1u);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "x\n";
  EXPECT_EQ(parseModuleText(many, "f", out).size(), 16u);
  EXPECT_TRUE(parseModuleText("", "f", out).empty());
  EXPECT_TRUE(out.empty());
}

TEST(ProgramName, IsTheLastComponent) {
  EXPECT_EQ(programNameFrom("/usr/bin/ssh", "/usr/bin/ssh"), "ssh");
  EXPECT_EQ(programNameFrom("ssh", "/usr/bin/ssh"), "ssh");
  EXPECT_EQ(programNameFrom("./link", "/usr/bin/real"), "link");
  EXPECT_EQ(programNameFrom("/usr/bin/link", ""), "link");
}

TEST(ProgramName, IgnoresArgumentsWithinArgvZero) {
  EXPECT_EQ(programNameFrom("/opt/chrome/chrome --type=utility --dir=/tmp/x", "/opt/chrome/chrome"),
            "chrome");
}

TEST(ProgramName, OfThisProgram) {
  EXPECT_EQ(programName(), program_invocation_short_name);
}

TEST(IsEnabledFor, FollowsBothListsAndThePseudoNames) {
  auto enabled = [](std::map<std::string, std::string> values) {
    return isEnabledFor(values, "prog");
  };
  EXPECT_TRUE(enabled({}));
  EXPECT_TRUE(enabled({{"enable-in", "other, prog"}}));
  EXPECT_TRUE(enabled({{"enable-in", "xprog,prog"}}));
  EXPECT_FALSE(enabled({{"enable-in", "other program"}}));
  EXPECT_FALSE(enabled({{"enable-in", ""}}));
  EXPECT_FALSE(enabled({{"disable-in", "other\tprog"}}));
  EXPECT_TRUE(enabled({{"disable-in", "programs, xprog"}}));
  EXPECT_TRUE(enabled({{"disable-in", ""}}));
  EXPECT_TRUE(enabled({{"enable-in", "p11-kit-proxy"}}));
  EXPECT_FALSE(enabled({{"disable-in", "p11-kit-proxy"}}));
  EXPECT_TRUE(enabled({{"enable-in", "bulkhead"}}));
  EXPECT_FALSE(enabled({{"disable-in", "bulkhead"}}));
  EXPECT_TRUE(enabled({{"enable-in", "bulkhead"}, {"disable-in", "p11-kit-proxy"}}));
  EXPECT_TRUE(enabled({{"enable-in", "bulkhead"}, {"disable-in", "bulkhead"}}));
  EXPECT_TRUE(enabled({{"enable-in", "prog"}, {"disable-in", "prog"}}));
  EXPECT_FALSE(enabled({{"enable-in", "prog"}, {"disable-in", "bulkhead"}}));
  EXPECT_FALSE(enabled({{"enable-in", "other"}, {"disable-in", "another"}}));
  EXPECT_TRUE(isEnabledFor({{"enable-in", "x, my prog"}}, "my prog"));
  EXPECT_FALSE(isEnabledFor({{"enable-in", "x,,y"}}, ""));
  EXPECT_TRUE(isEnabledFor({{"disable-in", "x"}}, ""));
}

// With any two lists of any of these names: what p11-kit shows bulkhead does not show to the same
// program as an adopted module, and what neither the lists nor p11-kit's proxy hide is seen
// somehow.
TEST(IsAdopted, IsWhatBulkheadShowsAndP11KitDoesNot) {
  EXPECT_TRUE(isAdopted({{"enable-in", "bulkhead"}}, "prog"));
  EXPECT_TRUE(isAdopted({{"enable-in", "other bulkhead"}}, "prog"));
  EXPECT_FALSE(isAdopted({{"enable-in", "prog bulkhead"}}, "prog"));
  EXPECT_FALSE(isAdopted({{"enable-in", "p11-kit-proxy bulkhead"}}, "prog"));
  EXPECT_FALSE(isAdopted({}, "prog"));
  EXPECT_TRUE(isShownByP11Kit({{"disable-in", "p11-kit-proxy"}}, "prog"));
  EXPECT_FALSE(isShownByP11Kit({{"disable-in", "prog"}}, "prog"));
  EXPECT_FALSE(isShownByP11Kit({{"module", ""}}, "prog"));
  const char* names[] = {"prog", "p11-kit-proxy", "bulkhead", "other"};
  auto list = [&](unsigned set) {
    std::string text;
    for (unsigned i = 0; i < 4; ++i)
      if ((set >> i & 1) != 0) text += std::string(names[i]) + " ";
    return text;
  };
  for (unsigned enable = 0; enable <= 16; ++enable) {
    for (unsigned disable = 0; disable <= 16; ++disable) {
      std::map<std::string, std::string> values;
      if (enable < 16) values.emplace("enable-in", list(enable));
      if (disable < 16) values.emplace("disable-in", list(disable));
      bool adopted = isAdopted(values, "prog"), shown = isShownByP11Kit(values, "prog");
      EXPECT_FALSE(adopted && shown) << list(enable) << "; " << list(disable);
      EXPECT_TRUE(adopted || shown || !isEnabledFor(values, "prog"))
          << list(enable) << "; " << list(disable);
    }
  }
}

TEST_F(ModuleConfigTest, TellsWhichModulesAreAdopted) {
  write("package/a.module", "module: a.so\n");
  write("package/b.module", "module: b.so\n");
  write("system/a.module", "enable-in: bulkhead\n");
  load();
  ASSERT_NE(module("a"), nullptr);
  EXPECT_TRUE(module("a")->adopted);
  EXPECT_FALSE(module("b")->adopted);
}

TEST_F(ModuleConfigTest, ReadsEveryKey) {
  write("package/a.module",
        "module: a.so\ncritical: yes\nlog-calls: yes\ntrust-policy: yes\npriority: -5\n"
        "x-init-reserved: some text\nx-other: 1\n");
  load();
  ASSERT_EQ(set_.modules.size(), 1u);
  const ModuleConfig& config = set_.modules[0];
  EXPECT_EQ(config.name, "a");
  EXPECT_EQ(config.path, path("lib/a.so"));
  EXPECT_TRUE(config.critical);
  EXPECT_TRUE(config.logCalls);
  EXPECT_TRUE(config.trustPolicy);
  EXPECT_EQ(config.priority, -5);
  EXPECT_TRUE(config.hasInitReserved);
  EXPECT_EQ(config.initReserved, "some text");
  EXPECT_EQ(config.values.at("x-other"), "1");
  EXPECT_EQ(config.files, std::vector<std::string>{path("package/a.module")});
  EXPECT_TRUE(set_.skipped.empty());
  EXPECT_TRUE(set_.warnings.empty());
}

TEST_F(ModuleConfigTest, HasDefaults) {
  write("package/a.module", "module: " + path("lib/a.so"));
  load();
  ASSERT_EQ(set_.modules.size(), 1u);
  const ModuleConfig& config = set_.modules[0];
  EXPECT_EQ(config.path, path("lib/a.so"));
  EXPECT_FALSE(config.critical || config.logCalls || config.trustPolicy || config.hasInitReserved);
  EXPECT_EQ(config.priority, 0);
}

TEST_F(ModuleConfigTest, MergesPerKeyUserOverSystemOverPackage) {
  write("package/a.module", "module: a.so\npriority: 1\nx-p: p\nx-all: p\n");
  write("system/a.module", "priority: 2\nx-s: s\nx-all: s\n");
  write("user/a.module", "x-all: u\n");
  load();
  ASSERT_EQ(set_.modules.size(), 1u);
  const ModuleConfig& config = set_.modules[0];
  std::map<std::string, std::string> expected = {
      {"module", "a.so"}, {"priority", "2"}, {"x-p", "p"}, {"x-s", "s"}, {"x-all", "u"}};
  EXPECT_EQ(config.values, expected);
  std::vector<std::string> files = {path("user/a.module"), path("system/a.module"),
                                    path("package/a.module")};
  EXPECT_EQ(config.files, files);
}

TEST_F(ModuleConfigTest, SortsByPriorityThenName) {
  write("package/z.module", "module: a.so\npriority: 10");
  write("package/b.module", "module: b.so");
  write("package/a.module", "module: c.so");
  load();
  ASSERT_EQ(set_.modules.size(), 3u);
  EXPECT_EQ(set_.modules[0].name, "z");
  EXPECT_EQ(set_.modules[1].name, "a");
  EXPECT_EQ(set_.modules[2].name, "b");
}

TEST_F(ModuleConfigTest, UserConfigModes) {
  write("package/a.module", "module: a.so");
  write("user/b.module", "module: b.so");
  auto names = [&](const std::string& system, const std::string& user) {
    write("system.conf", system);
    write("user.conf", user);
    load();
    std::string text;
    for (const ModuleConfig& each : set_.modules) text += each.name;
    return text;
  };
  EXPECT_EQ(names("", ""), "ab");
  EXPECT_EQ(names("user-config: merge", ""), "ab");
  EXPECT_EQ(names("user-config: none", "user-config: only"), "a");
  EXPECT_EQ(names("user-config: only", ""), "b");
  EXPECT_EQ(names("user-config: override", ""), "b");
  EXPECT_EQ(names("", "user-config: none"), "a");
  EXPECT_EQ(names("", "user-config: only"), "b");
  EXPECT_EQ(names("user-config: only", "user-config: merge"), "ab");
  EXPECT_TRUE(set_.warnings.empty());
  // A fault in the system's file must not let the user in; one in the user's changes nothing.
  EXPECT_EQ(names("user-config: nonee", ""), "a");
  EXPECT_EQ(set_.warnings.size(), 1u);
  EXPECT_EQ(set_.warnings[0].operation, path("system.conf:1"));
  EXPECT_EQ(names("user-config none", ""), "a");
  EXPECT_EQ(names("", "user-config: bad"), "ab");
  EXPECT_EQ(names("", "user-config: only\nnonsense"), "ab");
  EXPECT_EQ(set_.warnings.size(), 1u);
}

TEST_F(ModuleConfigTest, MergesGlobals) {
  write("system.conf", "x-a: s\nx-b: s\n");
  write("user.conf", "x-b: u\n");
  load();
  EXPECT_EQ(set_.global, (std::map<std::string, std::string>{{"x-a", "s"}, {"x-b", "u"}}));
  write("user.conf", "x-b: u\nuser-config: only\n");
  load();
  EXPECT_EQ(set_.global.count("x-a"), 0u);
  write("user.conf", "x-b: u\nuser-config: none\n");
  load();
  EXPECT_EQ(set_.global.at("x-b"), "s");
}

TEST_F(ModuleConfigTest, GlobalLogCallsOverridesTheModules) {
  write("package/a.module", "module: a.so\nlog-calls: yes");
  write("package/b.module", "module: b.so");
  write("system.conf", "log-calls: no");
  load();
  EXPECT_FALSE(module("a")->logCalls);
  write("system.conf", "log-calls: yes");
  load();
  EXPECT_TRUE(module("b")->logCalls);
  write("system.conf", "log-calls: true");
  load();
  EXPECT_FALSE(module("a")->logCalls);
  EXPECT_EQ(set_.warnings.size(), 1u);
}

TEST_F(ModuleConfigTest, DisabledModulesAreSkippedQuietly) {
  write("package/trust.module", "module: a.so\ncritical: yes\ndisable-in: p11-kit-proxy");
  write("package/other.module", "module: missing.so\ncritical: x\nenable-in: firefox");
  write("package/blank.module", "module:\n");
  load();
  EXPECT_TRUE(set_.modules.empty());
  EXPECT_TRUE(set_.warnings.empty());
  expectSkipped("trust", Kind::Disabled, path("package/trust.module:3"));
  EXPECT_TRUE(skipped("trust")->critical);
  expectSkipped("other", Kind::Disabled, path("package/other.module:3"));
  expectSkipped("blank", Kind::Disabled, path("package/blank.module:1"));
}

TEST_F(ModuleConfigTest, AdoptingFileEnablesWhateverTheProgram) {
  write("package/a.module", "module: a.so\ndisable-in: p11-kit-proxy");
  write("system/a.module", "enable-in: bulkhead");
  load("anything");
  EXPECT_NE(module("a"), nullptr);
  load("");
  EXPECT_NE(module("a"), nullptr);
}

TEST_F(ModuleConfigTest, DirectoriesInPlaceOfTheSearchPath) {
  write("package/p.module", "module: a.so");
  write("system/a.module", "module: a.so\npriority: 1");
  write("other/a.module", "priority: 3\ndisable-in: x");
  write("other/hidden.module", "module: b.so\ndisable-in: p11-kit-proxy");
  write("system.conf", "user-config: only");
  paths_.only = {path("other"), path("system")};
  load();
  ASSERT_EQ(set_.modules.size(), 1u);
  EXPECT_EQ(set_.modules[0].priority, 3);
  expectSkipped("hidden", Kind::Disabled, path("other/hidden.module:2"));
  EXPECT_TRUE(set_.warnings.empty());
  paths_.only = {path("not-there")};
  load();
  EXPECT_TRUE(set_.modules.empty());
  ASSERT_EQ(set_.warnings.size(), 1u);
  EXPECT_EQ(set_.warnings[0].code, ENOENT);
}

TEST_F(ModuleConfigTest, FaultDisablesOnlyThatModule) {
  write("package/good.module", "module: a.so");
  write("package/bad.module", "module: b.so\ncritical: yes\nnonsense\n[more]\n");
  write("package/section.module", "[s]\nmodule: b.so");
  write("package/large.module", std::string(70000, '#'));
  fs::create_symlink("nowhere", path("package/dangling.module"));
  fs::create_symlink("/dev/null", path("package/null.module"));
  ASSERT_EQ(::mkfifo(path("package/fifo.module").c_str(), 0600), 0);
  load();
  ASSERT_EQ(set_.modules.size(), 1u);
  EXPECT_EQ(set_.modules[0].name, "good");
  expectSkipped("bad", Kind::Error, path("package/bad.module:3"));
  expectSkipped("bad", Kind::Error, "1 more");
  EXPECT_TRUE(skipped("bad")->critical);
  EXPECT_EQ(skipped("bad")->files, std::vector<std::string>{path("package/bad.module")});
  expectSkipped("section", Kind::Error, path("package/section.module:1"));
  expectSkipped("large", Kind::Error, "64 KiB");
  expectSkipped("dangling", Kind::Error, path("package/dangling.module: a symbolic link"));
  expectSkipped("null", Kind::Error, "not a regular file");
  expectSkipped("fifo", Kind::Error, "not a regular file");
}

TEST_F(ModuleConfigTest, FaultInAnOverrideDisablesTheModule) {
  write("package/a.module", "module: a.so");
  write("user/a.module", "disable-in program");
  load();
  expectSkipped("a", Kind::Error, path("user/a.module:1"));
  EXPECT_EQ(skipped("a")->files.size(), 2u);
}

TEST_F(ModuleConfigTest, UnreadableFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  write("system/a.module", "module: a.so");
  write("user/b.module", "nonsense");
  fs::permissions(path("system/a.module"), fs::perms::none);
  fs::permissions(path("user/b.module"), fs::perms::none);
  load();
  expectSkipped("a", Kind::Error, path("system/a.module"));
  EXPECT_EQ(skipped("b"), nullptr);
}

TEST_F(ModuleConfigTest, NeedsAModule) {
  write("package/none.module", "priority: 1");
  write("package/empty.module", "");
  write("package/remote.module", "priority: 1\nremote: |cmd");
  write("package/both.module", "module: a.so\nremote: |cmd");
  load();
  expectSkipped("none", Kind::Error, path("package/none.module: no 'module'"));
  expectSkipped("empty", Kind::Error, "no 'module'");
  expectSkipped("remote", Kind::Error, path("package/remote.module:2: 'remote'"));
  EXPECT_NE(module("both"), nullptr);
  EXPECT_EQ(set_.warnings.size(), 1u);
}

TEST_F(ModuleConfigTest, NeedsARegularModule) {
  fs::create_directory(path("lib/dir.so"));
  write("package/missing.module", "# x\nmodule: missing.so");
  write("package/dir.module", "module: dir.so");
  write("package/device.module", "module: /dev/null");
  load();
  expectSkipped("missing", Kind::Error, path("package/missing.module:2"));
  expectSkipped("missing", Kind::Error, "No such file");
  expectSkipped("dir", Kind::Error, "is a directory");
  expectSkipped("device", Kind::Error, "not a regular file");
}

TEST_F(ModuleConfigTest, ReportsValuesItCannotUse) {
  write("package/a.module",
        "module: a.so\ncritical: true\ntrust-policy: YES\nlog-calls:\npriority: 7x\n");
  write("package/b.module", "module: b.so\npriority: 99999999999999999999999\n");
  write("package/c.module", "module: c.so\npriority: -\n");
  load();
  ASSERT_EQ(set_.modules.size(), 3u);
  EXPECT_FALSE(module("a")->critical || module("a")->trustPolicy || module("a")->logCalls);
  EXPECT_EQ(module("a")->priority, 7);
  EXPECT_EQ(module("b")->priority, 2147483647);
  EXPECT_EQ(module("c")->priority, 0);
  ASSERT_EQ(set_.warnings.size(), 6u);
  EXPECT_EQ(set_.warnings[0].operation, path("package/a.module:2"));
}

TEST_F(ModuleConfigTest, NamesAsP11KitMakesThem) {
  write("package/plain.conf", "module: a.so");
  write("package/_under.module", "module: b.so");
  write("package/with.dot-1.module", "module: c.so");
  for (const char* each : {"x.module~", ".x.module", "x.module.dpkg-old", "x.module.dpkg-new"}) {
    write(std::string("package/") + each, "nonsense");
  }
  fs::create_directory(path("package/d.module"));
  load();
  EXPECT_EQ(set_.modules.size(), 3u);
  EXPECT_NE(module("plain.conf"), nullptr);
  EXPECT_NE(module("_under.module"), nullptr);
  EXPECT_NE(module("with.dot-1"), nullptr);
  EXPECT_TRUE(set_.skipped.empty());
  EXPECT_TRUE(set_.warnings.empty());
}

TEST_F(ModuleConfigTest, SuffixWinsWithinADirectory) {
  write("package/a", "module: b.so\nx-y: 1");
  write("package/a.module", "module: a.so");
  load();
  ASSERT_EQ(set_.modules.size(), 1u);
  EXPECT_EQ(set_.modules[0].path, path("lib/a.so"));
  EXPECT_EQ(set_.modules[0].values.at("x-y"), "1");
}

TEST_F(ModuleConfigTest, NeverRecurses) {
  write("lib/libp11-kit.so.0.3.0", "");
  fs::create_symlink("libp11-kit.so.0.3.0", path("lib/innocent.so"));
  write("package/a.module", "module: /usr/lib/bulkhead-pkcs11.so");
  write("package/b.module", "module: libbulkhead.so.1");
  write("package/c.module", "module: p11-kit-proxy.so");
  write("package/d.module", "module: innocent.so");
  // What is behind its socket is another process's.
  write("package/e.module", "module: p11-kit-client.so");
  write("lib/p11-kit-client.so", "");
  write("package/f.module", "module: p11-kit-trust.so");
  write("lib/p11-kit-trust.so", "");
  load();
  for (const char* each : {"a", "b", "c", "d"}) {
    expectSkipped(each, Kind::Recursion, path("package/" + std::string(each) + ".module:1"));
  }
  EXPECT_NE(module("e"), nullptr);
  EXPECT_NE(module("f"), nullptr);
}

TEST_F(ModuleConfigTest, SameModuleTwice) {
  fs::create_symlink("a.so", path("lib/link.so"));
  write("package/a.module", "module: a.so");
  write("package/b.module", "module: link.so\npriority: 1");
  write("package/c.module", "module: a.so\nx-init-reserved: other");
  write("package/d.module", "module: a.so\nx-init-reserved:");
  load();
  EXPECT_EQ(set_.modules.size(), 3u);
  expectSkipped("a", Kind::Duplicate, "'b'");
  expectSkipped("a", Kind::Duplicate, path("package/a.module:1"));
  EXPECT_NE(module("d"), nullptr);
}

TEST_F(ModuleConfigTest, ReasonsStayOnOneLine) {
  write("package/bad\nname.module", "nonsense");
  write("package/c.module", "module: x\x01y");
  load();
  ASSERT_EQ(set_.skipped.size(), 2u);
  for (const SkippedModule& each : set_.skipped) {
    for (char c : each.reason) EXPECT_GE(c, ' ') << each.reason;
  }
}

TEST_F(ModuleConfigTest, BoundsTheNumberOfFiles) {
  for (int i = 0; i < 300; ++i) write("package/m" + std::to_string(i) + ".module", "module:");
  load();
  EXPECT_EQ(set_.skipped.size(), 256u);
  EXPECT_EQ(set_.warnings.size(), 1u);
}

TEST_F(ModuleConfigTest, NothingThere) {
  fs::remove_all(root_);
  load();
  EXPECT_TRUE(set_.modules.empty() && set_.skipped.empty() && set_.warnings.empty());
  set_ = loadModules({}, "x");
  EXPECT_TRUE(set_.modules.empty() && set_.skipped.empty() && set_.warnings.empty());
}

TEST_F(ModuleConfigTest, LeaksNoDescriptor) {
  write("package/a.module", "module: a.so");
  write("package/b.module", "nonsense");
  int before = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(before);
  for (int i = 0; i < 10; ++i) load();
  int after = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(after);
  EXPECT_EQ(before, after);
}

// Each runs as a program of its own, as it changes the environment and the user.
class PathsTest : public testing::Test {
 protected:
  static constexpr unsigned nobody = 65534;

  static void exitWith(bool good) { ::_exit(good ? 0 : 1); }

  static void dropRoot() {
    if (::getuid() == 0 && ::setresuid(nobody, nobody, nobody) != 0) ::_exit(2);
  }

  static void clear() {
    for (const char* each :
         {"P11_KIT_NO_USER_CONFIG", "XDG_CONFIG_HOME", "HOME", "BULKHEAD_MODULES"}) {
      ::unsetenv(each);
    }
  }
};

using PathsDeathTest = PathsTest;

TEST_F(PathsDeathTest, UserPlaces) {
  auto userModules = [](const char* home, const char* xdg) {
    clear();
    if (home) ::setenv("HOME", home, 1);
    if (xdg) ::setenv("XDG_CONFIG_HOME", xdg, 1);
    return ConfigPaths::fromEnvironment().userModules;
  };
  EXPECT_EXIT(
      {
        dropRoot();
        exitWith(userModules("/h", nullptr) == "/h/.config/pkcs11/modules" &&
                 userModules("/h", "") == "/h/.config/pkcs11/modules" &&
                 userModules("/h", "relative") == "/h/.config/pkcs11/modules" &&
                 userModules("/h", "/x/") == "/x/pkcs11/modules" &&
                 ConfigPaths::fromEnvironment().userConfig == "/x/pkcs11/pkcs11.conf");
      },
      testing::ExitedWithCode(0), "");
  EXPECT_EXIT(
      {
        dropRoot();
        clear();
        ::setenv("HOME", "/h", 1);
        ::setenv("P11_KIT_NO_USER_CONFIG", "", 1);
        exitWith(ConfigPaths::fromEnvironment().userModules.empty());
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(PathsDeathTest, RootHasNoUserPlaces) {
  if (::getuid() != 0) GTEST_SKIP() << "not root";
  EXPECT_EXIT(
      {
        clear();
        ::setenv("HOME", "/h", 1);
        ConfigPaths paths = ConfigPaths::fromEnvironment();
        exitWith(paths.userModules.empty() && paths.userConfig.empty() &&
                 !paths.systemConfig.empty());
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(PathsDeathTest, ListOfDirectories) {
  const std::vector<std::string> expected = {"/a", "/b"};
  EXPECT_EXIT(
      {
        clear();
        bool good = ConfigPaths::fromEnvironment().only.empty();
        ::setenv("BULKHEAD_MODULES", "/a::/b:", 1);
        good = good && ConfigPaths::fromEnvironment().only == expected;
        ::setenv("BULKHEAD_MODULES", "", 1);
        exitWith(good && ConfigPaths::fromEnvironment().only.empty());
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace bulkhead::proxy
