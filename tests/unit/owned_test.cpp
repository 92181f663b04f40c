// SPDX-License-Identifier: BSD-2-Clause
//
// Descriptors in a process that may close them, and open others under their numbers.
#include "proxy/owned.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <functional>

namespace bulkhead::proxy {
namespace {

bool isOpen(int fd) {
  return ::fcntl(fd, F_GETFD) != -1;
}

int openSocket() {
  int pair[2] = {-1, -1};
  (void)::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
  ::close(pair[1]);
  return pair[0];
}

// What the proxy owns, and what a host may open in its place: all that have one inode together.
struct Kind {
  const char* name;
  std::function<int()> open;
};
const Kind KINDS[] = {
    {"socket", openSocket},
    {"event descriptor", [] { return ::eventfd(0, EFD_CLOEXEC); }},
    {"pidfd", [] { return static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)); }},
    {"epoll", [] { return ::epoll_create1(EPOLL_CLOEXEC); }},
};

TEST(Owned, IsItselfUntilItIsClosed) {
  for (const Kind& kind : KINDS) {
    SCOPED_TRACE(kind.name);
    int fd = kind.open();
    ASSERT_GE(fd, 0);
    Owned owned{Descriptor(fd)};
    EXPECT_EQ(owned.get(), fd);
    Owned moved(std::move(owned));
    EXPECT_EQ(moved.get(), fd);
    moved.reset();
    EXPECT_FALSE(isOpen(fd));
  }
}

TEST(Owned, IsNotWhatTheHostHasUnderItsNumber) {
  for (const Kind& kind : KINDS) {
    for (const Kind& other : KINDS) {
      SCOPED_TRACE(std::string(other.name) + " in the place of a " + kind.name);
      int fd = kind.open();
      ASSERT_GE(fd, 0);
      {
        Owned owned{Descriptor(fd)};
        Descriptor theirs(other.open());
        ASSERT_EQ(::dup2(theirs.get(), fd), fd);
        EXPECT_EQ(owned.get(), -1);
        pid_t child = ::fork();
        if (child == 0) {
          Marked::closeInherited();
          ::_exit(isOpen(fd) ? 0 : 1);
        }
        int status = -1;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
      }
      // Still theirs to close.
      EXPECT_EQ(::close(fd), 0);
    }
  }
}

TEST(Owned, IsClosedInAChild) {
  Owned owned{Descriptor(::eventfd(0, EFD_CLOEXEC))};
  int fd = owned.get();
  pid_t child = ::fork();
  if (child == 0) {
    Marked::closeInherited();
    ::_exit(isOpen(fd) ? 1 : 0);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(isOpen(fd));
}

}  // namespace
}  // namespace bulkhead::proxy
