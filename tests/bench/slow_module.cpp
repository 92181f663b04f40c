// SPDX-License-Identifier: BSD-2-Clause
//
// A module with one slot and hardly a function, of which C_GenerateRandom takes 100 ms: a card that
// is busy. What other threads get done in the meantime is the caller's merit, not the module's.
#include <cstring>
#include <thread>

#include "ipc/catalogue.h"

namespace {

using bulkhead::ipc::Function;
using bulkhead::ipc::Line;

template <typename Pointer>
struct Stub;
template <typename... A>
struct Stub<CK_RV (*)(A...)> {
  static CK_RV call(A...) { return CKR_FUNCTION_NOT_SUPPORTED; }
};

CK_RV ok(CK_VOID_PTR) {
  return CKR_OK;
}

CK_RV getInfo(CK_INFO* info) {
  std::memset(info, ' ', sizeof *info);
  info->cryptokiVersion = {2, 40};
  info->flags = 0;
  info->libraryVersion = {1, 0};
  return CKR_OK;
}

CK_RV getSlotList(CK_BBOOL, CK_SLOT_ID* slots, CK_ULONG* count) {
  CK_ULONG room = *count;
  *count = 1;
  if (slots == nullptr) return CKR_OK;
  if (room < 1) return CKR_BUFFER_TOO_SMALL;
  slots[0] = 0;
  return CKR_OK;
}

CK_RV getSlotInfo(CK_SLOT_ID, CK_SLOT_INFO* info) {
  std::memset(info, ' ', sizeof *info);
  info->flags = CKF_TOKEN_PRESENT;
  info->hardwareVersion = info->firmwareVersion = {1, 0};
  return CKR_OK;
}

CK_RV getTokenInfo(CK_SLOT_ID, CK_TOKEN_INFO* info) {
  std::memset(info, ' ', sizeof *info);
  std::memcpy(info->label, "bench", 5);
  info->flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
  info->ulMaxSessionCount = info->ulSessionCount = 0;
  info->ulMaxRwSessionCount = info->ulRwSessionCount = 0;
  info->ulMaxPinLen = info->ulMinPinLen = 0;
  info->ulTotalPublicMemory = info->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
  info->ulTotalPrivateMemory = info->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  info->hardwareVersion = info->firmwareVersion = {1, 0};
  return CKR_OK;
}

CK_RV openSession(CK_SLOT_ID, CK_FLAGS, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE* session) {
  static std::atomic<CK_SESSION_HANDLE> next{1};
  *session = next.fetch_add(1);
  return CKR_OK;
}

CK_RV closeSession(CK_SESSION_HANDLE) {
  return CKR_OK;
}

CK_RV getSessionInfo(CK_SESSION_HANDLE, CK_SESSION_INFO* info) {
  *info = {0, CKS_RO_PUBLIC_SESSION, CKF_SERIAL_SESSION, 0};
  return CKR_OK;
}

CK_RV generateRandom(CK_SESSION_HANDLE, CK_BYTE* bytes, CK_ULONG count) {
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  std::memset(bytes, 4, count);
  return CKR_OK;
}

CK_FUNCTION_LIST list;

CK_RV getFunctionList(CK_FUNCTION_LIST** out) {
  *out = &list;
  return CKR_OK;
}

const bool filled = [] {
  list.version = {2, 40};
#define FILL(name, major, minor, ...) \
  if constexpr (major == 2)           \
    reinterpret_cast<CK_FUNCTION_LIST_3_2&>(list).name = Stub<Line<Function::name>::Pointer>::call;
  BULKHEAD_CATALOGUE(FILL)
#undef FILL
  list.C_Initialize = list.C_Finalize = ok;
  list.C_GetInfo = getInfo;
  list.C_GetFunctionList = getFunctionList;
  list.C_GetSlotList = getSlotList;
  list.C_GetSlotInfo = getSlotInfo;
  list.C_GetTokenInfo = getTokenInfo;
  list.C_OpenSession = openSession;
  list.C_CloseSession = list.C_CloseAllSessions = closeSession;
  list.C_GetSessionInfo = getSessionInfo;
  list.C_GenerateRandom = generateRandom;
  return true;
}();

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST** out) {
  return getFunctionList(out);
}
