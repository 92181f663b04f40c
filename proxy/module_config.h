// SPDX-License-Identifier: BSD-2-Clause
//
// The modules to stand in for, as p11-kit's `pkcs11.conf` and `.module` files name them: where the
// files are, how they merge, and which of them apply to the program at hand. Unlike in p11-kit, a
// fault in a file costs the one module of that file's name and is reported with file and line.
//
// This runs inside other people's programs: nothing here throws, links more than libc, or changes
// the locale, the working directory or the environment. Every function is safe to call from any
// thread as long as no other thread changes the environment at the same time.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/result.h"

namespace bulkhead::proxy {

/// The pseudo program that stands for bulkhead in `enable-in` and `disable-in`.
inline constexpr std::string_view bulkheadProgram = "bulkhead";

/// The pseudo program that stands for p11-kit's proxy, whose place bulkhead takes.
inline constexpr std::string_view p11KitProxyProgram = "p11-kit-proxy";

/// A module to load.
struct ModuleConfig {
  /// The file name without `.module`, or all of it where p11-kit takes it whole.
  std::string name;
  /// The module: as configured when absolute, else below the module directory.
  std::string path;
  /// The value of `x-init-reserved`; only with hasInitReserved, and it may be empty even then.
  std::string initReserved;
  bool hasInitReserved = false;
  bool critical = false;
  bool logCalls = false;
  bool trustPolicy = false;
  /// isAdopted() says so.
  bool adopted = false;
  int priority = 0;
  /// Every key after merging, known or not.
  std::map<std::string, std::string> values;
  /// The files it was merged from, the one that wins first.
  std::vector<std::string> files;

  bool operator==(const ModuleConfig&) const = default;
};

/// A configured module that is not to be loaded.
struct SkippedModule {
  enum class Kind {
    Disabled,   ///< The configuration says so: enable-in, disable-in or a blank `module:`.
    Recursion,  ///< It is bulkhead or a part of p11-kit that would load all modules once more.
    Duplicate,  ///< Another name with the same module and x-init-reserved comes before it.
    Error,      ///< It is broken or not supported; the only kind worth a line in a log.
  };

  std::string name;
  Kind kind = Kind::Error;
  /// One line without a line break, with file and line where they apply.
  std::string reason;
  std::vector<std::string> files;
  /// Every key after merging, as far as its files could be read.
  std::map<std::string, std::string> values;
  /// As far as its files could be read: `critical: yes` was asked for.
  bool critical = false;
};

/// Everything the configuration says.
struct ModuleSet {
  /// By priority, highest first, then by name.
  std::vector<ModuleConfig> modules;
  /// By name.
  std::vector<SkippedModule> skipped;
  /// The keys of `pkcs11.conf`, system and user merged as `user-config` has it.
  std::map<std::string, std::string> global;
  /// What is wrong without costing a module: a bad boolean, a directory that cannot be read, a
  /// fault in `pkcs11.conf`. `operation` is the file and line or the directory.
  std::vector<Error> warnings;
};

/// Where the configuration is. An empty member is a place that is not looked at.
struct ConfigPaths {
  std::string systemConfig;
  std::string userConfig;
  std::string packageModules;
  std::string systemModules;
  std::string userModules;
  /// The directory a relative `module:` is below.
  std::string modulePath;
  /// Directories to read in place of the three above; merged per key, earlier ones win.
  std::vector<std::string> only;

  /// The built-in places; `only` from BULKHEAD_MODULES, which is ignored under AT_SECURE. The
  /// user's places are empty where p11-kit ignores them: under AT_SECURE, for uid 0 and with
  /// P11_KIT_NO_USER_CONFIG in the environment. They are below XDG_CONFIG_HOME or ~/.config; a
  /// relative XDG_CONFIG_HOME or HOME is ignored. All empty when memory runs out.
  static ConfigPaths fromEnvironment() noexcept;
};

/// Reads and merges the configuration and decides what `programName` gets to see. Does not open any
/// module, but sees to it that each is a regular file. Faults end up in `skipped` and `warnings`;
/// when memory runs out the set is empty but for a warning with ENOMEM.
ModuleSet loadModules(const ConfigPaths& paths, std::string_view programName) noexcept;

/// A module that was asked for by itself.
struct FoundModule {
  ModuleConfig config;
  bool configured = false;
  std::string file;             ///< the module's file, without symbolic links
  std::set<std::string> names;  ///< of all modules that are configured, loaded or not
};

/// Finds one module: by the name of a configured one, or by its path, which may be that of a
/// configured one; a relative path is below the module directory. One that is not configured has
/// its file's name and `module` as its only value. The error says why there is none, or ENOMEM.
Result<FoundModule> findModule(const ConfigPaths& paths, std::string_view programName,
                               std::string_view nameOrPath) noexcept;

/// Whether a file of this name, without a directory, is bulkhead itself, which shows all modules or
/// those that were adopted. Never fails.
bool isBulkheadFile(std::string_view name) noexcept;

/// Whether `enable-in` and `disable-in` among a module's values let `program` see it through
/// bulkhead. The pseudo program `bulkhead` decides first, in enable-in before disable-in; after
/// that it is as in p11-kit's proxy: enable-in, where it is set, makes disable-in moot, and both
/// lists may name the program or `p11-kit-proxy`. Never fails.
bool isEnabledFor(const std::map<std::string, std::string>& values,
                  std::string_view program) noexcept;

/// Whether p11-kit shows the module, with those values, to `program`, by itself or by its proxy.
bool isShownByP11Kit(const std::map<std::string, std::string>& values,
                     std::string_view program) noexcept;

/// Whether `program` sees it through bulkhead and in no way through p11-kit.
bool isAdopted(const std::map<std::string, std::string>& values, std::string_view program) noexcept;

/// The present program's name as p11-kit computes it for enable-in and disable-in; a script goes by
/// its interpreter's. Empty when memory runs out.
std::string programName() noexcept;

/// The computation behind it: `invocation` is argv[0], `executable` the resolved path of the
/// executable or empty if unknown. Programs like chromium put all their arguments into argv[0], so
/// that its last component is anything; where it starts with the executable, that one's name is
/// taken. Empty when memory runs out.
std::string programNameFrom(std::string_view invocation, std::string_view executable) noexcept;

/// Reads the text of one file into `out`: the last of equal keys wins, also over what `out` held
/// before. `name` is the file's name for the errors, whose `operation` is `NAME:LINE`. A faulty
/// line is left out and reading goes on after it; text above 64 KiB is not read at all. At most 16
/// faults are reported; when memory runs out `out` may be incomplete, with ENOMEM as the error.
std::vector<Error> parseModuleText(std::string_view text, const std::string& name,
                                   std::map<std::string, std::string>& out) noexcept;

}  // namespace bulkhead::proxy
