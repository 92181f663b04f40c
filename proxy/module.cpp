// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/module.h"

#include <algorithm>
#include <span>

namespace bulkhead::proxy {

using ipc::Clock;

std::shared_ptr<Worker> Module::worker() const {
  std::lock_guard lock(mutex_);
  return worker_;
}

std::string Module::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

CK_RV Module::failureValue() const {
  std::lock_guard lock(mutex_);
  return failureValue_;
}

std::vector<CK_SLOT_ID> Module::lastSlots(bool tokenPresent) const {
  std::lock_guard lock(mutex_);
  return lastSlots_[tokenPresent];
}

void Module::setLastSlots(bool tokenPresent, std::vector<CK_SLOT_ID> slots) {
  std::lock_guard lock(mutex_);
  lastSlots_[tokenPresent] = std::move(slots);
}

// Starts a worker if there is none and nobody else is at it. Whoever gets one completes the start
// with endStart(). Null: there is one, or somebody else is at it, or it is not to be had.
std::shared_ptr<Worker> Module::beginStart(bool afterDeath) noexcept {
  unsigned generation;
  try {
    std::lock_guard lock(mutex_);
    if (starting_ || users_ == 0 || (worker_ != nullptr && worker_->running())) return nullptr;
    if (afterDeath) {
      // What could not start at all would fail, and log it, in every list of slots.
      if (!ran_) return nullptr;
      // Only starts after a death are counted: as many as StartLimitBurst= within the interval,
      // and then the token is not present until the interval is over.
      auto interval = worker_ == nullptr ? Worker::Terms{}.startLimitInterval
                                         : worker_->terms().startLimitInterval;
      auto burst =
          worker_ == nullptr ? Worker::Terms{}.startLimitBurst : worker_->terms().startLimitBurst;
      auto now = Clock::now();
      while (!starts_.empty() && now - starts_.front() > interval) starts_.pop_front();
      if (starts_.size() >= burst) return nullptr;
      starts_.push_back(now);
    }
    starting_ = true;
    generation = generation_++;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  auto started = Worker::start(config_, generation, logLevel_);
  if (started) return *started;
  std::string why;
  try {
    why = started.error().message();
    logToStderr(logLevel_, LogLevel::Error, config_.name, "cannot start: " + why);
  } catch (const std::bad_alloc&) {
    // Without memory for a line there is none.
  }
  {
    std::lock_guard lock(mutex_);
    starting_ = false;
    failure_ = std::move(why);
    failureValue_ = CKR_GENERAL_ERROR;
  }
  changed_.notify_all();
  return nullptr;
}

void Module::endStart(const std::shared_ptr<Worker>& worker) noexcept {
  bool unwanted;
  std::string why;
  try {
    why = worker->failure();
  } catch (const std::bad_alloc&) {
    // Without memory for the reason there is none.
  }
  {
    std::lock_guard lock(mutex_);
    starting_ = false;
    failure_ = std::move(why);
    failureValue_ = worker->failureValue();
    unwanted = users_ == 0;
    ran_ = ran_ || worker->phase() != Worker::Phase::Failed;
    if (ran_) perConsumer_.store(worker->terms().sharePerConsumer, std::memory_order_release);
    // One that failed is kept, too: its terms say when the next try may be.
    if (!unwanted) worker_ = worker;
  }
  changed_.notify_all();
  if (!unwanted) return;
  worker->beginEnd();
  worker->end();
  worker->bury();
}

void Module::awaitStart() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !starting_; });
}

void Module::acquire(const std::vector<std::shared_ptr<Module>>& modules) {
  std::vector<std::pair<Module*, std::shared_ptr<Worker>>> ours;
  std::vector<std::shared_ptr<Worker>> workers;
  // From here on no memory is needed: either all of them have one more user, or none has.
  ours.reserve(modules.size());
  workers.reserve(modules.size());
  for (auto& module : modules) {
    bool first;
    {
      std::unique_lock lock(module->mutex_);
      // A worker on its way out is not one to join.
      module->changed_.wait(lock, [&] { return !module->starting_ || module->users_ != 0; });
      first = module->users_++ == 0;
      if (first) {
        module->starts_.clear();
        module->generation_ = 0;
        module->ran_ = false;
      }
    }
    if (auto worker = module->beginStart(!first)) ours.emplace_back(module.get(), worker);
  }
  for (auto& [module, worker] : ours) workers.push_back(worker);
  Worker::awaitReady(workers);
  for (auto& [module, worker] : ours) module->endStart(worker);
  // Those that another consumer is starting at this moment.
  for (auto& module : modules) module->awaitStart();
}

void Module::release(const std::vector<std::shared_ptr<Module>>& modules,
                     Clock::time_point began) noexcept {
  // Of as many at a time as there ever are, without memory for more.
  for (auto next = modules.begin(); next != modules.end();) {
    std::array<std::pair<Module*, std::shared_ptr<Worker>>, 32> room;
    std::size_t n = 0;
    for (; next != modules.end() && n < room.size(); ++next) {
      Module& module = **next;
      std::lock_guard lock(module.mutex_);
      if (module.users_ == 0 || --module.users_ != 0) continue;
      // Until it has ended nobody starts another.
      if (module.worker_ != nullptr && !module.starting_) {
        module.starting_ = true;
        room[n++] = {&module, std::move(module.worker_)};
      }
      module.worker_ = nullptr;
      module.claimed_.store(false);
    }
    const std::span ending(room.data(), n);
    for (auto& [module, worker] : ending) worker->beginEnd(began);
    for (auto& [module, worker] : ending) worker->end();
    for (auto& [module, worker] : ending) worker->bury();
    for (auto& [module, worker] : ending) module->watch_.clear();
    for (auto& [module, worker] : ending) {
      {
        std::lock_guard lock(module->mutex_);
        module->starting_ = false;
      }
      module->changed_.notify_all();
    }
  }
}

std::shared_ptr<Worker> Module::runningWorker() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !starting_; });
      if (users_ == 0) return nullptr;
      if (worker_ != nullptr && worker_->running()) return worker_;
    }
    auto worker = beginStart(true);
    if (worker == nullptr) {
      std::unique_lock lock(mutex_);
      // Somebody else was faster, or the limit is reached.
      if (!starting_ && (worker_ == nullptr || !worker_->running())) return nullptr;
      continue;
    }
    Worker::awaitReady({worker});
    endStart(worker);
    return worker->running() ? worker : nullptr;
  }
}

std::vector<std::shared_ptr<Worker>> Module::runningWorkers(
    const std::vector<std::shared_ptr<Module>>& modules) {
  std::vector<std::pair<Module*, std::shared_ptr<Worker>>> ours;
  std::vector<std::shared_ptr<Worker>> workers;
  for (auto& module : modules) {
    auto worker = module->beginStart(true);
    if (worker == nullptr) continue;
    ours.emplace_back(module.get(), worker);
    workers.push_back(worker);
  }
  Worker::awaitReady(workers);
  for (auto& [module, worker] : ours) module->endStart(worker);
  workers.clear();
  for (auto& module : modules) {
    module->awaitStart();
    auto worker = module->worker();
    workers.push_back(worker != nullptr && worker->running() ? worker : nullptr);
  }
  return workers;
}

}  // namespace bulkhead::proxy
