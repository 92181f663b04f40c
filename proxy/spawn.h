// SPDX-License-Identifier: BSD-2-Clause
//
// Starting a supervisor from inside somebody else's process: no SIGCHLD, no child that a wait() of
// the host could see, no copy of the host's memory, and none of its descriptors.
#pragma once

#include <string>
#include <vector>

#include "ipc/descriptor.h"
#include "ipc/result.h"

namespace bulkhead::proxy {

/// Starts `executable` with `hostSocket` as its descriptor 3, `workerSocket` as 4, `environment` as
/// its environment, default signal handlers and no blocked signals. Yields a pidfd of it. The
/// caller keeps its descriptors. The process is nobody's child that the host can wait for.
/// Blocks the calling thread until the program is executed: less than a millisecond, however large
/// the host is. Any thread.
Result<Descriptor> spawnSupervisor(const std::string& executable, int hostSocket, int workerSocket,
                                   const std::vector<std::string>& environment);

/// Waits until the process behind a pidfd has ended; false when `milliseconds` pass first. Takes
/// its exit status if it is a child after all, as for a host that is a subreaper.
bool awaitEnd(int pidfd, int milliseconds);

}  // namespace bulkhead::proxy
