// SPDX-License-Identifier: BSD-2-Clause
// <prtypes.h> comes first: what the header includes must not land in the namespace below.
#include <prtypes.h>

#include "tests/unit/pkcs11_header_list.h"

namespace bulkhead::test {
namespace nss_header {

PKCS11_FALLBACK_CONSTANTS

namespace theirs {
#include <nss/pkcs11.h>
}  // namespace theirs

PKCS11_FALLBACK_STRUCTURES

namespace theirs {
PKCS11_TABLES(tables, "NSS")
}  // namespace theirs

}  // namespace nss_header

Header nssHeader() {
  return nss_header::theirs::tables();
}

}  // namespace bulkhead::test
