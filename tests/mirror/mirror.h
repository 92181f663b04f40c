// SPDX-License-Identifier: BSD-2-Clause
//
// A mirror: arguments for every function of the catalogue and for every parameter struct of the
// tables, made from a small scenario that both ends know. The module that got a call makes the same
// arguments again and compares, field by field, with what it received; then it writes a pattern
// into all that a module may write. A caller does the same to arguments of its own that never
// travelled, and compares the memory behind both.
//
// What roles mean and how structs lie in memory is read from the tables; nothing here calls the
// codec. (shapes_test.cpp holds the tables themselves against the standard's header.)
#pragma once

#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ipc/catalogue.h"
#include "ipc/codec.h"

namespace bulkhead::mirror {

using ipc::Condition;
using ipc::Direction;
using ipc::Field;
using ipc::Function;
using ipc::Kind;
using ipc::Layout;
using ipc::Length;
using ipc::Shape;
using ipc::Use;

/// Which of the ways a caller can give an argument.
enum class Variant : std::uint8_t {
  Full,   ///< everything there
  Null,   ///< NULL pointers with zero lengths
  Empty,  ///< pointers with zero lengths
  Query,  ///< NULL pointers with lengths
  Bare,   ///< buffers without a pointer to their length; mechanisms without a parameter
  Mixed,  ///< each argument another of the above
};
inline constexpr unsigned VARIANTS = 6;

/// All that makes one call. Travels to the module as the seed of C_SeedRandom. Plain value.
struct Scenario {
  std::uint64_t magic = MAGIC;
  std::uint64_t returnValue = CKR_OK;  ///< CKR_OK: what is natural for the arguments
  std::uint64_t mechanism = CKM_SHA256;
  std::uint32_t seed = 0;
  Function function{};
  std::uint16_t shape = FLAT;  ///< of the parameter: a position in shapes(), or FLAT
  Variant variant = Variant::Full;
  std::int8_t cut = 0;    ///< the parameter's length is that of the struct plus this
  std::uint8_t lies = 0;  ///< the module says that it wrote more than there was room for
  std::uint8_t idle = 0;  ///< 1: the module leaves the parameter alone; 2: every other handle in it
  std::uint8_t nothing[4] = {};

  static constexpr std::uint64_t MAGIC = 0x726f7272696d2121;
  static constexpr std::uint16_t FLAT = 0xffff;
};

/// What a module returns that got something else than was sent.
inline constexpr CK_RV MISMATCH = CKR_VENDOR_DEFINED | 0x4d49;

/// What differs between two places that see the same call.
struct Place {
  CK_SLOT_ID slot = 0;
  CK_SESSION_HANDLE session = 0;
  CK_ULONG tag = 0;  ///< what object handles carry in their upper bits here

  static constexpr unsigned SHIFT = sizeof(CK_ULONG) * 8 - 16;
  CK_OBJECT_HANDLE object(CK_OBJECT_HANDLE h) const {
    return h == CK_INVALID_HANDLE ? h : h | (tag << SHIFT);
  }
  CK_OBJECT_HANDLE bare(CK_OBJECT_HANDLE h) const {
    return h >> SHIFT == tag ? h & ~(tag << SHIFT) : h;
  }
};

template <typename T>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <typename T>
void store(void* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

/// A stream of numbers; the same for the same seed everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  CK_ULONG below(CK_ULONG n) { return next() % n; }
  void fill(void* at, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i)
      static_cast<unsigned char*>(at)[i] = static_cast<unsigned char>(next());
  }

 private:
  std::uint64_t state_;
};

/// The memory of one call's arguments, each piece of it allocated for itself so that a byte too far
/// is found. Knows where pointers and handles lie: they differ between two places.
class Memory {
 public:
  explicit Memory(const Place& p) : place(p) {}

  std::byte* allocate(std::string label, std::size_t size, Dice& dice) {
    Piece& piece = pieces_.emplace_back();
    piece.label = std::move(label);
    piece.size = size;
    piece.bytes.reset(new std::byte[size]);
    dice.fill(piece.bytes.get(), size);
    return piece.bytes.get();
  }
  void pointer(std::byte* at, const void* value) {
    store(at, value);
    mark(at, &Piece::pointers);
  }
  /// Here the module may write a pointer into the piece itself.
  void inner(std::byte* at) { mark(at, &Piece::inner); }
  void handle(std::byte* at, CK_OBJECT_HANDLE value) {
    store(at, place.object(value));
    mark(at, &Piece::handles);
  }

  /// The first difference to memory made from the same scenario; "" for none.
  std::string difference(const Memory& other) const {
    if (pieces_.size() != other.pieces_.size()) return "not from one scenario";
    for (std::size_t p = 0; p < pieces_.size(); ++p) {
      const Piece& a = pieces_[p];
      const Piece& b = other.pieces_[p];
      if (a.size != b.size) return a.label + ": not from one scenario";
      for (std::size_t i = 0; i < a.size; ++i) {
        if (a.pointers.count(i) != 0) {
          i += sizeof(void*) - 1;
          continue;
        }
        if (a.handles.count(i) != 0) {
          auto ha = place.bare(load<CK_OBJECT_HANDLE>(a.bytes.get() + i));
          auto hb = other.place.bare(load<CK_OBJECT_HANDLE>(b.bytes.get() + i));
          if (ha != hb) return a.label + ": handle " + hex(ha) + " is not " + hex(hb);
          i += sizeof ha - 1;
          continue;
        }
        if (a.inner.count(i) != 0) {
          auto from = [i](const Piece& piece) {
            return load<std::uintptr_t>(piece.bytes.get() + i) -
                   reinterpret_cast<std::uintptr_t>(piece.bytes.get());
          };
          if (from(a) == from(b)) {
            i += sizeof(void*) - 1;
            continue;
          }
        }
        if (a.bytes[i] != b.bytes[i])
          return a.label + "[" + std::to_string(i) + " of " + std::to_string(a.size) +
                 "]: " + hex(std::to_integer<CK_ULONG>(a.bytes[i])) + " is not " +
                 hex(std::to_integer<CK_ULONG>(b.bytes[i]));
      }
    }
    return "";
  }

  static std::string hex(CK_ULONG n) {
    char text[32];
    std::snprintf(text, sizeof text, "0x%lx", n);
    return text;
  }

  const Place place;

 private:
  struct Piece {
    std::string label;
    std::size_t size = 0;
    std::unique_ptr<std::byte[]> bytes;
    std::set<std::size_t> pointers;
    std::set<std::size_t> handles;
    std::set<std::size_t> inner;
  };
  void mark(const std::byte* at, std::set<std::size_t> Piece::*where) {
    for (Piece& piece : pieces_)
      if (at >= piece.bytes.get() && at < piece.bytes.get() + piece.size)
        (piece.*where).insert(static_cast<std::size_t>(at - piece.bytes.get()));
  }
  std::deque<Piece> pieces_;
};

// ---- structs ----

inline bool active(const Condition& when, const std::byte* image) {
  bool flag = load<CK_BBOOL>(image + when.flag) != CK_FALSE;
  bool number = load<CK_ULONG>(image + when.number) == when.value;
  switch (when.rule) {
    case Condition::Rule::Always:
      return true;
    case Condition::Rule::Set:
      return flag;
    case Condition::Rule::Equals:
      return number;
    case Condition::Rule::SetAndEquals:
      return flag && number;
  }
  return false;
}

/// Bytes or elements behind a pointer of a struct that was made here.
inline CK_ULONG extent(const Field& field, const std::byte* image, const std::byte* parent) {
  auto at = [&](const std::byte* in, std::uint16_t offset) { return load<CK_ULONG>(in + offset); };
  const Length& length = field.length;
  switch (length.rule) {
    case Length::Rule::Fixed:
      return length.value;
    case Length::Rule::Field:
      return at(image, length.value);
    case Length::Rule::Bits:
      return (at(image, length.value) + 7) / 8;
    case Length::Rule::FieldOrBits: {
      CK_ULONG n = at(image, length.value);
      return n != 0 ? n : (at(image, length.other) + 7) / 8;
    }
    case Length::Rule::Through: {
      auto p = load<const std::byte*>(image + length.value);
      return p == nullptr ? 0 : load<CK_ULONG>(p);
    }
    case Length::Rule::ParentBits:
      return parent == nullptr ? 0 : (at(parent, length.value) + 7) / 8;
    case Length::Rule::BitsOrBytes: {
      CK_ULONG n = at(image, length.value);
      return n == 64 || n == 96 || n == 192 ? n / 8 : n;
    }
    case Length::Rule::Terminated: {
      auto p = load<const char*>(image + field.offset);
      return p == nullptr ? 0 : std::strlen(p) + 1;
    }
    case Length::Rule::Unknown:
      break;
  }
  return 0;
}

/// Makes arguments.
class Maker {
 public:
  Maker(Memory& memory, const Scenario& scenario, Dice& dice)
      : memory_(memory), scenario_(scenario), dice_(dice) {}

  Dice& dice() { return dice_; }
  Memory& memory() { return memory_; }
  const Scenario& scenario() const { return scenario_; }
  const Place& place() const { return memory_.place; }

  /// Memory of `size` bytes with something in it.
  std::byte* bytes(const std::string& label, std::size_t size) {
    return memory_.allocate(label, size, dice_);
  }
  CK_OBJECT_HANDLE object() { return 1 + dice_.below(0xffffff); }

  /// A struct of the table in `image`, with all that it points to.
  void structure(const std::string& label, const Shape& shape, std::byte* image,
                 const std::byte* parent, unsigned depth = 0) {
    // Flags and selectors that make a pointer active, in two calls of three.
    bool activate = dice_.below(3) != 0;
    for (const Field& f : shape.fields) {
      if (f.kind == Kind::Number && f.size == sizeof(CK_ULONG))
        store<CK_ULONG>(image + f.offset, 1 + dice_.below(40));
    }
    for (const Field& f : shape.fields) {
      const Condition& when = f.when;
      if (when.rule == Condition::Rule::Equals || when.rule == Condition::Rule::SetAndEquals)
        store<CK_ULONG>(image + when.number, activate ? when.value : when.value + 1);
      if (when.rule == Condition::Rule::Set || when.rule == Condition::Rule::SetAndEquals)
        store<CK_BBOOL>(image + when.flag, activate ? CK_TRUE : CK_FALSE);
    }
    for (const Field& f : shape.fields) {
      if (f.kind != Kind::Handle) continue;
      // What may hold garbage does: it is nobody's handle.
      if (active(f.when, image))
        memory_.handle(image + f.offset, object());
      else
        store<CK_OBJECT_HANDLE>(image + f.offset, 0xdead000100000001);
    }
    std::set<std::uint16_t> lengths;  // pointers to lengths
    for (const Field& f : shape.fields)
      if (f.isPointer() && f.length.rule == Length::Rule::Through) lengths.insert(f.length.value);
    for (const Field& f : shape.fields) {
      if (!f.isPointer()) continue;
      if (lengths.count(f.offset) != 0) {
        auto p = bytes(label + "." + f.name, sizeof(CK_ULONG));
        store<CK_ULONG>(p, 1 + dice_.below(30));
        memory_.pointer(image + f.offset, p);
      }
      lengthFor(f, image);
    }
    for (const Field& f : shape.fields) {
      if (!f.isPointer() || lengths.count(f.offset) != 0) continue;
      target(label + "." + f.name, f, image, parent, depth);
    }
  }

  /// A mechanism with a parameter of the scenario's shape.
  CK_MECHANISM* mechanism(const std::string& label, Variant variant) {
    if (variant == Variant::Null) return nullptr;
    auto image = bytes(label, sizeof(CK_MECHANISM));
    store<CK_ULONG>(image + offsetof(CK_MECHANISM, mechanism), scenario_.mechanism);
    CK_ULONG length = 0;
    void* p = parameter(label, variant, length);
    memory_.pointer(image + offsetof(CK_MECHANISM, pParameter), p);
    store(image + offsetof(CK_MECHANISM, ulParameterLen), length);
    return reinterpret_cast<CK_MECHANISM*>(image);
  }

  void* parameter(const std::string& label, Variant variant, CK_ULONG& length) {
    length = 0;
    switch (variant) {
      case Variant::Null:
      case Variant::Bare:
        return nullptr;
      case Variant::Empty:
        return bytes(label + ".empty", 0);
      case Variant::Query:
        length = 7;
        return nullptr;
      default:
        break;
    }
    if (scenario_.shape == Scenario::FLAT) {
      length = 1 + dice_.below(60);
      if (length == sizeof(CK_OBJECT_HANDLE)) ++length;
      return bytes(label + ".flat", length);
    }
    const Shape& shape = *ipc::shapes()[scenario_.shape];
    length = static_cast<CK_ULONG>(CK_LONG{shape.size} + scenario_.cut);
    // Made whole, so that what is cut off is what would have been there.
    auto image = bytes(label + "." + shape.name, std::max<std::size_t>(shape.size, length));
    structure(label + "." + shape.name, shape, image, nullptr);
    return image;
  }

  /// A template: what each attribute is changes with its position and the seed.
  CK_ATTRIBUTE* attributes(const std::string& label, CK_ULONG count, bool fill,
                           unsigned depth = 0) {
    static constexpr CK_ATTRIBUTE_TYPE TEMPLATES[] = {CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE,
                                                      CKA_DERIVE_TEMPLATE, CKA_ENCAPSULATE_TEMPLATE,
                                                      CKA_DECAPSULATE_TEMPLATE};
    static constexpr CK_ATTRIBUTE_TYPE PLAIN[] = {CKA_CLASS,
                                                  CKA_LABEL,
                                                  CKA_ID,
                                                  CKA_VALUE,
                                                  CKA_ALLOWED_MECHANISMS,
                                                  CKA_VENDOR_DEFINED | CKF_ARRAY_ATTRIBUTE | 5};
    auto image = bytes(label, count * sizeof(CK_ATTRIBUTE));
    for (CK_ULONG i = 0; i < count; ++i) {
      auto at = image + i * sizeof(CK_ATTRIBUTE);
      std::string name = label + "[" + std::to_string(i) + "]";
      CK_ATTRIBUTE_TYPE type = PLAIN[dice_.below(std::size(PLAIN))];
      void* value = nullptr;
      CK_ULONG length = 0;
      switch (CK_ULONG what = depth < 2 ? dice_.below(10) : dice_.below(5)) {
        case 0:
          break;
        case 1:  // NULL, and a length all the same
          length = fill ? CK_UNAVAILABLE_INFORMATION : 1 + dice_.below(9);
          break;
        case 2:  // empty is not NULL
          value = bytes(name, 0);
          break;
        case 3:
        case 4:
          length = 1 + dice_.below(40);
          value = bytes(name, length);
          break;
        default: {
          type = TEMPLATES[what - 5];
          CK_ULONG n = dice_.below(4);
          length = n * sizeof(CK_ATTRIBUTE);
          value = attributes(name, n, fill, depth + 1);
          break;
        }
      }
      store(at + offsetof(CK_ATTRIBUTE, type), type);
      memory_.pointer(at + offsetof(CK_ATTRIBUTE, pValue), value);
      store(at + offsetof(CK_ATTRIBUTE, ulValueLen), length);
    }
    return reinterpret_cast<CK_ATTRIBUTE*>(image);
  }

 private:
  void lengthFor(const Field& f, std::byte* image) {
    CK_ULONG n = dice_.below(40);
    if (f.kind == Kind::Nested || f.kind == Kind::Attributes) n %= 4;
    if (f.kind == Kind::BytesOrHandle && active(f.when, image)) n = sizeof(CK_OBJECT_HANDLE);
    switch (f.length.rule) {
      case Length::Rule::Field:
        store(image + f.length.value, n);
        break;
      case Length::Rule::Bits:
        store(image + f.length.value, n == 0 ? 0 : n * 8 - dice_.below(8));
        break;
      case Length::Rule::FieldOrBits: {
        bool bits = dice_.below(2) == 0;
        store(image + f.length.value, bits ? CK_ULONG{0} : n);
        store(image + f.length.other, n * 8);
        break;
      }
      case Length::Rule::BitsOrBytes: {
        static constexpr CK_ULONG LENGTHS[] = {8, 12, 24, 64, 96, 192};
        store(image + f.length.value, LENGTHS[dice_.below(std::size(LENGTHS))]);
        break;
      }
      default:
        break;
    }
  }

  void target(const std::string& label, const Field& f, std::byte* image, const std::byte* parent,
              unsigned depth) {
    auto at = image + f.offset;
    // What may hold garbage does: it is not followed.
    if (f.length.rule == Length::Rule::Unknown ||
        (!active(f.when, image) && f.kind != Kind::BytesOrHandle)) {
      memory_.pointer(at, reinterpret_cast<void*>(0xdead0001));
      return;
    }
    // Any pointer may be NULL, whatever its length says.
    if (dice_.below(8) == 0) {
      memory_.pointer(at, nullptr);
      return;
    }
    CK_ULONG n =
        f.length.rule == Length::Rule::Terminated ? 1 + dice_.below(20) : extent(f, image, parent);
    switch (f.kind) {
      case Kind::Number:
      case Kind::Handle:
        return;
      case Kind::Bytes: {
        auto p = bytes(label, n);
        if (f.length.rule == Length::Rule::Terminated) {
          for (CK_ULONG i = 0; i < n; ++i) p[i] = std::byte{'a'};
          p[n - 1] = std::byte{0};
        }
        memory_.pointer(at, p);
        return;
      }
      case Kind::BytesOrHandle: {
        auto p = bytes(label, n);
        if (active(f.when, image)) memory_.handle(p, object());
        memory_.pointer(at, p);
        return;
      }
      case Kind::HandlePointer: {
        auto p = bytes(label, sizeof(CK_OBJECT_HANDLE));
        memory_.handle(p, object());
        memory_.pointer(at, p);
        return;
      }
      case Kind::Attributes:
        memory_.pointer(at, attributes(label, n, false, 1));
        return;
      case Kind::Mechanism: {
        auto p = bytes(label, sizeof(CK_MECHANISM));
        store<CK_ULONG>(p + offsetof(CK_MECHANISM, mechanism), CKM_RSA_PKCS_OAEP);
        CK_ULONG length = 0;
        void* inner = nullptr;
        const Shape* oaep = ipc::layoutOf(CKM_RSA_PKCS_OAEP, Use::Operation, nullptr, 0).shape;
        if (depth < 2 && oaep != nullptr && dice_.below(3) != 0) {
          length = oaep->size;
          auto struct_ = bytes(label + "." + oaep->name, length);
          structure(label + "." + oaep->name, *oaep, struct_, nullptr, depth + 1);
          inner = struct_;
        }
        memory_.pointer(p + offsetof(CK_MECHANISM, pParameter), inner);
        store(p + offsetof(CK_MECHANISM, ulParameterLen), length);
        memory_.pointer(at, p);
        return;
      }
      case Kind::Nested: {
        auto p = bytes(label, n * f.shape->size);
        for (CK_ULONG i = 0; i < n; ++i)
          structure(label + "[" + std::to_string(i) + "]", *f.shape, p + i * f.shape->size, image,
                    depth + 1);
        memory_.pointer(at, p);
        return;
      }
    }
  }

  Memory& memory_;
  const Scenario& scenario_;
  Dice& dice_;
};

/// Writes down what a callee can read of its arguments, one line a value.
class Teller {
 public:
  explicit Teller(const Place& p) : place(p) {}

  const Place place;
  std::string text;

  void line(const std::string& label, const std::string& value) {
    text += label + " " + value + "\n";
  }
  void number(const std::string& label, CK_ULONG n) { line(label, Memory::hex(n)); }
  void object(const std::string& label, CK_OBJECT_HANDLE h) { number(label, place.bare(h)); }
  void bytes(const std::string& label, const void* p, CK_ULONG n) {
    if (p == nullptr) {
      line(label, "NULL " + std::to_string(n));
      return;
    }
    std::string value = std::to_string(n) + ":";
    for (CK_ULONG i = 0; i < n; ++i) {
      char two[3];
      std::snprintf(two, sizeof two, "%02x", static_cast<const unsigned char*>(p)[i]);
      value += two;
    }
    line(label, value);
  }
  void room(const std::string& label, const void* p, const CK_ULONG* n) {
    line(label, std::string(p == nullptr ? "NULL" : "room") +
                    (n == nullptr ? " without length" : " " + std::to_string(*n)));
  }

  void attributes(const std::string& label, const CK_ATTRIBUTE* list, CK_ULONG count, bool fill) {
    line(label, std::string(list == nullptr ? "NULL " : "template ") + std::to_string(count));
    if (list == nullptr) return;
    for (CK_ULONG i = 0; i < count; ++i) {
      auto a = load<CK_ATTRIBUTE>(list + i);
      std::string name = label + "[" + std::to_string(i) + "]" + Memory::hex(a.type);
      bool nested = a.type == CKA_WRAP_TEMPLATE || a.type == CKA_UNWRAP_TEMPLATE ||
                    a.type == CKA_DERIVE_TEMPLATE || a.type == CKA_ENCAPSULATE_TEMPLATE ||
                    a.type == CKA_DECAPSULATE_TEMPLATE;
      if (nested && a.pValue != nullptr)
        attributes(name, static_cast<const CK_ATTRIBUTE*>(a.pValue),
                   a.ulValueLen / sizeof(CK_ATTRIBUTE), fill);
      else if (fill)
        room(name, a.pValue, &a.ulValueLen);
      else
        bytes(name, a.pValue, a.ulValueLen);
    }
  }

  void mechanism(const std::string& label, const CK_MECHANISM* m, Use use) {
    if (m == nullptr) {
      line(label, "NULL");
      return;
    }
    auto own = load<CK_MECHANISM>(m);
    number(label, own.mechanism);
    parameter(label + ".parameter", own.mechanism, use, own.pParameter, own.ulParameterLen);
  }

  void parameter(const std::string& label, CK_MECHANISM_TYPE type, Use use, const void* p,
                 CK_ULONG length) {
    Layout layout;
    if (p != nullptr) layout = ipc::layoutOf(type, use, p, length);
    if (layout.kind == Layout::Kind::Handle && length == sizeof(CK_OBJECT_HANDLE)) {
      object(label, load<CK_OBJECT_HANDLE>(p));
    } else if (layout.kind == Layout::Kind::Shaped && length != 0) {
      structure(label, *layout.shape, static_cast<const std::byte*>(p), length, nullptr);
    } else {
      bytes(label, p, length);
    }
  }

  void structure(const std::string& label, const Shape& shape, const std::byte* image,
                 CK_ULONG length, const std::byte* parent) {
    line(label, std::string(shape.name) + " " + std::to_string(length));
    bool whole = length >= shape.size;
    for (const Field& f : shape.fields) {
      std::string name = label + "." + f.name;
      if (CK_ULONG{f.offset} + f.size > length) continue;
      if (f.isPointer()) {
        // Nothing is followed that a length beyond the end belongs to.
        if (whole) target(name, f, image, parent);
      } else if (f.kind == Kind::Handle && (!whole || !active(f.when, image))) {
        number(name, load<CK_OBJECT_HANDLE>(image + f.offset));
      } else if (f.kind == Kind::Handle && f.direction != Direction::Out) {
        object(name, load<CK_OBJECT_HANDLE>(image + f.offset));
      } else if (f.kind != Kind::Handle) {
        bytes(name, image + f.offset, f.size);
      }
    }
    if (length > shape.size) bytes(label + ".beyond", image + shape.size, length - shape.size);
  }

 private:
  void target(const std::string& label, const Field& f, const std::byte* image,
              const std::byte* parent) {
    auto p = load<const std::byte*>(image + f.offset);
    if (!active(f.when, image) && f.kind != Kind::BytesOrHandle) {
      line(label, "inactive");
      return;
    }
    if (p == nullptr) {
      line(label, "NULL");
      return;
    }
    CK_ULONG n = extent(f, image, parent);
    switch (f.kind) {
      case Kind::Number:
      case Kind::Handle:
        return;
      case Kind::Bytes:
        if (f.direction == Direction::Out)
          room(label, p, &n);
        else
          bytes(label, p, n);
        return;
      case Kind::BytesOrHandle:
        if (active(f.when, image) && n == sizeof(CK_OBJECT_HANDLE))
          object(label, load<CK_OBJECT_HANDLE>(p));
        else
          bytes(label, p, n);
        return;
      case Kind::HandlePointer:
        room(label, p, &n);
        return;
      case Kind::Attributes:
        attributes(label, reinterpret_cast<const CK_ATTRIBUTE*>(p), n, false);
        return;
      case Kind::Mechanism:
        mechanism(label, reinterpret_cast<const CK_MECHANISM*>(p), Use::Operation);
        return;
      case Kind::Nested:
        line(label, std::to_string(n) + " structs");
        for (CK_ULONG i = 0; i < n; ++i)
          structure(label + "[" + std::to_string(i) + "]", *f.shape, p + i * f.shape->size,
                    f.shape->size, image);
        return;
    }
  }
};

/// The signature of a mechanism whose signatures are structs that point into themselves: two of
/// each struct, something in each value.
struct Signature {
  std::vector<std::byte> bytes;       ///< pointers in it count from 0
  std::vector<std::size_t> pointers;  ///< where they are

  explicit Signature(const Shape& shape, std::uint32_t seed) {
    Dice dice(seed);
    structs(shape, 1, dice);
  }

 private:
  std::size_t structs(const Shape& shape, std::size_t count, Dice& dice) {
    std::size_t at = bytes.size();
    bytes.resize(at + count * shape.size);
    for (std::size_t i = 0; i < count * shape.size; ++i)
      bytes[at + i] = static_cast<std::byte>(dice.next());
    for (std::size_t i = 0; i < count; ++i)
      for (const Field& f : shape.fields) {
        if (!f.isPointer()) continue;
        std::size_t image = at + i * shape.size;
        CK_ULONG n = f.kind == Kind::Nested ? 2 : dice.below(9);
        std::size_t target = bytes.size();
        if (f.kind == Kind::Nested)
          target = structs(*f.shape, n, dice);
        else
          for (CK_ULONG b = 0; b < n; ++b) bytes.push_back(static_cast<std::byte>(dice.next()));
        store<CK_ULONG>(bytes.data() + image + f.length.value, n);
        store(bytes.data() + image + f.offset, target);
        pointers.push_back(image + f.offset);
      }
    return at;
  }
};

inline std::optional<Signature> signatureOf(const Scenario& s) {
  const Shape* shape = ipc::signatureOf(s.mechanism);
  if (shape == nullptr) return std::nullopt;
  return Signature(*shape, s.seed);
}

/// Writes what a module writes.
class Writer {
 public:
  Writer(const Scenario& scenario, const Place& place)
      : dice_(scenario.seed * 31 + static_cast<unsigned>(scenario.function)),
        place_(place),
        lies_(scenario.lies != 0),
        idle_(scenario.idle),
        fails_(scenario.returnValue != CKR_OK) {}

  CK_ULONG need() const { return need_; }
  void need(CK_ULONG n) { need_ = n; }
  void bytes(void* p, std::size_t n) { dice_.fill(p, n); }
  CK_ULONG number() { return dice_.next(); }
  void object(void* at) { store(at, place_.object(1 + dice_.below(0xffffff))); }

  /// Whether C_GetAttributeValue finds room for everything; writes lengths and values if `write`.
  CK_RV attributes(CK_ATTRIBUTE* list, CK_ULONG count, bool write) {
    CK_RV rv = CKR_OK;
    for (CK_ULONG i = 0; i < count; ++i) {
      auto a = load<CK_ATTRIBUTE>(list + i);
      CK_ULONG need = 3 + (i * 7) % 23;
      bool nested = a.type == CKA_WRAP_TEMPLATE || a.type == CKA_UNWRAP_TEMPLATE ||
                    a.type == CKA_DERIVE_TEMPLATE || a.type == CKA_ENCAPSULATE_TEMPLATE ||
                    a.type == CKA_DECAPSULATE_TEMPLATE;
      if (i % 5 == 4) {
        a.ulValueLen = CK_UNAVAILABLE_INFORMATION;
        rv = CKR_ATTRIBUTE_SENSITIVE;
      } else if (a.pValue == nullptr) {
        a.ulValueLen = need;
      } else if (nested) {
        CK_ULONG n = a.ulValueLen / sizeof(CK_ATTRIBUTE);
        if (n > 2) --n;
        auto inner = static_cast<CK_ATTRIBUTE*>(a.pValue);
        CK_RV own = attributes(inner, n, write);
        if (own != CKR_OK && rv == CKR_OK) rv = own;
        a.ulValueLen = n * sizeof(CK_ATTRIBUTE);
      } else if (a.ulValueLen >= need) {
        a.ulValueLen = need;
        if (write) bytes(a.pValue, need);
      } else {
        a.ulValueLen = CK_UNAVAILABLE_INFORMATION;
        if (rv == CKR_OK) rv = CKR_BUFFER_TOO_SMALL;
      }
      if (write) store(list + i, a);
    }
    return rv;
  }

  void parameter(CK_MECHANISM_TYPE type, Use use, void* p, CK_ULONG length) {
    if (p == nullptr || length == 0 || idle_ == 1) return;
    Layout layout = ipc::layoutOf(type, use, p, length);
    if (layout.kind == Layout::Kind::Shaped) {
      if (length >= layout.shape->size)
        structure(*layout.shape, static_cast<std::byte*>(p), nullptr);
    } else if (layout.kind == Layout::Kind::FlatOut || layout.kind == Layout::Kind::Unknown) {
      bytes(p, length);
    }
  }

  void structure(const Shape& shape, std::byte* image, const std::byte* parent) {
    for (const Field& f : shape.fields) {
      if (!f.isPointer() || f.direction == Direction::In || !active(f.when, image)) continue;
      auto p = load<std::byte*>(image + f.offset);
      if (p == nullptr) continue;
      CK_ULONG n = extent(f, image, parent);
      bool isLength = false;
      for (const Field& other : shape.fields)
        isLength |= other.isPointer() && other.length.rule == Length::Rule::Through &&
                    other.length.value == f.offset;
      if (f.kind == Kind::Nested) {
        for (CK_ULONG i = 0; i < n; ++i) structure(*f.shape, p + i * f.shape->size, image);
      } else if (f.kind == Kind::HandlePointer) {
        // That is how a module says which of the keys could not be made.
        fails_ ? store(p, CK_OBJECT_HANDLE{CK_INVALID_HANDLE}) : object(p);
      } else if (f.length.rule == Length::Rule::Through) {
        bytes(p, lies_ ? n : n / 2);
        store(load<std::byte*>(image + f.length.value), lengthOf(n));
      } else if (!isLength) {
        bytes(p, n);
      }
    }
    for (const Field& f : shape.fields) {
      if (f.direction == Direction::In) continue;
      if (f.kind == Kind::Handle) {
        if (idle_ != 2 || ++handles_ % 2 == 0) object(image + f.offset);
      } else if (f.kind == Kind::Number) {
        bool length = false;
        for (const Field& other : shape.fields)
          length |= other.isPointer() && other.length.rule == Length::Rule::Field &&
                    other.length.value == f.offset;
        // A length gets shorter: what lies beyond the buffer is nobody's.
        if (length)
          store(image + f.offset, lengthOf(load<CK_ULONG>(image + f.offset)));
        else
          bytes(image + f.offset, f.size);
      }
    }
  }

 private:
  CK_ULONG lengthOf(CK_ULONG room) const { return lies_ ? room + 1 : room / 2; }

  Dice dice_;
  Place place_;
  bool lies_;
  std::uint8_t idle_;
  bool fails_;
  CK_ULONG need_ = 20;
  unsigned handles_ = 0;
};

// ---- roles ----

/// How each role is made (`make`), told (`tell`), and answered: `judge` says what a module returns
/// for it, `write` writes what a module that returns `rv` writes.
template <typename Role>
struct Mirror;

namespace detail {
struct OnlyIn {
  template <typename A>
  static CK_RV judge(Writer&, const Scenario&, const A&) {
    return CKR_OK;
  }
  template <typename A>
  static void write(Writer&, const Scenario&, const A&, CK_RV) {}
};

struct PlainNumber : OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string&, Variant, A& a) {
    std::get<0>(a) =
        static_cast<std::remove_reference_t<decltype(std::get<0>(a))>>(m.dice().next());
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.number(label, std::get<0>(a));
  }
};

struct Handle : OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string&, Variant variant, A& a) {
    CK_OBJECT_HANDLE h = m.object();
    std::get<0>(a) = variant == Variant::Null ? CK_INVALID_HANDLE : m.place().object(h);
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.object(label, std::get<0>(a));
  }
};

template <typename T>
struct Out {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    auto p = variant == Variant::Null ? nullptr : m.bytes(label, sizeof(T));
    std::get<0>(a) = reinterpret_cast<T*>(p);
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.line(label, std::get<0>(a) == nullptr ? "NULL" : "room");
  }
  template <typename A>
  static CK_RV judge(Writer&, const Scenario&, const A& a) {
    return std::get<0>(a) == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK;
  }
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV rv) {
    // Numbers are also written by modules that then fail.
    if (std::get<0>(a) != nullptr && (rv == CKR_OK || std::is_same_v<T, CK_ULONG>))
      w.bytes(std::get<0>(a), sizeof(T));
  }
};

// Buffers with a length beside them: Element is what is counted.
template <typename Element>
struct Counted {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    CK_ULONG n = variant == Variant::Empty ? 0 : m.dice().below(40);
    bool buffer = variant != Variant::Null && variant != Variant::Query;
    bool length = variant != Variant::Null && variant != Variant::Bare;
    std::get<0>(a) =
        buffer ? reinterpret_cast<Element*>(m.bytes(label, n * sizeof(Element))) : nullptr;
    std::get<1>(a) = nullptr;
    if (!length) return;
    std::get<1>(a) = reinterpret_cast<CK_ULONG*>(m.bytes(label + ".length", sizeof(CK_ULONG)));
    *std::get<1>(a) = variant == Variant::Query ? m.dice().next() : n;
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.room(label, std::get<0>(a), std::get<1>(a));
  }
  template <typename A>
  static CK_RV judge(Writer& w, const Scenario&, const A& a) {
    if (std::get<1>(a) == nullptr) return CKR_ARGUMENTS_BAD;
    if (std::get<0>(a) != nullptr && *std::get<1>(a) < w.need()) return CKR_BUFFER_TOO_SMALL;
    return CKR_OK;
  }
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV rv) {
    if (std::get<1>(a) == nullptr) return;
    if (rv == CKR_OK && std::get<0>(a) != nullptr)
      w.bytes(std::get<0>(a), w.need() * sizeof(Element));
    *std::get<1>(a) = w.need();
  }
};
}  // namespace detail

template <>
struct Mirror<ipc::role::Slot> : detail::OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string&, Variant, A& a) {
    std::get<0>(a) = m.place().slot;
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.line(label, std::get<0>(a) == t.place.slot ? "own" : "foreign");
  }
};
template <>
struct Mirror<ipc::role::Session> : detail::OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string&, Variant, A& a) {
    std::get<0>(a) = m.place().session;
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.line(label, std::get<0>(a) == t.place.session ? "own" : "foreign");
  }
};
template <>
struct Mirror<ipc::role::Number> : detail::PlainNumber {};
template <>
struct Mirror<ipc::role::Bool> : detail::PlainNumber {};
template <>
struct Mirror<ipc::role::Object> : detail::Handle {};
template <>
struct Mirror<ipc::role::Key> : detail::Handle {};
template <>
struct Mirror<ipc::role::NumberOut> : detail::Out<CK_ULONG> {};
template <typename T>
struct Mirror<ipc::role::StructOut<T>> : detail::Out<T> {};
template <>
struct Mirror<ipc::role::BytesOut> : detail::Counted<CK_BYTE> {};
template <>
struct Mirror<ipc::role::NumbersOut> : detail::Counted<CK_ULONG> {};

template <>
struct Mirror<ipc::role::SignatureOut> : detail::Counted<CK_BYTE> {
  using Bytes = detail::Counted<CK_BYTE>;
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    auto signature = signatureOf(m.scenario());
    bool room = variant == Variant::Full && m.dice().below(4) != 0;
    if (!signature || !room) return Bytes::make(m, label, variant, a);
    // Now and then as much as does not go into a message.
    CK_ULONG n =
        signature->bytes.size() + m.dice().below(9) + (m.dice().below(9) == 0 ? 1 << 17 : 0);
    auto p = m.bytes(label, n);
    for (std::size_t at : signature->pointers) m.memory().inner(p + at);
    std::get<0>(a) = reinterpret_cast<CK_BYTE_PTR>(p);
    std::get<1>(a) = reinterpret_cast<CK_ULONG*>(m.bytes(label + ".length", sizeof(CK_ULONG)));
    *std::get<1>(a) = n;
  }
  template <typename A>
  static CK_RV judge(Writer& w, const Scenario& s, const A& a) {
    if (auto signature = signatureOf(s)) w.need(signature->bytes.size());
    return Bytes::judge(w, s, a);
  }
  template <typename A>
  static void write(Writer& w, const Scenario& s, const A& a, CK_RV rv) {
    auto signature = signatureOf(s);
    if (!signature) return Bytes::write(w, s, a, rv);
    CK_ULONG n = signature->bytes.size();
    auto [buffer, length] = a;
    if (length == nullptr) return;
    bool fits = buffer != nullptr && *length >= n;
    *length = n;
    if (rv != CKR_OK || !fits) return;
    for (std::size_t at : signature->pointers) {
      auto pointer = signature->bytes.data() + at;
      store(pointer, load<std::uintptr_t>(pointer) + reinterpret_cast<std::uintptr_t>(buffer));
    }
    std::memcpy(buffer, signature->bytes.data(), n);
  }
};

template <>
struct Mirror<ipc::role::ObjectOut> : detail::Out<CK_OBJECT_HANDLE> {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    std::get<0>(a) = nullptr;
    if (variant == Variant::Null) return;
    auto p = m.bytes(label, sizeof(CK_OBJECT_HANDLE));
    m.memory().handle(p, m.object());
    std::get<0>(a) = reinterpret_cast<CK_OBJECT_HANDLE*>(p);
  }
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV rv) {
    if (std::get<0>(a) == nullptr) return;
    if (rv == CKR_OK)
      w.object(std::get<0>(a));
    else
      *std::get<0>(a) = CK_INVALID_HANDLE;
  }
};

template <typename T>
struct Mirror<ipc::role::Local<T>> : detail::OnlyIn {
  template <typename A>
  static void make(Maker&, const std::string&, Variant, A& a) {
    std::get<0>(a) = T{};
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.line(label, std::get<0>(a) == T{} ? "nothing" : "something");
  }
};

template <>
struct Mirror<ipc::role::BytesIn> : detail::OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    CK_ULONG n = variant == Variant::Null || variant == Variant::Empty ? 0 : 1 + m.dice().below(60);
    std::get<1>(a) = n;
    bool buffer = variant != Variant::Null && variant != Variant::Query;
    std::get<0>(a) = buffer ? reinterpret_cast<CK_BYTE_PTR>(m.bytes(label, n)) : nullptr;
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.bytes(label, std::get<0>(a), std::get<1>(a));
  }
};

template <>
struct Mirror<ipc::role::Label> : detail::OnlyIn {
  static constexpr CK_ULONG SIZE = sizeof(CK_TOKEN_INFO::label);
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    std::get<0>(a) =
        variant == Variant::Null ? nullptr : reinterpret_cast<CK_BYTE_PTR>(m.bytes(label, SIZE));
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.bytes(label, std::get<0>(a), SIZE);
  }
};

template <>
struct Mirror<ipc::role::Fill> {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    Mirror<ipc::role::BytesIn>::make(m, label, variant, a);
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.room(label, std::get<0>(a), &std::get<1>(a));
  }
  template <typename A>
  static CK_RV judge(Writer&, const Scenario&, const A& a) {
    return std::get<0>(a) == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK;
  }
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV rv) {
    if (rv == CKR_OK) w.bytes(std::get<0>(a), std::get<1>(a));
  }
};

template <bool FILL>
struct TemplateMirror : detail::OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    std::get<0>(a) = nullptr;
    std::get<1>(a) = 0;
    if (variant == Variant::Null) return;
    std::get<1>(a) = variant == Variant::Empty ? 0 : 1 + m.dice().below(12);
    if (variant != Variant::Query) std::get<0>(a) = m.attributes(label, std::get<1>(a), FILL);
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.attributes(label, std::get<0>(a), std::get<1>(a), FILL);
  }
};
template <>
struct Mirror<ipc::role::TemplateIn> : TemplateMirror<false> {};
template <>
struct Mirror<ipc::role::TemplateFill> : TemplateMirror<true> {
  template <typename A>
  static CK_RV judge(Writer& w, const Scenario&, const A& a) {
    if (std::get<0>(a) == nullptr) return CKR_ARGUMENTS_BAD;
    return w.attributes(std::get<0>(a), std::get<1>(a), false);
  }
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV rv) {
    // What a module did before it failed otherwise is its own affair.
    if (std::get<0>(a) == nullptr ||
        (rv != CKR_OK && rv != CKR_ATTRIBUTE_SENSITIVE && rv != CKR_ATTRIBUTE_TYPE_INVALID &&
         rv != CKR_BUFFER_TOO_SMALL))
      return;
    (void)w.attributes(std::get<0>(a), std::get<1>(a), true);
  }
};

template <Use U>
struct Mirror<ipc::role::Mechanism<U>> : detail::OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    std::get<0>(a) = m.mechanism(label, variant);
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.mechanism(label, std::get<0>(a), U);
  }
  // Whatever is returned.
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV) {
    auto m = std::get<0>(a);
    if (m != nullptr) w.parameter(m->mechanism, U, m->pParameter, m->ulParameterLen);
  }
};

template <>
struct Mirror<ipc::role::MessageParameter> : detail::OnlyIn {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    std::get<0>(a) = m.parameter(label, variant, std::get<1>(a));
  }
  template <typename A>
  static void tell(Teller& t, const Scenario& s, const std::string& label, const A& a) {
    t.parameter(label, s.mechanism, Use::Message, std::get<0>(a), std::get<1>(a));
  }
  template <typename A>
  static void write(Writer& w, const Scenario& s, const A& a, CK_RV) {
    w.parameter(s.mechanism, Use::Message, std::get<0>(a), std::get<1>(a));
  }
};

template <>
struct Mirror<ipc::role::ObjectsOut> {
  template <typename A>
  static void make(Maker& m, const std::string& label, Variant variant, A& a) {
    CK_ULONG n = variant == Variant::Null || variant == Variant::Empty ? 0 : 1 + m.dice().below(9);
    std::get<0>(a) = nullptr;
    std::get<1>(a) = n;
    std::get<2>(a) = nullptr;
    if (variant != Variant::Null && variant != Variant::Query) {
      auto p = m.bytes(label, n * sizeof(CK_OBJECT_HANDLE));
      for (CK_ULONG i = 0; i < n; ++i)
        m.memory().handle(p + i * sizeof(CK_OBJECT_HANDLE), m.object());
      std::get<0>(a) = reinterpret_cast<CK_OBJECT_HANDLE*>(p);
    }
    if (variant != Variant::Null && variant != Variant::Bare)
      std::get<2>(a) = reinterpret_cast<CK_ULONG*>(m.bytes(label + ".count", sizeof(CK_ULONG)));
  }
  template <typename A>
  static void tell(Teller& t, const Scenario&, const std::string& label, const A& a) {
    t.room(label, std::get<0>(a), &std::get<1>(a));
    t.line(label, std::get<2>(a) == nullptr ? "no count" : "count");
  }
  template <typename A>
  static CK_RV judge(Writer&, const Scenario&, const A& a) {
    return std::get<0>(a) == nullptr || std::get<2>(a) == nullptr ? CKR_ARGUMENTS_BAD : CKR_OK;
  }
  template <typename A>
  static void write(Writer& w, const Scenario&, const A& a, CK_RV rv) {
    if (rv != CKR_OK) return;
    CK_ULONG n = std::get<1>(a) / 2 + std::get<1>(a) % 2;
    for (CK_ULONG i = 0; i < n; ++i) w.object(std::get<0>(a) + i);
    *std::get<2>(a) = n;
  }
};

// ---- whole calls ----

/// The arguments of one call and the memory that they point to.
template <Function F>
struct Call {
  Call(const Scenario& s, const Place& place) : scenario(s), memory(place) {
    Dice dice(s.seed * 1000003ULL + static_cast<unsigned>(F));
    Maker maker(memory, scenario, dice);
    ipc::PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
      Variant variant = s.variant;
      if (variant == Variant::Mixed) variant = static_cast<Variant>(dice.below(VARIANTS - 1));
      auto own = ipc::detail::slice<Role, ARG>(args);
      Mirror<Role>::make(maker, label(ARG), variant, own);
    });
  }
  static std::string label(std::size_t argument) {
    return std::string(ipc::nameOf(F)) + "." + std::to_string(argument);
  }

  Scenario scenario;
  Memory memory;
  typename ipc::Line<F>::Args args{};
};

template <Function F>
std::string tell(const Scenario& s, const Place& place, const typename ipc::Line<F>::Args& args) {
  Teller teller(place);
  ipc::PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    Mirror<Role>::tell(teller, s, Call<F>::label(ARG), ipc::detail::slice<Role, ARG>(args));
  });
  return teller.text;
}

/// What a mirror module does: writes the pattern and returns the scenario's value, or the natural
/// one.
template <Function F>
CK_RV answer(const Scenario& s, const Place& place, const typename ipc::Line<F>::Args& args) {
  CK_RV rv = CKR_OK;
  {
    Writer judge(s, place);
    ipc::PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
      CK_RV own = Mirror<Role>::judge(judge, s, ipc::detail::slice<Role, ARG>(args));
      if (rv == CKR_OK) rv = own;
    });
  }
  if (s.returnValue != CKR_OK) rv = static_cast<CK_RV>(s.returnValue);
  Writer writer(s, place);
  ipc::PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    Mirror<Role>::write(writer, s, ipc::detail::slice<Role, ARG>(args), rv);
  });
  return rv;
}

/// The first line in which two texts differ.
inline std::string firstDifference(const std::string& got, const std::string& wanted) {
  std::size_t i = 0;
  while (i < got.size() && i < wanted.size() && got[i] == wanted[i]) ++i;
  auto lineAt = [&](const std::string& text) {
    if (i >= text.size()) return std::string("nothing");
    std::size_t from = text.rfind('\n', i);
    from = from == std::string::npos || from == i ? i : from + 1;
    return text.substr(from, text.find('\n', i) - from);
  };
  return "got '" + lineAt(got) + "', sent '" + lineAt(wanted) + "'";
}

/// The module's end of a call: what differs from what the caller sent goes into `report`.
template <Function F>
CK_RV receive(const Scenario& s, const Place& place, const typename ipc::Line<F>::Args& args,
              std::string& report) {
  Call<F> sent(s, place);
  std::string wanted = tell<F>(s, place, sent.args);
  std::string got = tell<F>(s, place, args);
  if (got != wanted) {
    report = firstDifference(got, wanted);
    return MISMATCH;
  }
  return answer<F>(s, place, args);
}

// ---- scenarios ----

/// Whether a function takes a mechanism or a message's parameter, and how it is used.
template <Function F>
std::optional<Use> usesMechanism() {
  std::optional<Use> found;
  ipc::PassesOf<F>::each([&]<typename Role, std::size_t ARG, unsigned VALUE>() {
    if constexpr (std::is_same_v<Role, ipc::role::Mechanism<Use::Operation>>)
      found = Use::Operation;
    if constexpr (std::is_same_v<Role, ipc::role::Mechanism<Use::Wrap>>) found = Use::Wrap;
    if constexpr (std::is_same_v<Role, ipc::role::Mechanism<Use::Message>> ||
                  std::is_same_v<Role, ipc::role::MessageParameter>)
      found = Use::Message;
    if constexpr (std::is_same_v<Role, ipc::role::Mechanism<Use::AuthenticatedWrap>>)
      found = Use::AuthenticatedWrap;
  });
  return found;
}

/// A mechanism whose parameter has a shape, in one kind of call.
struct Reached {
  CK_MECHANISM_TYPE mechanism;
  std::uint16_t shape;
};

inline bool carriable(const Shape& shape) {
  for (const Field& f : shape.fields)
    if (f.isPointer() && f.length.rule == Length::Rule::Unknown) return false;
  return true;
}

/// Every mechanism with every shape that it can have in calls of this kind; carriable ones only,
/// or only those that are not.
inline std::vector<Reached> reached(Use use, bool can = true) {
  std::vector<Reached> all;
  auto shapes = ipc::shapes();
  for (std::uint16_t i = 0; i < shapes.size(); ++i) {
    if (carriable(*shapes[i]) != can) continue;
    Place nowhere;
    Memory memory(nowhere);
    Dice dice(1);
    Scenario s;
    Maker maker(memory, s, dice);
    auto image = maker.bytes("image", shapes[i]->size);
    maker.structure("image", *shapes[i], image, nullptr);
    for (CK_MECHANISM_TYPE type : ipc::knownMechanisms()) {
      Layout layout = ipc::layoutOf(type, use, image, shapes[i]->size);
      if (layout.kind == Layout::Kind::Shaped && layout.shape == shapes[i])
        all.push_back({type, i});
    }
  }
  return all;
}

/// Mechanisms whose signatures point into themselves.
inline std::vector<CK_MECHANISM_TYPE> structuredSignatures() {
  std::vector<CK_MECHANISM_TYPE> all;
  for (CK_MECHANISM_TYPE type : ipc::knownMechanisms())
    if (ipc::signatureOf(type) != nullptr) all.push_back(type);
  return all;
}

template <Function F, typename Role>
constexpr bool hasRole() {
  return []<typename... Roles>(std::type_identity<std::tuple<Roles...>>) {
    return (std::is_same_v<Roles, Role> || ...);
  }(std::type_identity<typename ipc::Line<F>::Roles>{});
}

inline constexpr CK_RV VALUES[] = {CKR_OK, CKR_DEVICE_ERROR, 0xfeedfacedeadbeef,
                                   CKR_BUFFER_TOO_SMALL};

/// Calls of one function: every way to give its arguments, with so many seeds each, and with what
/// mechanisms make of them.
template <Function F>
std::vector<Scenario> scenariosOf(std::uint32_t firstSeed, std::uint32_t seeds) {
  std::vector<Reached> mechanisms;
  if (auto use = usesMechanism<F>()) mechanisms = reached(*use);
  if constexpr (hasRole<F, ipc::role::SignatureOut>())
    for (CK_MECHANISM_TYPE type : structuredSignatures())
      mechanisms.push_back({type, Scenario::FLAT});
  std::vector<Scenario> all;
  for (std::uint8_t variant = 0; variant < VARIANTS; ++variant)
    for (std::uint32_t seed = 0; seed < seeds; ++seed) {
      Scenario s;
      s.function = F;
      s.variant = static_cast<Variant>(variant);
      s.seed = firstSeed + seed;
      // The first two with mechanisms succeed.
      s.returnValue = VALUES[seed / 3 % std::size(VALUES)];
      if (!mechanisms.empty() && seed % 3 != 0) {
        const Reached& one = mechanisms[(seed * 37U + variant) % mechanisms.size()];
        s.mechanism = one.mechanism;
        s.shape = one.shape;
      }
      all.push_back(s);
    }
  return all;
}

/// Calls of one function with every shape that its mechanism's parameter can have.
template <Function F>
std::vector<Scenario> shapesOf(std::uint32_t firstSeed, std::uint32_t seeds) {
  std::vector<Scenario> all;
  for (const Reached& one : reached(usesMechanism<F>().value()))
    for (std::uint32_t seed = 0; seed < seeds; ++seed) {
      Scenario s;
      s.function = F;
      s.mechanism = one.mechanism;
      s.shape = one.shape;
      s.seed = firstSeed + seed;
      s.returnValue = VALUES[seed % std::size(VALUES)];
      all.push_back(s);
    }
  return all;
}

inline std::string describe(const Scenario& s) {
  std::string text(ipc::nameOf(s.function));
  text += " variant " + std::to_string(static_cast<unsigned>(s.variant)) + " seed " +
          std::to_string(s.seed) + " mechanism " + Memory::hex(s.mechanism);
  if (s.shape != Scenario::FLAT) text += std::string(" ") + ipc::shapes()[s.shape]->name;
  if (s.cut != 0) text += " cut " + std::to_string(s.cut);
  return text;
}

}  // namespace bulkhead::mirror
