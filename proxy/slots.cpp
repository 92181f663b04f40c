// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/slots.h"

#include <algorithm>
#include <atomic>
#include <memory>

namespace bulkhead::proxy {
namespace {

using Table = std::vector<ModuleSlot>;

// The present table; a changed one replaces it whole. Those replaced stay: a reader may be in one,
// and slots are few.
std::atomic<const Table*> present{nullptr};

}  // namespace

CK_SLOT_ID Slots::idOf(const ModuleSlot& slot) {
  for (;;) {
    const Table* before = present.load(std::memory_order_acquire);
    auto after = std::make_unique<Table>(before == nullptr ? Table{} : *before);
    auto found = std::find(after->begin(), after->end(), slot);
    CK_SLOT_ID id = FIRST_SLOT + static_cast<CK_SLOT_ID>(found - after->begin());
    if (found != after->end()) return id;
    after->push_back(slot);
    if (present.compare_exchange_strong(before, after.get(), std::memory_order_acq_rel)) {
      (void)after.release();
      return id;
    }
  }
}

std::optional<ModuleSlot> Slots::find(CK_SLOT_ID id) {
  const Table* table = present.load(std::memory_order_acquire);
  if (table == nullptr || id < FIRST_SLOT || id - FIRST_SLOT >= table->size()) return std::nullopt;
  return (*table)[id - FIRST_SLOT];
}

}  // namespace bulkhead::proxy
