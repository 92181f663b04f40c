// SPDX-License-Identifier: BSD-2-Clause
//
// Memory that both ends of a channel share, for arguments too large to go through its pipes. The
// host makes it, on the first call that needs it, and the worker gets it with that call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/descriptor.h"
#include "ipc/result.h"

namespace bulkhead::ipc {

/// From this size on, in bytes, an argument travels in the area.
inline constexpr std::size_t AREA_FROM = 32 * 1024;
/// The largest area, for two arguments of half the largest message. What does not fit goes through
/// the pipe.
inline constexpr std::size_t AREA_MAX = std::size_t{65} << 20;

/// A mapping of shared memory that neither end can shrink, out of core dumps and of forked
/// children. The other end may write to it at any time: what is read from it is read once. Movable,
/// not copyable; used by one thread at a time.
class Area {
 public:
  Area() = default;
  /// Host: memory for at least `size` bytes, all of it there: touching it raises no signal. An
  /// error where the machine or a limit of the process has none to give.
  static Result<Area> make(std::size_t size);
  /// Worker: maps what the host sent.
  static Result<Area> map(Descriptor memory);
  Area(Area&& other) noexcept;
  Area& operator=(Area&& other) noexcept;
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;
  ~Area();

  std::size_t size() const { return size_; }
  /// The bytes of all areas that this process has made or mapped. Any thread.
  static std::size_t total();
  /// In a forked child, where its parent's are not: counts from nothing again.
  static void forgetInherited();

  /// Host: forgets what was placed, and wipes it.
  void clear();
  /// Host: room for `size` bytes, an offset into the area; fails when it is full.
  bool place(std::size_t size, std::uint64_t& offset);

  /// The bytes at an offset that the other end named; empty when they are not all in the area.
  std::span<std::byte> at(std::uint64_t offset, std::uint64_t size) const;

  /// Host: what to send to the worker, once; -1 when it has been sent.
  int unsent() const { return memory_.get(); }
  void sent() { memory_.reset(); }

 private:
  Area(std::byte* data, std::size_t size, Descriptor memory);
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t used_ = 0;
  Descriptor memory_;
};

}  // namespace bulkhead::ipc
