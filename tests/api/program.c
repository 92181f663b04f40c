/* SPDX-License-Identifier: BSD-2-Clause
 *
 * What a program does that has its PKCS#11 modules from bulkhead.h: every function once and more,
 * in what C and C++ have in common, with the PKCS#11 header of whoever compiles it.
 *
 * Usage: program MODULE TOKEN: the name of a configured module, and a token of it without login.
 */
#ifdef PKCS11_HEADER
#include PKCS11_HEADER
#endif

#include <bulkhead.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

static void check(int holds, const char* what) {
  if (holds) return;
  ++failures;
  fprintf(stderr, "not so: %s (%s)\n", what, bulkhead_message());
}
#define CHECK(holds) check((holds) ? 1 : 0, #holds)

#ifdef CKR_OK
/* The number of tokens of that label that a list shows. */
static int tokens(CK_FUNCTION_LIST* list, const char* label) {
  CK_SLOT_ID slots[64];
  CK_ULONG count = 64;
  CK_ULONG i;
  int found = 0;
  if (list->C_GetSlotList(1, slots, &count) != CKR_OK) return -1;
  for (i = 0; i < count; ++i) {
    CK_TOKEN_INFO info;
    if (list->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
        memcmp(info.label, label, strlen(label)) == 0)
      ++found;
  }
  return found;
}

static void uses(CK_FUNCTION_LIST* list, const char* label) {
  CK_INFO info;
  CHECK(tokens(list, label) == 1);
  CHECK(list->C_GetInfo(&info) == CKR_OK);
  CHECK(memcmp(info.libraryDescription, "bulkhead", 8) != 0);
}
#else
static void uses(CK_FUNCTION_LIST* list, const char* label) {
  (void)list;
  (void)label;
}
#define CKR_OK 0UL
#define CKR_ARGUMENTS_BAD 7UL
#define CKR_CRYPTOKI_NOT_INITIALIZED 0x190UL
#endif

int main(int argc, char** argv) {
  CK_FUNCTION_LIST* list;
  CK_FUNCTION_LIST* same;
  CK_FUNCTION_LIST** all;
  CK_FUNCTION_LIST** one;
  int seen = 0;

  if (argc != 3) {
    fprintf(stderr, "usage: %s MODULE TOKEN\n", argv[0]);
    return 2;
  }

  CHECK(bulkhead_module_load("no-such-module", 0) == NULL);
  CHECK(bulkhead_message()[0] != '\0');
  CHECK(strcmp(bulkhead_strerror(CKR_CRYPTOKI_NOT_INITIALIZED), "CKR_CRYPTOKI_NOT_INITIALIZED") ==
        0);

  list = bulkhead_module_load(argv[1], 0);
  CHECK(list != NULL);
  if (list == NULL) return 1;
  CHECK(strcmp(bulkhead_module_name(list), argv[1]) == 0);
  CHECK(bulkhead_module_path(list)[0] == '/');
  CHECK(strcmp(bulkhead_module_config(list, "module"), bulkhead_module_path(list)) == 0);
  CHECK(bulkhead_module_config(list, "no-such-key") == NULL);

  CHECK(bulkhead_finalize(list) == CKR_CRYPTOKI_NOT_INITIALIZED);
  CHECK(bulkhead_initialize(list, NULL) == CKR_OK);
  CHECK(bulkhead_initialize(list, NULL) == CKR_OK);
  CHECK(bulkhead_finalize(list) == CKR_OK);
  uses(list, argv[2]);

  same = bulkhead_module_load(bulkhead_module_path(list), BULKHEAD_VERSION_3_2);
  CHECK(same != NULL && same != list);
  CHECK(strcmp(bulkhead_module_name(same), argv[1]) == 0);
  CHECK(bulkhead_initialize(same, NULL) == CKR_OK);
  uses(same, argv[2]);
  bulkhead_module_release(same);

  all = bulkhead_modules_load(NULL, 0);
  CHECK(all != NULL);
  if (all == NULL) return 1;
  CHECK(bulkhead_modules_initialize(NULL) == CKR_ARGUMENTS_BAD);
  CHECK(bulkhead_modules_initialize(all) == CKR_OK);
  for (one = all; *one != NULL; ++one) {
    if (strcmp(bulkhead_module_name(*one), argv[1]) != 0) continue;
    ++seen;
    uses(*one, argv[2]);
  }
  CHECK(seen == 1);
  CHECK(bulkhead_modules_finalize(all) == CKR_OK);
  bulkhead_modules_release(all);

  uses(list, argv[2]);
  CHECK(bulkhead_finalize(list) == CKR_OK);
  bulkhead_module_release(list);
  return failures == 0 ? 0 : 1;
}
