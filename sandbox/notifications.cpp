// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/notifications.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "sandbox/syscall_groups.h"

namespace bulkhead::sandbox {
namespace {

constexpr long SYS_PIDFD_GETFD = 438;

std::string hex(std::uint64_t value) {
  char text[2 + 16 + 1];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

// What a path holds that is not printable is not worth a forged log line.
std::string printable(std::string_view text) {
  std::string out;
  for (char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

std::string nameOf(int nr) {
  std::unique_ptr<char, decltype(&::free)> name(
      ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr), &::free);
  return name ? name.get() : "syscall " + std::to_string(nr);
}

// Which argument of a system call is a path, for those that modules are seen to try.
std::optional<unsigned> pathArgument(const std::string& name) {
  if (name == "open" || name == "stat" || name == "lstat" || name == "access" || name == "execve" ||
      name == "mkdir" || name == "rmdir" || name == "unlink" || name == "rename" ||
      name == "chmod" || name == "chown" || name == "mount" || name == "umount2" ||
      name == "chroot" || name == "mknod" || name == "symlink" || name == "link" ||
      name == "readlink" || name == "truncate" || name == "swapon")
    return 0;
  if (name == "openat" || name == "openat2" || name == "newfstatat" || name == "faccessat2" ||
      name == "faccessat" || name == "mkdirat" || name == "unlinkat" || name == "renameat2" ||
      name == "renameat" || name == "execveat" || name == "mknodat" || name == "linkat" ||
      name == "fchmodat" || name == "fchownat" || name == "readlinkat")
    return 1;
  return std::nullopt;
}

// Services that C libraries ask in passing and do without: for each line of a log, for each name of
// a user or host.
bool isQuiet(std::string_view path) {
  constexpr std::string_view WITHIN[] = {
      "/dev/log",    "/run/systemd/journal/", "/run/nscd/socket",     "/run/systemd/userdb/",
      "/run/nslcd/", "/var/lib/sss/pipes/",   "/run/samba/winbindd/",
  };
  if (path.starts_with("/var/run/")) path.remove_prefix(4);
  return std::any_of(std::begin(WITHIN), std::end(WITHIN),
                     [&](std::string_view service) { return path.starts_with(service); });
}

std::string describe(const sockaddr_storage& address, socklen_t size) {
  char text[INET6_ADDRSTRLEN];
  if (size < sizeof address.ss_family) return "no address";
  switch (address.ss_family) {
    case AF_UNIX: {
      auto& un = reinterpret_cast<const sockaddr_un&>(address);
      std::size_t room = size - offsetof(sockaddr_un, sun_path);
      if (size <= offsetof(sockaddr_un, sun_path)) return "unix:(unnamed)";
      if (un.sun_path[0] == '\0')
        return "unix:@" + printable(std::string_view(un.sun_path + 1, room - 1));
      return "unix:" + printable(std::string_view(un.sun_path, ::strnlen(un.sun_path, room)));
    }
    case AF_INET: {
      auto& in = reinterpret_cast<const sockaddr_in&>(address);
      ::inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
      return std::string("inet:") + text + ":" + std::to_string(ntohs(in.sin_port));
    }
    case AF_INET6: {
      auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
      ::inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
      return std::string("inet6:[") + text + "]:" + std::to_string(ntohs(in6.sin6_port));
    }
    default:
      return "family " + std::to_string(address.ss_family);
  }
}

// "10.0.0.0/8" against an address, or a bare address.
bool inNetwork(const std::string& network, const sockaddr_storage& address) {
  auto slash = network.find('/');
  std::string base = network.substr(0, slash);
  unsigned char want[16], have[16];
  unsigned bits;
  if (address.ss_family == AF_INET && ::inet_pton(AF_INET, base.c_str(), want) == 1) {
    std::memcpy(have, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
    bits = 32;
  } else if (address.ss_family == AF_INET6 && ::inet_pton(AF_INET6, base.c_str(), want) == 1) {
    std::memcpy(have, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
    bits = 128;
  } else {
    return false;
  }
  if (slash != std::string::npos)
    bits = std::min(bits,
                    static_cast<unsigned>(std::strtoul(network.c_str() + slash + 1, nullptr, 10)));
  if (std::memcmp(want, have, bits / 8) != 0) return false;
  unsigned rest = bits % 8;
  return rest == 0 || (want[bits / 8] >> (8 - rest)) == (have[bits / 8] >> (8 - rest));
}

std::uint16_t portOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET)
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

// One spelling for what links make the same on every system.
std::string spelling(std::string path) {
  for (auto [link, target] :
       {std::pair{"/var/run/", "/run/"}, std::pair{"/var/lock/", "/run/lock/"}})
    if (path.starts_with(link)) path.replace(0, std::strlen(link), target);
  return path;
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

bool Notifications::read(pid_t thread, std::uint64_t address, void* to, std::size_t size) const {
  iovec local{to, size};
  iovec remote{reinterpret_cast<void*>(address), size};
  return ::process_vm_readv(thread, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

std::optional<std::string> Notifications::textAt(pid_t thread, std::uint64_t address) const {
  std::string text;
  // Up to the end of a page at a time: the next one need not be there.
  while (text.size() < 4096) {
    char part[256];
    std::size_t room = std::min<std::size_t>(sizeof part, 4096 - (address % 4096));
    if (!read(thread, address, part, room)) return std::nullopt;
    std::size_t length = ::strnlen(part, room);
    text.append(part, length);
    if (length < room) return text;
    address += room;
  }
  return text;
}

std::string Notifications::locationOf(pid_t thread, std::uint64_t instruction) const {
  std::string path = "/proc/" + std::to_string(thread) + "/maps";
  std::unique_ptr<FILE, decltype(&::fclose)> maps(::fopen(path.c_str(), "re"), &::fclose);
  if (!maps) return hex(instruction);
  char line[4352];
  while (::fgets(line, sizeof line, maps.get()) != nullptr) {
    unsigned long long start, end, offset;
    int file = 0;
    if (std::sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &file) < 3)
      continue;
    if (instruction < start || instruction >= end) continue;
    std::string_view name(line + file);
    while (!name.empty() && (name.back() == '\n' || name.back() == ' ')) name.remove_suffix(1);
    auto slash = name.rfind('/');
    if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
    std::string base = name.empty() ? "anonymous memory" : printable(name);
    return base + "+" + hex(instruction - start + offset);
  }
  return hex(instruction);
}

std::string Notifications::argumentsOf(const ::seccomp_notif& n, const std::string& name) const {
  pid_t thread = static_cast<pid_t>(n.pid);
  if (name == "connect") {
    sockaddr_storage address{};
    auto size = static_cast<socklen_t>(std::min<std::uint64_t>(n.data.args[2], sizeof address));
    if (read(thread, n.data.args[1], &address, size)) return describe(address, size);
  }
  auto path = pathArgument(name);
  std::string text;
  for (unsigned i = 0; i < 6; ++i) {
    if (!text.empty()) text += ", ";
    std::optional<std::string> string;
    if (path == i) string = textAt(thread, n.data.args[i]);
    text += string ? "\"" + printable(*string) + "\"" : hex(n.data.args[i]);
  }
  return text;
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
  if (!addresses_.empty() && now - resolved_ < std::chrono::minutes(1)) return;
  resolved_ = now;
  addresses_.clear();
  for (const Destination& d : policy_.connect) {
    if (d.kind != Destination::Kind::Tcp) continue;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (::getaddrinfo(d.host.c_str(), std::to_string(d.port).c_str(), &hints, &list) != 0) continue;
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
    for (addrinfo* a = list; a != nullptr; a = a->ai_next) {
      auto bytes = reinterpret_cast<const std::byte*>(a->ai_addr);
      addresses_.emplace_back(bytes, bytes + a->ai_addrlen);
    }
  }
}

bool Notifications::allowed(const sockaddr_storage& address, socklen_t size) const {
  if (size < sizeof address.ss_family) return false;
  if (address.ss_family == AF_UNIX) {
    if (policy_.network == NetworkAccess::None) return false;
    auto& un = reinterpret_cast<const sockaddr_un&>(address);
    if (size <= offsetof(sockaddr_un, sun_path) || un.sun_path[0] == '\0') return false;
    std::string path(un.sun_path, ::strnlen(un.sun_path, size - offsetof(sockaddr_un, sun_path)));
    return std::any_of(policy_.connect.begin(), policy_.connect.end(), [&](const Destination& d) {
      return d.kind == Destination::Kind::Unix && spelling(d.path) == spelling(path);
    });
  }
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return false;
  if (size < sizeof(sockaddr_in)) return false;
  if (policy_.network != NetworkAccess::Client) return false;
  std::uint16_t port = portOf(address);
  for (const Destination& d : policy_.connect)
    if (d.kind == Destination::Kind::Tcp && d.port == port && inNetwork(d.host, address))
      return true;
  auto same = [&](const std::vector<std::byte>& a) {
    sockaddr_storage other{};
    std::memcpy(&other, a.data(), std::min(a.size(), sizeof other));
    if (other.ss_family != address.ss_family || portOf(other) != port) return false;
    if (address.ss_family == AF_INET)
      return reinterpret_cast<const sockaddr_in&>(other).sin_addr.s_addr ==
             reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr;
    return std::memcmp(&reinterpret_cast<const sockaddr_in6&>(other).sin6_addr,
                       &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16) == 0;
  };
  return std::any_of(addresses_.begin(), addresses_.end(), same);
}

Descriptor Notifications::descriptorOf(std::uint64_t number) const {
  return Descriptor(
      static_cast<int>(::syscall(SYS_PIDFD_GETFD, worker_.get(), static_cast<int>(number), 0)));
}

bool Notifications::changeFile(const ::seccomp_notif& n, const std::string& name) {
  const auto& args = n.data.args;
  Descriptor file;
  if (name == "chmod" || name == "fchmodat") {
    auto path = textAt(static_cast<pid_t>(n.pid), args[name == "chmod" ? 0 : 1]);
    if (!path) return false;
    if (!path->starts_with('/')) {
      if (name == "fchmodat" && static_cast<int>(args[0]) != AT_FDCWD) return false;
      path = "/proc/" + std::to_string(n.pid) + "/cwd/" + *path;
    }
    file.reset(::open(path->c_str(), O_PATH | O_CLOEXEC));
  } else {
    file = descriptorOf(args[0]);
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
  sockaddr_storage address{};
  auto size = static_cast<socklen_t>(n.data.args[2]);
  if (n.data.args[2] > sizeof address ||
      !read(static_cast<pid_t>(n.pid), n.data.args[1], &address, size)) {
    answer(n.id, EFAULT);
    return true;
  }
  if (size >= sizeof address.ss_family && address.ss_family != AF_UNIX) resolve();
  if (!allowed(address, size)) {
    auto text = describe(address, size);
    if (text.starts_with("unix:") && isQuiet(std::string_view(text).substr(5))) {
      answer(n.id, ENOENT);
      return true;
    }
    return false;
  }
  Descriptor socket = descriptorOf(n.data.args[0]);
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
  int r = ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), size);
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
  auto [seen, fresh] = seen_.try_emplace({n.data.nr, n.data.instruction_pointer}, 0);
  // Who learns a policy wants every path and address, not one for each place that asks.
  bool every = policy_.violationAction == ViolationAction::Log &&
               (name == "connect" || pathArgument(name).has_value());
  violation.function = functionOf(violation.thread);
  violation.repeated = !fresh && !every;
  ++seen->second;
  // A module that varies its place must not fill the supervisor's memory.
  if (seen_.size() > 4096) seen_.clear();
  if (!violation.repeated) {
    violation.arguments = argumentsOf(n, name);
    violation.location = locationOf(static_cast<pid_t>(n.pid), n.data.instruction_pointer);
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
