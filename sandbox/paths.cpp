// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/paths.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace bulkhead::sandbox {
namespace {

constexpr long SYS_OPENAT2 = 437;
constexpr int MAX_LINKS = 40;

}  // namespace

bool isBelow(const std::string& path, const std::string& directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/' || directory == "/");
}

Result<std::string> RealPaths::follow(const std::string& path, mode_t& type, const OnLink& onLink) {
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
    if (directories_.contains(next)) {
      type = S_IFDIR;
      done = next;
      continue;
    }
    struct stat status;
    if (::lstat((root_ + next).c_str(), &status) != 0) return systemError(POLICY_PATH, path);
    type = status.st_mode & S_IFMT;
    if (!S_ISLNK(status.st_mode)) {
      if (S_ISDIR(status.st_mode)) directories_.insert(next);
      done = next;
      continue;
    }
    if (++links > MAX_LINKS) return Error{POLICY_PATH, ELOOP, path};
    char target[PATH_MAX];
    ssize_t n = ::readlink((root_ + next).c_str(), target, sizeof target - 1);
    if (n <= 0) return systemError(POLICY_PATH, path);
    std::string to(target, static_cast<std::size_t>(n));
    if (onLink)
      if (auto told = onLink(next, to); !told) return told.error();
    if (to.front() == '/') done.clear();
    rest = to + rest;
  }
  return done.empty() ? "/" : done;
}

RealPaths::RealPaths(std::string root, const std::vector<std::string>& writable)
    : root_(std::move(root)) {
  mode_t type;
  for (const std::string& path : writable)
    if (auto real = follow(path, type, {})) writable_.push_back(*real);
}

Result<std::string> RealPaths::of(const std::string& path, mode_t& type, const OnLink& onLink) {
  std::vector<std::string> links;
  auto real = follow(path, type, [&](const std::string& link, const std::string& target) {
    links.push_back(link);
    return onLink ? onLink(link, target) : Result<void>();
  });
  if (!real) return real;
  // Within one such directory all is the module's anyway.
  for (const std::string& link : links)
    for (const std::string& directory : writable_)
      if (isBelow(link, directory) && !isBelow(*real, directory))
        return Error{POLICY_PATH, ELOOP, path + ": the module can have made the link " + link};
  return real;
}

Result<Descriptor> RealPaths::open(const std::string& real) const {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  Descriptor at(
      static_cast<int>(::syscall(SYS_OPENAT2, AT_FDCWD, (root_ + real).c_str(), &how, sizeof how)));
  // Containers' filters may refuse it for being new.
  if (!at && (errno == ENOSYS || errno == EPERM))
    at.reset(::open((root_ + real).c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!at) return systemError(POLICY_PATH, real);
  return at;
}

std::vector<std::string> writablePaths(const std::vector<PathRule>& rules) {
  std::vector<std::string> paths;
  for (const PathRule& rule : rules)
    if (rule.access == PathAccess::ReadWrite) paths.push_back(rule.path);
  return paths;
}

}  // namespace bulkhead::sandbox
