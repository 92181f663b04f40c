// SPDX-License-Identifier: BSD-2-Clause
//
// Attempts of the hostile module to get out of the sandbox, one harmless-if-refused system call or
// sequence of them each.
#pragma once

#include <string>

namespace bulkhead::hostile {

/// Tries NAME and says how it went: the name of the errno, "ok", or what was found. What it needs
/// to know of the world outside is in the environment, see outside.h. "listed" tries those that
/// HOSTILE_WRITABLE/list names, each in a child where that can be had; the answer is "NAME=how;" of
/// each, and "dead" of one that did not return.
std::string attempt(const std::string& name);

}  // namespace bulkhead::hostile
