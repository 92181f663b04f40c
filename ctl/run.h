// SPDX-License-Identifier: BSD-2-Clause
//
// Modules are never started in this process: a copy of it loads the proxy with one module and
// tells what it found, so that whatever goes wrong there is a line in a report here.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctl/modules.h"
#include "ipc/descriptor.h"
#include "ipc/result.h"

namespace bulkhead::ctl {

/// A directory that only this user can read, gone at the end of its life with all that is in it.
class TemporaryDirectory {
 public:
  static Result<TemporaryDirectory> make();
  TemporaryDirectory(TemporaryDirectory&& other) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&&) = delete;
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

/// Writes a file as a whole, with the permissions of any new file.
Result<void> writeText(const std::string& path, const std::string& text);
Result<std::string> readText(const std::string& path);

/// Changes of the environment for a program; no value: the variable is taken away.
using EnvironmentChanges = std::map<std::string, std::optional<std::string>>;

/// While it lives, Ctrl-C ends the programs that were started, and this one goes on to clean up.
class InterruptsIgnored {
 public:
  InterruptsIgnored();
  InterruptsIgnored(const InterruptsIgnored&) = delete;
  InterruptsIgnored& operator=(const InterruptsIgnored&) = delete;
  ~InterruptsIgnored();

 private:
  struct State;
  State* state_;
};

/// Starts a program; `out` and `err` replace its standard output and error when not negative.
Result<pid_t> startProgram(const std::vector<std::string>& arguments,
                           const EnvironmentChanges& changes, int out, int err);

/// Waits for it: its exit status, or 128 and the signal that ended it.
int awaitProgram(pid_t pid);

/// One line of the log that bulkhead writes to stderr.
struct LogLine {
  enum class Kind { Failure, Violation, Degraded, Death, Output, Other };
  Kind kind = Kind::Other;
  std::string module;
  std::string text;  ///< without "bulkhead: MODULE: "
  // A violation's parts:
  std::string syscall;
  std::string arguments;
  std::string location;
  std::string function;
};

/// Nothing when the line is not one of the log.
std::optional<LogLine> parseLogLine(std::string_view line);

/// What came of starting one module.
struct Trial {
  Json report;               ///< of the copy: times, return values, slots; null when it died
  std::vector<LogLine> log;  ///< what the proxy and the supervisor said
  std::string failure;       ///< why there is no report, or why the module could not be started
  bool started() const { return failure.empty(); }
};

/// Starts each of `modules` by itself, side by side, looks at its slots and ends it.
Result<std::vector<Trial>> tryModules(const std::vector<const KnownModule*>& modules);

/// The other side of tryModules(): loads the proxy, prints a report. The exit status.
int probe();

/// The proxy's file: BULKHEAD_PROXY, or where it is installed.
std::string proxyFile();

/// What p11-kit loads to see adopted modules, and how its .module file names it: p11-kit may look
/// for it itself.
std::string adoptedModuleFile();
std::string adoptedModuleForP11Kit();

}  // namespace bulkhead::ctl
