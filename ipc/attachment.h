// SPDX-License-Identifier: BSD-2-Clause
//
// A descriptor that travels with a message on a unix socket (SCM_RIGHTS in unix(7)).
#pragma once

#include <sys/socket.h>

#include <cstring>

#include "ipc/descriptor.h"

namespace bulkhead::ipc {

/// Room in a message for one descriptor. The message that it was added to must not outlive it.
class Attachment {
 public:
  Attachment() = default;
  Attachment(const Attachment&) = delete;
  Attachment& operator=(const Attachment&) = delete;

  /// Sends a copy of `fd` along with `message`; the caller keeps its own.
  void add(msghdr& message, int fd) {
    expect(message);
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }

  /// Makes room for a descriptor in a message that is about to be received. The kernel itself
  /// closes what there is no room for.
  void expect(msghdr& message) {
    message.msg_control = buffer_;
    message.msg_controllen = sizeof buffer_;
  }

  /// What came with a message that was received; empty for nothing.
  static Descriptor taken(const msghdr& message) {
    const cmsghdr* c = CMSG_FIRSTHDR(&message);
    if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return {};
    int fd;
    std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return Descriptor(fd);
  }

 private:
  alignas(cmsghdr) char buffer_[CMSG_SPACE(sizeof(int))] = {};
};

}  // namespace bulkhead::ipc
