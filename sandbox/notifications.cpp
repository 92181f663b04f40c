// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/notifications.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <netdb.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "sandbox/syscall_groups.h"

namespace bulkhead::sandbox {
namespace {

// How many refusals of one system call are reported of one worker. One of each always is: a module
// can't hide what it tries behind a flood of something else.
constexpr std::size_t MAX_REPORTS = 50;
constexpr long SYS_OPENAT2 = 437;
constexpr long SYS_PIDFD_GETFD = 438;

std::string nameOf(int nr) {
  std::unique_ptr<char, decltype(&::free)> name(
      ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr), &::free);
  return name ? name.get() : "syscall " + std::to_string(nr);
}

// A socket in a directory that the module may write can be a link that the module made, to a socket
// that it may not have. There, no link is followed on the way down from what the policy names.
// Changes the address to the one to use instead, and yields the descriptor that it stands for; no
// descriptor where the address does as it is.
Result<Descriptor> withoutLinks(const FileChanges& changes, SocketAddress& address) {
  if (address.size <= offsetof(sockaddr_un, sun_path) || address.bytes.ss_family != AF_UNIX)
    return Descriptor();
  auto& un = reinterpret_cast<sockaddr_un&>(address.bytes);
  std::string path = spelling(
      {un.sun_path, ::strnlen(un.sun_path, address.size - offsetof(sockaddr_un, sun_path))});
  std::string top;
  // The outermost, by whichever name: what is further in can be replaced.
  for (auto at = path.find('/', 1); at != std::string::npos && top.empty();
       at = path.find('/', at + 1)) {
    std::unique_ptr<char, decltype(&::free)> real(::realpath(path.substr(0, at).c_str(), nullptr),
                                                  &::free);
    if (real && changes.isWritable(real.get())) top = path.substr(0, at + 1);
  }
  if (top.empty()) return Descriptor();
  Descriptor directory(::open(top.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return systemError("open", top);
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  Descriptor socket(static_cast<int>(
      ::syscall(SYS_OPENAT2, directory.get(), path.c_str() + top.size(), &how, sizeof how)));
  if (!socket) return systemError("openat2", path);
  un = {};
  un.sun_family = AF_UNIX;
  std::snprintf(un.sun_path, sizeof un.sun_path, "/proc/self/fd/%d", socket.get());
  address.size = sizeof un;
  return socket;
}

std::vector<SocketAddress> lookUp(const std::string& host, const std::string& port, int flags = 0) {
  std::vector<SocketAddress> found;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &list) != 0) return found;
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  for (addrinfo* a = list; a != nullptr; a = a->ai_next) {
    SocketAddress address;
    address.size = std::min<socklen_t>(a->ai_addrlen, sizeof address.bytes);
    std::memcpy(&address.bytes, a->ai_addr, address.size);
    found.push_back(address);
  }
  return found;
}

// Whom the C library in the worker asks for names, by TCP.
std::vector<SocketAddress> nameServers() {
  std::vector<SocketAddress> found;
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, address;
    if (!(words >> key >> address) || key != "nameserver") continue;
    auto one = lookUp(address, "53", AI_NUMERICHOST | AI_NUMERICSERV);
    found.insert(found.end(), one.begin(), one.end());
  }
  return found;
}

}  // namespace

Notifications::Notifications(Descriptor listener, Descriptor worker, const Policy& policy)
    : listener_(std::move(listener)),
      worker_(std::move(worker)),
      policy_(policy),
      changes_(policy.readWritePaths) {}

bool Notifications::stillThere(std::uint64_t id) const {
  return ::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

ReadMemory Notifications::memoryOf(const ::seccomp_notif& n) {
  return [thread = static_cast<pid_t>(n.pid)](std::uint64_t address, void* to, std::size_t size) {
    iovec local{to, size};
    iovec remote{reinterpret_cast<void*>(address), size};
    return ::process_vm_readv(thread, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
  };
}

void Notifications::answer(std::uint64_t id, int error, bool proceed) {
  seccomp_notif_resp response{};
  response.id = id;
  response.error = -error;
  if (proceed) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  // Fails when the caller is gone, and then there is nobody to answer.
  (void)::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void Notifications::resolve() {
  // Names change their addresses now and then; asking again each time would stall the worker.
  auto now = std::chrono::steady_clock::now();
  if (now < resolveAgain_) return;
  bool complete = true;
  // Nothing else is answered meanwhile: a second for each server, and each is asked once.
  (void)::setenv("RES_OPTIONS", "timeout:1 attempts:1", 1);
  addresses_ = nameServers();
  for (const Destination& d : policy_.connect) {
    // A network is no name.
    if (d.kind != Destination::Kind::Tcp || d.host.find('/') != std::string::npos) continue;
    auto found = lookUp(d.host, std::to_string(d.port));
    complete = complete && !found.empty();
    addresses_.insert(addresses_.end(), found.begin(), found.end());
  }
  resolveAgain_ = std::chrono::steady_clock::now() + std::chrono::seconds(complete ? 60 : 5);
}

Descriptor takenFrom(int process, int number) {
  return Descriptor(static_cast<int>(::syscall(SYS_PIDFD_GETFD, process, number, 0)));
}

bool Notifications::changeFile(const ::seccomp_notif& n, const std::string& name) {
  const auto& args = n.data.args;
  Descriptor file;
  if (name == "chmod" || name == "fchmodat") {
    auto path = textAt(memoryOf(n), args[name == "chmod" ? 0 : 1]);
    if (!path) return false;
    if (!path->starts_with('/')) {
      if (name == "fchmodat" && static_cast<int>(args[0]) != AT_FDCWD) return false;
      path = "/proc/" + std::to_string(n.pid) + "/cwd/" + *path;
    }
    file.reset(::open(path->c_str(), O_PATH | O_CLOEXEC));
  } else {
    file = takenFrom(worker_.get(), static_cast<int>(args[0]));
  }
  // What was read was this caller's only if it still waits.
  if (!file || !stillThere(n.id)) return false;
  auto error =
      name == "fchown"
          ? changes_.setOwner(file.get(), static_cast<uid_t>(args[1]), static_cast<gid_t>(args[2]))
          : changes_.setMode(file.get(), static_cast<mode_t>(args[name == "fchmodat" ? 2 : 1]));
  if (!error) return false;
  answer(n.id, *error);
  return true;
}

bool Notifications::connect(const ::seccomp_notif& n) {
  auto address = addressAt(memoryOf(n), n.data.args[1], n.data.args[2]);
  if (!address) {
    answer(n.id, EFAULT);
    return true;
  }
  if (address->bytes.ss_family == AF_INET || address->bytes.ss_family == AF_INET6) resolve();
  if (!mayConnect(policy_, addresses_, *address)) {
    if (!isQuiet(*address)) return false;
    answer(n.id, ENOENT);
    return true;
  }
  auto target = withoutLinks(changes_, *address);
  if (!target) {
    if (target.error().code == ELOOP || target.error().code == EXDEV) return false;
    answer(n.id, target.error().code);
    return true;
  }
  Descriptor socket = takenFrom(worker_.get(), static_cast<int>(n.data.args[0]));
  if (!socket) {
    answer(n.id, errno);
    return true;
  }
  // The memory and the descriptor were this caller's only if it still waits.
  if (!stillThere(n.id)) return true;

  // The flags are shared with the worker's own descriptor, and its thread waits in here: a
  // connection that takes its time is finished later without holding up the supervisor.
  int flags = ::fcntl(socket.get(), F_GETFL);
  bool blocking = (flags & O_NONBLOCK) == 0;
  if (blocking) (void)::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK);
  int r = ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address->bytes), address->size);
  int error = r == 0 ? 0 : errno;
  if (blocking && error == EINPROGRESS) {
    pending_.push_back({n.id, std::move(socket), flags});
    return true;
  }
  if (blocking) (void)::fcntl(socket.get(), F_SETFL, flags);
  answer(n.id, error);
  return true;
}

std::vector<int> Notifications::pending() const {
  std::vector<int> all;
  for (auto& one : pending_) all.push_back(one.socket.get());
  return all;
}

void Notifications::finish(int descriptor) {
  auto found = std::find_if(pending_.begin(), pending_.end(),
                            [&](const Pending& one) { return one.socket.get() == descriptor; });
  if (found == pending_.end()) return;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  (void)::fcntl(descriptor, F_SETFL, found->flags);
  answer(found->id, error);
  pending_.erase(found);
}

std::optional<Violation> Notifications::handle(
    const std::function<std::string(pid_t)>& functionOf) {
  seccomp_notif n{};
  if (::ioctl(listener_.get(), SECCOMP_IOCTL_NOTIF_RECV, &n) != 0) return std::nullopt;
  std::string name = nameOf(n.data.nr);
  if (name == "connect" && connect(n)) return std::nullopt;
  if (isFileChange(name) && policy_.syscalls.contains(name) && changeFile(n, name))
    return std::nullopt;

  ++count_;
  Violation violation;
  violation.syscall = name;
  violation.thread = static_cast<pid_t>(n.pid);
  // Who learns a policy wants every path and address, not one for each place that asks.
  bool named = name == "connect" || namesPath(name);
  bool every = policy_.violationAction == ViolationAction::Log && named;
  violation.function = functionOf(violation.thread);
  auto& seen = seen_[n.data.nr];
  violation.repeated = seen.size() >= MAX_REPORTS && !every;
  if (!violation.repeated) {
    // C libraries have one place for all connections: what it is about counts as well.
    if (named) violation.arguments = argumentsAsText(name, std::to_array(n.data.args), memoryOf(n));
    std::string about = violation.arguments;
    if (auto quote = about.find('"'); quote != std::string::npos)
      about = about.substr(quote, about.rfind('"') - quote);
    if (!every)
      violation.repeated = !seen.emplace(n.data.instruction_pointer, std::move(about)).second;
    violation.last = !violation.repeated && seen.size() == MAX_REPORTS;
  }
  if (!violation.repeated) {
    if (!named)
      violation.arguments = argumentsAsText(name, std::to_array(n.data.args), memoryOf(n));
    std::ifstream maps("/proc/" + std::to_string(n.pid) + "/maps");
    violation.location = locationIn(maps, n.data.instruction_pointer);
  }
  // Logging only is for finding a policy: it lets the call through and enforces nothing.
  // One that is to be killed for it does not get to see an answer.
  if (policy_.violationAction == ViolationAction::Log && whyNeverGrantable(name).empty())
    answer(n.id, 0, true);
  else if (policy_.violationAction != ViolationAction::Kill)
    answer(n.id, name == "connect" ? EACCES : EPERM);
  return violation;
}

}  // namespace bulkhead::sandbox
