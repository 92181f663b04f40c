// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sandbox/file_changes.h"
#include "sandbox/syscall_groups.h"

namespace bulkhead::sandbox {
namespace {

#if defined(__x86_64__)
constexpr unsigned NATIVE = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned NATIVE = AUDIT_ARCH_AARCH64;
#else
#error "bulkhead confines workers on x86-64 and aarch64 only"
#endif

constexpr unsigned NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
constexpr unsigned OF_A_THREAD = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
constexpr unsigned SOCKET_TYPE = 0xf;
constexpr unsigned MAKES_FILES = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
constexpr unsigned SET_ID = S_ISUID | S_ISGID;

using Comparisons = std::vector<scmp_arg_cmp>;

scmp_arg_cmp argument(unsigned n, scmp_compare op, scmp_datum_t a, scmp_datum_t b = 0) {
  return {n, op, a, b};
}
scmp_arg_cmp is(unsigned n, scmp_datum_t value) {
  return argument(n, SCMP_CMP_EQ, value);
}
scmp_arg_cmp masked(unsigned n, scmp_datum_t mask, scmp_datum_t value) {
  return argument(n, SCMP_CMP_MASKED_EQ, mask, value);
}

// Sockets of which connect() says where they lead.
std::vector<Comparisons> unixStreams() {
  return {{is(0, AF_UNIX), masked(1, SOCKET_TYPE, SOCK_STREAM)},
          {is(0, AF_UNIX), masked(1, SOCKET_TYPE, SOCK_SEQPACKET)}};
}

// A system call that the policy may allow, but never with every argument.
struct Narrowed {
  const char* name;
  std::vector<Comparisons> allowed;
  const char* why;
};

std::vector<Narrowed> narrowed(const Policy& policy) {
  const auto self = static_cast<scmp_datum_t>(::getpid());
  std::vector<Comparisons> processes = {
      {masked(0, NAMESPACES | OF_A_THREAD | CLONE_UNTRACED, OF_A_THREAD)}};
  if (policy.syscalls.contains("fork") || policy.syscalls.contains("vfork"))
    processes.push_back({masked(0, NAMESPACES | CLONE_UNTRACED, 0)});

  std::vector<Comparisons> sockets = unixStreams();
  if (policy.network == NetworkAccess::Client) {
    for (int family : {AF_INET, AF_INET6})
      sockets.push_back(
          {is(0, static_cast<scmp_datum_t>(family)), masked(1, SOCKET_TYPE, SOCK_STREAM)});
    sockets.push_back({is(0, AF_NETLINK), is(2, 0 /* NETLINK_ROUTE */)});
  }

  auto each = [](unsigned n, std::initializer_list<scmp_datum_t> values) {
    std::vector<Comparisons> all;
    for (auto value : values) all.push_back({is(n, value)});
    return all;
  };

  std::vector<Narrowed> table = {
      {"clone", processes, "threads, and processes where the policy has them; no namespaces"},
      {"kill", {{is(0, self)}}, "no signals to others"},
      {"tgkill", {{is(0, self)}}, "no signals to others"},
      {"rt_sigqueueinfo", {{is(0, self)}}, "no signals to others"},
      {"rt_tgsigqueueinfo", {{is(0, self)}}, "no signals to others"},
      {"sched_setaffinity", {{is(0, 0)}, {is(0, self)}}, "the host stays on the CPUs that it has"},
      {"prctl",
       each(0, {PR_SET_NAME, PR_GET_NAME, 0x53564d41 /* PR_SET_VMA */, PR_GET_DUMPABLE,
                PR_GET_NO_NEW_PRIVS, PR_CAPBSET_READ, PR_GET_KEEPCAPS, PR_GET_SECCOMP,
                PR_GET_TIMERSLACK, PR_GET_THP_DISABLE}),
       "names and questions; not the parent's death signal, not dumpability"},
      {"prlimit64", {{is(2, 0)}}, "questions only"},
      {"mprotect", {{masked(2, PROT_EXEC, 0)}}, "memory that was writable does not become code"},
      {"mmap",
       {{masked(2, PROT_EXEC, 0)}, {masked(2, PROT_WRITE | PROT_EXEC, PROT_EXEC)}},
       "memory is writable or code, never both"},
      {"socket", sockets, "only what Network= says; no datagrams that carry addresses"},
      {"socketpair", unixStreams(), "no datagrams that carry addresses"},
      {"shmat", {{masked(2, SHM_EXEC, 0)}}, "memory that others write does not become code"},
      {"sendto", {{is(4, 0)}}, "an address would get round the check of connect()"},
      // The module of a host that is root could leave others a program that makes them root.
      {"open", {{masked(1, MAKES_FILES, 0)}, {masked(2, SET_ID, 0)}}, "no set-id files"},
      {"openat", {{masked(2, MAKES_FILES, 0)}, {masked(3, SET_ID, 0)}}, "no set-id files"},
      {"creat", {{masked(1, SET_ID, 0)}}, "no set-id files"},
      {"fcntl",
       each(1, {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK,
                F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ, F_GET_SEALS}),
       "F_SETOWN would send signals"},
  };
  // With devices their drivers' requests are nobody's list; what no device needs, see below.
  if (policy.devices.empty())
    table.push_back({"ioctl", each(1, {FIONREAD, FIONBIO, TCGETS, FIOCLEX, FIONCLEX}),
                     "what libraries ask of any descriptor"});
  if (policy.network == NetworkAccess::Client) {
    // MSG_FASTOPEN with an address connects.
    table.push_back({"sendmsg", {{masked(2, MSG_FASTOPEN, 0)}}, "connects only by connect()"});
    table.push_back({"sendmmsg", {{masked(3, MSG_FASTOPEN, 0)}}, "connects only by connect()"});
  }
  return table;
}

class Filter {
 public:
  explicit Filter(std::uint32_t otherwise) : context_(::seccomp_init(otherwise), seccomp_release) {}
  bool ok() const { return context_ != nullptr; }
  scmp_filter_ctx get() const { return context_.get(); }

 private:
  std::unique_ptr<void, decltype(&seccomp_release)> context_;
};

// The largest number that the policies' names can mean. What is newer is unknown to policy and
// module alike, and C libraries handle ENOSYS for it.
int largestKnown() {
  static const int LARGEST = [] {
    // From above, as each question takes a search. From 512 on there are others of x32.
    auto known = [](int nr) {
      char* name = ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
      bool has = name != nullptr;
      ::free(name);
      return has;
    };
    int nr = 511;
    while (nr > 0 && !known(nr)) --nr;
    return nr;
  }();
  return LARGEST;
}

}  // namespace

Result<std::vector<sock_filter>> compileFilter(const Policy& policy, Refusal refusal) {
  constexpr auto EPERM_ALONE = static_cast<std::uint32_t>(SCMP_ACT_ERRNO(EPERM));
  const std::uint32_t otherwise = refusal == Refusal::Notify ? SCMP_ACT_NOTIFY
                                  : refusal == Refusal::Kill ? SCMP_ACT_KILL_PROCESS
                                                             : EPERM_ALONE;
  // libseccomp asks the kernel by seccomp(2) whether it knows this one, which may be refused here.
  if (refusal == Refusal::Kill) (void)::seccomp_api_set(3);
  Filter filter(otherwise);
  if (!filter.ok()) return Error{"seccomp_init", ENOMEM, {}};

  auto add = [&](std::uint32_t action, const char* name, const Comparisons& when) -> Result<void> {
    int nr = ::seccomp_syscall_resolve_name(name);
    if (nr < 0) return {};  // not on this architecture
    int r = ::seccomp_rule_add_array(filter.get(), action, nr, static_cast<unsigned>(when.size()),
                                     when.data());
    if (r < 0) return Error{"seccomp_rule_add", -r, name};
    return {};
  };

  auto narrow = narrowed(policy);
  for (const std::string& name : policy.syscalls) {
    if (name == "fork" || name == "vfork") {
      if (auto r = add(SCMP_ACT_ALLOW, name.c_str(), {}); !r) return r.error();
      continue;
    }
    // The supervisor does these itself, where it finds them right.
    if (name == "connect" || isFileChange(name)) {
      if (refusal == Refusal::Kill && name != "connect")
        if (auto r = add(EPERM_ALONE, name.c_str(), {}); !r) return r.error();
      continue;
    }
    auto found = std::find_if(narrow.begin(), narrow.end(),
                              [&](const Narrowed& one) { return name == one.name; });
    if (found == narrow.end()) {
      if (auto r = add(SCMP_ACT_ALLOW, name.c_str(), {}); !r) return r.error();
      continue;
    }
    for (const Comparisons& when : found->allowed)
      if (auto r = add(SCMP_ACT_ALLOW, name.c_str(), when); !r) return r.error();
  }
  for (const QuietRefusal& quiet : quietRefusals()) {
    std::string name(quiet.name);
    if (policy.syscalls.contains(name)) continue;
    auto action = static_cast<std::uint32_t>(SCMP_ACT_ERRNO(static_cast<unsigned>(quiet.error)));
    if (action == otherwise) continue;
    if (auto r = add(action, name.c_str(), {}); !r) return r.error();
  }

  // C libraries ask nscd and its kind in passing. The supervisor, who is asked about connect(),
  // knows those from what deserves a report, and can say where the others were to lead.
  if (refusal == Refusal::Kill)
    if (auto r = add(EPERM_ALONE, "connect", {}); !r) return r.error();
  if (!policy.syscalls.contains("socket"))
    for (const Comparisons& when : unixStreams())
      if (auto r = add(SCMP_ACT_ALLOW, "socket", when); !r) return r.error();
  // Syslog makes one of these for each message, and getaddrinfo() to sort what it found, and both
  // do without. sendmsg() would send by them to addresses that no filter sees.
  std::vector<int> datagrams = {AF_UNIX};
  if (policy.network == NetworkAccess::Client) datagrams = {AF_UNIX, AF_INET, AF_INET6};
  for (int family : datagrams)
    if (auto r =
            add(SCMP_ACT_ERRNO(ESOCKTNOSUPPORT), "socket",
                {is(0, static_cast<scmp_datum_t>(family)), masked(1, SOCKET_TYPE, SOCK_DGRAM)});
        !r)
      return r.error();

  Descriptor memory(::memfd_create("filter", MFD_CLOEXEC));
  if (!memory) return systemError("memfd_create");
  if (int r = ::seccomp_export_bpf(filter.get(), memory.get()); r < 0)
    return Error{"seccomp_export_bpf", -r, {}};
  off_t size = ::lseek(memory.get(), 0, SEEK_END);
  if (size < 0 || size % static_cast<off_t>(sizeof(sock_filter)) != 0)
    return systemError("lseek filter");

  // In front: foreign ABIs die, what nobody knows does not exist, and no policy lets a module type
  // on a terminal, take pages out of the memory that it shares with the host, or say how long the
  // closing of a socket takes, which it could send there. The kernel reads 32 bits of these
  // arguments where libseccomp compares 64.
  constexpr auto SECOND = static_cast<unsigned>(offsetof(seccomp_data, args[1]));
  constexpr auto THIRD = static_cast<unsigned>(offsetof(seccomp_data, args[2]));
  const unsigned refused = refusal == Refusal::Notify ? SECCOMP_RET_USER_NOTIF
                           : refusal == Refusal::Kill ? SECCOMP_RET_KILL_PROCESS
                                                      : unsigned{SECCOMP_RET_ERRNO} | EPERM;
  constexpr auto ARCH = static_cast<unsigned>(offsetof(seccomp_data, arch));
  constexpr auto NR = static_cast<unsigned>(offsetof(seccomp_data, nr));
  constexpr unsigned X32 = 0x40000000;
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARCH),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NR),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, static_cast<unsigned>(largestKnown()), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SECOND),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 12, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 11, 12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, THIRD),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_REMOVE, 8, 9),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SECOND),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FALLOC_FL_PUNCH_HOLE, 5, 6),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 5),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SECOND),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SOL_SOCKET, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, THIRD),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_LINGER, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, refused),
  };
  std::size_t prefix = program.size();
  program.resize(prefix + static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(memory.get(), program.data() + prefix, static_cast<std::size_t>(size), 0) != size)
    return systemError("read filter");
  return program;
}

Result<Descriptor> installFilter(const std::vector<sock_filter>& filter, bool listen) {
  sock_fprog program{static_cast<unsigned short>(filter.size()),
                     const_cast<sock_filter*>(filter.data())};
  if (filter.size() > USHRT_MAX) return Error{"seccomp", E2BIG, {}};
  // SPEC_ALLOW: kernels before 5.16 would otherwise turn off speculation for the whole worker.
  unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  if (listen) flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
  long r = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
  // Service managers' filters refuse seccomp(2) and mean no harm; the older way does the same.
  if (r < 0 && !listen && (errno == EPERM || errno == ENOSYS))
    r = ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
  if (r < 0) return systemError("seccomp");
  return listen ? Descriptor(static_cast<int>(r)) : Descriptor();
}

Result<void> probeNotification() {
  std::uint32_t action = SECCOMP_RET_USER_NOTIF;
  if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
    return systemError("seccomp user notification");
  return {};
}

}  // namespace bulkhead::sandbox
