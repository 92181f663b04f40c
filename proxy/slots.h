// SPDX-License-Identifier: BSD-2-Clause
//
// The ids under which this process shows the slots of all modules.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "ipc/pkcs11.h"

namespace bulkhead::proxy {

/// A slot of a module: the module's name, and the id that the module gave it.
using ModuleSlot = std::pair<std::string, CK_SLOT_ID>;

/// The first id: the one that p11-kit's proxy begins with, because some programs have it in their
/// configuration.
inline constexpr CK_SLOT_ID FIRST_SLOT = 0x11;

/// As many slots as one module may have in the life of a process. Ids are never taken back, and a
/// hostile module could go on making up slots.
inline constexpr unsigned MAX_SLOTS_OF_A_MODULE = 1024;

/// The ids are the process's, not a consumer's: dense, never given to another slot, and kept over
/// rescans, restarts, C_Finalize and fork. Needs no lock, so a forked child may use it whatever
/// other threads were doing. Every function: any thread.
class Slots {
 public:
  /// The id of a slot, a new one where it has none yet. None for a module that has had too many.
  static std::optional<CK_SLOT_ID> idOf(const ModuleSlot& slot);
  /// The slot of an id.
  static std::optional<ModuleSlot> find(CK_SLOT_ID id);
};

}  // namespace bulkhead::proxy
