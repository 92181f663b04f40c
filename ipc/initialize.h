// SPDX-License-Identifier: BSD-2-Clause
//
// What a module is given in C_Initialize.
#pragma once

#include "ipc/pkcs11.h"

namespace bulkhead::ipc {

/// The arguments of C_Initialize (PKCS#11 3.2, 5.4.1) with the operating system's locks. Plain
/// value; what `reserved` points to is the caller's.
struct InitializeArgs {
  explicit InitializeArgs(void* reserved) {
    args.flags = CKF_OS_LOCKING_OK;
    args.pReserved = reserved;
  }
  CK_C_INITIALIZE_ARGS args{};
  /// NSS has one field more at the end, and its parameters where the standard has pReserved.
  void* beyond = nullptr;
};

}  // namespace bulkhead::ipc
