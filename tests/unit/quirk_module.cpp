// SPDX-License-Identifier: BSD-2-Clause
//
// Modules with one quirk each, chosen at build time by QUIRK: what a worker's loader must cope
// with.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "ipc/pkcs11.h"

#define BULKHEAD_EXPORT extern "C" __attribute__((visibility("default")))

enum Quirk {
  PLAIN,
  CANNOT_LOCK,
  SHORT_LIST_WITH_NEW_VERSION,
  BROKEN_INTERFACE,
  NEW_INTERFACE,
  OLD_NEW_INTERFACE,
  VERSION_ZERO,
  VERSION_ABSURD,
  NO_LIST,
  NO_INITIALIZE,
  LIBRARY_WITH_INTERFACE,
  BORROWS_INTERFACE,
};

// What ties the module that borrows to the library that has the interface.
BULKHEAD_EXPORT int quirkAnchor();
#if HAS_ANCHOR
int quirkAnchor() {
  return 0;
}
#endif

namespace {

CK_RV initialize(CK_VOID_PTR argument) {
  auto args = static_cast<CK_C_INITIALIZE_ARGS*>(argument);
#if NEEDS_ANCHOR
  if (quirkAnchor() != 0) return CKR_GENERAL_ERROR;
#endif
  if (QUIRK == CANNOT_LOCK && args != nullptr && (args->flags & CKF_OS_LOCKING_OK) != 0)
    return CKR_CANT_LOCK;
  return CKR_OK;
}

// Which list a session came by tells which way the loader took.
CK_RV finalizeOfInterface(CK_VOID_PTR) {
  return CKR_OK;
}
CK_RV finalizeOfList(CK_VOID_PTR) {
  return CKR_OK;
}

[[maybe_unused]] CK_FUNCTION_LIST* classicList() {
  auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  // The list ends where readable memory ends: a byte read beyond it ends the test.
  void* memory =
      ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto end = static_cast<char*>(memory) + page;
  ::mprotect(end, page, PROT_NONE);
  auto list = reinterpret_cast<CK_FUNCTION_LIST*>(end - sizeof(CK_FUNCTION_LIST));
  list->version = {2, 40};
  if (QUIRK == SHORT_LIST_WITH_NEW_VERSION) list->version = {3, 2};
  if (QUIRK == VERSION_ZERO) list->version = {0, 0};
  if (QUIRK == VERSION_ABSURD) list->version = {255, 255};
  list->C_Initialize = QUIRK == NO_INITIALIZE ? nullptr : initialize;
  list->C_Finalize = finalizeOfList;
  return list;
}

[[maybe_unused]] CK_RV interface(CK_VERSION* version, CK_INTERFACE** out) {
  static CK_UTF8CHAR name[] = "PKCS 11";
  static CK_FUNCTION_LIST_3_2 list;
  static CK_INTERFACE only = {name, &list, 0};
  CK_VERSION own = {3, static_cast<CK_BYTE>(QUIRK == OLD_NEW_INTERFACE ? 0 : 2)};
  if (version != nullptr && (version->major != own.major || version->minor != own.minor))
    return CKR_ARGUMENTS_BAD;
  list.version = own;
  list.C_Initialize = initialize;
  list.C_Finalize = finalizeOfInterface;
  // Beyond the end of a 3.0 list, so no function of this module.
  list.C_EncapsulateKey = [](CK_SESSION_HANDLE, CK_MECHANISM_PTR, CK_OBJECT_HANDLE,
                             CK_ATTRIBUTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR,
                             CK_OBJECT_HANDLE_PTR) -> CK_RV { return CKR_OK; };
  *out = &only;
  return CKR_OK;
}

}  // namespace

#if HAS_LIST
BULKHEAD_EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST** out) {
  if (QUIRK == NO_LIST) return CKR_GENERAL_ERROR;
  *out = classicList();
  return CKR_OK;
}
#endif

#if HAS_INTERFACE
BULKHEAD_EXPORT CK_RV C_GetInterface(CK_UTF8CHAR*, CK_VERSION* version, CK_INTERFACE** out,
                                     CK_FLAGS) {
  if (QUIRK == BROKEN_INTERFACE) return CKR_FUNCTION_NOT_SUPPORTED;
  return interface(version, out);
}
#endif
