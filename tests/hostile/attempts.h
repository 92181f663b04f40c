// SPDX-License-Identifier: BSD-2-Clause
//
// Attempts of the hostile module to get out of the sandbox, one harmless-if-refused system call or
// sequence of them each.
#pragma once

#include <string>

namespace bulkhead::hostile {

/// Tries NAME and says how it went: the name of the errno, "ok", or what was found. What it needs
/// to know of the world outside is in the environment: HOSTILE_HOST, HOSTILE_DIR, HOSTILE_WRITABLE,
/// HOSTILE_ABSTRACT, HOSTILE_PORT.
std::string attempt(const std::string& name);

}  // namespace bulkhead::hostile
