// SPDX-License-Identifier: BSD-2-Clause
//
// Records in the system's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
// libsystemd's own sender waits for ever on a journal that hangs; a supervisor must not.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ipc/log.h"

namespace bulkhead::worker {

/// What happened, as the message catalog in data/ explains it. A first start is no news.
namespace message_id {
inline constexpr const char* RESTARTED = "c1d5f2a7a0f54e2d9a3c0c8d9b6e4f10";
inline constexpr const char* FAILED = "7f0a9de3c2b6480c8b1f5d7e6a94c321";
inline constexpr const char* DIED = "2b8e6f04d1a94c7fb5e39a6d0c7182f5";
inline constexpr const char* VIOLATION = "e94c0b7d52f1463aa8d06c3f7e1b95a8";
inline constexpr const char* KILLED = "5d3f8a1c97e2406bb4c8f05e2a6d7b13";
}  // namespace message_id

/// Field names and values, in addition to MESSAGE and PRIORITY.
using JournalFields = std::vector<std::pair<std::string, std::string>>;

/// Sends one record and never waits: false when the journal is not there or does not take it now.
bool sendToJournal(LogLevel level, const std::string& message, const JournalFields& fields);

}  // namespace bulkhead::worker
