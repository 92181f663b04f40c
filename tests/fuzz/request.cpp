// SPDX-License-Identifier: BSD-2-Clause
//
// The worker's decoder of requests: whatever the request, the module gets arguments whose memory is
// there, and the answer is either a reply or an exception.
#include "tests/fuzz/scenario.h"

using namespace bulkhead::fuzz;

namespace {

enum Mode : std::uint8_t { Raw, Honest, Made, MODES };

kj::Array<capnp::word> honestRequest(const Head& head) {
  Caller caller(head.seed);
  auto call = makeCall(head.function % FUNCTIONS, caller);
  HostCodec codec;
  codec.operationMechanism = caller.operationMechanism;
  capnp::MallocMessageBuilder message;
  try {
    call->encode(codec, message.initRoot<wire::Request>());
  } catch (const Refused&) {
    return {};
  }
  return capnp::messageToFlatArray(message);
}

kj::Array<capnp::word> madeRequest(const Head& head, std::uint64_t seed) {
  Numbers numbers(seed ^ head.seed);
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::Request>();
  root.setFunction(head.function % FUNCTIONS);
  for (auto value : root.initValues(valuesOf(head.function % FUNCTIONS))) makeValue(numbers, value);
  return capnp::messageToFlatArray(message);
}

void run(const Head& head, const std::uint8_t* data, std::size_t size,
         kj::Array<capnp::word>* honest = nullptr) {
  if (honest != nullptr) {
    *honest = honestRequest(head);
    return;
  }
  kj::Array<capnp::word> request;
  switch (static_cast<Mode>(head.mode % MODES)) {
    case Honest:
      request = honestRequest(head);
      change(request, data, size);
      break;
    case Made: {
      std::uint64_t seed = 0;
      if (size != 0) std::memcpy(&seed, data, std::min(size, sizeof seed));
      request = madeRequest(head, seed);
      if (size > sizeof seed) change(request, data + sizeof seed, size - sizeof seed);
      break;
    }
    default:
      request = words(data, size);
  }
  behaviour = {head.rv % 2 == 0 ? CKR_OK : CK_RV{head.rv}, head.seed};
  Arena arena;
  WorkerCodec codec(arena, 1 << 16);
  try {
    capnp::FlatArrayMessageReader reader(request, readerOptions(request));
    capnp::MallocMessageBuilder reply;
    serveCall(head.function % FUNCTIONS, codec, reader.getRoot<wire::Request>(),
              reply.initRoot<wire::Reply>());
  } catch (const kj::Exception&) {
    // The worker ends.
  } catch (const Malformed&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  writeSeeds([](auto&& write) { writeCalls(write, run); });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Head head;
  if (size < sizeof head) return 0;
  std::memcpy(&head, data, sizeof head);
  run(head, data + sizeof head, size - sizeof head);
  return 0;
}
