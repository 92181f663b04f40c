// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/arena.h"

#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <new>
#include <utility>

namespace bulkhead::ipc {

namespace {

// Mappings that were given back, wiped: touching fresh pages costs more than all else in a large
// call. Slots are exchanged and never locked, so a forked child may use them whatever other threads
// were doing; its copies read as zeroes.
constexpr std::size_t SMALLEST = 64 * 1024;
constexpr std::size_t LARGEST = 16 * 1024 * 1024;
constexpr std::size_t CLASSES = 9;  // 64 KiB to 16 MiB in powers of two
constexpr std::size_t EACH = 4;
std::atomic<std::byte*> spare[CLASSES][EACH];

// Sizes are rounded up to the next power of two; what is larger is not kept.
std::size_t rounded(std::size_t size) {
  return size <= LARGEST ? std::bit_ceil(std::max(size, SMALLEST)) : size;
}

std::atomic<std::byte*>* spareOf(std::size_t size) {
  if (size > LARGEST) return nullptr;
  return spare[std::bit_width(size) - std::bit_width(SMALLEST)];
}

}  // namespace

SecretMapping::SecretMapping(std::size_t size) : size_(rounded(size)) {
  if (auto slots = spareOf(size_)) {
    for (std::size_t i = 0; i < EACH; ++i) {
      data_ = slots[i].exchange(nullptr, std::memory_order_acquire);
      if (data_ != nullptr) return;
    }
  }
  void* p = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  data_ = static_cast<std::byte*>(p);
  // Advice: a kernel that refuses it leaves the memory as usable as before.
  (void)::madvise(p, size_, MADV_DONTDUMP);
  (void)::madvise(p, size_, MADV_WIPEONFORK);
}

SecretMapping::SecretMapping(SecretMapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SecretMapping& SecretMapping::operator=(SecretMapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SecretMapping::~SecretMapping() {
  if (data_ == nullptr) return;
  if (auto slots = spareOf(size_)) {
    ::explicit_bzero(data_, size_);
    for (std::size_t i = 0; i < EACH; ++i) {
      std::byte* none = nullptr;
      if (slots[i].compare_exchange_strong(none, data_, std::memory_order_release)) return;
    }
  }
  ::munmap(data_, size_);
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
