// SPDX-License-Identifier: BSD-2-Clause
// <stddef.h> comes first: what the header includes must not land in the namespace below.
#include <stddef.h>

#include "tests/unit/pkcs11_header_list.h"

namespace bulkhead::test {
namespace soft_hsm_header {

PKCS11_FALLBACK_CONSTANTS

namespace theirs {
#include <softhsm/pkcs11.h>
}  // namespace theirs

PKCS11_FALLBACK_STRUCTURES

namespace theirs {
PKCS11_TABLES(tables, "SoftHSM")
}  // namespace theirs

}  // namespace soft_hsm_header

Header softHsmHeader() {
  return soft_hsm_header::theirs::tables();
}

}  // namespace bulkhead::test
