// SPDX-License-Identifier: BSD-2-Clause
//
// bulkhead-adopted.so: bulkhead as p11-kit has it in a .module file. A consumer that comes this way
// sees the modules that bulkheadctl adopted; all others p11-kit shows itself. It is an object of
// its own because nothing else tells: libraries that load modules by p11-kit, GnuTLS for one, keep
// x-init-reserved from them.
#include <dlfcn.h>

#include <cstring>

#include "ipc/pkcs11.h"
#include "proxy/bulkhead.h"
#include "proxy/consumers.h"

#define BULKHEAD_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using bulkhead::proxy::ADOPTED_MODULES;
using GetInterface = decltype(CK_FUNCTION_LIST_3_0::C_GetInterface);

// bulkhead's C_GetInterface, which has the name of our own: looked up in that library alone.
CK_RV adopted(CK_VERSION_PTR version, CK_INTERFACE_PTR_PTR out, CK_FLAGS flags) {
  static const GetInterface get = [] {
    Dl_info library{};
    (void)::dladdr(reinterpret_cast<void*>(&bulkhead_strerror), &library);
    void* bulkhead = ::dlopen(library.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    void* found = bulkhead == nullptr ? nullptr : ::dlsym(bulkhead, "C_GetInterface");
    return reinterpret_cast<GetInterface>(found);
  }();
  if (get == nullptr) return CKR_GENERAL_ERROR;
  CK_UTF8CHAR name[sizeof ADOPTED_MODULES];
  std::memcpy(name, ADOPTED_MODULES, sizeof name);
  return get(name, version, out, flags);
}

}  // namespace

BULKHEAD_EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  if (list == nullptr) return CKR_ARGUMENTS_BAD;
  CK_VERSION version{2, 40};
  CK_INTERFACE_PTR interface = nullptr;
  CK_RV rv = adopted(&version, &interface, 0);
  if (rv == CKR_OK) *list = static_cast<CK_FUNCTION_LIST_PTR>(interface->pFunctionList);
  return rv;
}

BULKHEAD_EXPORT CK_RV C_GetInterfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count) {
  CK_INTERFACE_PTR interface = nullptr;
  CK_RV rv = adopted(nullptr, &interface, 0);
  if (rv != CKR_OK) return rv;
  return static_cast<CK_FUNCTION_LIST_3_2*>(interface->pFunctionList)
      ->C_GetInterfaceList(list, count);
}

BULKHEAD_EXPORT CK_RV C_GetInterface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version,
                                     CK_INTERFACE_PTR_PTR interface, CK_FLAGS flags) {
  if (name != nullptr && std::strcmp(reinterpret_cast<const char*>(name), "PKCS 11") != 0)
    return CKR_ARGUMENTS_BAD;
  return adopted(version, interface, flags);
}
