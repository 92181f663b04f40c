// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/file_changes.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace bulkhead::sandbox {
namespace {

std::string linkTo(int file) {
  return "/proc/self/fd/" + std::to_string(file);
}

bool isBelow(const std::string& path, const std::string& directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/' || directory == "/");
}

}  // namespace

bool isFileChange(std::string_view syscall) {
  return syscall == "chmod" || syscall == "fchmod" || syscall == "fchmodat" || syscall == "fchown";
}

FileChanges::FileChanges(const std::vector<PolicyPath>& writable) {
  for (const PolicyPath& one : writable) {
    std::unique_ptr<char, decltype(&::free)> real(::realpath(one.path.c_str(), nullptr), &::free);
    if (real) writable_.emplace_back(real.get());
  }
}

bool FileChanges::mayChange(int file) const {
  // Where the file is, not by which way it was opened.
  char path[PATH_MAX];
  ssize_t n = ::readlink(linkTo(file).c_str(), path, sizeof path);
  if (n <= 0 || n == sizeof path) return false;
  std::string real(path, static_cast<std::size_t>(n));
  return std::any_of(writable_.begin(), writable_.end(),
                     [&](const std::string& directory) { return isBelow(real, directory); });
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
