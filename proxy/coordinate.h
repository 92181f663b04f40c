// SPDX-License-Identifier: BSD-2-Clause
//
// Initialising and finalising modules that several parts of a program use in this process.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "ipc/pkcs11.h"

namespace bulkhead::proxy {

/// Counts who uses a module, so that the first calls its C_Initialize and the last its C_Finalize,
/// whatever comes at the same time. Any thread; no lock is held while a module is called, so that a
/// module may come back here. A module is known by its C_Initialize: all its lists, of whatever
/// version, have the same.
class Coordinator {
 public:
  Coordinator() = default;
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  /// bulkhead_initialize() and bulkhead_finalize(), where their values are described. The list has
  /// both functions. Throws std::bad_alloc, and then nothing has happened.
  CK_RV initialize(CK_FUNCTION_LIST& list, void* reserved);
  CK_RV finalize(CK_FUNCTION_LIST& list);

  /// Forgets who uses a module, which somebody else finalises.
  void forget(CK_FUNCTION_LIST& list);

 private:
  using Key = decltype(CK_FUNCTION_LIST::C_Initialize);
  struct Entry {
    unsigned count = 0;
    bool ours = false;         // the module is initialised because we did it
    bool changing = false;     // C_Initialize or C_Finalize is under way
    std::thread::id thread{};  // in this thread
  };
  class Change;

  Entry* settled(std::unique_lock<std::mutex>& lock, Key key);
  bool waitsForUs(Key key) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Entry> entries_;
  std::map<std::thread::id, Key> waiting_;  // threads, and the module each of them waits for
};

}  // namespace bulkhead::proxy
