// SPDX-License-Identifier: BSD-2-Clause
//
// Programs that the tests with systemd ask, and daemons that they stop.
#pragma once

#include <signal.h>
#include <stdio.h>

#include "tests/integration/fixture.h"

namespace bulkhead::test {

/// What a command of the shell writes to its standard output.
inline std::string output(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  for (int c; (c = ::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

/// A process that stands still for a while.
class Stopped {
 public:
  explicit Stopped(pid_t pid) : pid_(pid) { EXPECT_TRUE(stop(pid_)); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;
  ~Stopped() { ::kill(pid_, SIGCONT); }

 private:
  pid_t pid_;
};

}  // namespace bulkhead::test
