// SPDX-License-Identifier: BSD-2-Clause
//
// A channel: two pipes between a calling thread of the host and a thread of the worker, one for
// requests and one for replies. One request is answered by one reply; nothing else is ever in
// flight. A frame is an 8-byte header and a Cap'n Proto message, and small ones are written and
// read at once. Pipes, because a socket takes half as long again for the same, with one thread and
// with many: it allocates and accounts a buffer for each message, and wakes its sender for nothing.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

#include "ipc/area.h"
#include "ipc/arena.h"
#include "ipc/descriptor.h"
#include "ipc/result.h"

namespace bulkhead::ipc {

using Clock = std::chrono::steady_clock;
/// A point in time, or none for as long as it takes.
using Deadline = std::optional<Clock::time_point>;

/// The deadline that is `timeout` away; none for a timeout of zero.
inline Deadline deadlineIn(std::chrono::milliseconds timeout) {
  if (timeout.count() == 0) return std::nullopt;
  return Clock::now() + timeout;
}

/// How an exchange on a channel ended.
enum class Exchange {
  Done,
  Closed,     ///< the peer is gone
  Expired,    ///< the deadline has passed
  Malformed,  ///< the peer broke a rule of framing
  Foreign,    ///< a descriptor is no longer the channel's
  Refused,    ///< the worker has no thread for the channel, and did nothing
};

/// What stands in front of every message.
struct FrameHeader {
  /// Of the message that follows, segment table included; see LONE. See also END.
  std::uint32_t words;
  std::uint32_t sequence;  ///< the request's number; the reply repeats it
};

/// In the place of a message, from either end: there will be none on this channel.
inline constexpr FrameHeader END{0, 0xffffffff};

/// Set in a request's `words`: no other call of the host is under way, and it has several cores.
/// Waking a core that sleeps costs more than all else in a small call, so the worker keeps looking
/// for the next request for a moment before it sleeps.
inline constexpr std::uint32_t LONE = 0x80000000;
/// For how long either side looks before it sleeps.
inline constexpr std::chrono::microseconds LOOK_FOR{50};

/// Decides whether looking pays: after a few waits in vain it pauses, longer each time. Used by one
/// thread at a time.
class Looking {
 public:
  /// Whether to look now. Tell the outcome to found().
  bool worthwhile() {
    if (pause_ == 0) return true;
    --pause_;
    return false;
  }
  void found(bool yes) {
    if (yes) {
      missed_ = 0;
      return;
    }
    if (++missed_ < 3) return;
    pause_ = 16U << std::min(missed_ - 3, 6U);
  }

 private:
  unsigned missed_ = 0;
  unsigned pause_ = 0;
};

/// Builds one message in memory that is used again and wiped in between. The first segment lies
/// behind room for the frame's header, so that a message of one segment is sent as it lies.
class FrameBuilder final : public capnp::MessageBuilder {
 public:
  /// `buffer` outlives this object, is zeroed, and is wiped again at the end as far as it was used.
  explicit FrameBuilder(SecretMapping& buffer) : buffer_(buffer) {}
  ~FrameBuilder() noexcept(false) override;
  KJ_DISALLOW_COPY(FrameBuilder);

  kj::ArrayPtr<capnp::word> allocateSegment(unsigned minimumSize) override;

 private:
  friend class Channel;
  static constexpr std::size_t HEAD = sizeof(FrameHeader) + sizeof(capnp::word);
  SecretMapping& buffer_;
  bool first_ = true;
  std::vector<SecretMapping> more_;
};

/// The descriptors of one end of a channel.
struct ChannelEnd {
  Descriptor in;
  Descriptor out;
  /// Host: a second reader of what goes out. While there is one, no write to a worker that is gone
  /// raises SIGPIPE.
  Descriptor reader;
};

/// Both ends, close-on-exec and numbered above 2.
struct ChannelEnds {
  ChannelEnd host;
  ChannelEnd worker;
};
Result<ChannelEnds> channelEnds();

/// One end of a channel. Used by one thread at a time. The worker's threads block SIGPIPE.
class Channel {
 public:
  /// `maxMessage` bounds what is received, in bytes. Host: `gone`, unless -1, is a descriptor that
  /// polls readable once nobody is at the other end, whoever still has copies of its descriptors.
  Channel(ChannelEnd end, std::uint64_t maxMessage, int gone = -1);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  /// Host: tells the worker's thread that it may end, and closes those descriptors that still are
  /// the channel's.
  ~Channel();

  /// Memory for the message to send: FrameBuilder takes it.
  SecretMapping& sendBuffer() { return send_; }

  /// Host: the area, with room for `size` bytes; null when there is none to be had. Whoever asks
  /// sends it to the worker where it is unsent(). forget() clears it.
  Area* areaOf(std::size_t size);
  /// Worker: takes what the host sent.
  void setArea(Area area) { area_ = std::move(area); }
  const Area& area() const { return area_; }

  /// Sends a message. Where the host's end does, no signal is raised.
  Exchange send(FrameBuilder& message, std::uint32_t sequence, Deadline deadline,
                bool lone = false);

  /// Receives a message of at most `limit` bytes. With Done, received() is it, until the next
  /// receive() or forget(). With `look`, it may look for the message for a moment before it sleeps.
  Exchange receive(std::uint64_t limit, Deadline deadline, bool look = false);
  kj::ArrayPtr<const capnp::word> received() const { return received_; }
  std::uint32_t sequence() const { return sequence_; }
  bool lone() const { return lone_; }

  /// Wipes what was received.
  void forget();

  /// Host: whether the descriptors still are the pipes that this channel was made with. A host may
  /// close descriptors that are not its own and open others under the same numbers.
  bool isOwn() const;

  /// All of this end's. Ownership stays here.
  std::array<int, 3> descriptors() const {
    return {end_.in.get(), end_.out.get(), end_.reader.get()};
  }

  /// Where replies arrive, to be polled. Ownership stays here.
  int descriptor() const { return end_.in.get(); }

 private:
  Exchange wait(bool toSend, Deadline deadline);
  Exchange closed();
  Exchange brokenOff(Exchange how);
  Exchange take(std::byte* to, std::size_t size, Deadline deadline, std::size_t& taken);
  ssize_t takeNow(std::byte* to, std::size_t size);
  ssize_t look(std::byte* to, std::size_t size);
  bool isHost() const { return bool(end_.reader); }

  ChannelEnd end_;
  FileIdentity in_, out_, reader_;
  int gone_;
  Area area_;
  bool over_ = false;
  std::uint64_t maxMessage_;
  SecretMapping send_;
  SecretMapping receive_;
  kj::ArrayPtr<const capnp::word> received_;
  std::size_t dirty_ = 0;
  std::uint32_t sequence_ = 0;
  bool lone_ = false;
  Looking looking_;
};

/// How much of a message may be visited: a few times its size, however its pointers lie.
inline capnp::ReaderOptions readerOptions(kj::ArrayPtr<const capnp::word> message) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = message.size() * 8 + 1024;
  options.nestingLimit = 32;
  return options;
}

}  // namespace bulkhead::ipc
