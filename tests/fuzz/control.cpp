// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages: one datagram each, from a worker or a supervisor to a host and the other way.
#include "ipc/control.h"

#include <sys/socket.h>

#include "tests/fuzz/scenario.h"

using namespace bulkhead::fuzz;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  writeSeeds([](auto&& write) {
    auto put = [&](capnp::MessageBuilder& message) {
      auto flat = capnp::messageToFlatArray(message);
      write(flat.begin(), flat.asBytes().size());
    };
    capnp::MallocMessageBuilder start;
    start.initRoot<wire::Control>().initStart().setModule("softhsm2");
    put(start);
    capnp::MallocMessageBuilder policy;
    auto p = policy.initRoot<wire::Control>().initPolicy();
    p.initCallTimeouts(3).set(1, 4);
    p.initFlatMechanisms(2);
    put(policy);
    capnp::MallocMessageBuilder ready;
    ready.initRoot<wire::Control>().initReady().initFunctions(FUNCTIONS).set(3, true);
    put(ready);
    capnp::MallocMessageBuilder failed;
    failed.initRoot<wire::Control>().initFailed().setReason("why");
    put(failed);
    capnp::MallocMessageBuilder log;
    log.initRoot<wire::Control>().initLog().setText("text");
    put(log);
    capnp::MallocMessageBuilder closed;
    closed.initRoot<wire::Control>().setClosed("why");
    put(closed);
    capnp::MallocMessageBuilder ended;
    ended.initRoot<wire::Control>().setEnded("signal");
    put(ended);
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto pair = socketPair();
  if (!pair) return 0;
  if (::send(pair->first.get(), data, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return 0;
  auto received = receiveControl(pair->second.get(), true);
  if (!received || !*received) return 0;
  std::size_t sum = 0;
  try {
    auto message = (*received)->get();
    switch (message.which()) {
      case wire::Control::START: {
        auto start = message.getStart();
        sum += start.getBuild().size() + start.getModule().size() + start.getPath().size() +
               start.getInitReserved().size() + static_cast<std::size_t>(start.getHostPid());
        break;
      }
      case wire::Control::POLICY: {
        auto policy = message.getPolicy();
        auto calls = policy.getCallTimeouts();
        for (unsigned i = 0; i < FUNCTIONS && i < calls.size(); ++i) sum += calls[i];
        for (auto one : policy.getFlatMechanisms()) sum += one;
        break;
      }
      case wire::Control::READY: {
        auto functions = message.getReady().getFunctions();
        for (unsigned i = 0; i < FUNCTIONS && i < functions.size(); ++i) sum += functions[i];
        break;
      }
      case wire::Control::FAILED:
        sum += std::string(message.getFailed().getReason().cStr()).size();
        break;
      case wire::Control::STOP:
        sum += std::string(message.getStop().cStr()).size();
        break;
      case wire::Control::CLOSED:
        sum += std::string(message.getClosed().cStr()).size();
        break;
      case wire::Control::ENDED:
        sum += std::string(message.getEnded().cStr()).size();
        break;
      case wire::Control::LOG:
        sum += std::string(message.getLog().getText().cStr()).size();
        break;
      case wire::Control::CHANNEL:
        sum += message.getChannel();
        break;
      case wire::Control::AREA:
        sum += message.getArea();
        break;
      case wire::Control::CONFINED:
        break;
    }
  } catch (const kj::Exception&) {
  }
  volatile std::size_t kept = sum;
  (void)kept;
  return 0;
}
