// SPDX-License-Identifier: BSD-2-Clause
//
// What happens when a consumer calls a function: the general way, derived from the catalogue, and
// the few functions that the proxy answers or completes itself.
#pragma once

#include "ipc/catalogue.h"

namespace bulkhead::proxy {

/// Where the calls of function F by all consumers arrive, with the function's own arguments and the
/// consumer's number behind them. Never throws, is no cancellation point, leaves errno as it was. A
/// thread that was cancelled asynchronously meanwhile is unwound from here at the end.
template <ipc::Function F, typename Pointer = typename ipc::Line<F>::Pointer>
struct Entry;
template <ipc::Function F, typename... A>
struct Entry<F, CK_RV (*)(A...)> {
  static CK_RV call(A... arguments, unsigned consumer);
};

}  // namespace bulkhead::proxy
