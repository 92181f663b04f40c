// SPDX-License-Identifier: BSD-2-Clause
//
// Names of PKCS#11 numbers, for logs and for the control tool, and numbers of names, for policies.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace bulkhead::ipc {

/// "CKR_DEVICE_REMOVED"; for a number without a name "CKR_0x80000001". Where several names share a
/// number, the one the current standard prefers.
std::string returnValueName(unsigned long rv);
/// The same from a static table; null for a number without a name.
const char* knownReturnValueName(unsigned long rv);
std::string mechanismName(unsigned long type);  ///< "CKM_..."
std::string attributeName(unsigned long type);  ///< "CKA_..."

/// The number of a mechanism: any of its names, old ones included, or "0x" and hexadecimal digits.
/// Also what mechanismName gives for a number without a name.
std::optional<unsigned long> mechanismByName(std::string_view name);

}  // namespace bulkhead::ipc
