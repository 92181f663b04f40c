// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/syscall_groups.h"

#include <seccomp.h>

#include <cerrno>
#include <cstdlib>

namespace bulkhead::sandbox {
namespace {

// Beside what modules were seen to call stand the calls that the same code makes elsewhere: other C
// libraries, other clock sources, other versions.

constexpr SyscallLine WORKER[] = {
    {"read readv pread64 preadv preadv2 write writev pwrite64 pwritev pwritev2 lseek",
     "use what is open"},
    {"close close_range dup dup2 dup3 fcntl pipe pipe2 eventfd eventfd2",
     "keep one's own descriptors"},
    {"ioctl", "questions that libraries put to any descriptor"},
    {"poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait "
     "epoll_pwait2",
     "wait for descriptors"},
    {"sendmsg recvmsg sendto recvfrom shutdown getsockopt", "the channel to the host"},
    {"brk mmap munmap mprotect mremap madvise msync mincore", "memory"},
    {"mlock mlock2 munlock", "keep keys out of swap"},
    {"map_shadow_stack arch_prctl", "thread registers and shadow stacks, set up by the C library"},
    {"futex futex_waitv set_robust_list get_robust_list set_tid_address rseq membarrier",
     "locks, as the C library makes them"},
    {"rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait "
     "sigaltstack pause restart_syscall",
     "receive signals"},
    {"tgkill", "abort() and raise()"},
    {"clock_gettime clock_getres clock_nanosleep gettimeofday nanosleep time times",
     "time, where the vDSO has no answer"},
    {"getitimer setitimer alarm timerfd_create timerfd_settime timerfd_gettime", "own timers"},
    {"getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp "
     "getpgid getsid capget",
     "who am I"},
    {"uname sysinfo getrusage getrlimit prlimit64 getpriority getcpu sched_getaffinity sched_yield",
     "what machine is this and how busy"},
    {"getrandom", "random numbers"},
    {"prctl", "thread names and questions"},
    {"exit exit_group", "end"},
};

constexpr SyscallLine THREAD[] = {
    {"clone", "start a thread"},
    {"sched_setaffinity sched_getparam sched_getscheduler sched_getattr sched_get_priority_max "
     "sched_get_priority_min sched_rr_get_interval",
     "place threads and ask about their priority"},
};

constexpr SyscallLine FS_READ[] = {
    {"open openat", "open; which paths and whether to write is the paths' matter"},
    {"stat lstat fstat newfstatat statx access faccessat faccessat2 statfs fstatfs",
     "ask about files"},
    {"readlink readlinkat getdents getdents64 getcwd chdir fchdir", "look around"},
    {"fadvise64 readahead", "hints"},
    {"flock", "share a file with other programs"},
};

// By descriptor where there is a choice: Landlock has no say over utimensat and, on older kernels,
// truncate by path.
constexpr SyscallLine FS_WRITE[] = {
    {"creat mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink "
     "symlinkat",
     "make and remove files"},
    {"ftruncate fallocate copy_file_range sendfile", "set sizes and copy"},
    {"fsync fdatasync sync_file_range", "reach the disk: databases' journals"},
    {"chmod fchmod fchmodat fchown",
     "databases hide their keys; below ReadWritePaths= only, as the "
     "supervisor sees to: Landlock has no say over these"},
    {"umask", "modes of files to come"},
};

constexpr SyscallLine UNIX_CLIENT[] = {
    {"socket connect", "reach a daemon; which one is for Connect= to say"},
    {"socketpair", "threads that wake each other"},
    {"setsockopt getsockopt getsockname getpeername", "timeouts, and who is there"},
};

constexpr SyscallLine NET_CLIENT[] = {
    {"socket connect", "reach a server; which one is for Connect= to say"},
    {"socketpair", "threads that wake each other"},
    {"setsockopt getsockopt getsockname getpeername", "timeouts, keep-alive, and who is there"},
    {"bind", "the resolver's netlink socket"},
    {"sendmmsg recvmmsg", "the resolver asks for both address families at once"},
};

constexpr SyscallLine SYSVIPC[] = {
    {"shmget shmat shmdt shmctl", "memory shared with a token daemon"},
    {"semget semop semtimedop semctl", "its locks"},
    {"msgget msgsnd msgrcv msgctl", "its queues"},
};

constexpr SyscallLine USB[] = {
    {"ioctl", "transfers through /dev/bus/usb, where Devices= names it"},
    {"poll ppoll timerfd_create timerfd_settime timerfd_gettime", "wait for their completion"},
};

constexpr SyscallLine TPM[] = {
    {"read write poll", "commands and their answers through /dev/tpmrm0"},
    {"ioctl", "requests to the device, where Devices= names it"},
};

constexpr SyscallLine FORK[] = {
    {"fork vfork clone", "start a process, confined like its parent"},
    {"wait4 waitid", "collect it"},
};

constexpr SyscallLine EXEC[] = {
    {"execve execveat", "run a program that ExecPaths= reaches"},
};

constexpr SyscallGroup GROUPS[] = {
    {"@worker", "compute and answer the host; every worker has it", WORKER},
    {"@thread", "start threads", THREAD},
    {"@fs-read", "open and read files that the paths allow", FS_READ},
    {"@fs-write", "create, change and remove files that the paths allow", FS_WRITE},
    {"@unix-client", "connect to daemons on this machine that Connect= names", UNIX_CLIENT},
    {"@net-client", "connect to servers that Connect= names, and resolve their names", NET_CLIENT},
    {"@sysvipc",
     "System V shared memory, semaphores and queues; reaches other programs' unless "
     "the ipcns layer is on",
     SYSVIPC},
    {"@usb", "talk to USB devices that Devices= names", USB},
    {"@tpm", "talk to the TPM that Devices= names", TPM},
    {"@fork", "start further processes, which outlive a call", FORK},
    {"@exec", "run other programs, confined alike: hardly any module needs it", EXEC},
};

constexpr SyscallLine NEVER[] = {
    {"ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp "
     "migrate_pages move_pages",
     "reads or steers other processes"},
    {"pidfd_getfd", "takes descriptors from other processes"},
    {"pidfd_send_signal tkill", "signals processes whose number the filter cannot check"},
    {"bpf perf_event_open userfaultfd",
     "a large part of the kernel that modules have no use for and exploits do"},
    {"io_uring_setup io_uring_enter io_uring_register",
     "does what the filter refuses, connect() among it, where no filter looks"},
    {"clone3", "its flags lie in memory where no filter sees them; clone serves instead"},
    {"unshare setns", "a new namespace brings every capability within it"},
    {"mount umount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree "
     "mount_setattr",
     "changes what paths mean"},
    {"seccomp", "a filter of the module's own could swallow the supervisor's reports"},
    {"landlock_create_ruleset landlock_add_rule landlock_restrict_self",
     "the worker is confined before the module is loaded"},
    {"keyctl add_key request_key", "keyrings reach across the sandbox, and run programs outside"},
    {"openat2", "its mode lies in memory where no filter sees it; openat serves instead"},
    {"open_by_handle_at", "opens files without a path that could be checked"},
    {"fanotify_init fanotify_mark", "watches or holds up every access to files"},
    {"kexec_load kexec_file_load reboot", "ends the running system"},
    {"init_module finit_module delete_module create_module query_module get_kernel_syms",
     "changes the kernel"},
    {"swapon swapoff acct quotactl quotactl_fd nfsservctl uselib vhangup syslog lookup_dcookie "
     "sethostname setdomainname",
     "administers the system"},
    {"settimeofday clock_settime clock_adjtime adjtimex stime", "sets the system's clock"},
    {"iopl ioperm modify_ldt vm86 vm86old", "reaches hardware or odd corners of the processor"},
    {"setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset",
     "a worker stays who it is"},
    {"personality pkey_mprotect remap_file_pages",
     "gets round the rule that memory is writable or code"},
};

constexpr QuietRefusal QUIET[] = {
    {"clone3", ENOSYS, "C libraries fall back to clone"},
    {"openat2", ENOSYS, "libraries fall back to openat"},
    {"sched_setattr", EPERM, "glib's thread pool tries"},
    {"sched_setscheduler", EPERM, "thread libraries try"},
    {"sched_setparam", EPERM, "thread libraries try"},
    {"setpriority", EPERM, "thread libraries try"},
    {"ioprio_set", EPERM, "thread libraries try"},
    {"get_mempolicy", ENOSYS, "allocators ask for NUMA"},
    {"set_mempolicy", ENOSYS, "allocators ask for NUMA"},
    {"mbind", ENOSYS, "allocators ask for NUMA"},
    {"mlockall", EPERM, "libraries with secrets try, and go on with less"},
    {"memfd_create", ENOSYS, "libffi and others fall back to plain memory"},
    {"inotify_init", ENOSYS, "glib watches configuration where it can"},
    {"inotify_init1", ENOSYS, "glib watches configuration where it can"},
    {"name_to_handle_at", EOPNOTSUPP, "file watchers fall back to paths"},
    {"getxattr", EOPNOTSUPP, "label and access-list libraries take it for none"},
    {"lgetxattr", EOPNOTSUPP, "label and access-list libraries take it for none"},
    {"fgetxattr", EOPNOTSUPP, "label and access-list libraries take it for none"},
};

template <typename Visitor>
bool anyName(std::string_view names, Visitor&& visit) {
  while (!names.empty()) {
    auto end = names.find(' ');
    if (visit(names.substr(0, end))) return true;
    if (end == std::string_view::npos) break;
    names.remove_prefix(end + 1);
  }
  return false;
}

}  // namespace

std::span<const SyscallGroup> syscallGroups() {
  return GROUPS;
}

const SyscallGroup* findSyscallGroup(std::string_view name) {
  for (const SyscallGroup& group : GROUPS)
    if (group.name == name) return &group;
  return nullptr;
}

std::vector<std::string_view> syscallsOf(const SyscallGroup& group) {
  std::vector<std::string_view> names;
  for (const SyscallLine& line : group.lines)
    anyName(line.names, [&](std::string_view name) {
      names.push_back(name);
      return false;
    });
  return names;
}

std::span<const SyscallLine> neverGrantable() {
  return NEVER;
}

std::string_view whyNeverGrantable(std::string_view name) {
  for (const SyscallLine& line : NEVER)
    if (anyName(line.names, [&](std::string_view one) { return one == name; })) return line.reason;
  return {};
}

std::span<const QuietRefusal> quietRefusals() {
  return QUIET;
}

bool isSyscallName(std::string_view name) {
  if (name.empty() || name.find('\0') != std::string_view::npos) return false;
  // Calls of other architectures get negative numbers too, but not this one.
  return ::seccomp_syscall_resolve_name(std::string(name).c_str()) != __NR_SCMP_ERROR;
}

const std::vector<std::string>& nativeSyscallNames() {
  static const std::vector<std::string> NAMES = [] {
    std::vector<std::string> names;
    for (int number = 0; number < 1024; ++number) {
      char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
      if (name != nullptr) names.emplace_back(name);
      std::free(name);
    }
    return names;
  }();
  return NAMES;
}

}  // namespace bulkhead::sandbox
