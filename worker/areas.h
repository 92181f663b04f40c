// SPDX-License-Identifier: BSD-2-Clause
//
// Areas come by the control socket, which the main thread reads, and are for the threads that serve
// the channels. A request says how many its channel has been sent, so none is taken too early.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>

#include "ipc/descriptor.h"

namespace bulkhead::worker {

/// The areas that have come, until they are taken. Any thread.
class Areas {
 public:
  /// From now on areas come for a channel, until forget().
  void expect(std::uint32_t channel) {
    std::lock_guard lock(mutex_);
    entries_[channel] = {};
  }

  /// One more has come for a channel. It stands for those before it. The channel may be gone by
  /// now, and then nobody would ever take it.
  void put(std::uint32_t channel, Descriptor memory) {
    {
      std::lock_guard lock(mutex_);
      auto entry = entries_.find(channel);
      if (entry == entries_.end()) return;
      entry->second.memory = std::move(memory);
      ++entry->second.count;
    }
    came_.notify_all();
  }

  /// The last for a channel, once that many have come for it.
  Descriptor take(std::uint32_t channel, std::uint32_t count) {
    std::unique_lock lock(mutex_);
    came_.wait(lock, [&] { return entries_[channel].count >= count; });
    return std::move(entries_[channel].memory);
  }

  /// The channel is gone.
  void forget(std::uint32_t channel) {
    std::lock_guard lock(mutex_);
    entries_.erase(channel);
  }

 private:
  struct Entry {
    Descriptor memory;
    std::uint32_t count = 0;
  };
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<std::uint32_t, Entry> entries_;
};

}  // namespace bulkhead::worker
