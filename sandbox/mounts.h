// SPDX-License-Identifier: BSD-2-Clause
//
// A file system that has only what the policy names: the rest is not forbidden, it is not there.
// That goes for sockets, too, which Landlock lets anybody connect to.
#pragma once

#include <vector>

#include "ipc/result.h"
#include "sandbox/paths.h"

namespace bulkhead::sandbox {

/// Moves the calling process into a mount namespace whose root is an empty directory with the paths
/// of `rules` in it, each under its own name and, where it leads through symbolic links, with
/// those. What may only be read is mounted read-only, what may be written cannot be executed, and
/// set-user-id bits mean nothing anywhere. Needs CAP_SYS_ADMIN, as after unshare(CLONE_NEWUSER).
/// The caller must be single-threaded; its working directory is then the new root.
Result<void> applyMounts(const std::vector<PathRule>& rules);

}  // namespace bulkhead::sandbox
