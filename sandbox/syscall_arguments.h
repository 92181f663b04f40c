// SPDX-License-Identifier: BSD-2-Clause
//
// What a system call that was refused was about, as text for a log; and whether a policy has the
// address that it wants to connect to. Registers and memory are the worker's, and may hold
// anything. Nothing here asks the kernel: what is read, is read through what the caller hands in.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <functional>
#include <istream>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/policy.h"

namespace bulkhead::sandbox {

/// Reads `size` bytes at an address of the thread that made the call; false when it has not all of
/// them.
using ReadMemory = std::function<bool(std::uint64_t address, void* to, std::size_t size)>;

/// A socket address: `size` bytes, zeroes behind them.
struct SocketAddress {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

/// One spelling for what links make the same on every system.
std::string spelling(std::string path);

/// The text that ends with a zero byte; nothing when it is not all there. Cut off where a path
/// ends.
std::optional<std::string> textAt(const ReadMemory& read, std::uint64_t address);

/// The address that a call was given; nothing when it is not there, or larger than addresses are.
std::optional<SocketAddress> addressAt(const ReadMemory& read, std::uint64_t at,
                                       std::uint64_t size);

/// "unix:/run/x", "inet:192.0.2.1:80". Control characters don't get into a log.
std::string describe(const SocketAddress& address);

/// Services that C libraries ask in passing and do without: for each line of a log, for each name
/// of a user or host.
bool isQuiet(const SocketAddress& address);

/// Whether Network= and Connect= have the address. `resolved` is what the names in Connect= stand
/// for, ports included.
bool mayConnect(const Policy& policy, const std::vector<SocketAddress>& resolved,
                const SocketAddress& to);

/// Whether that system call names a path, for those that modules are seen to try.
bool namesPath(const std::string& syscall);

/// The arguments of a call as text, paths and addresses resolved.
std::string argumentsAsText(const std::string& syscall,
                            const std::array<unsigned long long, 6>& arguments,
                            const ReadMemory& read);

/// "library+0x123", by the text of /proc/PID/maps.
std::string locationIn(std::istream& maps, std::uint64_t instruction);

}  // namespace bulkhead::sandbox
