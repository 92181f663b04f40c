// SPDX-License-Identifier: BSD-2-Clause
//
// The wait for the slot events of one module, on behalf of all consumers that see it.
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "proxy/worker.h"

namespace bulkhead::proxy {

class Module;

/// At most one C_WaitForSlotEvent is under way in a module, because the standard leaves undefined
/// what more would do. It stays under way when the consumer that asked for it goes. Any thread; no
/// lock is held while a message is under way.
class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// The next event of `module`, if there is one: its own id of the slot. With `wait`, leaves a
  /// wait under way that descriptor() tells the end of; may start a worker for it. Without, asks
  /// now; a module that does not answer within two seconds is left with the question, which is
  /// under way like a wait then, and is not asked again meanwhile.
  std::optional<CK_SLOT_ID> look(Module& module, bool wait);

  /// Readable when look() has news; -1 while there is nothing under way, or another thread is at
  /// it.
  int descriptor() const;

  /// Forgets the wait that is under way: its worker has ended.
  void clear();

 private:
  enum class State { Idle, Waiting, Taken };
  std::optional<CK_SLOT_ID> collect();
  bool begin(Module& module, bool wait);

  mutable std::mutex mutex_;
  State state_ = State::Idle;
  // The rest is of whoever has taken it.
  std::shared_ptr<Worker> worker_;
  Worker::Sent sent_;
  ipc::HostCodec codec_;
  CK_SLOT_ID slot_ = 0;
  bool waits_ = false;                  // what is under way is a wait, and no question
  ipc::Clock::time_point notBefore_{};  // a module that fails at once is not asked all the time
};

}  // namespace bulkhead::proxy
