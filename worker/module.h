// SPDX-License-Identifier: BSD-2-Clause
//
// The real module, inside its worker.
#pragma once

#include <array>
#include <string>

#include "ipc/catalogue.h"
#include "ipc/result.h"

namespace bulkhead::worker {

/// A loaded PKCS#11 module: a copy of its function table, made once, that nothing the module does
/// later can change. Never unloaded: the process ends with it.
class Module {
 public:
  using AnyFunction = void (*)();

  /// Opens the module and asks it for its functions: through its own C_GetInterface where it has
  /// one that works, else through C_GetFunctionList. Does not initialise it.
  static Result<Module> load(const std::string& path);

  /// Calls C_Initialize: with the operating system's locks, and without any for a module that
  /// answers CKR_CANT_LOCK. `reserved` is the text of pReserved, or null.
  CK_RV initialize(const char* reserved);

  /// The function, or null where the module lacks it.
  AnyFunction function(ipc::Function f) const { return functions_[ipc::indexOf(f)]; }

  template <ipc::Function F>
  typename ipc::Line<F>::Pointer get() const {
    return reinterpret_cast<typename ipc::Line<F>::Pointer>(function(F));
  }

  CK_VERSION version() const { return version_; }

  /// The module can't lock: calls to it must come one at a time.
  bool oneAtATime() const { return oneAtATime_; }

 private:
  std::array<AnyFunction, ipc::FUNCTIONS> functions_{};
  CK_VERSION version_{};
  bool oneAtATime_ = false;
};

}  // namespace bulkhead::worker
