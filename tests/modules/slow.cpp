// SPDX-License-Identifier: BSD-2-Clause
//
// A module that does to order what a test wants to see from outside. Its C_GenerateRandom sleeps, a
// second for each byte asked for: time enough for its worker to be killed in the middle of a call;
// the token's ulSessionCount says how many calls are asleep at the moment. Its C_SeedRandom tries
// to read the file that the seed names, and answers CKR_VENDOR_DEFINED plus errno when it can't.
// Its C_GetSlotList hangs while there is the file that $SLOW_HANG names. Where there is
// $SLOW_CANNOT_LOCK, it can't be called by several threads at once, and says so when it is asked
// to.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>

#include "ipc/pkcs11.h"

namespace {

constexpr CK_SLOT_ID SLOT = 7;
std::atomic<CK_SESSION_HANDLE> lastSession{0};
std::atomic<CK_ULONG> sleepers{0};

template <std::size_t N>
void fill(CK_UTF8CHAR (&field)[N], const char* text) {
  std::memset(field, ' ', N);
  std::memcpy(field, text, std::strlen(text));
}

CK_RV initialize(CK_VOID_PTR arguments) {
  auto args = static_cast<const CK_C_INITIALIZE_ARGS*>(arguments);
  bool threads = args != nullptr && (args->flags & CKF_OS_LOCKING_OK) != 0;
  return threads && ::getenv("SLOW_CANNOT_LOCK") != nullptr ? CKR_CANT_LOCK : CKR_OK;
}

CK_RV finalize(CK_VOID_PTR) {
  return CKR_OK;
}

CK_RV getSlotList(CK_BBOOL, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
  const char* hang = ::getenv("SLOW_HANG");
  while (hang != nullptr && ::access(hang, F_OK) == 0) ::usleep(1000);
  bool room = *count >= 1;
  *count = 1;
  if (list == nullptr) return CKR_OK;
  if (!room) return CKR_BUFFER_TOO_SMALL;
  list[0] = SLOT;
  return CKR_OK;
}

CK_RV getSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info) {
  if (slot != SLOT) return CKR_SLOT_ID_INVALID;
  *info = {};
  fill(info->slotDescription, "slow");
  fill(info->manufacturerID, "bulkhead tests");
  info->flags = CKF_TOKEN_PRESENT;
  return CKR_OK;
}

CK_RV getTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
  if (slot != SLOT) return CKR_SLOT_ID_INVALID;
  *info = {};
  fill(info->label, "slow");
  fill(info->manufacturerID, "bulkhead tests");
  fill(info->model, "slow");
  fill(info->serialNumber, "7");
  info->flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
  info->ulSessionCount = sleepers;
  return CKR_OK;
}

CK_RV openSession(CK_SLOT_ID slot, CK_FLAGS, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE_PTR out) {
  if (slot != SLOT) return CKR_SLOT_ID_INVALID;
  *out = ++lastSession;
  return CKR_OK;
}

CK_RV closeSession(CK_SESSION_HANDLE) {
  return CKR_OK;
}

CK_RV closeAllSessions(CK_SLOT_ID) {
  return CKR_OK;
}

CK_RV seedRandom(CK_SESSION_HANDLE, CK_BYTE_PTR seed, CK_ULONG length) {
  std::string path(reinterpret_cast<const char*>(seed), length);
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return CKR_VENDOR_DEFINED | static_cast<CK_RV>(errno);
  char byte;
  bool read = ::read(fd, &byte, 1) == 1;
  int error = errno;
  ::close(fd);
  return read ? CKR_OK : CKR_VENDOR_DEFINED | static_cast<CK_RV>(error);
}

CK_RV generateRandom(CK_SESSION_HANDLE, CK_BYTE_PTR out, CK_ULONG length) {
  ++sleepers;
  ::sleep(static_cast<unsigned>(length));
  --sleepers;
  std::memset(out, 0x5a, length);
  return CKR_OK;
}

CK_RV getFunctionList(CK_FUNCTION_LIST_PTR_PTR out);

CK_FUNCTION_LIST functions = [] {
  CK_FUNCTION_LIST f{};
  f.version = {2, 40};
  f.C_Initialize = initialize;
  f.C_Finalize = finalize;
  f.C_GetFunctionList = getFunctionList;
  f.C_GetSlotList = getSlotList;
  f.C_GetSlotInfo = getSlotInfo;
  f.C_GetTokenInfo = getTokenInfo;
  f.C_OpenSession = openSession;
  f.C_CloseSession = closeSession;
  f.C_CloseAllSessions = closeAllSessions;
  f.C_SeedRandom = seedRandom;
  f.C_GenerateRandom = generateRandom;
  return f;
}();

CK_RV getFunctionList(CK_FUNCTION_LIST_PTR_PTR out) {
  *out = &functions;
  return CKR_OK;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(
    CK_FUNCTION_LIST_PTR_PTR out) {
  return getFunctionList(out);
}
