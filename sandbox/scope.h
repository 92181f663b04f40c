// SPDX-License-Identifier: BSD-2-Clause
//
// The cgroup layer: a transient scope of the service manager's that bounds what no resource limit
// of a process can. The one layer that is applied from outside, by the supervisor, while the worker
// waits for its word to open the module.
//
// libsystemd is loaded when a scope is asked for, and by nobody else: a worker, forked before, maps
// no library of ours.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "ipc/result.h"
#include "sandbox/policy.h"

namespace bulkhead::sandbox {

/// How long a service manager may take in all. One that hangs costs no more.
inline constexpr std::chrono::milliseconds SCOPE_TIMEOUT{500};

/// Whether the policy has a limit that only a scope can hold for all that the worker does.
bool hasScopeLimits(const Policy& policy);

/// Whether a service manager can be asked: the user's, or for root without one the system's.
Result<void> probeScope();

/// The name of the scope of a worker: bulkhead-MODULE-PID.scope, the module's name escaped.
std::string scopeName(const std::string& module, pid_t pid);

/// Places a process into a scope with the policy's MemoryMax=, TasksMax= and CPUQuota=, and reads
/// back from the kernel that it is there and that each of them holds. The error says what does not.
Result<void> placeInScope(const Policy& policy, const std::string& module, pid_t pid);

/// The keys of the limits that nothing holds for the process, neither a scope of its own nor a
/// resource limit. Empty for none.
std::string openLimits(const Policy& policy, const std::string& module, pid_t pid);

}  // namespace bulkhead::sandbox
