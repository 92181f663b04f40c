// SPDX-License-Identifier: BSD-2-Clause
#include "tests/hostile/attempts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
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
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <fstream>
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
// What the worker's own parent is, also in a child of the worker.
pid_t supervisor() {
  static const pid_t PARENT = ::getppid();
  return PARENT;
}
// Another module's worker, and where something is in its memory. The test learns it too late for
// the environment.
struct Sibling {
  int pid = ::getpid();
  unsigned long address = 0;
};
Sibling sibling() {
  Sibling other;
  char text[64] = {};
  int fd = ::open((variable("HOSTILE_WRITABLE") + "/sibling").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    (void)!::read(fd, text, sizeof text - 1);
    ::close(fd);
  }
  (void)::sscanf(text, "%d %lx", &other.pid, &other.address);
  return other;
}
// Where the host keeps a secret.
unsigned long secretOfHost() {
  return ::strtoul(variable("HOSTILE_ADDRESS").c_str(), nullptr, 16);
}
std::string under(const char* name) {
  return variable("HOSTILE_DIR") + "/" + name;
}
std::string proc(pid_t pid, const char* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

// What got through is undone, so that the next one finds all in place.
std::string undone(const std::string& text, const std::string& made = under("made")) {
  if (text != "ok") return text;
  if (::unlink(made.c_str()) != 0) (void)::rmdir(made.c_str());
  return text;
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

// A descriptor, or one that is surely there: the call that is of interest is then made all the
// same.
class Opened {
 public:
  explicit Opened(long fd, int otherwise = 0) : fd_(static_cast<int>(fd)), otherwise_(otherwise) {}
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened() {
    if (fd_ >= 0) ::close(fd_);
  }
  operator int() const { return fd_ >= 0 ? fd_ : otherwise_; }

 private:
  int fd_, otherwise_;
};

constexpr long SYS_PIDFD_SEND_SIGNAL = 424, SYS_OPEN_TREE = 428, SYS_PIDFD_OPEN = 434,
               SYS_CLONE3 = 435, SYS_PIDFD_GETFD = 438, SYS_PROCESS_MADVISE = 440;

std::string connects(const sockaddr* address, socklen_t size) {
  int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return result(fd);
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

sockaddr_in hostsPort() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(::atoi(variable("HOSTILE_PORT").c_str())));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

std::string connectsTcp() {
  sockaddr_in address = hostsPort();
  return connects(reinterpret_cast<sockaddr*>(&address), sizeof address);
}

std::string listensOnTcp() {
  Opened fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 3);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  return result(::bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof any));
}

// A datagram goes where its address says, without a connect().
std::string sends(int family, const sockaddr* address, socklen_t size) {
  Opened fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), 3);
  return call(SYS_sendto, static_cast<int>(fd), "x", 1L, 0L, address, static_cast<long>(size));
}

std::string sendsUdp() {
  sockaddr_in address = hostsPort();
  return sends(AF_INET, reinterpret_cast<sockaddr*>(&address), sizeof address);
}

// The address is where no filter sees it.
std::string sendsUdpByMessage() {
  sockaddr_in address = hostsPort();
  char byte = 'x';
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = sizeof address;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Opened fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), -1);
  return fd < 0 ? result(-1) : result(::sendmsg(fd, &message, 0));
}

std::string sendsUnix() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::memcpy(address.sun_path, under("datagrams").c_str(), under("datagrams").size() + 1);
  return sends(AF_UNIX, reinterpret_cast<sockaddr*>(&address), sizeof address);
}

// "unix:PATH", "inet:ADDRESS:PORT", "inet6:ADDRESS:PORT".
struct Target {
  sockaddr_storage storage{};
  socklen_t size = 0;
  sockaddr* address() { return reinterpret_cast<sockaddr*>(&storage); }
};
Target target(const std::string& text) {
  Target t;
  std::string kind = text.substr(0, text.find(':')), rest = text.substr(kind.size() + 1);
  if (kind == "unix") {
    auto& un = reinterpret_cast<sockaddr_un&>(t.storage);
    un.sun_family = AF_UNIX;
    ::memcpy(un.sun_path, rest.data(), std::min(rest.size(), sizeof un.sun_path - 1));
    t.size = sizeof un;
    return t;
  }
  auto colon = rest.rfind(':');
  std::string host = rest.substr(0, colon);
  auto port = htons(static_cast<std::uint16_t>(::atoi(rest.c_str() + colon + 1)));
  if (kind == "inet6") {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(t.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = port;
    ::inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr);
    t.size = sizeof in6;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(t.storage);
    in.sin_family = AF_INET;
    in.sin_port = port;
    ::inet_pton(AF_INET, host.c_str(), &in.sin_addr);
    t.size = sizeof in;
  }
  return t;
}

std::string connectsTarget(int flags = 0) {
  Target t = target(variable("HOSTILE_TARGET"));
  Opened fd(::socket(t.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (::connect(fd, t.address(), t.size) != 0 && errno != EINPROGRESS) return result(-1);
  int error = 0;
  socklen_t size = sizeof error;
  pollfd one{fd, POLLOUT, 0};
  (void)::poll(&one, 1, 10'000);
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  errno = error;
  if (((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0) != (flags != 0)) return "other flags";
  return result(error == 0 ? 0 : -1);
}

// As programs do it: by name, each address in turn.
std::string connectsByName() {
  std::string text = variable("HOSTILE_TARGET");
  auto colon = text.rfind(':');
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  int error = ::getaddrinfo(text.substr(0, colon).c_str(), text.c_str() + colon + 1, &hints, &list);
  if (error != 0) return ::gai_strerror(error);
  std::string how = "no address";
  for (addrinfo* a = list; a != nullptr && how != "ok"; a = a->ai_next)
    how = connects(a->ai_addr, a->ai_addrlen);
  ::freeaddrinfo(list);
  return how;
}

// Shows the check one address and the connection another, if that can be done.
std::string connectsFlipping() {
  static Target shared, one, other;
  static std::atomic<bool> over{false};
  one = shared = target(variable("HOSTILE_TARGET"));
  other = target(variable("HOSTILE_OTHER"));
  pthread_t thread;
  auto flip = [](void*) -> void* {
    while (!over) {
      ::memcpy(&shared.storage, &other.storage, other.size);
      ::memcpy(&shared.storage, &one.storage, one.size);
    }
    return nullptr;
  };
  if (::pthread_create(&thread, nullptr, flip, nullptr) != 0) return "no thread";
  int made = 0;
  for (int i = 0; i < 5'000; ++i) {
    Opened fd(::socket(one.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(fd, shared.address(), one.size) == 0) ++made;
  }
  over = true;
  ::pthread_join(thread, nullptr);
  return "made " + std::to_string(made);
}

// Looks for the place where refused calls are answered, in every descriptor and those of its
// supervisor, while a thread waits for an answer.
std::string forges() {
  static std::atomic<bool> over{false}, granted{false};
  static std::atomic<int> asked{0};
  pthread_t thread;
  auto ask = [](void*) -> void* {
    for (; !over; ++asked)
      if (::syscall(SYS_keyctl, 0, -3, 0) >= 0) granted = true;
    return nullptr;
  };
  if (::pthread_create(&thread, nullptr, ask, nullptr) != 0) return "no thread";
  while (asked == 0) ::usleep(1'000);
  std::string found;
  auto tries = [&](int fd) {
    seccomp_notif question{};
    seccomp_notif_resp answer{};
    if (::ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) == 0) found += " received";
    for (std::uint64_t id = 0; id < 16; ++id) {
      answer.id = id;
      answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
      if (::ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0) found += " answered";
    }
  };
  for (int fd = 0; fd < 256; ++fd) {
    char link[256] = {};
    std::string path = "/proc/self/fd/" + std::to_string(fd);
    if (::readlink(path.c_str(), link, sizeof link - 1) > 0 && ::strstr(link, "seccomp") != nullptr)
      found += " held";
    if (::fcntl(fd, F_GETFD) < 0) continue;
    tries(fd);
    int again = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (again >= 0) {
      tries(again);
      ::close(again);
    }
  }
  for (int fd = 0; fd < 64; ++fd) {
    int theirs = ::open(proc(supervisor(), ("fd/" + std::to_string(fd)).c_str()).c_str(),
                        O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (theirs < 0) continue;
    found += " opened";
    tries(theirs);
    ::close(theirs);
  }
  over = true;
  ::pthread_join(thread, nullptr);
  if (granted) found += " granted";
  return found.empty() ? "nothing" : found;
}

std::string floods() {
  for (int i = 0; i < 20'000; ++i) (void)::syscall(SYS_keyctl, 0, -3, 0);
  return "ok";
}

// On a socket of its own, if it gets one.
std::string listens(bool accepts) {
  Opened fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 3);
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  (void)::bind(fd, reinterpret_cast<sockaddr*>(&unnamed), sizeof unnamed.sun_family);
  std::string text = call(SYS_listen, static_cast<int>(fd), 1);
  return accepts ? call(SYS_accept4, static_cast<int>(fd), nullptr, nullptr, SOCK_NONBLOCK) : text;
}

std::string bindsUnix() {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return result(fd);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::memcpy(address.sun_path, under("made").c_str(), under("made").size() + 1);
  std::string text =
      undone(result(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address)));
  ::close(fd);
  return text;
}

// A child that gets through ends at once; that it was there is what counts. On a stack of its own,
// because it may share this memory.
int nothing(void*) {
  return 0;
}
std::string clones(unsigned long flags) {
  alignas(16) static char stack[64 << 10];
  long pid = ::clone(nothing, stack + sizeof stack, static_cast<int>(flags), nullptr);
  std::string text = result(pid);
  if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, __WALL);
  return text;
}

std::string forks() {
#ifdef SYS_fork
  long pid = ::syscall(SYS_fork);
  if (pid == 0) ::_exit(0);
  std::string text = result(pid);
  if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
  return text;
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
  std::string text = result(error == 0 ? 0 : -1);
  if (error == 0) ::waitpid(pid, nullptr, 0);
  return text;
}

// Whether a shell, if it may have one, can read a file.
std::string readsByShell() {
  pid_t pid = ::fork();
  if (pid < 0) return result(-1);
  if (pid == 0) {
    std::string script = "read -r x < " + variable("HOSTILE_TARGET");
    ::execl("/bin/sh", "sh", "-c", script.c_str(), nullptr);
    ::_exit(errno == EACCES ? 126 : 127);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status)) : "dead";
}

std::string executes(const std::string& path) {
  char name[] = "x";
  char* arguments[] = {name, nullptr};
  return result(::execve(path.c_str(), arguments, nullptr));
}

std::string executesDescriptor(int fd) {
  char name[] = "x";
  char* arguments[] = {name, nullptr};
  return call(SYS_execveat, fd, "", arguments, nullptr, AT_EMPTY_PATH);
}

// A program that nobody has seen: no file, no path, no loader.
std::string executesMemory() {
#if defined(__x86_64__)
  static const unsigned char PROGRAM[] = {
      0x7f, 'E',  'L',  'F',  2,    1, 1,    0,    0,    0,    0,    0,
      0,    0,    0,    0,  // 64 bits, little endian
      2,    0,    0x3e, 0,    1,    0, 0,    0,    0x78, 0,    0x40, 0,
      0,    0,    0,    0,  // entry 0x400078
      0x40, 0,    0,    0,    0,    0, 0,    0,    0,    0,    0,    0,
      0,    0,    0,    0,  // program headers at 64
      0,    0,    0,    0,    0x40, 0, 0x38, 0,    1,    0,    0x40, 0,
      0,    0,    0,    0,  // one of 56 bytes
      1,    0,    0,    0,    5,    0, 0,    0,    0,    0,    0,    0,
      0,    0,    0,    0,  // load, read and execute
      0,    0,    0x40, 0,    0,    0, 0,    0,    0,    0,    0x40, 0,
      0,    0,    0,    0,  // at 0x400000
      0x84, 0,    0,    0,    0,    0, 0,    0,    0x84, 0,    0,    0,
      0,    0,    0,    0,                                                 // 132 bytes
      0,    0x10, 0,    0,    0,    0, 0,    0,                            //
      0x31, 0xff, 0xb8, 0xe7, 0,    0, 0,    0x0f, 0x05, 0xf4, 0xf4, 0xf4  // exit_group(0)
  };
  const void* program = PROGRAM;
  std::size_t size = sizeof PROGRAM;
#else
  static const char PROGRAM[] = "#!/bin/true\n";
  const void* program = PROGRAM;
  std::size_t size = sizeof PROGRAM - 1;
#endif
  Opened fd(::syscall(SYS_memfd_create, "code", 0));
  (void)!::write(fd, program, size);
  return executesDescriptor(fd);
}

// A library of its own making, where it may write.
std::string mapsWritten() {
  std::string path = variable("HOSTILE_WRITABLE") + "/library";
  std::ofstream(path) << std::string(4096, '\xc3');
  Opened file(::open(path.c_str(), O_RDONLY | O_CLOEXEC), -1);
  void* code = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
  if (code == MAP_FAILED) return result(-1);
  ::munmap(code, 4096);
  return "ok";
}

enum class Way { AtOnce, Mprotect, PkeyMprotect };

std::string becomesCode(Way way) {
  auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  int first = way == Way::AtOnce ? PROT_READ | PROT_WRITE | PROT_EXEC : PROT_READ | PROT_WRITE;
  void* p = ::mmap(nullptr, page, first, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return result(-1);
  std::string text = "ok";
  if (way == Way::Mprotect) text = result(::mprotect(p, page, PROT_READ | PROT_EXEC));
  if (way == Way::PkeyMprotect) text = call(329, p, page, PROT_READ | PROT_EXEC, -1L);
  ::munmap(p, page);
  return text;
}

// On a thread that ends, and lets go of what it traces.
std::string traces(pid_t pid) {
  static pid_t whom;
  static std::string text;
  whom = pid;
  pthread_t thread;
  auto trace = [](void*) -> void* {
    text = call(SYS_ptrace, PTRACE_SEIZE, whom, 0L, 0L);
    return nullptr;
  };
  if (::pthread_create(&thread, nullptr, trace, nullptr) != 0) return "no thread";
  ::pthread_join(thread, nullptr);
  return text;
}

std::string readsMemory(pid_t pid, unsigned long address) {
  char bytes[8] = {};
  iovec local{bytes, sizeof bytes};
  iovec remote{reinterpret_cast<void*>(address), sizeof bytes};
  return call(SYS_process_vm_readv, pid, &local, 1L, &remote, 1L, 0L);
}

// The C library lies where it lies in the parent; optind is of no use to anybody.
std::string writesMemory(pid_t pid) {
  int one = 1;
  iovec local{&one, sizeof one}, remote{&::optind, sizeof ::optind};
  return call(SYS_process_vm_writev, pid, &local, 1L, &remote, 1L, 0L);
}

// Who has killed its supervisor dies soon.
std::string outlived(const std::string& text) {
  if (text == "ok") ::sleep(2);
  return text;
}

// Has the kernel signal somebody when a pipe gets something to read.
std::string signalsThroughPipe(pid_t pid) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return result(-1);
  Opened from(pipe[0]), to(pipe[1]);
  std::string text = result(::fcntl(from, F_SETOWN, pid));
  if (text == "ok") text = result(::fcntl(from, F_SETSIG, SIGURG));
  if (text == "ok") text = result(::fcntl(from, F_SETFL, O_ASYNC));
  if (text == "ok") text = result(::write(to, "x", 1));
  return text;
}

std::string enters(const std::string& path) {
  Opened fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return result(::setns(fd, 0));
}

std::string opensByHandle() {
  alignas(file_handle) char room[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto handle = reinterpret_cast<file_handle*>(room);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(AT_FDCWD, under("secret").c_str(), handle, &mount, 0) != 0)
    handle->handle_bytes = 8;
  // Any file of that file system serves to say which one it is.
  Opened mounted(::open(variable("HOSTILE_WRITABLE").c_str(), O_RDONLY | O_CLOEXEC));
  return result(Opened(
      ::syscall(SYS_open_by_handle_at, static_cast<int>(mounted), handle, O_RDONLY | O_CLOEXEC),
      -1));
}

// The clock at its present rate.
std::string adjustsClock() {
  timex now{};
  if (::syscall(SYS_adjtimex, &now) < 0) return result(-1);
  now.modes = ADJ_FREQUENCY;
  return call(SYS_adjtimex, &now);
}

std::string filtersItself() {
  (void)::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  // One that lets everything through: it could as well answer for the supervisor's.
  sock_filter allow{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
  sock_fprog program{1, &allow};
  return call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

// One capability would do, and this is most of the others.
std::string gainsCapability() {
  struct {
    unsigned version = 0x20080522;
    int pid = 0;
  } header;
  constexpr unsigned SYS_ADMIN = 1U << 21;
  unsigned wanted[6] = {SYS_ADMIN, SYS_ADMIN, 0, 0, 0, 0};
  return call(SYS_capset, &header, wanted);
}

std::string raisesLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_RTPRIO, &limit) != 0) return result(-1);
  limit.rlim_cur = limit.rlim_max = limit.rlim_max + 1;
  return result(::setrlimit(RLIMIT_RTPRIO, &limit));
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
  while (threads.size() < 512) {
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
  while (open.size() < 512) {
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

// How much of its memory it can keep from being swapped out, and what it sees then. By the system
// call itself: a sanitizer has a function of that name that does nothing.
std::string lockBomb() {
  constexpr std::size_t PIECE = 64 << 10, MOST = 640;
  void* all =
      ::mmap(nullptr, MOST * PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED) return "mmap " + result(-1);
  std::size_t locked = 0;
  std::string text = "ok";
  while (locked < MOST && text == "ok")
    if (text = call(SYS_mlock, static_cast<char*>(all) + locked * PIECE, PIECE); text == "ok")
      ++locked;
  ::munmap(all, MOST * PIECE);
  return std::to_string(locked * PIECE >> 10) + " KiB, then " + text;
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

// Everything that is open here: the standard ones, its control socket and its channels' pipes.
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
                                         : what.starts_with("socket:") || what.starts_with("pipe:");
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
    {"host-fd-200", [] { return opens(proc(host(), "fd/200")); }},
    {"host-cwd", [] { return opens(proc(host(), "cwd"), O_RDONLY | O_DIRECTORY); }},
    {"host-root", [] { return opens(proc(host(), "root/etc/passwd")); }},
    {"host-cmdline", [] { return opens(proc(host(), "cmdline")); }},
    {"host-oom", [] { return opens(proc(host(), "oom_score_adj"), O_WRONLY); }},
    {"supervisor-mem", [] { return opens(proc(supervisor(), "mem"), O_RDWR); }},
    {"supervisor-environ", [] { return opens(proc(supervisor(), "environ")); }},
    {"init-environ", [] { return opens("/proc/1/environ"); }},
    {"own-mem", writesOwnMemory},
    {"own-uid-map", [] { return opens("/proc/self/uid_map", O_WRONLY); }},
    {"readv-host", [] { return readsMemory(host(), secretOfHost()); }},
    {"writev-supervisor", [] { return writesMemory(supervisor()); }},
    {"ptrace-host", [] { return traces(host()); }},
    {"ptrace-supervisor", [] { return traces(supervisor()); }},
    {"pidfd-open", [] { return result(Opened(::syscall(SYS_PIDFD_OPEN, host(), 0), -1)); }},
    {"pidfd-getfd",
     [] {
       Opened process(::syscall(SYS_PIDFD_OPEN, host(), 0));
       return call(SYS_PIDFD_GETFD, static_cast<int>(process), 0L, 0L);
     }},
    {"pidfd-signal",
     [] {
       Opened process(::syscall(SYS_PIDFD_OPEN, host(), 0));
       return call(SYS_PIDFD_SEND_SIGNAL, static_cast<int>(process), SIGURG, nullptr, 0L);
     }},
    // A directory of /proc serves as well.
    {"procfd-signal",
     [] {
       Opened process(::open(proc(host(), "").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
       return call(SYS_PIDFD_SEND_SIGNAL, static_cast<int>(process), SIGURG, nullptr, 0L);
     }},
    {"process-madvise",
     [] {
       Opened process(::syscall(SYS_PIDFD_OPEN, host(), 0));
       iovec where{reinterpret_cast<void*>(secretOfHost() & ~4095UL), 4096};
       return call(SYS_PROCESS_MADVISE, static_cast<int>(process), &where, 1L, MADV_COLD, 0L);
     }},
    // The memory that large arguments travel in is like this.
    {"madvise-remove",
     [] {
       void* shared =
           ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
       // The kernel reads the lower half.
       return call(SYS_madvise, shared, 4096L, 0x1'0000'0000L | MADV_REMOVE);
     }},
    {"punch-hole",
     [] {
       std::ofstream(variable("HOSTILE_WRITABLE") + "/holes") << std::string(8192, 'x');
       Opened file(::open((variable("HOSTILE_WRITABLE") + "/holes").c_str(), O_RDWR | O_CLOEXEC));
       return call(SYS_fallocate, static_cast<int>(file),
                   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0L, 4096L);
     }},
    {"move-pages",
     [] {
       void* page = reinterpret_cast<void*>(secretOfHost() & ~4095UL);
       int status = 0;
       return call(SYS_move_pages, host(), 1L, &page, nullptr, &status, 0L);
     }},
    {"sibling-mem", [] { return opens(proc(sibling().pid, "mem"), O_RDWR); }},
    {"sibling-readv", [] { return readsMemory(sibling().pid, sibling().address); }},
    {"sibling-ptrace", [] { return traces(sibling().pid); }},
    {"sibling-kill", [] { return result(::kill(sibling().pid, SIGKILL)); }},
    {"list-processes",
     [] {
       DIR* directory = ::opendir("/proc");
       if (directory == nullptr) return result(-1);
       ::closedir(directory);
       return std::string("ok");
     }},
    {"kcmp", [] { return call(SYS_kcmp, ::getpid(), host(), 0, 0, 0); }},
    {"kill-host", [] { return result(::kill(host(), SIGURG)); }},
    {"kill-supervisor", [] { return outlived(result(::kill(supervisor(), SIGKILL))); }},
    {"kill-all", [] { return result(::kill(-1, SIGURG)); }},
    // The supervisor is in it.
    {"kill-group",
     [] {
       ::signal(SIGUSR1, SIG_IGN);
       return outlived(result(::kill(0, SIGUSR1)));
     }},
    {"tgkill-host", [] { return call(SYS_tgkill, host(), host(), SIGURG); }},
    {"tkill-host", [] { return call(SYS_tkill, host(), SIGURG); }},
    {"sigqueue-host",
     [] {
       siginfo_t info{};
       info.si_code = SI_QUEUE;
       return call(SYS_rt_sigqueueinfo, host(), SIGURG, &info);
     }},
    {"own-by-signal", [] { return signalsThroughPipe(host()); }},
    {"limit-host",
     [] {
       rlimit none{0, 0};
       return call(SYS_prlimit64, host(), RLIMIT_CORE, &none, nullptr);
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
    {"write-dir", [] { return undone(opens(under("made"), O_WRONLY | O_CREAT)); }},
    {"write-shm", [] { return opens("/dev/shm/bulkhead-hostile", O_RDWR | O_CREAT); }},
    {"write-library", [] { return opens("/usr/local/lib/bulkhead-hostile", O_WRONLY | O_CREAT); }},
    {"write-core-pattern", [] { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }},
    {"sysrq", [] { return opens("/proc/sysrq-trigger", O_WRONLY); }},
    {"own-oom", [] { return opens("/proc/self/oom_score_adj", O_WRONLY); }},
    {"unlink-secret", [] { return result(::unlink(under("spare").c_str())); }},
    {"rename-secret",
     [] {
       std::string text = result(::rename(under("secret").c_str(), under("made").c_str()));
       if (text == "ok") ::rename(under("made").c_str(), under("secret").c_str());
       return text;
     }},
    {"mkdir", [] { return undone(result(::mkdir(under("made").c_str(), 0700))); }},
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
    {"mknod", [] { return undone(result(::mknod(under("made").c_str(), S_IFIFO | 0600, 0))); }},
    {"mknod-device",
     [] { return undone(result(::mknod(under("made").c_str(), S_IFCHR | 0600, makedev(1, 5)))); }},
    {"setxattr",
     [] { return result(::setxattr(under("secret").c_str(), "user.hostile", "x", 1, 0)); }},
    {"link-in", followsOwnLink},
    {"hard-link", linksOut},
    // For the next start: what the policy names within, leads out of, what may be written.
    {"plant-link",
     [] {
       std::string path = variable("HOSTILE_WRITABLE") + "/named";
       if (::rename(path.c_str(), (path + "-before").c_str()) != 0) return "rename " + result(-1);
       return result(::symlink(variable("HOSTILE_OTHER").c_str(), path.c_str()));
     }},
    {"writable", writesAllowed},
    {"dev-mem", [] { return opens("/dev/mem"); }},
    {"dev-kmsg", [] { return opens("/dev/kmsg"); }},
    {"dev-tty", [] { return opens("/dev/tty", O_RDWR); }},
    {"dev-ptmx", [] { return opens("/dev/ptmx", O_RDWR); }},
    {"dev-fuse", [] { return opens("/dev/fuse", O_RDWR); }},
    {"handle-at", opensByHandle},
    // -- programs and processes --
    {"execve", [] { return executes("/bin/true"); }},
    {"execve-self", [] { return executes("/proc/self/exe"); }},
    {"execveat",
     [] { return executesDescriptor(Opened(::open("/bin/true", O_RDONLY | O_CLOEXEC))); }},
    {"execve-memory", executesMemory},
    {"execve-written",
     [] {
       std::string path = variable("HOSTILE_WRITABLE") + "/program";
       std::ofstream(path) << "#!/bin/true\n";
       (void)::fchmodat(AT_FDCWD, path.c_str(), 0700, 0);
       return executes(path);
     }},
    {"memfd", [] { return call(SYS_memfd_create, "code", 0); }},
    {"fork", forks},
    // One that has its parent's parent for its parent, and does not end by itself.
    {"leave-behind",
     [] {
       int pipe[2];
       if (::pipe2(pipe, O_CLOEXEC) != 0) return result(-1);
       pid_t between = ::fork();
       if (between < 0) return result(-1);
       if (between == 0) {
         pid_t left = ::fork();
         if (left == 0)
           for (;;) ::pause();
         (void)!::write(pipe[1], &left, sizeof left);
         ::_exit(0);
       }
       pid_t left = 0;
       (void)!::read(pipe[0], &left, sizeof left);
       ::waitpid(between, nullptr, 0);
       return std::to_string(left);
     }},
    {"clone", [] { return clones(SIGCHLD); }},
    {"vfork", [] { return clones(CLONE_VM | CLONE_VFORK | SIGCHLD); }},
    {"clone3",
     [] {
       std::uint64_t arguments[8] = {0, 0, 0, 0, SIGCHLD, 0, 0, 0};
       long pid = ::syscall(SYS_CLONE3, arguments, sizeof arguments);
       if (pid == 0) ::_exit(0);
       std::string text = result(pid);
       if (pid > 0) ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
       return text;
     }},
    {"clone-vm", [] { return clones(CLONE_VM | SIGCHLD); }},
    {"clone-untraced", [] { return clones(CLONE_UNTRACED | SIGCHLD); }},
    {"clone-parent", [] { return clones(CLONE_PARENT | SIGCHLD); }},
    {"clone-ipc", [] { return clones(CLONE_NEWIPC | SIGCHLD); }},
    {"clone-uts", [] { return clones(CLONE_NEWUTS | SIGCHLD); }},
    {"clone-cgroup", [] { return clones(CLONE_NEWCGROUP | SIGCHLD); }},
    {"posix-spawn", spawns},
    {"read-by-shell", readsByShell},
    {"clone-user", [] { return clones(CLONE_NEWUSER | SIGCHLD); }},
    {"clone-pid", [] { return clones(CLONE_NEWPID | SIGCHLD); }},
    {"clone-net", [] { return clones(CLONE_NEWNET | SIGCHLD); }},
    {"clone-mount", [] { return clones(CLONE_NEWNS | SIGCHLD); }},
    {"unshare-user", [] { return result(::unshare(CLONE_NEWUSER)); }},
    {"unshare-mount", [] { return result(::unshare(CLONE_NEWNS)); }},
    {"unshare-net", [] { return result(::unshare(CLONE_NEWNET)); }},
    {"unshare-time", [] { return result(::unshare(0x80 /* CLONE_NEWTIME */)); }},
    {"unshare-files", [] { return result(::unshare(CLONE_FILES)); }},
    {"setns", [] { return enters(proc(host(), "ns/uts")); }},
    {"mount", [] { return result(::mount("none", "/tmp", "tmpfs", 0, nullptr)); }},
    {"umount", [] { return result(::umount2("/proc", MNT_DETACH)); }},
    // The kernel has no use for the root as its own new root, but says so last.
    {"pivot-root", [] { return call(SYS_pivot_root, "/", "/"); }},
    {"chroot", [] { return result(::chroot("/tmp")); }},
    {"open-tree", [] { return result(Opened(::syscall(SYS_OPEN_TREE, AT_FDCWD, "/", 1), -1)); }},
    {"fsopen", [] { return result(Opened(::syscall(430, "tmpfs", 0), -1)); }},
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
    {"connect-target", [] { return connectsTarget(); }},
    {"connect-target-nonblocking", [] { return connectsTarget(SOCK_NONBLOCK); }},
    {"connect-name", connectsByName},
    {"connect-flipping", connectsFlipping},
    // By a link, in a directory that it may write to, to a socket that it may not connect to.
    {"connect-own-link",
     [] {
       std::string path = variable("HOSTILE_TARGET").substr(5);
       (void)::unlink(path.c_str());
       if (::symlink(variable("HOSTILE_OTHER").c_str(), path.c_str()) != 0)
         return "symlink " + result(-1);
       return connectsTarget();
     }},
    {"listen-tcp", listensOnTcp},
    {"send-udp", sendsUdp},
    {"send-udp-message", sendsUdpByMessage},
    {"send-unix", sendsUnix},
    {"bind-unix", bindsUnix},
    {"listen", [] { return listens(false); }},
    {"accept", [] { return listens(true); }},
    {"listening", listensOnAnything},
    // -- the kernel's odd corners --
    {"keyctl", [] { return call(SYS_keyctl, 0, -3, 1); }},
    {"add-key", [] { return call(SYS_add_key, "user", "hostile", "x", 1, -3); }},
    {"request-key", [] { return call(SYS_request_key, "user", "hostile", nullptr, 0); }},
    {"bpf",
     [] {
       bpf_attr attr{};
       return call(SYS_bpf, BPF_PROG_GET_NEXT_ID, &attr, sizeof attr);
     }},
    {"io-uring",
     [] {
       char parameters[120] = {};
       return result(Opened(::syscall(425, 1, parameters), -1));
     }},
    {"perf",
     [] {
       perf_event_attr attr{};
       attr.size = sizeof attr;
       attr.type = PERF_TYPE_SOFTWARE;
       attr.exclude_kernel = 1;
       return result(Opened(::syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0), -1));
     }},
    // Its own faults, which takes no privilege.
    {"userfaultfd", [] { return result(Opened(::syscall(SYS_userfaultfd, 1), -1)); }},
    {"memfd-secret", [] { return result(Opened(::syscall(447, 0), -1)); }},
    {"seccomp", filtersItself},
    {"seccomp-strict", [] { return call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT); }},
    {"landlock", [] { return call(444, nullptr, 0, 1); }},
    {"pdeathsig", [] { return result(::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)); }},
    {"dumpable", [] { return result(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); }},
    {"ptracer", [] { return result(::prctl(0x59616d61, host(), 0, 0, 0)); }},
    {"subreaper", [] { return result(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)); }},
    {"mdwe", [] { return result(::prctl(65, 0, 0, 0, 0)); }},
    {"user-dispatch", [] { return result(::prctl(59, 0, 0, 0, 0)); }},
    {"write-and-execute", [] { return becomesCode(Way::AtOnce); }},
    {"written-then-executed", [] { return becomesCode(Way::Mprotect); }},
    {"map-written", mapsWritten},
    {"pkey-mprotect", [] { return becomesCode(Way::PkeyMprotect); }},
    {"shm",
     [] {
       int id = ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
       std::string text = result(id);
       if (id >= 0) ::shmctl(id, IPC_RMID, nullptr);
       return text;
     }},
    {"shm-host",
     [] {
       void* memory = ::shmat(::atoi(variable("HOSTILE_SHM").c_str()), nullptr, 0);
       return result(memory == reinterpret_cast<void*>(-1) ? -1 : 0);
     }},
    {"queue-host",
     [] { return result(Opened(::mq_open(variable("HOSTILE_QUEUE").c_str(), O_RDWR), -1)); }},
    {"setuid", [] { return call(SYS_setuid, 0); }},
    {"setresuid", [] { return call(SYS_setresuid, 1, 1, 1); }},
    {"setgid", [] { return call(SYS_setgid, 0); }},
    {"setgroups", [] { return call(SYS_setgroups, 0, nullptr); }},
    {"capset", gainsCapability},
    {"raise-limit", raisesLimit},
    {"setsid", [] { return call(SYS_setsid); }},
    {"sethostname", [] { return result(::sethostname("hostile", 7)); }},
    {"set-clock", adjustsClock},
    // The wrong magic numbers: no machine goes down if it gets through.
    {"reboot", [] { return call(SYS_reboot, 1, 2, 3, 0); }},
    {"swapon", [] { return call(SYS_swapon, "/nonexistent", 0); }},
    {"load-kernel-module", [] { return call(SYS_finit_module, -1, "", 0); }},
    {"kexec", [] { return call(SYS_kexec_load, 0, 0, nullptr, 0); }},
    {"syslog", [] { return call(SYS_syslog, 9 /* SIZE_UNREAD */, nullptr, 0); }},
    {"fanotify", [] { return call(SYS_fanotify_init, 0, 0); }},
    {"inotify", [] { return call(SYS_inotify_init1, 0); }},
    {"tiocsti",
     [] {
       Opened terminal(::open(variable("HOSTILE_TERMINAL").c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
       return result(::ioctl(terminal, TIOCSTI, "x"));
     }},
    // The kernel reads 32 bits of the request; a filter that reads 64 takes it for another.
    {"tiocsti-high",
     [] {
       Opened terminal(::open(variable("HOSTILE_TERMINAL").c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
       return call(SYS_ioctl, static_cast<int>(terminal), 0x1'0000'0000UL | TIOCSTI, "x");
     }},
    {"fioasync",
     [] {
       int yes = 1;
       return result(::ioctl(1, FIOASYNC, &yes));
     }},
    {"unknown-syscall", [] { return call(500); }},
    // mseal of nothing: newer than the names that a policy can use.
    {"newer-syscall", [] { return call(462, 0L, 0L, 0L); }},
#if defined(__x86_64__)
    {"iopl", [] { return call(SYS_iopl, 3); }},
    {"modify-ldt", [] { return call(SYS_modify_ldt, 0, nullptr, 0); }},
    {"int80", interrupt80},
    {"x32", [] { return call(0x40000000 | SYS_getpid); }},
#endif
    {"forge", forges},
    // -- too much of everything --
    {"flood", floods},
    // To ever new addresses, and something else at last.
    {"flood-connects",
     [] {
       for (int i = 0; i < 500; ++i) (void)connectsUnix("/nowhere/" + std::to_string(i), false);
       return call(SYS_keyctl, 0, -3, 1);
     }},
    {"threads", threadBomb},
    {"descriptors-bomb", descriptorBomb},
    {"memory", memoryBomb},
    {"locked-memory", lockBomb},
    {"disk", diskBomb},
    // All that is to come: there may be too much already.
    {"mlockall",
     [] {
       std::string text = call(SYS_mlockall, MCL_FUTURE);
       (void)::syscall(SYS_munlockall);
       return text;
     }},
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
       rlimit limit{2, 2};
       ::getrlimit(RLIMIT_CORE, &limit);
       return std::string(limit.rlim_max <= 1 ? "none" : "some");
     }},
    {"no-new-privs", [] { return std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)); }},
  };
  return ALL;
}

std::string inPlace(const std::string& name) {
  auto found = attempts().find(name);
  return found == attempts().end() ? "no such attempt" : found->second();
}

// In a child, so that what it changes is the child's; where there can be none, in place.
std::string apart(const std::string& name) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return "no pipe";
  pid_t child = ::fork();
  if (child == 0) {
    std::string text = inPlace(name);
    (void)!::write(pipe[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string text;
  if (child < 0) {
    text = inPlace(name);
  } else {
    char part[256];
    for (ssize_t n; (n = ::read(pipe[0], part, sizeof part)) > 0;)
      text.append(part, static_cast<std::size_t>(n));
    ::waitpid(child, nullptr, 0);
    if (text.empty()) text = "dead";
  }
  ::close(pipe[0]);
  return text;
}

}  // namespace

std::string attempt(const std::string& name) {
  (void)supervisor();
  if (name != "listed") return inPlace(name);
  std::vector<std::string> names;
  {
    std::ifstream list(variable("HOSTILE_WRITABLE") + "/list");
    for (std::string one; list >> one;) names.push_back(one);
  }
  std::string all;
  for (auto& one : names) all += one + "=" + apart(one) + ";";
  return all;
}

}  // namespace bulkhead::hostile
