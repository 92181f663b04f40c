// SPDX-License-Identifier: BSD-2-Clause
//
// How a worker confines itself, before it opens the module. The layers are one table, in the order
// in which they are applied; each holds alone, and the table is what `bulkheadctl explain` prints.
#pragma once

#include <functional>
#include <span>
#include <string>
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
  Descriptor listener{};  ///< filled in by the seccomp layer: where the supervisor is asked
};

/// One layer of confinement.
struct Layer {
  const char* name;
  const char* what;                     ///< one sentence for an operator
  Result<void> (*probe)();              ///< whether the machine has it; changes nothing
  Result<void> (*apply)(Confinement&);  ///< applies it to the calling process, for good
};

/// All layers, in order.
std::span<const Layer> layers();

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
