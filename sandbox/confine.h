// SPDX-License-Identifier: BSD-2-Clause
//
// How a worker confines itself, before it opens the module. The layers are one table, in the order
// in which they are applied; each holds alone, and the table is what `bulkheadctl explain` prints.
// The last one is applied from outside, by the supervisor: scope.h.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/descriptor.h"
#include "ipc/result.h"
#include "sandbox/landlock.h"
#include "sandbox/policy.h"

namespace bulkhead::sandbox {

/// What the layers need to know, and what they leave behind.
struct Confinement {
  const Policy& policy;
  std::string modulePath;
  // Filled in by the seccomp layer: where the supervisor is asked, or why it can't be.
  Descriptor listener{};
  Error unasked{"seccomp user notification", 0, "the seccomp layer is not in force"};
};

/// One layer of confinement.
struct Layer {
  const char* name;
  const char* what;         ///< one sentence for an operator
  Result<void> (*probe)();  ///< whether the machine has it; changes nothing
  /// Applies it to the calling process, for good; none: the supervisor applies it to the worker.
  Result<void> (*apply)(Confinement&);
};

/// All layers, in order.
std::span<const Layer> layers();

/// Whether a policy asks for a layer, and how. The cgroup layer is only preferred where the policy
/// has a limit for it to hold.
enum class Wanted { No, Preferred, Required };
Wanted wanted(const Policy& policy, std::string_view layer);

/// Applies all layers that the policy wants. A layer that fails is told to `degraded` and left out,
/// unless the policy requires it: then its error is the result. The caller is single-threaded.
Result<void> confine(Confinement& confinement,
                     const std::function<void(const Layer&, const Error&)>& degraded);

/// What a worker may do with files: the policy's paths, the module, and what the loader, the C
/// library and locales read.
std::vector<PathRule> pathRules(const Policy& policy, const std::string& modulePath);

/// Sets the environment of the calling process to what the policy lets through of its present one.
void setEnvironment(const Policy& policy);

}  // namespace bulkhead::sandbox
