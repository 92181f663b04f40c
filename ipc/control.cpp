// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/control.h"

#include <string.h>
#include <sys/socket.h>

#include "ipc/channel.h"

namespace bulkhead::ipc {
namespace {
constexpr std::size_t MAX_CONTROL = 128 * 1024;
// Newer than the headers: SO_PASSRIGHTS of Linux 6.16.
constexpr int PASSRIGHTS = 83;
}  // namespace

ControlMessage::ControlMessage(kj::Array<capnp::word> words, Attached descriptors)
    : attached(std::move(descriptors)),
      words_(kj::mv(words)),
      reader_(std::make_unique<capnp::FlatArrayMessageReader>(words_, readerOptions(words_))) {}

Result<SocketPair> socketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
    return systemError("socketpair");
  SocketPair pair{aboveStandard(Descriptor(fds[0])), aboveStandard(Descriptor(fds[1]))};
  if (!pair.first || !pair.second) return systemError("socketpair: no descriptor above 2");
  return pair;
}

void refuseDescriptors(int socket) {
  const int no = 0;
  (void)::setsockopt(socket, SOL_SOCKET, PASSRIGHTS, &no, sizeof no);
}

Result<void> sendControl(int socket, capnp::MessageBuilder& message, bool mayWait,
                         std::span<const int> attach) {
  auto words = capnp::messageToFlatArray(message);
  auto bytes = words.asBytes();
  if (bytes.size() > MAX_CONTROL) return Error{"control message", EMSGSIZE, {}};
  iovec part{bytes.begin(), bytes.size()};
  Attachment attachment;
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  if (!attach.empty()) attachment.add(m, attach);
  for (;;) {
    if (::sendmsg(socket, &m, MSG_NOSIGNAL | (mayWait ? 0 : MSG_DONTWAIT)) >= 0) return {};
    if (errno != EINTR) return systemError("send control message");
  }
}

Result<std::optional<ControlMessage>> receiveControl(int socket, bool dontWait) {
  // Its size first: a worker at its limit of memory has not the room for the largest.
  ssize_t n;
  do {
    n = ::recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC | (dontWait ? MSG_DONTWAIT : 0));
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == ECONNRESET) return std::optional<ControlMessage>();
  if (n < 0) return systemError("receive control message");
  const std::size_t size = std::min<std::size_t>(static_cast<std::size_t>(n), MAX_CONTROL);
  auto words = kj::heapArray<capnp::word>(size / sizeof(capnp::word));
  iovec part{words.begin(), words.asBytes().size()};
  Attachment attachment;
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  attachment.expect(m);
  do {
    n = ::recvmsg(socket, &m, MSG_CMSG_CLOEXEC | (dontWait ? MSG_DONTWAIT : 0));
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == ECONNRESET) return std::optional<ControlMessage>();
  if (n < 0) return systemError("receive control message");
  Attached attached = Attachment::taken(m);
  if (n == 0 && size == 0) return std::optional<ControlMessage>();
  // Another process that has the socket may have taken the message that was looked at.
  if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
      static_cast<std::size_t>(n) != words.asBytes().size())
    return Error{"receive control message", EBADMSG, {}};
  for (Descriptor& one : attached) one = aboveStandard(std::move(one));
  try {
    return std::optional<ControlMessage>(std::in_place, kj::mv(words), std::move(attached));
  } catch (const kj::Exception& e) {
    return Error{"receive control message", EBADMSG, e.getDescription().cStr()};
  }
}

}  // namespace bulkhead::ipc
