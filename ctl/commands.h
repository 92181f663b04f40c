// SPDX-License-Identifier: BSD-2-Clause
//
// The commands of bulkheadctl. Each prints its result on standard output, complains on standard
// error, and yields the exit status.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace bulkhead::ctl {

/// Exit statuses; bulkheadctl(1) lists them.
enum Status : int {
  SUCCESS = 0,  ///< done, and nothing is wrong
  TROUBLE = 1,  ///< something is wrong with what was looked at, or could not be done
  USAGE = 2,    ///< the command line is wrong
};

/// What all commands share.
struct Options {
  bool json = false;
  std::string program;  ///< the program whose view of the modules it is; empty: this one
};

int list(const Options& options, bool startModules);
int show(const Options& options, const std::string& module);
int explain(const Options& options, const std::string& module);
int check(const Options& options, const std::vector<std::string>& files);
int security(const Options& options, const std::string& module);
int tryModule(const Options& options, const std::string& module);
int trace(const Options& options, const std::string& module,
          const std::vector<std::string>& command);

struct AdoptOptions {
  std::vector<std::string> modules;
  bool all = false;
  std::string directory;
  bool dryRun = false;
};
int adopt(const Options& options, const AdoptOptions& what);
int release(const Options& options, const AdoptOptions& what);

/// Prints the completion of a shell, made of the command line's own definition. `shell` is bash,
/// zsh, fish, or words: each command and option on a line, for tests.
int completion(const CLI::App& app, const std::string& shell);

}  // namespace bulkhead::ctl
