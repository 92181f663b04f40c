// SPDX-License-Identifier: BSD-2-Clause
//
// Landlock, with this project's own copy of the kernel's numbers: distributions' headers are older
// than the kernels that they run on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ipc/result.h"
#include "sandbox/paths.h"

namespace bulkhead::sandbox {

/// The version of Landlock that the running kernel has; an error where it has none.
Result<int> landlockVersion();

/// Confines the calling thread, and what it starts from now on, to `rules`: every other access to
/// files, and every TCP connection, signal and abstract socket that leaves the sandbox, as far as
/// the kernel's version knows them, is refused. `allowTcp` leaves TCP to others. Needs
/// no_new_privs. The caller must be single-threaded.
Result<void> applyLandlock(const std::vector<PathRule>& rules, bool allowTcp);

}  // namespace bulkhead::sandbox
