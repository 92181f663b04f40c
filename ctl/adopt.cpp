// SPDX-License-Identifier: BSD-2-Clause
//
// `adopt` and `release`: p11-kit shows a module with `enable-in: bulkhead` to nobody but bulkhead.
// The key goes into a file of the module's name in the administrator's directory, whose keys
// p11-kit takes before the package's. A file of ours is known by its first line, and an addition to
// the operator's file by the line before it; nothing else is ever changed or removed.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/run.h"
#include "ctl/terminal.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view OURS =
    "# Made by bulkheadctl adopt; bulkheadctl release removes this file.\n";
constexpr std::string_view ADDED =
    "# Added by bulkheadctl adopt; bulkheadctl release removes these two lines.\n";
// The same for a file that did not end in a line break, which release has to take away again.
constexpr std::string_view ADDED_TO_OPEN_END =
    "\n# Added by bulkheadctl adopt to a file without a line break at its end; bulkheadctl release "
    "removes these two lines.\n";
constexpr std::string_view KEY = "enable-in: bulkhead\n";

struct Step {
  std::string module;
  std::string file;
  std::string action;  // created, extended, removed, restored; or why nothing was done
  bool done = false;
  bool failed = false;
};

// Replaces a file in one step, so that nobody ever reads half of it, and keeps its owner and mode.
Result<void> replace(const std::string& path, const std::string& text) {
  std::string real = path;
  std::error_code error;
  // A link stays a link.
  if (fs::is_symlink(fs::symlink_status(path, error))) {
    real = fs::canonical(path, error).string();
    if (error) return Error{"resolve", error.value(), path};
  }
  struct stat before {};
  bool there = ::stat(real.c_str(), &before) == 0;
  // Neither p11-kit nor bulkhead reads a file whose name begins with a dot.
  std::string beside = (fs::path(real).parent_path() / ".bulkheadctl.XXXXXX").string();
  Descriptor file(::mkostemp(beside.data(), O_CLOEXEC));
  if (!file) return systemError("create a file in", fs::path(real).parent_path().string());
  auto write = [&]() -> Result<void> {
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      return systemError("write", beside);
    if (::fchmod(file.get(), there ? before.st_mode & 07777 : 0644) != 0)
      return systemError("chmod", beside);
    if (there && (before.st_uid != ::geteuid() || before.st_gid != ::getegid()) &&
        ::fchown(file.get(), before.st_uid, before.st_gid) != 0)
      return systemError("chown", beside);
    if (::fsync(file.get()) != 0) return systemError("fsync", beside);
    if (::rename(beside.c_str(), real.c_str()) != 0) return systemError("rename", real);
    return {};
  };
  auto written = write();
  if (!written) (void)::unlink(beside.c_str());
  return written;
}

// What the file's text becomes with the key; nothing to do when it is there already.
std::string withKey(const std::string& text) {
  if (text.empty() || text.ends_with('\n')) return text + std::string(ADDED) + std::string(KEY);
  return text + std::string(ADDED_TO_OPEN_END) + std::string(KEY);
}

// What it was before adopt, or nothing where it holds nothing of ours.
std::optional<std::string> withoutKey(const std::string& text) {
  for (std::string_view mark : {ADDED_TO_OPEN_END, ADDED}) {
    std::string added = std::string(mark) + std::string(KEY);
    auto at = text.find(added);
    if (at == std::string::npos) continue;
    if (mark == ADDED && at != 0 && text[at - 1] != '\n') continue;
    // Lines that the operator added since then must not join the one before.
    bool last = at + added.size() == text.size();
    std::string between = mark == ADDED_TO_OPEN_END && !last ? "\n" : "";
    return text.substr(0, at) + between + text.substr(at + added.size());
  }
  return std::nullopt;
}

bool isOurs(const std::string& text) {
  return text == std::string(OURS) + std::string(KEY);
}

// Only names that p11-kit takes for a module's and that stay in the directory.
bool isModuleName(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos;
}

Step adoptOne(const std::string& directory, const std::string& name,
              const std::map<std::string, std::string>& values, bool dryRun) {
  std::string path = directory + "/" + name + ".module";
  Step step{name, path, {}};
  auto fail = [&](const std::string& why) {
    step.action = why;
    step.failed = true;
    return step;
  };
  if (!isModuleName(name)) return fail("no name of a module");
  std::error_code error;
  bool there = fs::exists(fs::symlink_status(path, error));
  std::string text;
  if (there) {
    auto read = readText(path);
    if (!read) return fail(read.error().message());
    text = *read;
    if (isOurs(text) || withoutKey(text)) {
      step.action = "adopted already";
      return step;
    }
  }
  // Somebody chose who sees this module; with our key everybody that goes through bulkhead would.
  for (const char* key : {"enable-in", "disable-in"}) {
    auto set = values.find(key);
    if (set == values.end()) continue;
    if (set->first == "enable-in" && set->second == "bulkhead") {
      step.action = "shown to bulkhead only, without a doing of adopt";
      return step;
    }
    return fail(
        fmt::format("it has '{}: {}', which adopting would undo; add bulkhead to enable-in "
                    "by hand, or remove that key first",
                    key, set->second));
  }
  step.action = there ? "extended" : "created";
  step.done = true;
  if (dryRun) return step;
  if (!there) fs::create_directories(directory, error);
  if (error) return fail(Error{"mkdir", error.value(), directory}.message());
  auto written = replace(path, there ? withKey(text) : std::string(OURS) + std::string(KEY));
  if (!written) {
    step.done = false;
    return fail(written.error().message());
  }
  return step;
}

Step releaseOne(const std::string& directory, const std::string& name, bool dryRun) {
  std::string path = directory + "/" + name + ".module";
  Step step{name, path, {}};
  auto fail = [&](const std::string& why) {
    step.action = why;
    step.failed = true;
    step.done = false;
    return step;
  };
  if (!isModuleName(name)) return fail("no name of a module");
  auto read = readText(path);
  if (!read && read.error().code == ENOENT) {
    step.action = "not adopted";
    return step;
  }
  if (!read) return fail(read.error().message());
  step.done = true;
  if (isOurs(*read)) {
    step.action = "removed";
    if (!dryRun && ::unlink(path.c_str()) != 0) return fail(systemError("unlink", path).message());
    return step;
  }
  // Somebody added to our file: what is theirs stays.
  std::string rest;
  if (read->starts_with(std::string(OURS) + std::string(KEY))) {
    rest = read->substr(OURS.size() + KEY.size());
  } else if (auto before = withoutKey(*read)) {
    rest = *before;
  } else {
    step.done = false;
    step.action = "not adopted: nothing in it is of adopt's making";
    return step;
  }
  step.action = "restored";
  if (dryRun) return step;
  if (auto written = replace(path, rest); !written) return fail(written.error().message());
  return step;
}

int tell(const Options& options, const AdoptOptions& what, const std::vector<Step>& steps) {
  bool failed = false;
  Json out = Json::array();
  Terminal terminal = Terminal::standardOutput();
  Table table({"MODULE", "ACTION", "FILE"});
  for (const Step& step : steps) {
    failed |= step.failed;
    out.push_back({{"module", step.module},
                   {"file", step.file},
                   {"changed", step.done && !what.dryRun},
                   {"failed", step.failed},
                   {"action", step.action}});
    if (step.failed)
      complain(fmt::format("{}: {}: {}", step.module, step.file, step.action));
    else
      table.add({{step.module, Style::Bold},
                 (what.dryRun && step.done ? "would be " : "") + step.action,
                 step.file});
  }
  if (options.json)
    printJson(out);
  else if (!table.empty())
    table.print(terminal);
  else if (steps.empty())
    terminal.print("Nothing to do.\n");
  return failed ? TROUBLE : SUCCESS;
}

}  // namespace

int adopt(const Options& options, const AdoptOptions& what) {
  Inventory inventory = takeInventory(options.program);
  std::vector<Step> steps;
  if (what.all) {
    for (const KnownModule& module : inventory.modules)
      steps.push_back(
          adoptOne(what.directory, module.config.name, module.config.values, what.dryRun));
    return tell(options, what, steps);
  }
  for (const std::string& name : what.modules) {
    auto found = inventory.find(name);
    if (found)
      steps.push_back(adoptOne(what.directory, name, (*found)->config.values, what.dryRun));
    else
      steps.push_back(
          {name, what.directory + "/" + name + ".module", found.error().detail, false, true});
  }
  return tell(options, what, steps);
}

int release(const Options& options, const AdoptOptions& what) {
  std::vector<std::string> names = what.modules;
  if (what.all) {
    // By what is in the directory: a module that is gone leaves its override behind.
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(what.directory, error)) {
      std::string name = entry.path().filename().string();
      if (name.starts_with('.') || !name.ends_with(".module")) continue;
      auto text = readText(entry.path().string());
      if (text && (text->starts_with(OURS) || withoutKey(*text)))
        names.push_back(name.substr(0, name.size() - std::string_view(".module").size()));
    }
    std::sort(names.begin(), names.end());
  }
  std::vector<Step> steps;
  for (const std::string& name : names)
    steps.push_back(releaseOne(what.directory, name, what.dryRun));
  return tell(options, what, steps);
}

}  // namespace bulkhead::ctl
