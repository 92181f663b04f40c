// SPDX-License-Identifier: BSD-2-Clause
//
// The worker once it is confined: it opens the module, initialises it, and serves channels.
#pragma once

#include <string>

#include "ipc/descriptor.h"
#include "worker/activity.h"

namespace bulkhead::worker {

struct ServerOptions {
  std::string modulePath;
  std::string initReserved;
  bool hasInitReserved = false;
  bool serialize = false;        ///< the policy's Serialize=
  std::uint64_t maxMessage = 0;  ///< bytes
};

/// Opens the module, tells the host on `control` that it is ready, or the supervisor on `report`
/// why it is not, and serves each channel that arrives there on a thread of its own, until the host
/// closes `control`. Never returns: the process ends here, and where a module lets an exception
/// out, there.
[[noreturn]] void runServer(Descriptor control, Descriptor report, const ServerOptions& options,
                            Activity& activity) noexcept;

}  // namespace bulkhead::worker
