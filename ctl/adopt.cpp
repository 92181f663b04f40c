// SPDX-License-Identifier: BSD-2-Clause
//
// `adopt` and `release`: p11-kit shows a module with `enable-in: bulkhead` to nobody but bulkhead,
// and shows bulkhead in its place, by a .module file whose `x-init-reserved` has bulkhead leave out
// what p11-kit shows itself. So a token is seen once, whichever modules are adopted, and while that
// is being done: bulkhead's file is the first to be made and the last to be removed.
//
// The keys go into files in the administrator's directory, which p11-kit takes before the
// package's. A file of ours is known by its first line, and an addition to the operator's file by
// the line before it; nothing else is ever changed or removed.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <sstream>

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
// In the file that was the first in a directory which adopt made as well.
constexpr std::string_view DIRECTORY = "# Made with it: ";
constexpr const char* UNFINISHED = ".bulkheadctl.new";

struct Step {
  std::string module;
  std::string file;
  std::string action;  // created, extended, removed, restored; or why nothing was done
  bool done = false;
  bool failed = false;

  Step& fail(const std::string& why) {
    action = why;
    done = false;
    failed = true;
    return *this;
  }
};

// A link stays a link.
Result<std::string> resolved(const std::string& path) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(path, error))) return path;
  std::string real = fs::canonical(path, error).string();
  if (error) return Error{"resolve", error.value(), path};
  return real;
}

// Where a file's new text is until it takes its place. Neither p11-kit nor bulkhead reads a file
// whose name begins with a dot; one that is there already was left by somebody who was interrupted.
std::string unfinished(const std::string& real) {
  std::string path = (fs::path(real).parent_path() / UNFINISHED).string();
  (void)::unlink(path.c_str());
  return path;
}

// Replaces a file in one step, so that nobody ever reads half of it, and keeps its owner and mode.
Result<void> replace(const std::string& real, const std::string& text) {
  struct stat before {};
  bool there = ::stat(real.c_str(), &before) == 0;
  std::string beside = unfinished(real);
  Descriptor file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
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

// The directory of the files, of which there is one adopt or release at a time.
class Place {
 public:
  explicit Place(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string fileOf(const std::string& module) const { return path_ + "/" + module + ".module"; }

  // With `make`, makes what of it is not there; else that is nothing to lock.
  Result<void> lock(bool make) {
    std::vector<fs::path> missing;
    std::error_code error;
    if (make)
      for (fs::path one = path_; !one.empty() && !fs::exists(one, error); one = one.parent_path())
        missing.push_back(one);
    for (auto one = missing.rbegin(); one != missing.rend(); ++one) {
      if (::mkdir(one->c_str(), 0755) == 0)
        made_.insert(made_.begin(), one->string());
      else if (errno != EEXIST)
        return systemError("mkdir", one->string());
    }
    lock_ = Descriptor(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock_ && errno == ENOENT && !make) return {};
    if (!lock_) return systemError("open", path_);
    if (::flock(lock_.get(), LOCK_EX) != 0) return systemError("lock", path_);
    (void)unfinished(path_ + "/any");
    return {};
  }

  // The directories that lock() made, the innermost first, as the file of a module remembers them.
  std::string remembered() {
    std::string text;
    for (const std::string& one : made_) text += std::string(DIRECTORY) + one + "\n";
    made_.clear();
    return text;
  }

 private:
  std::string path_;
  Descriptor lock_;
  std::vector<std::string> made_;
};

std::string withKeys(const std::string& text, const std::string& keys) {
  if (text.empty() || text.ends_with('\n')) return text + std::string(ADDED) + keys;
  return text + std::string(ADDED_TO_OPEN_END) + keys;
}

constexpr std::string_view MODULE = "module: ";

// The line by which p11-kit loads bulkhead.
bool showsBulkhead(std::string_view line) {
  if (!line.starts_with(MODULE)) return false;
  line.remove_prefix(MODULE.size());
  return isBulkhead({{"module", std::string(line.substr(0, line.find('\n')))}});
}

// A line that adopt writes after one of its marks.
bool isOurs(std::string_view line) {
  return line == KEY || line.starts_with(DIRECTORY) || showsBulkhead(line);
}

// A file's text taken apart.
struct Parts {
  std::string ours;    // the lines between a mark and what follows them
  std::string theirs;  // what the file was before, with what was added since
  bool created = false;
};

// Nothing where the file holds nothing of ours.
std::optional<Parts> partsOf(const std::string& text) {
  auto oursFrom = [&](std::size_t begin, bool all) {
    std::size_t at = begin;
    while (at < text.size()) {
      std::size_t end = text.find('\n', at);
      end = end == std::string::npos ? text.size() : end + 1;
      if (!isOurs(std::string_view(text).substr(at, end - at))) break;
      at = end;
      if (!all) break;
    }
    return text.substr(begin, at - begin);
  };
  if (text.starts_with(OURS)) {
    std::string ours = oursFrom(OURS.size(), true);
    return Parts{ours, text.substr(OURS.size() + ours.size()), true};
  }
  for (std::string_view mark : {ADDED_TO_OPEN_END, ADDED}) {
    std::size_t at = text.find(mark);
    if (at == std::string::npos) continue;
    if (mark == ADDED && at != 0 && text[at - 1] != '\n') continue;
    std::string ours = oursFrom(at + mark.size(), false);
    if (ours.empty()) continue;
    std::string after = text.substr(at + mark.size() + ours.size());
    // Lines that the operator added since then must not join the one before.
    bool joins = mark == ADDED_TO_OPEN_END && !after.empty();
    return Parts{ours, text.substr(0, at) + (joins ? "\n" : "") + after, false};
  }
  return std::nullopt;
}

// Only names that p11-kit takes for a module's and that stay in the directory.
bool isModuleName(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos;
}

using Values = std::map<std::string, std::string>;

// Adds the keys to a module's file, which is made where there is none.
Step add(Place& place, const std::string& name, const std::string& keys, bool dryRun) {
  Step step{name, place.fileOf(name), {}};
  auto real = resolved(step.file);
  if (!real) return step.fail(real.error().message());
  auto text = readText(*real);
  if (!text && text.error().code != ENOENT) return step.fail(text.error().message());
  if (text && partsOf(*text)) {
    step.action = "adopted already";
    return step;
  }
  step.action = text ? "extended" : "created";
  step.done = true;
  if (dryRun) return step;
  auto written =
      replace(*real, text ? withKeys(*text, keys) : std::string(OURS) + place.remembered() + keys);
  if (!written) return step.fail(written.error().message());
  return step;
}

// Hides a module from everybody but bulkhead.
Step hide(Place& place, const std::string& name, const Values& values, bool dryRun) {
  Step step{name, place.fileOf(name), {}};
  if (!isModuleName(name)) return step.fail("no name of a module");
  auto text = readText(step.file);
  bool already = text && partsOf(*text);
  // Somebody chose who sees this module; with our key everybody that goes through bulkhead would.
  for (const char* key : {"enable-in", "disable-in"}) {
    auto set = values.find(key);
    if (set == values.end() || already) continue;
    if (set->first == "enable-in" && set->second == "bulkhead") {
      step.action = "shown to bulkhead only, without a doing of adopt";
      return step;
    }
    return step.fail(
        fmt::format("it has '{}: {}', which adopting would undo; add bulkhead to enable-in "
                    "by hand, or remove that key first",
                    key, set->second));
  }
  return add(place, name, std::string(KEY), dryRun);
}

// Makes p11-kit show bulkhead, which then leaves out what p11-kit shows itself. In this directory,
// whatever others have: who undoes what was done there doesn't know of this one.
std::vector<Step> showBulkhead(Place& place, const Inventory& inventory, bool dryRun) {
  auto keys = [](const std::string& module) { return std::string(MODULE) + module + "\n"; };
  std::string installed = adoptedModuleFile();
  std::error_code error;
  if (!fs::exists(installed, error))
    return {Step{"bulkhead", place.fileOf("bulkhead"), {}}.fail(installed + " is not there")};
  std::vector<Step> steps;
  for (const proxy::SkippedModule& one : inventory.skipped) {
    if (!isBulkhead(one.values)) continue;
    std::string module =
        showsAdoptedOnly(one.values) ? one.values.at("module") : adoptedModuleForP11Kit();
    steps.push_back(add(place, one.name, keys(module), dryRun));
  }
  if (steps.empty())
    steps.push_back(add(place, "bulkhead", keys(adoptedModuleForP11Kit()), dryRun));
  return steps;
}

Step releaseOne(const Place& place, const std::string& name, bool dryRun) {
  Step step{name, place.fileOf(name), {}};
  if (!isModuleName(name)) return step.fail("no name of a module");
  auto real = resolved(step.file);
  if (!real) return step.fail(real.error().message());
  auto text = readText(*real);
  if (!text && text.error().code != ENOENT) return step.fail(text.error().message());
  if (text && !dryRun) (void)unfinished(*real);
  auto parts = text ? partsOf(*text) : std::nullopt;
  if (!parts) {
    step.action = text ? "not adopted: nothing in it is of adopt's making" : "not adopted";
    return step;
  }
  step.done = true;
  // Where somebody added to our file, what is theirs stays.
  bool remove = parts->created && parts->theirs.empty();
  step.action = remove ? "removed" : "restored";
  if (dryRun) return step;
  if (!remove) {
    if (auto written = replace(*real, parts->theirs); !written)
      return step.fail(written.error().message());
    return step;
  }
  if (::unlink(real->c_str()) != 0) return step.fail(systemError("unlink", *real).message());
  std::istringstream lines(parts->ours);
  for (std::string line; std::getline(lines, line);)
    // One that somebody has use for is not empty, and stays.
    if (line.starts_with(DIRECTORY)) (void)::rmdir(line.substr(DIRECTORY.size()).c_str());
  return step;
}

// The modules whose files in the directory are of adopt's making, as a whole or in part: those that
// are hidden or, otherwise, those that show bulkhead.
std::vector<std::string> adopted(const Place& place, bool hidden) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(place.path(), error)) {
    std::string name = entry.path().filename().string();
    if (name.starts_with('.') || !name.ends_with(".module")) continue;
    auto text = readText(entry.path().string());
    auto parts = text ? partsOf(*text) : std::nullopt;
    if (parts && hidden == (parts->ours.find(MODULE) == std::string::npos))
      names.push_back(name.substr(0, name.size() - std::string_view(".module").size()));
  }
  std::sort(names.begin(), names.end());
  return names;
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

bool anyDone(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(), [](const Step& step) { return step.done; });
}

bool anyFailed(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(), [](const Step& step) { return step.failed; });
}

// The modules to adopt, each with all names that it goes by: hidden under one of them only, p11-kit
// would show it under another.
std::vector<Step> hideAll(Place& place, const Inventory& inventory, const AdoptOptions& what,
                          bool dryRun) {
  std::vector<Step> steps;
  auto withOtherNames = [&](const KnownModule& module) {
    steps.push_back(hide(place, module.config.name, module.config.values, dryRun));
    for (const proxy::SkippedModule& other : inventory.skipped)
      if (other.kind == proxy::SkippedModule::Kind::Duplicate &&
          sameModule(other.values, module.config))
        steps.push_back(hide(place, other.name, other.values, dryRun));
  };
  if (what.all)
    for (const KnownModule& module : inventory.modules) withOtherNames(module);
  for (const std::string& name : what.modules) {
    auto found = inventory.find(name);
    if (found)
      withOtherNames(**found);
    else
      steps.push_back(Step{name, place.fileOf(name), {}}.fail(found.error().detail));
  }
  return steps;
}

}  // namespace

int adopt(const Options& options, const AdoptOptions& what) {
  Place place(what.directory);
  auto cannot = [](const Error& error) {
    complain(error.message());
    return TROUBLE;
  };
  if (!what.dryRun)
    if (auto locked = place.lock(false); !locked) return cannot(locked.error());
  Inventory inventory = takeInventory(options.program);
  std::vector<Step> plan = hideAll(place, inventory, what, true);
  if (!anyDone(plan)) return tell(options, what, plan);
  std::vector<Step> steps = showBulkhead(place, inventory, true);
  if (anyFailed(steps)) return tell(options, what, steps);
  if (!what.dryRun) {
    if (auto locked = place.lock(true); !locked) return cannot(locked.error());
    steps = showBulkhead(place, inventory, false);
    if (anyFailed(steps)) return tell(options, what, steps);
    plan = hideAll(place, inventory, what, false);
  }
  steps.insert(steps.end(), plan.begin(), plan.end());
  return tell(options, what, steps);
}

int release(const Options& options, const AdoptOptions& what) {
  Place place(what.directory);
  if (!what.dryRun) {
    if (auto locked = place.lock(false); !locked) {
      complain(locked.error().message());
      return TROUBLE;
    }
  }
  // By what is in the directory: a module that is gone leaves its file behind.
  std::vector<std::string> remain = adopted(place, true);
  std::vector<std::string> showing = adopted(place, false);
  const std::vector<std::string> names = what.all ? remain : what.modules;
  std::vector<Step> steps;
  for (const std::string& name : names) {
    if (std::count(showing.begin(), showing.end(), name) != 0) continue;
    steps.push_back(releaseOne(place, name, what.dryRun));
    if (!steps.back().failed) std::erase(remain, name);
  }
  // Programs that see an adopted module see it by bulkhead.
  if (remain.empty())
    for (const std::string& name : showing) steps.push_back(releaseOne(place, name, what.dryRun));
  return tell(options, what, steps);
}

}  // namespace bulkhead::ctl
