// SPDX-License-Identifier: BSD-2-Clause
//
// The host's decoder of replies, which come from code that may be hostile. Whatever the reply: no
// byte is written outside of the call's buffers, nothing that only the caller may write changes,
// and a success never comes with a length beyond the room that the caller gave.
#include "tests/fuzz/scenario.h"

using namespace bulkhead::fuzz;

namespace {

enum Mode : std::uint8_t { Raw, Honest, Made, MODES };

// What an honest worker answers.
kj::Array<capnp::word> honestReply(kj::ArrayPtr<const capnp::word> request, const Head& head) {
  behaviour = {head.rv % 2 == 0 ? CKR_OK : CK_RV{head.rv}, head.seed};
  Arena arena;
  WorkerCodec codec(arena, 1 << 16);
  capnp::FlatArrayMessageReader reader(request, readerOptions(request));
  capnp::MallocMessageBuilder reply;
  serveCall(head.function % FUNCTIONS, codec, reader.getRoot<wire::Request>(),
            reply.initRoot<wire::Reply>());
  return capnp::messageToFlatArray(reply);
}

// A reply of the right form whose values are anything.
kj::Array<capnp::word> madeReply(const Head& head, std::uint64_t seed) {
  Numbers numbers(seed ^ head.rv);
  capnp::MallocMessageBuilder message;
  auto root = message.initRoot<wire::Reply>();
  root.setReturnValue(head.rv % 2 == 0 ? CKR_OK : head.rv);
  for (auto value : root.initValues(valuesOf(head.function % FUNCTIONS)))
    if (!numbers.oneIn(4)) makeValue(numbers, value);
  return capnp::messageToFlatArray(message);
}

// Makes the call; with `honest`, only up to the honest reply.
void run(const Head& head, const std::uint8_t* data, std::size_t size,
         kj::Array<capnp::word>* honest = nullptr) {
  Caller caller(head.seed);
  auto call = makeCall(head.function % FUNCTIONS, caller);
  HostCodec codec;
  codec.maxBytes = 1 << 16;
  codec.handles = ObjectHandles(head.seed % 3);
  codec.operationMechanism = caller.operationMechanism;
  const std::uint64_t flat[] = {0x80000123};
  codec.flatMechanisms = flat;
  capnp::MallocMessageBuilder request;
  try {
    call->encode(codec, request.initRoot<wire::Request>());
  } catch (const Refused&) {
    return;
  }
  CK_RV rv = CKR_DEVICE_REMOVED;
  try {
    kj::Array<capnp::word> reply;
    Mode mode = static_cast<Mode>(honest != nullptr ? Honest : head.mode % MODES);
    if (mode == Raw) {
      reply = words(data, size);
    } else if (mode == Honest) {
      auto sent = capnp::messageToFlatArray(request);
      reply = honestReply(sent, head);
      change(reply, data, size);
    } else {
      std::uint64_t seed = 0;
      if (size != 0) std::memcpy(&seed, data, std::min(size, sizeof seed));
      reply = madeReply(head, seed);
      if (size > sizeof seed) change(reply, data + sizeof seed, size - sizeof seed);
    }
    if (honest != nullptr) {
      *honest = kj::mv(reply);
      return;
    }
    capnp::FlatArrayMessageReader reader(reply, readerOptions(reply));
    rv = call->decode(codec, reader.getRoot<wire::Reply>());
  } catch (const kj::Exception&) {
    // The worker is ended, and the caller gets an error: lengths don't count then.
  } catch (const Malformed&) {
  }
  caller.checkAfter(rv);
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
