// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/syscall_arguments.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace bulkhead::sandbox {
namespace {

constexpr std::size_t LONGEST_PATH = 4096;

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

std::optional<unsigned> pathArgument(const std::string& name) {
  if (name == "open" || name == "stat" || name == "lstat" || name == "access" || name == "execve" ||
      name == "mkdir" || name == "rmdir" || name == "unlink" || name == "rename" ||
      name == "chmod" || name == "chown" || name == "mount" || name == "umount2" ||
      name == "chroot" || name == "mknod" || name == "symlink" || name == "link" ||
      name == "readlink" || name == "truncate" || name == "swapon")
    return 0;
  if (name == "openat" || name == "newfstatat" || name == "faccessat2" || name == "faccessat" ||
      name == "mkdirat" || name == "unlinkat" || name == "renameat2" || name == "renameat" ||
      name == "execveat" || name == "mknodat" || name == "linkat" || name == "fchmodat" ||
      name == "fchownat" || name == "readlinkat")
    return 1;
  return std::nullopt;
}

const sockaddr_in& inet(const SocketAddress& a) {
  return reinterpret_cast<const sockaddr_in&>(a.bytes);
}
const sockaddr_in6& inet6(const SocketAddress& a) {
  return reinterpret_cast<const sockaddr_in6&>(a.bytes);
}

// Without a family it is none.
int familyOf(const SocketAddress& a) {
  return a.size < sizeof a.bytes.ss_family ? -1 : a.bytes.ss_family;
}

std::uint16_t portOf(const SocketAddress& a) {
  return ntohs(familyOf(a) == AF_INET ? inet(a).sin_port : inet6(a).sin6_port);
}

// The name of a unix socket with its terminator left out; of an abstract one with its first zero.
std::string_view nameOf(const SocketAddress& a) {
  if (a.size <= offsetof(sockaddr_un, sun_path)) return {};
  auto name = reinterpret_cast<const char*>(&a.bytes) + offsetof(sockaddr_un, sun_path);
  std::size_t room = a.size - offsetof(sockaddr_un, sun_path);
  return {name, name[0] == '\0' ? room : ::strnlen(name, room)};
}

// "10.0.0.0/8" against an address, or a bare address.
bool inNetwork(const std::string& network, const SocketAddress& address) {
  auto slash = network.find('/');
  std::string base = network.substr(0, slash);
  unsigned char want[16], have[16];
  unsigned bits;
  if (familyOf(address) == AF_INET && ::inet_pton(AF_INET, base.c_str(), want) == 1) {
    std::memcpy(have, &inet(address).sin_addr, 4);
    bits = 32;
  } else if (familyOf(address) == AF_INET6 && ::inet_pton(AF_INET6, base.c_str(), want) == 1) {
    std::memcpy(have, &inet6(address).sin6_addr, 16);
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

bool isSame(const SocketAddress& a, const SocketAddress& b) {
  if (familyOf(a) != familyOf(b) || portOf(a) != portOf(b)) return false;
  if (familyOf(a) == AF_INET) return inet(a).sin_addr.s_addr == inet(b).sin_addr.s_addr;
  return std::memcmp(&inet6(a).sin6_addr, &inet6(b).sin6_addr, sizeof(in6_addr)) == 0;
}

}  // namespace

std::string spelling(std::string path) {
  for (auto [link, target] :
       {std::pair{"/var/run/", "/run/"}, std::pair{"/var/lock/", "/run/lock/"}})
    if (path.starts_with(link)) path.replace(0, std::strlen(link), target);
  return path;
}

std::optional<std::string> textAt(const ReadMemory& read, std::uint64_t address) {
  std::string text;
  // Up to the end of a page at a time: the next one need not be there.
  while (text.size() < LONGEST_PATH) {
    char part[256];
    std::size_t room = std::min<std::size_t>(sizeof part, 4096 - (address % 4096));
    if (!read(address, part, room)) return std::nullopt;
    std::size_t length = ::strnlen(part, room);
    text.append(part, length);
    if (length < room) return text;
    address += room;
  }
  return text;
}

std::optional<SocketAddress> addressAt(const ReadMemory& read, std::uint64_t at,
                                       std::uint64_t size) {
  SocketAddress address;
  if (size > sizeof address.bytes || !read(at, &address.bytes, size)) return std::nullopt;
  address.size = static_cast<socklen_t>(size);
  return address;
}

std::string describe(const SocketAddress& address) {
  char text[INET6_ADDRSTRLEN];
  switch (familyOf(address)) {
    case -1:
      return "no address";
    case AF_UNIX: {
      std::string_view name = nameOf(address);
      if (name.empty()) return "unix:(unnamed)";
      if (name[0] == '\0') return "unix:@" + printable(name.substr(1));
      return "unix:" + printable(name);
    }
    case AF_INET:
      ::inet_ntop(AF_INET, &inet(address).sin_addr, text, sizeof text);
      return std::string("inet:") + text + ":" + std::to_string(portOf(address));
    case AF_INET6:
      ::inet_ntop(AF_INET6, &inet6(address).sin6_addr, text, sizeof text);
      return std::string("inet6:[") + text + "]:" + std::to_string(portOf(address));
    default:
      return "family " + std::to_string(familyOf(address));
  }
}

bool isQuiet(const SocketAddress& address) {
  if (familyOf(address) != AF_UNIX) return false;
  std::string_view path = nameOf(address);
  constexpr std::string_view WITHIN[] = {
      "/dev/log",    "/run/systemd/journal/", "/run/nscd/socket",     "/run/systemd/userdb/",
      "/run/nslcd/", "/var/lib/sss/pipes/",   "/run/samba/winbindd/",
  };
  if (path.starts_with("/var/run/")) path.remove_prefix(4);
  return std::any_of(std::begin(WITHIN), std::end(WITHIN),
                     [&](std::string_view service) { return path.starts_with(service); });
}

bool mayConnect(const Policy& policy, const std::vector<SocketAddress>& resolved,
                const SocketAddress& to) {
  if (familyOf(to) == AF_UNIX) {
    if (policy.network == NetworkAccess::None) return false;
    std::string path(nameOf(to));
    if (path.empty() || path[0] == '\0') return false;
    return std::any_of(policy.connect.begin(), policy.connect.end(), [&](const Destination& d) {
      return d.kind == Destination::Kind::Unix && spelling(d.path) == spelling(path);
    });
  }
  if (familyOf(to) != AF_INET && familyOf(to) != AF_INET6) return false;
  if (to.size < sizeof(sockaddr_in)) return false;
  if (policy.network != NetworkAccess::Client) return false;
  for (const Destination& d : policy.connect)
    if (d.kind == Destination::Kind::Tcp && d.port == portOf(to) && inNetwork(d.host, to))
      return true;
  return std::any_of(resolved.begin(), resolved.end(),
                     [&](const SocketAddress& one) { return isSame(one, to); });
}

bool namesPath(const std::string& syscall) {
  return pathArgument(syscall).has_value();
}

std::string argumentsAsText(const std::string& syscall,
                            const std::array<unsigned long long, 6>& arguments,
                            const ReadMemory& read) {
  if (syscall == "connect") {
    if (auto address = addressAt(read, arguments[1], arguments[2])) return describe(*address);
  }
  auto path = pathArgument(syscall);
  std::string text;
  for (unsigned i = 0; i < 6; ++i) {
    if (!text.empty()) text += ", ";
    std::optional<std::string> string;
    if (path == i) string = textAt(read, arguments[i]);
    text += string ? "\"" + printable(*string) + "\"" : hex(arguments[i]);
  }
  return text;
}

std::string locationIn(std::istream& maps, std::uint64_t instruction) {
  for (std::string line; std::getline(maps, line);) {
    unsigned long long start, end, offset;
    int file = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &file) <
            3 ||
        file == 0)
      continue;
    if (instruction < start || instruction >= end) continue;
    std::string_view name = std::string_view(line).substr(static_cast<std::size_t>(file));
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    auto slash = name.rfind('/');
    if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
    std::string base = name.empty() ? "anonymous memory" : printable(name);
    return base + "+" + hex(instruction - start + offset);
  }
  return hex(instruction);
}

}  // namespace bulkhead::sandbox
