// SPDX-License-Identifier: BSD-2-Clause
//
// Calls to fuzz with: for every function of the catalogue, arguments as an application would make
// them, drawn from a number. What the caller alone may write is remembered, and each buffer is of
// exactly the size that the call says, so that the address sanitizer sees a byte too much.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "ipc/catalogue.h"
#include "ipc/channel.h"
#include "ipc/codec.h"
#include "ipc/params.h"

namespace bulkhead::fuzz {

using namespace ipc;

/// Ends the program as a crash: an invariant does not hold.
[[noreturn]] inline void broken(const char* what) {
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// A deterministic stream of numbers (splitmix64).
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  bool oneIn(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

/// The caller's memory of one call.
class Caller {
 public:
  explicit Caller(std::uint64_t seed) : numbers(seed) {}

  Numbers numbers;

  template <typename T = std::byte>
  T* room(std::size_t count = 1) {
    auto memory = std::make_unique<std::byte[]>(count * sizeof(T));
    for (std::size_t i = 0; i < count * sizeof(T); ++i) memory[i] = std::byte{0x5a};
    return reinterpret_cast<T*>(memories_.emplace_back(std::move(memory)).get());
  }

  /// From here on only the caller may write these bytes.
  void freeze(const void* at, std::size_t size) {
    auto p = static_cast<const std::byte*>(at);
    frozen_.push_back({p, std::vector<std::byte>(p, p + size)});
  }

  /// `*length` must not promise more than `offered` when the call succeeds.
  void bound(const CK_ULONG* length, bool mayBeUnavailable) {
    bounds_.push_back({length, *length, mayBeUnavailable});
  }

  void checkAfter(CK_RV rv) const {
    for (const auto& [at, before] : frozen_)
      if (!before.empty() && std::memcmp(at, before.data(), before.size()) != 0)
        broken("memory was written that only the caller may write");
    if (rv != CKR_OK) return;
    for (const Bound& bound : bounds_) {
      CK_ULONG now;
      std::memcpy(&now, bound.length, sizeof now);
      if (now > bound.offered && !(bound.mayBeUnavailable && now == CK_UNAVAILABLE_INFORMATION))
        broken("success with a length beyond the caller's buffer");
    }
    if (signature_.buffer != nullptr) checkSignature();
  }

  // ---- arguments by role ----

  void make(role::Slot, CK_SLOT_ID& a) { a = numbers.below(4); }
  void make(role::Session, CK_SESSION_HANDLE& a) { a = numbers.below(9); }
  void make(role::Object, CK_OBJECT_HANDLE& a) { a = numbers.below(9); }
  void make(role::Key, CK_OBJECT_HANDLE& a) { a = numbers.below(9); }
  void make(role::Number, CK_ULONG& a) { a = numbers.below(1000); }
  void make(role::Bool, CK_BBOOL& a) { a = numbers.oneIn(2) ? CK_TRUE : CK_FALSE; }
  template <typename T>
  void make(role::Local<T>, T& a) {
    a = T{};
  }
  void make(role::BytesIn, CK_BYTE_PTR& p, CK_ULONG& n) {
    n = numbers.below(70);
    p = numbers.oneIn(6) ? nullptr : bytes(n);
  }
  void make(role::Label, CK_BYTE_PTR& p) { p = numbers.oneIn(6) ? nullptr : bytes(32); }
  void make(role::BytesOut, CK_BYTE_PTR& p, CK_ULONG_PTR& length) {
    CK_ULONG n = numbers.below(70);
    length = numbers.oneIn(8) ? nullptr : room<CK_ULONG>();
    if (length != nullptr) *length = n;
    p = numbers.oneIn(4) ? nullptr : reinterpret_cast<CK_BYTE_PTR>(room(n));
    if (length != nullptr && p != nullptr) bound(length, false);
  }
  void make(role::SignatureOut, CK_BYTE_PTR& p, CK_ULONG_PTR& length) {
    make(role::BytesOut{}, p, length);
    operationMechanism = numbers.oneIn(3) ? CKM_SHA256_HMAC : CKM_HOTP;
    if (length != nullptr && p != nullptr && operationMechanism == CKM_HOTP)
      signature_ = {p, length};
  }
  void make(role::Fill, CK_BYTE_PTR& p, CK_ULONG& n) {
    n = numbers.below(70);
    p = numbers.oneIn(6) ? nullptr : reinterpret_cast<CK_BYTE_PTR>(room(n));
  }
  void make(role::TemplateIn, CK_ATTRIBUTE_PTR& p, CK_ULONG& n) { attributes(p, n, false, 0); }
  void make(role::TemplateFill, CK_ATTRIBUTE_PTR& p, CK_ULONG& n) { attributes(p, n, true, 0); }
  template <Use U>
  void make(role::Mechanism<U>, CK_MECHANISM_PTR& p) {
    p = numbers.oneIn(10) ? nullptr : mechanism(U, 0);
  }
  void make(role::MessageParameter, CK_VOID_PTR& p, CK_ULONG& n) {
    operationMechanism = mechanismType();
    parameter(operationMechanism, Use::Message, p, n, 0);
  }
  void make(role::NumberOut, CK_ULONG_PTR& p) { p = numbers.oneIn(6) ? nullptr : room<CK_ULONG>(); }
  void make(role::ObjectOut, CK_OBJECT_HANDLE_PTR& p) {
    p = numbers.oneIn(6) ? nullptr : room<CK_OBJECT_HANDLE>();
  }
  void make(role::NumbersOut, CK_ULONG_PTR& p, CK_ULONG_PTR& count) {
    CK_ULONG n = numbers.below(9);
    count = numbers.oneIn(8) ? nullptr : room<CK_ULONG>();
    if (count != nullptr) *count = n;
    p = numbers.oneIn(4) ? nullptr : room<CK_ULONG>(n);
    if (count != nullptr && p != nullptr) bound(count, false);
  }
  void make(role::ObjectsOut, CK_OBJECT_HANDLE_PTR& p, CK_ULONG& max, CK_ULONG_PTR& count) {
    max = numbers.below(9);
    p = numbers.oneIn(6) ? nullptr : room<CK_OBJECT_HANDLE>(max);
    count = numbers.oneIn(6) ? nullptr : room<CK_ULONG>();
    if (count == nullptr) return;
    *count = max;
    if (p != nullptr) bound(count, false);
  }
  template <typename T>
  void make(role::StructOut<T>, T*& p) {
    p = numbers.oneIn(6) ? nullptr : room<T>();
  }

  CK_MECHANISM_TYPE operationMechanism = CK_UNAVAILABLE_INFORMATION;

 private:
  struct Bound {
    const CK_ULONG* length;
    CK_ULONG offered;
    bool mayBeUnavailable;
  };

  // Whoever reads the signature stays within the buffer.
  void checkSignature() const {
    CK_ULONG size = *signature_.length;
    auto inside = [&](const void* p, CK_ULONG count, CK_ULONG each) {
      auto offset =
          reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(signature_.buffer);
      return offset <= size && count <= (size - offset) / each;
    };
    CK_OTP_SIGNATURE_INFO info;
    if (size < sizeof info) broken("half a signature");
    std::memcpy(&info, signature_.buffer, sizeof info);
    if (info.pParams == nullptr) return;
    if (!inside(info.pParams, info.ulCount, sizeof(CK_OTP_PARAM)))
      broken("a signature that leads out of its buffer");
    for (CK_ULONG i = 0; i < info.ulCount; ++i) {
      CK_OTP_PARAM one;
      std::memcpy(&one, reinterpret_cast<CK_BYTE_PTR>(info.pParams) + i * sizeof one, sizeof one);
      if (one.pValue != nullptr && !inside(one.pValue, one.ulValueLen, 1))
        broken("a value that leads out of its buffer");
    }
  }

  CK_BYTE_PTR bytes(std::size_t n) {
    auto p = reinterpret_cast<CK_BYTE_PTR>(room(n));
    for (std::size_t i = 0; i < n; ++i) p[i] = static_cast<CK_BYTE>(numbers.next());
    freeze(p, n);
    return p;
  }

  void attributes(CK_ATTRIBUTE_PTR& p, CK_ULONG& n, bool fill, unsigned depth) {
    static constexpr CK_ATTRIBUTE_TYPE TYPES[] = {CKA_CLASS, CKA_LABEL,           CKA_ID,
                                                  CKA_VALUE, CKA_UNWRAP_TEMPLATE, CKA_WRAP_TEMPLATE,
                                                  0x80000001};
    n = numbers.below(5);
    p = nullptr;
    if (numbers.oneIn(8)) return;
    p = room<CK_ATTRIBUTE>(n);
    for (CK_ULONG i = 0; i < n; ++i) {
      CK_ATTRIBUTE& one = p[i];
      one.type = TYPES[numbers.below(std::size(TYPES))];
      one.ulValueLen = numbers.below(40);
      one.pValue = nullptr;
      bool nested = one.type == CKA_UNWRAP_TEMPLATE || one.type == CKA_WRAP_TEMPLATE;
      if (nested && depth < 3 && !numbers.oneIn(6)) {
        CK_ATTRIBUTE_PTR inner;
        CK_ULONG count;
        attributes(inner, count, fill, depth + 1);
        one.pValue = inner;
        one.ulValueLen = count * sizeof(CK_ATTRIBUTE);
      } else if (!numbers.oneIn(4)) {
        // Of a length that no array has: whoever passes an array has put attributes into it.
        if (nested) one.ulValueLen |= 1;
        one.pValue = fill ? static_cast<void*>(room(one.ulValueLen)) : bytes(one.ulValueLen);
      }
      if (fill) {
        // Within a template the module says which attribute it is.
        if (depth == 0) freeze(&one.type, sizeof one.type);
        freeze(&one.pValue, sizeof one.pValue);
        if (one.pValue != nullptr) bound(&one.ulValueLen, true);
      } else {
        freeze(&one, sizeof one);
      }
    }
  }

  CK_MECHANISM_TYPE mechanismType() {
    auto known = knownMechanisms();
    return numbers.oneIn(20) ? 0x80000123 : known[numbers.below(known.size())];
  }

  CK_MECHANISM* mechanism(Use use, unsigned depth) {
    auto p = room<CK_MECHANISM>();
    p->mechanism = mechanismType();
    parameter(p->mechanism, use, p->pParameter, p->ulParameterLen, depth);
    freeze(p, sizeof *p);
    return p;
  }

  void parameter(CK_MECHANISM_TYPE type, Use use, void*& p, CK_ULONG& n, unsigned depth) {
    p = nullptr;
    n = 0;
    if (numbers.oneIn(8)) return;
    Layout layout = layoutOf(type, use, nullptr, 0);
    if (layout.kind != Layout::Kind::Shaped) {
      n = layout.kind == Layout::Kind::Handle ? sizeof(CK_OBJECT_HANDLE) : numbers.below(40);
      p = room(n);
      if (layout.kind == Layout::Kind::Flat || layout.kind == Layout::Kind::Handle) freeze(p, n);
      return;
    }
    n = layout.shape->size;
    auto image = room(n);
    structure(*layout.shape, image, nullptr, depth);
    // Another size may mean another layout, whose lengths are elsewhere: not with these pointers.
    if (layoutOf(type, use, image, n).shape != layout.shape) {
      n = 0;
      return;
    }
    p = image;
  }

  void structure(const Shape& shape, std::byte* image, const std::byte* parent, unsigned depth) {
    for (const Field& field : shape.fields) {
      std::byte* at = image + field.offset;
      if (field.isPointer()) {
        std::memset(at, 0, field.size);
      } else if (field.size == sizeof(CK_ULONG)) {
        put(at, numbers.oneIn(3) ? field.when.value : numbers.below(12));
      } else if (field.size == 1) {
        *at = std::byte(numbers.below(2));
      }
    }
    for (const Field& field : shape.fields)
      if (field.isPointer() && field.when.rule != Condition::Rule::Always &&
          field.when.rule != Condition::Rule::Set && numbers.oneIn(2))
        put(image + field.when.number, field.when.value);
    // A length behind a pointer comes before what it is the length of.
    for (bool through : {false, true})
      for (const Field& field : shape.fields)
        if (field.isPointer() && (field.length.rule == Length::Rule::Through) == through)
          pointer(field, image, parent, depth);
    for (const Field& field : shape.fields)
      if (field.isPointer() || field.direction == Direction::In)
        freeze(image + field.offset, field.size);
  }

  void pointer(const Field& field, std::byte* image, const std::byte* parent, unsigned depth) {
    if (numbers.oneIn(8) || field.length.rule == Length::Rule::Unknown || depth > 3) return;
    CK_ULONG n = 0;
    if (!lengthOf(field, image, parent, n) || n > 4096) return;
    void* p = nullptr;
    switch (field.kind) {
      case Kind::Number:
      case Kind::Handle:
        return;
      case Kind::Attributes: {
        auto list = room<CK_ATTRIBUTE>(n);
        for (CK_ULONG i = 0; i < n; ++i) {
          list[i] = {CKA_LABEL, bytes(3), 3};
          freeze(&list[i], sizeof list[i]);
        }
        p = list;
        break;
      }
      case Kind::Mechanism:
        p = mechanism(Use::Operation, depth + 2);
        break;
      case Kind::Nested: {
        auto list = room(n * field.shape->size);
        for (CK_ULONG i = 0; i < n; ++i)
          structure(*field.shape, list + i * field.shape->size, image, depth + 1);
        p = list;
        break;
      }
      case Kind::Bytes:
      case Kind::BytesOrHandle:
      case Kind::HandlePointer:
        p = room(n);
        if (field.length.rule == Length::Rule::Terminated)
          std::memcpy(p, "name", 5);
        else if (field.direction == Direction::InOut && n == sizeof(CK_ULONG))
          put(p, numbers.below(20));
        if (field.direction == Direction::In) freeze(p, n);
        break;
    }
    std::memcpy(image + field.offset, &p, sizeof p);
  }

  // Says the same as the codec's, in the words of params.h.
  static bool lengthOf(const Field& field, const std::byte* image, const std::byte* parent,
                       CK_ULONG& n) {
    auto bits = [](CK_ULONG count) { return (count + 7) / 8; };
    const Length& length = field.length;
    switch (length.rule) {
      case Length::Rule::Fixed:
        n = length.value;
        return true;
      case Length::Rule::Field:
        n = get(image + length.value);
        return true;
      case Length::Rule::Bits:
        n = bits(get(image + length.value));
        return true;
      case Length::Rule::FieldOrBits:
        n = get(image + length.value);
        if (n == 0) n = bits(get(image + length.other));
        return true;
      case Length::Rule::Through: {
        std::uintptr_t at = get(image + length.value);
        n = at == 0 ? 0 : get(reinterpret_cast<const void*>(at));
        return true;
      }
      case Length::Rule::ParentBits:
        n = parent == nullptr ? 0 : bits(get(parent + length.value));
        return true;
      case Length::Rule::BitsOrBytes:
        n = get(image + length.value);
        if (n == 64 || n == 96 || n == 192) n /= 8;
        return true;
      case Length::Rule::Terminated:
        n = 5;
        return true;
      case Length::Rule::Unknown:
        break;
    }
    return false;
  }

  static void put(void* at, CK_ULONG n) { std::memcpy(at, &n, sizeof n); }
  static CK_ULONG get(const void* at) {
    CK_ULONG n;
    std::memcpy(&n, at, sizeof n);
    return n;
  }

  std::vector<std::unique_ptr<std::byte[]>> memories_;
  std::vector<std::pair<const std::byte*, std::vector<std::byte>>> frozen_;
  std::vector<Bound> bounds_;
  struct {
    CK_BYTE_PTR buffer = nullptr;
    const CK_ULONG* length = nullptr;
  } signature_;
};

/// What a module answers and does to its arguments.
struct Behaviour {
  CK_RV rv = CKR_OK;
  std::uint64_t seed = 0;
};
inline Behaviour behaviour;

/// One function of the catalogue with its arguments, without its types: they are in calls.cpp,
/// which takes long enough to compile once.
class AnyCall {
 public:
  virtual ~AnyCall() = default;
  virtual void encode(HostCodec& codec, wire::Request::Builder request) = 0;
  virtual CK_RV decode(HostCodec& codec, wire::Reply::Reader reply) = 0;
};

/// A call of the function at `index` with arguments in the memory of `caller`.
std::unique_ptr<AnyCall> makeCall(unsigned index, Caller& caller);

/// The worker's side of a call of the function at `index`; the module is a dummy.
void serveCall(unsigned index, WorkerCodec& codec, wire::Request::Reader request,
               wire::Reply::Builder reply);

/// How many values the function's messages have.
unsigned valuesOf(unsigned index);

/// The head of an input; the message or its changes follow.
struct Head {
  std::uint8_t mode;
  std::uint8_t function;
  std::uint16_t rv;
  std::uint32_t seed;
};

/// `rest` as the words of a message.
inline kj::Array<capnp::word> words(const std::uint8_t* data, std::size_t size) {
  auto copy = kj::heapArray<capnp::word>(size / sizeof(capnp::word));
  if (copy.size() != 0) std::memcpy(copy.begin(), data, copy.size() * sizeof(capnp::word));
  return copy;
}

/// Applies changes to a message: each is a position, and a byte that is put there.
inline void change(kj::Array<capnp::word>& message, const std::uint8_t* data, std::size_t size) {
  auto bytes = message.asBytes();
  for (std::size_t i = 0; i + 3 <= size && bytes.size() != 0; i += 3)
    bytes[(data[i] + 256U * data[i + 1]) % bytes.size()] = data[i + 2];
}

/// Draws a value that may or may not be what was asked for.
inline void makeValue(Numbers& n, wire::Value::Builder out, unsigned depth = 0);

inline void makeBytes(Numbers& n, kj::ArrayPtr<kj::byte> bytes) {
  for (auto& byte : bytes) byte = static_cast<kj::byte>(n.next());
}

inline std::uint64_t makeNumber(Numbers& n) {
  switch (n.below(5)) {
    case 0:
      return n.below(70);
    case 1:
      return CK_UNAVAILABLE_INFORMATION;
    case 2:
      return n.next();
    case 3:
      return std::uint64_t{1} << n.below(64);
    default:
      return n.below(9);
  }
}

inline void makeAttributes(Numbers& n, capnp::List<wire::Attribute>::Builder list, unsigned depth) {
  for (auto one : list) {
    one.setType(makeNumber(n));
    one.setLength(makeNumber(n));
    switch (n.below(4)) {
      case 0:
        break;
      case 1: {
        auto bytes = one.initBytes(static_cast<unsigned>(n.below(40)));
        makeBytes(n, bytes);
        if (!n.oneIn(4)) one.setLength(bytes.size());
        break;
      }
      case 2:
        one.setRoom();
        break;
      case 3:
        if (depth < 6)
          makeAttributes(n, one.initNested(static_cast<unsigned>(n.below(4))), depth + 1);
        if (one.isNested() && !n.oneIn(4))
          one.setLength(one.getNested().size() * sizeof(CK_ATTRIBUTE));
        break;
    }
  }
}

inline void makeParameter(Numbers& n, wire::Parameter::Builder out, unsigned depth) {
  auto all = shapes();
  std::uint16_t index = static_cast<std::uint16_t>(n.below(all.size()));
  const Shape& shape = *all[index];
  out.setPresent(!n.oneIn(6));
  out.setShape(n.oneIn(5) ? static_cast<std::uint16_t>(n.next()) : index);
  if (!n.oneIn(3)) {
    auto size = n.oneIn(6) ? n.below(200) : shape.size;
    makeBytes(n, out.initImage(static_cast<unsigned>(size)));
  }
  out.setLength(n.oneIn(4) ? makeNumber(n) : shape.size);
  unsigned pointers = 0;
  for (const Field& field : shape.fields) pointers += field.isPointer() ? 1 : 0;
  auto fields = out.initFields(n.oneIn(6) ? static_cast<unsigned>(n.below(8)) : pointers);
  for (auto field : fields)
    if (!n.oneIn(3)) makeValue(n, field, depth + 1);
}

inline void makeValue(Numbers& n, wire::Value::Builder out, unsigned depth) {
  if (depth > 6) return;
  switch (n.below(11)) {
    case 0:
      return;
    case 1:
      return out.setNumber(makeNumber(n));
    case 2:
      return makeBytes(n, out.initBytes(static_cast<unsigned>(n.below(80))));
    case 3:
      return out.setRoom(makeNumber(n));
    case 4:
      return out.setQuery(makeNumber(n));
    case 5:
      return out.setBuffer();
    case 6:
      for (unsigned i = 0, count = out.initNumbers(static_cast<unsigned>(n.below(10))).size();
           i < count; ++i)
        out.getNumbers().set(i, makeNumber(n));
      return;
    case 7:
      return makeAttributes(n, out.initAttributes(static_cast<unsigned>(n.below(5))), 0);
    case 8: {
      auto mechanism = out.initMechanism();
      mechanism.setType(makeNumber(n));
      return makeParameter(n, mechanism.initParameter(), depth + 1);
    }
    case 9:
      for (auto one : out.initParameters(static_cast<unsigned>(n.below(4))))
        makeParameter(n, one, depth + 1);
      return;
    default:
      return makeBytes(n, out.initBytes(static_cast<unsigned>(n.below(9))));
  }
}

/// Where FUZZ_SEEDS asks for them, writes inputs to begin with to that directory.
template <typename Write>
void writeSeeds(Write&& write) {
  const char* directory = std::getenv("FUZZ_SEEDS");
  if (directory == nullptr) return;
  unsigned count = 0;
  write([&](const void* data, std::size_t size) {
    std::string path = std::string(directory) + "/seed" + std::to_string(count++);
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file == nullptr || std::fwrite(data, 1, size, file) != size) broken("writing seeds");
    std::fclose(file);
  });
  std::exit(0);
}

/// Seeds for the targets that take a Head: for every function an honest message, one to change, and
/// one to make.
template <typename Write, typename Run>
void writeCalls(Write&& write, Run&& run) {
  for (unsigned f = 0; f < FUNCTIONS; ++f)
    for (std::uint8_t mode = 0; mode < 3; ++mode) {
      Head head{mode, static_cast<std::uint8_t>(f), 0, f + mode};
      kj::Array<capnp::word> message;
      run(head, nullptr, 0, &message);
      std::vector<std::uint8_t> bytes(sizeof head + 8);
      std::memcpy(bytes.data(), &head, sizeof head);
      if (mode == 0) {
        bytes.resize(sizeof head + message.asBytes().size());
        if (message.size() != 0)
          std::memcpy(bytes.data() + sizeof head, message.begin(), message.asBytes().size());
      }
      write(bytes.data(), bytes.size());
    }
}

}  // namespace bulkhead::fuzz
