// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/file_changes.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sandbox/paths.h"

namespace bulkhead::sandbox {
namespace {

std::string linkTo(int file) {
  return "/proc/self/fd/" + std::to_string(file);
}

}  // namespace

bool isFileChange(std::string_view syscall) {
  return syscall == "chmod" || syscall == "fchmod" || syscall == "fchmodat" || syscall == "fchown";
}

FileChanges::FileChanges(const std::vector<PolicyPath>& writable) {
  std::vector<std::string> named;
  for (const PolicyPath& one : writable) named.push_back(one.path);
  RealPaths paths("", named);
  mode_t type;
  for (const std::string& path : named)
    if (auto real = paths.of(path, type)) writable_.push_back(std::move(*real));
}

bool FileChanges::isWritable(const std::string& real) const {
  return std::any_of(writable_.begin(), writable_.end(),
                     [&](const std::string& directory) { return isBelow(real, directory); });
}

bool FileChanges::mayChange(int file) const {
  // Where the file is, not by which way it was opened.
  char path[PATH_MAX];
  ssize_t n = ::readlink(linkTo(file).c_str(), path, sizeof path);
  if (n <= 0 || n == sizeof path) return false;
  std::string real(path, static_cast<std::size_t>(n));
  if (!isWritable(real)) return false;
  // In another mount namespace, that of a container say, it is another file that has this path.
  struct stat here, there;
  return ::fstat(file, &there) == 0 && ::lstat(real.c_str(), &here) == 0 &&
         here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

std::optional<int> FileChanges::setMode(int file, mode_t mode) const {
  if (!mayChange(file) || (mode & (S_ISUID | S_ISGID)) != 0) return std::nullopt;
  struct stat status;
  if (::fstat(file, &status) != 0) return errno;
  if (status.st_uid != ::geteuid()) return EPERM;
  return ::chmod(linkTo(file).c_str(), mode & 07777) == 0 ? 0 : errno;
}

std::optional<int> FileChanges::setOwner(int file, uid_t owner, gid_t group) const {
  if (!mayChange(file)) return std::nullopt;
  struct stat status;
  if (::fstat(file, &status) != 0) return errno;
  // Not given away; the group is whatever the host could make it.
  constexpr auto SAME = static_cast<uid_t>(-1);
  if (status.st_uid != ::geteuid() || (owner != SAME && owner != status.st_uid)) return EPERM;
  return ::chown(linkTo(file).c_str(), SAME, group) == 0 ? 0 : errno;
}

}  // namespace bulkhead::sandbox
