// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/owned.h"

#include <signal.h>

#include <atomic>
#include <utility>

namespace bulkhead::proxy {
namespace {

// What the process owns, for the children that it may fork. More than this many are simply not
// closed in a child; close-on-exec ends them there all the same.
struct Entry {
  std::atomic<int> fd{-1};
  std::atomic<dev_t> device{0};
  std::atomic<ino_t> inode{0};
};
constexpr int ENTRIES = 2048;
Entry entries[ENTRIES];

// Event descriptors, and pidfds before Linux 6.9, all have one inode, and a host may have some of
// its own. What tells ours is the signal that they would raise if they were asked for any.
constexpr int MARK = SIGSTKFLT;

bool is(int fd, const FileIdentity& identity) {
  return identity && FileIdentity::of(fd) == identity && ::fcntl(fd, F_GETSIG) == MARK;
}

}  // namespace

Owned::Owned(Descriptor fd) : fd_(fd.release()), identity_(FileIdentity::of(fd_)) {
  if (!identity_ || ::fcntl(fd_, F_SETSIG, MARK) != 0) return;
  for (int i = 0; i < ENTRIES; ++i) {
    int free = -1;
    // -2 keeps the entry from others and from a child until it is complete.
    if (!entries[i].fd.compare_exchange_strong(free, -2)) continue;
    entries[i].device.store(identity_.device);
    entries[i].inode.store(identity_.inode);
    entries[i].fd.store(fd_);
    entry_ = i;
    return;
  }
}

Owned::Owned(Owned&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      entry_(std::exchange(other.entry_, -1)),
      identity_(other.identity_) {}

Owned& Owned::operator=(Owned&& other) noexcept {
  if (this == &other) return *this;
  reset();
  fd_ = std::exchange(other.fd_, -1);
  entry_ = std::exchange(other.entry_, -1);
  identity_ = other.identity_;
  return *this;
}

int Owned::get() const {
  return is(fd_, identity_) ? fd_ : -1;
}

void Owned::reset() {
  if (entry_ >= 0) entries[std::exchange(entry_, -1)].fd.store(-1);
  // Only what still is ours gets closed.
  Descriptor closing(is(fd_, identity_) ? fd_ : -1);
  fd_ = -1;
}

void Owned::closeInherited() {
  for (Entry& entry : entries) {
    int fd = entry.fd.exchange(-1);
    Descriptor closing(is(fd, {entry.device.load(), entry.inode.load()}) ? fd : -1);
  }
}

}  // namespace bulkhead::proxy
