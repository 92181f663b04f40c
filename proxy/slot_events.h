// SPDX-License-Identifier: BSD-2-Clause
//
// Slot events (PKCS#11 3.2, 5.5.4): what one consumer waits for, over all of its modules at once,
// in its own thread. Every consumer hears of every event, once, as each application does by the
// standard.
#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <set>

#include "proxy/consumers.h"
#include "proxy/module.h"
#include "proxy/owned.h"

namespace bulkhead::proxy {

class Process;

/// The events that consumers have not yet been told, and the threads that wait. Any thread; no lock
/// is held while a worker is called.
class SlotEvents {
 public:
  /// C_WaitForSlotEvent for a consumer. Blocks, with `block`, until there is an event or the
  /// consumer is finalised (CKR_CRYPTOKI_NOT_INITIALIZED); else CKR_NO_EVENT.
  CK_RV wait(Process& process, unsigned consumer, bool block, CK_SLOT_ID& slot);

  /// At C_Initialize: no event is pending.
  void begin(unsigned consumer);
  /// Has every thread that waits look again: there is an event, or its consumer is finalised.
  void wakeAll();

 private:
  class Waiter;
  std::optional<CK_SLOT_ID> take(unsigned consumer);
  void publish(const Process& process, Module& module, CK_SLOT_ID moduleSlot);

  std::mutex mutex_;
  std::array<std::set<CK_SLOT_ID>, MAX_CONSUMERS> pending_;
  std::set<Waiter*> waiters_;
};

}  // namespace bulkhead::proxy
