// SPDX-License-Identifier: BSD-2-Clause
//
// Changes of files' modes and owners. Landlock has no say over these, and the owner of a file may
// make them through any descriptor: the worker of a host that is root could lay open the libraries
// that it may read. So they are made by the supervisor, below ReadWritePaths= alone, and nobody
// gains a set-user-id program by them.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sandbox/policy.h"

namespace bulkhead::sandbox {

/// Whether the supervisor makes that system call for the worker, where the policy has it.
bool isFileChange(std::string_view syscall);

/// What one worker may change. Immutable; any thread may use it.
class FileChanges {
 public:
  /// `writable` is resolved now; what a module has put links in the way of is left out.
  explicit FileChanges(const std::vector<PolicyPath>& writable);

  /// Makes the change that the worker asks for, of an open file of the user's (O_PATH will do).
  /// Yields the errno, zero for none; nothing when this is not for the worker to ask.
  std::optional<int> setMode(int file, mode_t mode) const;
  std::optional<int> setOwner(int file, uid_t owner, gid_t group) const;

  /// Whether a path without links is where the worker may write.
  bool isWritable(const std::string& real) const;

 private:
  bool mayChange(int file) const;

  std::vector<std::string> writable_;
};

}  // namespace bulkhead::sandbox
