// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#ifdef BULKHEAD_SANITIZED
extern "C" int __clone(int (*)(void*), void*, int, void*, ...) noexcept;
#endif

namespace bulkhead::proxy {
namespace {

#ifdef BULKHEAD_SANITIZED
// The thread sanitizer's own takes a child for one that has a copy of the memory.
constexpr auto CLONE = ::__clone;
#else
constexpr auto CLONE = ::clone;
#endif

constexpr std::size_t STACK = 64 * 1024;
constexpr int P_PIDFD_ID = 3;  // P_PIDFD, which older headers lack

// Everything that the two children need, prepared before: they share the host's memory and may
// call nothing that allocates, locks or relies on thread-local state. So they make system calls
// themselves: of a function of the C library the host may have one of its own, as sanitizers do.
struct Job {
  const char* executable;
  char* const* arguments;
  char* const* environment;
  int hostSocket;
  int workerSocket;
  char* supervisorStack;
  int supervisor = -1;  // pidfd, in the host's table
  int error = 0;
};

class Stacks {
 public:
  Stacks()
      : memory_(::mmap(nullptr, 2 * STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0)) {}
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks() {
    if (ok()) ::munmap(memory_, 2 * STACK);
  }
  bool ok() const { return memory_ != MAP_FAILED; }
  char* top(std::size_t which) const { return static_cast<char*>(memory_) + (which + 1) * STACK; }

 private:
  void* memory_;
};

// All 64 signals, also those that the C library keeps to itself.
class SignalsBlocked {
 public:
  SignalsBlocked() { ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &ALL, &before_, sizeof before_); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() {
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before_, nullptr, sizeof before_);
  }

 private:
  static constexpr unsigned long ALL = ~0UL;
  unsigned long before_ = 0;
};

#define BULKHEAD_NO_SANITIZER __attribute__((no_sanitize("address", "thread", "undefined")))

// Becomes the supervisor. The host's thread is stopped until the exec.
BULKHEAD_NO_SANITIZER int becomeSupervisor(void* argument) {
  Job& job = *static_cast<Job*>(argument);
  // exec keeps ignored signals ignored, and a supervisor with SIGCHLD ignored learns nothing.
  struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    unsigned long mask;
  } byDefault = {SIG_DFL, 0, nullptr, 0};
  for (int n = 1; n <= 64; ++n)
    ::syscall(SYS_rt_sigaction, n, &byDefault, nullptr, sizeof byDefault.mask);
  // Out of the way first: either may have the other's number.
  long host = ::syscall(SYS_fcntl, job.hostSocket, F_DUPFD, 5);
  long worker = ::syscall(SYS_fcntl, job.workerSocket, F_DUPFD, 5);
  if (host >= 0 && worker >= 0 && ::syscall(SYS_dup3, host, 3, 0) == 3 &&
      ::syscall(SYS_dup3, worker, 4, 0) == 4) {
    unsigned long none = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
    ::syscall(SYS_execve, job.executable, job.arguments, job.environment);
  }
  job.error = errno;
  for (;;) ::syscall(SYS_exit_group, 127);
}

// Shares the host's descriptor table, so that the pidfd of the supervisor lands there; its own
// exit raises no signal, and with it the supervisor loses the parent that could have waited for it.
BULKHEAD_NO_SANITIZER int intermediate(void* argument) {
  Job& job = *static_cast<Job*>(argument);
  if (CLONE(becomeSupervisor, job.supervisorStack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
            &job, &job.supervisor) < 0)
    job.error = errno;
  for (;;) ::syscall(SYS_exit_group, 0);
}

}  // namespace

Result<Descriptor> spawnSupervisor(const std::string& executable, int hostSocket, int workerSocket,
                                   const std::vector<std::string>& environment) {
  Stacks stacks;
  if (!stacks.ok()) return systemError("mmap");
  char* arguments[] = {const_cast<char*>("bulkhead-worker"), nullptr};
  std::vector<char*> pointers;
  for (const std::string& one : environment) pointers.push_back(const_cast<char*>(one.c_str()));
  pointers.push_back(nullptr);
  Job job{executable.c_str(), arguments, pointers.data(), hostSocket, workerSocket, stacks.top(1)};

  int between = -1;
  pid_t pid;
  int error;
  {
    SignalsBlocked blocked;
    pid = CLONE(intermediate, stacks.top(0), CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_PIDFD,
                &job, &between);
    error = errno;
    if (pid >= 0) {
      siginfo_t info;
      // ECHILD: another thread's wait for any child of any kind was faster.
      while (::waitid(static_cast<idtype_t>(P_PIDFD_ID), static_cast<id_t>(between), &info,
                      WEXITED | __WALL) != 0 &&
             errno == EINTR) {
      }
    }
  }
  Descriptor first(between);
  Descriptor supervisor = aboveStandard(Descriptor(job.supervisor));
  if (pid < 0) return Error{"clone", error, {}};
  if (job.error != 0) return Error{"start " + executable, job.error, {}};
  if (!supervisor) return Error{"start " + executable, EMFILE, {}};
  return supervisor;
}

bool awaitEnd(int pidfd, int milliseconds) {
  auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  for (;;) {
    auto left =
        std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd one{pidfd, POLLIN, 0};
    int n = ::poll(&one, 1, left.count() > 0 ? static_cast<int>(left.count()) : 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    siginfo_t info;
    (void)::waitid(static_cast<idtype_t>(P_PIDFD_ID), static_cast<id_t>(pidfd), &info,
                   WEXITED | WNOHANG | __WALL);
    return true;
  }
}

}  // namespace bulkhead::proxy
