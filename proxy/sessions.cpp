// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/sessions.h"

namespace bulkhead::proxy {
namespace {

// Of the process, not of its state: also a forked child gives out handles that its parent has not.
std::atomic<CK_SESSION_HANDLE> last{0};

}  // namespace

CK_SESSION_HANDLE Sessions::add(std::shared_ptr<Session> session) {
  CK_SESSION_HANDLE handle = last.fetch_add(1) + 1;
  session->handle = handle;
  Shard& shard = shardOf(handle);
  std::lock_guard lock(shard.mutex);
  shard.sessions.emplace(handle, std::move(session));
  return handle;
}

std::shared_ptr<Session> Sessions::find(CK_SESSION_HANDLE handle, unsigned consumer) const {
  const Shard& shard = shardOf(handle);
  std::lock_guard lock(shard.mutex);
  auto found = shard.sessions.find(handle);
  if (found == shard.sessions.end() || found->second->consumer != consumer) return nullptr;
  return found->second;
}

bool Sessions::remove(CK_SESSION_HANDLE handle) {
  std::shared_ptr<Session> removed;
  Shard& shard = shardOf(handle);
  std::lock_guard lock(shard.mutex);
  auto found = shard.sessions.find(handle);
  if (found == shard.sessions.end()) return false;
  removed = std::move(found->second);
  shard.sessions.erase(found);
  return true;
}

bool Sessions::any(unsigned consumer, CK_SLOT_ID slot) const {
  for (const Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    for (auto& [handle, session] : shard.sessions)
      if (session->consumer == consumer && session->slot == slot) return true;
  }
  return false;
}

std::shared_ptr<Session> Sessions::take(unsigned consumer, CK_SLOT_ID slot) noexcept {
  std::shared_ptr<Session> chain;
  for (Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    std::erase_if(shard.sessions, [&](auto& entry) {
      auto& session = entry.second;
      if (session->consumer != consumer || (slot != 0 && session->slot != slot)) return false;
      session->next = std::move(chain);
      chain = std::move(session);
      return true;
    });
  }
  return chain;
}

}  // namespace bulkhead::proxy
