// SPDX-License-Identifier: BSD-2-Clause
//
// The supervisor's end of the filter: system calls of the worker that the policy does not allow
// arrive here, are described, and are answered. The worker cannot suppress that. A connect() that
// the policy allows is made here, on a duplicate of the worker's socket and to a copy of the
// address, so that nothing the worker changes meanwhile matters; and so is a change of a file's
// mode or owner.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipc/descriptor.h"
#include "ipc/result.h"
#include "sandbox/file_changes.h"
#include "sandbox/policy.h"
#include "sandbox/syscall_arguments.h"

struct seccomp_notif;

namespace bulkhead::sandbox {

/// A system call that was refused.
struct Violation {
  std::string syscall;    ///< its name, or its number
  std::string arguments;  ///< as text, paths and addresses resolved
  std::string location;   ///< "library+0x123" of the instruction
  std::string function;   ///< the PKCS#11 function that its thread was in, if any
  pid_t thread = 0;
  bool repeated = false;  ///< not for the log: the same was seen before, or too much like it
  bool last = false;      ///< the last of its system call for the log
};

/// A copy of what another process has open under a number; nothing, with errno, where it has
/// nothing or the system lets nobody take it. `process` is a pidfd. Any thread. See pidfd_getfd(2).
Descriptor takenFrom(int process, int number);

/// Answers the notifications of one worker. Used by one thread.
class Notifications {
 public:
  /// `listener` is what installFilter() yielded, `worker` a pidfd of the worker's process.
  Notifications(Descriptor listener, Descriptor worker, const Policy& policy);

  /// Readable when a notification waits.
  int descriptor() const { return listener_.get(); }

  /// Receives and answers one. Yields the violation, if it was one and not of the quiet kind.
  /// `functionOf` names the function that a thread is in; it is asked while the thread still waits.
  std::optional<Violation> handle(const std::function<std::string(pid_t)>& functionOf);

  /// Connections that are being made: poll each for writing, then call finish() with it.
  std::vector<int> pending() const;
  void finish(int descriptor);

  /// How many violations there were, quiet ones left out.
  std::uint64_t count() const { return count_; }

 private:
  struct Pending {
    std::uint64_t id;
    Descriptor socket;
    int flags;
  };

  void answer(std::uint64_t id, int error, bool proceed = false);
  bool stillThere(std::uint64_t id) const;
  static ReadMemory memoryOf(const ::seccomp_notif& notification);
  /// True when the notification was a connect() that is allowed or is refused quietly.
  bool connect(const ::seccomp_notif& notification);
  /// True when the notification was a change that is made, or that the kernel would refuse.
  bool changeFile(const ::seccomp_notif& notification, const std::string& name);
  void resolve();

  Descriptor listener_;
  Descriptor worker_;
  const Policy& policy_;
  FileChanges changes_;
  std::vector<Pending> pending_;
  std::map<int, std::set<std::pair<std::uint64_t, std::string>>> seen_;  // by system call
  std::vector<SocketAddress> addresses_;
  std::chrono::steady_clock::time_point resolveAgain_{};
  std::uint64_t count_ = 0;
};

}  // namespace bulkhead::sandbox
