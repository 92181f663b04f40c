// SPDX-License-Identifier: BSD-2-Clause
//
// Descriptors that travel with a message on a unix socket (SCM_RIGHTS in unix(7)).
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "ipc/descriptor.h"

namespace bulkhead::ipc {

/// As many as go with one message.
inline constexpr std::size_t MAX_ATTACHED = 2;
/// What came with a message, in the order that it was sent in; empty ones at the end.
using Attached = std::array<Descriptor, MAX_ATTACHED>;

/// Room in a message for descriptors. The message that it was added to must not outlive it.
class Attachment {
 public:
  Attachment() = default;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  /// Sends copies of at most MAX_ATTACHED descriptors along with `message`; the caller keeps its
  /// own.
  void add(msghdr& message, std::span<const int> fds) {
    message.msg_control = buffer_;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }

  /// Makes room for descriptors in a message that is about to be received. The kernel itself
  /// closes what there is no room for.
  void expect(msghdr& message) {
    message.msg_control = buffer_;
    message.msg_controllen = sizeof buffer_;
  }

  /// What came with a message that was received.
  static Attached taken(const msghdr& message) {
    Attached attached;
    const cmsghdr* c = CMSG_FIRSTHDR(&message);
    if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return attached;
    std::size_t count = std::min((c->cmsg_len - CMSG_LEN(0)) / sizeof(int), MAX_ATTACHED);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      attached[i].reset(fd);
    }
    return attached;
  }

 private:
  alignas(cmsghdr) char buffer_[CMSG_SPACE(MAX_ATTACHED * sizeof(int))] = {};
};

}  // namespace bulkhead::ipc
