// SPDX-License-Identifier: BSD-2-Clause
//
// Refused system calls, whose registers and memory are the worker's: what the supervisor makes of
// them reads nothing that is not there, forges no line of a log, and lets through no address that
// the policy does not name.
#include <netinet/in.h>
#include <sys/un.h>

#include <fstream>
#include <sstream>

#include "sandbox/syscall_arguments.h"
#include "tests/fuzz/scenario.h"

using namespace bulkhead::fuzz;
namespace sandbox = bulkhead::sandbox;

namespace {

constexpr const char* SYSCALLS[] = {"connect", "openat", "open",   "execve",
                                    "mount",   "socket", "ptrace", "newfstatat"};

struct Call {
  std::uint8_t syscall;
  std::uint8_t network;
  std::uint16_t memory;  // bytes of memory that follow; the rest is /proc/PID/maps
  std::uint32_t unused;
  std::array<unsigned long long, 6> arguments;
  std::uint64_t base;  // where the memory lies
  std::uint64_t instruction;
};

sandbox::Policy policyFor(std::uint8_t network) {
  sandbox::Policy policy;
  constexpr sandbox::NetworkAccess ALL[] = {
      sandbox::NetworkAccess::None, sandbox::NetworkAccess::Unix, sandbox::NetworkAccess::Client};
  policy.network = ALL[network % 3];
  using Kind = sandbox::Destination::Kind;
  policy.connect = {{Kind::Unix, "/run/pcscd/pcscd.comm", {}, 0},
                    {Kind::Tcp, {}, "10.0.0.0/9", 443},
                    {Kind::Tcp, {}, "2001:db8::/33", 443},
                    {Kind::Tcp, {}, "hsm.example", 1792}};
  return policy;
}

// What hsm.example stands for.
sandbox::SocketAddress resolved() {
  sandbox::SocketAddress address;
  auto& in = reinterpret_cast<sockaddr_in&>(address.bytes);
  in.sin_family = AF_INET;
  in.sin_port = htons(1792);
  in.sin_addr.s_addr = htonl(0xc0000201);
  address.size = sizeof in;
  return address;
}

// By the text of an address and nothing else, whether that policy may have it.
bool expected(sandbox::NetworkAccess network, const std::string& text) {
  if (network == sandbox::NetworkAccess::None) return false;
  if (text == "unix:/run/pcscd/pcscd.comm" || text == "unix:/var/run/pcscd/pcscd.comm") return true;
  if (network != sandbox::NetworkAccess::Client) return false;
  if (text == "inet:192.0.2.1:1792") return true;
  unsigned second = 0, port = 0, a, b;
  if (std::sscanf(text.c_str(), "inet:10.%u.%u.%u:%u", &second, &a, &b, &port) == 4)
    return second < 128 && port == 443;
  return text.starts_with("inet6:[2001:db8:") && text.ends_with("]:443");
}

void checkText(const std::string& text, std::size_t most) {
  if (text.empty() || text.size() > most) broken("a text that is too long, or none");
  for (char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      broken("a control character gets into the log");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  writeSeeds([](auto&& write) {
    std::ifstream own("/proc/self/maps");
    std::stringstream maps;
    maps << own.rdbuf();
    auto put = [&](std::uint8_t syscall, std::uint8_t network, const void* memory, std::size_t size,
                   std::array<unsigned long long, 6> arguments) {
      Call head{syscall, network, static_cast<std::uint16_t>(size), 0, arguments, 0x10000, 0};
      std::sscanf(maps.str().c_str(), "%lx-", &head.instruction);
      std::string all(reinterpret_cast<const char*>(&head), sizeof head);
      all.append(static_cast<const char*>(memory), size);
      all += maps.str().substr(0, 1500);
      write(all.data(), all.size());
    };
    for (const char* path : {"/run/pcscd/pcscd.comm", "/dev/log", "/var/run/nscd/socket"}) {
      sockaddr_un un{};
      un.sun_family = AF_UNIX;
      std::strcpy(un.sun_path, path);
      put(0, 1, &un, sizeof un, {3, 0x10000, sizeof un});
    }
    sockaddr_un abstract{};
    abstract.sun_family = AF_UNIX;
    std::strcpy(abstract.sun_path + 1, "/tmp/.X11-unix/X0");
    put(0, 1, &abstract, 24, {3, 0x10000, 24});
    auto hsm = resolved();
    put(0, 2, &hsm.bytes, hsm.size, {3, 0x10000, hsm.size});
    reinterpret_cast<sockaddr_in&>(hsm.bytes).sin_addr.s_addr = htonl(0x0a010203);
    reinterpret_cast<sockaddr_in&>(hsm.bytes).sin_port = htons(443);
    put(0, 2, &hsm.bytes, hsm.size, {3, 0x10000, hsm.size});
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(443);
    std::memcpy(&in6.sin6_addr, "\x20\x01\x0d\xb8", 4);
    put(0, 2, &in6, sizeof in6, {3, 0x10000, sizeof in6});
    put(1, 0, "/etc/shadow", 12, {~0ULL, 0x10000, 0});
    put(3, 0, "/bin/sh", 8, {0x10000, 0, 0});
    put(6, 0, "", 0, {16, 1, 2, 3, 4, 5});
  });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Call head;
  if (size < sizeof head) return 0;
  std::memcpy(&head, data, sizeof head);
  data += sizeof head;
  size -= sizeof head;
  std::size_t there = std::min<std::size_t>(head.memory, size);
  // Of exactly that size, so that the address sanitizer sees a byte too much.
  auto memory = std::make_unique<std::uint8_t[]>(there);
  if (there != 0) std::memcpy(memory.get(), data, there);
  auto read = [&](std::uint64_t address, void* to, std::size_t wanted) {
    if (wanted == 0) return true;
    if (address < head.base || address - head.base >= there ||
        wanted > there - (address - head.base))
      return false;
    std::memcpy(to, memory.get() + (address - head.base), wanted);
    return true;
  };
  std::string name = SYSCALLS[head.syscall % std::size(SYSCALLS)];
  checkText(sandbox::argumentsAsText(name, head.arguments, read), 4096 + 256 + 128);

  std::istringstream maps(std::string(reinterpret_cast<const char*>(data + there), size - there));
  checkText(sandbox::locationIn(maps, head.instruction), size + 32);

  if (auto address = sandbox::addressAt(read, head.arguments[1], head.arguments[2])) {
    std::string text = sandbox::describe(*address);
    checkText(text, 160);
    sandbox::Policy policy = policyFor(head.network);
    if (sandbox::mayConnect(policy, {resolved()}, *address) && !expected(policy.network, text))
      broken("an address is let through that the policy does not name");
    (void)sandbox::isQuiet(*address);
  }
  return 0;
}
