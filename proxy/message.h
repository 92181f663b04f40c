// SPDX-License-Identifier: BSD-2-Clause
//
// Why a call of the public API failed, for people to read.
#pragma once

#include <string_view>

namespace bulkhead::proxy {

/// The calling thread's message: one line, cut where it is too long. Never fails.
void setMessage(std::string_view text) noexcept;

/// The text that this thread set last, or an empty one. Valid until it sets another.
const char* message() noexcept;

}  // namespace bulkhead::proxy
