// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/slot_events.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "ipc/control.h"
#include "proxy/process.h"

namespace bulkhead::proxy {
namespace {

// How often modules that are not waiting, for want of a worker, are tried again.
constexpr int RETRY = 1000;  // milliseconds
// How long a wait is at most: one goes by the numbers of descriptors, and a host that gives those
// to other files is not heard of any more.
constexpr int LONGEST = 5000;

}  // namespace

// A thread that waits, and how others wake it. By a socket, which is told from the host's own
// files: all eventfds are of one file.
class SlotEvents::Waiter {
 public:
  explicit Waiter(SlotEvents& events) : events_(events) {
    if (auto pair = ipc::socketPair()) {
      asleep_ = Owned(std::move(pair->first));
      wake_ = Owned(std::move(pair->second));
    }
    std::lock_guard lock(events_.mutex_);
    events_.waiters_.insert(this);
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() {
    std::lock_guard lock(events_.mutex_);
    events_.waiters_.erase(this);
  }
  int descriptor() const { return asleep_.get(); }
  void wake() const {
    // Full means that it is awake already.
    if (int fd = wake_.get(); fd >= 0) (void)::send(fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  void sleep(std::vector<pollfd>& others, int milliseconds) const {
    others.push_back({asleep_.get(), POLLIN, 0});
    (void)::poll(others.data(), others.size(), milliseconds);
    char byte;
    if (int fd = asleep_.get(); fd >= 0)
      while (::recv(fd, &byte, sizeof byte, MSG_DONTWAIT) > 0) continue;
  }

 private:
  SlotEvents& events_;
  Owned asleep_, wake_;
};

void SlotEvents::begin(unsigned consumer) {
  std::lock_guard lock(mutex_);
  pending_[consumer].clear();
}

void SlotEvents::wakeAll() {
  std::lock_guard lock(mutex_);
  for (Waiter* waiter : waiters_) waiter->wake();
}

std::optional<CK_SLOT_ID> SlotEvents::take(unsigned consumer) {
  std::lock_guard lock(mutex_);
  auto& pending = pending_[consumer];
  if (pending.empty()) return std::nullopt;
  CK_SLOT_ID slot = *pending.begin();
  pending.erase(pending.begin());
  return slot;
}

void SlotEvents::publish(const Process& process, Module& module, CK_SLOT_ID moduleSlot) {
  auto slot = Slots::idOf({module.config().name, moduleSlot});
  if (!slot) return;
  {
    std::lock_guard lock(mutex_);
    for (unsigned consumer : process.usersOf(module)) pending_[consumer].insert(*slot);
  }
  wakeAll();
}

CK_RV SlotEvents::wait(Process& process, unsigned consumer, bool block, CK_SLOT_ID& slot) {
  std::optional<Waiter> waiter;
  if (block) {
    waiter.emplace(*this);
    if (waiter->descriptor() < 0) return CKR_HOST_MEMORY;
  }
  const std::uint64_t life = process.life(consumer);
  for (;;) {
    if (life == 0 || process.life(consumer) != life) return CKR_CRYPTOKI_NOT_INITIALIZED;
    auto pending = take(consumer);
    std::vector<pollfd> waits;
    bool all = true;
    if (!pending) {
      auto modules = process.modulesOf(consumer);
      for (auto& module : *modules)
        if (auto event = module->watch().look(*module, block)) publish(process, *module, *event);
      for (auto& module : *modules) {
        int fd = module->watch().descriptor();
        all = all && fd >= 0;
        if (fd >= 0) waits.push_back({fd, POLLIN, 0});
      }
      pending = take(consumer);
    }
    if (pending) {
      slot = *pending;
      return CKR_OK;
    }
    if (process.life(consumer) != life) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (!block) {
      // Those who wait for what was under way have to bring it under way again.
      if (!all) wakeAll();
      return CKR_NO_EVENT;
    }
    waiter->sleep(waits, all ? LONGEST : RETRY);
  }
}

}  // namespace bulkhead::proxy
