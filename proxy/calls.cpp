// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/calls.h"

#include <string.h>

#include <algorithm>

#include "proxy/call_guard.h"
#include "proxy/consumers.h"
#include "proxy/process.h"

namespace bulkhead::proxy {
namespace {

using ipc::Function;

template <Function F>
constexpr bool isOneOf(std::initializer_list<Function> list) {
  return std::find(list.begin(), list.end(), F) != list.end();
}

// The operation that a function belongs to, for those that carry what its mechanism decides.
template <Function F>
constexpr std::optional<Operation> operationOf() {
  using enum Function;
  if (isOneOf<F>({C_SignInit, C_Sign, C_SignFinal})) return Operation::Sign;
  if (isOneOf<F>({C_MessageEncryptInit, C_EncryptMessage, C_EncryptMessageBegin,
                  C_EncryptMessageNext, C_MessageEncryptFinal}))
    return Operation::MessageEncrypt;
  if (isOneOf<F>({C_MessageDecryptInit, C_DecryptMessage, C_DecryptMessageBegin,
                  C_DecryptMessageNext, C_MessageDecryptFinal}))
    return Operation::MessageDecrypt;
  if (isOneOf<F>({C_MessageSignInit, C_SignMessage, C_SignMessageBegin, C_SignMessageNext,
                  C_MessageSignFinal}))
    return Operation::MessageSign;
  if (isOneOf<F>({C_MessageVerifyInit, C_VerifyMessage, C_VerifyMessageBegin, C_VerifyMessageNext,
                  C_MessageVerifyFinal}))
    return Operation::MessageVerify;
  return std::nullopt;
}

template <Function F>
constexpr bool beginsOperation() {
  using enum Function;
  return isOneOf<F>({C_SignInit, C_MessageEncryptInit, C_MessageDecryptInit, C_MessageSignInit,
                     C_MessageVerifyInit});
}

bool isLoggedIn(CK_STATE state) {
  return state == CKS_RO_USER_FUNCTIONS || state == CKS_RW_USER_FUNCTIONS ||
         state == CKS_RW_SO_FUNCTIONS;
}

// ---- functions on a session ----

// Whether what a function answered says to the consumer that it is logged in. Most libraries ask
// first, and don't log in where they are told that they are: others' logging out is not to take
// from them what they have been promised.
template <Function F>
bool tellsOfALogin(CK_RV rv, const typename ipc::Line<F>::Args& args) {
  if constexpr (F == Function::C_GetSessionInfo) {
    return rv == CKR_OK && std::get<1>(args) != nullptr && isLoggedIn(std::get<1>(args)->state);
  } else {
    bool counts = std::get<1>(args) == CKU_USER || std::get<1>(args) == CKU_SO;
    return counts && (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN);
  }
}

// A call that may tell the consumer that it is logged in: asked again where somebody has logged the
// token out meanwhile, so that what it is told holds until it goes itself.
template <Function F>
CK_RV aboutALogin(const Session& session, const typename ipc::Line<F>::Args& args) {
  Logins& logins = session.worker->logins();
  for (;;) {
    std::uint64_t begun = logins.begin(session.moduleSlot);
    ipc::HostCodec codec = session.worker->codec();
    CK_RV rv = session.worker->call<F>(codec, args);
    if (!tellsOfALogin<F>(rv, args) || logins.add(session.moduleSlot, session.consumer, begun))
      return rv;
  }
}

template <Function F>
CK_RV onSession(Process& process, unsigned consumer, typename ipc::Line<F>::Args args) {
  using enum Function;
  if constexpr (isOneOf<F>({C_AsyncComplete, C_AsyncGetID, C_AsyncJoin})) {
    auto session = process.sessions().find(std::get<0>(args), consumer);
    if (session == nullptr) return CKR_SESSION_HANDLE_INVALID;
    return CKR_SESSION_ASYNC_NOT_SUPPORTED;
  } else {
    auto session = process.sessions().find(std::get<0>(args), consumer);
    if (session == nullptr) return CKR_SESSION_HANDLE_INVALID;
    Worker& worker = *session->worker;
    if (!worker.running()) {
      // It went with the worker; the call that was under way has said so.
      process.sessions().remove(session->handle);
      return CKR_SESSION_HANDLE_INVALID;
    }
    std::get<0>(args) = session->real;
    ipc::HostCodec codec = worker.codec();

    constexpr auto OPERATION = operationOf<F>();
    if constexpr (OPERATION.has_value())
      codec.operationMechanism = session->mechanism(*OPERATION).load(std::memory_order_relaxed);

    if constexpr (F == C_CloseSession) {
      if (!process.sessions().remove(session->handle)) return CKR_SESSION_HANDLE_INVALID;
      process.sessionClosed(*session);
    } else if constexpr (F == C_Logout) {
      return process.logout(*session);
    }

    CK_RV rv;
    if constexpr (isOneOf<F>({C_GetSessionInfo, C_Login, C_LoginUser}))
      rv = aboutALogin<F>(*session, args);
    else
      rv = worker.call<F>(codec, args);

    if constexpr (beginsOperation<F>()) {
      if (rv == CKR_OK) {
        auto mechanism = std::get<1>(args);
        session->mechanism(*OPERATION)
            .store(mechanism == nullptr ? CK_UNAVAILABLE_INFORMATION : mechanism->mechanism,
                   std::memory_order_relaxed);
      }
    } else if constexpr (F == C_SetOperationState) {
      // Whatever was going on is something else now.
      if (rv == CKR_OK)
        session->mechanism(Operation::Sign)
            .store(CK_UNAVAILABLE_INFORMATION, std::memory_order_relaxed);
    } else if constexpr (F == C_GetSessionInfo) {
      CK_SESSION_INFO_PTR info = std::get<1>(args);
      if (rv == CKR_OK && info != nullptr) info->slotID = session->slot;
    }
    return rv;
  }
}

// ---- functions on a slot ----

CK_RV openSession(Process& process, unsigned consumer, std::uint64_t life, CK_SLOT_ID slot,
                  CK_SLOT_ID moduleSlot, const std::shared_ptr<Module>& module,
                  const std::shared_ptr<Worker>& worker, CK_FLAGS flags,
                  CK_SESSION_HANDLE_PTR out) {
  if ((flags & CKF_ASYNC_SESSION) != 0) return CKR_SESSION_ASYNC_NOT_SUPPORTED;
  CK_SESSION_HANDLE real = CK_INVALID_HANDLE;
  ipc::HostCodec codec = worker->codec();
  // A NULL out pointer is for the module to judge.
  CK_RV rv = worker->call<Function::C_OpenSession>(
      codec, {moduleSlot, flags, nullptr, nullptr, out == nullptr ? nullptr : &real});
  if (rv != CKR_OK) return rv;
  if (out == nullptr) return CKR_ARGUMENTS_BAD;
  auto session = std::make_shared<Session>();
  session->consumer = consumer;
  session->module = module;
  session->worker = worker;
  session->slot = slot;
  session->moduleSlot = moduleSlot;
  session->real = real;
  CK_SESSION_HANDLE handle = process.sessions().add(session);
  // One that C_Finalize did not see any more is not left behind, in the module neither.
  if (process.life(consumer) != life) {
    if (process.sessions().remove(handle)) {
      ipc::HostCodec closing = worker->codec();
      (void)worker->call<Function::C_CloseSession>(closing, {real});
    }
    return CKR_CRYPTOKI_NOT_INITIALIZED;
  }
  *out = handle;
  return CKR_OK;
}

template <Function F>
CK_RV onSlot(Process& process, unsigned consumer, typename ipc::Line<F>::Args args) {
  CK_SLOT_ID slot = std::get<0>(args);
  CK_SLOT_ID moduleSlot = 0;
  [[maybe_unused]] std::uint64_t life = process.life(consumer);
  auto module = process.moduleOf(consumer, slot, moduleSlot);
  if (module == nullptr)
    return process.active(consumer) ? CKR_SLOT_ID_INVALID : CKR_CRYPTOKI_NOT_INITIALIZED;
  if constexpr (F == Function::C_CloseAllSessions) {
    return process.closeSessions(consumer, slot);
  } else {
    auto worker = module->runningWorker();
    if (worker == nullptr)
      return process.active(consumer) ? CKR_TOKEN_NOT_PRESENT : CKR_CRYPTOKI_NOT_INITIALIZED;
    if constexpr (F == Function::C_OpenSession) {
      return openSession(process, consumer, life, slot, moduleSlot, module, worker,
                         std::get<1>(args), std::get<4>(args));
    } else {
      std::get<0>(args) = moduleSlot;
      ipc::HostCodec codec = worker->codec();
      CK_RV rv = worker->call<F>(codec, args);
      // No session here is asynchronous, whatever the module has.
      if constexpr (F == Function::C_GetTokenInfo)
        if (CK_TOKEN_INFO_PTR info = std::get<1>(args); rv == CKR_OK && info != nullptr)
          info->flags &= ~CKF_ASYNC_SESSION_SUPPORTED;
      return rv;
    }
  }
}

// ---- functions of the proxy's own ----

template <std::size_t N>
void pad(CK_UTF8CHAR (&field)[N], std::string_view text) {
  ::memset(field, ' ', N);
  ::memcpy(field, text.data(), std::min(N, text.size()));
}

CK_RV checkInitializeArgs(const CK_C_INITIALIZE_ARGS* args) {
  if (args == nullptr) return CKR_OK;
  if (args->pReserved != nullptr) return CKR_ARGUMENTS_BAD;
  int callbacks = (args->CreateMutex != nullptr) + (args->DestroyMutex != nullptr) +
                  (args->LockMutex != nullptr) + (args->UnlockMutex != nullptr);
  // Any locks that a caller has are good enough: the proxy uses its own.
  return callbacks == 0 || callbacks == 4 ? CKR_OK : CKR_ARGUMENTS_BAD;
}

CK_RV getInfo(Process& process, unsigned consumer, CK_INFO_PTR info) {
  if (info == nullptr) return CKR_ARGUMENTS_BAD;
  // Programs choose a module by what it says of itself.
  if (Consumers::moduleOf(consumer) != nullptr) {
    for (auto& module : *process.modulesOf(consumer))
      if (auto worker = module->runningWorker()) {
        ipc::HostCodec codec = worker->codec();
        return worker->call<Function::C_GetInfo>(codec, {info});
      }
    return CKR_GENERAL_ERROR;
  }
  *info = {};
  info->cryptokiVersion = Consumers::version(consumer);
  pad(info->manufacturerID, "bulkhead");
  pad(info->libraryDescription, "bulkhead PKCS#11 proxy");
  info->libraryVersion = {BULKHEAD_VERSION_MAJOR, BULKHEAD_VERSION_MINOR};
  return CKR_OK;
}

CK_RV getSlotList(Process& process, unsigned consumer, CK_BBOOL tokenPresent, CK_SLOT_ID_PTR list,
                  CK_ULONG_PTR count) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  auto modules = process.modulesOf(consumer);
  // All slots first, so that a slot that is new with its token gets its id in the module's order.
  std::vector<CK_SLOT_ID> all = refreshSlots(*modules, false);
  if (tokenPresent != CK_FALSE) all = refreshSlots(*modules, true);
  // What was read while C_Finalize took the modules away is no list of them.
  if (!process.active(consumer)) return CKR_CRYPTOKI_NOT_INITIALIZED;
  CK_ULONG room = *count;
  *count = all.size();
  if (list == nullptr) return CKR_OK;
  if (room < all.size()) return CKR_BUFFER_TOO_SMALL;
  std::copy(all.begin(), all.end(), list);
  return CKR_OK;
}

CK_RV waitForSlotEvent(Process& process, unsigned consumer, CK_FLAGS flags, CK_SLOT_ID_PTR slot,
                       CK_VOID_PTR reserved) {
  if (slot == nullptr || reserved != nullptr) return CKR_ARGUMENTS_BAD;
  return process.slotEvents().wait(process, consumer, (flags & CKF_DONT_BLOCK) == 0, *slot);
}

template <Function F>
CK_RV dispatch(unsigned consumer, const typename ipc::Line<F>::Args& args) {
  using enum Function;
  Process& process = Process::instance();
  if constexpr (F == C_Initialize) {
    auto own = static_cast<const CK_C_INITIALIZE_ARGS*>(std::get<0>(args));
    if (CK_RV rv = checkInitializeArgs(own); rv != CKR_OK) return rv;
    CK_RV rv = process.initialize(consumer);
    Consumers::touch(consumer);
    return rv;
  } else {
    if (!process.active(consumer)) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if constexpr (F == C_Finalize) {
      if (std::get<0>(args) != nullptr) return CKR_ARGUMENTS_BAD;
      CK_RV rv = process.finalize(consumer);
      Consumers::touch(consumer);
      return rv;
    } else if constexpr (F == C_GetInfo) {
      return getInfo(process, consumer, std::get<0>(args));
    } else if constexpr (F == C_GetSlotList) {
      return getSlotList(process, consumer, std::get<0>(args), std::get<1>(args),
                         std::get<2>(args));
    } else if constexpr (F == C_WaitForSlotEvent) {
      return waitForSlotEvent(process, consumer, std::get<0>(args), std::get<1>(args),
                              std::get<2>(args));
    } else if constexpr (std::is_same_v<std::tuple_element_t<0, typename ipc::Line<F>::Roles>,
                                        ipc::role::Slot>) {
      return onSlot<F>(process, consumer, args);
    } else {
      return onSession<F>(process, consumer, args);
    }
  }
}

}  // namespace

namespace {

template <Function F>
CK_RV guarded(unsigned consumer, const typename ipc::Line<F>::Args& args) noexcept {
  try {
    // These three need no initialisation.
    if constexpr (F == Function::C_GetFunctionList) {
      return Consumers::functionList(consumer, std::get<0>(args));
    } else if constexpr (F == Function::C_GetInterfaceList) {
      return Consumers::interfaceList(std::get<0>(args), std::get<1>(args), consumer);
    } else if constexpr (F == Function::C_GetInterface) {
      return Consumers::interface(std::get<0>(args), std::get<1>(args), std::get<2>(args),
                                  std::get<3>(args), consumer);
    } else {
      return dispatch<F>(consumer, args);
    }
  } catch (const std::bad_alloc&) {
    return CKR_HOST_MEMORY;
  } catch (...) {
    return CKR_GENERAL_ERROR;
  }
}

}  // namespace

template <Function F, typename... A>
CK_RV Entry<F, CK_RV (*)(A...)>::call(A... arguments, unsigned consumer) {
  CallGuard guard;
  return guarded<F>(consumer, {arguments...});
}

#define BULKHEAD_INSTANCE(name, major, minor, ...) template struct Entry<Function::name>;
BULKHEAD_CATALOGUE(BULKHEAD_INSTANCE)
#undef BULKHEAD_INSTANCE

}  // namespace bulkhead::proxy
