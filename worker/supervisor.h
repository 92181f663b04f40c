// SPDX-License-Identifier: BSD-2-Clause
//
// The supervisor: the small trusted process between a host and a worker. It reads the policy,
// starts the worker, answers its forbidden system calls, writes the log, and ends the worker when
// the host asks or is gone. It never opens a module and no PKCS#11 data passes through it.
#pragma once

#include "ipc/descriptor.h"

namespace bulkhead::worker {

/// Runs a supervisor on its two sockets: `host` to the host, `worker` for the worker that it will
/// fork. Returns the exit status of the process. The process must be single-threaded.
int runSupervisor(Descriptor host, Descriptor worker);

}  // namespace bulkhead::worker
