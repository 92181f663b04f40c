// SPDX-License-Identifier: BSD-2-Clause
//
// Lines on stderr, for who asked for them with BULKHEAD_LOG. Nothing secret is ever passed here:
// no argument of a PKCS#11 call, only names of functions and of return values.
#pragma once

#include <optional>
#include <string_view>

namespace bulkhead {

/// Severities; the values are syslog's and the journal's PRIORITY.
enum class LogLevel : signed char { Off = -1, Error = 3, Warning = 4, Info = 6, Debug = 7 };

/// error, warning, info or debug.
std::optional<LogLevel> logLevelByName(std::string_view name);

/// What BULKHEAD_LOG asks for; Off when it is not set, not one of the names, or the process is
/// AT_SECURE. Reads the environment at each call.
LogLevel logLevelOfEnvironment();

/// Writes one line "bulkhead: MODULE: text" to stderr, in one write, unless `wanted` is below
/// `level`. Without a module the line has no second part. Any thread; errno is kept.
void logToStderr(LogLevel wanted, LogLevel level, std::string_view module, std::string_view text);

}  // namespace bulkhead
