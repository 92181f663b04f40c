// SPDX-License-Identifier: BSD-2-Clause
//
// Servers on loopback, and the template of a policy that reaches one.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/policies/fixture.h"

namespace bulkhead::test {

inline sockaddr_in loopback(unsigned port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// A server on loopback that answers nobody.
class Listener {
 public:
  explicit Listener(unsigned port = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(fd_, 8) == 0 &&
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0)
      port_ = ntohs(address.sin_port);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { ::close(fd_); }
  unsigned number() const { return port_; }
  std::string port() const { return std::to_string(port_); }
  bool connected() const {
    pollfd one{fd_, POLLIN, 0};
    return ::poll(&one, 1, 0) > 0;
  }

 private:
  int fd_;
  unsigned port_ = 0;
};

inline bool listens(unsigned port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(port);
  bool yes = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return yes;
}

/// network-hsm.policy as an operator takes it: a copy under the module's name, the marked lines
/// changed.
inline std::string filledIn(const std::vector<std::pair<std::string, std::string>>& changes) {
  std::string text;
  for (const std::string& directory : sandbox::policyDirectories())
    if (text.empty()) text = readFile(directory + "/network-hsm.policy");
  for (auto& [marked, line] : changes) {
    auto at = text.find("\n#" + marked);
    EXPECT_NE(at, std::string::npos) << "no line to change: #" << marked;
    if (at != std::string::npos) text.replace(at + 1, text.find('\n', at + 1) - at - 1, line);
  }
  return text;
}

}  // namespace bulkhead::test
