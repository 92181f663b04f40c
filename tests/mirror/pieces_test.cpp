// SPDX-License-Identifier: BSD-2-Clause
//
// What calls are made of: handles with generations, memory that forgets, frames.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "ipc/arena.h"
#include "ipc/channel.h"
#include "ipc/codec.h"
#include "ipc/control.h"

namespace bulkhead::ipc {
namespace {

using namespace std::chrono_literals;

TEST(ObjectHandles, OfTheFirstWorkerPassUntouched) {
  ObjectHandles first(0);
  for (CK_OBJECT_HANDLE h : {CK_OBJECT_HANDLE{0}, CK_OBJECT_HANDLE{5}, ~CK_OBJECT_HANDLE{0}}) {
    CK_OBJECT_HANDLE own = h;
    EXPECT_TRUE(first.toModule(own));
    EXPECT_EQ(own, h);
    EXPECT_EQ(first.toHost(h), h);
  }
}

TEST(ObjectHandles, OfOneWorkerNeverNameAnythingOfAnother) {
  for (std::uint32_t a = 1; a < 5; ++a) {
    CK_OBJECT_HANDLE given = ObjectHandles(a).toHost(77);
    EXPECT_NE(given, 77U);
    for (std::uint32_t b = 1; b < 5; ++b) {
      CK_OBJECT_HANDLE back = given;
      EXPECT_EQ(ObjectHandles(b).toModule(back), a == b);
      if (a == b) {
        EXPECT_EQ(back, 77U);
      }
    }
    // One from before the first death.
    CK_OBJECT_HANDLE old = 77;
    EXPECT_FALSE(ObjectHandles(a).toModule(old));
  }
}

TEST(ObjectHandles, AreInvalidInEveryGeneration) {
  CK_OBJECT_HANDLE none = CK_INVALID_HANDLE;
  EXPECT_TRUE(ObjectHandles(7).toModule(none));
  EXPECT_EQ(none, CK_OBJECT_HANDLE{CK_INVALID_HANDLE});
  EXPECT_EQ(ObjectHandles(7).toHost(CK_INVALID_HANDLE), CK_OBJECT_HANDLE{CK_INVALID_HANDLE});
}

TEST(ObjectHandles, ThatLeaveNoRoomAreMalformed) {
  EXPECT_THROW((void)ObjectHandles(1).toHost(~CK_OBJECT_HANDLE{0}), Malformed);
}

bool zero(const std::byte* p, std::size_t n) {
  return std::all_of(p, p + n, [](std::byte b) { return b == std::byte{0}; });
}

TEST(Arena, ForgetsWhatItHeld) {
  Arena arena(4096);
  for (std::size_t size :
       {std::size_t{1}, std::size_t{100}, std::size_t{1000}, std::size_t{50000}}) {
    std::byte* p = arena.allocate(size);
    ASSERT_TRUE(zero(p, size));
    std::memset(p, 0x5a, size);
    arena.reset();
    // A small piece lies where the last one did.
    std::byte* again = arena.allocate(size);
    EXPECT_TRUE(zero(again, size)) << size;
    arena.reset();
  }
}

TEST(Arena, PiecesDoNotOverlapAndAreAligned) {
  Arena arena(4096);
  std::vector<std::pair<std::byte*, std::size_t>> pieces;
  for (std::size_t i = 0; i < 500; ++i) {
    std::size_t size = i * 37 % 3000;
    std::byte* p = arena.allocate(size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p) % 16, 0U);
    ASSERT_TRUE(zero(p, size));
    std::memset(p, static_cast<int>(i % 255 + 1), size);
    pieces.emplace_back(p, size);
  }
  for (std::size_t i = 0; i < pieces.size(); ++i)
    EXPECT_TRUE(std::all_of(pieces[i].first, pieces[i].first + pieces[i].second,
                            [&](std::byte b) { return b == static_cast<std::byte>(i % 255 + 1); }));
}

TEST(Arena, RefusesWhatNoMemoryHas) {
  Arena arena;
  EXPECT_THROW((void)arena.allocate(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW((void)arena.make<CK_ATTRIBUTE>(SIZE_MAX / 2), std::bad_alloc);
}

constexpr unsigned FOR_GOOD = 2000;

// How often looking is not worthwhile before it is again.
unsigned pauseOf(Looking& looking) {
  unsigned pause = 0;
  while (!looking.worthwhile() && pause < FOR_GOOD) ++pause;
  return pause;
}

TEST(Looking, GoesOnWhileItPaysNowAndThen) {
  Looking looking;
  for (int i = 0; i < 100; ++i) {
    for (bool found : {false, false, true}) {
      EXPECT_EQ(pauseOf(looking), 0U);
      looking.found(found);
    }
  }
}

TEST(Looking, PausesLongerEachTimeThatItIsInVain) {
  Looking looking;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pauseOf(looking), 0U);
    looking.found(false);
  }
  unsigned looks = 3, waits = 3, last = 0;
  for (int i = 0; i < 10'000; ++i) {
    unsigned pause = pauseOf(looking);
    ASSERT_GE(pause, std::max(last, 1U));
    ASSERT_LT(pause, FOR_GOOD);
    last = pause;
    looking.found(false);
    ++looks;
    waits += pause + 1;
  }
  // What it costs where it never pays.
  EXPECT_GT(waits, 500 * looks);
}

TEST(Looking, StartsAfreshOnceItPays) {
  Looking looking;
  for (int i = 0; i < 50; ++i) {
    (void)pauseOf(looking);
    looking.found(false);
  }
  EXPECT_GT(pauseOf(looking), 500U);
  looking.found(true);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pauseOf(looking), 0U);
    looking.found(false);
  }
  unsigned first = pauseOf(looking);
  EXPECT_GT(first, 0U);
  EXPECT_LT(first, 50U);
}

struct Pair {
  explicit Pair(std::uint64_t max = 1 << 20) {
    auto ends = channelEnds();
    reader = ends->host.reader.get();
    raw = Descriptor(::dup(ends->worker.out.get()));
    a = std::make_unique<Channel>(std::move(ends->host), max);
    b = std::make_unique<Channel>(std::move(ends->worker), max);
  }
  std::unique_ptr<Channel> a;
  std::unique_ptr<Channel> b;
  Descriptor raw;   // where a's messages come from
  int reader = -1;  // a's second reader of what it sends
};

std::vector<std::byte> pattern(std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 131 >> 3);
  return bytes;
}

Exchange sendBytes(Channel& channel, const std::vector<std::byte>& bytes, std::uint32_t sequence) {
  FrameBuilder frame(channel.sendBuffer());
  auto request = frame.initRoot<wire::Request>();
  request.initValues(1)[0].setBytes(
      kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
  return channel.send(frame, sequence, deadlineIn(30s));
}

TEST(ControlMessages, ThatAreTooShortAreNoEnd) {
  auto pair = socketPair();
  ASSERT_TRUE(pair);
  ASSERT_EQ(::send(pair->first.get(), "abc", 3, 0), 3);
  auto received = receiveControl(pair->second.get());
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, EBADMSG);
  pair->first.reset();
  received = receiveControl(pair->second.get());
  ASSERT_TRUE(received);
  EXPECT_FALSE(*received);
}

TEST(Channel, FramesOfAllSizesArrive) {
  for (std::size_t size : {0U, 1U, 1000U, 65000U, 65536U, 70000U, 150000U}) {
    Pair pair;
    auto bytes = pattern(size);
    // More than a pipe holds goes through while it is read.
    auto sent = std::async(std::launch::async, [&] { return sendBytes(*pair.a, bytes, 7); });
    ASSERT_EQ(pair.b->receive(1 << 20, deadlineIn(30s)), Exchange::Done) << size;
    ASSERT_EQ(sent.get(), Exchange::Done) << size;
    EXPECT_EQ(pair.b->sequence(), 7U);
    capnp::FlatArrayMessageReader reader(pair.b->received(), readerOptions(pair.b->received()));
    auto got = reader.getRoot<wire::Request>().getValues()[0].getBytes();
    ASSERT_EQ(got.size(), size);
    EXPECT_TRUE(size == 0 || std::memcmp(got.begin(), bytes.data(), size) == 0);
    pair.b->forget();
  }
}

TEST(Channel, AnOversizedFrameIsMalformedBeforeItIsRead) {
  Pair pair;
  FrameHeader header{1 << 20, 1};
  ASSERT_EQ(::write(pair.raw.get(), &header, sizeof header), static_cast<ssize_t>(sizeof header));
  EXPECT_EQ(pair.a->receive(4096, deadlineIn(30s)), Exchange::Malformed);
}

TEST(Channel, AnEmptyFrameIsMalformed) {
  Pair pair;
  FrameHeader header{0, 1};
  ASSERT_GT(::write(pair.raw.get(), &header, sizeof header), 0);
  EXPECT_EQ(pair.a->receive(4096, deadlineIn(30s)), Exchange::Malformed);
}

TEST(Channel, TheEndInsteadOfAReplyRefusesTheCall) {
  Pair pair;
  ASSERT_GT(::write(pair.raw.get(), &END, sizeof END), 0);
  EXPECT_EQ(pair.a->receive(4096, deadlineIn(30s)), Exchange::Refused);
}

TEST(Channel, TheEndRefusesARequestThatIsStillBeingSent) {
  Pair pair;
  ASSERT_GT(::write(pair.raw.get(), &END, sizeof END), 0);
  pair.raw.reset();
  pair.b.reset();
  EXPECT_EQ(sendBytes(*pair.a, pattern(150'000), 1), Exchange::Refused);
}

TEST(Channel, APartialFrameExpiresAndThenIsClosed) {
  Pair pair;
  FrameHeader header{4, 1};
  ASSERT_GT(::write(pair.raw.get(), &header, 5), 0);
  EXPECT_EQ(pair.a->receive(4096, deadlineIn(20ms)), Exchange::Expired);
  Pair other;
  ASSERT_GT(::write(other.raw.get(), &header, sizeof header), 0);
  other.b.reset();
  other.raw.reset();
  EXPECT_EQ(other.a->receive(4096, deadlineIn(30s)), Exchange::Closed);
}

TEST(Channel, AFrameInPiecesArrives) {
  Pair pair;
  struct {
    FrameHeader header{2, 9};
    std::uint64_t words[2] = {};
  } message;
  message.words[0] = std::uint64_t{1} << 32;  // one segment of one word
  auto p = reinterpret_cast<const char*>(&message);
  ASSERT_EQ(::write(pair.raw.get(), p, 3), 3);
  EXPECT_EQ(::write(pair.raw.get(), p + 3, sizeof message - 3),
            static_cast<ssize_t>(sizeof message - 3));
  ASSERT_EQ(pair.a->receive(4096, deadlineIn(30s)), Exchange::Done);
  EXPECT_EQ(pair.a->sequence(), 9U);
  EXPECT_EQ(pair.a->received().size(), 2U);
}

TEST(Channel, TwoFramesAtOnceAreMalformed) {
  Pair pair;
  struct {
    FrameHeader header{1, 1};
    std::uint64_t word = 0;
  } twice[2];
  ASSERT_EQ(::write(pair.raw.get(), twice, sizeof twice), static_cast<ssize_t>(sizeof twice));
  EXPECT_EQ(pair.a->receive(4096, deadlineIn(30s)), Exchange::Malformed);
}

TEST(Channel, ForgetsWhatItReceived) {
  Pair pair;
  ASSERT_EQ(sendBytes(*pair.a, std::vector<std::byte>(5000, std::byte{0x5a}), 1), Exchange::Done);
  EXPECT_TRUE(zero(pair.a->sendBuffer().data(), pair.a->sendBuffer().size()));
  ASSERT_EQ(pair.b->receive(1 << 20, deadlineIn(30s)), Exchange::Done);
  auto where = reinterpret_cast<const std::byte*>(pair.b->received().begin());
  auto size = pair.b->received().asBytes().size();
  EXPECT_FALSE(zero(where, size));
  pair.b->forget();
  EXPECT_TRUE(zero(where, size));
  EXPECT_EQ(pair.b->received().size(), 0U);
}

TEST(Channel, KnowsWhenItsDescriptorIsAnothersAndLeavesItAlone) {
  Pair pair;
  EXPECT_TRUE(pair.a->isOwn());
  auto other = channelEnds();
  ASSERT_TRUE(other);
  int number = pair.a->descriptor();
  ASSERT_EQ(::dup2(other->host.in.get(), number), number);
  EXPECT_FALSE(pair.a->isOwn());
  pair.a.reset();
  EXPECT_EQ(::close(number), 0);
}

TEST(Channel, IsNotToBeUsedOnceItsSecondReaderIsClosed) {
  Pair pair;
  ASSERT_EQ(::close(pair.reader), 0);
  EXPECT_FALSE(pair.a->isOwn());
}

TEST(Channel, TakesNothingOfWhatGotItsNumberWhileItSlept) {
  Pair pair;
  int others[2];
  ASSERT_EQ(::pipe2(others, O_CLOEXEC), 0);
  Descriptor reading(others[0]), writing(others[1]);
  ASSERT_EQ(::write(writing.get(), "theirs", 6), 6);
  std::atomic<pid_t> thread{0};
  auto received = std::async(std::launch::async, [&] {
    thread = ::gettid();
    return pair.a->receive(4096, deadlineIn(30s));
  });
  // Asleep in its wait, which holds on to the pipe that it waits for.
  auto asleep = [&] {
    std::string id, name, state;
    std::ifstream("/proc/self/task/" + std::to_string(thread) + "/stat") >> id >> name >> state;
    return state == "S";
  };
  while (thread == 0 || !asleep()) std::this_thread::sleep_for(1ms);
  // And not just now: that would be too short to be looked at.
  std::this_thread::sleep_for(10ms);
  int number = pair.a->descriptor();
  ASSERT_EQ(::dup2(reading.get(), number), number);
  ASSERT_EQ(::write(pair.raw.get(), "reply", 5), 5);
  EXPECT_EQ(received.get(), Exchange::Foreign);
  char bytes[16];
  EXPECT_EQ(::read(reading.get(), bytes, sizeof bytes), 6);
  EXPECT_EQ(::close(number), 0);
}

TEST(Channel, TellsTheWorkerOfItsEndWhoeverHasCopies) {
  auto ends = channelEnds();
  // As a child of the host has them.
  Descriptor copies[] = {Descriptor(::dup(ends->host.in.get())),
                         Descriptor(::dup(ends->host.out.get()))};
  auto host = std::make_unique<Channel>(std::move(ends->host), 1 << 20);
  Channel worker(std::move(ends->worker), 1 << 20);
  host.reset();
  EXPECT_EQ(worker.receive(4096, deadlineIn(30s)), Exchange::Malformed);
}

std::chrono::nanoseconds cpuOfThread() {
  timespec used;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

TEST(Channel, SoonLooksNoMoreForWhatDoesNotCome) {
  Pair pair;
  constexpr int WAITS = 2000;
  auto costOf = [&](bool look) {
    auto before = cpuOfThread();
    for (int i = 0; i < WAITS; ++i)
      EXPECT_EQ(pair.a->receive(4096, Clock::now(), look), Exchange::Expired);
    return cpuOfThread() - before;
  };
  auto sleeping = costOf(false);
  // A fifth of what looking each time takes.
  EXPECT_LT(costOf(true), sleeping + WAITS * LOOK_FOR / 5);
}

TEST(Channel, TakesWhatItLooksForWithoutSleeping) {
  Pair pair;
  // Either end. For a wait the deadline is past, and what is found keeps it looking.
  auto passes = [](Channel& from, Channel& to, std::uint32_t sequence) {
    EXPECT_EQ(sendBytes(from, pattern(100), sequence), Exchange::Done);
    EXPECT_EQ(to.receive(4096, Clock::now(), true), Exchange::Done);
    EXPECT_EQ(to.sequence(), sequence);
    to.forget();
  };
  for (std::uint32_t i = 0; i < 100; ++i) {
    passes(*pair.a, *pair.b, i);
    passes(*pair.b, *pair.a, i);
  }
}

TEST(Channel, NoSignalComesOfAPeerThatIsGone) {
  Pair pair;
  pair.b.reset();
  pair.raw.reset();
  // SIGPIPE would end this test.
  EXPECT_EQ(sendBytes(*pair.a, pattern(100), 1), Exchange::Done);
  EXPECT_EQ(pair.a->receive(4096, deadlineIn(30s)), Exchange::Closed);
  EXPECT_EQ(sendBytes(*pair.a, pattern(150000), 2), Exchange::Closed);
}

TEST(Channel, APeerThatIsGoneIsNoticedWhoeverHasCopiesOfItsEnd) {
  auto ends = channelEnds();
  Descriptor copy(::dup(ends->worker.out.get()));
  auto alive = channelEnds();
  Channel channel(std::move(ends->host), 1 << 20, alive->host.in.get());
  alive->worker = {};
  EXPECT_EQ(channel.receive(4096, deadlineIn(30s)), Exchange::Closed);
}

}  // namespace
}  // namespace bulkhead::ipc
