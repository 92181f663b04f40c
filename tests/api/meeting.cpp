// SPDX-License-Identifier: BSD-2-Clause
//
// A module that is initialised only together with another: its C_Initialize makes the file that
// pReserved names, and waits until there are two in the same directory. It fails when the other
// does not come for very long. It has no slots.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "ipc/pkcs11.h"

namespace {

CK_RV initialize(CK_VOID_PTR pointer) {
  auto args = static_cast<CK_C_INITIALIZE_ARGS*>(pointer);
  if (args == nullptr || args->pReserved == nullptr) return CKR_ARGUMENTS_BAD;
  std::filesystem::path own = static_cast<const char*>(args->pReserved);
  std::ofstream(own) << "here";
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(8);
  while (std::chrono::steady_clock::now() < end) {
    std::filesystem::directory_iterator files(own.parent_path()), none;
    if (std::distance(files, none) >= 2) return CKR_OK;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return CKR_DEVICE_ERROR;
}

CK_RV finalize(CK_VOID_PTR) {
  return CKR_OK;
}

CK_RV getSlotList(CK_BBOOL, CK_SLOT_ID_PTR, CK_ULONG_PTR count) {
  *count = 0;
  return CKR_OK;
}

CK_FUNCTION_LIST functions = [] {
  CK_FUNCTION_LIST list{};
  list.version = {2, 40};
  list.C_Initialize = initialize;
  list.C_Finalize = finalize;
  list.C_GetSlotList = getSlotList;
  return list;
}();

}  // namespace

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(
    CK_FUNCTION_LIST_PTR_PTR list) {
  *list = &functions;
  return CKR_OK;
}
