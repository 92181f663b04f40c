// SPDX-License-Identifier: BSD-2-Clause
//
// What a worker may do with files: the layers that enforce it work from one list.
#pragma once

#include <string>

namespace bulkhead::sandbox {

/// What a path may be used for. A socket is for the supervisor to connect to; libraries look
/// whether it, or its directory, is there.
enum class PathAccess { Read, ReadWrite, Execute, Device, Socket };

struct PathRule {
  std::string path;
  PathAccess access;
  bool optional;  ///< a missing path is no error
};

}  // namespace bulkhead::sandbox
