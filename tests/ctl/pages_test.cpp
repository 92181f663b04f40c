// SPDX-License-Identifier: BSD-2-Clause
//
// The manual against the code, both ways: what the code has stands in its page, and what a page has
// is in the code. The code's side is its tables, where it has some; else its text.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "sandbox/policy.h"
#include "sandbox/syscall_groups.h"

namespace {

namespace fs = std::filesystem;
using Words = std::set<std::string>;

std::string program;
const fs::path SOURCE = BULKHEAD_SOURCE;

std::string contentOf(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// What the first group of a pattern matches, everywhere in a text.
Words all(const std::string& text, const std::string& pattern) {
  Words found;
  std::regex regex(pattern);
  for (std::sregex_iterator one(text.begin(), text.end(), regex), end; one != end; ++one)
    found.insert((*one)[1]);
  return found;
}

std::vector<std::string> linesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string page(const std::string& name) {
  return contentOf(SOURCE / "data/man" / name);
}

// Between the heading and the next one of its kind.
std::string section(const std::string& text, const std::string& heading) {
  std::string out;
  std::string kind = heading.substr(0, 3);
  bool in = false;
  for (const std::string& line : linesOf(text)) {
    if (line.starts_with(".Sh") || line.starts_with(kind)) in = line == heading;
    if (in) out += line + "\n";
  }
  EXPECT_NE(out, "") << heading;
  return out;
}

std::string sources(std::initializer_list<const char*> folders) {
  std::string text;
  for (const char* folder : folders)
    for (const auto& entry : fs::directory_iterator(SOURCE / folder))
      if (entry.path().extension() == ".cpp" || entry.path().extension() == ".h")
        text += contentOf(entry.path());
  return text;
}

// ---- bulkhead.policy(5) ----

TEST(Pages, HaveThePolicysKeys) {
  Words documented;
  std::string name;
  for (const std::string& line : linesOf(page("bulkhead.policy.5"))) {
    if (line.starts_with(".Sh "))
      name = line.starts_with(".Sh [") ? line.substr(5, line.size() - 6) : "";
    if (name.empty() || !line.starts_with(".It Cm ")) continue;
    for (const std::string& key : all(line, "Cm ([A-Za-z]+)=")) documented.insert(name + "." + key);
  }
  auto keys = bulkhead::sandbox::policyKeys();
  EXPECT_EQ(documented, Words(keys.begin(), keys.end()));
  EXPECT_GE(documented.size(), 25U);
}

TEST(Pages, HaveTheLayersTheGroupsAndTheSockets) {
  std::string text = page("bulkhead.policy.5");
  Words layers, groups, sockets;
  for (std::string_view one : bulkhead::sandbox::LAYER_NAMES) layers.emplace(one);
  for (const auto& one : bulkhead::sandbox::syscallGroups()) groups.emplace(one.name);
  for (const auto& one : bulkhead::sandbox::NAMED_SOCKETS) sockets.emplace(one.name);
  EXPECT_EQ(all(section(text, ".Sh [Layers]"), "\\.It ([a-z-]+)\n"), layers);
  EXPECT_EQ(all(section(text, ".Sh [Syscalls]"), "\\.It (@[a-z-]+)\n"), groups);
  EXPECT_GE(layers.size(), 10U);
  EXPECT_GE(groups.size(), 8U);
  for (const std::string& one : sockets)
    EXPECT_NE(text.find(".Ql " + one), std::string::npos) << one;
}

// ---- bulkheadctl(1) ----

Words flagsOf(const std::string& line) {
  Words flags;
  for (const std::string& one : all(line, "(?:Fl|,) \\\\-([a-z-]+)")) flags.insert("--" + one);
  for (const std::string& one : all(line, "Fl ([a-z])\\b")) flags.insert("-" + one);
  return flags;
}

TEST(Pages, HaveTheCommandsWithTheirOptions) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen((program + " completion words").c_str(), "r"),
                                             ::pclose);
  ASSERT_NE(pipe, nullptr);
  std::string words;
  char buffer[256];
  while (std::fgets(buffer, sizeof buffer, pipe.get()) != nullptr) words += buffer;
  // The command "" is bulkheadctl itself.
  std::map<std::string, Words> code, documented;
  std::string command;
  for (const std::string& word : linesOf(words)) {
    if (!word.starts_with('-')) command = word;
    code[command];
    if (word.starts_with('-')) code[command].insert(word);
  }
  EXPECT_GE(code.size(), 11U) << words;

  std::string text = page("bulkheadctl.1");
  for (const std::string& line : linesOf(section(text, ".Sh OPTIONS")))
    if (line.starts_with(".It ")) documented[""].merge(flagsOf(line));
  Words explained;
  for (const std::string& line : linesOf(section(text, ".Sh COMMANDS"))) {
    if (line.starts_with(".It Fl ")) explained.merge(flagsOf(line));
    if (line.starts_with(".It Cm ")) documented[*all(line, "Cm ([a-z]+)").begin()] = flagsOf(line);
  }
  EXPECT_EQ(documented, code);
  // What several commands have is explained once, below them.
  for (const std::string& flag : explained) EXPECT_TRUE(code["adopt"].contains(flag)) << flag;
  EXPECT_EQ(explained, code["adopt"]);
}

// ---- bulkhead(7) ----

TEST(Pages, HaveTheEnvironmentsVariables) {
  Words read =
      all(sources({"ipc", "sandbox", "proxy", "worker", "ctl"}), "getenv\\(\\s*\"([A-Z0-9_]+)\"");
  Words described, mentioned;
  for (const auto& entry : fs::directory_iterator(SOURCE / "data/man")) {
    if (entry.path().extension() == ".build") continue;
    std::string text = contentOf(entry.path());
    for (const std::string& line : linesOf(text))
      if (line.starts_with(".It Ev ")) described.merge(all(line, "([A-Z][A-Z0-9_]+)"));
    mentioned.merge(all(text, "\\bEv (BULKHEAD_[A-Z0-9_]+)"));
  }
  EXPECT_EQ(described, read);
  EXPECT_GE(read.size(), 8U);
  for (const std::string& one : mentioned) EXPECT_TRUE(read.contains(one)) << one;
}

TEST(Pages, HaveTheKeysOfModuleFiles) {
  Words read = all(contentOf(SOURCE / "proxy/module_config.cpp"),
                   "(?:findSetting|valueOf)\\([a-z]+, \"([a-z-]+)\"");
  Words documented;
  for (const std::string& line : linesOf(section(page("bulkhead.7"), ".Ss Modules"))) {
    if (!line.starts_with(".Cm ")) continue;
    std::istringstream words(line.substr(4));
    for (std::string word; words >> word;)
      if (word.size() > 1) documented.insert(word);
  }
  EXPECT_EQ(documented, read);
  EXPECT_GE(read.size(), 9U);
}

// ---- bulkhead-worker(8) ----

TEST(Pages, HaveTheFieldsOfRecords) {
  Words fields = all(sources({"worker"}), "[({]\"(BULKHEAD_[A-Z_]+)\",");
  EXPECT_EQ(all(page("bulkhead-worker.8"), "(?:Dv|,) (BULKHEAD_[A-Z_]+)"), fields);
  EXPECT_GE(fields.size(), 10U);
}

// ---- the C API ----

TEST(Pages, HaveTheFunctionsAndFlagsOfTheLibrary) {
  std::string header = contentOf(SOURCE / "proxy/bulkhead.h");
  Words functions = all(header, "\n[a-zA-Z][^\n]*\\b(bulkhead_[a-z_]+)\\(");
  Words flags = all(header, "#define (BULKHEAD_[A-Z0-9_]+) ");
  Words names, files, described;
  for (const auto& entry : fs::directory_iterator(SOURCE / "data/man")) {
    if (entry.path().extension() != ".3" || entry.path().stem() == "bulkhead") continue;
    files.insert(entry.path().stem());
    std::string text = contentOf(entry.path());
    names.merge(all(text, "\\.Nm (bulkhead_[a-z_]+)"));
    described.merge(all(text, "\\.It Dv (BULKHEAD_[A-Z0-9_]+)"));
  }
  EXPECT_EQ(names, functions);
  EXPECT_EQ(files, functions);
  EXPECT_EQ(described, flags);
  EXPECT_GE(functions.size(), 12U);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc < 2) return 2;
  program = argv[1];
  return RUN_ALL_TESTS();
}
