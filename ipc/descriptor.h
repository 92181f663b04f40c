// SPDX-License-Identifier: BSD-2-Clause
//
// File descriptors with an owner.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace bulkhead {

/// Owns one file descriptor and closes it at its end of life. Movable, not copyable.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  /// The number, -1 when nothing is owned. Ownership stays here.
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  /// Gives the descriptor away: the caller closes it.
  int release() { return std::exchange(fd_, -1); }

  /// Closes what is owned and owns `fd` from now on.
  void reset(int fd = -1) {
    int old = std::exchange(fd_, fd);
    // close() frees the number even when it reports an error, so there is nothing to retry.
    if (old >= 0) ::close(old);
  }

 private:
  int fd_ = -1;
};

/// Which file a descriptor is of, whatever number it has. Plain value.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;

  /// That of `fd`; one that no file has where `fd` is none.
  static FileIdentity of(int fd) {
    struct stat status;
    if (fd < 0 || ::fstat(fd, &status) != 0) return {};
    return {status.st_dev, status.st_ino};
  }
  explicit operator bool() const { return inode != 0; }
  bool operator==(const FileIdentity&) const = default;
};

/// Marks an open file in a host's process as one of ours, for isMarked(): with the signal that it
/// would raise if it were asked for any. Cheaper to ask for than its identity, and told apart where
/// that is shared: event descriptors, and pidfds before Linux 6.9, all are one file.
inline constexpr int OWN_MARK = SIGSTKFLT;
inline bool mark(int fd) {
  return ::fcntl(fd, F_SETSIG, OWN_MARK) == 0;
}
inline bool isMarked(int fd) {
  return ::fcntl(fd, F_GETSIG) == OWN_MARK;
}

/// Moves a descriptor that must not be 0, 1 or 2 out of their way: some programs close those and
/// open others in their place. Takes ownership; yields an empty Descriptor when none is left.
inline Descriptor aboveStandard(Descriptor fd) {
  if (fd.get() > 2 || !fd) return fd;
  return Descriptor(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
}

}  // namespace bulkhead
