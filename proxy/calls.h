// SPDX-License-Identifier: BSD-2-Clause
//
// What happens when a consumer calls a function: the general way, derived from the catalogue, and
// the few functions that the proxy answers or completes itself.
#pragma once

#include "ipc/catalogue.h"

namespace bulkhead::proxy {

/// One call of function F by a consumer, with the function's own arguments. Never throws, is no
/// cancellation point, and leaves errno as it was.
template <ipc::Function F>
CK_RV call(unsigned consumer, const typename ipc::Line<F>::Args& args) noexcept;

}  // namespace bulkhead::proxy
