// SPDX-License-Identifier: BSD-2-Clause
//
// A configured module in this process: its users, its present worker, and the next one when that
// dies.
#pragma once

#include <array>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "proxy/module_config.h"
#include "proxy/watch.h"
#include "proxy/worker.h"

namespace bulkhead::proxy {

/// One module. Any thread; no lock is held while a worker starts, ends or is called.
class Module {
 public:
  Module(ModuleConfig config, LogLevel logLevel)
      : config_(std::move(config)), logLevel_(logLevel) {}
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const ModuleConfig& config() const { return config_; }

  /// Adds a user to each module and starts, side by side, those that have no worker. A module that
  /// cannot start keeps its user and has no worker.
  static void acquire(const std::vector<std::shared_ptr<Module>>& modules);

  /// Takes the user away again; modules without users are finalised, side by side, within
  /// StopTimeoutSec= after `began`.
  static void release(const std::vector<std::shared_ptr<Module>>& modules,
                      ipc::Clock::time_point began = ipc::Clock::now()) noexcept;

  /// The present worker, running or not; null before the first and after the last user.
  std::shared_ptr<Worker> worker() const;

  /// A running worker: the present one or, after a death and within StartLimitBurst=, a new one.
  /// Null where there is none to be had.
  std::shared_ptr<Worker> runningWorker();

  /// The same for each of them, side by side: null where it is not to be had.
  static std::vector<std::shared_ptr<Worker>> runningWorkers(
      const std::vector<std::shared_ptr<Module>>& modules);

  /// Why the last worker failed to start, and what it answered.
  std::string failure() const;
  CK_RV failureValue() const;

  /// The policy's Share=consumer: each consumer has a worker of its own. Known once a worker has
  /// been started; this module is then of whoever claims it first, until release() finds it without
  /// users.
  bool perConsumer() const { return perConsumer_.load(std::memory_order_acquire); }
  bool claim() { return !claimed_.exchange(true); }

  /// The wait for the module's slot events.
  Watch& watch() { return watch_; }

  /// The slots that the module listed last, in its order: all, or those with a token.
  std::vector<CK_SLOT_ID> lastSlots(bool tokenPresent) const;
  void setLastSlots(bool tokenPresent, std::vector<CK_SLOT_ID> slots);

 private:
  std::shared_ptr<Worker> beginStart(bool afterDeath) noexcept;
  void endStart(const std::shared_ptr<Worker>& worker) noexcept;
  void awaitStart();

  const ModuleConfig config_;
  const LogLevel logLevel_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<Worker> worker_;
  bool starting_ = false;
  bool ran_ = false;  // some worker got ready since the first of the present users came
  unsigned users_ = 0;
  unsigned generation_ = 0;
  std::deque<ipc::Clock::time_point> starts_;
  std::string failure_;
  CK_RV failureValue_ = CKR_GENERAL_ERROR;
  std::array<std::vector<CK_SLOT_ID>, 2> lastSlots_;
  std::atomic<bool> perConsumer_{false};
  std::atomic<bool> claimed_{false};
  Watch watch_;
};

}  // namespace bulkhead::proxy
