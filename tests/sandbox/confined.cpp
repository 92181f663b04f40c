// SPDX-License-Identifier: BSD-2-Clause
//
// confined WHAT PROGRAM [ARGUMENT...]: runs a program as containers and service managers run
// theirs, with less of the kernel than it is used to:
//   no-userns   no namespaces: unshare, and clone with a namespace's flag, are refused
//   no-landlock no Landlock, as by kernels and filters that are older than it
//   no-seccomp  seccomp(2) is refused; a filter by prctl(2) is not
//   listener    somebody above is asked about some system calls, so nobody below can be
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "ipc/descriptor.h"

namespace {

using bulkhead::Descriptor;
using Filter = std::unique_ptr<void, decltype(&::seccomp_release)>;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "confined: %s: %s\n", what, ::strerror(errno));
  ::_exit(99);
}

void refuse(const Filter& filter, int call, int error) {
  if (::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)), call, 0) != 0)
    fail("seccomp_rule_add");
}

void load(const Filter& filter) {
  if (int r = ::seccomp_load(filter.get()); r != 0) {
    errno = -r;
    fail("seccomp_load");
  }
}

// Lets whoever asks go on, until the program is over.
int answer(Descriptor listener, pid_t program) {
  Descriptor over(static_cast<int>(::syscall(434 /* pidfd_open */, program, 0)));
  for (;;) {
    pollfd fds[] = {{over.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0 && errno != EINTR) fail("poll");
    if (fds[0].revents != 0) break;
    if ((fds[1].revents & POLLIN) == 0) continue;
    seccomp_notif asked{};
    if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) continue;
    seccomp_notif_resp answer{};
    answer.id = asked.id;
    answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    (void)::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
  int status = 0;
  ::waitpid(program, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(
        stderr,
        "usage: confined no-userns|no-landlock|no-seccomp|listener PROGRAM [ARGUMENT...]\n");
    return 2;
  }
  std::string what = argv[1];
  Filter filter(::seccomp_init(SCMP_ACT_ALLOW), &::seccomp_release);
  if (what == "no-userns") {
    refuse(filter, SCMP_SYS(unshare), EPERM);
    refuse(filter, SCMP_SYS(clone3), ENOSYS);
    for (int flag : {CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWPID}) {
      auto bit = static_cast<scmp_datum_t>(flag);
      scmp_arg_cmp set{0, SCMP_CMP_MASKED_EQ, bit, bit};
      if (::seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &set) !=
          0)
        fail("seccomp_rule_add");
    }
    load(filter);
  } else if (what == "no-landlock") {
    for (int call : {444, 445, 446}) refuse(filter, call, ENOSYS);
    load(filter);
  } else if (what == "no-seccomp") {
    refuse(filter, SCMP_SYS(seccomp), EPERM);
    load(filter);
  } else if (what == "listener") {
    // The parent gets the listener as it would from anybody: by the number that the child has.
    int ready[2], go[2];
    if (::pipe(ready) != 0 || ::pipe(go) != 0) fail("pipe");
    pid_t program = ::fork();
    if (program < 0) fail("fork");
    if (program == 0) {
      if (::seccomp_rule_add(filter.get(), SCMP_ACT_NOTIFY, SCMP_SYS(mknod), 0) != 0)
        fail("seccomp_rule_add");
      load(filter);
      int listener = ::seccomp_notify_fd(filter.get());
      (void)!::write(ready[1], &listener, sizeof listener);
      char byte;
      (void)!::read(go[0], &byte, 1);
      ::close(listener);
      for (int fd : {ready[0], ready[1], go[0], go[1]}) ::close(fd);
      ::execvp(argv[2], argv + 2);
      fail(argv[2]);
    }
    int number = -1;
    if (::read(ready[0], &number, sizeof number) != sizeof number) fail("read");
    Descriptor process(static_cast<int>(::syscall(434 /* pidfd_open */, program, 0)));
    Descriptor listener(
        static_cast<int>(::syscall(438 /* pidfd_getfd */, process.get(), number, 0)));
    if (!listener) fail("pidfd_getfd");
    (void)!::write(go[1], "x", 1);
    return answer(std::move(listener), program);
  } else {
    std::fprintf(stderr, "confined: %s?\n", what.c_str());
    return 2;
  }
  ::execvp(argv[2], argv + 2);
  fail(argv[2]);
}
