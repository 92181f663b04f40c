// SPDX-License-Identifier: BSD-2-Clause
//
// Who is logged in to the tokens of one worker. A login belongs to the token and the process: the
// module hears of the first login and of the last logout.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>

#include "ipc/pkcs11.h"

namespace bulkhead::proxy {

/// By the module's slot and the consumer. Any thread; no lock is held while the worker is called,
/// so what the module said of a login may be past when it is noted: add() tells.
class Logins {
 public:
  Logins() = default;
  Logins(const Logins&) = delete;
  Logins& operator=(const Logins&) = delete;

  /// Before the module is asked: waits while somebody logs the token out. What it yields is for
  /// add().
  std::uint64_t begin(CK_SLOT_ID slot);

  /// The consumer was told that it is logged in. False, and nothing is noted, if somebody has begun
  /// to log the token out since begin(): it has to be asked again.
  bool add(CK_SLOT_ID slot, unsigned consumer, std::uint64_t begun);

  /// The consumer is no more logged in; the token may be.
  void remove(CK_SLOT_ID slot, unsigned consumer);

  /// A consumer's C_Logout, from before the module is asked until it has answered.
  class Logout {
   public:
    /// Theirs: others are logged in and this consumer is not. Last: the module is to be asked, also
    /// where nobody is known to be logged in.
    enum class Of { Theirs, OneOfSeveral, Last };
    Logout(Logins& logins, CK_SLOT_ID slot, unsigned consumer);
    Logout(const Logout&) = delete;
    Logout& operator=(const Logout&) = delete;
    ~Logout();
    Of what() const { return what_; }

   private:
    Logins& logins_;
    CK_SLOT_ID slot_;
    Of what_;
  };

 private:
  struct Token {
    std::set<unsigned> consumers;
    std::uint64_t logouts = 0;  // that were begun
    unsigned underWay = 0;      // of these
  };

  std::mutex mutex_;
  std::condition_variable ended_;
  std::map<CK_SLOT_ID, Token> tokens_;
};

}  // namespace bulkhead::proxy
