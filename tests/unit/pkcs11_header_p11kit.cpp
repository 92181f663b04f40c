// SPDX-License-Identifier: BSD-2-Clause
// <stddef.h> comes first: what the header includes must not land in the namespace below.
#include <stddef.h>

#include "tests/unit/pkcs11_header_list.h"

namespace bulkhead::test {
namespace p11_kit_header {

PKCS11_FALLBACK_CONSTANTS

namespace theirs {
#include <p11-kit-1/p11-kit/pkcs11.h>
}  // namespace theirs

PKCS11_FALLBACK_STRUCTURES

namespace theirs {
PKCS11_TABLES(tables, "p11-kit")
}  // namespace theirs

}  // namespace p11_kit_header

Header p11KitHeader() {
  return p11_kit_header::theirs::tables();
}

}  // namespace bulkhead::test
