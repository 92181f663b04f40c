// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/mounts.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <map>

#include "ipc/descriptor.h"

namespace bulkhead::sandbox {
namespace {

// Newer than the headers: linux/mount.h of Linux 5.12.
constexpr long SYS_MOUNT_SETATTR = 442;
constexpr unsigned RECURSIVELY = 0x8000;
constexpr std::uint64_t RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8;
struct MountAttributes {
  std::uint64_t set, clear, propagation, userNamespace;
};

// Where the file system of before is while the new one is built.
const std::string OLD = "/.before";
constexpr int MAX_LINKS = 40;

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

Result<void> makeDirectories(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS)
      return systemError("mkdir", part);
  }
  return {};
}

// Follows a path in the old file system to where it really leads, and puts each symbolic link on
// the way into the new one. An error with ENOENT where it leads nowhere.
Result<std::string> realPath(const std::string& path, mode_t& type) {
  std::string done, rest = path;
  int links = 0;
  type = S_IFDIR;
  while (!rest.empty()) {
    std::size_t start = rest.find_first_not_of('/');
    if (start == std::string::npos) break;
    std::size_t end = rest.find('/', start);
    std::string name = rest.substr(start, end == std::string::npos ? end : end - start);
    rest = end == std::string::npos ? "" : rest.substr(end);
    if (name == ".") continue;
    if (name == "..") {
      done.resize(done.rfind('/') == std::string::npos ? 0 : done.rfind('/'));
      continue;
    }
    std::string next = done + "/" + name;
    struct stat status;
    if (::lstat((OLD + next).c_str(), &status) != 0) return systemError("mount: find", path);
    type = status.st_mode & S_IFMT;
    if (!S_ISLNK(status.st_mode)) {
      done = next;
      continue;
    }
    if (++links > MAX_LINKS) return Error{"mount: find", ELOOP, path};
    char target[PATH_MAX];
    ssize_t n = ::readlink((OLD + next).c_str(), target, sizeof target - 1);
    if (n <= 0) return systemError("mount: readlink", path);
    std::string to(target, static_cast<std::size_t>(n));
    if (auto made = makeDirectories(next); !made) return made.error();
    // In a directory that is mounted already, it is there.
    if (::symlink(to.c_str(), next.c_str()) != 0 && errno != EEXIST && errno != EROFS)
      return systemError("symlink", next);
    if (to.front() == '/') done.clear();
    rest = to + rest;
  }
  return done.empty() ? "/" : done;
}

Result<void> bind(const std::string& path, bool directory, const Uses& uses) {
  if (auto made = makeDirectories(path); !made) return made;
  if (directory) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS)
      return systemError("mkdir", path);
  } else if (::access(path.c_str(), F_OK) != 0) {
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0444));
    if (!file) return systemError("create", path);
  }
  if (::mount((OLD + path).c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    return systemError("bind", path);
  MountAttributes attributes{attributesOf(uses), 0, 0, 0};
  if (::syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.c_str(), RECURSIVELY, &attributes,
                sizeof attributes) != 0)
    return systemError("mount_setattr", path);
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
  std::map<std::string, std::pair<bool, Uses>> places;
  for (const PathRule& rule : rules) {
    mode_t type;
    auto real = realPath(rule.path, type);
    if (!real) {
      // The daemon may come later, and its socket with it: libraries look for the directory. What
      // cannot be made is only not there.
      if (rule.access == PathAccess::Socket) (void)makeDirectories(rule.path);
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
    bool inside = around != nullptr && path.starts_with(around->first + "/");
    if (inside && around->second.second.covers(what.second)) continue;
    // What lies in a directory that may be written stays as writable as that.
    Uses uses = what.second;
    if (inside) uses.write |= around->second.second.write;
    if (auto bound = bind(path, what.first, uses); !bound) return bound;
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
