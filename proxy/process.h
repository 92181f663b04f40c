// SPDX-License-Identifier: BSD-2-Clause
//
// All state of bulkhead in this process. A forked child has none of it and starts anew.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ipc/log.h"
#include "proxy/consumers.h"
#include "proxy/coordinate.h"
#include "proxy/module.h"
#include "proxy/sessions.h"
#include "proxy/slot_events.h"
#include "proxy/slots.h"

namespace bulkhead::proxy {

/// The modules of a process, and which consumers use them. Any thread; no lock is held while a
/// worker starts, ends or is called.
class Process {
 public:
  /// The state of this process. In a forked child the parent's is abandoned as it is, whatever its
  /// threads were doing, and the copies of its descriptors are closed. Never null; the only
  /// singleton, because a C ABI has no other place for it. Throws std::bad_alloc.
  static Process& instance();

  Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// C_Initialize and C_Finalize of one consumer: counted, and raced by any number of threads.
  CK_RV initialize(unsigned consumer);
  CK_RV finalize(unsigned consumer);

  /// Whether the consumer is initialised: the first question of every other function.
  bool active(unsigned consumer) const { return life(consumer) != 0; }

  /// Which of its lives the consumer is in, from a C_Initialize to the C_Finalize that undoes it; 0
  /// between them. What takes long and began in one does not go on in another.
  std::uint64_t life(unsigned consumer) const {
    return consumers_[consumer].life.load(std::memory_order_acquire);
  }

  /// Whether the consumer is not initialised, nor at it, nor still being finalised.
  bool idle(unsigned consumer) const {
    return consumers_[consumer].phase.load(std::memory_order_acquire) == Phase::Idle;
  }

  /// The modules that a consumer sees, by priority and name. None unless it is initialised; never
  /// null.
  using Modules = std::vector<std::shared_ptr<Module>>;
  std::shared_ptr<const Modules> modulesOf(unsigned consumer) const;

  /// The consumers that see a module.
  std::vector<unsigned> usersOf(const Module& module) const;

  /// The module of a slot id, and its own id for it. Null when the consumer has no such slot.
  std::shared_ptr<Module> moduleOf(unsigned consumer, CK_SLOT_ID slot,
                                   CK_SLOT_ID& moduleSlot) const;

  /// Starts the modules of consumers that were loaded and will be initialised next, side by side,
  /// and keeps them until they are handed to letGo(). One that does not start fails there.
  Modules start(const std::vector<unsigned>& consumers);
  void letGo(const Modules& modules);

  Sessions& sessions() { return sessions_; }
  SlotEvents& slotEvents() { return slotEvents_; }
  Coordinator& coordinator() { return coordinator_; }
  LogLevel logLevel() const { return logLevel_; }

  /// Closes a consumer's sessions, of one slot or, with 0, of all, and with them ends its login.
  /// With `ending`, no module is waited for beyond StopTimeoutSec= after that. CKR_HOST_MEMORY when
  /// there was none to tell a module of it.
  CK_RV closeSessions(unsigned consumer, CK_SLOT_ID slot,
                      std::optional<ipc::Clock::time_point> ending = {}) noexcept;

  /// What remains to be done when a consumer has closed a session: without any left on the slot it
  /// is logged in no more. The token is until the last session of all consumers goes, when the
  /// module logs it out itself: in those that remain somebody may use keys that it found without
  /// ever having logged in, as OpenSSL's engine does.
  void sessionClosed(const Session& session);

  /// C_Logout for a consumer's session.
  CK_RV logout(const Session& session);

 private:
  enum class Phase { Idle, Changing, Active };
  struct Consumer {
    std::mutex mutex;
    std::condition_variable changed;
    std::atomic<Phase> phase{Phase::Idle};
    unsigned count = 0;
    std::uint64_t lives = 0;
    std::atomic<std::uint64_t> life{0};
    std::shared_ptr<const Modules> modules;  // null while it has none; guarded by mutex_ below
  };

  Modules loadModules();
  Modules enter(unsigned consumer, CK_RV& rv);
  Modules seenBy(unsigned consumer, CK_RV& rv);
  void leave();
  CK_RV start(unsigned index);
  CK_RV bringUp(unsigned index, const Modules& configured);
  Modules acquireFor(const Modules& configured);

  LogLevel logLevel_ = LogLevel::Off;
  std::array<Consumer, MAX_CONSUMERS> consumers_;
  Sessions sessions_;
  SlotEvents slotEvents_;
  Coordinator coordinator_;
  mutable std::mutex mutex_;
  Modules modules_;  // as configured
  Modules loaded_;   // those that are not, or not for this program, and were loaded all the same
  std::string refusal_;  // why nobody who sees all modules is initialised, if so
  unsigned users_ = 0;   // consumers that are initialised or at it
};

/// Reads the slots of all modules again, all at once, and gives new ones an id: module by module,
/// in each module's own order. Of a module that does not answer within two seconds, those that it
/// listed last; of one that does not run as well, but with `tokenPresent` none.
std::vector<CK_SLOT_ID> refreshSlots(const std::vector<std::shared_ptr<Module>>& modules,
                                     bool tokenPresent);

}  // namespace bulkhead::proxy
