// SPDX-License-Identifier: BSD-2-Clause
//
// The modules that were loaded by themselves through the public API.
#pragma once

#include "proxy/module_config.h"

namespace bulkhead::proxy {

/// What was configured for each of them when it was loaded. They are the process's and its forked
/// children's, and are never forgotten, as callers hold their names; what is the same is there
/// once. Needs no lock. Every function: any thread; throws std::bad_alloc.
class LoadedModules {
 public:
  /// Keeps what was found. A module that is not configured gets a name that no other module has:
  /// its file's name, with a number behind it where that is taken.
  static const ModuleConfig* keep(FoundModule found);
};

}  // namespace bulkhead::proxy
