// SPDX-License-Identifier: BSD-2-Clause
//
// The seccomp filter of a worker: which system calls pass, which are refused without a word, and
// which go to the supervisor, who reports them.
#pragma once

#include <linux/filter.h>

#include <optional>
#include <vector>

#include "ipc/descriptor.h"
#include "ipc/result.h"
#include "sandbox/policy.h"

namespace bulkhead::sandbox {

/// What becomes of a system call that the policy does not allow.
enum class Refusal {
  Notify,  ///< the supervisor is asked and answers
  Errno,   ///< EPERM, unreported: for machines where nobody can be asked
  Kill,    ///< the kernel ends the process: the same, with SystemCallAction=kill
};

/// Compiles the filter for the calling process (its own pid is the one it may signal).
Result<std::vector<sock_filter>> compileFilter(const Policy& policy, Refusal refusal);

/// Installs a compiled filter in the calling thread and what it starts. With `listen`, yields the
/// descriptor on which the supervisor is asked. Needs no_new_privs.
Result<Descriptor> installFilter(const std::vector<sock_filter>& filter, bool listen);

/// Whether the kernel can ask a supervisor at all.
Result<void> probeNotification();

}  // namespace bulkhead::sandbox
