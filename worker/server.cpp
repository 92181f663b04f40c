// SPDX-License-Identifier: BSD-2-Clause
#include "worker/server.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "ipc/channel.h"
#include "ipc/codec.h"
#include "ipc/control.h"
#include "ipc/names.h"
#include "worker/module.h"
#include "worker/slot_watch.h"

namespace bulkhead::worker {
namespace {

using ipc::Function;

// The codec's serve() for one function, without its type: a table of these is the dispatcher.
using Serve = void (*)(ipc::WorkerCodec&, ipc::wire::Request::Reader, ipc::wire::Reply::Builder,
                       Module::AnyFunction);

struct Dispatcher {
  std::array<Serve, ipc::FUNCTIONS> table{};
  template <Function F>
  constexpr void operator()() {
    table[ipc::indexOf(F)] = [](ipc::WorkerCodec& codec, ipc::wire::Request::Reader request,
                                ipc::wire::Reply::Builder reply, Module::AnyFunction function) {
      ipc::serve<F>(codec, request, reply,
                    reinterpret_cast<typename ipc::Line<F>::Pointer>(function));
    };
  }
};

const Dispatcher DISPATCHER = [] {
  Dispatcher d;
  ipc::forEachFunction(d);
  // The worker itself initialises, and function lists and asynchronous calls are the proxy's.
  for (Function f : {Function::C_Initialize, Function::C_GetFunctionList,
                     Function::C_GetInterfaceList, Function::C_GetInterface,
                     Function::C_AsyncComplete, Function::C_AsyncGetID, Function::C_AsyncJoin})
    d.table[ipc::indexOf(f)] = nullptr;
  return d;
}();

struct Server {
  const Module& module;
  const ServerOptions& options;
  Activity& activity;
  const bool serialize;
  std::mutex oneAtATime{};
  SlotWatch slotWatch{module, serialize ? &oneAtATime : nullptr};
};

// The watch of this process, for functions that stand in for the module's own.
SlotWatch* slotWatch = nullptr;

CK_RV getSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
  return slotWatch->slotList(tokenPresent, list, count);
}

CK_RV waitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR) {
  return slotWatch->wait(flags, slot);
}

// What is called for a function. The watch takes its turns itself.
Module::AnyFunction functionFor(const Server& server, Function f, bool& takesTurns) {
  takesTurns = true;
  if (f == Function::C_GetSlotList) return reinterpret_cast<Module::AnyFunction>(&getSlotList);
  if (f == Function::C_WaitForSlotEvent)
    return reinterpret_cast<Module::AnyFunction>(&waitForSlotEvent);
  takesTurns = false;
  return server.module.function(f);
}

// A protocol error here means that the host is broken or gone, or that the module has overwritten
// our memory. Neither is worth going on with.
[[noreturn]] void giveUp(const char* why) {
  std::fprintf(stderr, "worker: %s\n", why);
  ::_exit(70);
}

// False when nobody waits for the reply any more: the host has given the call up, and its channel.
bool serveOne(Server& server, ipc::Channel& channel, ipc::Arena& arena, unsigned slot, pid_t tid) {
  {
    capnp::FlatArrayMessageReader message(channel.received(),
                                          ipc::readerOptions(channel.received()));
    auto request = message.getRoot<ipc::wire::Request>();
    std::uint16_t index = request.getFunction();
    ipc::FrameBuilder frame(channel.sendBuffer());
    auto reply = frame.initRoot<ipc::wire::Reply>();
    if (index >= ipc::FUNCTIONS || DISPATCHER.table[index] == nullptr)
      throw ipc::Malformed("a function that is not served");
    {
      auto f = static_cast<Function>(index);
      bool takesTurns;
      auto function = functionFor(server, f, takesTurns);
      if (f == Function::C_Finalize) server.slotWatch.end();
      std::unique_lock<std::mutex> one(server.oneAtATime, std::defer_lock);
      if (server.serialize && !takesTurns) one.lock();
      server.activity.set(slot, tid, index);
      ipc::WorkerCodec codec(arena, server.options.maxMessage, &channel.area());
      DISPATCHER.table[index](codec, request, reply, function);
      server.activity.set(slot, tid, Activity::IDLE);
    }
    if (channel.send(frame, channel.sequence(), std::nullopt) != ipc::Exchange::Done) return false;
  }
  arena.reset();
  channel.forget();
  return true;
}

// noexcept: an exception that a module lets out ends the worker where it was thrown.
void serveChannel(Server& server, Descriptor socket, unsigned slot) noexcept {
  ipc::Channel channel(std::move(socket), server.options.maxMessage, ipc::Channel::End::Worker);
  ipc::Arena arena;
  pid_t tid = static_cast<pid_t>(::syscall(SYS_gettid));
  bool look = false;
  while (channel.receive(server.options.maxMessage * 2, std::nullopt, look) ==
         ipc::Exchange::Done) {
    look = channel.lone();
    try {
      if (!serveOne(server, channel, arena, slot, tid)) return;
    } catch (const kj::Exception& e) {
      giveUp(e.getDescription().cStr());
    } catch (const ipc::Malformed& e) {
      giveUp(e.what());
    } catch (const std::bad_alloc&) {
      giveUp("out of memory");
    }
  }
}

struct ThreadStart {
  Server& server;
  Descriptor socket;
  unsigned slot;
};

std::atomic<bool> slots[MAX_CHANNELS];

void* threadMain(void* argument) {
  std::unique_ptr<ThreadStart> start(static_cast<ThreadStart*>(argument));
  unsigned slot = start->slot;
  serveChannel(start->server, std::move(start->socket), slot);
  slots[slot].store(false);
  return nullptr;
}

void startThread(Server& server, Descriptor socket) {
  unsigned slot = 0;
  while (slot < MAX_CHANNELS && slots[slot].exchange(true)) ++slot;
  // Closing the socket tells the host.
  if (slot == MAX_CHANNELS) return;
  auto start = std::make_unique<ThreadStart>(ThreadStart{server, std::move(socket), slot});
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  if (::pthread_create(&thread, &attributes, threadMain, start.get()) == 0)
    (void)start.release();
  else
    slots[slot].store(false);
  ::pthread_attr_destroy(&attributes);
}

// To the supervisor, who writes it to the log and tells the host.
[[noreturn]] void fail(const Descriptor& report, const std::string& reason, CK_RV rv) {
  capnp::MallocMessageBuilder message;
  auto failed = message.initRoot<ipc::wire::Control>().initFailed();
  failed.setReason(reason);
  failed.setReturnValue(rv);
  // Without a supervisor there is no worker, either.
  (void)ipc::sendControl(report.get(), message);
  ::_exit(0);
}

}  // namespace

void runServer(Descriptor control, Descriptor report, const ServerOptions& options,
               Activity& activity) {
  auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
  activity.set(0, tid, static_cast<std::uint16_t>(Function::C_GetFunctionList));
  auto module = Module::load(options.modulePath);
  if (!module) fail(report, module.error().message(), CKR_GENERAL_ERROR);
  activity.set(0, tid, static_cast<std::uint16_t>(Function::C_Initialize));
  CK_RV rv = module->initialize(options.hasInitReserved ? options.initReserved.c_str() : nullptr);
  activity.set(0, tid, Activity::IDLE);
  if (rv != CKR_OK) fail(report, "C_Initialize answered " + ipc::returnValueName(rv), rv);
  report.reset();

  Server server{*module, options, activity, options.serialize || module->oneAtATime()};
  slotWatch = &server.slotWatch;
  {
    capnp::MallocMessageBuilder message;
    auto ready = message.initRoot<ipc::wire::Control>().initReady();
    ready.setCryptokiMajor(module->version().major);
    ready.setCryptokiMinor(module->version().minor);
    auto functions = ready.initFunctions(ipc::FUNCTIONS);
    for (unsigned i = 0; i < ipc::FUNCTIONS; ++i)
      functions.set(i, module->function(static_cast<Function>(i)) != nullptr);
    if (!ipc::sendControl(control.get(), message)) ::_exit(0);
  }

  for (;;) {
    auto message = ipc::receiveControl(control.get());
    if (!message || !*message) break;
    try {
      if ((*message)->get().isChannel() && (*message)->attached)
        startThread(server, std::move((*message)->attached));
    } catch (const kj::Exception& e) {
      giveUp(e.getDescription().cStr());
    }
  }
  // The host is gone. One that finalised has done so; for one that died, let the module put its
  // token in order. The supervisor sees to it that this ends.
  bool finalized = server.activity.running(0) == "C_Finalize";
  if (!finalized) {
    if (auto finalize = module->get<Function::C_Finalize>()) (void)finalize(nullptr);
  }
  ::_exit(0);
}

}  // namespace bulkhead::worker
