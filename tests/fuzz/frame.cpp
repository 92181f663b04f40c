// SPDX-License-Identifier: BSD-2-Clause
//
// Frames: what a channel makes of bytes that arrive in pieces. What it gives out lies within what
// arrived and within the limit.
#include <fcntl.h>

#include "tests/fuzz/scenario.h"

using namespace bulkhead::fuzz;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  writeSeeds([](auto&& write) {
    for (unsigned function : {3U, 15U, 200U}) {
      capnp::MallocMessageBuilder message;
      auto request = message.initRoot<wire::Request>();
      request.setFunction(static_cast<std::uint16_t>(function));
      request.initValues(3)[1].setNumber(7);
      auto flat = capnp::messageToFlatArray(message);
      FrameHeader header{static_cast<std::uint32_t>(flat.size()), 1};
      std::vector<char> bytes(1 + sizeof header + flat.asBytes().size());
      bytes[0] = static_cast<char>(function);
      std::memcpy(bytes.data() + 1, &header, sizeof header);
      std::memcpy(bytes.data() + 1 + sizeof header, flat.begin(), flat.asBytes().size());
      write(bytes.data(), bytes.size());
    }
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  constexpr std::uint64_t LIMIT = 1 << 18;
  auto ends = channelEnds();
  if (!ends) return 0;
  Channel channel(std::move(ends->host), LIMIT);
  (void)::fcntl(ends->worker.out.get(), F_SETFL, O_NONBLOCK);
  std::size_t piece = std::size_t{data[0]} + 1;
  std::size_t sent = 1;
  auto send = [&] {
    std::size_t n = std::min(piece, size - sent);
    if (n == 0 || ::write(ends->worker.out.get(), data + sent, n) < 0) return false;
    sent += n;
    return true;
  };
  // Pieces that wait in a pipe are read as one; each read after the first is of what is left.
  while (send()) {
  }
  ends->worker.out.reset();
  for (int i = 0; i < 8; ++i) {
    auto deadline = bulkhead::ipc::deadlineIn(std::chrono::milliseconds(i % 2 == 0 ? 1000 : 0));
    if (channel.receive(LIMIT, deadline) != Exchange::Done) break;
    auto message = channel.received();
    if (message.asBytes().size() > size || message.asBytes().size() > LIMIT)
      broken("a message that is larger than what arrived");
    try {
      capnp::FlatArrayMessageReader reader(message, readerOptions(message));
      auto root = reader.getRoot<wire::Request>();
      (void)root.totalSize();
      for (auto value : root.getValues()) (void)value.which();
    } catch (const kj::Exception&) {
    }
    channel.forget();
  }
  return 0;
}
