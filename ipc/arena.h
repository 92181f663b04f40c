// SPDX-License-Identifier: BSD-2-Clause
//
// Memory for the arguments of one call. It may hold PINs, keys and plain text: it is kept out of
// core dumps and of forked children, and is wiped when the call is over.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bulkhead::ipc {

/// An anonymous mapping that core dumps and forked children don't get. Movable, not copyable.
class SecretMapping {
 public:
  SecretMapping() = default;
  /// Maps `size` zeroed bytes; throws std::bad_alloc when there is no memory.
  explicit SecretMapping(std::size_t size);
  SecretMapping(SecretMapping&& other) noexcept;
  SecretMapping& operator=(SecretMapping&& other) noexcept;
  SecretMapping(const SecretMapping&) = delete;
  SecretMapping& operator=(const SecretMapping&) = delete;
  ~SecretMapping();

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A bump allocator. What it hands out is zeroed, aligned to 16 bytes and lives until reset().
/// Small requests share one block that is wiped and used again; a large one has a mapping of its
/// own. Not thread-safe.
class Arena {
 public:
  explicit Arena(std::size_t blockSize = 64 * 1024) : blockSize_(blockSize) {}

  /// Zeroed memory; throws std::bad_alloc.
  std::byte* allocate(std::size_t size);

  template <typename T>
  T* make(std::size_t count = 1) {
    if (count > SIZE_MAX / sizeof(T)) return reinterpret_cast<T*>(allocate(SIZE_MAX));
    return reinterpret_cast<T*>(allocate(count * sizeof(T)));
  }

  /// Wipes and takes back everything.
  void reset();

 private:
  std::size_t blockSize_;
  SecretMapping block_;
  std::size_t used_ = 0;
  std::vector<SecretMapping> large_;
};

}  // namespace bulkhead::ipc
