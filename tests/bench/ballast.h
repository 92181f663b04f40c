// SPDX-License-Identifier: BSD-2-Clause
//
// What makes a host a large one.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

namespace bulkhead::bench {

/// Memory that was written to, so that a fork has it to copy. Not copyable.
class Ballast {
 public:
  explicit Ballast(std::size_t mebibytes) : size_(mebibytes << 20) {
    if (size_ == 0) return;
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory_, size_, MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < size_; i += 4096) static_cast<char*>(memory_)[i] = 1;
  }
  Ballast(const Ballast&) = delete;
  Ballast& operator=(const Ballast&) = delete;
  ~Ballast() {
    if (size_ != 0) ::munmap(memory_, size_);
  }

 private:
  std::size_t size_;
  void* memory_ = nullptr;
};

}  // namespace bulkhead::bench
