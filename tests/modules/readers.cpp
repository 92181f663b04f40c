// SPDX-License-Identifier: BSD-2-Clause
//
// A module with readers that tokens are put into and taken out of: the file that READERS names has
// a line for each slot, its number and, where a token is in it, " token". READERS_WAIT says how it
// waits for events: `blocks` can do all that the standard has, `asks` only without blocking,
// `never` not at all, `fails` says so by an error, and `returns` does not block where it should.
// Its sessions do nothing; a login is remembered.
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "ipc/pkcs11.h"

namespace {

using Readers = std::map<CK_SLOT_ID, bool>;

std::mutex mutex;
Readers told;  // as of the last event of each slot
std::atomic<bool> finalized{false};
std::atomic<CK_SESSION_HANDLE> lastSession{0};
std::atomic<bool> loggedIn{false};

Readers readers() {
  Readers all;
  const char* path = ::getenv("READERS");
  std::ifstream in(path == nullptr ? "" : path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    CK_SLOT_ID slot = 0;
    std::string token;
    if (words >> slot) all[slot] = static_cast<bool>(words >> token);
  }
  return all;
}

template <std::size_t N>
void fill(CK_UTF8CHAR (&field)[N], const char* text) {
  std::memset(field, ' ', N);
  std::memcpy(field, text, std::strlen(text));
}

CK_RV initialize(CK_VOID_PTR) {
  told = readers();
  return CKR_OK;
}

CK_RV finalize(CK_VOID_PTR) {
  finalized.store(true);
  return CKR_OK;
}

CK_RV getSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
  std::vector<CK_SLOT_ID> all;
  for (auto& [slot, token] : readers())
    if (token || tokenPresent == CK_FALSE) all.push_back(slot);
  CK_ULONG room = *count;
  *count = all.size();
  if (list == nullptr) return CKR_OK;
  if (room < all.size()) return CKR_BUFFER_TOO_SMALL;
  std::copy(all.begin(), all.end(), list);
  return CKR_OK;
}

CK_RV getSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info) {
  auto all = readers();
  if (!all.contains(slot)) return CKR_SLOT_ID_INVALID;
  *info = {};
  fill(info->slotDescription, "reader");
  fill(info->manufacturerID, "bulkhead tests");
  info->flags = CKF_REMOVABLE_DEVICE | (all[slot] ? CKF_TOKEN_PRESENT : 0);
  return CKR_OK;
}

CK_RV openSession(CK_SLOT_ID, CK_FLAGS, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE_PTR session) {
  *session = ++lastSession;
  return CKR_OK;
}

CK_RV closeSession(CK_SESSION_HANDLE) {
  return CKR_OK;
}

CK_RV login(CK_SESSION_HANDLE, CK_USER_TYPE, CK_UTF8CHAR_PTR, CK_ULONG) {
  return loggedIn.exchange(true) ? CKR_USER_ALREADY_LOGGED_IN : CKR_OK;
}

CK_RV logout(CK_SESSION_HANDLE) {
  return loggedIn.exchange(false) ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

CK_RV waitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR slot, CK_VOID_PTR) {
  const char* how = ::getenv("READERS_WAIT");
  std::string way = how == nullptr ? "blocks" : how;
  bool block = (flags & CKF_DONT_BLOCK) == 0;
  if (way == "fails") return CKR_FUNCTION_FAILED;
  if (way == "returns") block = false;
  if (way == "never" || (block && way != "blocks")) return CKR_FUNCTION_NOT_SUPPORTED;
  for (;;) {
    {
      std::lock_guard lock(mutex);
      Readers now = readers(), all = now;
      all.insert(told.begin(), told.end());
      for (auto& [number, unused] : all) {
        bool there = now.contains(number);
        if (there == told.contains(number) && (!there || now[number] == told[number])) continue;
        if (there)
          told[number] = now[number];
        else
          told.erase(number);
        *slot = number;
        return CKR_OK;
      }
    }
    if (!block) return CKR_NO_EVENT;
    ::usleep(20'000);
    if (finalized.load()) return CKR_CRYPTOKI_NOT_INITIALIZED;
  }
}

CK_FUNCTION_LIST list = [] {
  CK_FUNCTION_LIST f{};
  f.version = {2, 40};
  f.C_Initialize = initialize;
  f.C_Finalize = finalize;
  f.C_GetSlotList = getSlotList;
  f.C_GetSlotInfo = getSlotInfo;
  f.C_OpenSession = openSession;
  f.C_CloseSession = closeSession;
  f.C_Login = login;
  f.C_Logout = logout;
  f.C_WaitForSlotEvent = waitForSlotEvent;
  return f;
}();

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(
    CK_FUNCTION_LIST_PTR_PTR out) {
  *out = &list;
  return CKR_OK;
}
