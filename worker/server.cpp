// SPDX-License-Identifier: BSD-2-Clause
#include "worker/server.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "ipc/attachment.h"
#include "ipc/channel.h"
#include "ipc/codec.h"
#include "ipc/control.h"
#include "ipc/names.h"
#include "worker/areas.h"
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
  Areas areas{};
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

// A channel at this end, and what its thread keeps from one call to the next.
struct Served {
  ipc::Channel channel;
  std::uint32_t number;
  unsigned slot;
  pid_t tid = 0;
  ipc::Arena arena{};
  std::uint32_t areas = 0;  // that the host has sent, when the last request came
};

// The area that a request means.
void updateArea(Server& server, Served& served, std::uint32_t areas) {
  if (areas == served.areas) return;
  auto area = ipc::Area::map(server.areas.take(served.number, areas));
  // Without it the host's next word about a place in it ends this worker: one that has not the
  // memory for its arguments.
  served.channel.setArea(area ? std::move(*area) : ipc::Area());
  served.areas = areas;
}

// False when nobody waits for the reply any more: the host has given the call up, and its channel.
bool serveOne(Server& server, Served& served) {
  ipc::Channel& channel = served.channel;
  {
    capnp::FlatArrayMessageReader message(channel.received(),
                                          ipc::readerOptions(channel.received()));
    auto request = message.getRoot<ipc::wire::Request>();
    std::uint16_t index = request.getFunction();
    updateArea(server, served, request.getAreas());
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
      server.activity.set(served.slot, served.tid, index);
      ipc::WorkerCodec codec(served.arena, server.options.maxMessage, &channel.area());
      DISPATCHER.table[index](codec, request, reply, function);
      server.activity.set(served.slot, served.tid, Activity::IDLE);
    }
    reply.setCpu(static_cast<std::uint16_t>(::sched_getcpu()));
    if (channel.send(frame, channel.sequence(), std::nullopt) != ipc::Exchange::Done) return false;
  }
  served.arena.reset();
  channel.forget();
  return true;
}

// noexcept: an exception that a module lets out ends the worker where it was thrown.
void serveChannel(Server& server, Served& served) noexcept {
  bool look = false;
  try {
    while (served.channel.receive(server.options.maxMessage * 2, std::nullopt, look) ==
           ipc::Exchange::Done) {
      look = served.channel.lone();
      if (!serveOne(server, served)) return;
    }
  } catch (const kj::Exception& e) {
    giveUp(e.getDescription().cStr());
  } catch (const ipc::Malformed& e) {
    giveUp(e.what());
  } catch (const std::bad_alloc&) {
    giveUp("out of memory");
  }
}

struct ThreadStart {
  ThreadStart(Server& s, ipc::ChannelEnd end, std::uint32_t number, unsigned slot)
      : server(s), served{{std::move(end), s.options.maxMessage}, number, slot} {}
  Server& server;
  Served served;
};

std::atomic<bool> slots[MAX_CHANNELS];

void* threadMain(void* argument) {
  std::unique_ptr<ThreadStart> start(static_cast<ThreadStart*>(argument));
  auto& [server, served] = *start;
  served.tid = static_cast<pid_t>(::syscall(SYS_gettid));
  serveChannel(server, served);
  server.areas.forget(served.number);
  const unsigned slot = served.slot;
  start.reset();
  slots[slot].store(false);
  return nullptr;
}

// Whether there is memory for the arguments of calls beside what threads take.
bool hasRoomForArguments() {
  constexpr std::size_t ARGUMENTS = std::size_t{32} << 20;
  void* room = ::mmap(nullptr, ARGUMENTS, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return room != MAP_FAILED && ::munmap(room, ARGUMENTS) == 0;
}

// False where the worker's limits leave no room for one more.
bool startThread(Server& server, ipc::ChannelEnd end, std::uint32_t number) {
  unsigned slot = 0;
  while (slot < MAX_CHANNELS && slots[slot].exchange(true)) ++slot;
  if (slot == MAX_CHANNELS) return false;
  bool started = false;
  try {
    // The first two are had in any case: less is of no use.
    if (slot >= 2 && !hasRoomForArguments()) throw std::bad_alloc();
    auto start = std::make_unique<ThreadStart>(server, std::move(end), number, slot);
    server.areas.expect(number);
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    started = ::pthread_create(&thread, &attributes, threadMain, start.get()) == 0;
    if (started) (void)start.release();
    ::pthread_attr_destroy(&attributes);
  } catch (const std::bad_alloc&) {
  }
  if (started) return true;
  server.areas.forget(number);
  slots[slot].store(false);
  return false;
}

// What the descriptors of one more channel take, and of what tells the host that there is no room
// for it, kept back: a module may use up all the others.
class Reserve {
 public:
  explicit Reserve(int any) : any_(any) {}
  /// False when there are no more.
  bool hold() {
    for (Descriptor& one : kept_)
      if (!one) one.reset(::fcntl(any_, F_DUPFD_CLOEXEC, 3));
    return std::all_of(kept_.begin(), kept_.end(), [](auto& one) { return bool(one); });
  }
  void release() { kept_ = {}; }

 private:
  int any_;
  std::array<Descriptor, 3> kept_;
};

// A channel without a thread costs the host a call, and not the worker.
void serve(Server& server, Reserve& reserve, ipc::Attached& attached, std::uint32_t number) {
  Descriptor out(::fcntl(attached[1].get(), F_DUPFD_CLOEXEC, 3));
  if (out && reserve.hold() &&
      startThread(server, {std::move(attached[0]), std::move(attached[1]), {}}, number))
    return;
  int refused = out ? out.get() : attached[1].get();
  if (refused >= 0) (void)!::write(refused, &ipc::END, sizeof ipc::END);
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
               Activity& activity) noexcept {
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

  // A host that gives a call up no longer reads its reply. The threads inherit this.
  sigset_t pipe;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  Reserve reserve(control.get());
  for (;;) {
    (void)reserve.hold();
    pollfd next{control.get(), POLLIN, 0};
    if (::poll(&next, 1, -1) < 0) continue;
    reserve.release();
    try {
      auto message = ipc::receiveControl(control.get());
      // What could not be taken whole is lost to the host, who sees that.
      if (!message && message.error().code == EBADMSG) continue;
      if (!message || !*message) break;
      auto what = (*message)->get();
      auto& attached = (*message)->attached;
      if (what.isChannel() && attached[1])
        serve(server, reserve, attached, what.getChannel());
      else if (what.isArea())
        server.areas.put(what.getArea(), std::move(attached[0]));
    } catch (const kj::Exception& e) {
      giveUp(e.getDescription().cStr());
    } catch (const std::bad_alloc&) {
      giveUp("out of memory");
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
