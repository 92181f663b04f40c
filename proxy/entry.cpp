// SPDX-License-Identifier: BSD-2-Clause
//
// What the module exports. A caller that looks up other functions by name finds none: PKCS#11 has
// them in the lists.

#include "ipc/pkcs11.h"
#include "proxy/consumers.h"

#define BULKHEAD_EXPORT extern "C" __attribute__((visibility("default")))

BULKHEAD_EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  return bulkhead::proxy::Consumers::functionList(list);
}

BULKHEAD_EXPORT CK_RV C_GetInterfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count) {
  return bulkhead::proxy::Consumers::interfaceList(list, count);
}

BULKHEAD_EXPORT CK_RV C_GetInterface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version,
                                     CK_INTERFACE_PTR_PTR interface, CK_FLAGS flags) {
  return bulkhead::proxy::Consumers::interface(name, version, interface, flags);
}
