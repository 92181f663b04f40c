// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/logins.h"

namespace bulkhead::proxy {

std::uint64_t Logins::begin(CK_SLOT_ID slot) {
  std::unique_lock lock(mutex_);
  Token& token = tokens_[slot];
  ended_.wait(lock, [&] { return token.underWay == 0; });
  return token.logouts;
}

bool Logins::add(CK_SLOT_ID slot, unsigned consumer, std::uint64_t begun) {
  std::lock_guard lock(mutex_);
  Token& token = tokens_[slot];
  if (token.logouts != begun) return false;
  token.consumers.insert(consumer);
  return true;
}

void Logins::remove(CK_SLOT_ID slot, unsigned consumer) {
  std::lock_guard lock(mutex_);
  if (auto token = tokens_.find(slot); token != tokens_.end())
    token->second.consumers.erase(consumer);
}

Logins::Logout::Logout(Logins& logins, CK_SLOT_ID slot, unsigned consumer)
    : logins_(logins), slot_(slot) {
  std::lock_guard lock(logins_.mutex_);
  Token& token = logins_.tokens_[slot];
  bool was = token.consumers.erase(consumer) != 0;
  what_ = token.consumers.empty() ? Of::Last : was ? Of::OneOfSeveral : Of::Theirs;
  if (what_ != Of::Last) return;
  ++token.logouts;
  ++token.underWay;
}

Logins::Logout::~Logout() {
  if (what_ != Of::Last) return;
  {
    std::lock_guard lock(logins_.mutex_);
    --logins_.tokens_[slot_].underWay;
  }
  logins_.ended_.notify_all();
}

}  // namespace bulkhead::proxy
