// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages: few, small, one datagram each, some with descriptors. They go between a host
// and a supervisor, and between a host and a worker.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <memory>
#include <optional>

#include "ipc/attachment.h"
#include "ipc/result.h"
#include "ipc/wire.capnp.h"

namespace bulkhead::ipc {

/// A control message that was received. Plain memory of its own.
class ControlMessage {
 public:
  ControlMessage(kj::Array<capnp::word> words, Attached attached);

  /// The message; throws kj::Exception when it is malformed, here or when a field is read.
  wire::Control::Reader get() { return reader_->getRoot<wire::Control>(); }

  /// The descriptors that came with it, if any.
  Attached attached;

 private:
  kj::Array<capnp::word> words_;
  std::unique_ptr<capnp::FlatArrayMessageReader> reader_;
};

/// Two connected sockets for control messages, close-on-exec and numbered above 2.
struct SocketPair {
  Descriptor first;
  Descriptor second;
};
Result<SocketPair> socketPair();

/// Lets no descriptors come by a socket: one that a module sends could be such that its closing
/// takes as long as the module likes, and those that nobody takes count against the user. On
/// Linux 6.16 or newer; elsewhere nothing changes.
void refuseDescriptors(int socket);

/// Sends one message on a sequenced-packet socket, with copies of the descriptors `attach`.
/// Never raises SIGPIPE. Unless `mayWait`, a full socket is an error (EAGAIN). Any thread.
Result<void> sendControl(int socket, capnp::MessageBuilder& message, bool mayWait = true,
                         std::span<const int> attach = {});

/// Receives the next message, waiting for it; nothing when the peer has closed. With `dontWait`,
/// an empty socket is an error with code EAGAIN.
Result<std::optional<ControlMessage>> receiveControl(int socket, bool dontWait = false);

}  // namespace bulkhead::ipc
