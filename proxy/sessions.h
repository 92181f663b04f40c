// SPDX-License-Identifier: BSD-2-Clause
//
// The sessions of all consumers, under handles that are unique in the process and never used twice.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "proxy/module.h"

namespace bulkhead::proxy {

/// The operations whose mechanism decides what their later calls carry.
enum class Operation { Sign, MessageEncrypt, MessageDecrypt, MessageSign, MessageVerify };

/// An open session.
struct Session {
  unsigned consumer;
  std::shared_ptr<Module> module;
  std::shared_ptr<Worker> worker;  ///< the one that it was opened on; there is no other for it
  CK_SLOT_ID slot;                 ///< this process's id
  CK_SLOT_ID moduleSlot;
  CK_SESSION_HANDLE real;         ///< the module's handle
  CK_SESSION_HANDLE handle;       ///< ours
  std::shared_ptr<Session> next;  ///< of those that take() yields
  /// By Operation.
  std::array<std::atomic<CK_MECHANISM_TYPE>, 5> mechanisms{
      CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION,
      CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION};
  std::atomic<CK_MECHANISM_TYPE>& mechanism(Operation operation) {
    return mechanisms[static_cast<std::size_t>(operation)];
  }
};

/// The table of sessions. Any thread.
class Sessions {
 public:
  /// Enters a session and gives it its handle.
  CK_SESSION_HANDLE add(std::shared_ptr<Session> session);
  /// The consumer's session of that handle, or null.
  std::shared_ptr<Session> find(CK_SESSION_HANDLE handle, unsigned consumer) const;
  /// Takes a session out; false when it was gone already.
  bool remove(CK_SESSION_HANDLE handle);
  /// Whether the consumer has a session on the slot.
  bool any(unsigned consumer, CK_SLOT_ID slot) const;
  /// Takes out all sessions of a consumer, of one slot or, with 0, of all: a chain, for which no
  /// memory is needed.
  std::shared_ptr<Session> take(unsigned consumer, CK_SLOT_ID slot) noexcept;

 private:
  // Threads that use different sessions seldom wait for each other.
  static constexpr std::size_t SHARDS = 16;
  struct alignas(64) Shard {
    mutable std::mutex mutex;
    std::unordered_map<CK_SESSION_HANDLE, std::shared_ptr<Session>> sessions;
  };
  Shard& shardOf(CK_SESSION_HANDLE handle) { return shards_[handle % SHARDS]; }
  const Shard& shardOf(CK_SESSION_HANDLE handle) const { return shards_[handle % SHARDS]; }

  std::array<Shard, SHARDS> shards_;
};

}  // namespace bulkhead::proxy
