// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/channel.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "ipc/attachment.h"

namespace bulkhead::ipc {
namespace {

constexpr std::size_t BUFFER = 64 * 1024;

// What a segment takes besides its words: its size in the table.
std::size_t tableWords(std::size_t segments) {
  return segments / 2 + 1;
}

}  // namespace

FrameBuilder::~FrameBuilder() noexcept(false) {
  if (first_) return;
  auto segments = getSegmentsForOutput();
  std::size_t used = segments.size() == 0 ? 0 : segments[0].asBytes().size();
  ::explicit_bzero(buffer_.data(), std::min(HEAD + used, buffer_.size()));
}

kj::ArrayPtr<capnp::word> FrameBuilder::allocateSegment(unsigned minimumSize) {
  std::size_t words = (buffer_.size() - HEAD) / sizeof(capnp::word);
  if (first_ && minimumSize <= words) {
    first_ = false;
    return {reinterpret_cast<capnp::word*>(buffer_.data() + HEAD), words};
  }
  std::size_t bytes = std::max<std::size_t>(minimumSize * sizeof(capnp::word), BUFFER);
  more_.emplace_back(bytes);
  return {reinterpret_cast<capnp::word*>(more_.back().data()), bytes / sizeof(capnp::word)};
}

Channel::Channel(Descriptor socket, std::uint64_t maxMessage, End end)
    : socket_(std::move(socket)),
      end_(end),
      cookie_(socketCookie(socket_.get())),
      maxMessage_(maxMessage),
      send_(BUFFER),
      receive_(BUFFER) {}

bool Channel::isOwn() const {
  return cookie_ != 0 && socketCookie(socket_.get()) == cookie_;
}

void Channel::shut() {
  ::shutdown(socket_.get(), SHUT_RDWR);
}

Area* Channel::areaOf(std::size_t size) {
  if (area_.size() < size) {
    auto larger = Area::make(size);
    if (!larger) return nullptr;
    area_ = std::move(*larger);
  }
  return &area_;
}

// Receives what is there, and at the worker's end the area that may come with it.
ssize_t Channel::take(std::byte* to, std::size_t size, int flags) {
  if (end_ == End::Host) return ::recv(socket_.get(), to, size, flags);
  iovec part{to, size};
  Attachment attachment;
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  attachment.expect(m);
  ssize_t n = ::recvmsg(socket_.get(), &m, flags | MSG_CMSG_CLOEXEC);
  if (n < 0) return n;
  if (Descriptor memory = Attachment::taken(m)) {
    auto area = Area::map(std::move(memory));
    // Without it, what names a place in it is refused.
    area_ = area ? std::move(*area) : Area();
  }
  return n;
}

// Waits for the socket until the deadline. Signals don't count as an answer.
Exchange Channel::wait(short events, Deadline deadline) {
  for (;;) {
    timespec left{};
    if (deadline) {
      auto rest = *deadline - Clock::now();
      if (rest <= rest.zero()) return Exchange::Expired;
      auto seconds = std::chrono::duration_cast<std::chrono::seconds>(rest);
      left.tv_sec = seconds.count();
      left.tv_nsec = std::chrono::nanoseconds(rest - seconds).count();
    }
    pollfd one{socket_.get(), events, 0};
    int n = ::ppoll(&one, 1, deadline ? &left : nullptr, nullptr);
    if (n > 0) return (one.revents & POLLNVAL) != 0 ? Exchange::Foreign : Exchange::Done;
    if (n == 0) return Exchange::Expired;
    if (errno != EINTR) return Exchange::Closed;
  }
}

Exchange Channel::send(FrameBuilder& message, std::uint32_t sequence, Deadline deadline,
                       bool lone) {
  auto segments = message.getSegmentsForOutput();
  std::size_t words = tableWords(segments.size());
  for (auto& segment : segments) words += segment.size();
  if (words * sizeof(capnp::word) > maxMessage_ + 2 * BUFFER || words >= LONE)
    return Exchange::Malformed;

  // The header and the segment table: in front of the first segment where they fit there.
  std::vector<std::byte> longHead;
  std::byte* head = send_.data();
  std::size_t headSize = sizeof(FrameHeader) + tableWords(segments.size()) * sizeof(capnp::word);
  bool contiguous =
      headSize == FrameBuilder::HEAD &&
      segments[0].asBytes().begin() == reinterpret_cast<kj::byte*>(head + FrameBuilder::HEAD);
  if (!contiguous) {
    longHead.resize(headSize);
    head = longHead.data();
  }
  FrameHeader header{static_cast<std::uint32_t>(words) | (lone ? LONE : 0), sequence};
  std::memcpy(head, &header, sizeof header);
  auto table = head + sizeof header;
  auto put = [&](std::size_t index, std::uint32_t value) {
    std::memcpy(table + index * sizeof value, &value, sizeof value);
  };
  put(0, static_cast<std::uint32_t>(segments.size() - 1));
  for (std::size_t i = 0; i < segments.size(); ++i)
    put(i + 1, static_cast<std::uint32_t>(segments[i].size()));

  std::vector<iovec> parts;
  iovec two[2];
  std::span<iovec> rest;
  if (contiguous) {
    two[0] = {head, headSize + segments[0].asBytes().size()};
    rest = std::span(two, 1);
  } else {
    parts.push_back({head, headSize});
    for (auto& segment : segments)
      parts.push_back({const_cast<capnp::word*>(segment.begin()), segment.asBytes().size()});
    rest = parts;
  }

  while (!rest.empty()) {
    msghdr m{};
    m.msg_iov = rest.data();
    m.msg_iovlen = std::min<std::size_t>(rest.size(), 64);
    Attachment attachment;
    if (int memory = area_.unsent(); memory >= 0) attachment.add(m, memory);
    ssize_t n = ::sendmsg(socket_.get(), &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN)
        return errno == EBADF || errno == ENOTSOCK ? Exchange::Foreign : Exchange::Closed;
      Exchange waited = wait(POLLOUT, deadline);
      if (waited != Exchange::Done) return waited;
      continue;
    }
    area_.sent();
    auto sent = static_cast<std::size_t>(n);
    while (!rest.empty() && sent >= rest.front().iov_len) {
      sent -= rest.front().iov_len;
      rest = rest.subspan(1);
    }
    if (sent != 0) {
      rest.front().iov_base = static_cast<std::byte*>(rest.front().iov_base) + sent;
      rest.front().iov_len -= sent;
    }
  }
  return Exchange::Done;
}

// Lets the socket itself watch the deadline, so that a wait is one system call. Timeouts are whole
// seconds and few, so this one is seldom made; what is left after them is for wait(). False when it
// is less than a second.
bool Channel::setPatience(Deadline deadline) {
  std::int64_t seconds = 0;
  if (deadline) {
    seconds = std::chrono::floor<std::chrono::seconds>(*deadline - Clock::now()).count();
    if (seconds < 1) return false;
  }
  if (seconds == patience_) return true;
  timeval value{seconds, 0};
  if (::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &value, sizeof value) != 0) return false;
  patience_ = seconds;
  return true;
}

ssize_t Channel::lookFor(std::byte* to, std::size_t size) {
  auto end = Clock::now() + LOOK_FOR;
  ssize_t n;
  do {
    n = take(to, size, MSG_DONTWAIT);
  } while (n < 0 && errno == EAGAIN && Clock::now() < end);
  looking_.found(n >= 0 || errno != EAGAIN);
  return n;
}

Exchange Channel::receive(std::uint64_t limit, Deadline deadline, bool look) {
  limit = std::min(limit, maxMessage_ + 2 * BUFFER);
  received_ = nullptr;
  std::size_t have = 0;
  std::size_t want = sizeof(FrameHeader);
  ssize_t n = -1;
  errno = EAGAIN;
  if (look && looking_.worthwhile()) n = lookFor(receive_.data(), receive_.size());
  if (n < 0 && errno == EAGAIN) {
    if (setPatience(deadline))
      n = take(receive_.data(), receive_.size(), 0);
    else
      errno = EAGAIN;
  }
  for (;;) {
    if (n == 0) return Exchange::Closed;
    if (n < 0) {
      if (errno == EBADF || errno == ENOTSOCK) return Exchange::Foreign;
      if (errno != EAGAIN && errno != EINTR) return Exchange::Closed;
      // The socket's own timeout is coarse, and starts anew with each call.
      Exchange waited = wait(POLLIN, deadline);
      if (waited != Exchange::Done) return waited;
      n = take(receive_.data() + have, receive_.size() - have, MSG_DONTWAIT);
      continue;
    }
    bool headerWasThere = have >= sizeof(FrameHeader);
    have += static_cast<std::size_t>(n);
    dirty_ = std::max(dirty_, have);
    if (!headerWasThere && have >= sizeof(FrameHeader)) {
      FrameHeader header;
      std::memcpy(&header, receive_.data(), sizeof header);
      sequence_ = header.sequence;
      lone_ = (header.words & LONE) != 0;
      std::uint64_t size = std::uint64_t{header.words & ~LONE} * sizeof(capnp::word);
      if (size == 0 || size > limit) return Exchange::Malformed;
      want = sizeof header + size;
      if (want > receive_.size()) {
        SecretMapping larger(want);
        std::memcpy(larger.data(), receive_.data(), have);
        ::explicit_bzero(receive_.data(), have);
        receive_ = std::move(larger);
      }
    }
    if (have >= want) break;
    if (deadline) {
      // A peer that sends one byte at a time gets no more time for it.
      Exchange waited = wait(POLLIN, deadline);
      if (waited != Exchange::Done) return waited;
    }
    n = take(receive_.data() + have, receive_.size() - have, deadline ? MSG_DONTWAIT : 0);
  }
  // Two messages at once: nothing was asked twice.
  if (have != want) return Exchange::Malformed;
  received_ =
      kj::arrayPtr(reinterpret_cast<const capnp::word*>(receive_.data() + sizeof(FrameHeader)),
                   (want - sizeof(FrameHeader)) / sizeof(capnp::word));
  return Exchange::Done;
}

void Channel::forget() {
  received_ = nullptr;
  area_.clear();
  if (receive_.size() > BUFFER) {
    receive_ = SecretMapping(BUFFER);
  } else {
    ::explicit_bzero(receive_.data(), dirty_);
  }
  dirty_ = 0;
}

Result<SocketPair> socketPair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) return systemError("socketpair");
  SocketPair pair{aboveStandard(Descriptor(fds[0])), aboveStandard(Descriptor(fds[1]))};
  if (!pair.first || !pair.second) return systemError("socketpair: no descriptor above 2");
  // Large messages then take fewer turns between the two ends. The system's limit caps it.
  int room = 1 << 20;
  if (type == SOCK_STREAM)
    for (int fd : {pair.first.get(), pair.second.get()})
      (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  return pair;
}

std::uint64_t socketCookie(int fd) {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return 0;
  return cookie;
}

}  // namespace bulkhead::ipc
