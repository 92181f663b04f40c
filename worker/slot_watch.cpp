// SPDX-License-Identifier: BSD-2-Clause
#include "worker/slot_watch.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <thread>
#include <vector>

namespace bulkhead::worker {
namespace {

using ipc::Function;

// How often a module that can't wait is asked.
constexpr std::chrono::milliseconds INTERVAL{250};
// No module has more slots that anybody could mean.
constexpr CK_ULONG MAX_SLOTS = 4096;

// Whether a module can wait, as far as one sees: some fail in place of saying that they can't, and
// some do not block.
bool isAnAnswer(CK_RV rv) {
  return rv == CKR_OK || rv == CKR_CRYPTOKI_NOT_INITIALIZED;
}

}  // namespace

std::unique_lock<std::mutex> SlotWatch::turn() const {
  return oneAtATime_ == nullptr ? std::unique_lock<std::mutex>()
                                : std::unique_lock<std::mutex>(*oneAtATime_);
}

CK_RV SlotWatch::slotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
  auto function = module_.get<Function::C_GetSlotList>();
  if (function == nullptr) return CKR_FUNCTION_NOT_SUPPORTED;
  CK_ULONG room = count == nullptr ? 0 : *count;
  CK_RV rv;
  {
    auto one = turn();
    rv = function(tokenPresent, list, count);
  }
  if (rv != CKR_OK || list == nullptr || count == nullptr || *count > room) return rv;
  std::lock_guard lock(mutex_);
  auto& known = known_[tokenPresent != CK_FALSE ? 1 : 0];
  if (!known) known.emplace(list, list + *count);
  return rv;
}

std::optional<SlotWatch::Slots> SlotWatch::listed(CK_BBOOL tokenPresent) const {
  auto function = module_.get<Function::C_GetSlotList>();
  if (function == nullptr) return std::nullopt;
  auto one = turn();
  CK_ULONG count = 0;
  if (function(tokenPresent, nullptr, &count) != CKR_OK || count > MAX_SLOTS) return std::nullopt;
  std::vector<CK_SLOT_ID> list(count + 1);
  count = list.size();
  if (function(tokenPresent, list.data(), &count) != CKR_OK || count > list.size())
    return std::nullopt;
  return Slots(list.begin(), list.begin() + static_cast<std::ptrdiff_t>(count));
}

// One slot that came, went, or gained or lost its token since it was last looked at.
CK_RV SlotWatch::compare(CK_SLOT_ID_PTR slot) {
  std::optional<Slots> now[2] = {listed(CK_FALSE), listed(CK_TRUE)};
  if (!now[0] || !now[1]) return CKR_FUNCTION_NOT_SUPPORTED;
  std::lock_guard lock(mutex_);
  std::optional<CK_SLOT_ID> changed;
  for (int i = 0; i < 2 && !changed; ++i) {
    if (!known_[i]) known_[i] = now[i];
    Slots differ;
    std::set_symmetric_difference(known_[i]->begin(), known_[i]->end(), now[i]->begin(),
                                  now[i]->end(), std::inserter(differ, differ.end()));
    if (!differ.empty()) changed = *differ.begin();
  }
  if (!changed) return CKR_NO_EVENT;
  // What else differs is found next time.
  for (int i = 0; i < 2; ++i) {
    if (!known_[i]) continue;
    if (now[i]->contains(*changed))
      known_[i]->insert(*changed);
    else
      known_[i]->erase(*changed);
  }
  *slot = *changed;
  return CKR_OK;
}

CK_RV SlotWatch::wait(CK_FLAGS flags, CK_SLOT_ID_PTR slot) {
  if (slot == nullptr) return CKR_ARGUMENTS_BAD;
  bool block = (flags & CKF_DONT_BLOCK) == 0;
  auto own = module_.get<Function::C_WaitForSlotEvent>();
  if (block && own != nullptr && oneAtATime_ == nullptr) {
    CK_RV rv = own(flags, slot, nullptr);
    if (isAnAnswer(rv)) return rv;
  }
  for (;;) {
    CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;
    if (own != nullptr) {
      auto one = turn();
      rv = own(flags | CKF_DONT_BLOCK, slot, nullptr);
    }
    if (!isAnAnswer(rv) && rv != CKR_NO_EVENT) rv = compare(slot);
    if (isAnAnswer(rv) || !block) return rv;
    std::this_thread::sleep_for(INTERVAL);
    if (ended_.load(std::memory_order_acquire)) return CKR_CRYPTOKI_NOT_INITIALIZED;
  }
}

}  // namespace bulkhead::worker
