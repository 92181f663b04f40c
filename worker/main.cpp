// SPDX-License-Identifier: BSD-2-Clause
//
// bulkhead-worker: started by the proxy with two sockets, as a supervisor that forks its worker.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/descriptor.h"
#include "worker/supervisor.h"

namespace {

constexpr int HOST = 3;
constexpr int WORKER = 4;
constexpr long SYS_CLOSE_RANGE = 436;

bool isSequencedSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

}  // namespace

int main(int argc, char**) {
  if (argc != 1 || !isSequencedSocket(HOST) || !isSequencedSocket(WORKER)) {
    ::fputs(
        "bulkhead-worker is started by the bulkhead PKCS#11 module, not by hand.\n"
        "See bulkhead-worker(8).\n",
        stderr);
    return 2;
  }
  // A session of its own: what is typed on the host's terminal is not for the module.
  (void)::setsid();
  ::umask(077);
  if (::chdir("/") != 0) return 71;
  (void)::syscall(SYS_CLOSE_RANGE, WORKER + 1, ~0U, 0);
  for (int fd : {HOST, WORKER}) (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
  // Stdin and stdout of the host are none of our business; its stderr is where it asked for logs.
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return 71;
  (void)::dup2(null, STDIN_FILENO);
  (void)::dup2(null, STDOUT_FILENO);
  if (::fcntl(STDERR_FILENO, F_GETFD) < 0) (void)::dup2(null, STDERR_FILENO);
  ::close(null);
  (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // As for the worker, in sandbox/confine.cpp. Where the host has zero already, that it stays.
  rlimit none{1, 1};
  (void)::setrlimit(RLIMIT_CORE, &none);
  return bulkhead::worker::runSupervisor(bulkhead::Descriptor(HOST), bulkhead::Descriptor(WORKER));
}
