// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/worker.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "ipc/build_id.h"
#include "ipc/control.h"
#include "proxy/spawn.h"

namespace bulkhead::proxy {
namespace {

using ipc::Clock;
using ipc::Exchange;

// A pool holds this many idle channels; a burst of threads leaves no more behind.
constexpr std::size_t MAX_IDLE = 32;
// From how many bytes on another core takes longer to fetch them than to wake up, and after how
// many calls without as many there may be none for a while.
constexpr std::size_t LARGE = 512 * 1024;
constexpr unsigned SMALL_IN_A_ROW = 4;
// For how long a worker that had no room for one more channel is not sent another, while there are
// others to wait for.
constexpr std::chrono::seconds PAUSE{1};
// What the areas of a process may take together, in bytes, beyond the calls that need them.
constexpr std::size_t AREAS_KEPT = std::size_t{64} << 20;
// Calls of a worker that are under way at the same time.
constexpr std::size_t MAX_BUSY = 120;
// How long a supervisor may take to end a worker that is told to end.
constexpr int SUPERVISOR_GRACE = 1000;

// Calls of this process for which a channel is on loan.
std::atomic<int> underWay{0};

// Whether the host's thread and the worker's can run at the same time. Where the host's may run is
// looked up now and then: it can change, and asking costs as much as a call.
bool canRunTogether(Worker::HostChannel& channel) {
  if (channel.calls++ % 1024 == 0) {
    cpu_set_t cpus;
    channel.oneCpu = ::sched_getaffinity(0, sizeof cpus, &cpus) != 0 || CPU_COUNT(&cpus) < 2;
  }
  return !channel.oneCpu || (channel.threadCpu >= 0 && channel.threadCpu != channel.cpu);
}

// Waits until a socket takes a message, or its peer is gone; false at the deadline.
bool awaitRoom(int socket, ipc::Deadline deadline) {
  for (;;) {
    int left = -1;
    if (deadline) {
      auto rest = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
      if (rest.count() <= 0) return false;
      left = static_cast<int>(std::min<std::int64_t>(rest.count(), 1 << 30));
    }
    pollfd one{socket, POLLOUT, 0};
    if (::poll(&one, 1, left) > 0) return true;
  }
}

std::string workerExecutable() {
  const char* own = ::secure_getenv("BULKHEAD_WORKER");
  return own == nullptr || *own == '\0' ? BULKHEAD_WORKER_PATH : own;
}

// The host's environment as it is now; the supervisor picks from it what the policy lets through.
// LD_* variables are for the host's programs, and a setuid host's variables are for nobody.
std::vector<std::string> environmentForWorker() {
  std::vector<std::string> kept;
  bool secure = ::getauxval(AT_SECURE) != 0;
  for (char** one = ::environ; one != nullptr && *one != nullptr; ++one) {
    if (std::strncmp(*one, "LD_", 3) == 0) continue;
    if (secure && std::strncmp(*one, "BULKHEAD_", 9) == 0) continue;
    kept.emplace_back(*one);
  }
  return kept;
}

}  // namespace

Worker::Worker(const ModuleConfig& module, unsigned generation, LogLevel logLevel)
    : name_(module.name), generation_(generation), logLevel_(logLevel) {
  // Channels are given back where nothing may fail; one more is for C_Finalize.
  idle_.reserve(MAX_IDLE);
  busy_.reserve(MAX_BUSY + 1);
}

Result<std::shared_ptr<Worker>> Worker::start(const ModuleConfig& module, unsigned generation,
                                              LogLevel logLevel) try {
  auto host = ipc::socketPair();
  if (!host) return host.error();
  auto control = ipc::socketPair();
  if (!control) return control.error();
  ipc::refuseDescriptors(control->first.get());

  // Sent before there is anybody to read it: it waits in the socket.
  capnp::MallocMessageBuilder message;
  auto start = message.initRoot<ipc::wire::Control>().initStart();
  start.setBuild(BUILD_ID);
  start.setModule(module.name);
  start.setPath(module.path);
  start.setInitReserved(module.initReserved);
  start.setHasInitReserved(module.hasInitReserved);
  start.setHostPid(::getpid());
  start.setLogLevel(static_cast<signed char>(logLevel));
  start.setRestarts(generation);
  start.setSecure(::getauxval(AT_SECURE) != 0);
  if (auto sent = ipc::sendControl(host->first.get(), message); !sent) return sent.error();

  auto supervisor = spawnSupervisor(workerExecutable(), host->second.get(), control->second.get(),
                                    environmentForWorker());
  if (!supervisor) return supervisor.error();
  std::shared_ptr<Worker> worker(new Worker(module, generation, logLevel));
  worker->host_ = Owned(std::move(host->first));
  worker->control_ = Owned(std::move(control->first));
  worker->supervisor_ = Owned(std::move(*supervisor));
  return worker;
} catch (const std::bad_alloc&) {
  return Error{"start", ENOMEM, {}};
} catch (const kj::Exception&) {
  return Error{"start", ENOMEM, {}};
}

Worker::~Worker() {
  if (phase() == Phase::Running || phase() == Phase::Starting) stop("");
  if (phase() != Phase::Ended) bury();
}

std::string Worker::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

void Worker::fail(const std::string& why, CK_RV rv) {
  {
    std::lock_guard lock(mutex_);
    // The first reason is the cause; what follows are consequences.
    if (failure_.empty()) {
      failure_ = why;
      failureValue_ = rv;
    }
  }
  leave(Phase::Failed);
  // One that only closed its sockets, or wrote nonsense to them, still runs.
  stop(why);
}

// Reads one control message while the worker starts. False when there is nothing more to expect.
bool Worker::onMessage(const Owned& socket) {
  auto received = ipc::receiveControl(socket.get(), true);
  if (!received) return received.error().code == EAGAIN;
  if (!*received) return false;
  try {
    auto message = (*received)->get();
    if (message.isPolicy() && &socket == &host_) {
      auto policy = message.getPolicy();
      auto milliseconds = [](std::uint64_t n) { return std::chrono::milliseconds(n); };
      terms_.startTimeout = milliseconds(policy.getStartTimeout());
      terms_.stopTimeout = milliseconds(policy.getStopTimeout());
      auto calls = policy.getCallTimeouts();
      for (unsigned i = 0; i < ipc::FUNCTIONS && i < calls.size(); ++i)
        terms_.callTimeouts[i] = milliseconds(calls[i]);
      // It waits for a card to be put in, not for the module.
      terms_.callTimeouts[ipc::indexOf(ipc::Function::C_WaitForSlotEvent)] = milliseconds(0);
      terms_.startLimitBurst = policy.getStartLimitBurst();
      terms_.startLimitInterval = milliseconds(policy.getStartLimitInterval());
      terms_.maxMessage = policy.getMaxMessage();
      for (auto one : policy.getFlatMechanisms()) terms_.flatMechanisms.push_back(one);
      terms_.sharePerConsumer = policy.getSharePerConsumer();
    } else if (message.isReady() && &socket == &control_) {
      auto ready = message.getReady();
      version_ = {ready.getCryptokiMajor(), ready.getCryptokiMinor()};
      auto functions = ready.getFunctions();
      for (unsigned i = 0; i < ipc::FUNCTIONS && i < functions.size(); ++i)
        functions_[i] = functions[i];
      phase_.store(Phase::Running, std::memory_order_release);
    } else if (message.isFailed()) {
      auto failed = message.getFailed();
      auto reason = std::string(failed.getReason().cStr());
      fail(reason, static_cast<CK_RV>(failed.getReturnValue()));
    } else if (message.isEnded() && phase() == Phase::Starting) {
      fail(message.getEnded().cStr(), CKR_DEVICE_REMOVED);
    }
    return true;
  } catch (const kj::Exception& e) {
    fail(e.getDescription().cStr(), CKR_DEVICE_ERROR);
    return false;
  }
}

void Worker::awaitReady(const std::vector<std::shared_ptr<Worker>>& workers) noexcept {
  try {
    watchStarts(workers);
  } catch (...) {
    // No memory: those that are not ready by now are given up.
    for (auto& worker : workers) {
      if (worker->phase() != Phase::Starting) continue;
      worker->leave(Phase::Failed);
      worker->stop("");
    }
  }
}

void Worker::watchStarts(const std::vector<std::shared_ptr<Worker>>& workers) {
  for (;;) {
    std::vector<pollfd> fds;
    std::vector<Worker*> owners;
    int timeout = -1;
    for (auto& worker : workers) {
      if (worker->phase() != Phase::Starting) continue;
      int left = -1;
      if (worker->terms_.startTimeout.count() != 0) {
        auto rest = std::chrono::ceil<std::chrono::milliseconds>(
            worker->started_ + worker->terms_.startTimeout - Clock::now());
        if (rest.count() <= 0) {
          worker->fail("it was not ready within StartTimeoutSec=", CKR_DEVICE_ERROR);
          continue;
        }
        left = static_cast<int>(std::min<std::int64_t>(rest.count(), 1 << 30));
      }
      if (timeout < 0 || (left >= 0 && left < timeout)) timeout = left;
      fds.push_back({worker->host_.get(), POLLIN, 0});
      fds.push_back({worker->control_.get(), POLLIN, 0});
      owners.insert(owners.end(), 2, worker.get());
    }
    if (fds.empty()) return;
    int n = ::poll(fds.data(), fds.size(), timeout);
    if (n < 0 && errno != EINTR) return;
    if (n <= 0) continue;
    // The supervisor's sockets come before the workers': the policy precedes readiness.
    for (std::size_t i = 0; i < fds.size(); ++i) {
      Worker& worker = *owners[i];
      if (fds[i].revents == 0 || worker.phase() != Phase::Starting) continue;
      bool supervisor = i % 2 == 0;
      if (worker.onMessage(supervisor ? worker.host_ : worker.control_)) continue;
      // A worker that closes says nothing; its supervisor says how it ended.
      if (!supervisor && fds[i - 1].revents == 0) {
        pollfd last{worker.host_.get(), POLLIN, 0};
        if (::poll(&last, 1, SUPERVISOR_GRACE) > 0 && worker.onMessage(worker.host_) &&
            worker.phase() == Phase::Starting)
          continue;
      }
      if (worker.phase() == Phase::Starting)
        worker.fail("it ended before it was ready", CKR_DEVICE_ERROR);
    }
  }
}

// ---- channels ----

Worker::Lease::Lease(Worker& worker, std::unique_ptr<HostChannel> channel)
    : worker_(&worker), channel_(std::move(channel)), counted_(true) {
  underWay.fetch_add(1, std::memory_order_relaxed);
}

Worker::Lease::~Lease() {
  if (channel_ == nullptr) return;
  if (counted_) underWay.fetch_sub(1, std::memory_order_relaxed);
  worker_->giveBack(std::move(channel_), clean);
}

void Worker::Lease::setAside() {
  if (!std::exchange(counted_, false)) return;
  underWay.fetch_sub(1, std::memory_order_relaxed);
  std::lock_guard lock(worker_->mutex_);
  channel_->aside = true;
}

// Null where there is no descriptor or no memory for one more, or the worker takes none in time.
std::unique_ptr<Worker::HostChannel> Worker::openChannel(ipc::Deadline deadline) noexcept {
  try {
    auto ends = ipc::channelEnds();
    if (!ends) return nullptr;
    auto channel = std::make_unique<HostChannel>(std::move(ends->host), terms_.maxMessage,
                                                 supervisor_.get(), channels_.fetch_add(1));
    capnp::MallocMessageBuilder message;
    message.initRoot<ipc::wire::Control>().setChannel(channel->number);
    const int worker[] = {ends->worker.in.get(), ends->worker.out.get()};
    for (;;) {
      auto sent = ipc::sendControl(control_.get(), message, false, worker);
      if (sent) return channel;
      switch (sent.error().code) {
        case EAGAIN:
          // Few fit into the socket at a time, and none leaves it while the worker is stopped.
          if (!awaitRoom(control_.get(), deadline)) return nullptr;
          break;
        case ENOMEM:
        case ENOBUFS:
        case ETOOMANYREFS:
          return nullptr;
        case EBADF:
          kill("the host has closed the descriptors of others");
          return nullptr;
        default:
          kill("it closed its control socket", true);
          return nullptr;
      }
    }
  } catch (const std::bad_alloc&) {
  } catch (const kj::Exception&) {
  }
  return nullptr;
}

void Worker::forgetInherited() {
  underWay.store(0, std::memory_order_relaxed);
  ipc::Area::forgetInherited();
}

// The channel's area, which the worker has or is about to get. Null where there is none to be had.
ipc::Area* Worker::areaOf(HostChannel& channel, std::size_t size) {
  if (size >= LARGE) channel.small = 0;
  ipc::Area* area = channel.areaOf(size);
  if (area == nullptr || area->unsent() < 0) return area;
  capnp::MallocMessageBuilder message;
  message.initRoot<ipc::wire::Control>().setArea(channel.number);
  const int memory = area->unsent();
  if (!ipc::sendControl(control_.get(), message, false, std::span(&memory, 1))) return nullptr;
  area->sent();
  ++channel.areas;
  return area;
}

Worker::Lease Worker::lease(ipc::Deadline deadline) {
  std::unique_ptr<HostChannel> channel;
  bool mayOpen = true;
  const int cpu = ::sched_getcpu();
  auto isAside = [](const HostChannel* one) { return one != nullptr && one->aside; };
  std::unique_lock lock(mutex_);
  while (channel == nullptr) {
    if (!running()) return {};
    if (!idle_.empty()) {
      // Waking a thread on another core costs more than all else in a small call.
      auto near =
          std::find_if(idle_.rbegin(), idle_.rend(), [&](auto& one) { return one->cpu == cpu; });
      auto chosen = near == idle_.rend() ? std::prev(idle_.end()) : std::prev(near.base());
      channel = std::move(*chosen);
      idle_.erase(chosen);
      busy_.push_back(channel.get());
    } else if (mayOpen && busy_.size() < MAX_BUSY &&
               (Clock::now() >= mayOpenFrom_ || std::ranges::all_of(busy_, isAside))) {
      // A place is taken before the channel is there, so that no burst gets more than there are.
      busy_.push_back(nullptr);
      lock.unlock();
      auto opened = openChannel(deadline);
      lock.lock();
      auto place = std::find(busy_.begin(), busy_.end(), nullptr);
      if (opened != nullptr && running()) {
        *place = opened.get();
        channel = std::move(opened);
      } else {
        // A host at its limit of descriptors waits for a channel that it has.
        mayOpen = false;
        busy_.erase(place);
        returned_.notify_all();
        lock.unlock();
        opened.reset();
        lock.lock();
      }
    } else if (std::ranges::all_of(busy_, isAside)) {
      // Nobody gives one back, or not for days.
      return {};
    } else {
      ipc::Deadline until = deadline;
      if (mayOpen && busy_.size() < MAX_BUSY && (!until || mayOpenFrom_ < *until))
        until = mayOpenFrom_;
      if (!until)
        returned_.wait(lock);
      else if (returned_.wait_until(lock, *until) == std::cv_status::timeout && until == deadline)
        return {};
    }
  }
  lock.unlock();
  channel->cpu = cpu;
  if (!channel->isOwn()) {
    giveBack(std::move(channel), false);
    kill("the host has closed the descriptors of others");
    return {};
  }
  return Lease(*this, std::move(channel));
}

void Worker::giveBack(std::unique_ptr<HostChannel> channel, bool clean) {
  {
    std::lock_guard lock(mutex_);
    auto place = std::find(busy_.begin(), busy_.end(), channel.get());
    if (place != busy_.end()) busy_.erase(place);
    channel->aside = false;
    // Memory that a burst of large calls took is given back with its channels.
    bool tooLarge = channel->area().size() != 0 && ipc::Area::total() > AREAS_KEPT;
    if (clean && running() && !tooLarge && idle_.size() < MAX_IDLE)
      idle_.push_back(std::move(channel));
  }
  // Closed outside of the lock.
  channel.reset();
  // Those that wait do so for different things: for this channel, or for room to open another.
  returned_.notify_all();
}

ipc::HostCodec Worker::codec() const {
  ipc::HostCodec codec;
  codec.handles = ipc::ObjectHandles(generation_);
  codec.flatMechanisms = terms_.flatMechanisms;
  codec.maxBytes = terms_.maxMessage;
  return codec;
}

void Worker::sendFrame(ipc::Function f, Sent& sent, ipc::FrameBuilder& frame) {
  sent.sequence = sequence_.fetch_add(1, std::memory_order_relaxed);
  // A worker that looks is on another core than this, and woken it may come to this one.
  sent.look = sent.lease->small++ >= SMALL_IN_A_ROW &&
              underWay.load(std::memory_order_relaxed) == 1 && canRunTogether(*sent.lease);
  Exchange how = sent.lease->send(frame, sent.sequence, sent.deadline, sent.look);
  if (how != Exchange::Done) sent.failed = broken(how, f, sent);
}

CK_RV Worker::absent() const {
  switch (phase()) {
    case Phase::Ended:
      return CKR_CRYPTOKI_NOT_INITIALIZED;
    case Phase::Running:
      // It is there, and the host has no descriptor or no memory to reach it with.
      return CKR_HOST_MEMORY;
    default:
      return CKR_DEVICE_REMOVED;
  }
}

CK_RV Worker::broken(Exchange how, ipc::Function f, Sent& sent) {
  std::string name(ipc::nameOf(f));
  switch (how) {
    case Exchange::Done:
      return CKR_OK;
    case Exchange::Refused: {
      // One that has a thread has room for it.
      if (sent.lease->threadCpu >= 0) {
        kill("it refuses " + name + " on a channel that it has served");
        break;
      }
      sent.refused = true;
      std::lock_guard lock(mutex_);
      mayOpenFrom_ = Clock::now() + PAUSE;
      return CKR_HOST_MEMORY;
    }
    case Exchange::Closed:
      // Its supervisor sees how it died. One that only closed its channels must not live on.
      if (running()) kill("it closed its channel in " + name, true);
      break;
    case Exchange::Expired:
      if (sent.forgiving) return CKR_DEVICE_ERROR;
      kill(name + " took longer than CallTimeoutSec=");
      break;
    case Exchange::Malformed:
      kill("its reply to " + name + " breaks the rules of frames");
      break;
    case Exchange::Foreign:
      kill("the host has closed the descriptors of others");
      break;
  }
  return absent();
}

// ---- ends ----

// Goes to a phase from which no call is made any more. Calls that are under way end with the
// worker, which is told to end next.
void Worker::leave(Phase phase) {
  std::vector<std::unique_ptr<HostChannel>> closing;
  {
    std::lock_guard lock(mutex_);
    Phase before = phase_.load();
    if (before != Phase::Starting && before != Phase::Running) return;
    phase_.store(phase, std::memory_order_release);
    closing.swap(idle_);
  }
  returned_.notify_all();
}

void Worker::stop(const std::string& why, bool closed) noexcept {
  try {
    capnp::MallocMessageBuilder message;
    auto control = message.initRoot<ipc::wire::Control>();
    if (closed)
      control.setClosed(why);
    else
      control.setStop(why);
    int host = host_.get();
    if (host >= 0 && ipc::sendControl(host, message, false)) return;
  } catch (...) {
    // No memory for what to say.
  }
  // A supervisor that does not read is no use; the worker dies with it.
  int supervisor = supervisor_.get();
  if (supervisor >= 0) (void)::syscall(SYS_pidfd_send_signal, supervisor, SIGKILL, nullptr, 0);
}

void Worker::kill(const std::string& why, bool closed) {
  bool was = running();
  leave(Phase::Died);
  if (!was) return;
  stop(why, closed);
  // Calls without a deadline wait for its end, and a supervisor that is stopped ends nothing.
  if (!closed) bury();
}

void Worker::log(LogLevel level, const std::string& text) const noexcept {
  try {
    capnp::MallocMessageBuilder message;
    auto line = message.initRoot<ipc::wire::Control>().initLog();
    line.setLevel(static_cast<signed char>(level));
    line.setText(text);
    int host = host_.get();
    if (host >= 0 && ipc::sendControl(host, message, false)) return;
    logToStderr(logLevel_, level, name_, text);
  } catch (...) {
    // Without memory for a line there is none.
  }
}

void Worker::beginEnd(Clock::time_point began) noexcept try {
  if (!running()) return;
  // On a channel that has a thread already, if there is one: the worker may have no room for
  // another. Else on one of its own, as all may be taken by calls that block. Where none is to be
  // had at once, the worker is ended without.
  const ipc::Deadline atOnce = Clock::now();
  std::unique_lock lock(mutex_);
  const bool idle = !idle_.empty();
  lock.unlock();
  if (idle) finalizing_.lease = lease(atOnce);
  if (!finalizing_.lease) {
    if (auto channel = openChannel(atOnce)) {
      lock.lock();
      busy_.push_back(channel.get());
      lock.unlock();
      finalizing_.lease = Lease(*this, std::move(channel));
    }
  }
  if (!finalizing_.lease) {
    log(LogLevel::Warning, "ended without C_Finalize: there is no channel for it");
    return;
  }
  finalizing_.deadline = began + terms_.stopTimeout;
  finalizing_.forgiving = true;
  ipc::HostCodec codec = this->codec();
  ipc::FrameBuilder frame(finalizing_.lease->sendBuffer());
  ipc::encodeRequest<ipc::Function::C_Finalize>(codec, frame.initRoot<ipc::wire::Request>(),
                                                {nullptr});
  finalizing_.largestReply = codec.largestReply();
  sendFrame(ipc::Function::C_Finalize, finalizing_, frame);
} catch (const std::bad_alloc&) {
  finalizing_.failed = CKR_HOST_MEMORY;
} catch (const kj::Exception&) {
  finalizing_.failed = CKR_HOST_MEMORY;
}

void Worker::end() noexcept {
  try {
    if (finalizing_.lease && finalizing_.failed == CKR_OK) {
      Exchange got = finalizing_.lease->receive(finalizing_.largestReply, finalizing_.deadline);
      if (got == Exchange::Expired)
        log(LogLevel::Warning, "C_Finalize took longer than StopTimeoutSec=");
      if (got == Exchange::Refused)
        log(LogLevel::Warning, "ended without C_Finalize: it has no room for one more thread");
    }
  } catch (const std::bad_alloc&) {
    // It is ended without having been heard.
  }
  leave(Phase::Ended);
  finalizing_ = {};
  stop("");
}

// Waits for the end of the supervisor that was told to end, with which the worker's is sure.
void Worker::bury() noexcept {
  int supervisor = supervisor_.get();
  if (supervisor < 0 || awaitEnd(supervisor, SUPERVISOR_GRACE)) return;
  (void)::syscall(SYS_pidfd_send_signal, supervisor, SIGKILL, nullptr, 0);
  (void)awaitEnd(supervisor, SUPERVISOR_GRACE);
}

}  // namespace bulkhead::proxy
