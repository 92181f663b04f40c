// SPDX-License-Identifier: BSD-2-Clause
//
// A library with a PKCS#11 module of its own that knows nothing of others in the process. It loads
// the module itself, and initialises it through bulkhead or, with `directly`, as most do today.
#include <dlfcn.h>

#include "ipc/pkcs11.h"
#include "proxy/bulkhead.h"

#define LIBRARY_EXPORT extern "C" __attribute__((visibility("default")))

namespace {
CK_FUNCTION_LIST* module = nullptr;
bool directly = false;
}  // namespace

LIBRARY_EXPORT CK_RV begin(const char* path, bool direct) {
  directly = direct;
  void* handle = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return CKR_GENERAL_ERROR;
  auto get = reinterpret_cast<CK_RV (*)(CK_FUNCTION_LIST**)>(::dlsym(handle, "C_GetFunctionList"));
  if (get == nullptr || get(&module) != CKR_OK) return CKR_GENERAL_ERROR;
  if (!directly) return bulkhead_initialize(module, nullptr);
  CK_RV rv = module->C_Initialize(nullptr);
  return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

LIBRARY_EXPORT CK_RV use() {
  CK_ULONG count = 0;
  return module->C_GetSlotList(CK_FALSE, nullptr, &count);
}

LIBRARY_EXPORT CK_RV end() {
  return directly ? module->C_Finalize(nullptr) : bulkhead_finalize(module);
}
