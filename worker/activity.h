// SPDX-License-Identifier: BSD-2-Clause
//
// What the worker's threads are doing, in memory that the supervisor shares: after a death, or when
// a system call was refused, the supervisor names the function that was running. The module can
// write here, too, so what is read is only good for a log.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <atomic>
#include <new>
#include <string>

#include "ipc/catalogue.h"

namespace bulkhead::worker {

/// The largest number of channels, and so of threads of ours, that a worker has: twice as many as a
/// host has calls under way, as those of one burst may not all have ended when the next one comes.
inline constexpr unsigned MAX_CHANNELS = 256;

/// A page that a supervisor and its worker share. Made before the fork; lock-free.
class Activity {
 public:
  Activity() {
    void* p =
        ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED) page_ = new (p) Page;
  }
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;
  ~Activity() {
    if (page_ != nullptr) ::munmap(page_, sizeof(Page));
  }

  static constexpr std::uint16_t IDLE = 0xffff;

  /// Worker: thread `slot` of kernel id `tid` enters or, with IDLE, leaves a function.
  void set(unsigned slot, pid_t tid, std::uint16_t function) {
    if (page_ == nullptr || slot >= MAX_CHANNELS) return;
    page_->threads[slot].tid.store(tid, std::memory_order_relaxed);
    page_->threads[slot].function.store(function, std::memory_order_release);
  }

  /// Supervisor: the function that thread `tid` is in; for 0, that any thread is in; "" for none.
  std::string running(pid_t tid) const {
    if (page_ == nullptr) return {};
    for (const Thread& thread : page_->threads) {
      std::uint16_t function = thread.function.load(std::memory_order_acquire);
      if (function >= ipc::FUNCTIONS) continue;
      if (tid == 0 || thread.tid.load(std::memory_order_relaxed) == tid)
        return std::string(ipc::FUNCTION_NAMES[function]);
    }
    return {};
  }

 private:
  struct Thread {
    std::atomic<pid_t> tid{0};
    std::atomic<std::uint16_t> function{IDLE};
  };
  struct Page {
    Thread threads[MAX_CHANNELS];
  };
  Page* page_ = nullptr;
};

}  // namespace bulkhead::worker
