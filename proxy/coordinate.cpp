// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/coordinate.h"

#include "ipc/initialize.h"

namespace bulkhead::proxy {

// A call of C_Initialize or C_Finalize: without the lock from begin to end, and even a module that
// throws leaves nobody waiting.
class Coordinator::Change {
 public:
  Change(Coordinator& coordinator, std::unique_lock<std::mutex>& lock, Entry& entry)
      : coordinator_(coordinator), lock_(lock), entry_(entry) {
    entry_.changing = true;
    entry_.thread = std::this_thread::get_id();
    lock_.unlock();
  }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;
  ~Change() {
    lock_.lock();
    entry_.changing = false;
    coordinator_.changed_.notify_all();
  }

 private:
  Coordinator& coordinator_;
  std::unique_lock<std::mutex>& lock_;
  Entry& entry_;
};

// Whether who changes this module is this thread, or waits for it, however many others are between.
bool Coordinator::waitsForUs(Key key) const {
  for (;;) {
    auto entry = entries_.find(key);
    if (entry == entries_.end() || !entry->second.changing) return false;
    if (entry->second.thread == std::this_thread::get_id()) return true;
    auto waiting = waiting_.find(entry->second.thread);
    if (waiting == waiting_.end()) return false;
    key = waiting->second;
  }
}

// The module's entry when nobody changes it. Null when that would never be.
Coordinator::Entry* Coordinator::settled(std::unique_lock<std::mutex>& lock, Key key) {
  for (;;) {
    // Looked up again each time: whoever finalises the last use takes the entry out.
    Entry& entry = entries_[key];
    if (!entry.changing) return &entry;
    if (waitsForUs(key)) return nullptr;
    auto self = waiting_.emplace(std::this_thread::get_id(), key).first;
    changed_.wait(lock);
    waiting_.erase(self);
  }
}

CK_RV Coordinator::initialize(CK_FUNCTION_LIST& list, void* reserved) {
  Key key = list.C_Initialize;
  std::unique_lock lock(mutex_);
  Entry* entry = settled(lock, key);
  if (entry == nullptr) return CKR_FUNCTION_FAILED;
  if (entry->count != 0) {
    ++entry->count;
    return CKR_OK;
  }
  CK_RV rv = CKR_GENERAL_ERROR;
  {
    Change change(*this, lock, *entry);
    ipc::InitializeArgs own(reserved);
    try {
      rv = key(&own.args);
    } catch (...) {
      // A module of this process that throws is as bad as one that fails.
    }
  }
  if (rv == CKR_OK) entry->ours = true;
  if (rv == CKR_CRYPTOKI_ALREADY_INITIALIZED) rv = CKR_OK;
  if (rv == CKR_OK)
    entry->count = 1;
  else
    entries_.erase(key);
  return rv;
}

CK_RV Coordinator::finalize(CK_FUNCTION_LIST& list) {
  Key key = list.C_Initialize;
  std::unique_lock lock(mutex_);
  Entry* entry = settled(lock, key);
  if (entry == nullptr) return CKR_FUNCTION_FAILED;
  if (entry->count == 0) {
    if (!entry->ours) entries_.erase(key);
    return CKR_CRYPTOKI_NOT_INITIALIZED;
  }
  if (--entry->count != 0) return CKR_OK;
  CK_RV rv = CKR_OK;
  if (entry->ours) {
    rv = CKR_GENERAL_ERROR;
    Change change(*this, lock, *entry);
    try {
      rv = list.C_Finalize(nullptr);
    } catch (...) {
      // As above.
    }
  }
  // One that could not be finalised is ours still if it turns out to be initialised next time.
  if (rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED) entries_.erase(key);
  return rv;
}

void Coordinator::forget(CK_FUNCTION_LIST& list) {
  std::unique_lock lock(mutex_);
  Entry* entry = settled(lock, list.C_Initialize);
  if (entry != nullptr) entries_.erase(list.C_Initialize);
}

}  // namespace bulkhead::proxy
