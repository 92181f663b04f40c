// SPDX-License-Identifier: BSD-2-Clause
//
// What mechanism parameters look like: one entry per parameter struct, one line per mechanism.
// The codec's four passes (encode, rebuild, compare, write back) interpret these tables, so a new
// struct or mechanism is a new entry here and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/pkcs11.h"

namespace bulkhead::ipc {

/// Who writes a field: the caller, the module, or both.
enum class Direction : std::uint8_t { In, Out, InOut };

/// What a field is, as far as it must be known to carry it.
enum class Kind : std::uint8_t {
  Number,         ///< carried as it lies in the struct
  Handle,         ///< an object handle in the struct
  HandlePointer,  ///< points to one object handle
  Bytes,          ///< points to bytes
  BytesOrHandle,  ///< points to bytes that are an object handle when the condition holds
  Nested,         ///< points to one or more structs of another shape
  Attributes,     ///< points to a template
  Mechanism,      ///< points to a CK_MECHANISM
};

/// How many bytes (or elements) a pointer field points to.
struct Length {
  enum class Rule : std::uint8_t {
    Fixed,        ///< `value`
    Field,        ///< the number at offset `value`
    Bits,         ///< the number of bits at offset `value`, in whole bytes
    FieldOrBits,  ///< the number at `value` or, where that is 0, the bits at `other`
    Through,      ///< the number that the pointer at `value` points to; 0 behind NULL
    ParentBits,   ///< the bits at `value` of the enclosing struct, in whole bytes
    BitsOrBytes,  ///< 64, 96 and 192 are bits, anything else bytes (Poly1305 nonces)
    Terminated,   ///< up to and with the first zero byte
    Unknown,      ///< the standard gives no length: cannot be carried
  };
  Rule rule = Rule::Fixed;
  std::uint16_t value = 0;
  std::uint16_t other = 0;
};

/// When a pointer or a handle is active. An inactive one may hold garbage and is never followed.
struct Condition {
  enum class Rule : std::uint8_t { Always, Set, Equals, SetAndEquals };
  Rule rule = Rule::Always;
  std::uint16_t flag = 0;    ///< offset of a CK_BBOOL
  std::uint16_t number = 0;  ///< offset of a CK_ULONG
  CK_ULONG value = 0;
};

struct Shape;

/// One field of a parameter struct. Fields of structs within the struct are listed flat.
struct Field {
  const char* name;
  Kind kind;
  Direction direction;
  std::uint16_t offset;
  std::uint16_t size;
  Length length;
  Condition when;
  const Shape* shape;

  bool isPointer() const { return kind != Kind::Number && kind != Kind::Handle; }
};

/// A parameter struct.
struct Shape {
  const char* name;
  std::uint16_t size;
  std::span<const Field> fields;
};

/// All shapes, for tests and for the operator's tool. Static; any thread.
std::span<const Shape* const> shapes();

/// Which kind of call a mechanism parameter belongs to: the layout depends on it.
enum class Use : std::uint8_t { Operation, Message, Wrap, AuthenticatedWrap };

/// How the parameter of one mechanism travels.
struct Layout {
  enum class Kind : std::uint8_t {
    Flat,     ///< bytes without pointers, given by the caller
    FlatOut,  ///< the same, and the module may write them
    Handle,   ///< one object handle
    Shaped,   ///< `shape`
    Unknown,  ///< no table describes it
  };
  Kind kind = Kind::Unknown;
  const Shape* shape = nullptr;
};

/// Finds the layout of a parameter by its mechanism, the call, and its bytes.
/// `parameter` may be null; it is read only where two layouts have the same size, and no further
/// than `length`. Any thread.
Layout layoutOf(CK_MECHANISM_TYPE mechanism, Use use, const void* parameter, CK_ULONG length);

/// The struct that a signature of the mechanism is, with all that it points to behind it in the
/// same buffer; null where a signature is bytes. Any thread.
const Shape* signatureOf(CK_MECHANISM_TYPE mechanism);

/// Every mechanism that the tables know. Static; any thread.
std::span<const CK_MECHANISM_TYPE> knownMechanisms();

}  // namespace bulkhead::ipc
