// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/watch.h"

#include <poll.h>

#include "proxy/module.h"

namespace bulkhead::proxy {
namespace {

using ipc::Clock;
using ipc::Function;

// How long a module that failed to wait is left alone.
constexpr std::chrono::seconds PAUSE{1};
// How long a reply that has begun to arrive may take to be complete, and one to a question to come.
constexpr std::chrono::seconds PATIENCE{2};

bool readable(int fd, std::chrono::milliseconds patience = {}) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, static_cast<int>(patience.count())) > 0;
}

}  // namespace

int Watch::descriptor() const {
  std::lock_guard lock(mutex_);
  return state_ == State::Waiting ? sent_.lease->descriptor() : -1;
}

std::optional<CK_SLOT_ID> Watch::look(Module& module, bool wait) {
  bool underWay;
  {
    std::lock_guard lock(mutex_);
    if (state_ == State::Taken) return std::nullopt;
    underWay = state_ == State::Waiting;
    if (underWay && !readable(sent_.lease->descriptor())) return std::nullopt;
    if (!underWay && wait && Clock::now() < notBefore_) return std::nullopt;
    state_ = State::Taken;
  }
  std::optional<CK_SLOT_ID> event;
  if (underWay) event = collect();
  // After an event the next wait is for the next look.
  bool waiting = !event && (wait || !underWay) && begin(module, wait);
  if (waiting && !wait && readable(sent_.lease->descriptor(), PATIENCE)) {
    event = collect();
    waiting = false;
  }
  {
    std::lock_guard lock(mutex_);
    state_ = waiting ? State::Waiting : State::Idle;
  }
  return event;
}

bool Watch::begin(Module& module, bool wait) {
  if (wait && Clock::now() < notBefore_) return false;
  worker_ = module.runningWorker();
  if (worker_ == nullptr) {
    notBefore_ = Clock::now() + PAUSE;
    return false;
  }
  codec_ = worker_->codec();
  waits_ = wait;
  CK_FLAGS flags = wait ? 0 : CKF_DONT_BLOCK;
  sent_ = worker_->send<Function::C_WaitForSlotEvent>(codec_, {flags, &slot_, nullptr});
  if (sent_.failed == CKR_OK) {
    // It may be under way for days, and says nothing of how busy the host is.
    sent_.lease.setAside();
    return true;
  }
  sent_ = {};
  notBefore_ = Clock::now() + PAUSE;
  return false;
}

std::optional<CK_SLOT_ID> Watch::collect() {
  CK_RV rv = CKR_DEVICE_REMOVED;
  if (sent_.lease->isOwn()) {
    sent_.deadline = Clock::now() + PATIENCE;
    rv = worker_->finish<Function::C_WaitForSlotEvent>(sent_, codec_, {0, &slot_, nullptr});
  }
  sent_ = {};
  if (rv == CKR_OK) return slot_;
  // A worker that died is replaced at once; a module that can't wait is not asked all the time.
  if (waits_ && worker_->running()) notBefore_ = Clock::now() + PAUSE;
  return std::nullopt;
}

void Watch::clear() {
  std::lock_guard lock(mutex_);
  if (state_ != State::Waiting) return;
  sent_ = {};
  worker_.reset();
  state_ = State::Idle;
}

}  // namespace bulkhead::proxy
