// SPDX-License-Identifier: BSD-2-Clause
//
// Consumers: each call that asks for functions gets a list of its own, and the list tells who is
// calling. The lists are static; no code is made at run time.
#pragma once

#include <optional>

#include "ipc/pkcs11.h"

namespace bulkhead::proxy {

struct ModuleConfig;

/// How many function lists there are: consumers that can be alive at once.
inline constexpr unsigned MAX_CONSUMERS = 136;

/// The name of an interface like the standard one, whose consumer sees adopted modules only: what
/// p11-kit gets to load, by bulkhead-adopted.so.
inline constexpr char ADOPTED_MODULES[] = "PKCS 11 of adopted modules";

/// The pool of function lists. Of the process and its forked children alike: a child's consumers
/// keep the lists that they got from the parent. Any thread.
class Consumers {
 public:
  /// C_GetFunctionList: a new consumer, with a list of version 2.40. Called through a list, it
  /// yields that list's consumer again. CKR_HOST_MEMORY when all lists are in use.
  static CK_RV functionList(CK_FUNCTION_LIST_PTR_PTR out);
  static CK_RV functionList(unsigned consumer, CK_FUNCTION_LIST_PTR_PTR out);

  /// C_GetInterfaceList: one new consumer with a list of each version (PKCS#11 3.2, 5.4.4). Called
  /// through a list that was loaded, it yields that list's consumer; the new one of a consumer that
  /// sees adopted modules only sees those.
  static CK_RV interfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count,
                             std::optional<unsigned> caller = std::nullopt);

  /// C_GetInterface: a new consumer with the version asked for, 3.2 by default (5.4.5), of the
  /// standard interface or ADOPTED_MODULES. The same holds for `caller`.
  static CK_RV interface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version, CK_INTERFACE_PTR_PTR out,
                         CK_FLAGS flags, std::optional<unsigned> caller = std::nullopt);

  /// A new consumer that sees one module only; `module` is one that is never destroyed. Its list is
  /// not handed out again before release(). Null when all lists are in use.
  static CK_FUNCTION_LIST* load(const ModuleConfig* module, CK_VERSION version);
  static void release(unsigned consumer);

  /// The consumer whose list this is, if load() yielded it and it was not released since.
  static std::optional<unsigned> loaded(const CK_FUNCTION_LIST* list);

  /// The one module that a consumer sees; null where it sees all.
  static const ModuleConfig* moduleOf(unsigned consumer);

  /// Whether a consumer sees adopted modules only.
  static bool adoptedOnly(unsigned consumer);

  /// The version of the list that the consumer was given.
  static CK_VERSION version(unsigned consumer);

  /// Notes that a consumer was initialised or finalised just now. A list that is not initialised in
  /// this process may be handed out again when the pool is used up, the one idle longest first.
  static void touch(unsigned consumer);
};

}  // namespace bulkhead::proxy
