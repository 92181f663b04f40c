// SPDX-License-Identifier: BSD-2-Clause
//
// System calls by intent: the groups that a policy can grant, those that no policy can, and those
// that libraries try in vain without anybody needing to hear of it. Plain tables; every line has
// its reason. What a granted call may do (which sockets, which flags) is the filter's matter.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::sandbox {

/// Some system calls, separated by blanks, and why they stand where they stand.
struct SyscallLine {
  std::string_view names;
  std::string_view reason;
};

/// A group that a policy can name.
struct SyscallGroup {
  std::string_view name;    ///< with its @
  std::string_view intent;  ///< one line for operators
  std::span<const SyscallLine> lines;
};

/// A call that is refused with `error` and not reported, where it isn't granted.
struct QuietRefusal {
  std::string_view name;
  int error;
  std::string_view reason;
};

/// Every group, in the order in which to explain them. Static; any thread may ask.
std::span<const SyscallGroup> syscallGroups();

/// The group of that name (with its @), or nullptr.
const SyscallGroup* findSyscallGroup(std::string_view name);

/// The names of a group. Some may not exist on this architecture: libseccomp resolves those to
/// negative numbers, and a filter leaves them out.
std::vector<std::string_view> syscallsOf(const SyscallGroup& group);

/// What no policy can grant.
std::span<const SyscallLine> neverGrantable();

/// Why no policy can grant `name`, empty when one can.
std::string_view whyNeverGrantable(std::string_view name);

/// What is refused without a report.
std::span<const QuietRefusal> quietRefusals();

/// Whether any architecture that libseccomp knows has a system call of that name.
bool isSyscallName(std::string_view name);

/// The names that this architecture has, as libseccomp knows them, in the order of their numbers.
const std::vector<std::string>& nativeSyscallNames();

}  // namespace bulkhead::sandbox
