// SPDX-License-Identifier: BSD-2-Clause
//
// From the arguments of a PKCS#11 call to a message and back. Four passes: the host encodes the
// request, the worker rebuilds the arguments from it, the worker encodes what the module answered,
// the host writes that back into the caller's memory. Templates derive each pass of each function
// from its catalogue line; the passes of the roles are written once, in codec.cpp.
//
// The reply comes from code that may be hostile: nothing in it is used before it was checked
// against what the call offered. Requests are checked likewise. What breaks a rule throws
// Malformed or kj::Exception; callers catch at the edge.
#pragma once

#include <capnp/message.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "ipc/area.h"
#include "ipc/arena.h"
#include "ipc/catalogue.h"
#include "ipc/wire.capnp.h"

namespace bulkhead::ipc {

/// A message that no honest peer of this build sends.
class Malformed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The call cannot be carried; the caller gets `returnValue`, the log gets the text.
class Refused : public std::runtime_error {
 public:
  Refused(CK_RV rv, const std::string& why) : std::runtime_error(why), returnValue(rv) {}
  CK_RV returnValue;
};

/// Object handles of a worker that replaced a dead one carry its number in their upper bits, so
/// that a handle from before the death never names an object of the new worker. Those of the first
/// worker pass untouched. Plain value.
class ObjectHandles {
 public:
  /// `generation` counts the workers of a module from 0.
  explicit ObjectHandles(std::uint32_t generation = 0)
      : tag_(generation == 0 ? 0 : 1 + (generation - 1) % MASK) {}

  /// What the module calls it. False when the handle is not of this worker.
  bool toModule(CK_OBJECT_HANDLE& handle) const;
  /// What the consumer is given. Throws Malformed for a handle that leaves no room for the tag.
  CK_OBJECT_HANDLE toHost(CK_OBJECT_HANDLE handle) const;

 private:
  static constexpr unsigned SHIFT = sizeof(CK_ULONG) * 8 - 16;
  static constexpr std::uint32_t MASK = 0xffff;
  CK_ULONG tag_;
};

/// The largest message either side accepts, unless the policy says otherwise, in bytes.
inline constexpr std::uint64_t DEFAULT_MAX_MESSAGE = std::uint64_t{64} << 20;
/// Elements in one list: attributes of a template, structs in an array.
inline constexpr CK_ULONG MAX_COUNT = 65536;
/// Templates in templates and mechanisms in mechanisms.
inline constexpr unsigned MAX_NESTING = 4;

/// The host's side of one call: encodes arguments, writes answers back.
class HostCodec {
 public:
  ObjectHandles handles;
  std::span<const std::uint64_t> flatMechanisms;  ///< vendor mechanisms with flat parameters
  std::uint64_t maxBytes = DEFAULT_MAX_MESSAGE;
  /// Of the session's operation that the call goes on with, where that decides what travels.
  CK_MECHANISM_TYPE operationMechanism = CK_UNAVAILABLE_INFORMATION;
  Area* area = nullptr;  ///< the channel's, where large arguments go; null for none

  /// How large an honest reply to what was encoded can be, in bytes.
  std::uint64_t largestReply() const { return 64 * 1024 + charged_ + offered_; }

  using Out = wire::Value::Builder;
  using In = wire::Value::Reader;

  void bytesIn(Out, const void*, CK_ULONG);
  void argumentIn(Out, const void*, CK_ULONG);
  void room(Out, const void* buffer, const CK_ULONG* length, std::size_t elementSize);
  void templateIn(Out, const CK_ATTRIBUTE*, CK_ULONG count, bool fill);
  void mechanism(Out, const CK_MECHANISM*, Use);
  void messageParameter(Out, const void*, CK_ULONG);
  void signature(Out);
  CK_OBJECT_HANDLE object(CK_OBJECT_HANDLE, CK_RV whenForeign) const;

  void bytesBack(In, void* buffer, CK_ULONG* length, CK_ULONG offered);
  void exactBack(In, void* buffer, std::size_t size);
  void numbersBack(In, CK_ULONG* buffer, CK_ULONG* count, CK_ULONG offered);
  void objectsBack(In list, In count, CK_OBJECT_HANDLE* buffer, CK_ULONG max, CK_ULONG* count_);
  void templateBack(In, CK_ATTRIBUTE*, CK_ULONG count, CK_RV);
  void mechanismBack(In, const CK_MECHANISM*, Use, CK_RV);
  void messageParameterBack(In, void*, CK_ULONG, CK_RV);
  void signatureBack(void*, CK_ULONG);

 private:
  void attributeIn(wire::Attribute::Builder, const CK_ATTRIBUTE&, bool fill, unsigned depth);
  void attributeBack(wire::Attribute::Reader, CK_ATTRIBUTE&, unsigned depth, CK_RV);
  void mechanismAt(wire::Mechanism::Builder, const CK_MECHANISM&, Use, unsigned depth);
  void parameter(wire::Parameter::Builder, CK_MECHANISM_TYPE, Use, const void*, CK_ULONG,
                 unsigned depth);
  void structure(wire::Parameter::Builder, const Shape&, const std::byte*, CK_ULONG size,
                 const std::byte* parent, unsigned depth);
  void pointer(wire::Value::Builder, const Field&, const std::byte* image, const std::byte* parent,
               unsigned depth);
  void parameterBack(wire::Parameter::Reader, CK_MECHANISM_TYPE, Use, void*, CK_ULONG, CK_RV);
  void structureBack(wire::Parameter::Reader, const Shape&, std::byte*, CK_ULONG size,
                     const std::byte* parent, CK_RV);
  void handleBack(std::byte* at, const void* from, CK_RV);
  void charge(std::uint64_t bytes);

  std::uint64_t charged_ = 0;  // bytes of the caller's in the request
  std::uint64_t offered_ = 0;  // bytes of room for the reply
};

/// The worker's side: rebuilds arguments in an arena, encodes what the module did to them.
class WorkerCodec {
 public:
  /// `area` is the channel's, or null for none.
  explicit WorkerCodec(Arena& arena, std::uint64_t max = DEFAULT_MAX_MESSAGE,
                       const Area* area = nullptr)
      : arena_(arena), area_(area), maxBytes(max) {}

 private:
  Arena& arena_;
  const Area* area_;

 public:
  std::uint64_t maxBytes;

  using Out = wire::Value::Builder;
  using In = wire::Value::Reader;

  CK_ULONG number(In);
  void bytesIn(In, CK_BYTE_PTR&, CK_ULONG&);
  void room(In, void*& buffer, CK_ULONG*& length, std::size_t elementSize);
  void templateIn(In, CK_ATTRIBUTE_PTR&, CK_ULONG&);
  CK_MECHANISM* mechanism(In);
  void messageParameter(In, CK_VOID_PTR&, CK_ULONG&);
  template <typename T>
  T* present(In in) {
    if (in.isNull()) return nullptr;
    return arena_.make<T>();
  }

  void bytesBack(Out, In request, const void* buffer, const CK_ULONG* length, CK_RV rv);
  void numbersBack(Out, In request, const CK_ULONG* buffer, const CK_ULONG* count, CK_RV rv);
  void templateBack(Out, In request, const CK_ATTRIBUTE*, CK_RV rv);
  void mechanismBack(Out, In request, const CK_MECHANISM*, CK_RV rv);
  void messageParameterBack(Out, In request, const void*, CK_RV rv);
  void signatureBack(In room, In shape, void* buffer, const CK_ULONG* length, CK_RV rv);
  std::byte* allocate(std::size_t n) { return arena_.allocate(n); }

 private:
  std::byte* inArea(wire::Area::Reader) const;
  void attributeIn(wire::Attribute::Reader, CK_ATTRIBUTE&, unsigned depth);
  void attributeBack(wire::Attribute::Builder, wire::Attribute::Reader, const CK_ATTRIBUTE&,
                     bool processed);
  void mechanismAt(wire::Mechanism::Reader, CK_MECHANISM&, unsigned depth);
  std::byte* parameter(wire::Parameter::Reader, unsigned depth);
  void structure(wire::Parameter::Reader, const Shape&, std::byte*, CK_ULONG size, unsigned depth);
  void parameterBack(wire::Parameter::Builder, wire::Parameter::Reader, const std::byte*, CK_RV rv);
  void structureBack(wire::Parameter::Builder, wire::Parameter::Reader, const Shape&,
                     const std::byte*, const std::byte* given, CK_ULONG size, CK_RV rv);
};

// ---- the passes of each role ----
//
// VALUES is the number of values that a role takes in a message. A role whose bytes may travel in
// the area has size(): how many they are. An argument list is passed as a
// tuple and a role sees its own slice of it.

template <typename Role>
struct Pass;

namespace detail {
using Values = capnp::List<wire::Value>;

// A role that travels as one number and comes back as nothing.
struct NumberPass {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static void encode(HostCodec&, Values::Builder v, unsigned i, const A& a) {
    v[i].setNumber(std::get<0>(a));
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, Values::Reader v, unsigned i, A& a) {
    std::get<0>(a) = static_cast<std::remove_reference_t<decltype(std::get<0>(a))>>(c.number(v[i]));
  }
  template <typename A>
  static void answer(WorkerCodec&, Values::Builder, Values::Reader, unsigned, const A&, CK_RV) {}
  template <typename A>
  static void writeBack(HostCodec&, Values::Reader, unsigned, const A&, CK_RV) {}
};

// An object handle: unlike a number it may belong to a dead worker.
template <CK_RV FOREIGN>
struct HandlePass : NumberPass {
  template <typename A>
  static void encode(HostCodec& c, Values::Builder v, unsigned i, const A& a) {
    v[i].setNumber(c.object(std::get<0>(a), FOREIGN));
  }
};

// What a number that the module is to write holds before. A module that fails may have written it
// all the same, and one that succeeds may not have; either way the caller finds what it would have
// found without us.
inline constexpr CK_ULONG UNTOUCHED = static_cast<CK_ULONG>(0xa5c35a3ca5c35a3c);

// A pointer to one thing that the module fills in.
template <typename T>
struct OutPass {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static void encode(HostCodec&, Values::Builder v, unsigned i, const A& a) {
    if (std::get<0>(a) != nullptr) v[i].setBuffer();
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, Values::Reader v, unsigned i, A& a) {
    std::get<0>(a) = c.present<T>(v[i]);
    if constexpr (std::is_same_v<T, CK_ULONG>)
      if (std::get<0>(a) != nullptr) *std::get<0>(a) = UNTOUCHED;
  }
  template <typename A>
  static void answer(WorkerCodec&, Values::Builder v, Values::Reader, unsigned i, const A& a,
                     CK_RV rv) {
    if (std::get<0>(a) == nullptr) return;
    if constexpr (std::is_same_v<T, CK_ULONG>) {
      if (*std::get<0>(a) == UNTOUCHED) return;
    } else if (rv != CKR_OK) {
      return;
    }
    v[i].setBytes(kj::arrayPtr(reinterpret_cast<const kj::byte*>(std::get<0>(a)), sizeof(T)));
  }
  template <typename A>
  static void writeBack(HostCodec& c, Values::Reader v, unsigned i, const A& a, CK_RV) {
    c.exactBack(v[i], std::get<0>(a), sizeof(T));
  }
};

}  // namespace detail

template <>
struct Pass<role::Slot> : detail::NumberPass {};
template <>
struct Pass<role::Session> : detail::NumberPass {};
template <>
struct Pass<role::Number> : detail::NumberPass {};
template <>
struct Pass<role::Bool> : detail::NumberPass {};
template <>
struct Pass<role::Object> : detail::HandlePass<CKR_OBJECT_HANDLE_INVALID> {};
template <>
struct Pass<role::Key> : detail::HandlePass<CKR_KEY_HANDLE_INVALID> {};
template <>
struct Pass<role::NumberOut> : detail::OutPass<CK_ULONG> {};
template <typename T>
struct Pass<role::StructOut<T>> : detail::OutPass<T> {};

template <>
struct Pass<role::ObjectOut> : detail::OutPass<CK_OBJECT_HANDLE> {
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    if (v[i].isNull()) return;
    CK_OBJECT_HANDLE handle = CK_INVALID_HANDLE;
    c.exactBack(v[i], std::get<0>(a) == nullptr ? nullptr : &handle, sizeof handle);
    // Beside an error it names nothing, whatever it is.
    *std::get<0>(a) = rv == CKR_OK ? c.handles.toHost(handle) : handle;
  }
};

template <typename T>
struct Pass<role::Local<T>> {
  static constexpr unsigned VALUES = 0;
  template <typename A>
  static void encode(HostCodec&, detail::Values::Builder, unsigned, const A&) {}
  template <typename A>
  static void rebuild(WorkerCodec&, detail::Values::Reader, unsigned, A& a) {
    std::get<0>(a) = T{};
  }
  template <typename A>
  static void answer(WorkerCodec&, detail::Values::Builder, detail::Values::Reader, unsigned,
                     const A&, CK_RV) {}
  template <typename A>
  static void writeBack(HostCodec&, detail::Values::Reader, unsigned, const A&, CK_RV) {}
};

template <>
struct Pass<role::BytesIn> : detail::NumberPass {
  template <typename A>
  static CK_ULONG size(const A& a) {
    return std::get<1>(a);
  }
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.argumentIn(v[i], std::get<0>(a), std::get<1>(a));
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    c.bytesIn(v[i], std::get<0>(a), std::get<1>(a));
  }
};

template <>
struct Pass<role::Label> : detail::NumberPass {
  static constexpr CK_ULONG SIZE = sizeof(CK_TOKEN_INFO::label);
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.bytesIn(v[i], std::get<0>(a), std::get<0>(a) == nullptr ? 0 : SIZE);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    CK_ULONG size;
    c.bytesIn(v[i], std::get<0>(a), size);
    if (std::get<0>(a) != nullptr && size != SIZE) throw Malformed("a label of another length");
  }
};

template <>
struct Pass<role::BytesOut> {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static CK_ULONG size(const A& a) {
    return std::get<1>(a) == nullptr ? 0 : *std::get<1>(a);
  }
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.room(v[i], std::get<0>(a), std::get<1>(a), 1);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    void* buffer;
    c.room(v[i], buffer, std::get<1>(a), 1);
    std::get<0>(a) = static_cast<CK_BYTE_PTR>(buffer);
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.bytesBack(v[i], r[i], std::get<0>(a), std::get<1>(a), rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    CK_ULONG offered = size(a);
    c.bytesBack(v[i], std::get<0>(a), std::get<1>(a), offered);
    if (rv != CKR_OK || std::get<0>(a) == nullptr || std::get<1>(a) == nullptr) return;
    if (*std::get<1>(a) > offered)
      throw Malformed("a success that claims more than there was room for");
    // What was in the buffer before is not what the module made.
    if (v[i].isNull() || v[i].isNumber()) throw Malformed("a success without its bytes");
  }
};

template <>
struct Pass<role::SignatureOut> {
  using Bytes = Pass<role::BytesOut>;
  static constexpr unsigned VALUES = 2;
  template <typename A>
  static CK_ULONG size(const A& a) {
    return Bytes::size(a);
  }
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    Bytes::encode(c, v, i, a);
    c.signature(v[i + 1]);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    Bytes::rebuild(c, v, i, a);
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.signatureBack(r[i], r[i + 1], std::get<0>(a), std::get<1>(a), rv);
    Bytes::answer(c, v, r, i, a, rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    Bytes::writeBack(c, v, i, a, rv);
    if (rv == CKR_OK && std::get<0>(a) != nullptr && std::get<1>(a) != nullptr)
      c.signatureBack(std::get<0>(a), *std::get<1>(a));
  }
};

template <>
struct Pass<role::Fill> {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static CK_ULONG size(const A& a) {
    return std::get<1>(a);
  }
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    CK_ULONG length = std::get<1>(a);
    if (std::get<0>(a) != nullptr && length > c.maxBytes)
      throw Refused(CKR_HOST_MEMORY, "more bytes than one message carries");
    c.room(v[i], std::get<0>(a), &length, 1);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    void* buffer;
    CK_ULONG* length;
    c.room(v[i], buffer, length, 1);
    std::get<0>(a) = static_cast<CK_BYTE_PTR>(buffer);
    std::get<1>(a) = length == nullptr ? 0 : *length;
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.bytesBack(v[i], r[i], std::get<0>(a), &std::get<1>(a), rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    if (rv != CKR_OK || std::get<0>(a) == nullptr) return;
    CK_ULONG filled = std::get<1>(a);
    c.bytesBack(v[i], std::get<0>(a), &filled, filled);
    if (filled != std::get<1>(a)) throw Malformed("a buffer that is not filled");
  }
};

template <>
struct Pass<role::TemplateIn> : detail::NumberPass {
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.templateIn(v[i], std::get<0>(a), std::get<1>(a), false);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    c.templateIn(v[i], std::get<0>(a), std::get<1>(a));
  }
};

template <>
struct Pass<role::TemplateFill> {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.templateIn(v[i], std::get<0>(a), std::get<1>(a), true);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    c.templateIn(v[i], std::get<0>(a), std::get<1>(a));
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.templateBack(v[i], r[i], std::get<0>(a), rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    c.templateBack(v[i], std::get<0>(a), std::get<1>(a), rv);
  }
};

template <Use U>
struct Pass<role::Mechanism<U>> {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.mechanism(v[i], std::get<0>(a), U);
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    std::get<0>(a) = c.mechanism(v[i]);
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.mechanismBack(v[i], r[i], std::get<0>(a), rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    c.mechanismBack(v[i], std::get<0>(a), U, rv);
  }
};

template <>
struct Pass<role::MessageParameter> {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.messageParameter(v[i], std::get<0>(a), std::get<1>(a));
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    c.messageParameter(v[i], std::get<0>(a), std::get<1>(a));
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.messageParameterBack(v[i], r[i], std::get<0>(a), rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    c.messageParameterBack(v[i], std::get<0>(a), std::get<1>(a), rv);
  }
};

template <>
struct Pass<role::NumbersOut> {
  static constexpr unsigned VALUES = 1;
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    c.room(v[i], std::get<0>(a), std::get<1>(a), sizeof(CK_ULONG));
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    void* buffer;
    c.room(v[i], buffer, std::get<1>(a), sizeof(CK_ULONG));
    std::get<0>(a) = static_cast<CK_ULONG_PTR>(buffer);
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    c.numbersBack(v[i], r[i], std::get<0>(a), std::get<1>(a), rv);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV rv) {
    CK_ULONG offered = std::get<1>(a) == nullptr ? 0 : *std::get<1>(a);
    c.numbersBack(v[i], std::get<0>(a), std::get<1>(a), offered);
    if (rv == CKR_OK && std::get<0>(a) != nullptr && std::get<1>(a) != nullptr &&
        *std::get<1>(a) > offered)
      throw Malformed("a success that claims more than there was room for");
  }
};

template <>
struct Pass<role::ObjectsOut> {
  static constexpr unsigned VALUES = 2;
  template <typename A>
  static void encode(HostCodec& c, detail::Values::Builder v, unsigned i, const A& a) {
    CK_ULONG max = std::get<1>(a);
    c.room(v[i], std::get<0>(a), &max, sizeof(CK_OBJECT_HANDLE));
    if (std::get<2>(a) != nullptr) v[i + 1].setBuffer();
  }
  template <typename A>
  static void rebuild(WorkerCodec& c, detail::Values::Reader v, unsigned i, A& a) {
    void* buffer;
    CK_ULONG* max;
    c.room(v[i], buffer, max, sizeof(CK_OBJECT_HANDLE));
    std::get<0>(a) = static_cast<CK_OBJECT_HANDLE_PTR>(buffer);
    std::get<1>(a) = max == nullptr ? 0 : *max;
    std::get<2>(a) = c.present<CK_ULONG>(v[i + 1]);
  }
  template <typename A>
  static void answer(WorkerCodec& c, detail::Values::Builder v, detail::Values::Reader r,
                     unsigned i, const A& a, CK_RV rv) {
    const CK_ULONG* count = std::get<2>(a);
    if (rv != CKR_OK || count == nullptr) return;
    if (*count > std::get<1>(a)) throw Malformed("more objects found than there was room for");
    c.numbersBack(v[i], r[i], std::get<0>(a), count, rv);
    v[i + 1].setNumber(*count);
  }
  template <typename A>
  static void writeBack(HostCodec& c, detail::Values::Reader v, unsigned i, const A& a, CK_RV) {
    c.objectsBack(v[i], v[i + 1], std::get<0>(a), std::get<1>(a), std::get<2>(a));
  }
};

// ---- whole functions ----

namespace detail {

template <typename Roles>
struct Passes;

template <typename... Roles>
struct Passes<std::tuple<Roles...>> {
  static constexpr unsigned VALUES = (0U + ... + Pass<Roles>::VALUES);

  // Calls visit<Role, position of its first argument, position of its first value>() per role.
  template <typename Visit>
  static void each(Visit&& visit) {
    eachFrom<0, 0, Roles...>(visit);
  }

 private:
  template <std::size_t ARG, unsigned VALUE, typename Role, typename... Rest, typename Visit>
  static void eachFrom(Visit& visit) {
    visit.template operator()<Role, ARG, VALUE>();
    eachFrom<ARG + std::tuple_size_v<typename Role::Args>, VALUE + Pass<Role>::VALUES, Rest...>(
        visit);
  }
  template <std::size_t ARG, unsigned VALUE, typename Visit>
  static void eachFrom(Visit&) {}
};

// References to the N elements of a tuple from FIRST on.
template <std::size_t FIRST, std::size_t... I, typename Tuple>
auto sliceOf(Tuple& t, std::index_sequence<I...>) {
  return std::tie(std::get<FIRST + I>(t)...);
}
template <typename Role, std::size_t FIRST, typename Tuple>
auto slice(Tuple& t) {
  return sliceOf<FIRST>(t, std::make_index_sequence<std::tuple_size_v<typename Role::Args>>());
}

}  // namespace detail

template <Function F>
using PassesOf = detail::Passes<typename Line<F>::Roles>;

/// How large an area the call's arguments would fill, in bytes; 0 when none is worth one.
template <Function F>
std::size_t areaFor(const typename Line<F>::Args& args) {
  std::size_t sum = 0;
  auto add = [&](const void* p, CK_ULONG n) {
    if (p != nullptr && n >= AREA_FROM) sum += std::min<std::size_t>(n, AREA_MAX) + 64;
  };
  PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    auto own = detail::slice<Role, ARG>(args);
    if constexpr (requires { Pass<Role>::size(own); }) add(std::get<0>(own), Pass<Role>::size(own));
  });
  return sum <= AREA_MAX ? sum : 0;
}

/// Host: writes the request of a call. Throws Refused.
template <Function F>
void encodeRequest(HostCodec& codec, wire::Request::Builder request,
                   const typename Line<F>::Args& args) {
  request.setFunction(static_cast<std::uint16_t>(F));
  auto values = request.initValues(PassesOf<F>::VALUES);
  PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    Pass<Role>::encode(codec, values, VALUE, detail::slice<Role, ARG>(args));
  });
}

/// Host: writes what the worker answered into the caller's memory. Throws Malformed and
/// kj::Exception, after which the worker must not be trusted any further.
template <Function F>
CK_RV decodeReply(HostCodec& codec, wire::Reply::Reader reply, const typename Line<F>::Args& args) {
  if (reply.getRefused()) throw Malformed("the worker refused the request");
  auto values = reply.getValues();
  if (values.size() != PassesOf<F>::VALUES) throw Malformed("wrong number of values in a reply");
  CK_RV rv = static_cast<CK_RV>(reply.getReturnValue());
  PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    Pass<Role>::writeBack(codec, values, VALUE, detail::slice<Role, ARG>(args), rv);
  });
  return rv;
}

/// Worker: rebuilds the arguments, calls `function` with them and writes the reply. A module that
/// lacks the function answers CKR_FUNCTION_NOT_SUPPORTED. Throws Malformed and kj::Exception.
template <Function F>
void serve(WorkerCodec& codec, wire::Request::Reader request, wire::Reply::Builder reply,
           typename Line<F>::Pointer function) {
  auto in = request.getValues();
  if (in.size() != PassesOf<F>::VALUES) throw Malformed("wrong number of values in a request");
  typename Line<F>::Args args{};
  CK_RV rv = CKR_FUNCTION_NOT_SUPPORTED;
  if (function != nullptr) {
    PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
      auto own = detail::slice<Role, ARG>(args);
      Pass<Role>::rebuild(codec, in, VALUE, own);
    });
    rv = std::apply(function, args);
  }
  auto out = reply.initValues(PassesOf<F>::VALUES);
  reply.setReturnValue(rv);
  if (function == nullptr) return;
  PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    Pass<Role>::answer(codec, out, in, VALUE, detail::slice<Role, ARG>(args), rv);
  });
}

}  // namespace bulkhead::ipc
