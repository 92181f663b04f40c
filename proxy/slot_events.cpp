// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/slot_events.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "proxy/process.h"

namespace bulkhead::proxy {
namespace {

// How often modules that are not waiting, for want of a worker, are tried again.
constexpr int RETRY = 1000;  // milliseconds

}  // namespace

// A thread that waits, and how others wake it.
class SlotEvents::Waiter {
 public:
  explicit Waiter(SlotEvents& events)
      : events_(events),
        wake_(aboveStandard(Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)))) {
    std::lock_guard lock(events_.mutex_);
    events_.waiters_.insert(this);
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() {
    std::lock_guard lock(events_.mutex_);
    events_.waiters_.erase(this);
  }
  int descriptor() const { return wake_.get(); }
  void wake() const {
    std::uint64_t one = 1;
    // Full means that it is awake already.
    if (int fd = wake_.get(); fd >= 0) (void)!::write(fd, &one, sizeof one);
  }
  void sleep(std::vector<pollfd>& others, int milliseconds) const {
    others.push_back({wake_.get(), POLLIN, 0});
    (void)::poll(others.data(), others.size(), milliseconds);
    std::uint64_t count;
    if (int fd = wake_.get(); fd >= 0) (void)!::read(fd, &count, sizeof count);
  }

 private:
  SlotEvents& events_;
  Owned wake_;
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
    waiter->sleep(waits, all ? -1 : RETRY);
  }
}

}  // namespace bulkhead::proxy
