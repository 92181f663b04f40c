/* SPDX-License-Identifier: BSD-2-Clause
 *
 * bulkhead.h behind each PKCS#11 header that a program may have, behind none, and before one: it
 * only has to compile, as strict C and C++.
 */
#ifdef PKCS11_HEADER_BEFORE
#include PKCS11_HEADER_BEFORE
#endif

#include <bulkhead.h>

#ifdef PKCS11_HEADER_AFTER
#include PKCS11_HEADER_AFTER
#endif

CK_RV everyFunction(CK_FUNCTION_LIST** lists);

CK_RV everyFunction(CK_FUNCTION_LIST** lists) {
  CK_RV (*const onList)(CK_FUNCTION_LIST*) = bulkhead_finalize;
  CK_RV rv = bulkhead_initialize(*lists, 0);
  return rv != 0 ? rv : onList(*lists);
}
