// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/landlock.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/descriptor.h"

namespace bulkhead::sandbox {
namespace {

// From the kernel's documentation of landlock(7).
constexpr long SYS_CREATE_RULESET = 444;
constexpr long SYS_ADD_RULE = 445;
constexpr long SYS_RESTRICT_SELF = 446;
constexpr unsigned CREATE_VERSION = 1;
constexpr int RULE_PATH_BENEATH = 1;

struct RulesetAttr {
  std::uint64_t handledFs;
  std::uint64_t handledNet;
  std::uint64_t scoped;
};
struct PathBeneathAttr {
  std::uint64_t allowed;
  std::int32_t parent;
} __attribute__((packed));

constexpr std::uint64_t bit(unsigned n) {
  return std::uint64_t{1} << n;
}
constexpr std::uint64_t EXECUTE = bit(0), WRITE_FILE = bit(1), READ_FILE = bit(2),
                        READ_DIR = bit(3), REMOVE_DIR = bit(4), REMOVE_FILE = bit(5),
                        MAKE_DIR = bit(7), MAKE_REG = bit(8), MAKE_SOCK = bit(9),
                        MAKE_FIFO = bit(10), MAKE_SYM = bit(12), REFER = bit(13),
                        TRUNCATE = bit(14), IOCTL_DEV = bit(15);
constexpr std::uint64_t BIND_TCP = bit(0), CONNECT_TCP = bit(1);
constexpr std::uint64_t SCOPE_ABSTRACT_UNIX_SOCKET = bit(0), SCOPE_SIGNAL = bit(1);

// Rights that mean something for a file that is no directory; the kernel refuses a rule with
// others.
constexpr std::uint64_t FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

std::uint64_t handledBy(int version) {
  std::uint64_t all = bit(13) - 1;
  if (version >= 2) all |= REFER;
  if (version >= 3) all |= TRUNCATE;
  if (version >= 5) all |= IOCTL_DEV;
  return all;
}

std::uint64_t rightsOf(PathAccess access) {
  switch (access) {
    case PathAccess::Read:
      return READ_FILE | READ_DIR;
    case PathAccess::ReadWrite:
      return READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR |
             MAKE_REG | MAKE_SYM | MAKE_SOCK | MAKE_FIFO | REFER;
    case PathAccess::Execute:
      return READ_FILE | READ_DIR | EXECUTE;
    case PathAccess::Device:
      return READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV;
    case PathAccess::Socket:
      break;
  }
  return 0;
}

}  // namespace

Result<int> landlockVersion() {
  long version = ::syscall(SYS_CREATE_RULESET, nullptr, 0, CREATE_VERSION);
  if (version < 0) return systemError("landlock_create_ruleset");
  return static_cast<int>(version);
}

Result<void> applyLandlock(const std::vector<PathRule>& rules, bool allowTcp) {
  auto version = landlockVersion();
  if (!version) return version.error();

  RulesetAttr attr{};
  attr.handledFs = handledBy(*version);
  if (*version >= 4 && !allowTcp) attr.handledNet = BIND_TCP | CONNECT_TCP;
  if (*version >= 6) attr.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
  std::size_t size = *version >= 6   ? sizeof attr
                     : *version >= 4 ? offsetof(RulesetAttr, scoped)
                                     : offsetof(RulesetAttr, handledNet);
  Descriptor ruleset(static_cast<int>(::syscall(SYS_CREATE_RULESET, &attr, size, 0)));
  if (!ruleset) return systemError("landlock_create_ruleset");

  RealPaths paths("", writablePaths(rules));
  for (const PathRule& rule : rules) {
    if (rightsOf(rule.access) == 0) continue;
    mode_t type;
    auto real = paths.of(rule.path, type);
    auto at = real ? paths.open(*real) : Result<Descriptor>(real.error());
    if (!at) {
      int code = at.error().code;
      if (rule.optional && (code == ENOENT || code == ENOTDIR || code == EACCES)) continue;
      return at.error();
    }
    struct stat status;
    if (::fstat(at->get(), &status) != 0) return systemError("landlock: fstat", rule.path);
    PathBeneathAttr path{rightsOf(rule.access) & attr.handledFs, at->get()};
    if (!S_ISDIR(status.st_mode)) path.allowed &= FILE_RIGHTS;
    if (::syscall(SYS_ADD_RULE, ruleset.get(), RULE_PATH_BENEATH, &path, 0) != 0)
      return systemError("landlock_add_rule", rule.path);
  }
  if (::syscall(SYS_RESTRICT_SELF, ruleset.get(), 0) != 0)
    return systemError("landlock_restrict_self");
  return {};
}

}  // namespace bulkhead::sandbox
