// SPDX-License-Identifier: BSD-2-Clause
//
// What a worker may do with files: the layers that enforce it work from one list. And where the
// paths in it really lead: a module that ran before may have put links in the way of the next one.
#pragma once

#include <sys/types.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "ipc/descriptor.h"
#include "ipc/result.h"

namespace bulkhead::sandbox {

/// What a path may be used for. A socket is for the supervisor to connect to; libraries look
/// whether it, or its directory, is there.
enum class PathAccess { Read, ReadWrite, Execute, Device, Socket };

struct PathRule {
  std::string path;
  PathAccess access;
  bool optional;  ///< a missing path is no error
};

/// The operation of errors that are a path's and not the machine's: no layer is done without for
/// them, as a module may have brought them about.
inline constexpr const char* POLICY_PATH = "policy path";

/// Whether a path without links is a directory, or below it.
bool isBelow(const std::string& path, const std::string& directory);

/// Follows links as one who doesn't trust them: what leads out of a directory where the module may
/// write, by a link in that directory, leads nowhere. For one thread, and a moment: what was seen
/// to be a directory is not looked at again before open().
class RealPaths {
 public:
  /// Told of every link on the way: where it is, and what it says.
  using OnLink = std::function<Result<void>(const std::string& link, const std::string& target)>;

  /// Paths are below `root`, "" for the present one, as are `writable`, where the module may write.
  RealPaths(std::string root, const std::vector<std::string>& writable);

  /// Where a path leads, without links, and what is there. ENOENT where that is nothing, ELOOP
  /// where a link is in the way that the module can have made.
  Result<std::string> of(const std::string& path, mode_t& type, const OnLink& onLink = {});

  /// Opens what of() yielded, as a place only, unless a link has come into the way since.
  Result<Descriptor> open(const std::string& real) const;

 private:
  Result<std::string> follow(const std::string& path, mode_t& type, const OnLink& onLink);

  std::string root_;
  std::vector<std::string> writable_;
  std::set<std::string> directories_;
};

/// The paths of `rules` where the module may write.
std::vector<std::string> writablePaths(const std::vector<PathRule>& rules);

}  // namespace bulkhead::sandbox
