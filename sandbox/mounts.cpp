// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/mounts.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <set>

#include "ipc/descriptor.h"

namespace bulkhead::sandbox {
namespace {

// Newer than the headers: linux/mount.h of Linux 5.12.
constexpr long SYS_OPEN_TREE = 428;
constexpr long SYS_MOVE_MOUNT = 429;
constexpr long SYS_MOUNT_SETATTR = 442;
constexpr unsigned TREE_OF_ITS_OWN = 1 | O_CLOEXEC, FROM_DESCRIPTOR = 4;
constexpr unsigned RECURSIVELY = 0x8000;
constexpr std::uint64_t RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8;
struct MountAttributes {
  std::uint64_t set, clear, propagation, userNamespace;
};

// Where the file system of before is while the new one is built.
const std::string OLD = "/.before";

// What one real path is used for, by all the rules that lead to it.
struct Uses {
  bool write = false, execute = false, device = false;
  bool covers(const Uses& other) const {
    return write >= other.write && execute >= other.execute && device >= other.device;
  }
};

Uses usesOf(PathAccess access) {
  switch (access) {
    case PathAccess::ReadWrite:
      return {true, false, false};
    case PathAccess::Execute:
      return {false, true, false};
    case PathAccess::Device:
      return {false, false, true};
    case PathAccess::Read:
    case PathAccess::Socket:
      break;
  }
  return {};
}

std::uint64_t attributesOf(const Uses& uses) {
  std::uint64_t set = NOSUID;
  // A device is written to whatever its mount says.
  if (!uses.write) set |= RDONLY;
  if (!uses.device) set |= NODEV;
  // Libraries are mapped from what may be read, and nothing from where the worker can put it.
  if (uses.write && !uses.execute) set |= NOEXEC;
  return set;
}

// The file system that the worker will have, while it is built.
class NewRoot {
 public:
  /// Makes the directories that a path lies in.
  Result<void> makeDirectories(const std::string& path);
  /// Puts a link of the old file system into the new one. In a directory that is mounted already,
  /// it is there.
  Result<void> copyLink(const std::string& link, const std::string& target);
  /// From where the path leads now, and not by links that came into the way meanwhile.
  Result<void> bindMount(const RealPaths& paths, const std::string& path, bool directory,
                         const Uses& uses);

 private:
  std::set<std::string> made_;
};

Result<void> NewRoot::makeDirectories(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (!made_.insert(part).second) continue;
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS)
      return systemError("mkdir", part);
  }
  return {};
}

Result<void> NewRoot::copyLink(const std::string& link, const std::string& target) {
  if (auto made = makeDirectories(link); !made) return made;
  if (::symlink(target.c_str(), link.c_str()) != 0 && errno != EEXIST && errno != EROFS)
    return systemError("symlink", link);
  return {};
}

Result<void> NewRoot::bindMount(const RealPaths& paths, const std::string& path, bool directory,
                                const Uses& uses) {
  if (auto made = makeDirectories(path); !made) return made;
  if (directory) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS)
      return systemError("mkdir", path);
  } else if (::access(path.c_str(), F_OK) != 0) {
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444));
    if (!file) return systemError("create", path);
  }
  auto from = paths.open(path);
  if (!from) return from.error();
  Descriptor tree(static_cast<int>(
      ::syscall(SYS_OPEN_TREE, from->get(), "", AT_EMPTY_PATH | RECURSIVELY | TREE_OF_ITS_OWN)));
  if (!tree) return systemError("open_tree", path);
  MountAttributes attributes{attributesOf(uses), 0, 0, 0};
  if (::syscall(SYS_MOUNT_SETATTR, tree.get(), "", AT_EMPTY_PATH | RECURSIVELY, &attributes,
                sizeof attributes) != 0)
    return systemError("mount_setattr", path);
  if (::syscall(SYS_MOVE_MOUNT, tree.get(), "", AT_FDCWD, path.c_str(), FROM_DESCRIPTOR) != 0)
    return systemError("move_mount", path);
  return {};
}

}  // namespace

Result<void> applyMounts(const std::vector<PathRule>& rules) {
  if (::unshare(CLONE_NEWNS) != 0) return systemError("unshare mount namespace");
  // Nothing that is mounted here is for anybody else to see.
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return systemError("mount private /");
  // Any directory will do that surely is there: it is in the way only until it becomes the root.
  if (::mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755") != 0)
    return systemError("mount tmpfs");
  if (::chdir("/proc") != 0) return systemError("chdir tmpfs");
  if (::mkdir(OLD.c_str() + 1, 0700) != 0) return systemError("mkdir", OLD);
  if (::syscall(SYS_pivot_root, ".", OLD.c_str() + 1) != 0) return systemError("pivot_root");
  if (::chdir("/") != 0) return systemError("chdir /");

  // In the order of their names, so that a directory comes before what is in it.
  RealPaths paths(OLD, writablePaths(rules));
  NewRoot root;
  std::map<std::string, std::pair<bool, Uses>> places;
  for (const PathRule& rule : rules) {
    mode_t type;
    auto real =
        paths.of(rule.path, type, [&root](const std::string& link, const std::string& target) {
          return root.copyLink(link, target);
        });
    if (!real) {
      // The daemon may come later, and its socket with it: libraries look for the directory. What
      // cannot be made is only not there.
      if (rule.access == PathAccess::Socket) (void)root.makeDirectories(rule.path);
      int code = real.error().code;
      if (rule.optional && (code == ENOENT || code == ENOTDIR || code == EACCES)) continue;
      return real.error();
    }
    if (*real == "/") return Error{"mount", EINVAL, "the whole of / is no path of a policy"};
    auto& place = places[*real];
    Uses more = usesOf(rule.access);
    place.first = S_ISDIR(type);
    place.second.write |= more.write;
    place.second.execute |= more.execute;
    // Which devices may be read the rule has said by naming them.
    place.second.device |= more.device || S_ISCHR(type) || S_ISBLK(type);
  }
  const std::pair<const std::string, std::pair<bool, Uses>>* around = nullptr;
  for (auto& place : places) {
    auto& [path, what] = place;
    bool inside = around != nullptr && isBelow(path, around->first);
    if (inside && around->second.second.covers(what.second)) continue;
    // What lies in a directory that may be written stays as writable as that.
    Uses uses = what.second;
    if (inside) uses.write |= around->second.second.write;
    if (auto bound = root.bindMount(paths, path, what.first, uses); !bound) return bound;
    if (!inside) around = &place;
  }

  if (::umount2(OLD.c_str(), MNT_DETACH) != 0) return systemError("umount", OLD);
  if (::rmdir(OLD.c_str()) != 0) return systemError("rmdir", OLD);
  MountAttributes readOnly{RDONLY | NOSUID | NODEV | NOEXEC, 0, 0, 0};
  if (::syscall(SYS_MOUNT_SETATTR, AT_FDCWD, "/", 0, &readOnly, sizeof readOnly) != 0)
    return systemError("mount_setattr /");
  return {};
}

}  // namespace bulkhead::sandbox
