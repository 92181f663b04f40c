// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/slots.h"

#include <atomic>
#include <memory>

namespace bulkhead::proxy {
namespace {

// Filled from the front and never changed: a position is an id. What is not used costs no memory.
constexpr std::size_t MAX_SLOTS = 64 * std::size_t{MAX_SLOTS_OF_A_MODULE};
std::atomic<const ModuleSlot*> table[MAX_SLOTS];

}  // namespace

std::optional<CK_SLOT_ID> Slots::idOf(const ModuleSlot& slot) {
  unsigned ofModule = 0;
  std::unique_ptr<const ModuleSlot> fresh;
  for (std::size_t i = 0; i < MAX_SLOTS; ++i) {
    const ModuleSlot* there = table[i].load(std::memory_order_acquire);
    if (there == nullptr) {
      if (ofModule >= MAX_SLOTS_OF_A_MODULE) return std::nullopt;
      if (fresh == nullptr) fresh = std::make_unique<const ModuleSlot>(slot);
      if (table[i].compare_exchange_strong(there, fresh.get(), std::memory_order_acq_rel))
        there = fresh.release();
    }
    if (*there == slot) return FIRST_SLOT + i;
    if (there->first == slot.first) ++ofModule;
  }
  return std::nullopt;
}

std::optional<ModuleSlot> Slots::find(CK_SLOT_ID id) {
  if (id < FIRST_SLOT || id - FIRST_SLOT >= MAX_SLOTS) return std::nullopt;
  const ModuleSlot* slot = table[id - FIRST_SLOT].load(std::memory_order_acquire);
  if (slot == nullptr) return std::nullopt;
  return *slot;
}

}  // namespace bulkhead::proxy
