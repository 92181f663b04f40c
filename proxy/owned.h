// SPDX-License-Identifier: BSD-2-Clause
//
// Descriptors inside a process that is not ours. The host may close them behind our back and open
// others under the same numbers, and a forked child inherits copies that it does not know of.
#pragma once

#include "ipc/descriptor.h"

namespace bulkhead::proxy {

/// Marks a descriptor as one that a forked child is to close its copy of. Movable, not copyable; to
/// be gone before the descriptor is.
class Marked {
 public:
  Marked() = default;
  explicit Marked(int fd);
  Marked(Marked&& other) noexcept;
  Marked& operator=(Marked&& other) noexcept;
  Marked(const Marked&) = delete;
  Marked& operator=(const Marked&) = delete;
  ~Marked() { reset(); }
  void reset();

  /// Whether `fd` is what was marked.
  bool is(int fd) const;

  /// In a forked child: closes the copies of everything that was marked in the parent. Needs no
  /// lock, so it does not matter what other threads of the parent were doing.
  static void closeInherited();

 private:
  FileIdentity identity_;
  int entry_ = -1;  // in the table that closeInherited() reads
};

/// A descriptor that remembers which file it was made for, and is closed only if it still is that
/// one. Movable, not copyable. Used by one thread at a time, or only read.
class Owned {
 public:
  Owned() = default;
  explicit Owned(Descriptor fd);
  Owned(Owned&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), mark_(std::move(other.mark_)) {}
  Owned& operator=(Owned&& other) noexcept;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() { reset(); }

  /// The number if it still is what it was made for, else -1.
  int get() const { return mark_.is(fd_) ? fd_ : -1; }
  explicit operator bool() const { return fd_ >= 0; }

  /// Closes it, if it still is ours.
  void reset();

 private:
  int fd_ = -1;
  Marked mark_;
};

}  // namespace bulkhead::proxy
