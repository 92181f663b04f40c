// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/module_config.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <set>
#include <tuple>
#include <utility>

#include "ipc/descriptor.h"

#ifndef BULKHEAD_P11_SYSTEM_CONFIG
#define BULKHEAD_P11_SYSTEM_CONFIG "/etc/pkcs11/pkcs11.conf"
#endif
#ifndef BULKHEAD_P11_SYSTEM_MODULES
#define BULKHEAD_P11_SYSTEM_MODULES "/etc/pkcs11/modules"
#endif
#ifndef BULKHEAD_P11_PACKAGE_MODULES
#define BULKHEAD_P11_PACKAGE_MODULES "/usr/share/p11-kit/modules"
#endif
#ifndef BULKHEAD_P11_MODULE_PATH
#define BULKHEAD_P11_MODULE_PATH "/usr/lib/x86_64-linux-gnu/pkcs11"
#endif

namespace bulkhead::proxy {
namespace {

constexpr std::size_t maximumFileSize = 64 * 1024;
constexpr std::size_t maximumFiles = 256;
constexpr std::size_t maximumEntries = 4096;
constexpr std::size_t maximumFaults = 16;

// A value and where it was set.
struct Setting {
  std::string value;
  std::string file;
  std::size_t line = 0;

  std::string place() const { return file + ":" + std::to_string(line); }
};

using Settings = std::map<std::string, Setting, std::less<>>;

// A module while its files are being merged.
struct Candidate {
  Settings settings;
  std::vector<std::string> files;
  std::vector<Error> faults;
};

using Candidates = std::map<std::string, Candidate>;

struct FreeDeleter {
  void operator()(char* text) const { std::free(text); }
};

struct DirDeleter {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// The ctype functions follow the host's locale, and a value must not depend on that.
constexpr bool isSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}
constexpr bool isDigit(char c) {
  return c >= '0' && c <= '9';
}
constexpr bool isAlnum(char c) {
  return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && isSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && isSpace(text.back())) text.remove_suffix(1);
  return text;
}

// Makes text from a file or a file name fit into one line of a log.
std::string oneLine(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 200;
  std::string shown(text.substr(0, longest));
  if (text.size() > longest) shown += "...";
  return "'" + oneLine(std::move(shown)) + "'";
}

Error fault(std::string place, std::string detail, int code = 0) {
  return Error{oneLine(std::move(place)), code, std::move(detail)};
}

std::string_view baseName(std::string_view path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string joinPath(std::string_view directory, std::string_view name) {
  while (directory.size() > 1 && directory.back() == '/') directory.remove_suffix(1);
  std::string path(directory);
  if (!path.ends_with('/')) path += '/';
  path += name;
  return path;
}

// As p11-kit does it, a word with spaces of its own included; but p11-kit looks at the first
// occurrence only, and so does not find `a` in `ba a`.
bool isInList(std::string_view list, std::string_view word) {
  if (word.empty()) return false;
  auto isDelimiter = [](char c) { return c == ',' || isSpace(c); };
  for (std::size_t at = list.find(word); at != list.npos; at = list.find(word, at + 1)) {
    std::size_t end = at + word.size();
    if ((at == 0 || isDelimiter(list[at - 1])) && (end == list.size() || isDelimiter(list[end]))) {
      return true;
    }
  }
  return false;
}

std::vector<Error> parseSettings(std::string_view text, const std::string& file, Settings& out) {
  std::vector<Error> faults;
  std::size_t line = 0;
  auto report = [&](const char* what) {
    if (faults.size() < maximumFaults) {
      faults.push_back(fault(file + ":" + std::to_string(line), what));
    }
  };

  if (text.size() > maximumFileSize) {
    faults.push_back(fault(file, "larger than 64 KiB"));
    return faults;
  }

  while (!text.empty()) {
    ++line;
    std::size_t end = text.find('\n');
    std::string_view rest = trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);

    if (rest.empty() || rest.front() == '#') continue;
    if (rest.find('\0') != std::string_view::npos) {
      report("a NUL byte in the line");
    } else if (rest.starts_with("-----BEGIN ")) {
      report("a PEM block where 'key: value' is expected");
    } else if (rest.front() == '[') {
      report("a section header where 'key: value' is expected");
    } else if (std::size_t colon = rest.find(':'); colon == std::string_view::npos) {
      report("no colon in the line, 'key: value' is expected");
    } else if (colon == 0) {
      report("no key before the colon");
    } else {
      std::string key(trim(rest.substr(0, colon)));
      std::string value(trim(rest.substr(colon + 1)));
      out.insert_or_assign(std::move(key), Setting{std::move(value), file, line});
    }
  }
  return faults;
}

void addDefaults(Settings& settings, Settings defaults) {
  settings.merge(defaults);
}

std::map<std::string, std::string> plainValues(const Settings& settings) {
  std::map<std::string, std::string> values;
  for (const auto& [key, setting] : settings) values.emplace(key, setting.value);
  return values;
}

const Setting* findSetting(const Settings& settings, std::string_view key) {
  auto found = settings.find(key);
  return found == settings.end() ? nullptr : &found->second;
}

// The text of a configuration file below `directory`, or at `name` with AT_FDCWD.
Result<std::string> readFile(int directory, const char* name, const std::string& shownAs) {
  struct stat status;
  // Looked at before it is opened, as opening is not harmless for every kind of device.
  if (::fstatat(directory, name, &status, 0) != 0) {
    int code = errno;
    if (code == ENOENT && ::fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(status.st_mode)) {
      // ENOENT would read as "not there", which callers may be content with.
      return fault(shownAs, "a symbolic link to nowhere");
    }
    return fault(shownAs, "cannot be looked at", code);
  }
  if (S_ISDIR(status.st_mode)) return fault(shownAs, "cannot be read", EISDIR);
  if (!S_ISREG(status.st_mode)) return fault(shownAs, "not a regular file");

  Descriptor fd = aboveStandard(
      Descriptor(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)));
  if (!fd) return fault(shownAs, "cannot be opened", errno);
  if (::fstat(fd.get(), &status) != 0) return fault(shownAs, "cannot be looked at", errno);
  if (!S_ISREG(status.st_mode)) return fault(shownAs, "not a regular file");

  std::string text;
  char buffer[4096];
  for (;;) {
    ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fault(shownAs, "cannot be read", errno);
    if (got == 0) return text;
    text.append(buffer, static_cast<std::size_t>(got));
    // The parser refuses what is too large; reading on would only cost the host its memory.
    if (text.size() > maximumFileSize) return text;
  }
}

bool isDenied(const Error& error) {
  return error.code == EACCES || error.code == EPERM;
}
bool isMissing(const Error& error) {
  return error.code == ENOENT || error.code == ENOTDIR;
}

// What editors and package managers leave behind next to the real file.
bool isBackup(std::string_view name) {
  return name.starts_with('.') || name.ends_with('~') ||
         name.find(".dpkg-") != std::string_view::npos;
}

// p11-kit takes off the suffix only from names of these characters, and takes others whole.
bool hasModuleSuffix(std::string_view name) {
  constexpr std::string_view suffix = ".module";
  if (name.size() <= suffix.size() || !name.ends_with(suffix) || !isAlnum(name.front())) {
    return false;
  }
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return isAlnum(c) || c == '_' || c == '-' || c == '.'; });
}

std::string moduleName(std::string_view file) {
  if (hasModuleSuffix(file)) file.remove_suffix(std::string_view(".module").size());
  return std::string(file);
}

enum class Directory { Default, User, Explicit };

// Merges a directory's files under what is in `candidates` already.
void readDirectory(const std::string& directory, Directory kind, Candidates& candidates,
                   std::vector<Error>& warnings) {
  if (directory.empty()) return;
  Descriptor fd = aboveStandard(
      Descriptor(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK)));
  std::unique_ptr<DIR, DirDeleter> dir(fd ? ::fdopendir(fd.get()) : nullptr);
  if (!dir) {
    Error error = fault(directory, "the directory cannot be read", errno);
    bool expected = (kind != Directory::Explicit && isMissing(error)) ||
                    (kind == Directory::User && isDenied(error));
    if (!expected) warnings.push_back(std::move(error));
    return;
  }
  int number = fd.release();

  // Sorted, as the order of readdir() must not decide about anything. Of two files with one name
  // the one with the suffix comes first, and so wins.
  std::set<std::tuple<std::string, bool, std::string>> names;
  std::size_t entries = 0;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (!entry) {
      if (errno != 0) warnings.push_back(fault(directory, "the directory cannot be read", errno));
      break;
    }
    if (++entries > maximumEntries) {
      warnings.push_back(fault(directory, "too many entries in the directory, ignoring some"));
      break;
    }
    std::string file = entry->d_name;
    if (isBackup(file)) continue;
    // p11-kit passes over directories whatever their name is.
    struct stat status;
    if (::fstatat(number, file.c_str(), &status, 0) == 0 && S_ISDIR(status.st_mode)) continue;
    names.emplace(moduleName(file), !hasModuleSuffix(file), std::move(file));
  }

  std::size_t files = 0;
  for (const auto& [name, whole, file] : names) {
    if (++files > maximumFiles) {
      warnings.push_back(fault(directory, "more than 256 files in the directory, ignoring some"));
      break;
    }
    std::string path = joinPath(directory, file);
    Result<std::string> text = readFile(number, file.c_str(), path);
    if (!text) {
      // Gone since readdir(), or out of a confined program's reach: p11-kit takes both as nothing.
      if (text.error().code == ENOENT) continue;
      if (kind == Directory::User && isDenied(text.error())) continue;
    }

    Candidate& candidate = candidates[name];
    candidate.files.push_back(path);
    if (!text) {
      candidate.faults.push_back(text.error());
      continue;
    }
    Settings settings;
    for (Error& error : parseSettings(*text, path, settings)) {
      candidate.faults.push_back(std::move(error));
    }
    addDefaults(candidate.settings, std::move(settings));
  }
}

enum class UserMode { None, Merge, Only };

// The mode a `user-config` sets; nothing changes where there is none.
bool readUserMode(const Settings& settings, UserMode& mode, std::vector<Error>& warnings) {
  const Setting* setting = findSetting(settings, "user-config");
  if (!setting) return true;
  if (setting->value == "none") {
    mode = UserMode::None;
  } else if (setting->value == "merge") {
    mode = UserMode::Merge;
  } else if (setting->value == "only" || setting->value == "override") {
    mode = UserMode::Only;
  } else {
    warnings.push_back(fault(
        setting->place(), "'user-config' is none of none, merge, only: " + quoted(setting->value)));
    return false;
  }
  return true;
}

// Reads a `pkcs11.conf`. False when it is there and has a fault.
bool readGlobals(const std::string& path, bool user, Settings& out, std::vector<Error>& warnings) {
  if (path.empty()) return true;
  Result<std::string> text = readFile(AT_FDCWD, path.c_str(), path);
  if (!text) {
    if (isMissing(text.error()) || (user && isDenied(text.error()))) return true;
    warnings.push_back(text.error());
    return false;
  }
  std::vector<Error> faults = parseSettings(*text, path, out);
  bool good = faults.empty();
  for (Error& error : faults) warnings.push_back(std::move(error));
  return good;
}

UserMode loadGlobals(const ConfigPaths& paths, Settings& global, std::vector<Error>& warnings) {
  UserMode mode = UserMode::Merge;
  bool good = readGlobals(paths.systemConfig, false, global, warnings);
  good = readUserMode(global, mode, warnings) && good;
  // p11-kit loads nothing at all then. The line that cannot be read may be the one that keeps the
  // user out, so that is what it is taken for.
  if (!good) mode = UserMode::None;
  if (mode == UserMode::None) return mode;

  Settings user;
  UserMode userMode = mode;
  if (!readGlobals(paths.userConfig, true, user, warnings)) return mode;
  if (!readUserMode(user, userMode, warnings)) user.erase("user-config");
  if (userMode == UserMode::Merge) addDefaults(user, std::move(global));
  if (userMode != UserMode::None) global = std::move(user);
  return userMode;
}

bool readBoolean(const Setting* setting, std::string_view key, std::vector<Error>& warnings) {
  if (!setting || setting->value == "no") return false;
  if (setting->value == "yes") return true;
  warnings.push_back(fault(setting->place(), quoted(key) + " is neither yes nor no, taken as no: " +
                                                 quoted(setting->value)));
  return false;
}

// What atoi() makes of it, except that a value out of range is defined.
int readPriority(const Setting* setting, std::vector<Error>& warnings) {
  if (!setting) return 0;
  std::string_view text = setting->value;
  bool negative = text.starts_with('-');
  std::size_t at = negative || text.starts_with('+') ? 1 : 0;
  std::size_t first = at;
  long long number = 0;
  bool inRange = true;
  for (; at < text.size() && isDigit(text[at]); ++at) {
    if (number <= INT_MAX) number = number * 10 + (text[at] - '0');
  }
  if (negative) number = -number;
  if (number > INT_MAX || number < INT_MIN) {
    number = negative ? INT_MIN : INT_MAX;
    inRange = false;
  }
  if (at == first || at != text.size() || !inRange) {
    warnings.push_back(fault(setting->place(), "'priority' is not a number in range, taken as " +
                                                   std::to_string(number) + ": " + quoted(text)));
  }
  return static_cast<int>(number);
}

bool loadsAllModules(std::string_view path) {
  std::string_view name = baseName(path);
  return isBulkheadFile(name) || name == "p11-kit-proxy.so" || name.starts_with("libp11-kit.so");
}

std::string summary(const std::vector<Error>& faults) {
  std::string text = faults.front().message();
  if (faults.size() > 1) text += " (and " + std::to_string(faults.size() - 1) + " more)";
  return text;
}

// Where a module is, or why it is none to be loaded.
struct Location {
  std::string path;  // absolute
  std::string file;  // the same without symbolic links
  SkippedModule::Kind kind = SkippedModule::Kind::Error;
  std::string fault;
};

Location locate(std::string_view module, const ConfigPaths& paths) {
  Location location;
  if (module.starts_with('/')) {
    location.path = module;
  } else if (paths.modulePath.empty()) {
    location.fault = "no directory to look for " + quoted(module) + " in";
    return location;
  } else {
    location.path = joinPath(paths.modulePath, module);
  }

  const std::string shown = quoted(location.path);
  // By its name first, so that it is told for what it is even where it is not installed.
  constexpr const char* recursion = " would load all modules once more, and is never loaded";
  if (loadsAllModules(location.path)) {
    location.kind = SkippedModule::Kind::Recursion;
    location.fault = shown + recursion;
    return location;
  }
  std::unique_ptr<char, FreeDeleter> file(::realpath(location.path.c_str(), nullptr));
  struct stat status;
  if (!file || ::stat(file.get(), &status) != 0) {
    location.fault = Error{shown, errno, {}}.message();
    return location;
  }
  location.file = file.get();
  if (loadsAllModules(location.file)) {
    location.kind = SkippedModule::Kind::Recursion;
    location.fault = shown + " is " + quoted(location.file) + ", which" + recursion;
  } else if (!S_ISREG(status.st_mode)) {
    location.fault =
        shown + (S_ISDIR(status.st_mode) ? " is a directory" : " is not a regular file");
  }
  return location;
}

// A module that passed every check but the one for duplicates.
struct Resolved {
  ModuleConfig config;
  std::string realPath;
  std::string place;
};

// Decides about one module and adds it to either list.
void decide(const std::string& name, Candidate& candidate, const Settings& global,
            const ConfigPaths& paths, std::string_view program, std::vector<Resolved>& resolved,
            ModuleSet& set) {
  const Settings& settings = candidate.settings;
  std::vector<Error> remarks;
  ModuleConfig config;
  config.name = name;
  config.values = plainValues(settings);
  config.files = candidate.files;
  config.critical = readBoolean(findSetting(settings, "critical"), "critical", remarks);

  auto skip = [&](SkippedModule::Kind kind, std::string reason) {
    set.skipped.push_back({name, kind, oneLine(std::move(reason)), std::move(config.files),
                           std::move(config.values), config.critical});
  };
  using Kind = SkippedModule::Kind;

  // Before anything else: what a file with a fault was meant to say is not known.
  if (!candidate.faults.empty()) return skip(Kind::Error, summary(candidate.faults));

  if (!isEnabledFor(config.values, program)) {
    // The list that decided: enable-in is the one that does if both are there, but for our name.
    const Setting* list = findSetting(settings, "enable-in");
    const char* key = "enable-in";
    const Setting* disabled = findSetting(settings, "disable-in");
    if (!list || (disabled && isInList(disabled->value, bulkheadProgram))) {
      list = disabled;
      key = "disable-in";
    }
    return skip(Kind::Disabled, list->place() + ": '" + key + "' hides it from " +
                                    quoted(program.empty() ? "this program" : program));
  }

  // A disabled module's slips are of no interest, so they are reported only from here on.
  auto warn = [&] {
    for (Error& error : remarks) set.warnings.push_back(std::move(error));
    remarks.clear();
  };
  warn();

  const Setting* module = findSetting(settings, "module");
  const Setting* remote = findSetting(settings, "remote");
  if (!module) {
    if (remote) {
      return skip(Kind::Error,
                  remote->place() + ": 'remote' is not supported, and there is no 'module'");
    }
    return skip(Kind::Error, candidate.files.front() + ": no 'module' is set");
  }
  if (module->value.empty()) {
    return skip(Kind::Disabled, module->place() + ": a blank 'module' disables it");
  }
  std::string place = module->place() + ": ";
  Location location = locate(module->value, paths);
  if (!location.fault.empty()) return skip(location.kind, place + location.fault);
  config.path = std::move(location.path);

  if (remote) {
    remarks.push_back(fault(remote->place(), "'remote' is not supported, 'module' is used"));
  }
  if (const Setting* reserved = findSetting(settings, "x-init-reserved")) {
    config.initReserved = reserved->value;
    config.hasInitReserved = true;
  }
  const Setting* globalLog = findSetting(global, "log-calls");
  // A bad global value is reported once and not per module, see loadChecked().
  config.logCalls = globalLog
                        ? globalLog->value == "yes"
                        : readBoolean(findSetting(settings, "log-calls"), "log-calls", remarks);
  config.trustPolicy = readBoolean(findSetting(settings, "trust-policy"), "trust-policy", remarks);
  config.adopted = isAdopted(config.values, program);
  config.priority = readPriority(findSetting(settings, "priority"), remarks);
  warn();
  resolved.push_back({std::move(config), std::move(location.file), std::move(place)});
}

// Moves the modules into the set, highest first, without those that are there twice.
void dropDuplicates(std::vector<Resolved>& resolved, ModuleSet& set) {
  std::sort(resolved.begin(), resolved.end(), [](const Resolved& a, const Resolved& b) {
    if (a.config.priority != b.config.priority) return a.config.priority > b.config.priority;
    return a.config.name < b.config.name;
  });
  std::map<std::tuple<std::string, bool, std::string>, std::string> seen;
  for (Resolved& each : resolved) {
    ModuleConfig& config = each.config;
    auto [first, added] = seen.try_emplace(
        std::make_tuple(each.realPath, config.hasInitReserved, config.initReserved), config.name);
    if (added) {
      set.modules.push_back(std::move(config));
    } else {
      std::string reason = each.place + quoted(config.path) + " is the module of " +
                           quoted(first->second) + " with the same 'x-init-reserved'";
      set.skipped.push_back({std::move(config.name), SkippedModule::Kind::Duplicate,
                             oneLine(std::move(reason)), std::move(config.files),
                             std::move(config.values), config.critical});
    }
  }
}

ModuleSet loadChecked(const ConfigPaths& paths, std::string_view program) {
  ModuleSet set;
  Settings global;
  UserMode mode = loadGlobals(paths, global, set.warnings);
  set.global = plainValues(global);
  readBoolean(findSetting(global, "log-calls"), "log-calls", set.warnings);

  Candidates candidates;
  if (!paths.only.empty()) {
    for (const std::string& directory : paths.only) {
      readDirectory(directory, Directory::Explicit, candidates, set.warnings);
    }
  } else {
    if (mode != UserMode::None) {
      readDirectory(paths.userModules, Directory::User, candidates, set.warnings);
    }
    if (mode != UserMode::Only) {
      readDirectory(paths.systemModules, Directory::Default, candidates, set.warnings);
      readDirectory(paths.packageModules, Directory::Default, candidates, set.warnings);
    }
  }

  std::vector<Resolved> resolved;
  for (auto& [name, candidate] : candidates) {
    decide(name, candidate, global, paths, program, resolved, set);
  }
  dropDuplicates(resolved, set);
  std::sort(set.skipped.begin(), set.skipped.end(),
            [](const SkippedModule& a, const SkippedModule& b) { return a.name < b.name; });
  return set;
}

FoundModule foundAs(ModuleConfig config, bool configured, std::string file, const ModuleSet& set) {
  FoundModule found{std::move(config), configured, std::move(file), {}};
  for (const ModuleConfig& each : set.modules) found.names.insert(each.name);
  for (const SkippedModule& each : set.skipped) found.names.insert(each.name);
  return found;
}

Result<FoundModule> findChecked(const ConfigPaths& paths, std::string_view program,
                                std::string_view wanted) {
  ModuleSet set = loadChecked(paths, program);
  for (const ModuleConfig& config : set.modules) {
    if (config.name == wanted) return foundAs(config, true, {}, set);
  }
  for (const SkippedModule& skipped : set.skipped) {
    if (skipped.name == wanted) return fault("module " + quoted(wanted), skipped.reason);
  }

  if (wanted.empty()) return fault("module ''", "no name and no path");
  Location location = locate(wanted, paths);
  if (!location.fault.empty()) {
    bool isName = wanted.find('/') == std::string_view::npos;
    return fault("module " + quoted(wanted),
                 (isName ? "not configured, and " : "") + location.fault);
  }
  for (const ModuleConfig& config : set.modules) {
    std::unique_ptr<char, FreeDeleter> file(::realpath(config.path.c_str(), nullptr));
    if (file && location.file == file.get()) return foundAs(config, true, location.file, set);
  }
  ModuleConfig config;
  config.name = baseName(location.file);
  config.path = std::move(location.path);
  config.values.emplace("module", config.path);
  return foundAs(std::move(config), false, std::move(location.file), set);
}

// The user's home as the password database has it. It is asked only without a HOME, as it may load
// name service modules into the host.
std::string homeFromDatabase() {
  std::vector<char> buffer(1024);
  for (;;) {
    passwd entry;
    passwd* found = nullptr;
    int code = ::getpwuid_r(::getuid(), &entry, buffer.data(), buffer.size(), &found);
    if (code == 0) return found && found->pw_dir ? found->pw_dir : "";
    if (code == EINTR) continue;
    if (code != ERANGE || buffer.size() >= 1024 * 1024) return "";
    buffer.resize(buffer.size() * 2);
  }
}

// The directory of the user's pkcs11.conf, empty if there is none to be found.
std::string userDirectory() {
  // Relative to wherever the program happens to be is no place for configuration, and the
  // specification of XDG_CONFIG_HOME says to ignore it.
  const char* config = ::secure_getenv("XDG_CONFIG_HOME");
  if (config && config[0] == '/') return joinPath(config, "pkcs11");
  const char* variable = ::secure_getenv("HOME");
  std::string home = variable && variable[0] == '/' ? variable : homeFromDatabase();
  return home.starts_with('/') ? joinPath(home, ".config/pkcs11") : std::string();
}

ConfigPaths pathsFromEnvironment() {
  ConfigPaths paths;
  paths.systemConfig = BULKHEAD_P11_SYSTEM_CONFIG;
  paths.packageModules = BULKHEAD_P11_PACKAGE_MODULES;
  paths.systemModules = BULKHEAD_P11_SYSTEM_MODULES;
  paths.modulePath = BULKHEAD_P11_MODULE_PATH;
  if (::getauxval(AT_SECURE) == 0 && ::getuid() != 0 && !::getenv("P11_KIT_NO_USER_CONFIG")) {
    std::string directory = userDirectory();
    if (!directory.empty()) {
      paths.userConfig = joinPath(directory, "pkcs11.conf");
      paths.userModules = joinPath(directory, "modules");
    }
  }
  const char* variable = ::secure_getenv("BULKHEAD_MODULES");
  std::string_view list = variable ? variable : "";
  while (!list.empty()) {
    std::size_t end = list.find(':');
    if (end != 0) paths.only.emplace_back(list.substr(0, end));
    list.remove_prefix(end == std::string_view::npos ? list.size() : end + 1);
  }
  return paths;
}

}  // namespace

ConfigPaths ConfigPaths::fromEnvironment() noexcept {
  try {
    return pathsFromEnvironment();
  } catch (...) {
    return {};
  }
}

ModuleSet loadModules(const ConfigPaths& paths, std::string_view programName) noexcept {
  try {
    return loadChecked(paths, programName);
  } catch (...) {
  }
  ModuleSet set;
  try {
    // Short enough to need no memory of its own.
    set.warnings.push_back(Error{"load modules", ENOMEM, {}});
  } catch (...) {
  }
  return set;
}

Result<FoundModule> findModule(const ConfigPaths& paths, std::string_view programName,
                               std::string_view nameOrPath) noexcept {
  try {
    return findChecked(paths, programName, nameOrPath);
  } catch (...) {
  }
  // Short enough to need no memory of its own.
  return Error{"load module", ENOMEM, {}};
}

namespace {

// Found without making a key, as that could fail for want of memory.
const std::string* valueOf(const std::map<std::string, std::string>& values, std::string_view key) {
  for (const auto& [name, value] : values)
    if (name == key) return &value;
  return nullptr;
}

}  // namespace

bool isBulkheadFile(std::string_view name) noexcept {
  return name == "bulkhead-pkcs11.so" || name == "bulkhead-adopted.so" ||
         name.starts_with("libbulkhead.so");
}

bool isEnabledFor(const std::map<std::string, std::string>& values,
                  std::string_view program) noexcept {
  const std::string* enableIn = valueOf(values, "enable-in");
  const std::string* disableIn = valueOf(values, "disable-in");
  if (enableIn && isInList(*enableIn, bulkheadProgram)) return true;
  if (disableIn && isInList(*disableIn, bulkheadProgram)) return false;
  if (enableIn) return isInList(*enableIn, program) || isInList(*enableIn, p11KitProxyProgram);
  if (disableIn) return !isInList(*disableIn, program) && !isInList(*disableIn, p11KitProxyProgram);
  return true;
}

bool isShownByP11Kit(const std::map<std::string, std::string>& values,
                     std::string_view program) noexcept {
  const std::string* module = valueOf(values, "module");
  if (module && module->empty()) return false;
  if (const std::string* enableIn = valueOf(values, "enable-in"))
    return isInList(*enableIn, program) || isInList(*enableIn, p11KitProxyProgram);
  const std::string* disableIn = valueOf(values, "disable-in");
  return !disableIn || !isInList(*disableIn, program);
}

bool isAdopted(const std::map<std::string, std::string>& values,
               std::string_view program) noexcept {
  return isEnabledFor(values, program) && !isShownByP11Kit(values, program);
}

std::string programNameFrom(std::string_view invocation, std::string_view executable) noexcept {
  try {
    if (invocation.find('/') != std::string_view::npos && !executable.empty() &&
        invocation.starts_with(executable)) {
      return std::string(baseName(executable));
    }
    return std::string(baseName(invocation));
  } catch (...) {
    return {};
  }
}

std::string programName() noexcept {
  const char* invocation = program_invocation_name;
  if (!invocation) return {};
  std::unique_ptr<char, FreeDeleter> executable;
  if (invocation[0] == '/') executable.reset(::realpath("/proc/self/exe", nullptr));
  // A program may have set this one itself, which p11-kit respects as well.
  const char* given = program_invocation_short_name;
  std::string_view path = executable ? executable.get() : "";
  if (!path.empty() && std::string_view(invocation).starts_with(path)) {
    return programNameFrom(invocation, path);
  }
  return programNameFrom(given ? given : invocation, {});
}

std::vector<Error> parseModuleText(std::string_view text, const std::string& name,
                                   std::map<std::string, std::string>& out) noexcept {
  try {
    Settings settings;
    std::vector<Error> faults = parseSettings(text, name, settings);
    for (auto& [key, setting] : settings) out.insert_or_assign(key, std::move(setting.value));
    return faults;
  } catch (...) {
  }
  std::vector<Error> faults;
  try {
    faults.push_back(Error{"parse", ENOMEM, {}});
  } catch (...) {
  }
  return faults;
}

}  // namespace bulkhead::proxy
