// SPDX-License-Identifier: BSD-2-Clause
//
// C_WaitForSlotEvent for every module: those that cannot wait, or must not because their calls come
// one at a time, are polled here, in their worker.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <set>

#include "worker/module.h"

namespace bulkhead::worker {

/// The events of one module's slots. Any thread; the host has one wait under way at most.
class SlotWatch {
 public:
  /// `oneAtATime` is held around each call to a module that can't lock, null for others.
  SlotWatch(const Module& module, std::mutex* oneAtATime)
      : module_(module), oneAtATime_(oneAtATime) {}

  /// C_GetSlotList, the module's own. What the application saw first is what later slots are
  /// compared with, so that nothing is lost that happens before it waits.
  CK_RV slotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR list, CK_ULONG_PTR count);

  /// C_WaitForSlotEvent (PKCS#11 3.2, 5.5.4): the module's own where it can wait.
  CK_RV wait(CK_FLAGS flags, CK_SLOT_ID_PTR slot);

  /// The module is being finalised: a wait ends with CKR_CRYPTOKI_NOT_INITIALIZED.
  void end() { ended_.store(true, std::memory_order_release); }

 private:
  using Slots = std::set<CK_SLOT_ID>;
  std::unique_lock<std::mutex> turn() const;
  std::optional<Slots> listed(CK_BBOOL tokenPresent) const;
  CK_RV compare(CK_SLOT_ID_PTR slot);

  const Module& module_;
  std::mutex* oneAtATime_;
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::optional<Slots> known_[2];  // all slots, and those with a token
};

}  // namespace bulkhead::worker
