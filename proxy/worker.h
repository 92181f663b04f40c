// SPDX-License-Identifier: BSD-2-Clause
//
// A worker as the host sees it: two sockets, a pidfd, and idle channels.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "ipc/codec.h"
#include "ipc/log.h"
#include "proxy/logins.h"
#include "proxy/module_config.h"
#include "proxy/owned.h"

namespace bulkhead::proxy {

/// One worker process and its supervisor, from their start to their end. Every member may be called
/// from any thread. No lock is held while a message is under way.
class Worker {
 public:
  /// Where a worker is in its life. Failed: it never got ready. Died: it did, and is gone.
  /// Ended: the host finalised it.
  enum class Phase { Starting, Running, Failed, Died, Ended };

  /// What of the policy concerns the host; sent by the supervisor.
  struct Terms {
    std::chrono::milliseconds startTimeout{10'000};
    std::chrono::milliseconds stopTimeout{3'000};
    std::array<std::chrono::milliseconds, ipc::FUNCTIONS> callTimeouts{};
    unsigned startLimitBurst = 5;
    std::chrono::milliseconds startLimitInterval{60'000};
    std::uint64_t maxMessage = ipc::DEFAULT_MAX_MESSAGE;
    std::vector<std::uint64_t> flatMechanisms;
    bool sharePerConsumer = false;
  };

  /// Starts supervisor and worker and returns at once; awaitReady() goes on from there.
  /// `generation` counts the module's workers from 0.
  static Result<std::shared_ptr<Worker>> start(const ModuleConfig& module, unsigned generation,
                                               LogLevel logLevel);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Ends the processes, at once, if end() was not called. A host that is the parent of orphans has
  /// none to reap after that.
  ~Worker();

  /// Waits until each of the workers is running or has failed. Bounded by the longest
  /// StartTimeoutSec= among them.
  static void awaitReady(const std::vector<std::shared_ptr<Worker>>& workers) noexcept;

  Phase phase() const { return phase_.load(std::memory_order_acquire); }
  bool running() const { return phase() == Phase::Running; }
  unsigned generation() const { return generation_; }
  const Terms& terms() const { return terms_; }
  CK_VERSION cryptokiVersion() const { return version_; }
  bool has(ipc::Function f) const { return functions_[ipc::indexOf(f)]; }

  /// Who is logged in to its tokens; they know of no login to another worker's.
  Logins& logins() { return logins_; }

  /// Why it failed, and what C_Initialize answers for it where the module is critical.
  std::string failure() const;
  CK_RV failureValue() const { return failureValue_; }

  /// A channel under the number that the worker knows it by.
  struct HostChannel : ipc::Channel {
    HostChannel(ipc::ChannelEnd end, std::uint64_t maxMessage, int gone, std::uint32_t n)
        : ipc::Channel(std::move(end), maxMessage, gone), number(n) {
      std::ranges::transform(descriptors(), marks.begin(), [](int fd) { return Marked(fd); });
    }
    std::uint32_t number;
    std::array<Marked, 3> marks;  ///< for the children of the host
    std::uint32_t areas = 0;      ///< that the worker has been sent for it
    unsigned small = 0;           ///< calls in a row that were not large
    bool aside = false;           ///< its call may be under way for days
    int cpu = -1;         ///< where it was last used, and so where its thread is likely to be
    int threadCpu = -1;   ///< where that says that it was
    bool oneCpu = false;  ///< those who use it may run on one only
    unsigned calls = 0;
  };

  /// A channel on loan for one call. Goes back to the pool at its end, unless the exchange on it
  /// broke off.
  class Lease {
   public:
    Lease() = default;
    Lease(Worker& worker, std::unique_ptr<HostChannel> channel);
    Lease(Lease&& other) noexcept { *this = std::move(other); }
    Lease& operator=(Lease&& other) noexcept {
      std::swap(worker_, other.worker_);
      std::swap(channel_, other.channel_);
      std::swap(counted_, other.counted_);
      std::swap(clean, other.clean);
      return *this;
    }
    ~Lease();
    /// No longer counts as a call that keeps the host busy.
    void setAside();
    explicit operator bool() const { return channel_ != nullptr; }
    HostChannel& operator*() const { return *channel_; }
    HostChannel* operator->() const { return channel_.get(); }
    bool clean = false;  ///< the exchange is complete, or nothing was sent

   private:
    Worker* worker_ = nullptr;
    std::unique_ptr<HostChannel> channel_;
    bool counted_ = false;
  };

  /// How long the caller of a call has patience. Past it the call fails with CKR_DEVICE_ERROR and
  /// the worker lives on; past the policy's own deadline it is the worker that is ended.
  using Patience = ipc::Deadline;

  /// A call whose request has been sent.
  struct Sent {
    Lease lease;
    std::uint32_t sequence = 0;
    std::uint64_t largestReply = 0;
    ipc::Deadline deadline;
    bool look = false;
    bool forgiving = false;  ///< a deadline that passes costs this call, not the worker
    bool refused = false;    ///< the worker had no room for the channel, and did nothing
    CK_RV failed = CKR_OK;   ///< nothing was sent, and this is the answer
  };

  /// A codec for one call to this worker.
  ipc::HostCodec codec() const;

  /// Encodes and sends the request of one call.
  template <ipc::Function F>
  Sent send(ipc::HostCodec& codec, const typename ipc::Line<F>::Args& args,
            Patience patience = {}) {
    return send<F>(codec, args, patience, deadlineOf(F));
  }

  /// Waits for its reply and writes it back into the arguments.
  template <ipc::Function F>
  CK_RV finish(Sent& sent, ipc::HostCodec& codec, const typename ipc::Line<F>::Args& args);

  /// Both. A call on a worker that dies or has died returns CKR_DEVICE_REMOVED.
  template <ipc::Function F>
  CK_RV call(ipc::HostCodec& codec, const typename ipc::Line<F>::Args& args,
             Patience patience = {}) {
    const ipc::HostCodec fresh = codec;
    const ipc::Deadline deadline = deadlineOf(F);
    for (bool again = false;; again = true) {
      Sent sent = send<F>(codec, args, patience, deadline);
      CK_RV rv = sent.failed != CKR_OK ? sent.failed : finish<F>(sent, codec, args);
      if (!sent.refused || again) return rv;
      // On a channel that another call gives back.
      codec = fresh;
    }
  }

  /// By when a call that is made now has to be answered.
  ipc::Deadline deadlineOf(ipc::Function f) const {
    return ipc::deadlineIn(terms_.callTimeouts[ipc::indexOf(f)]);
  }

  /// In a forked child: the calls that its parent was in are not the child's.
  static void forgetInherited();

  /// The answer to a call for which there is no reply, by the phase the worker is in.
  CK_RV absent() const;

  /// Asks for the end: sends C_Finalize. end() waits for it, not beyond StopTimeoutSec= after
  /// `began`, and tells the processes to end, which bury() waits for: so that several end side by
  /// side. Calls under way return CKR_CRYPTOKI_NOT_INITIALIZED.
  void beginEnd(ipc::Clock::time_point began = ipc::Clock::now()) noexcept;
  void end() noexcept;
  void bury() noexcept;

  /// Ends a worker that broke a rule or a deadline; one that `closed` its sockets gets a moment to
  /// be found dead by itself. `why` goes to the log.
  void kill(const std::string& why, bool closed = false);

  /// A line for the supervisor's log. Never waits.
  void log(LogLevel level, const std::string& text) const noexcept;

 private:
  template <ipc::Function F>
  Sent send(ipc::HostCodec& codec, const typename ipc::Line<F>::Args& args, Patience patience,
            ipc::Deadline deadline);

  Worker(const ModuleConfig& module, unsigned generation, LogLevel logLevel);
  static void watchStarts(const std::vector<std::shared_ptr<Worker>>& workers);
  bool onMessage(const Owned& socket);
  void fail(const std::string& why, CK_RV rv = CKR_GENERAL_ERROR);
  Lease lease(ipc::Deadline deadline);
  std::unique_ptr<HostChannel> openChannel(ipc::Deadline deadline) noexcept;
  ipc::Area* areaOf(HostChannel& channel, std::size_t size);
  void giveBack(std::unique_ptr<HostChannel> channel, bool clean);
  void leave(Phase phase);
  void stop(const std::string& why, bool closed = false) noexcept;
  CK_RV broken(ipc::Exchange how, ipc::Function f, Sent& sent);
  void sendFrame(ipc::Function f, Sent& sent, ipc::FrameBuilder& frame);

  std::string name_;
  unsigned generation_;
  LogLevel logLevel_;
  std::atomic<Phase> phase_{Phase::Starting};
  Owned host_;        // to the supervisor
  Owned control_;     // to the worker
  Owned supervisor_;  // pidfd
  Terms terms_;
  CK_VERSION version_{};
  std::bitset<ipc::FUNCTIONS> functions_;
  Logins logins_;
  ipc::Clock::time_point started_ = ipc::Clock::now();

  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::string failure_;
  CK_RV failureValue_ = CKR_GENERAL_ERROR;
  std::vector<std::unique_ptr<HostChannel>> idle_;  // the last used at the end
  std::vector<HostChannel*> busy_;
  ipc::Clock::time_point mayOpenFrom_{};  // the worker had no room for one more channel
  std::atomic<std::uint32_t> channels_{0};
  std::atomic<std::uint32_t> sequence_{0};
  Sent finalizing_;
};

template <ipc::Function F>
Worker::Sent Worker::send(ipc::HostCodec& codec, const typename ipc::Line<F>::Args& args,
                          Patience patience, ipc::Deadline deadline) {
  Sent sent;
  sent.deadline = deadline;
  sent.forgiving = patience && (!sent.deadline || *patience < *sent.deadline);
  if (sent.forgiving) sent.deadline = patience;
  if (sent.forgiving && *patience <= ipc::Clock::now()) {
    sent.failed = CKR_DEVICE_ERROR;
    return sent;
  }
  sent.lease = lease(sent.deadline);
  if (!sent.lease) {
    sent.failed = absent();
    return sent;
  }
  try {
    ipc::FrameBuilder frame(sent.lease->sendBuffer());
    if (std::size_t size = ipc::areaFor<F>(args); size != 0) codec.area = areaOf(*sent.lease, size);
    auto request = frame.initRoot<ipc::wire::Request>();
    request.setAreas(sent.lease->areas);
    ipc::encodeRequest<F>(codec, request, args);
    sent.largestReply = codec.largestReply();
    sendFrame(F, sent, frame);
    return sent;
  } catch (const ipc::Refused& refused) {
    if (refused.what()[0] != '\0')
      log(LogLevel::Warning, std::string(ipc::nameOf(F)) + ": " + refused.what());
    sent.failed = refused.returnValue;
  } catch (const std::bad_alloc&) {
    sent.failed = CKR_HOST_MEMORY;
  } catch (const kj::Exception& e) {
    log(LogLevel::Warning, std::string(ipc::nameOf(F)) + ": " + e.getDescription().cStr());
    sent.failed = CKR_GENERAL_ERROR;
  }
  sent.lease->forget();
  sent.lease.clean = true;
  return sent;
}

template <ipc::Function F>
CK_RV Worker::finish(Sent& sent, ipc::HostCodec& codec, const typename ipc::Line<F>::Args& args) {
  Lease& own = sent.lease;
  try {
    ipc::Exchange got = own->receive(sent.largestReply, sent.deadline, sent.look);
    if (got == ipc::Exchange::Done && own->sequence() != sent.sequence)
      got = ipc::Exchange::Malformed;
    if (got != ipc::Exchange::Done) return broken(got, F, sent);
    CK_RV rv;
    {
      capnp::FlatArrayMessageReader message(own->received(), ipc::readerOptions(own->received()));
      auto reply = message.getRoot<ipc::wire::Reply>();
      own->threadCpu = reply.getCpu();
      rv = ipc::decodeReply<F>(codec, reply, args);
    }
    own->forget();
    own.clean = true;
    return rv;
  } catch (const ipc::Malformed& e) {
    kill("its reply to " + std::string(ipc::nameOf(F)) + " has " + e.what());
  } catch (const kj::Exception& e) {
    kill("its reply to " + std::string(ipc::nameOf(F)) +
         " is malformed: " + e.getDescription().cStr());
  } catch (const std::bad_alloc&) {
    kill("the host has no memory for its reply to " + std::string(ipc::nameOf(F)));
    return CKR_HOST_MEMORY;
  }
  return CKR_DEVICE_REMOVED;
}

}  // namespace bulkhead::proxy
