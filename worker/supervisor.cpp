// SPDX-License-Identifier: BSD-2-Clause
#include "worker/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>

#include "ipc/build_id.h"
#include "ipc/catalogue.h"
#include "ipc/channel.h"
#include "ipc/control.h"
#include "ipc/log.h"
#include "sandbox/confine.h"
#include "sandbox/notifications.h"
#include "sandbox/policy.h"
#include "sandbox/scope.h"
#include "worker/activity.h"
#include "worker/journal.h"
#include "worker/server.h"

namespace bulkhead::worker {
namespace {

using ipc::Clock;

// How long the worker of a host that died has for its module's C_Finalize.
constexpr std::chrono::milliseconds ORPHAN_GRACE{300};
// How long a worker may take to be dead, in milliseconds, from when it closes its sockets.
constexpr int DEATH_GRACE = 50;
// How long the host may take to say why a worker left in peace.
constexpr int WORD_GRACE = 20;
constexpr std::size_t MAX_OUTPUT_LINES = 1000;
// What the supervisor says to a worker that is confined. A system may let nobody take descriptors.
constexpr char GO = 1, SEND_IT = 2;
constexpr long SYS_PIDFD_OPEN = 434;
constexpr long SYS_CLOSE_RANGE = 436;

// What the first message said, as values of our own.
struct Start {
  std::string module, path, initReserved;
  bool hasInitReserved = false;
  pid_t hostPid = 0;
  LogLevel level = LogLevel::Off;
  unsigned restarts = 0;
  bool secure = false;
};

class Supervisor {
 public:
  Supervisor(Descriptor host, Descriptor control)
      : host_(std::move(host)), control_(std::move(control)) {}

  int run();

 private:
  bool receiveStart();
  bool readPolicy();
  void sendPolicy();
  bool forkWorker();
  void placeWorker();
  void tellUnplaced();
  [[noreturn]] void becomeWorker(Descriptor report, Descriptor output);
  void watch();
  void onHostMessage();
  void onWorkerReport();
  void onOutput();
  void onNotification();
  void endWorker(const std::string& why);
  void hearWhyItLeft();
  void reportDeath(int status);
  static void endDescendants();

  void log(LogLevel level, const std::string& text, const char* id = nullptr,
           JournalFields fields = {});
  void fail(const std::string& reason, CK_RV rv = CKR_GENERAL_ERROR);

  Descriptor host_;
  Descriptor control_;
  Start start_;
  sandbox::Policy policy_;
  Activity activity_;
  pid_t pid_ = -1;
  Descriptor worker_;    // pidfd
  Descriptor hostDead_;  // pidfd
  Descriptor report_;    // the worker's side of the confinement
  Descriptor output_;    // stdout and stderr of the module
  std::unique_ptr<sandbox::Notifications> notifications_;
  std::optional<Error> unplaced_;  // why the worker is in no scope, or the scope does not hold it
  std::string line_;
  std::size_t outputLines_ = 0;
  std::string endedBecause_;  // why we are ending the worker; empty while we are not
  bool confined_ = false;     // the worker's own word for it, given before it opened the module
  bool expected_ = false;     // the host asked for the end
  bool unexpected_ = false;   // the host has seen an end that it did not ask for
  bool failed_ = false;       // the host has been told that there is no worker
  std::optional<Clock::time_point> killAt_;
  Clock::time_point started_ = Clock::now();
};

void Supervisor::log(LogLevel level, const std::string& text, const char* id,
                     JournalFields fields) {
  logToStderr(start_.level, level, start_.module, text);
  if (level > LogLevel::Info) return;
  fields.emplace_back("BULKHEAD_MODULE", start_.module);
  fields.emplace_back("BULKHEAD_MODULE_PATH", start_.path);
  fields.emplace_back("BULKHEAD_HOST_PID", std::to_string(start_.hostPid));
  if (pid_ > 0) fields.emplace_back("BULKHEAD_WORKER_PID", std::to_string(pid_));
  if (id != nullptr) fields.emplace_back("MESSAGE_ID", id);
  // A journal that is absent or hangs costs the record, never the worker.
  (void)sendToJournal(level, start_.module + ": " + text, fields);
}

// Tells the log and the host, once, that there will be no worker.
void Supervisor::fail(const std::string& reason, CK_RV rv) {
  if (failed_) return;
  failed_ = true;
  log(LogLevel::Error, "cannot start: " + reason, message_id::FAILED);
  capnp::MallocMessageBuilder message;
  auto failed = message.initRoot<ipc::wire::Control>().initFailed();
  failed.setReason(reason.substr(0, 4096));
  failed.setReturnValue(rv);
  (void)ipc::sendControl(host_.get(), message, false);
}

bool Supervisor::receiveStart() {
  auto received = ipc::receiveControl(host_.get());
  if (!received || !*received) return false;
  auto message = (*received)->get();
  if (!message.isStart()) return false;
  auto start = message.getStart();
  start_.module = start.getModule().cStr();
  start_.path = start.getPath().cStr();
  start_.initReserved = start.getInitReserved().cStr();
  start_.hasInitReserved = start.getHasInitReserved();
  start_.hostPid = start.getHostPid();
  start_.level = static_cast<LogLevel>(start.getLogLevel());
  start_.restarts = start.getRestarts();
  start_.secure = start.getSecure();
  if (start.getBuild() != BUILD_ID) {
    fail("the proxy and the worker executable are not of the same build");
    return false;
  }
  // Watch the host itself, too: a process that it forked may hold its sockets open.
  hostDead_.reset(static_cast<int>(::syscall(SYS_PIDFD_OPEN, start_.hostPid, 0)));
  return true;
}

bool Supervisor::readPolicy() {
  // In a setuid program the environment is the caller's, and says nothing here.
  if (start_.secure) {
    ::unsetenv("BULKHEAD_POLICIES");
    ::unsetenv("BULKHEAD_LOG");
  }
  auto policy = sandbox::loadPolicy({start_.module, start_.path}, sandbox::policyDirectories(),
                                    sandbox::currentSpecifiers());
  if (!policy) {
    fail(policy.error().message());
    return false;
  }
  policy_ = std::move(policy).value();
  return true;
}

void Supervisor::sendPolicy() {
  capnp::MallocMessageBuilder message;
  auto out = message.initRoot<ipc::wire::Control>().initPolicy();
  auto milliseconds = [](std::chrono::milliseconds t) {
    return static_cast<std::uint64_t>(t.count());
  };
  out.setStartTimeout(milliseconds(policy_.startTimeout));
  out.setStopTimeout(milliseconds(policy_.stopTimeout));
  auto calls = out.initCallTimeouts(ipc::FUNCTIONS);
  for (unsigned i = 0; i < ipc::FUNCTIONS; ++i) {
    auto own = policy_.callTimeouts.find(std::string(ipc::FUNCTION_NAMES[i]));
    calls.set(i,
              milliseconds(own == policy_.callTimeouts.end() ? policy_.callTimeout : own->second));
  }
  out.setStartLimitBurst(policy_.startLimitBurst);
  out.setStartLimitInterval(milliseconds(policy_.startLimitInterval));
  out.setMaxMessage(policy_.maxMessage);
  auto flat = out.initFlatMechanisms(static_cast<unsigned>(policy_.flatMechanisms.size()));
  for (unsigned i = 0; i < flat.size(); ++i) flat.set(i, policy_.flatMechanisms[i]);
  out.setSharePerConsumer(policy_.share == sandbox::WorkerSharing::Consumer);
  (void)ipc::sendControl(host_.get(), message, false);
}

bool Supervisor::forkWorker() {
  auto report = ipc::socketPair();
  if (!report) {
    fail(report.error().message());
    return false;
  }
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) {
    fail(systemError("pipe").message());
    return false;
  }
  output_ = aboveStandard(Descriptor(pipe[0]));
  Descriptor writing = aboveStandard(Descriptor(pipe[1]));
  (void)::fcntl(output_.get(), F_SETFL, O_NONBLOCK);

  pid_ = ::fork();
  if (pid_ < 0) {
    fail(systemError("fork").message());
    return false;
  }
  if (pid_ == 0) becomeWorker(std::move(report->second), std::move(writing));
  worker_.reset(static_cast<int>(::syscall(SYS_PIDFD_OPEN, pid_, 0)));
  report_ = std::move(report->first);
  control_.reset();
  if (!worker_) {
    fail(systemError("pidfd_open").message());
    (void)::kill(pid_, SIGKILL);
    return false;
  }
  return true;
}

// ---- in the forked child, up to the point where the module is opened ----

void Supervisor::becomeWorker(Descriptor report, Descriptor output) {
  // The supervisor's death is ours. It may have come before we asked for that.
  pid_t supervisor = ::getppid();
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != supervisor || supervisor == 1)
    ::_exit(71);
  (void)::prctl(PR_SET_NAME, ("bh:" + start_.module).substr(0, 15).c_str());

  // The host's stderr, if we have it, is the supervisor's to write to.
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(output.get(), STDOUT_FILENO) < 0 ||
      ::dup2(output.get(), STDERR_FILENO) < 0)
    ::_exit(71);
  sandbox::setEnvironment(policy_);
  if (::chdir(policy_.workingDirectory.c_str()) != 0) (void)!::chdir("/");

  auto tell = [&](auto fill, std::span<const int> attach = {}) {
    capnp::MallocMessageBuilder message;
    fill(message.initRoot<ipc::wire::Control>());
    if (!ipc::sendControl(report.get(), message, true, attach)) ::_exit(71);
  };
  auto degraded = [&](const sandbox::Layer& layer, const Error& error) {
    tell([&](ipc::wire::Control::Builder c) {
      auto line = c.initLog();
      line.setLevel(static_cast<signed char>(LogLevel::Warning));
      line.setText("layer " + std::string(layer.name) + " is not in force: " + error.message());
    });
  };

  // Everything else that is open goes, but what is in use here.
  int keep[2] = {control_.get(), report.get()};
  std::sort(std::begin(keep), std::end(keep));
  unsigned from = 3;
  for (int fd : keep) {
    auto number = static_cast<unsigned>(fd);
    if (number > from) (void)::syscall(SYS_CLOSE_RANGE, from, number - 1, 0);
    from = number + 1;
  }
  (void)::syscall(SYS_CLOSE_RANGE, from, ~0U, 0);
  // Those numbers are closed; their owners in this process must not close them again.
  (void)host_.release();
  (void)hostDead_.release();
  (void)output_.release();
  (void)output.release();

  // Compiled before it is needed: the first use of a lazily bound function or of a locale after
  // the filter is in force would otherwise be refused.
  sandbox::Confinement confinement{policy_, start_.path};
  auto confined = sandbox::confine(confinement, degraded);
  if (!confined) {
    tell([&](ipc::wire::Control::Builder c) {
      c.initFailed().setReason(confined.error().message());
    });
    ::_exit(71);
  }
  // Whoever holds the listener answers the worker's system calls. The supervisor takes it from
  // here, before the module is opened: what is sent could be too much for what the user has under
  // way.
  const int listener = confinement.listener.get();
  auto confinedNow = [&](ipc::wire::Control::Builder c) { c.setConfined(listener); };
  tell(confinedNow);
  char go = 0;
  if (::recv(report.get(), &go, 1, 0) != 1) ::_exit(71);
  if (go == SEND_IT) {
    tell(confinedNow, std::span(&listener, 1));
    if (::recv(report.get(), &go, 1, 0) != 1) ::_exit(71);
  }
  confinement.listener.reset();

  ServerOptions options;
  options.modulePath = start_.path;
  options.initReserved = start_.initReserved;
  options.hasInitReserved = start_.hasInitReserved;
  options.serialize = policy_.serialize;
  options.maxMessage = policy_.maxMessage;
  runServer(std::move(control_), std::move(report), options, activity_);
}

// ---- the supervisor again ----

// While the worker confines itself. It opens the module when it is told to, and so in its scope.
void Supervisor::placeWorker() {
  sandbox::Wanted want = sandbox::wanted(policy_, "cgroup");
  if (want == sandbox::Wanted::No) return;
  auto placed = sandbox::placeInScope(policy_, start_.module, pid_);
  if (placed) return;
  unplaced_ = placed.error();
  if (want != sandbox::Wanted::Required) return;
  fail("required layer cgroup: " + unplaced_->message());
  endWorker("it is in no scope");
}

// After the worker has confined itself: its resource limits hold something of what a scope does
// not.
void Supervisor::tellUnplaced() {
  if (!unplaced_ || failed_) return;
  std::string open = sandbox::openLimits(policy_, start_.module, pid_);
  log(LogLevel::Warning, "layer cgroup is not in force: " + unplaced_->message() +
                             (open.empty() ? "" : "; nothing holds " + open));
}

void Supervisor::endWorker(const std::string& why) {
  if (!endedBecause_.empty()) return;
  endedBecause_ = why;
  (void)::kill(pid_, SIGKILL);
}

void Supervisor::onHostMessage() {
  auto received = ipc::receiveControl(host_.get(), true);
  if (!received && received.error().code == EAGAIN) return;
  if (!received || !*received) {
    host_.reset();
    if (!killAt_) killAt_ = Clock::now() + ORPHAN_GRACE;
    return;
  }
  auto message = (*received)->get();
  if (message.isStop()) {
    std::string why = message.getStop().cStr();
    if (why.empty()) {
      expected_ = true;
      endWorker("the host is done with it");
    } else {
      endWorker(why);
    }
  } else if (message.isClosed()) {
    unexpected_ = true;
    // What the host saw is how most deaths begin, and then that is what there is to tell.
    pollfd dying{worker_.get(), POLLIN, 0};
    if (::poll(&dying, 1, DEATH_GRACE) == 0) endWorker(message.getClosed().cStr());
  } else if (message.isLog()) {
    log(static_cast<LogLevel>(message.getLog().getLevel()), message.getLog().getText().cStr());
  }
}

void Supervisor::onWorkerReport() {
  auto received = ipc::receiveControl(report_.get(), true);
  if (!received && received.error().code == EAGAIN) return;
  if (!received || !*received) {
    report_.reset();
    return;
  }
  auto message = (*received)->get();
  // Once it is confined the module has a say in what comes from there, and one message is left
  // that is believed: that there will be no worker.
  if (message.isFailed()) {
    std::string reason = message.getFailed().getReason().cStr();
    fail(reason.substr(0, 1024), static_cast<CK_RV>(message.getFailed().getReturnValue()));
    // Whoever says so ends: else its death would be no news any more.
    endWorker("it has given up");
  } else if (confined_) {
    return;
  } else if (message.isLog()) {
    log(static_cast<LogLevel>(message.getLog().getLevel()), message.getLog().getText().cStr());
  } else if (message.isConfined()) {
    if (int number = message.getConfined(); number >= 0) {
      Descriptor listener = std::move((*received)->attached[0]);
      if (!listener) listener = sandbox::takenFrom(worker_.get(), number);
      if (!listener) {
        (void)::send(report_.get(), &SEND_IT, 1, MSG_NOSIGNAL);
        return;
      }
      notifications_ = std::make_unique<sandbox::Notifications>(
          std::move(listener), Descriptor(::fcntl(worker_.get(), F_DUPFD_CLOEXEC, 3)), policy_);
    }
    confined_ = true;
    ipc::refuseDescriptors(report_.get());
    tellUnplaced();
    if (start_.restarts > 0)
      log(LogLevel::Info, "started again", message_id::RESTARTED,
          {{"BULKHEAD_RESTARTS", std::to_string(start_.restarts)}});
    (void)::send(report_.get(), &GO, 1, MSG_NOSIGNAL);
  }
}

void Supervisor::onOutput() {
  char buffer[4096];
  ssize_t n = ::read(output_.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    output_.reset();
    return;
  }
  // A module that floods its output is read all the same, so that it does not stall, but not
  // logged.
  for (char c : std::string_view(buffer, static_cast<std::size_t>(n))) {
    if (c != '\n' && line_.size() < 1024) {
      line_ += c;
      continue;
    }
    if (c != '\n') continue;
    if (outputLines_ < MAX_OUTPUT_LINES) log(LogLevel::Debug, "says: " + line_);
    if (++outputLines_ == MAX_OUTPUT_LINES) log(LogLevel::Warning, "says too much to log it all");
    line_.clear();
  }
}

void Supervisor::onNotification() {
  auto violation = notifications_->handle([&](pid_t thread) { return activity_.running(thread); });
  if (!violation) return;
  if (!violation->repeated) {
    const std::string& running = violation->function;
    std::string text = "refused " + violation->syscall + "(" + violation->arguments + ") at " +
                       violation->location;
    if (!running.empty()) text += " in " + running;
    log(LogLevel::Warning, text, message_id::VIOLATION,
        {{"BULKHEAD_SYSCALL", violation->syscall},
         {"BULKHEAD_ARGUMENTS", violation->arguments},
         {"BULKHEAD_LOCATION", violation->location},
         {"BULKHEAD_FUNCTION", running}});
    if (violation->last)
      log(LogLevel::Warning, "calls " + violation->syscall + " too often to log it all");
  }
  if (policy_.violationAction == sandbox::ViolationAction::Kill)
    endWorker("it called " + violation->syscall + ", and SystemCallAction= is kill");
  else if (policy_.violationLimit != 0 && notifications_->count() > policy_.violationLimit)
    endWorker("more refused system calls than ViolationLimit= has it");
}

void Supervisor::watch() {
  // A dying worker leaves its filter first, and then its end would be asked for in a tight loop.
  bool filtered = true;
  for (;;) {
    std::vector<pollfd> fds;
    auto watched = [&](const Descriptor& fd) {
      fds.push_back({fd.get(), POLLIN, 0});  // poll ignores a negative number
    };
    watched(worker_);
    watched(host_);
    watched(hostDead_);
    watched(report_);
    watched(output_);
    fds.push_back({notifications_ && filtered ? notifications_->descriptor() : -1, POLLIN, 0});
    constexpr std::size_t FIXED = 6;
    if (notifications_)
      for (int fd : notifications_->pending()) fds.push_back({fd, POLLOUT, 0});

    int timeout = -1;
    if (killAt_) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*killAt_ - Clock::now());
      timeout = static_cast<int>(std::max<std::int64_t>(left.count(), 0)) + 1;
    }
    int n = ::poll(fds.data(), fds.size(), timeout);
    if (n < 0 && errno != EINTR) {
      endWorker(systemError("poll").message());
      return;
    }
    if (killAt_ && Clock::now() >= *killAt_) {
      expected_ = true;
      endWorker("the host is gone");
      killAt_.reset();
    }
    if (n <= 0) continue;

    // The notifications of a worker that is dead are gone with it; its last words are not.
    if (fds[3].revents != 0) onWorkerReport();
    if ((fds[5].revents & POLLIN) != 0)
      onNotification();
    else if (fds[5].revents != 0)
      filtered = false;
    for (std::size_t i = FIXED; i < fds.size(); ++i)
      if (fds[i].revents != 0 && notifications_) notifications_->finish(fds[i].fd);
    if (fds[4].revents != 0 && output_) onOutput();
    if (fds[1].revents != 0 && host_) onHostMessage();
    if (fds[2].revents != 0 && hostDead_) {
      hostDead_.reset();
      if (!killAt_) killAt_ = Clock::now() + ORPHAN_GRACE;
    }
    if (fds[0].revents != 0) return;
  }
}

// A worker may see its host be done with it, or go, before we do, and leaves in peace then.
void Supervisor::hearWhyItLeft() {
  siginfo_t end{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOWAIT) != 0) return;
  if (end.si_code != CLD_EXITED || end.si_status != 0 || failed_) return;
  pollfd host{host_.get(), POLLIN, 0};
  while (host_ && !expected_ && !unexpected_ && endedBecause_.empty() &&
         ::poll(&host, 1, WORD_GRACE) > 0)
    onHostMessage();
}

void Supervisor::reportDeath(int status) {
  std::string how;
  JournalFields fields;
  if (WIFSIGNALED(status)) {
    int number = WTERMSIG(status);
    const char* name = ::sigabbrev_np(number);
    how = "was ended by SIG" + std::string(name == nullptr ? "?" : name);
    fields.emplace_back("BULKHEAD_SIGNAL", std::to_string(number));
  } else {
    how = "exited with status " + std::to_string(WEXITSTATUS(status));
    fields.emplace_back("BULKHEAD_EXIT_STATUS", std::to_string(WEXITSTATUS(status)));
  }
  std::string running = activity_.running(0);
  auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_);
  fields.emplace_back("BULKHEAD_FUNCTION", running);
  fields.emplace_back("BULKHEAD_UPTIME_MSEC", std::to_string(uptime.count()));
  fields.emplace_back("BULKHEAD_RESTARTS", std::to_string(start_.restarts));
  fields.emplace_back("BULKHEAD_VIOLATIONS",
                      std::to_string(notifications_ ? notifications_->count() : 0));

  // One that was quicker than our signal died by itself, unless it left because the host had.
  bool ended = !endedBecause_.empty() && !(WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL);
  pollfd host{host_.get(), 0, 0};
  bool hostIsGone = !host_ || ::poll(&host, 1, 0) > 0;
  bool clean = expected_ || failed_ || (hostIsGone && !WIFSIGNALED(status));
  std::string text = "worker " + how;
  if (!running.empty()) text += " in " + running;
  if (ended) text += ": " + endedBecause_;
  log(clean ? LogLevel::Debug : LogLevel::Warning, text,
      ended ? message_id::KILLED : message_id::DIED, fields);
  if (hostIsGone) return;
  capnp::MallocMessageBuilder message;
  message.initRoot<ipc::wire::Control>().setEnded(text);
  (void)ipc::sendControl(host_.get(), message, false);
}

// What a worker has started, where its policy lets it, becomes our child when the worker ends, and
// ends with it.
void Supervisor::endDescendants() {
  const std::string self = std::to_string(::getpid());
  for (;;) {
    std::ifstream children("/proc/" + self + "/task/" + self + "/children");
    pid_t child = 0;
    while (children >> child) (void)::kill(child, SIGKILL);
    // Those that it has itself started come after it.
    if (child == 0 || ::waitpid(-1, nullptr, 0) < 0) return;
  }
}

int Supervisor::run() {
  if (!receiveStart() || !readPolicy()) return 1;
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  sendPolicy();
  if (!forkWorker()) return 1;
  placeWorker();
  watch();
  hearWhyItLeft();
  int status = 0;
  pid_t ended;
  do {
    ended = ::waitpid(pid_, &status, 0);
  } while (ended < 0 && errno == EINTR);
  // Its last words may have come together with its end: a line for each layer that it lacks, and
  // why it gave up. Not without end, as somebody whom it left behind may still be talking.
  for (int line = 0; report_ && line < 64; ++line) onWorkerReport();
  if (output_) onOutput();
  reportDeath(status);
  endDescendants();
  return 0;
}

}  // namespace

int runSupervisor(Descriptor host, Descriptor worker) {
  try {
    return Supervisor(std::move(host), std::move(worker)).run();
  } catch (const kj::Exception& e) {
    logToStderr(LogLevel::Error, LogLevel::Error, "supervisor", e.getDescription().cStr());
  } catch (const std::exception& e) {
    logToStderr(LogLevel::Error, LogLevel::Error, "supervisor", e.what());
  }
  return 1;
}

}  // namespace bulkhead::worker
