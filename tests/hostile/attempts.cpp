// SPDX-License-Identifier: BSD-2-Clause
#include "tests/hostile/attempts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace bulkhead::hostile {
namespace {

std::string result(long r) {
  if (r >= 0) return "ok";
  const char* name = ::strerrorname_np(errno);
  return name == nullptr ? "errno " + std::to_string(errno) : name;
}

template <typename... A>
std::string call(long number, A... arguments) {
  errno = 0;
  return result(::syscall(number, arguments...));
}

std::string variable(const char* name) {
  const char* value = ::getenv(name);
  return value == nullptr ? "" : value;
}
pid_t host() {
  return ::atoi(variable("HOSTILE_HOST").c_str());
}
std::string under(const char* name) {
  return variable("HOSTILE_DIR") + "/" + name;
}
std::string proc(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// What a file holds is of no interest; that it opens is.
std::string opens(const std::string& path, int flags = O_RDONLY) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0600);
  std::string text = result(fd);
  if (fd >= 0) ::close(fd);
  return text;
}

std::string makesSocket(int family, int type, int protocol = 0) {
  int fd = ::socket(family, type | SOCK_CLOEXEC, protocol);
  std::string text = result(fd);
  if (fd >= 0) ::close(fd);
  return text;
}

std::string connects(const sockaddr* address, socklen_t size) {
  int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return "socket " + result(fd);
  std::string text = result(::connect(fd, address, size));
  ::close(fd);
  return text;
}

std::string connectsUnix(const std::string& path, bool abstract) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::memcpy(address.sun_path + (abstract ? 1 : 0), path.data(), path.size());
  auto size = offsetof(sockaddr_un, sun_path) + path.size() + 1;
  return connects(reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size));
}

std::string connectsTcp() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(::atoi(variable("HOSTILE_PORT").c_str())));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connects(reinterpret_cast<sockaddr*>(&address), sizeof address);
}

std::string bindsUnix() {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return result(fd);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::memcpy(address.sun_path, under("made").c_str(), under("made").size() + 1);
  std::string text = result(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address));
  ::close(fd);
  return text;
}

// A child that gets through ends at once; that it was there is what counts.
std::string clones(unsigned long flags) {
  long pid = ::syscall(SYS_clone, flags, 0, 0, 0, 0);
  if (pid == 0) ::_exit(0);
  std::string text = result(pid);
  if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, __WALL);
  return text;
}

std::string forks() {
#ifdef SYS_fork
  long pid = ::syscall(SYS_fork);
  if (pid == 0) ::_exit(0);
  return result(pid);
#else
  return clones(SIGCHLD);
#endif
}

std::string spawns() {
  pid_t pid;
  char name[] = "true";
  char* arguments[] = {name, nullptr};
  int error = ::posix_spawn(&pid, "/bin/true", nullptr, nullptr, arguments, nullptr);
  errno = error;
  return result(error == 0 ? 0 : -1);
}

std::string executes(const std::string& path) {
  char name[] = "x";
  char* arguments[] = {name, nullptr};
  return result(::execve(path.c_str(), arguments, nullptr));
}

std::string becomesCode(bool writableAndCode) {
  auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  int first = writableAndCode ? PROT_READ | PROT_WRITE | PROT_EXEC : PROT_READ | PROT_WRITE;
  void* p = ::mmap(nullptr, page, first, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return result(-1);
  std::string text = writableAndCode ? "ok" : result(::mprotect(p, page, PROT_READ | PROT_EXEC));
  ::munmap(p, page);
  return text;
}

// Rewrites code through a descriptor for its own memory, which heeds no protection.
std::string writesOwnMemory() {
  int fd = ::open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  std::string text = result(fd);
  if (fd >= 0) ::close(fd);
  return text;
}

// They end when the bomb is over, so that the worker has room for threads of its own.
std::atomic<bool> enough{false};
void* idle(void*) {
  while (!enough) ::usleep(1'000);
  return nullptr;
}

std::string threadBomb() {
  std::vector<pthread_t> threads;
  std::string text = "ok";
  while (threads.size() < 100'000) {
    pthread_t thread;
    int error = ::pthread_create(&thread, nullptr, idle, nullptr);
    if (error != 0) {
      errno = error;
      text = result(-1);
      break;
    }
    threads.push_back(thread);
  }
  enough = true;
  for (pthread_t thread : threads) ::pthread_join(thread, nullptr);
  return text;
}

std::string descriptorBomb() {
  std::vector<int> open;
  std::string text = "ok";
  while (open.size() < 100'000) {
    int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      text = result(fd);
      break;
    }
    open.push_back(fd);
  }
  for (int fd : open) ::close(fd);
  return text;
}

std::string memoryBomb() {
  std::vector<void*> all;
  std::string text = "ok";
  constexpr std::size_t PIECE = 16 << 20;
  while (all.size() < 640) {
    void* p = ::mmap(nullptr, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
      text = result(-1);
      break;
    }
    all.push_back(p);
  }
  for (void* p : all) ::munmap(p, PIECE);
  return text;
}

// Fills the disk through a file that it may write, past the limit on its size.
std::string diskBomb() {
  ::signal(SIGXFSZ, SIG_IGN);
  std::string path = variable("HOSTILE_WRITABLE") + "/big";
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return "open " + result(fd);
  std::string text = result(::pwrite(fd, "x", 1, std::int64_t{1} << 40));
  ::close(fd);
  ::unlink(path.c_str());
  return text;
}

std::string writesAllowed() {
  std::string path = variable("HOSTILE_WRITABLE") + "/allowed";
  return opens(path, O_WRONLY | O_CREAT);
}

// By a link in the directory that it may write to a file that it may not read.
std::string followsOwnLink() {
  std::string path = variable("HOSTILE_WRITABLE") + "/link";
  (void)::unlink(path.c_str());
  if (::symlink(under("secret").c_str(), path.c_str()) != 0) return "symlink " + result(-1);
  return opens(path);
}

std::string linksOut() {
  return result(::link(under("secret").c_str(), (variable("HOSTILE_WRITABLE") + "/hard").c_str()));
}

std::string readable() {
  return variable("HOSTILE_READABLE");
}

// With a descriptor on what it may only read.
std::string throughReadable(const std::function<int(int)>& change) {
  int fd = ::open(readable().c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "open " + result(fd);
  std::string text = result(change(fd));
  ::close(fd);
  return text;
}

std::string modeThroughLink() {
  std::string link = variable("HOSTILE_WRITABLE") + "/mode";
  (void)::unlink(link.c_str());
  if (::symlink(readable().c_str(), link.c_str()) != 0) return "symlink " + result(-1);
  return result(::chmod(link.c_str(), 0777));
}

// By path, from its own directory, by descriptor; and the owner, to what it is.
std::string ownModes() {
  std::string path = variable("HOSTILE_WRITABLE") + "/modes";
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return "open " + result(fd);
  struct stat status {};
  std::string text = "ok";
  auto expect = [&](int r, mode_t mode) {
    if (r != 0) text = result(r);
    ::fstat(fd, &status);
    if ((status.st_mode & 07777) != mode) text = "mode " + std::to_string(status.st_mode);
  };
  expect(::chmod(path.c_str(), 0640), 0640);
  expect(::fchmod(fd, 0604), 0604);
  expect(::chdir(variable("HOSTILE_WRITABLE").c_str()), 0604);
  expect(::fchmodat(AT_FDCWD, "modes", 0600, 0), 0600);
  expect(::fchown(fd, ::getuid(), ::getgid()), 0600);
  (void)::chdir("/");
  ::close(fd);
  return text;
}

std::string makesSetId(const std::function<int(const char*)>& make) {
  std::string path = variable("HOSTILE_WRITABLE") + "/set-id";
  int r = make(path.c_str());
  std::string text = result(r);
  if (r > 2) ::close(r);
  (void)::unlink(path.c_str());
  return text;
}

int makes(const char* path, mode_t mode) {
  return ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
}

// What C libraries ask in passing; that nobody is there must look like it.
std::string asksServices() {
  ::syslog(LOG_ERR, "a message");
  (void)::getpwnam("nobody-of-that-name");
  for (const char* path : {"/dev/log", "/run/systemd/journal/dev-log", "/run/nscd/socket",
                           "/var/run/nscd/socket", "/run/systemd/userdb/io.systemd.DynamicUser",
                           "/var/lib/sss/pipes/nss", "/var/run/nslcd/socket"}) {
    std::string text = connectsUnix(path, false);
    if (text != "ENOENT") return std::string(path) + " " + text;
  }
  return "none";
}

// Variables of the host that the policy does not pass: in environ, in the copy that the kernel
// keeps, and anywhere else in the memory that this process was born with.
std::string looksForSecret() {
  // Not as one string: this module's own text must not be what is found.
  std::string secret = std::string("planted-") + "secret-";
  for (char** one = ::environ; *one != nullptr; ++one)
    if (::strstr(*one, secret.c_str()) != nullptr) return "in environ";
  char buffer[65536];
  int fd = ::open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ssize_t n = ::read(fd, buffer, sizeof buffer);
    ::close(fd);
    if (n > 0 &&
        ::memmem(buffer, static_cast<std::size_t>(n), secret.data(), secret.size()) != nullptr)
      return "in /proc/self/environ";
  }
  FILE* maps = ::fopen("/proc/self/maps", "re");
  if (maps == nullptr) return "no maps";
  std::string text = "absent";
  char line[1024];
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> areas;
  while (::fgets(line, sizeof line, maps) != nullptr) {
    unsigned long start, end;
    char rights[5];
    if (::sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 || ::strncmp(rights, "rw", 2) != 0)
      continue;
    if (::strstr(line, "[stack]") != nullptr || ::strstr(line, "[heap]") != nullptr)
      areas.emplace_back(start, end);
  }
  ::fclose(maps);
  for (auto [start, end] : areas) {
    // Apart from this very search: what is found has more after it than the search has.
    auto from = reinterpret_cast<const char*>(start);
    auto left = static_cast<std::size_t>(end - start);
    while (auto hit =
               static_cast<const char*>(::memmem(from, left, secret.data(), secret.size()))) {
      const char* after = hit + secret.size();
      if (after < reinterpret_cast<const char*>(end) && *after == 'X') text = "in memory";
      left -= static_cast<std::size_t>(after - from);
      from = after;
    }
  }
  return text;
}

// Everything that is open here: the standard ones and sockets of its own.
std::string looksForDescriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return "opendir " + result(-1);
  std::string strange;
  while (dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    int fd = ::atoi(entry->d_name);
    if (fd == ::dirfd(directory)) continue;
    char target[256];
    ssize_t n = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target - 1);
    std::string what(target, n < 0 ? 0 : static_cast<std::size_t>(n));
    bool expected = fd == 0              ? what == "/dev/null"
                    : fd == 1 || fd == 2 ? what.starts_with("pipe:")
                                         : what.starts_with("socket:");
    if (!expected) strange += std::to_string(fd) + "=" + what + " ";
  }
  ::closedir(directory);
  return strange.empty() ? "none" : strange;
}

std::string listensOnAnything() {
  for (int fd = 3; fd < 256; ++fd) {
    int yes = 0;
    socklen_t size = sizeof yes;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0) return "ok";
  }
  return "none";
}

#if defined(__x86_64__)
std::string interrupt80() {
  long r;
  asm volatile("int $0x80" : "=a"(r) : "a"(20 /* getpid */) : "memory", "r8", "r9", "r10", "r11");
  return r == -ENOSYS ? "ENOSYS" : "ok";
}
#endif

using Attempts = std::map<std::string, std::function<std::string()>>;

const Attempts& attempts() {
  static const Attempts ALL = {
    // -- other processes --
    {"host-mem", [] { return opens(proc(host(), "mem")); }},
    {"host-environ", [] { return opens(proc(host(), "environ")); }},
    {"host-maps", [] { return opens(proc(host(), "maps")); }},
    {"host-fd", [] { return opens(proc(host(), "fd"), O_RDONLY | O_DIRECTORY); }},
    {"host-fd-1", [] { return opens(proc(host(), "fd/1"), O_WRONLY); }},
    {"host-cwd", [] { return opens(proc(host(), "cwd"), O_RDONLY | O_DIRECTORY); }},
    {"host-root", [] { return opens(proc(host(), "root/etc/passwd")); }},
    {"host-cmdline", [] { return opens(proc(host(), "cmdline")); }},
    {"host-oom", [] { return opens(proc(host(), "oom_score_adj"), O_WRONLY); }},
    {"supervisor-mem", [] { return opens(proc(::getppid(), "mem"), O_RDWR); }},
    {"supervisor-environ", [] { return opens(proc(::getppid(), "environ")); }},
    {"init-environ", [] { return opens("/proc/1/environ"); }},
    {"own-mem", writesOwnMemory},
    {"own-uid-map", [] { return opens("/proc/self/uid_map", O_WRONLY); }},
    {"readv-host",
     [] {
       char byte;
       iovec local{&byte, 1}, remote{reinterpret_cast<void*>(0x400000), 1};
       return call(SYS_process_vm_readv, host(), &local, 1L, &remote, 1L, 0L);
     }},
    {"writev-supervisor",
     [] {
       char byte = 0;
       iovec local{&byte, 1}, remote{reinterpret_cast<void*>(0x400000), 1};
       return call(SYS_process_vm_writev, ::getppid(), &local, 1L, &remote, 1L, 0L);
     }},
    {"ptrace-host", [] { return call(SYS_ptrace, PTRACE_SEIZE, host(), 0, 0); }},
    {"ptrace-supervisor", [] { return call(SYS_ptrace, PTRACE_SEIZE, ::getppid(), 0, 0); }},
    {"pidfd-open", [] { return call(434, host(), 0); }},
    {"pidfd-getfd", [] { return call(438, 0, 1, 0); }},
    {"pidfd-signal", [] { return call(424, 0, SIGCONT, nullptr, 0); }},
    {"kcmp", [] { return call(SYS_kcmp, ::getpid(), host(), 0, 0, 0); }},
    {"kill-host", [] { return result(::kill(host(), SIGURG)); }},
    {"kill-supervisor", [] { return result(::kill(::getppid(), SIGKILL)); }},
    {"kill-all", [] { return result(::kill(-1, SIGURG)); }},
    {"kill-group", [] { return result(::kill(0, SIGURG)); }},
    {"tgkill-host", [] { return call(SYS_tgkill, host(), host(), SIGURG); }},
    {"tkill-host", [] { return call(SYS_tkill, host(), SIGURG); }},
    {"sigqueue-host",
     [] {
       siginfo_t info{};
       info.si_code = SI_QUEUE;
       return call(SYS_rt_sigqueueinfo, host(), SIGURG, &info);
     }},
    {"own-by-signal", [] { return result(::fcntl(0, F_SETOWN, host())); }},
    {"limit-host",
     [] {
       rlimit limit{0, 0};
       return call(SYS_prlimit64, host(), RLIMIT_NOFILE, &limit, nullptr);
     }},
    {"affinity-host",
     [] {
       cpu_set_t one;
       CPU_ZERO(&one);
       CPU_SET(0, &one);
       return call(SYS_sched_setaffinity, host(), sizeof one, &one);
     }},
    {"priority-host", [] { return call(SYS_setpriority, PRIO_PROCESS, host(), 19); }},
    // -- files --
    {"shadow", [] { return opens("/etc/shadow"); }},
    {"root-directory", [] { return opens("/", O_RDONLY | O_DIRECTORY); }},
    {"root-home", [] { return opens("/root", O_RDONLY | O_DIRECTORY); }},
    {"home", [] { return opens(under("home/.ssh/id")); }},
    {"secret", [] { return opens(under("secret")); }},
    {"secret-through-root", [] { return opens("/proc/self/root" + under("secret")); }},
    {"secret-dotdot", [] { return opens("/usr/lib/../.." + under("secret")); }},
    {"write-tmp", [] { return opens("/tmp/bulkhead-hostile-was-here", O_WRONLY | O_CREAT); }},
    {"write-tmpfile", [] { return opens("/tmp", O_RDWR | O_TMPFILE); }},
    {"write-dir", [] { return opens(under("made"), O_WRONLY | O_CREAT); }},
    {"write-shm", [] { return opens("/dev/shm/bulkhead-hostile", O_RDWR | O_CREAT); }},
    {"write-library", [] { return opens("/usr/lib/bulkhead-hostile", O_WRONLY | O_CREAT); }},
    {"write-core-pattern", [] { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }},
    {"unlink-secret", [] { return result(::unlink(under("secret").c_str())); }},
    {"rename-secret",
     [] { return result(::rename(under("secret").c_str(), under("made").c_str())); }},
    {"mkdir", [] { return result(::mkdir(under("made").c_str(), 0700)); }},
    {"truncate", [] { return result(::truncate(under("secret").c_str(), 0)); }},
    {"chmod", [] { return result(::chmod(under("secret").c_str(), 0777)); }},
    {"chown", [] { return result(::chown(under("secret").c_str(), ::getuid(), ::getgid())); }},
    {"chmod-readable", [] { return result(::chmod(readable().c_str(), 0777)); }},
    {"chmod-link", modeThroughLink},
    {"fchmod-readable", [] { return throughReadable([](int fd) { return ::fchmod(fd, 0777); }); }},
    {"fchown-readable",
     [] { return throughReadable([](int fd) { return ::fchown(fd, ::getuid(), ::getgid()); }); }},
    {"own-modes", ownModes},
    {"chmod-set-id",
     [] {
       return makesSetId([](const char* path) {
         ::close(makes(path, 0700));
         return ::chmod(path, 04755);
       });
     }},
    {"open-set-id", [] { return makesSetId([](const char* path) { return makes(path, 04755); }); }},
    {"open-set-group-id",
     [] { return makesSetId([](const char* path) { return makes(path, 02755); }); }},
    {"openat2",
     [] {
       struct {
         std::uint64_t flags = O_WRONLY | O_CREAT | O_CLOEXEC, mode = 04755, resolve = 0;
       } how;
       return makesSetId([&](const char* path) {
         return static_cast<int>(::syscall(437, AT_FDCWD, path, &how, sizeof how));
       });
     }},
    {"utimes", [] { return result(::utimensat(AT_FDCWD, under("secret").c_str(), nullptr, 0)); }},
    {"mknod", [] { return result(::mknod(under("made").c_str(), S_IFIFO | 0600, 0)); }},
    {"link-in", followsOwnLink},
    {"hard-link", linksOut},
    {"writable", writesAllowed},
    {"dev-mem", [] { return opens("/dev/mem"); }},
    {"dev-kmsg", [] { return opens("/dev/kmsg"); }},
    {"dev-tty", [] { return opens("/dev/tty", O_RDWR); }},
    {"dev-ptmx", [] { return opens("/dev/ptmx", O_RDWR); }},
    {"dev-fuse", [] { return opens("/dev/fuse", O_RDWR); }},
    {"handle-at",
     [] {
       struct {
         unsigned size = 8;
         int type = 1;
         char bytes[8] = {};
       } handle;
       return call(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
     }},
    // -- programs and processes --
    {"execve", [] { return executes("/bin/true"); }},
    {"execve-self", [] { return executes("/proc/self/exe"); }},
    {"execveat",
     [] {
       char name[] = "x";
       char* arguments[] = {name, nullptr};
       return call(SYS_execveat, 0, "", arguments, nullptr, AT_EMPTY_PATH);
     }},
    {"memfd", [] { return call(SYS_memfd_create, "code", 0); }},
    {"fork", forks},
    {"clone", [] { return clones(SIGCHLD); }},
    {"vfork", [] { return clones(CLONE_VM | CLONE_VFORK | SIGCHLD); }},
    {"clone3",
     [] {
       std::uint64_t arguments[8] = {0, 0, 0, 0, SIGCHLD, 0, 0, 0};
       long pid = ::syscall(435, arguments, sizeof arguments);
       if (pid == 0) ::_exit(0);
       return result(pid);
     }},
    {"posix-spawn", spawns},
    {"clone-user", [] { return clones(CLONE_NEWUSER | SIGCHLD); }},
    {"clone-pid", [] { return clones(CLONE_NEWPID | SIGCHLD); }},
    {"clone-net", [] { return clones(CLONE_NEWNET | SIGCHLD); }},
    {"clone-mount", [] { return clones(CLONE_NEWNS | SIGCHLD); }},
    {"unshare-user", [] { return result(::unshare(CLONE_NEWUSER)); }},
    {"unshare-mount", [] { return result(::unshare(CLONE_NEWNS)); }},
    {"setns", [] { return result(::setns(0, 0)); }},
    {"mount", [] { return result(::mount("none", "/tmp", "tmpfs", 0, nullptr)); }},
    {"umount", [] { return result(::umount2("/proc", MNT_DETACH)); }},
    {"pivot-root", [] { return call(SYS_pivot_root, "/tmp", "/tmp"); }},
    {"chroot", [] { return result(::chroot("/tmp")); }},
    {"open-tree", [] { return call(428, AT_FDCWD, "/", 1); }},
    {"personality", [] { return result(::personality(READ_IMPLIES_EXEC)); }},
    // -- sockets --
    {"inet", [] { return makesSocket(AF_INET, SOCK_STREAM); }},
    {"inet6", [] { return makesSocket(AF_INET6, SOCK_STREAM); }},
    {"udp", [] { return makesSocket(AF_INET, SOCK_DGRAM); }},
    {"netlink", [] { return makesSocket(AF_NETLINK, SOCK_RAW); }},
    {"packet", [] { return makesSocket(AF_PACKET, SOCK_RAW); }},
    {"vsock", [] { return makesSocket(AF_VSOCK, SOCK_STREAM); }},
    {"alg", [] { return makesSocket(AF_ALG, SOCK_SEQPACKET); }},
    {"unix", [] { return makesSocket(AF_UNIX, SOCK_STREAM); }},
    {"services", asksServices},
    {"unix-datagram", [] { return makesSocket(AF_UNIX, SOCK_DGRAM); }},
    {"connect-unix", [] { return connectsUnix(under("bus"), false); }},
    {"connect-abstract", [] { return connectsUnix(variable("HOSTILE_ABSTRACT"), true); }},
    {"connect-allowed", [] { return connectsUnix(under("allowed"), false); }},
    {"connect-tcp", connectsTcp},
    {"bind-unix", bindsUnix},
    {"listen", [] { return call(SYS_listen, 3, 1); }},
    {"accept", [] { return call(SYS_accept4, 3, nullptr, nullptr, 0); }},
    {"listening", listensOnAnything},
    {"sendto-address",
     [] {
       sockaddr_un address{};
       address.sun_family = AF_UNIX;
       return call(SYS_sendto, 3, "x", 1, 0, &address, sizeof address);
     }},
    // -- the kernel's odd corners --
    {"keyctl", [] { return call(SYS_keyctl, 0, -3, 1); }},
    {"add-key", [] { return call(SYS_add_key, "user", "hostile", "x", 1, -3); }},
    {"request-key", [] { return call(SYS_request_key, "user", "hostile", nullptr, 0); }},
    {"bpf",
     [] {
       bpf_attr attr{};
       return call(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr);
     }},
    {"io-uring",
     [] {
       char parameters[120] = {};
       return call(425, 1, parameters);
     }},
    {"perf",
     [] {
       perf_event_attr attr{};
       attr.size = sizeof attr;
       return call(SYS_perf_event_open, &attr, 0, -1, -1, 0);
     }},
    {"userfaultfd", [] { return call(SYS_userfaultfd, 0); }},
    {"seccomp",
     [] {
       // One that lets everything through: it could as well answer for the supervisor's.
       sock_filter allow{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
       sock_fprog program{1, &allow};
       return call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
     }},
    {"seccomp-strict", [] { return call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT); }},
    {"landlock", [] { return call(444, nullptr, 0, 1); }},
    {"pdeathsig", [] { return result(::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)); }},
    {"dumpable", [] { return result(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); }},
    {"ptracer", [] { return result(::prctl(0x59616d61, host(), 0, 0, 0)); }},
    {"subreaper", [] { return result(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)); }},
    {"mdwe", [] { return result(::prctl(65, 0, 0, 0, 0)); }},
    {"user-dispatch", [] { return result(::prctl(59, 0, 0, 0, 0)); }},
    {"write-and-execute", [] { return becomesCode(true); }},
    {"written-then-executed", [] { return becomesCode(false); }},
    {"pkey-mprotect", [] { return call(329, 0, 4096, PROT_EXEC, -1); }},
    {"shm", [] { return call(SYS_shmget, IPC_PRIVATE, 4096, IPC_CREAT | 0600); }},
    {"setuid", [] { return call(SYS_setuid, 0); }},
    {"setresuid", [] { return call(SYS_setresuid, 1, 1, 1); }},
    {"setgid", [] { return call(SYS_setgid, 0); }},
    {"setgroups", [] { return call(SYS_setgroups, 0, nullptr); }},
    {"capset",
     [] {
       struct {
         unsigned version = 0x20080522;
         int pid = 0;
       } header;
       unsigned all[6] = {~0U, ~0U, ~0U, ~0U, 0, 0};
       return call(SYS_capset, &header, all);
     }},
    {"raise-limit",
     [] {
       rlimit limit{65536, 65536};
       return result(::setrlimit(RLIMIT_NOFILE, &limit));
     }},
    {"setsid", [] { return call(SYS_setsid); }},
    {"sethostname", [] { return result(::sethostname("hostile", 7)); }},
    {"set-clock",
     [] {
       timespec when{1, 0};
       return call(SYS_clock_settime, CLOCK_REALTIME, &when);
     }},
    // The wrong magic numbers: no machine goes down if it gets through.
    {"reboot", [] { return call(SYS_reboot, 1, 2, 3, 0); }},
    {"swapon", [] { return call(SYS_swapon, "/nonexistent", 0); }},
    {"load-kernel-module", [] { return call(SYS_finit_module, -1, "", 0); }},
    {"kexec", [] { return call(SYS_kexec_load, 0, 0, nullptr, 0); }},
    {"syslog", [] { return call(SYS_syslog, 10, nullptr, 0); }},
    {"fanotify", [] { return call(SYS_fanotify_init, 0, 0); }},
    {"inotify", [] { return call(SYS_inotify_init1, 0); }},
    {"tiocsti", [] { return result(::ioctl(0, TIOCSTI, "x")); }},
    {"fioasync",
     [] {
       int yes = 1;
       return result(::ioctl(1, FIOASYNC, &yes));
     }},
    {"unknown-syscall", [] { return call(500); }},
#if defined(__x86_64__)
    {"iopl", [] { return call(SYS_iopl, 3); }},
    {"modify-ldt", [] { return call(SYS_modify_ldt, 0, nullptr, 0); }},
    {"int80", interrupt80},
    {"x32", [] { return call(0x40000000 | SYS_getpid); }},
#endif
    // -- too much of everything --
    {"threads", threadBomb},
    {"descriptors-bomb", descriptorBomb},
    {"memory", memoryBomb},
    {"disk", diskBomb},
    // -- what it was born with --
    {"environment", looksForSecret},
    {"descriptors", looksForDescriptors},
    {"working-directory",
     [] {
       char path[256];
       return std::string(::getcwd(path, sizeof path) == nullptr ? "none" : path);
     }},
    {"core",
     [] {
       rlimit limit{1, 1};
       ::getrlimit(RLIMIT_CORE, &limit);
       return std::string(limit.rlim_max == 0 ? "none" : "some");
     }},
    {"no-new-privs", [] { return std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)); }},
  };
  return ALL;
}

}  // namespace

std::string attempt(const std::string& name) {
  auto found = attempts().find(name);
  return found == attempts().end() ? "no such attempt" : found->second();
}

}  // namespace bulkhead::hostile
