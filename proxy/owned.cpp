// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/owned.h"

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

bool isThat(int fd, const FileIdentity& identity) {
  return identity && FileIdentity::of(fd) == identity && isMarked(fd);
}

}  // namespace

Marked::Marked(int fd) : identity_(FileIdentity::of(fd)) {
  if (!identity_ || !mark(fd)) return;
  for (int i = 0; i < ENTRIES; ++i) {
    int free = -1;
    // -2 keeps the entry from others and from a child until it is complete.
    if (!entries[i].fd.compare_exchange_strong(free, -2)) continue;
    entries[i].device.store(identity_.device);
    entries[i].inode.store(identity_.inode);
    entries[i].fd.store(fd);
    entry_ = i;
    return;
  }
}

Marked::Marked(Marked&& other) noexcept
    : identity_(other.identity_), entry_(std::exchange(other.entry_, -1)) {}

Marked& Marked::operator=(Marked&& other) noexcept {
  if (this == &other) return *this;
  reset();
  identity_ = other.identity_;
  entry_ = std::exchange(other.entry_, -1);
  return *this;
}

void Marked::reset() {
  if (entry_ >= 0) entries[std::exchange(entry_, -1)].fd.store(-1);
}

bool Marked::is(int fd) const {
  return isThat(fd, identity_);
}

void Marked::closeInherited() {
  for (Entry& entry : entries) {
    int fd = entry.fd.exchange(-1);
    Descriptor closing(isThat(fd, {entry.device.load(), entry.inode.load()}) ? fd : -1);
  }
}

Owned::Owned(Descriptor fd) : fd_(fd.release()), mark_(fd_) {}

Owned& Owned::operator=(Owned&& other) noexcept {
  if (this == &other) return *this;
  reset();
  fd_ = std::exchange(other.fd_, -1);
  mark_ = std::move(other.mark_);
  return *this;
}

void Owned::reset() {
  // Only what still is ours gets closed.
  Descriptor closing(get());
  mark_.reset();
  fd_ = -1;
}

}  // namespace bulkhead::proxy
