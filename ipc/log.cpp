// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace bulkhead {

std::optional<LogLevel> logLevelByName(std::string_view name) {
  if (name == "error") return LogLevel::Error;
  if (name == "warning") return LogLevel::Warning;
  if (name == "info") return LogLevel::Info;
  if (name == "debug") return LogLevel::Debug;
  return std::nullopt;
}

LogLevel logLevelOfEnvironment() {
  const char* value = ::secure_getenv("BULKHEAD_LOG");
  if (value == nullptr) return LogLevel::Off;
  return logLevelByName(value).value_or(LogLevel::Off);
}

void logToStderr(LogLevel wanted, LogLevel level, std::string_view module, std::string_view text) {
  if (wanted < level) return;
  int kept = errno;
  std::string line = "bulkhead: ";
  if (!module.empty()) line.append(module).append(": ");
  // A module can put anything into a text; one line stays one line.
  for (char c : text) line += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  if (line.size() >= PIPE_BUF) line.resize(PIPE_BUF - 1);
  line += '\n';
  // In a host whose stderr is a pipe that nobody reads, the write would raise SIGPIPE.
  sigset_t pipe, before, pending;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigpending(&pending);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  // A write that fails has nobody to be reported to, and one that would wait is none.
  // A pipe that polls writable takes as much as this.
  pollfd writable{STDERR_FILENO, POLLOUT, 0};
  ssize_t n = 0;
  if (::poll(&writable, 1, 0) > 0) n = ::write(STDERR_FILENO, line.data(), line.size());
  if (n < 0 && errno == EPIPE && sigismember(&pending, SIGPIPE) == 0) {
    timespec now{};
    (void)::sigtimedwait(&pipe, nullptr, &now);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = kept;
}

}  // namespace bulkhead
