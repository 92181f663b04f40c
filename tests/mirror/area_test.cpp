// SPDX-License-Identifier: BSD-2-Clause
//
// Large arguments in memory that a host and its worker share: they arrive, they are wiped, and what
// a worker says about them is not believed.
#include "ipc/area.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <future>
#include <memory>
#include <vector>

#include "ipc/channel.h"
#include "ipc/codec.h"
#include "worker/areas.h"

namespace bulkhead::ipc {
namespace {

using namespace std::chrono_literals;

constexpr auto F = Function::C_Encrypt;

const CK_BYTE* inputSeen = nullptr;

CK_RV invert(CK_SESSION_HANDLE, CK_BYTE_PTR in, CK_ULONG size, CK_BYTE_PTR out,
             CK_ULONG_PTR written) {
  inputSeen = in;
  if (*written < size) return CKR_BUFFER_TOO_SMALL;
  std::transform(in, in + size, out, [](CK_BYTE b) { return static_cast<CK_BYTE>(~b); });
  *written = size;
  return CKR_OK;
}

std::vector<CK_BYTE> pattern(std::size_t n) {
  std::vector<CK_BYTE> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<CK_BYTE>(i * 131 >> 3);
  return bytes;
}

bool zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// Both ends of one channel, in one thread: messages are smaller than a pipe's buffer.
struct Both {
  Both() {
    auto ends = channelEnds();
    host = std::make_unique<Channel>(std::move(ends->host), DEFAULT_MAX_MESSAGE);
    worker = std::make_unique<Channel>(std::move(ends->worker), DEFAULT_MAX_MESSAGE);
  }

  void request(const Line<F>::Args& args) {
    FrameBuilder frame(host->sendBuffer());
    codec.area = areaOf(args);
    encodeRequest<F>(codec, frame.initRoot<wire::Request>(), args);
    ASSERT_EQ(host->send(frame, 1, deadlineIn(30s)), Exchange::Done);
    ASSERT_EQ(worker->receive(DEFAULT_MAX_MESSAGE, deadlineIn(30s)), Exchange::Done);
  }
  // The host's area, which the worker has as well.
  Area* areaOf(const Line<F>::Args& args) {
    Area* area = host->areaOf(areaFor<F>(args));
    if (area->unsent() >= 0) {
      auto mapped = Area::map(Descriptor(::dup(area->unsent())));
      EXPECT_TRUE(mapped);
      worker->setArea(std::move(*mapped));
      area->sent();
    }
    return area;
  }
  // What the worker answers; `lie` changes it before it is sent.
  void reply(const std::function<void(wire::Reply::Builder)>& lie = nullptr) {
    capnp::FlatArrayMessageReader message(worker->received(), readerOptions(worker->received()));
    FrameBuilder frame(worker->sendBuffer());
    auto out = frame.initRoot<wire::Reply>();
    WorkerCodec own(arena, DEFAULT_MAX_MESSAGE, &worker->area());
    serve<F>(own, message.getRoot<wire::Request>(), out, &invert);
    if (lie) lie(out);
    ASSERT_EQ(worker->send(frame, 1, deadlineIn(30s)), Exchange::Done);
    worker->forget();
    ASSERT_EQ(host->receive(DEFAULT_MAX_MESSAGE, deadlineIn(30s)), Exchange::Done);
  }
  CK_RV finish(const Line<F>::Args& args) {
    capnp::FlatArrayMessageReader message(host->received(), readerOptions(host->received()));
    return decodeReply<F>(codec, message.getRoot<wire::Reply>(), args);
  }

  std::unique_ptr<Channel> host, worker;
  Arena arena;
  HostCodec codec;
};

TEST(Area, CarriesWhatIsLargeBothWays) {
  for (std::size_t size : {std::size_t{AREA_FROM - 1}, std::size_t{AREA_FROM}, std::size_t{100'000},
                           std::size_t{3 << 20}}) {
    SCOPED_TRACE(size);
    Both both;
    auto in = pattern(size);
    std::vector<CK_BYTE> out(size + 16);
    CK_ULONG written = out.size();
    Line<F>::Args args{7, in.data(), in.size(), out.data(), &written};
    bool inArea = size >= AREA_FROM;
    ASSERT_EQ(areaFor<F>(args) != 0, out.size() >= AREA_FROM);
    both.request(args);
    ASSERT_LT(both.worker->received().asBytes().size(), inArea ? 4096u : 2 * AREA_FROM);
    both.reply();
    ASSERT_EQ(both.finish(args), CKR_OK);
    EXPECT_EQ(written, size);
    EXPECT_TRUE(std::equal(in.begin(), in.end(), out.begin(),
                           [](CK_BYTE a, CK_BYTE b) { return a == static_cast<CK_BYTE>(~b); }));
    auto area = both.worker->area().at(0, both.worker->area().size());
    auto seen = reinterpret_cast<const std::byte*>(inputSeen);
    EXPECT_EQ(!area.empty() && seen >= area.data() && seen < area.data() + area.size(), inArea)
        << "the module reads it where the host has put it";
    both.host->forget();
    EXPECT_TRUE(zero(area)) << "and neither end keeps it";
  }
}

TEST(Area, IsMadeOnceAndGrows) {
  Both both;
  auto call = [&](std::size_t size) {
    auto in = pattern(size);
    std::vector<CK_BYTE> out(size);
    CK_ULONG written = out.size();
    Line<F>::Args args{7, in.data(), in.size(), out.data(), &written};
    both.request(args);
    both.reply();
    EXPECT_EQ(both.finish(args), CKR_OK);
    both.host->forget();
    return both.worker->area().at(0, 1).data();
  };
  std::size_t before = Area::total();
  auto first = call(100'000);
  EXPECT_EQ(call(200'000), first);
  EXPECT_EQ(both.host->area().unsent(), -1);
  (void)call(3 << 20);
  EXPECT_GE(both.worker->area().size(), std::size_t{6 << 20});
  EXPECT_EQ(Area::total() - before, 2 * both.host->area().size()) << "the smaller one is gone";
}

TEST(Area, TakesNoMoreThanItHolds) {
  CK_ULONG written = AREA_MAX + 1;
  CK_BYTE in[1], out[1];
  // Offered, not there: nothing is touched to find out.
  EXPECT_EQ(areaFor<F>({7, in, 1, out, &written}), 0u);
  written = CK_UNAVAILABLE_INFORMATION;
  EXPECT_EQ(areaFor<F>({7, in, 1, out, &written}), 0u);
  EXPECT_EQ(areaFor<F>({7, nullptr, 1 << 20, nullptr, &written}), 0u);
  auto area = Area::make(1 << 20);
  ASSERT_TRUE(area);
  std::uint64_t offset = 0;
  EXPECT_TRUE(area->place(area->size() - 100, offset));
  EXPECT_FALSE(area->place(100, offset));
  EXPECT_FALSE(area->place(SIZE_MAX, offset));
  EXPECT_TRUE(area->at(area->size(), 1).empty());
  EXPECT_TRUE(area->at(UINT64_MAX, 2).empty());
  EXPECT_TRUE(area->at(1, UINT64_MAX).empty());
}

TEST(Area, CannotBeTakenAwayByTheWorker) {
  auto area = Area::make(1 << 20);
  ASSERT_TRUE(area);
  EXPECT_EQ(::ftruncate(area->unsent(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::fcntl(area->unsent(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  // Every page is there, so that a host that touches one needs no memory for it.
  struct stat status;
  ASSERT_EQ(::fstat(area->unsent(), &status), 0);
  EXPECT_EQ(static_cast<std::size_t>(status.st_blocks) * 512, area->size());
}

TEST(Area, IsNotHadBeyondTheLimitOfFileSizes) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    rlimit small{4096, RLIM_INFINITY};
    (void)::setrlimit(RLIMIT_FSIZE, &small);
    auto area = Area::make(1 << 20);
    ::_exit(!area && area.error().code == EFBIG ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "SIGXFSZ would have been a signal";
}

class AreaLies : public ::testing::Test {
 protected:
  // The reply to one call with a large input and large room, changed by `lie`.
  void expectMalformed(const std::function<void(wire::Reply::Builder)>& lie) {
    Both both;
    auto in = pattern(100'000);
    std::vector<CK_BYTE> out(in.size());
    CK_ULONG written = out.size();
    Line<F>::Args args{7, in.data(), in.size(), out.data(), &written};
    both.request(args);
    both.reply(lie);
    EXPECT_THROW((void)both.finish(args), Malformed);
    EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](CK_BYTE b) { return b == 0; }));
  }
  static wire::Value::Builder output(wire::Reply::Builder reply) { return reply.getValues()[2]; }
};

TEST_F(AreaLies, OutputBeyondTheArea) {
  expectMalformed([](auto reply) { output(reply).getArea().setOffset(1 << 20); });
  expectMalformed([](auto reply) { output(reply).getArea().setOffset(UINT64_MAX - 5); });
}

TEST_F(AreaLies, MoreOutputThanThereWasRoomFor) {
  expectMalformed([](auto reply) {
    output(reply).getArea().setOffset(0);
    output(reply).getArea().setLength(100'001);
  });
  expectMalformed([](auto reply) { output(reply).getArea().setLength(UINT64_MAX); });
}

TEST_F(AreaLies, AnAreaWhereNoneIs) {
  Both both;
  CK_BYTE in[16] = {}, out[16] = {};
  CK_ULONG written = sizeof out;
  Line<F>::Args args{7, in, sizeof in, out, &written};
  both.request(args);
  both.codec.area = nullptr;
  both.reply([](auto reply) { output(reply).initArea().setLength(16); });
  EXPECT_THROW((void)both.finish(args), Malformed);
}

TEST(AreaRequests, ThatNameWhatIsNotThereAreRefused) {
  for (auto spoil : std::initializer_list<void (*)(wire::Request::Builder)>{
           [](auto r) { r.getValues()[1].getArea().setOffset(UINT64_MAX); },
           [](auto r) { r.getValues()[1].getArea().setLength(std::uint64_t{1} << 40); },
           [](auto r) { r.getValues()[2].getRoomInArea().setOffset(1 << 30); },
       }) {
    Both both;
    auto in = pattern(100'000);
    std::vector<CK_BYTE> out(in.size());
    CK_ULONG written = out.size();
    capnp::MallocMessageBuilder message;
    auto request = message.initRoot<wire::Request>();
    Line<F>::Args args{7, in.data(), in.size(), out.data(), &written};
    both.codec.area = both.areaOf(args);
    encodeRequest<F>(both.codec, request, args);
    spoil(request);
    capnp::MallocMessageBuilder answer;
    WorkerCodec worker(both.arena, DEFAULT_MAX_MESSAGE, &both.host->area());
    EXPECT_THROW(serve<F>(worker, request.asReader(), answer.initRoot<wire::Reply>(), &invert),
                 Malformed);
    // And a worker that got no area has none.
    WorkerCodec without(both.arena);
    EXPECT_THROW(serve<F>(without, request.asReader(), answer.initRoot<wire::Reply>(), &invert),
                 Malformed);
  }
}

// ---- on their way to the worker's threads ----

bool isOpen(int fd) {
  return ::fcntl(fd, F_GETFD) != -1;
}

TEST(AreasOnTheirWay, AreTakenByTheChannelThatTheyAreFor) {
  worker::Areas areas;
  areas.expect(1);
  areas.expect(2);
  auto memory = [] { return Descriptor(::memfd_create("area", MFD_CLOEXEC)); };
  Descriptor one = memory(), replaced = memory(), last = memory();
  int numbers[] = {one.get(), replaced.get(), last.get()};
  areas.put(1, std::move(one));
  areas.put(2, std::move(replaced));
  // Whoever is told of two waits for the second.
  auto second = std::async(std::launch::async, [&] { return areas.take(2, 2); });
  areas.put(2, std::move(last));
  EXPECT_EQ(second.get().get(), numbers[2]);
  EXPECT_FALSE(isOpen(numbers[1]));
  EXPECT_EQ(areas.take(1, 1).get(), numbers[0]);
}

TEST(AreasOnTheirWay, AreNotKeptForAChannelThatIsGone) {
  worker::Areas areas;
  areas.expect(1);
  areas.forget(1);
  Descriptor memory(::memfd_create("area", MFD_CLOEXEC));
  int number = memory.get();
  areas.put(1, std::move(memory));
  EXPECT_FALSE(isOpen(number));
}

}  // namespace
}  // namespace bulkhead::ipc
