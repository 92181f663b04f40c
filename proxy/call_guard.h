// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <errno.h>
#include <pthread.h>

namespace bulkhead::proxy {

/// Around everything that a host calls: errno is as before at the end, and the thread is not
/// cancelled meanwhile, which in the middle of an exchange would leave half a message behind. One
/// that may be cancelled at any instruction is, in the destructor: nothing around it is noexcept.
class CallGuard {
 public:
  CallGuard() : errno_(errno) { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state_); }
  CallGuard(const CallGuard&) = delete;
  CallGuard& operator=(const CallGuard&) = delete;
  ~CallGuard() noexcept(false) {
    errno = errno_;
    ::pthread_setcancelstate(state_, nullptr);
  }

 private:
  int state_ = 0;
  int errno_;
};

}  // namespace bulkhead::proxy
