// SPDX-License-Identifier: BSD-2-Clause
//
// The layers between a caller and a module, each as a function list of the newest version: the
// module itself, and the module behind the codec alone - encode, serve and decode in one process,
// without a channel.
#pragma once

#include <capnp/serialize.h>
#include <dlfcn.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "ipc/channel.h"
#include "ipc/codec.h"

namespace bulkhead::mirror {

using ipc::Function;

/// The pointers of a function list by their position.
inline void (**pointersOf(CK_FUNCTION_LIST_3_2& list))() {
  return reinterpret_cast<void (**)()>(&list.C_Initialize);
}
template <Function F>
typename ipc::Line<F>::Pointer pointerOf(CK_FUNCTION_LIST_3_2& list) {
  return reinterpret_cast<typename ipc::Line<F>::Pointer>(pointersOf(list)[ipc::indexOf(F)]);
}

/// What a module offers, loaded here and never unloaded; NULL where it lacks a function.
inline CK_FUNCTION_LIST_3_2 functionsOf(const std::string& library) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) throw std::runtime_error(::dlerror());
  const void* offered = nullptr;
  CK_INTERFACE_PTR interface = nullptr;
  auto modern = reinterpret_cast<CK_C_GetInterface>(::dlsym(handle, "C_GetInterface"));
  CK_FUNCTION_LIST_PTR old = nullptr;
  if (modern != nullptr && modern(nullptr, nullptr, &interface, 0) == CKR_OK)
    offered = interface->pFunctionList;
  else if (auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(handle, "C_GetFunctionList"));
           get != nullptr && get(&old) == CKR_OK)
    offered = old;
  else
    throw std::runtime_error(library + " has no function list");
  CK_FUNCTION_LIST_3_2 list{};
  CK_VERSION version;
  std::memcpy(&version, offered, sizeof version);
  std::size_t count = offered == old || version.major < 3 ? ipc::FUNCTIONS_2_40
                      : version.minor < 2                 ? ipc::FUNCTIONS_3_0
                                                          : ipc::FUNCTIONS;
  std::memcpy(&list, offered, offsetof(CK_FUNCTION_LIST_3_2, C_Initialize) + count * sizeof(void*));
  return list;
}

/// One call through the four passes. Throws what they throw.
template <Function F>
CK_RV throughCodec(ipc::HostCodec& host, const typename ipc::Line<F>::Args& args,
                   typename ipc::Line<F>::Pointer module) {
  capnp::MallocMessageBuilder request;
  ipc::encodeRequest<F>(host, request.initRoot<ipc::wire::Request>(), args);
  auto requestWords = capnp::messageToFlatArray(request);
  capnp::FlatArrayMessageReader requestReader(requestWords, ipc::readerOptions(requestWords));
  ipc::Arena arena;
  ipc::WorkerCodec worker(arena);
  capnp::MallocMessageBuilder reply;
  ipc::serve<F>(worker, requestReader.getRoot<ipc::wire::Request>(),
                reply.initRoot<ipc::wire::Reply>(), module);
  auto replyWords = capnp::messageToFlatArray(reply);
  if (replyWords.asBytes().size() > host.largestReply())
    throw std::logic_error("a reply larger than the host expects");
  capnp::FlatArrayMessageReader replyReader(replyWords, ipc::readerOptions(replyWords));
  return ipc::decodeReply<F>(host, replyReader.getRoot<ipc::wire::Reply>(), args);
}

/// A module behind the codec. Function lists have no state of their own, so there is one at a time.
struct CodecLayer {
  CK_FUNCTION_LIST_3_2 module{};
  std::uint32_t generation = 0;  ///< of the worker that there would be
  std::vector<std::uint64_t> flatMechanisms;
  CK_MECHANISM_TYPE mechanism = CK_UNAVAILABLE_INFORMATION;  ///< of the last operation begun
  std::string malformed;                                     ///< what was wrong with a message

  static CodecLayer& instance() {
    static CodecLayer one;
    return one;
  }
  /// Its function list.
  static CK_FUNCTION_LIST_3_2* list() {
    static CK_FUNCTION_LIST_3_2 all = [] {
      CK_FUNCTION_LIST_3_2 list{};
      list.version = {3, 2};
      ipc::forEachFunction([&]<Function F>() {
        pointersOf(list)[ipc::indexOf(F)] =
            reinterpret_cast<void (*)()>(&Thunk<F, typename ipc::Line<F>::Pointer>::call);
      });
      return list;
    }();
    return &all;
  }

 private:
  // What the last C_SignInit or C_Message*Init that went well had.
  template <Function F>
  void remember(const typename ipc::Line<F>::Args& args) {
    using enum Function;
    if constexpr (F == C_SignInit || F == C_MessageEncryptInit || F == C_MessageDecryptInit ||
                  F == C_MessageSignInit || F == C_MessageVerifyInit) {
      auto own = std::get<1>(args);
      mechanism = own == nullptr ? CK_UNAVAILABLE_INFORMATION : own->mechanism;
    }
  }

  template <Function F, typename Pointer>
  struct Thunk;
  template <Function F, typename... A>
  struct Thunk<F, CK_RV (*)(A...)> {
    static CK_RV call(A... a) {
      CodecLayer& layer = instance();
      // A worker does this itself, before there are messages.
      if constexpr (F == Function::C_Initialize) return layer.module.C_Initialize(a...);
      ipc::HostCodec host;
      host.handles = ipc::ObjectHandles(layer.generation);
      host.flatMechanisms = layer.flatMechanisms;
      host.operationMechanism = layer.mechanism;
      try {
        CK_RV rv = throughCodec<F>(host, {a...}, pointerOf<F>(layer.module));
        if (rv == CKR_OK) layer.template remember<F>({a...});
        return rv;
      } catch (const ipc::Refused& refused) {
        return refused.returnValue;
      } catch (const ipc::Malformed& e) {
        layer.malformed = e.what();
      } catch (const kj::Exception& e) {
        layer.malformed = e.getDescription().cStr();
      }
      return CKR_DEVICE_REMOVED;
    }
  };
};

}  // namespace bulkhead::mirror
