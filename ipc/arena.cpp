// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/arena.h"

#include <string.h>
#include <sys/mman.h>

#include <new>
#include <utility>

namespace bulkhead::ipc {

SecretMapping::SecretMapping(std::size_t size) : size_(size) {
  void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(p);
  // Advice: a kernel that refuses it leaves the memory as usable as before.
  (void)::madvise(p, size, MADV_DONTDUMP);
  (void)::madvise(p, size, MADV_WIPEONFORK);
}

SecretMapping::SecretMapping(SecretMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretMapping& SecretMapping::operator=(SecretMapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SecretMapping::~SecretMapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

std::byte* Arena::allocate(std::size_t size) {
  if (size > SIZE_MAX - 16) throw std::bad_alloc();
  size = (size + 15) & ~std::size_t{15};
  if (size == 0) size = 16;
  if (size > blockSize_ / 4) {
    large_.emplace_back(size);
    return large_.back().data();
  }
  if (block_.data() == nullptr) block_ = SecretMapping(blockSize_);
  if (size > block_.size() - used_) {
    large_.emplace_back(blockSize_);
    // The full block waits for reset() among the large ones.
    std::swap(block_, large_.back());
    used_ = 0;
  }
  std::byte* p = block_.data() + used_;
  used_ += size;
  return p;
}

void Arena::reset() {
  if (block_.data() != nullptr) ::explicit_bzero(block_.data(), used_);
  used_ = 0;
  large_.clear();
}

}  // namespace bulkhead::ipc
