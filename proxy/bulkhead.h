/* SPDX-License-Identifier: BSD-2-Clause
 *
 * bulkhead.h: PKCS#11 modules shared by parts of one program that know nothing of each other.
 *
 * There are two kinds of module here. One that the caller loaded itself runs in the caller's
 * process, as ever; bulkhead_initialize() and bulkhead_finalize() see to it that nobody finalises
 * it under somebody else. One that bulkhead_module_load() or bulkhead_modules_load() yields runs in
 * a confined process of its own, the same one that serves those who load bulkhead-pkcs11.so:
 * library and module are one object with one state.
 *
 * A module is named by its function list, as in PKCS#11: the lists that are loaded here work like
 * those of C_GetFunctionList (PKCS#11 3.2, section 5.4), and each is a consumer of its own with
 * sessions of its own.
 *
 * Every function may be called from any thread. None is a cancellation point, throws, changes
 * errno, or holds a lock while a module is called. A forked child keeps the lists that were loaded,
 * but nothing is initialised in it: it calls bulkhead_initialize() anew, and what it finalises or
 * releases is its own, never the parent's.
 *
 * Include a PKCS#11 header before this one: p11-kit's, NSS's, SoftHSM's or OASIS'. None is included
 * here; without one this header compiles by itself and CK_FUNCTION_LIST is an incomplete type.
 */
#ifndef BULKHEAD_H
#define BULKHEAD_H

#if defined(CKR_OK) && defined(CRYPTOKI_GNU)
/* p11-kit's header with names in small letters. */
typedef unsigned long CK_RV;
typedef struct ck_function_list CK_FUNCTION_LIST;
#elif !defined(CKR_OK)
typedef unsigned long CK_RV;
typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** bulkhead_modules_load(): only modules whose file says `trust-policy: yes`. */
#define BULKHEAD_TRUSTED 1U

/** The lists are of version 3.2: each is the beginning of a CK_FUNCTION_LIST_3_2. What a module
 * lacks answers CKR_FUNCTION_NOT_SUPPORTED. Without this they are of version 2.40. */
#define BULKHEAD_VERSION_3_2 2U

/** Initialises a module for the caller: calls its C_Initialize when this is the first time, else
 * counts.
 *
 * `list` is any module's function list, whoever loaded it. Two lists of one module, of different
 * versions say, count as one. `reserved` is for the module's pReserved and goes with the first
 * call alone; NULL, but where a module's manual says otherwise. The module gets CKF_OS_LOCKING_OK
 * and no mutex functions (PKCS#11 3.2, 5.4.1).
 *
 * A module that answers CKR_CRYPTOKI_ALREADY_INITIALIZED was initialised by somebody who does not
 * go through here. That is CKR_OK, and it is left to them to finalise it.
 *
 * While another thread initialises or finalises the same module, the call waits for that. CKR_OK;
 * what C_Initialize answered; CKR_ARGUMENTS_BAD for a list that is NULL or lacks C_Initialize or
 * C_Finalize; CKR_FUNCTION_FAILED when it is called from within this module's own C_Initialize or
 * C_Finalize, or when threads that initialise different modules would wait for each other for ever;
 * CKR_HOST_MEMORY. After an error nothing is counted. */
CK_RV bulkhead_initialize(CK_FUNCTION_LIST* list, void* reserved);

/** Undoes one bulkhead_initialize(); the last one calls C_Finalize.
 *
 * CKR_OK; what C_Finalize answered, and the module counts as finalised whatever that was;
 * CKR_CRYPTOKI_NOT_INITIALIZED without a call of the module when there is nothing to undo, as in a
 * forked child; CKR_ARGUMENTS_BAD and CKR_FUNCTION_FAILED as above. */
CK_RV bulkhead_finalize(CK_FUNCTION_LIST* list);

/** Loads one module, isolated, as a consumer that sees this module's slots only.
 *
 * `name` is the name of a configured module (its file's, without ".module"), or the path of a
 * module. A path that is not absolute is below the directory where PKCS#11 modules are installed. A
 * path that a configured module has stands for that one, with its policy. `flags` is 0 or
 * BULKHEAD_VERSION_3_2.
 *
 * Only the configuration is read; the module is started by bulkhead_initialize(), or C_Initialize,
 * as it is configured then, which fails when it can't be. C_GetInfo is the module's. Slots have
 * the ids that they have through bulkhead-pkcs11.so.
 *
 * The list is the caller's until bulkhead_module_release(). NULL, with bulkhead_message(), when
 * there is no such module, it is disabled for this program, its file has a fault, it would load all
 * modules once more, `flags` has other bits, or all lists are in use (there are 136). */
CK_FUNCTION_LIST* bulkhead_module_load(const char* name, unsigned flags);

/** Gives back what bulkhead_module_load() yielded. One that is initialised is finalised first: its
 * sessions are closed, calls that are under way on it answer CKR_CRYPTOKI_NOT_INITIALIZED. The
 * list must not be used any more. NULL, and a list that is not a loaded one, are left alone. */
void bulkhead_module_release(CK_FUNCTION_LIST* list);

/** Loads all modules that are configured, by priority and name; each as bulkhead_module_load()
 * does.
 *
 * `program` decides over `enable-in` and `disable-in`; NULL is the program that runs. `flags` is 0
 * or an OR of the above. A module whose file has a fault is left out, with a line in the log.
 *
 * A NULL-terminated array, empty where nothing is configured, that is the caller's until
 * bulkhead_modules_release(). NULL, with bulkhead_message(), when a module with `critical: yes` is
 * one that would be left out, `flags` has other bits, or all lists or all memory are in use. */
CK_FUNCTION_LIST** bulkhead_modules_load(const char* program, unsigned flags);

/** Initialises them all, side by side, each once as bulkhead_initialize() does.
 *
 * Those that fail are released and taken out of the array, which stays in order and
 * NULL-terminated; bulkhead_message() then has the last of them. CKR_OK, also when some were taken
 * out. When a critical one fails, its error, and nothing is initialised or taken out. `lists` is
 * what bulkhead_modules_load() yielded, or any such array; CKR_ARGUMENTS_BAD for NULL. */
CK_RV bulkhead_modules_initialize(CK_FUNCTION_LIST** lists);

/** Finalises them all, each once as bulkhead_finalize() does. CKR_OK, or the last error of any.
 * CKR_ARGUMENTS_BAD for NULL. */
CK_RV bulkhead_modules_finalize(CK_FUNCTION_LIST** lists);

/** Releases each as bulkhead_module_release() does, and frees the array. NULL is left alone. */
void bulkhead_modules_release(CK_FUNCTION_LIST** lists);

/** The name of a loaded module, which its policy and its lines in the log go by: that of its file,
 * or the file name of a module that is not configured. Valid as long as the process. NULL for a
 * list that is not a loaded one. */
const char* bulkhead_module_name(CK_FUNCTION_LIST* list);

/** The path of a loaded module, absolute. The rest as for bulkhead_module_name(). */
const char* bulkhead_module_path(CK_FUNCTION_LIST* list);

/** What a loaded module's files have for `key`, merged and as it stands there: "yes", "10". Keys
 * that bulkhead does not know are there, too. Valid as long as the process. NULL when no file has
 * it, and for a list that is not a loaded one. */
const char* bulkhead_module_config(CK_FUNCTION_LIST* list, const char* key);

/** Why the last function above failed that this thread called, for people to read; empty when it
 * did not. Never NULL; valid until the thread calls another of them, or C_Initialize of a loaded
 * list. At most 511 characters in one line. */
const char* bulkhead_message(void);

/** The name of a return value of PKCS#11, "CKR_DEVICE_REMOVED"; "CKR_VENDOR_DEFINED" for all above
 * that, and "an unknown error" for others without one. Never NULL; valid as long as the process. */
const char* bulkhead_strerror(CK_RV rv);

#ifdef __cplusplus
}
#endif

#endif
