// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace bulkhead::ipc {
namespace {

constexpr std::size_t BUFFER = 64 * 1024;
// For how long descriptors are polled before one looks whether they still are the channel's: a poll
// goes by their numbers, and the host may have given those to other files.
constexpr std::chrono::seconds TRUST{2};
// A sleep so short changes nothing: the look just before it may be as old.
constexpr std::chrono::milliseconds MOMENT{1};

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

Channel::Channel(ChannelEnd end, std::uint64_t maxMessage, int gone)
    : end_(std::move(end)), gone_(gone), maxMessage_(maxMessage), send_(BUFFER), receive_(BUFFER) {
  // The worker's end is in a process of ours, and under a filter.
  if (!isHost()) return;
  in_ = FileIdentity::of(end_.in.get());
  out_ = FileIdentity::of(end_.out.get());
  reader_ = FileIdentity::of(end_.reader.get());
  for (const Descriptor* fd : {&end_.in, &end_.out, &end_.reader}) (void)mark(fd->get());
}

Channel::~Channel() {
  if (!isHost()) return;
  // Where a process that the host forked has copies, closing these tells the worker nothing. A
  // frame without a message does; a worker that has but a part of one is about to be ended.
  if (!over_ && isOwn()) (void)!::write(end_.out.get(), &END, sizeof END);
  auto giveUp = [](Descriptor& fd, const FileIdentity& identity) {
    if (FileIdentity::of(fd.get()) != identity) (void)fd.release();
  };
  giveUp(end_.in, in_);
  giveUp(end_.out, out_);
  giveUp(end_.reader, reader_);
}

bool Channel::isOwn() const {
  // Without the second reader a write may be a signal.
  return out_ && FileIdentity::of(end_.out.get()) == out_ && isMarked(end_.in.get()) &&
         isMarked(end_.reader.get());
}

Area* Channel::areaOf(std::size_t size) {
  if (area_.size() < size) {
    auto larger = Area::make(size);
    if (!larger) return nullptr;
    area_ = std::move(*larger);
  }
  return &area_;
}

// Waits until there is something to read or room to write to, until the deadline. Signals don't
// count as an answer.
Exchange Channel::wait(bool toSend, Deadline deadline) {
  for (;;) {
    const auto began = Clock::now();
    Clock::duration rest = TRUST;
    if (deadline) {
      rest = std::min<Clock::duration>(rest, *deadline - began);
      if (rest <= rest.zero()) return Exchange::Expired;
    }
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(rest);
    timespec left{};
    left.tv_sec = seconds.count();
    left.tv_nsec = std::chrono::nanoseconds(rest - seconds).count();
    // A pipe that we read ourselves never tells that nobody else does; the other one does.
    pollfd fds[] = {{end_.in.get(), static_cast<short>(toSend ? 0 : POLLIN), 0},
                    {gone_, POLLIN, 0},
                    {end_.out.get(), POLLOUT, 0}};
    int n = ::ppoll(fds, toSend ? 3 : 2, &left, nullptr);
    if (n == 0 && isHost() && !isOwn()) return Exchange::Foreign;
    if (n == 0) continue;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EINVAL) {
      // A host may have given up its right to descriptors, and with it that to poll those it has.
      timespec moment{0, 200'000};
      (void)::nanosleep(&moment, nullptr);
      return Exchange::Done;
    }
    if (n < 0) return Exchange::Closed;
    // While we slept the host may have closed them, and opened others under their numbers.
    if (isHost() && Clock::now() - began > MOMENT && !isOwn()) return Exchange::Foreign;
    if (toSend) return fds[0].revents != 0 || fds[1].revents != 0 ? closed() : Exchange::Done;
    return fds[0].revents != 0 ? Exchange::Done : Exchange::Closed;
  }
}

// Where nobody is at the other end there is nobody to tell of this one's.
Exchange Channel::brokenOff(Exchange how) {
  over_ = how != Exchange::Expired;
  return how;
}

// The worker has closed before it took a whole request. It may have said why.
Exchange Channel::closed() {
  FrameHeader header{};
  bool refused = isHost() && isOwn() &&
                 ::read(end_.in.get(), &header, sizeof header) == sizeof header &&
                 header.words == END.words && header.sequence == END.sequence;
  return refused ? Exchange::Refused : Exchange::Closed;
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
  iovec whole;
  std::span<iovec> rest;
  if (contiguous) {
    whole = {head, headSize + segments[0].asBytes().size()};
    rest = std::span(&whole, 1);
  } else {
    parts.push_back({head, headSize});
    for (auto& segment : segments)
      parts.push_back({const_cast<capnp::word*>(segment.begin()), segment.asBytes().size()});
    rest = parts;
  }

  while (!rest.empty()) {
    ssize_t n = rest.size() == 1
                    ? ::write(end_.out.get(), rest.front().iov_base, rest.front().iov_len)
                    : ::writev(end_.out.get(), rest.data(),
                               static_cast<int>(std::min<std::size_t>(rest.size(), 64)));
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return brokenOff(errno == EBADF ? Exchange::Foreign : Exchange::Closed);
      Exchange waited = wait(true, deadline);
      if (waited != Exchange::Done) return brokenOff(waited);
      continue;
    }
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

// Takes what is there, without waiting for it.
ssize_t Channel::takeNow(std::byte* to, std::size_t size) {
  // The host's end never blocks; the worker's does, but for this.
  if (isHost()) return ::read(end_.in.get(), to, size);
  iovec part{to, size};
  ssize_t n = ::preadv2(end_.in.get(), &part, 1, -1, RWF_NOWAIT);
  if (n >= 0 || errno != EOPNOTSUPP) return n;
  // Pipes have that since Linux 6.4.
  pollfd one{end_.in.get(), POLLIN, 0};
  if (::poll(&one, 1, 0) > 0) return ::read(end_.in.get(), to, size);
  errno = EAGAIN;
  return -1;
}

// Takes what is there within a moment. Less than 0 for nothing.
ssize_t Channel::look(std::byte* to, std::size_t size) {
  auto end = Clock::now() + LOOK_FOR;
  ssize_t n;
  do {
    n = takeNow(to, size);
  } while (n < 0 && errno == EAGAIN && Clock::now() < end);
  looking_.found(n >= 0 || errno != EAGAIN);
  return n;
}

// Waits for something to read, and takes what is there.
Exchange Channel::take(std::byte* to, std::size_t size, Deadline deadline, std::size_t& taken) {
  for (;;) {
    if (isHost() || deadline) {
      Exchange waited = wait(false, deadline);
      if (waited != Exchange::Done) return waited;
    }
    ssize_t n = ::read(end_.in.get(), to, size);
    taken = n < 0 ? 0 : static_cast<std::size_t>(n);
    if (n > 0) return Exchange::Done;
    if (n == 0) return Exchange::Closed;
    if (errno == EBADF) return Exchange::Foreign;
    if (errno != EAGAIN && errno != EINTR) return Exchange::Closed;
  }
}

Exchange Channel::receive(std::uint64_t limit, Deadline deadline, bool lookFirst) {
  limit = std::min(limit, maxMessage_ + 2 * BUFFER);
  received_ = nullptr;
  std::size_t have = 0;
  std::size_t want = sizeof(FrameHeader);
  if (lookFirst && looking_.worthwhile())
    if (ssize_t n = look(receive_.data(), receive_.size()); n > 0)
      have = static_cast<std::size_t>(n);
  bool headerIsThere = false;
  for (;;) {
    dirty_ = std::max(dirty_, have);
    if (!headerIsThere && have >= sizeof(FrameHeader)) {
      headerIsThere = true;
      FrameHeader header;
      std::memcpy(&header, receive_.data(), sizeof header);
      sequence_ = header.sequence;
      lone_ = (header.words & LONE) != 0;
      std::uint64_t size = std::uint64_t{header.words & ~LONE} * sizeof(capnp::word);
      if (size == 0 && isHost() && header.sequence == END.sequence && have == sizeof header)
        return Exchange::Refused;
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
    std::size_t taken = 0;
    // A peer that sends one byte at a time gets no more time for it.
    Exchange how = take(receive_.data() + have, receive_.size() - have, deadline, taken);
    if (how != Exchange::Done) return brokenOff(how);
    have += taken;
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

Result<ChannelEnds> channelEnds() {
  ChannelEnds ends;
  auto pipe = [](Descriptor& reading, Descriptor& writing) {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) return false;
    reading = aboveStandard(Descriptor(fds[0]));
    writing = aboveStandard(Descriptor(fds[1]));
    return bool(reading) && bool(writing);
  };
  if (!pipe(ends.worker.in, ends.host.out) || !pipe(ends.host.in, ends.worker.out))
    return systemError("pipe");
  ends.host.reader.reset(::fcntl(ends.worker.in.get(), F_DUPFD_CLOEXEC, 3));
  if (!ends.host.reader) return systemError("pipe");
  // The host's own ends, and not the worker's: those are other open files.
  for (int fd : {ends.host.in.get(), ends.host.out.get()})
    if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return systemError("pipe");
  return ends;
}

}  // namespace bulkhead::ipc
