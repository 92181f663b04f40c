// SPDX-License-Identifier: BSD-2-Clause
//
// The catalogue: one line per PKCS#11 function, with the role of each argument. Function lists,
// encoding, decoding, the call in the worker, names in logs and in policies, round-trip tests and
// fuzzers' input all derive from these lines. The compiler checks each line against the function's
// type in pkcs11.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "ipc/params.h"
#include "ipc/pkcs11.h"

namespace bulkhead::ipc {

/// What an argument, or a pair of arguments, is for. `Args` are its C types.
namespace role {
template <typename... A>
struct Takes {
  using Args = std::tuple<A...>;
};
struct Slot : Takes<CK_SLOT_ID> {};
struct Session : Takes<CK_SESSION_HANDLE> {};
struct Object : Takes<CK_OBJECT_HANDLE> {};  ///< names an object
struct Key : Takes<CK_OBJECT_HANDLE> {};     ///< names a key: other errors than an object's
struct Number : Takes<CK_ULONG> {};          ///< number, flags, type
struct Bool : Takes<CK_BBOOL> {};
struct BytesIn : Takes<CK_BYTE_PTR, CK_ULONG> {};
struct Label : Takes<CK_BYTE_PTR> {};                   ///< 32 bytes, blank padded
struct BytesOut : Takes<CK_BYTE_PTR, CK_ULONG_PTR> {};  ///< the two-call convention
/// The same; of some mechanisms a struct that points to what lies behind it in the buffer.
struct SignatureOut : Takes<CK_BYTE_PTR, CK_ULONG_PTR> {};
struct Fill : Takes<CK_BYTE_PTR, CK_ULONG> {};  ///< filled entirely
struct TemplateIn : Takes<CK_ATTRIBUTE_PTR, CK_ULONG> {};
struct TemplateFill : Takes<CK_ATTRIBUTE_PTR, CK_ULONG> {};  ///< C_GetAttributeValue's
template <Use U = Use::Operation>
struct Mechanism : Takes<CK_MECHANISM_PTR> {};
struct MessageParameter : Takes<CK_VOID_PTR, CK_ULONG> {};  ///< of the session's mechanism
struct NumberOut : Takes<CK_ULONG_PTR> {};
struct ObjectOut : Takes<CK_OBJECT_HANDLE_PTR> {};
struct NumbersOut : Takes<CK_ULONG_PTR, CK_ULONG_PTR> {};  ///< the two-call convention
struct ObjectsOut : Takes<CK_OBJECT_HANDLE_PTR, CK_ULONG, CK_ULONG_PTR> {};
template <typename T>
struct StructOut : Takes<T*> {};
template <typename T>
struct Local : Takes<T> {};  ///< never travels: the proxy answers, or it is NULL for a module
}  // namespace role

// Function, version that brought it, roles of its arguments.
// clang-format off
#define BULKHEAD_CATALOGUE(F)                                                                      \
  F(C_Initialize,           2, 40, Local<CK_VOID_PTR>)                                             \
  F(C_Finalize,             2, 40, Local<CK_VOID_PTR>)                                             \
  F(C_GetInfo,              2, 40, StructOut<CK_INFO>)                                             \
  F(C_GetFunctionList,      2, 40, Local<CK_FUNCTION_LIST_PTR_PTR>)                                \
  F(C_GetSlotList,          2, 40, Bool, NumbersOut)                                               \
  F(C_GetSlotInfo,          2, 40, Slot, StructOut<CK_SLOT_INFO>)                                  \
  F(C_GetTokenInfo,         2, 40, Slot, StructOut<CK_TOKEN_INFO>)                                 \
  F(C_GetMechanismList,     2, 40, Slot, NumbersOut)                                               \
  F(C_GetMechanismInfo,     2, 40, Slot, Number, StructOut<CK_MECHANISM_INFO>)                     \
  F(C_InitToken,            2, 40, Slot, BytesIn, Label)                                           \
  F(C_InitPIN,              2, 40, Session, BytesIn)                                               \
  F(C_SetPIN,               2, 40, Session, BytesIn, BytesIn)                                      \
  F(C_OpenSession,          2, 40, Slot, Number, Local<CK_VOID_PTR>, Local<CK_NOTIFY>, NumberOut)  \
  F(C_CloseSession,         2, 40, Session)                                                        \
  F(C_CloseAllSessions,     2, 40, Slot)                                                           \
  F(C_GetSessionInfo,       2, 40, Session, StructOut<CK_SESSION_INFO>)                            \
  F(C_GetOperationState,    2, 40, Session, BytesOut)                                              \
  F(C_SetOperationState,    2, 40, Session, BytesIn, Key, Key)                                     \
  F(C_Login,                2, 40, Session, Number, BytesIn)                                       \
  F(C_Logout,               2, 40, Session)                                                        \
  F(C_CreateObject,         2, 40, Session, TemplateIn, ObjectOut)                                 \
  F(C_CopyObject,           2, 40, Session, Object, TemplateIn, ObjectOut)                         \
  F(C_DestroyObject,        2, 40, Session, Object)                                                \
  F(C_GetObjectSize,        2, 40, Session, Object, NumberOut)                                     \
  F(C_GetAttributeValue,    2, 40, Session, Object, TemplateFill)                                  \
  F(C_SetAttributeValue,    2, 40, Session, Object, TemplateIn)                                    \
  F(C_FindObjectsInit,      2, 40, Session, TemplateIn)                                            \
  F(C_FindObjects,          2, 40, Session, ObjectsOut)                                            \
  F(C_FindObjectsFinal,     2, 40, Session)                                                        \
  F(C_EncryptInit,          2, 40, Session, Mechanism<>, Key)                                      \
  F(C_Encrypt,              2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_EncryptUpdate,        2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_EncryptFinal,         2, 40, Session, BytesOut)                                              \
  F(C_DecryptInit,          2, 40, Session, Mechanism<>, Key)                                      \
  F(C_Decrypt,              2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_DecryptUpdate,        2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_DecryptFinal,         2, 40, Session, BytesOut)                                              \
  F(C_DigestInit,           2, 40, Session, Mechanism<>)                                           \
  F(C_Digest,               2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_DigestUpdate,         2, 40, Session, BytesIn)                                               \
  F(C_DigestKey,            2, 40, Session, Key)                                                   \
  F(C_DigestFinal,          2, 40, Session, BytesOut)                                              \
  F(C_SignInit,             2, 40, Session, Mechanism<>, Key)                                      \
  F(C_Sign,                 2, 40, Session, BytesIn, SignatureOut)                                 \
  F(C_SignUpdate,           2, 40, Session, BytesIn)                                               \
  F(C_SignFinal,            2, 40, Session, SignatureOut)                                          \
  F(C_SignRecoverInit,      2, 40, Session, Mechanism<>, Key)                                      \
  F(C_SignRecover,          2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_VerifyInit,           2, 40, Session, Mechanism<>, Key)                                      \
  F(C_Verify,               2, 40, Session, BytesIn, BytesIn)                                      \
  F(C_VerifyUpdate,         2, 40, Session, BytesIn)                                               \
  F(C_VerifyFinal,          2, 40, Session, BytesIn)                                               \
  F(C_VerifyRecoverInit,    2, 40, Session, Mechanism<>, Key)                                      \
  F(C_VerifyRecover,        2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_DigestEncryptUpdate,  2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_DecryptDigestUpdate,  2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_SignEncryptUpdate,    2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_DecryptVerifyUpdate,  2, 40, Session, BytesIn, BytesOut)                                     \
  F(C_GenerateKey,          2, 40, Session, Mechanism<>, TemplateIn, ObjectOut)                    \
  F(C_GenerateKeyPair,      2, 40, Session, Mechanism<>, TemplateIn, TemplateIn,                   \
                                   ObjectOut, ObjectOut)                                           \
  F(C_WrapKey,              2, 40, Session, Mechanism<Use::Wrap>, Key, Key, BytesOut)              \
  F(C_UnwrapKey,            2, 40, Session, Mechanism<Use::Wrap>, Key, BytesIn, TemplateIn,        \
                                   ObjectOut)                                                      \
  F(C_DeriveKey,            2, 40, Session, Mechanism<>, Key, TemplateIn, ObjectOut)               \
  F(C_SeedRandom,           2, 40, Session, BytesIn)                                               \
  F(C_GenerateRandom,       2, 40, Session, Fill)                                                  \
  F(C_GetFunctionStatus,    2, 40, Session)                                                        \
  F(C_CancelFunction,       2, 40, Session)                                                        \
  F(C_WaitForSlotEvent,     2, 40, Number, NumberOut, Local<CK_VOID_PTR>)                          \
  F(C_GetInterfaceList,     3, 0,  Local<CK_INTERFACE_PTR>, Local<CK_ULONG_PTR>)                   \
  F(C_GetInterface,         3, 0,  Local<CK_UTF8CHAR_PTR>, Local<CK_VERSION_PTR>,                  \
                                   Local<CK_INTERFACE_PTR_PTR>, Local<CK_FLAGS>)                   \
  F(C_LoginUser,            3, 0,  Session, Number, BytesIn, BytesIn)                              \
  F(C_SessionCancel,        3, 0,  Session, Number)                                                \
  F(C_MessageEncryptInit,   3, 0,  Session, Mechanism<Use::Message>, Key)                          \
  F(C_EncryptMessage,       3, 0,  Session, MessageParameter, BytesIn, BytesIn, BytesOut)          \
  F(C_EncryptMessageBegin,  3, 0,  Session, MessageParameter, BytesIn)                             \
  F(C_EncryptMessageNext,   3, 0,  Session, MessageParameter, BytesIn, BytesOut, Number)           \
  F(C_MessageEncryptFinal,  3, 0,  Session)                                                        \
  F(C_MessageDecryptInit,   3, 0,  Session, Mechanism<Use::Message>, Key)                          \
  F(C_DecryptMessage,       3, 0,  Session, MessageParameter, BytesIn, BytesIn, BytesOut)          \
  F(C_DecryptMessageBegin,  3, 0,  Session, MessageParameter, BytesIn)                             \
  F(C_DecryptMessageNext,   3, 0,  Session, MessageParameter, BytesIn, BytesOut, Number)           \
  F(C_MessageDecryptFinal,  3, 0,  Session)                                                        \
  F(C_MessageSignInit,      3, 0,  Session, Mechanism<Use::Message>, Key)                          \
  F(C_SignMessage,          3, 0,  Session, MessageParameter, BytesIn, BytesOut)                   \
  F(C_SignMessageBegin,     3, 0,  Session, MessageParameter)                                      \
  F(C_SignMessageNext,      3, 0,  Session, MessageParameter, BytesIn, BytesOut)                   \
  F(C_MessageSignFinal,     3, 0,  Session)                                                        \
  F(C_MessageVerifyInit,    3, 0,  Session, Mechanism<Use::Message>, Key)                          \
  F(C_VerifyMessage,        3, 0,  Session, MessageParameter, BytesIn, BytesIn)                    \
  F(C_VerifyMessageBegin,   3, 0,  Session, MessageParameter)                                      \
  F(C_VerifyMessageNext,    3, 0,  Session, MessageParameter, BytesIn, BytesIn)                    \
  F(C_MessageVerifyFinal,   3, 0,  Session)                                                        \
  F(C_EncapsulateKey,       3, 2,  Session, Mechanism<>, Key, TemplateIn, BytesOut, ObjectOut)     \
  F(C_DecapsulateKey,       3, 2,  Session, Mechanism<>, Key, TemplateIn, BytesIn, ObjectOut)      \
  F(C_VerifySignatureInit,  3, 2,  Session, Mechanism<>, Key, BytesIn)                             \
  F(C_VerifySignature,      3, 2,  Session, BytesIn)                                               \
  F(C_VerifySignatureUpdate, 3, 2, Session, BytesIn)                                               \
  F(C_VerifySignatureFinal, 3, 2,  Session)                                                        \
  F(C_GetSessionValidationFlags, 3, 2, Session, Number, NumberOut)                                 \
  F(C_AsyncComplete,        3, 2,  Session, Local<CK_UTF8CHAR_PTR>, Local<CK_ASYNC_DATA_PTR>)      \
  F(C_AsyncGetID,           3, 2,  Session, Local<CK_UTF8CHAR_PTR>, Local<CK_ULONG_PTR>)           \
  F(C_AsyncJoin,            3, 2,  Session, Local<CK_UTF8CHAR_PTR>, Local<CK_ULONG>,               \
                                   Local<CK_BYTE_PTR>, Local<CK_ULONG>)                            \
  F(C_WrapKeyAuthenticated, 3, 2,  Session, Mechanism<Use::AuthenticatedWrap>, Key, Key, BytesIn,  \
                                   BytesOut)                                                       \
  F(C_UnwrapKeyAuthenticated, 3, 2, Session, Mechanism<Use::AuthenticatedWrap>, Key, BytesIn,      \
                                   TemplateIn, BytesIn, ObjectOut)
// clang-format on

/// A function's position in the catalogue, which is its position in the function lists.
enum class Function : std::uint16_t {
#define BULKHEAD_ENUMERATE(name, major, minor, ...) name,
  BULKHEAD_CATALOGUE(BULKHEAD_ENUMERATE)
#undef BULKHEAD_ENUMERATE
};

inline constexpr std::size_t FUNCTIONS = 104;
inline constexpr std::size_t FUNCTIONS_2_40 = 68;
inline constexpr std::size_t FUNCTIONS_3_0 = 92;

constexpr std::size_t indexOf(Function f) {
  return static_cast<std::size_t>(f);
}

/// Names by position.
inline constexpr std::string_view FUNCTION_NAMES[] = {
#define BULKHEAD_NAME(name, major, minor, ...) #name,
    BULKHEAD_CATALOGUE(BULKHEAD_NAME)
#undef BULKHEAD_NAME
};
static_assert(std::size(FUNCTION_NAMES) == FUNCTIONS);

constexpr std::string_view nameOf(Function f) {
  return FUNCTION_NAMES[indexOf(f)];
}

/// A catalogue line as a type: Roles (a tuple of roles), Args (a tuple of the function's C
/// arguments) and Pointer (the C function's type).
template <Function F>
struct Line;

namespace detail {
using namespace role;

template <typename... Tuples>
using Concatenated = decltype(std::tuple_cat(std::declval<Tuples>()...));

template <typename>
struct ArgsOf;
template <typename... A>
struct ArgsOf<CK_RV (*)(A...)> {
  using Type = std::tuple<A...>;
};

template <typename... Roles>
struct RoleList {
  using AsTuple = std::tuple<Roles...>;
  using Args = Concatenated<typename Roles::Args...>;
};

#define BULKHEAD_LIST(name, major, minor, ...) using name##_Roles = RoleList<__VA_ARGS__>;
BULKHEAD_CATALOGUE(BULKHEAD_LIST)
#undef BULKHEAD_LIST
}  // namespace detail

#define BULKHEAD_LINE(function, major, minor, ...)                                      \
  template <>                                                                           \
  struct Line<Function::function> {                                                     \
    using Roles = detail::function##_Roles::AsTuple;                                    \
    using Args = detail::function##_Roles::Args;                                        \
    using Pointer = decltype(CK_FUNCTION_LIST_3_2::function);                           \
    static_assert(std::is_same_v<Args, detail::ArgsOf<Pointer>::Type>,                  \
                  "the roles of " #function " do not make up its arguments");           \
    static_assert(offsetof(CK_FUNCTION_LIST_3_2, function) ==                           \
                      offsetof(CK_FUNCTION_LIST_3_2, C_Initialize) +                    \
                          static_cast<std::size_t>(Function::function) * sizeof(void*), \
                  #function " is not where the function list has it");                  \
  };
BULKHEAD_CATALOGUE(BULKHEAD_LINE)
#undef BULKHEAD_LINE

/// Calls visitor.template operator()<F>() for every function, in order.
template <typename Visitor>
constexpr void forEachFunction(Visitor&& visitor) {
#define BULKHEAD_VISIT(name, major, minor, ...) visitor.template operator()<Function::name>();
  BULKHEAD_CATALOGUE(BULKHEAD_VISIT)
#undef BULKHEAD_VISIT
}

}  // namespace bulkhead::ipc
