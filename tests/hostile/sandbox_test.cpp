// SPDX-License-Identifier: BSD-2-Clause
//
// What a module can't do, tried by a module: in its constructor, in C_Initialize, in a call and on
// a thread of its own. Each attempt is checked from inside, by the errno that the module saw; from
// outside, by what did not happen; and in the log, where the system call's name must be.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

struct Attempt {
  const char* property;     // what the test is named after
  const char* name;         // as attempts.cpp knows it
  const char* answers;      // what the module may see, separated by blanks
  const char* logged = "";  // the system call that the log names as refused
  const char* kills = "";   // the worker does not survive it; a part of the log
};

// Where nobody may look or write, EACCES comes from Landlock, EROFS from a mount that is read-only,
// and ENOENT from what is not there.
constexpr const char* CLOSED = "EACCES EPERM ENOENT ENOTDIR ELOOP ENXIO EROFS";
constexpr const char* NOT_THERE = "EACCES ENOENT EROFS";

constexpr Attempt ATTEMPTS[] = {
    {"CannotReadTheHostsMemory", "host-mem", NOT_THERE},
    {"CannotReadTheHostsEnvironment", "host-environ", NOT_THERE},
    {"CannotReadTheHostsMaps", "host-maps", NOT_THERE},
    {"CannotListTheHostsDescriptors", "host-fd", NOT_THERE},
    {"CannotReopenTheHostsDescriptors", "host-fd-1", NOT_THERE},
    {"CannotEnterTheHostsDirectory", "host-cwd", NOT_THERE},
    {"CannotSeeTheHostsRoot", "host-root", NOT_THERE},
    {"CannotReadTheHostsCommandLine", "host-cmdline", NOT_THERE},
    {"CannotMakeTheHostAVictim", "host-oom", NOT_THERE},
    {"CannotWriteTheSupervisorsMemory", "supervisor-mem", NOT_THERE},
    {"CannotReadTheSupervisorsEnvironment", "supervisor-environ", NOT_THERE},
    {"CannotReadInitsEnvironment", "init-environ", NOT_THERE},
    {"CannotWriteItsOwnCode", "own-mem", NOT_THERE},
    {"CannotMapUsers", "own-uid-map", "EACCES EPERM EROFS"},
    {"CannotReadTheHostsMemoryByCall", "readv-host", "EPERM", "process_vm_readv"},
    {"CannotWriteTheSupervisorsMemoryByCall", "writev-supervisor", "EPERM", "process_vm_writev"},
    {"CannotTraceTheHost", "ptrace-host", "EPERM", "ptrace"},
    {"CannotTraceTheSupervisor", "ptrace-supervisor", "EPERM", "ptrace"},
    {"CannotOpenTheHostAsDescriptor", "pidfd-open", "EPERM", "pidfd_open"},
    {"CannotTakeDescriptors", "pidfd-getfd", "EPERM", "pidfd_getfd"},
    {"CannotSignalByDescriptor", "pidfd-signal", "EPERM", "pidfd_send_signal"},
    {"CannotCompareWithTheHost", "kcmp", "EPERM", "kcmp"},
    {"CannotSignalTheHost", "kill-host", "EPERM", "kill"},
    {"CannotKillTheSupervisor", "kill-supervisor", "EPERM", "kill"},
    {"CannotSignalEverybody", "kill-all", "EPERM", "kill"},
    {"CannotSignalItsGroup", "kill-group", "EPERM", "kill"},
    {"CannotSignalTheHostsThreads", "tgkill-host", "EPERM", "tgkill"},
    {"CannotSignalAnyThread", "tkill-host", "EPERM", "tkill"},
    {"CannotQueueSignalsToTheHost", "sigqueue-host", "EPERM", "rt_sigqueueinfo"},
    {"CannotHaveTheHostSignalled", "own-by-signal", "EPERM", "fcntl"},
    {"CannotLimitTheHost", "limit-host", "EPERM", "prlimit64"},
    {"CannotMoveTheHostToAnotherCpu", "affinity-host", "EPERM"},
    {"CannotSlowTheHostDown", "priority-host", "EPERM"},
    {"CannotReadShadow", "shadow", CLOSED},
    {"CannotListTheRootDirectory", "root-directory", NOT_THERE},
    {"CannotListRootsHome", "root-home", CLOSED},
    {"CannotReadAHome", "home", NOT_THERE},
    {"CannotReadWhatNoPolicyNames", "secret", NOT_THERE},
    {"CannotReadItThroughProc", "secret-through-root", NOT_THERE},
    {"CannotReadItByDetour", "secret-dotdot", NOT_THERE},
    {"CannotWriteInTmp", "write-tmp", NOT_THERE},
    {"CannotMakeANamelessFile", "write-tmpfile", "EACCES EPERM EISDIR EROFS"},
    {"CannotMakeFilesElsewhere", "write-dir", NOT_THERE},
    {"CannotMakeSharedMemoryFiles", "write-shm", "EACCES ENOENT"},
    {"CannotWriteAmongLibraries", "write-library", NOT_THERE},
    {"CannotSetTheCorePattern", "write-core-pattern", NOT_THERE},
    {"CannotRemoveFilesElsewhere", "unlink-secret", NOT_THERE},
    {"CannotRenameFilesElsewhere", "rename-secret", "EACCES EXDEV ENOENT EROFS"},
    {"CannotMakeDirectoriesElsewhere", "mkdir", NOT_THERE},
    {"CannotTruncateByPath", "truncate", "EPERM", "truncate"},
    {"CannotChangeModesByPath", "chmod", "EPERM", "chmod"},
    {"CannotChangeOwnersByPath", "chown", "EPERM", "chown"},
    {"CannotChangeModesOfWhatItReads", "chmod-readable", "EPERM", "chmod"},
    {"CannotChangeModesByDescriptor", "fchmod-readable", "EPERM", "fchmod"},
    {"CannotChangeModesThroughALink", "chmod-link", "EPERM", "chmod"},
    {"CannotChangeOwnersByDescriptor", "fchown-readable", "EPERM", "fchown"},
    {"CanChangeModesWhereItMayWrite", "own-modes", "ok"},
    {"CannotMakeAProgramSetId", "chmod-set-id", "EPERM", "chmod"},
    {"CannotMakeASetUserIdFile", "open-set-id", "EPERM", "openat"},
    {"CannotMakeASetGroupIdFile", "open-set-group-id", "EPERM", "openat"},
    {"CannotOpenByAStructure", "openat2", "ENOSYS"},
    {"CannotChangeTimes", "utimes", "EPERM", "utimensat"},
    {"CannotMakePipesElsewhere", "mknod", "EPERM", "mknodat"},
    {"CannotFollowALinkOut", "link-in", NOT_THERE},
    {"CannotLinkAFileIn", "hard-link", "EACCES EXDEV EPERM ENOENT"},
    {"CanWriteWhereItMay", "writable", "ok"},
    {"CannotOpenPhysicalMemory", "dev-mem", CLOSED},
    {"CannotOpenTheKernelLog", "dev-kmsg", CLOSED},
    {"CannotOpenATerminal", "dev-tty", CLOSED},
    {"CannotMakeATerminal", "dev-ptmx", CLOSED},
    {"CannotOpenFuse", "dev-fuse", CLOSED},
    {"CannotOpenByHandle", "handle-at", "EPERM", "open_by_handle_at"},
    {"CannotRunAProgram", "execve", "EPERM", "execve"},
    {"CannotRunItself", "execve-self", "EPERM", "execve"},
    {"CannotRunADescriptor", "execveat", "EPERM", "execveat"},
    {"CannotMakeAFileOfMemory", "memfd", "ENOSYS"},
    {"CannotFork", "fork", "EPERM", "fork"},
    {"CannotCloneAProcess", "clone", "EPERM", "clone"},
    {"CannotVfork", "vfork", "EPERM", "clone"},
    {"CannotClone3", "clone3", "ENOSYS"},
    {"CannotSpawn", "posix-spawn", "EPERM", "clone"},
    {"CannotCloneAUserNamespace", "clone-user", "EPERM", "clone"},
    {"CannotCloneAProcessNamespace", "clone-pid", "EPERM", "clone"},
    {"CannotCloneANetworkNamespace", "clone-net", "EPERM", "clone"},
    {"CannotCloneAMountNamespace", "clone-mount", "EPERM", "clone"},
    {"CannotUnshareUsers", "unshare-user", "EPERM", "unshare"},
    {"CannotUnshareMounts", "unshare-mount", "EPERM", "unshare"},
    {"CannotEnterANamespace", "setns", "EPERM", "setns"},
    {"CannotMount", "mount", "EPERM", "mount"},
    {"CannotUnmount", "umount", "EPERM", "umount2"},
    {"CannotPivotTheRoot", "pivot-root", "EPERM", "pivot_root"},
    {"CannotChangeTheRoot", "chroot", "EPERM", "chroot"},
    {"CannotOpenATree", "open-tree", "EPERM", "open_tree"},
    {"CannotChangePersonality", "personality", "EPERM", "personality"},
    {"CannotConnectToASocket", "connect-unix", "EACCES", "connect"},
    {"CannotConnectToAnAbstractSocket", "connect-abstract", "EACCES EPERM", "connect"},
    {"CannotMakeAnInternetSocket", "inet", "EPERM", "socket"},
    {"CannotMakeAnInternet6Socket", "inet6", "EPERM", "socket"},
    {"CannotMakeADatagramSocket", "udp", "EPERM", "socket"},
    {"CannotMakeANetlinkSocket", "netlink", "EPERM", "socket"},
    {"CannotMakeAPacketSocket", "packet", "EPERM", "socket"},
    {"CannotMakeAHypervisorSocket", "vsock", "EPERM", "socket"},
    {"CannotMakeACryptoSocket", "alg", "EPERM", "socket"},
    {"CannotMakeAUnixDatagramSocket", "unix-datagram", "ESOCKTNOSUPPORT"},
    {"CannotListen", "listen", "EPERM", "listen"},
    {"CannotAccept", "accept", "EPERM", "accept4"},
    {"InheritsNoListener", "listening", "none"},
    {"CannotSendToAnAddress", "sendto-address", "EPERM", "sendto"},
    {"CannotUseKeyrings", "keyctl", "EPERM", "keyctl"},
    {"CannotAddKeys", "add-key", "EPERM", "add_key"},
    {"CannotRequestKeys", "request-key", "EPERM", "request_key"},
    {"CannotUseBpf", "bpf", "EPERM", "bpf"},
    {"CannotUseIoUring", "io-uring", "EPERM", "io_uring_setup"},
    {"CannotCountEvents", "perf", "EPERM", "perf_event_open"},
    {"CannotHandleFaults", "userfaultfd", "EPERM", "userfaultfd"},
    {"CannotFilterItself", "seccomp", "EPERM", "seccomp"},
    {"CannotEnterStrictMode", "seccomp-strict", "EPERM", "prctl"},
    {"CannotUseLandlock", "landlock", "EPERM", "landlock_create_ruleset"},
    {"CannotOutliveItsSupervisor", "pdeathsig", "EPERM", "prctl"},
    {"CannotHideFromItsSupervisor", "dumpable", "EPERM", "prctl"},
    {"CannotChooseATracer", "ptracer", "EPERM", "prctl"},
    {"CannotAdoptProcesses", "subreaper", "EPERM", "prctl"},
    {"CannotAllowItselfCode", "mdwe", "EPERM", "prctl"},
    {"CannotDispatchSyscalls", "user-dispatch", "EPERM", "prctl"},
    {"CannotMapWritableCode", "write-and-execute", "EPERM EACCES", "mmap"},
    {"CannotMakeDataCode", "written-then-executed", "EPERM EACCES", "mprotect"},
    {"CannotUseProtectionKeys", "pkey-mprotect", "EPERM", "pkey_mprotect"},
    {"CannotShareMemory", "shm", "EPERM", "shmget"},
    {"CannotBecomeRoot", "setuid", "EPERM", "setuid"},
    {"CannotBecomeAnother", "setresuid", "EPERM", "setresuid"},
    {"CannotChangeGroup", "setgid", "EPERM", "setgid"},
    {"CannotChangeGroups", "setgroups", "EPERM", "setgroups"},
    {"CannotGainCapabilities", "capset", "EPERM", "capset"},
    {"CannotRaiseLimits", "raise-limit", "EPERM", "prlimit64"},
    {"CannotLeaveItsSession", "setsid", "EPERM", "setsid"},
    {"CannotRenameTheMachine", "sethostname", "EPERM", "sethostname"},
    {"CannotSetTheClock", "set-clock", "EPERM", "clock_settime"},
    {"CannotReboot", "reboot", "EPERM", "reboot"},
    {"CannotSwap", "swapon", "EPERM", "swapon"},
    {"CannotLoadKernelModules", "load-kernel-module", "EPERM", "finit_module"},
    {"CannotLoadAKernel", "kexec", "EPERM", "kexec_load"},
    {"CannotReadTheKernelsLog", "syslog", "EPERM", "syslog"},
    {"CannotWatchAllFiles", "fanotify", "EPERM", "fanotify_init"},
    {"CannotWatchFiles", "inotify", "ENOSYS"},
    {"CannotTypeOnATerminal", "tiocsti", "EPERM", "ioctl"},
    {"CannotAskForSignals", "fioasync", "EPERM", "ioctl"},
    {"FindsNoUnknownSystemCall", "unknown-syscall", "ENOSYS"},
#if defined(__x86_64__)
    {"CannotReachPorts", "iopl", "EPERM", "iopl"},
    {"CannotChangeSegments", "modify-ldt", "EPERM", "modify_ldt"},
    {"DiesOfInterrupt80", "int80", "", "", "SIGSYS"},
    {"DiesOfTheX32Bit", "x32", "", "", "SIGSYS"},
#endif
    {"CannotStartThreadsWithoutEnd", "threads", "EAGAIN ENOMEM"},
    {"CannotOpenDescriptorsWithoutEnd", "descriptors-bomb", "EMFILE"},
    {"CannotMapMemoryWithoutEnd", "memory", "ENOMEM"},
    {"CannotFillTheDisk", "disk", "EFBIG"},
    {"SeesNoVariablesOfTheHost", "environment", "absent"},
    {"HasNoDescriptorsOfTheHost", "descriptors", "none"},
    {"WorksInTheRootDirectory", "working-directory", "/"},
    {"LeavesNoCore", "core", "none"},
    {"GainsNothingByRunningPrograms", "no-new-privs", "1"},
};

class Outside {
 public:
  explicit Outside(Rig& rig) : rig_(rig) {
    auto& directory = rig.setup().directory();
    secret_ = directory.write("outside/secret", "secret");
    directory.write("outside/home/.ssh/id", "secret");
    readable_ = directory.write("outside/readable", "public");
    writable_ = directory.makeDirectory("writable");
    bus_ = listenAt("outside/bus");
    allowed_ = listenAt("outside/allowed");
    sockaddr_un abstract{};
    abstract.sun_family = AF_UNIX;
    abstractName_ = "bulkhead-hostile-" + std::to_string(::getpid());
    ::memcpy(abstract.sun_path + 1, abstractName_.data(), abstractName_.size());
    abstract_ = listen(reinterpret_cast<sockaddr*>(&abstract),
                       offsetof(sockaddr_un, sun_path) + abstractName_.size() + 2);
    sockaddr_in loopback{};
    loopback.sin_family = AF_INET;
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tcp_ = listen(reinterpret_cast<sockaddr*>(&loopback), sizeof loopback);
    socklen_t size = sizeof loopback;
    ::getsockname(tcp_, reinterpret_cast<sockaddr*>(&loopback), &size);
    port_ = ntohs(loopback.sin_port);
    CPU_ZERO(&cpus_);
    ::sched_getaffinity(0, sizeof cpus_, &cpus_);
    ::sigaction(SIGURG, nullptr, &before_);
    struct sigaction count {};
    count.sa_handler = [](int) { signals = signals + 1; };
    ::sigaction(SIGURG, &count, nullptr);
    signals = 0;
  }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
  ~Outside() {
    for (int fd : {bus_, allowed_, abstract_, tcp_}) ::close(fd);
    ::sigaction(SIGURG, &before_, nullptr);
    ::sched_setaffinity(0, sizeof cpus_, &cpus_);
  }

  /// For [Worker]: what attempts must know.
  std::string variables() const {
    std::string lines;
    auto add = [&](const char* name, const std::string& value) {
      lines += "Environment=" + std::string(name) + "=" + value + "\n";
    };
    add("HOSTILE_HOST", std::to_string(::getpid()));
    add("HOSTILE_DIR", rig_.setup().path("outside"));
    add("HOSTILE_WRITABLE", writable_);
    add("HOSTILE_READABLE", readable_);
    add("HOSTILE_ABSTRACT", abstractName_);
    add("HOSTILE_PORT", std::to_string(port_));
    return lines;
  }
  std::string sections(const std::string& network = "[Network]\nNetwork=none\n") const {
    return "[Limits]\nMemoryMax=512M\n[Filesystem]\nReadWritePaths=" + writable_ +
           "\nReadOnlyPaths=" + readable_ + "\n" + network;
  }

  bool connected(int fd) const {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, 0) != 0;
  }
  int allowed() const { return allowed_; }

  void expectUntouched() const {
    EXPECT_EQ(test::readFile(secret_), "secret");
    for (const std::string& path : {secret_, readable_}) {
      struct stat status;
      EXPECT_EQ(::stat(path.c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 07777, 0600U) << path;
      EXPECT_EQ(status.st_nlink, 1U) << path;
    }
    EXPECT_NE(::access(rig_.setup().path("outside/made").c_str(), F_OK), 0);
    for (const char* made : {"/tmp/bulkhead-hostile-was-here", "/dev/shm/bulkhead-hostile",
                             "/usr/lib/bulkhead-hostile"})
      EXPECT_NE(::access(made, F_OK), 0) << made;
    EXPECT_FALSE(connected(bus_));
    EXPECT_FALSE(connected(abstract_));
    EXPECT_FALSE(connected(tcp_));
    EXPECT_EQ(signals, 0) << "it has signalled this process";
    cpu_set_t now;
    ::sched_getaffinity(0, sizeof now, &now);
    EXPECT_TRUE(CPU_EQUAL(&now, &cpus_)) << "it has moved this process";
    errno = 0;
    pid_t worker = test::workerOf(rig_.evil());
    if (worker > 0) {
      EXPECT_TRUE(test::childrenOf(worker).empty());
    }
  }

 private:
  static int listen(const sockaddr* address, std::size_t size) {
    int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::bind(fd, address, static_cast<socklen_t>(size)), 0);
    EXPECT_EQ(::listen(fd, 8), 0);
    return fd;
  }
  int listenAt(const char* name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string path = rig_.setup().path(name);
    ::memcpy(address.sun_path, path.data(), path.size());
    return listen(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }

  static inline volatile sig_atomic_t signals = 0;
  Rig& rig_;
  std::string secret_, readable_, writable_, abstractName_;
  int bus_ = -1, allowed_ = -1, abstract_ = -1, tcp_ = -1;
  unsigned port_ = 0;
  cpu_set_t cpus_;
  struct sigaction before_ {};
};

// The host's secrets, as hosts have them: in its environment, in a descriptor that is not
// close-on-exec, on its standard output.
class Secrets {
 public:
  Secrets() : variable_("API_TOKEN", std::string("planted-") + "secret-XXXX") {
    leak_ = ::open("/etc/passwd", O_RDONLY);
    (void)::dup2(leak_, 200);
  }
  Secrets(const Secrets&) = delete;
  Secrets& operator=(const Secrets&) = delete;
  ~Secrets() {
    ::close(leak_);
    ::close(200);
  }

 private:
  test::Variable variable_;
  int leak_;
};

bool among(const std::string& word, const std::string& list) {
  return (" " + list + " ").find(" " + word + " ") != std::string::npos;
}

using Where = std::tuple<Attempt, const char*>;

class Sandbox : public testing::TestWithParam<Where> {};

TEST_P(Sandbox, Holds) {
  auto& [attempt, point] = GetParam();
  Rig rig("warning");
  Outside outside(rig);
  Secrets secrets;
  rig.configure(std::string("try:") + attempt.name + "@" + point, outside.variables(),
                outside.sections());
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  bool kills = attempt.kills[0] != '\0';
  bool early = std::string(point) == "ctor" || std::string(point) == "init";
  if (kills && early) {
    EXPECT_TRUE(test::slots(rig.functions()).empty());
  } else {
    CK_SESSION_HANDLE session = rig.open(rig.evilSlot());
    CK_RV rv = rig.random(session, text);
    EXPECT_EQ(rv, kills ? CKR_DEVICE_REMOVED : CKR_OK) << rig.log();
    if (!kills) {
      EXPECT_TRUE(among(text, attempt.answers)) << text;
    }
  }
  if (kills) {
    EXPECT_TRUE(rig.logs(attempt.kills)) << rig.log();
  }
  if (attempt.logged[0] != '\0') {
    EXPECT_TRUE(rig.logs(std::string("refused ") + attempt.logged + "(")) << rig.log();
  }
  outside.expectUntouched();
}

std::string nameOf(const testing::TestParamInfo<Where>& info) {
  return std::string(std::get<0>(info.param).property) + "_" + std::get<1>(info.param);
}

INSTANTIATE_TEST_SUITE_P(InACall, Sandbox,
                         testing::Combine(testing::ValuesIn(ATTEMPTS),
                                          testing::Values("C_GenerateRandom")),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(InTheConstructor, Sandbox,
                         testing::Combine(testing::ValuesIn(ATTEMPTS), testing::Values("ctor")),
                         nameOf);
// By then as in a call, on the same thread or on one that inherits from it: a sample will do.
std::vector<Attempt> sample() {
  std::vector<Attempt> some;
  for (const Attempt& one : ATTEMPTS)
    for (const char* name : {"host-mem",
                             "readv-host",
                             "ptrace-host",
                             "kill-host",
                             "kill-supervisor",
                             "shadow",
                             "write-tmp",
                             "execve",
                             "fork",
                             "clone3",
                             "clone-user",
                             "unshare-user",
                             "mount",
                             "inet",
                             "netlink",
                             "seccomp",
                             "pdeathsig",
                             "write-and-execute",
                             "io-uring",
                             "unknown-syscall",
                             "int80",
                             "threads",
                             "memory",
                             "environment",
                             "descriptors"})
      if (std::string(name) == one.name) some.push_back(one);
  return some;
}

INSTANTIATE_TEST_SUITE_P(InInitialize, Sandbox,
                         testing::Combine(testing::ValuesIn(sample()), testing::Values("init")),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(OnAThread, Sandbox,
                         testing::Combine(testing::ValuesIn(sample()), testing::Values("thread")),
                         nameOf);

// ---- connections, with a policy that allows one ----

struct Connection {
  const char* name;
  const char* answers;
  const char* logged;
};

class Connections : public testing::TestWithParam<Connection> {};

TEST_P(Connections, AreThoseOfThePolicy) {
  Rig rig("warning");
  Outside outside(rig);
  rig.configure(std::string("try:") + GetParam().name + "@C_GenerateRandom", outside.variables(),
                outside.sections("[Network]\nNetwork=unix\nConnect=unix:" +
                                 rig.setup().path("outside/allowed") + "\n"));
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  ASSERT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_TRUE(among(text, GetParam().answers)) << text;
  EXPECT_EQ(outside.connected(outside.allowed()), text == "ok");
  if (GetParam().logged[0] != '\0') {
    EXPECT_TRUE(rig.logs(GetParam().logged)) << rig.log();
  }
  outside.expectUntouched();
}

INSTANTIATE_TEST_SUITE_P(
    Unix, Connections,
    testing::Values(Connection{"connect-allowed", "ok", ""},
                    Connection{"connect-unix", "EACCES", "refused connect(unix:"},
                    Connection{"connect-abstract", "EACCES", "refused connect(unix:@"},
                    Connection{"bind-unix", "EPERM", "refused bind("},
                    Connection{"udp", "EPERM", "refused socket("},
                    Connection{"inet", "EPERM", "refused socket("},
                    Connection{"unix-datagram", "ESOCKTNOSUPPORT", ""}),
    [](const testing::TestParamInfo<Connection>& at) {
      std::string name = at.param.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

// ---- what the policy makes of a violation ----

TEST(Violations, KillTheWorkerWhereThePolicySaysSo) {
  Rig rig("warning");
  rig.configure("try:ptrace-host@C_GenerateRandom", {}, "[Syscalls]\nSystemCallAction=kill\n");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_DEVICE_REMOVED);
  EXPECT_TRUE(rig.logs("refused ptrace(")) << rig.log();
  EXPECT_TRUE(rig.logs("it called ptrace")) << rig.log();
}

TEST(Violations, AreNotWhatCLibrariesAskInPassing) {
  for (const char* network : {"[Network]\nNetwork=none\n", "[Network]\nNetwork=unix\n"}) {
    SCOPED_TRACE(network);
    Rig rig("warning");
    rig.configure("try:services@C_GenerateRandom", {},
                  std::string("[Syscalls]\nViolationLimit=1\n") + network);
    ASSERT_EQ(rig.initialize(), CKR_OK);
    std::string text;
    EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
    EXPECT_EQ(text, "none");
    EXPECT_EQ(rig.log().find("refused"), std::string::npos) << rig.log();
  }
}

TEST(Violations, NameTheFunctionThatWasRunning) {
  Rig rig("warning");
  rig.configure("try:ptrace-host@C_GenerateRandom");
  ASSERT_EQ(rig.initialize(), CKR_OK);
  std::string text;
  EXPECT_EQ(rig.random(rig.open(rig.evilSlot()), text), CKR_OK);
  EXPECT_TRUE(rig.logs("in C_GenerateRandom")) << rig.log();
}

}  // namespace
}  // namespace bulkhead::hostile
