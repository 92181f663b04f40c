// SPDX-License-Identifier: BSD-2-Clause
#include "ipc/codec.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace bulkhead::ipc {
namespace {

// Callers pass packed and unaligned structs, so nothing is read through a typed pointer.
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

kj::ArrayPtr<const kj::byte> bytesAt(const void* p, std::size_t n) {
  return kj::arrayPtr(static_cast<const kj::byte*>(p), n);
}

// The attributes whose value is a template. The array flag in a type does not tell: vendors set it
// on other values, and the two newest types lack it.
bool isTemplate(CK_ATTRIBUTE_TYPE type) {
  switch (type) {
    case CKA_WRAP_TEMPLATE:
    case CKA_UNWRAP_TEMPLATE:
    case CKA_DERIVE_TEMPLATE:
    case CKA_ENCAPSULATE_TEMPLATE:
    case CKA_DECAPSULATE_TEMPLATE:
      return true;
    default:
      return false;
  }
}

CK_ULONG wholeBytes(CK_ULONG bits) {
  return bits / 8 + (bits % 8 != 0 ? 1 : 0);
}

bool active(const Condition& when, const std::byte* image) {
  auto flag = [&] { return load<CK_BBOOL>(image + when.flag) != CK_FALSE; };
  auto number = [&] { return load<CK_ULONG>(image + when.number) == when.value; };
  switch (when.rule) {
    case Condition::Rule::Always:
      return true;
    case Condition::Rule::Set:
      return flag();
    case Condition::Rule::Equals:
      return number();
    case Condition::Rule::SetAndEquals:
      return flag() && number();
  }
  return false;
}

// Whether this is no pointer: NULL, or a number of a struct that was taken for another. There is no
// memory in the first page.
bool leadsNowhere(const std::byte* at) {
  return reinterpret_cast<std::uintptr_t>(at) < 4096;
}

// How much the pointer field points to, by the struct as its owner sees it.
CK_ULONG lengthOf(const Field& field, const std::byte* image, const std::byte* parent) {
  const Length& length = field.length;
  auto number = [&](std::uint16_t offset) { return load<CK_ULONG>(image + offset); };
  switch (length.rule) {
    case Length::Rule::Fixed:
      return length.value;
    case Length::Rule::Field:
      return number(length.value);
    case Length::Rule::Bits:
      return wholeBytes(number(length.value));
    case Length::Rule::FieldOrBits:
      return number(length.value) != 0 ? number(length.value) : wholeBytes(number(length.other));
    case Length::Rule::Through: {
      auto at = load<const std::byte*>(image + length.value);
      return leadsNowhere(at) ? 0 : load<CK_ULONG>(at);
    }
    case Length::Rule::ParentBits:
      return parent == nullptr ? 0 : wholeBytes(load<CK_ULONG>(parent + length.value));
    case Length::Rule::BitsOrBytes: {
      CK_ULONG n = number(length.value);
      return n == 64 || n == 96 || n == 192 ? n / 8 : n;
    }
    case Length::Rule::Terminated: {
      auto at = load<const char*>(image + field.offset);
      return at == nullptr ? 0 : ::strnlen(at, MAX_COUNT - 1) + 1;
    }
    case Length::Rule::Unknown:
      break;
  }
  throw Refused(CKR_MECHANISM_PARAM_INVALID,
                std::string(field.name) + " points to memory of a length that nothing tells");
}

// Whether a struct of `size` bytes has this field; a caller may give less than the whole struct.
bool within(const Field& field, CK_ULONG size) {
  return CK_ULONG{field.offset} + field.size <= size;
}

std::size_t pointersOf(const Shape& shape) {
  return static_cast<std::size_t>(
      std::count_if(shape.fields.begin(), shape.fields.end(),
                    [](const Field& field) { return field.isPointer(); }));
}

// Zeroes each pointer slot, also one that the end of a short struct cuts through.
void dropPointers(const Shape& shape, std::byte* image, CK_ULONG size) {
  for (const Field& field : shape.fields) {
    if (!field.isPointer() || field.offset >= size) continue;
    std::memset(image + field.offset, 0, std::min<CK_ULONG>(field.size, size - field.offset));
  }
}

// Moves a struct that points to what lies behind it in one buffer: the pointers in it count from
// `from`, and then from `to`. Whoever made it, nothing is read or written outside of the buffer,
// and no pointer is left that leads out of it.
class Move {
 public:
  Move(void* buffer, CK_ULONG size, std::uintptr_t from, std::uintptr_t to)
      : buffer_(static_cast<std::byte*>(buffer)), size_(size), from_(from), to_(to) {}

  void structs(const Shape& shape, CK_ULONG offset, CK_ULONG count) {
    // Each behind the last: no pointer that is written here changes what another struct says.
    if (offset < end_ || offset > size_ || count > (size_ - offset) / shape.size)
      throw Malformed("a struct that leads out of its buffer");
    end_ = offset + count * shape.size;
    for (CK_ULONG i = 0; i < count; ++i)
      for (const Field& field : shape.fields)
        if (field.isPointer()) pointer(field, buffer_ + offset + i * shape.size);
  }

 private:
  void pointer(const Field& field, std::byte* image) {
    auto value = load<std::uintptr_t>(image + field.offset);
    if (value == 0) return;
    if (field.length.rule != Length::Rule::Field) throw Malformed("a pointer that can't be moved");
    CK_ULONG n = load<CK_ULONG>(image + field.length.value);
    CK_ULONG offset = value - from_;
    bool inside = offset != 0 && offset <= size_;
    // Nobody follows a pointer to nothing, so it may be anything.
    store(image + field.offset, inside ? to_ + offset : 0);
    if (n == 0) return;
    if (!inside) throw Malformed("a pointer that leads out of its buffer");
    if (field.kind == Kind::Nested)
      structs(*field.shape, offset, n);
    else if (field.kind != Kind::Bytes || n > size_ - offset)
      throw Malformed("a pointer that leads out of its buffer");
  }

  std::byte* buffer_;
  CK_ULONG size_;
  std::uintptr_t from_;
  std::uintptr_t to_;
  CK_ULONG end_ = 0;  // of the structs so far
};

// What an attribute takes in a message besides its value, with room to spare.
constexpr std::uint64_t WORDS_OF_AN_ATTRIBUTE = 8;

// Values of Parameter.shape that are no position in shapes().
constexpr std::uint16_t FLAT_IN = 0xffff;
constexpr std::uint16_t FLAT_IN_OUT = 0xfffe;

std::uint16_t indexOfShape(const Shape& shape) {
  auto all = shapes();
  return static_cast<std::uint16_t>(std::find(all.begin(), all.end(), &shape) - all.begin());
}

// Whether the module may write to flat bytes. Nothing is known of a vendor's.
bool writable(const Layout& layout) {
  return layout.kind == Layout::Kind::FlatOut || layout.kind == Layout::Kind::Unknown;
}

// Writes to memory that the caller gave as input and that the worker says the module changed. The
// caller may have it in read-only pages: the kernel's copy reports that, a store would end the
// host. Only what differs is written.
void overwrite(void* at, const void* from, std::size_t size) {
  if (size == 0 || std::memcmp(at, from, size) == 0) return;
  iovec source{const_cast<void*>(from), size};
  iovec target{at, size};
  ssize_t n = ::process_vm_writev(::getpid(), &source, 1, &target, 1, 0);
  if (n < 0 && (errno == ENOSYS || errno == EPERM)) {
    std::memcpy(at, from, size);
    return;
  }
  if (n != static_cast<ssize_t>(size))
    throw Malformed("a change to memory that only the caller may write");
}

}  // namespace

bool ObjectHandles::toModule(CK_OBJECT_HANDLE& handle) const {
  if (tag_ == 0 || handle == CK_INVALID_HANDLE) return true;
  if (handle >> SHIFT != tag_) return false;
  handle &= ~(tag_ << SHIFT);
  return true;
}

CK_OBJECT_HANDLE ObjectHandles::toHost(CK_OBJECT_HANDLE handle) const {
  if (tag_ == 0 || handle == CK_INVALID_HANDLE) return handle;
  if (handle >> SHIFT != 0) throw Malformed("an object handle that leaves no room for a tag");
  return handle | (tag_ << SHIFT);
}

// ---- host ----

void HostCodec::charge(std::uint64_t bytes) {
  if (bytes > maxBytes || charged_ > maxBytes - bytes)
    throw Refused(CKR_HOST_MEMORY, "more than one message carries (MaxMessage=)");
  charged_ += bytes;
}

CK_OBJECT_HANDLE HostCodec::object(CK_OBJECT_HANDLE handle, CK_RV whenForeign) const {
  if (!handles.toModule(handle)) throw Refused(whenForeign, "");
  return handle;
}

void HostCodec::bytesIn(Out out, const void* p, CK_ULONG n) {
  if (p == nullptr) {
    if (n != 0) out.setQuery(n);
    return;
  }
  charge(n);
  out.setBytes(bytesAt(p, n));
}

// Only arguments themselves: the worker makes parameters its own by copying them.
void HostCodec::argumentIn(Out out, const void* p, CK_ULONG n) {
  std::uint64_t offset;
  if (p == nullptr || n < AREA_FROM || n > maxBytes || area == nullptr || !area->place(n, offset))
    return bytesIn(out, p, n);
  charge(n);
  std::memcpy(area->at(offset, n).data(), p, n);
  auto place = out.initArea();
  place.setOffset(offset);
  place.setLength(n);
}

void HostCodec::room(Out out, const void* buffer, const CK_ULONG* length, std::size_t elementSize) {
  if (length == nullptr) {
    if (buffer != nullptr) out.setBuffer();
  } else if (buffer == nullptr) {
    out.setQuery(*length);
  } else if (std::uint64_t offset; elementSize == 1 && area != nullptr && *length >= AREA_FROM &&
                                   *length <= maxBytes && area->place(*length, offset)) {
    auto place = out.initRoomInArea();
    place.setOffset(offset);
    place.setLength(*length);
  } else {
    out.setRoom(*length);
    offered_ += std::min<std::uint64_t>(*length, maxBytes / elementSize) * elementSize;
  }
}

void HostCodec::templateIn(Out out, const CK_ATTRIBUTE* attributes, CK_ULONG count, bool fill) {
  if (attributes == nullptr) {
    if (count != 0) out.setQuery(count);
    return;
  }
  if (count > MAX_COUNT) throw Refused(CKR_ARGUMENTS_BAD, "a template of too many attributes");
  auto list = out.initAttributes(static_cast<unsigned>(count));
  offered_ += count * WORDS_OF_AN_ATTRIBUTE * sizeof(capnp::word);
  for (unsigned i = 0; i < count; ++i)
    attributeIn(list[i], load<CK_ATTRIBUTE>(attributes + i), fill, 0);
}

void HostCodec::attributeIn(wire::Attribute::Builder out, const CK_ATTRIBUTE& attribute, bool fill,
                            unsigned depth) {
  out.setType(attribute.type);
  out.setLength(attribute.ulValueLen);
  if (attribute.pValue == nullptr) return;
  CK_ULONG length = attribute.ulValueLen;
  if (isTemplate(attribute.type)) {
    CK_ULONG count = length / sizeof(CK_ATTRIBUTE);
    if (length % sizeof(CK_ATTRIBUTE) != 0 || count > MAX_COUNT) {
      // No array of attributes: the module judges the length, and gets nothing to follow.
      if (length <= maxBytes) out.setRoom();
      return;
    }
    if (depth >= MAX_NESTING) throw Refused(CKR_ARGUMENTS_BAD, "templates nested too deep");
    auto nested = out.initNested(static_cast<unsigned>(count));
    offered_ += count * WORDS_OF_AN_ATTRIBUTE * sizeof(capnp::word);
    auto inner = static_cast<const CK_ATTRIBUTE*>(attribute.pValue);
    for (unsigned i = 0; i < count; ++i)
      attributeIn(nested[i], load<CK_ATTRIBUTE>(inner + i), fill, depth + 1);
    return;
  }
  if (fill) {
    out.setRoom();
    offered_ += std::min<std::uint64_t>(length, maxBytes);
    return;
  }
  // Some callers leave CK_UNAVAILABLE_INFORMATION here. No module reads that many bytes.
  if (length == CK_UNAVAILABLE_INFORMATION) return;
  charge(length);
  out.setBytes(bytesAt(attribute.pValue, length));
}

void HostCodec::mechanism(Out out, const CK_MECHANISM* mechanism, Use use) {
  if (mechanism == nullptr) return;
  mechanismAt(out.initMechanism(), load<CK_MECHANISM>(mechanism), use, 0);
}

void HostCodec::mechanismAt(wire::Mechanism::Builder out, const CK_MECHANISM& mechanism, Use use,
                            unsigned depth) {
  if (depth >= MAX_NESTING)
    throw Refused(CKR_MECHANISM_PARAM_INVALID, "mechanisms nested too deep");
  out.setType(mechanism.mechanism);
  parameter(out.initParameter(), mechanism.mechanism, use, mechanism.pParameter,
            mechanism.ulParameterLen, depth);
}

void HostCodec::messageParameter(Out out, const void* p, CK_ULONG length) {
  auto mechanism = out.initMechanism();
  mechanism.setType(operationMechanism);
  auto in = mechanism.initParameter();
  if (operationMechanism != CK_UNAVAILABLE_INFORMATION)
    return parameter(in, operationMechanism, Use::Message, p, length, 0);
  // Without an operation nothing tells what it is. That there is none is for the module to say.
  in.setLength(length);
  in.setPresent(p != nullptr);
  if (p == nullptr || length == 0) return;
  charge(length);
  in.setShape(FLAT_IN);
  in.initImage(static_cast<unsigned>(length));
}

void HostCodec::parameter(wire::Parameter::Builder out, CK_MECHANISM_TYPE type, Use use,
                          const void* p, CK_ULONG length, unsigned depth) {
  out.setLength(length);
  out.setPresent(p != nullptr);
  if (p == nullptr || length == 0) return;

  Layout layout = layoutOf(type, use, p, length);
  switch (layout.kind) {
    case Layout::Kind::Shaped:
      if (length > MAX_COUNT) throw Refused(CKR_MECHANISM_PARAM_INVALID, "a parameter too long");
      out.setShape(indexOfShape(*layout.shape));
      structure(out, *layout.shape, static_cast<const std::byte*>(p), length, nullptr, depth);
      return;
    case Layout::Kind::Handle:
      if (length == sizeof(CK_OBJECT_HANDLE)) {
        auto handle = object(load<CK_OBJECT_HANDLE>(p), CKR_KEY_HANDLE_INVALID);
        out.setShape(FLAT_IN);
        out.setImage(bytesAt(&handle, sizeof handle));
        return;
      }
      break;
    case Layout::Kind::Flat:
    case Layout::Kind::FlatOut:
      break;
    case Layout::Kind::Unknown:
      if (std::find(flatMechanisms.begin(), flatMechanisms.end(), type) == flatMechanisms.end()) {
        char number[2 + 2 * sizeof type + 1];
        std::snprintf(number, sizeof number, "0x%lx", type);
        throw Refused(CKR_MECHANISM_PARAM_INVALID,
                      std::string("mechanism ") + number +
                          " has a parameter that no table describes (FlatMechanisms=)");
      }
      break;
  }
  charge(length);
  out.setShape(writable(layout) ? FLAT_IN_OUT : FLAT_IN);
  out.setImage(bytesAt(p, length));
}

void HostCodec::structure(wire::Parameter::Builder out, const Shape& shape, const std::byte* p,
                          CK_ULONG size, const std::byte* parent, unsigned depth) {
  if (depth >= 2 * MAX_NESTING)
    throw Refused(CKR_MECHANISM_PARAM_INVALID, "parameters nested too deep");
  charge(size);
  auto image = out.initImage(static_cast<unsigned>(size));
  auto copy = reinterpret_cast<std::byte*>(image.begin());
  std::memcpy(copy, p, size);
  dropPointers(shape, copy, size);

  auto values = out.initFields(static_cast<unsigned>(pointersOf(shape)));
  unsigned next = 0;
  for (const Field& field : shape.fields) {
    if (field.isPointer()) {
      auto value = values[next++];
      // A length that is cut off with the rest of a short struct can't be read, so nothing is.
      if (size >= shape.size) pointer(value, field, p, parent, depth);
    } else if (field.kind == Kind::Handle && within(field, size) &&
               (size < shape.size || active(field.when, p))) {
      store(copy + field.offset,
            field.direction == Direction::Out
                ? detail::UNTOUCHED
                : object(load<CK_OBJECT_HANDLE>(p + field.offset), CKR_KEY_HANDLE_INVALID));
    }
  }
}

void HostCodec::pointer(wire::Value::Builder out, const Field& field, const std::byte* image,
                        const std::byte* parent, unsigned depth) {
  if (!active(field.when, image) && field.kind != Kind::BytesOrHandle) return;
  auto at = load<const std::byte*>(image + field.offset);
  if (leadsNowhere(at)) return;
  CK_ULONG n = lengthOf(field, image, parent);

  switch (field.kind) {
    case Kind::Number:
    case Kind::Handle:
      return;
    case Kind::Bytes:
      // A few bytes that a module writes may be those of the mark by chance: they travel instead.
      if (field.direction == Direction::Out && n >= sizeof detail::UNTOUCHED) {
        charge(n);
        out.setRoom(n);
        return;
      }
      bytesIn(out, at, n);
      return;
    case Kind::BytesOrHandle:
      if (active(field.when, image) && n == sizeof(CK_OBJECT_HANDLE)) {
        auto handle = object(load<CK_OBJECT_HANDLE>(at), CKR_KEY_HANDLE_INVALID);
        bytesIn(out, &handle, sizeof handle);
        return;
      }
      bytesIn(out, at, n);
      return;
    case Kind::HandlePointer:
      out.setRoom(n);
      return;
    case Kind::Attributes:
      templateIn(out, reinterpret_cast<const CK_ATTRIBUTE*>(at), n, false);
      return;
    case Kind::Mechanism:
      mechanismAt(out.initMechanism(), load<CK_MECHANISM>(at), Use::Operation, depth + 1);
      return;
    case Kind::Nested: {
      if (n > MAX_COUNT) throw Refused(CKR_MECHANISM_PARAM_INVALID, "too many structs in a list");
      auto list = out.initParameters(static_cast<unsigned>(n));
      for (unsigned i = 0; i < n; ++i)
        structure(list[i], *field.shape, at + std::size_t{i} * field.shape->size, field.shape->size,
                  image, depth + 1);
      return;
    }
  }
}

void HostCodec::signature(Out out) {
  if (const Shape* shape = signatureOf(operationMechanism)) out.setNumber(indexOfShape(*shape));
}

void HostCodec::signatureBack(void* buffer, CK_ULONG size) {
  const Shape* shape = signatureOf(operationMechanism);
  if (shape == nullptr) return;
  // Where the worker had it at nothing.
  Move(buffer, size, 0, reinterpret_cast<std::uintptr_t>(buffer)).structs(*shape, 0, 1);
}

void HostCodec::exactBack(In in, void* buffer, std::size_t size) {
  if (in.isNull()) return;
  if (!in.isBytes() || buffer == nullptr || in.getBytes().size() != size)
    throw Malformed("an answer of another size than was asked for");
  std::memcpy(buffer, in.getBytes().begin(), size);
}

void HostCodec::bytesBack(In in, void* buffer, CK_ULONG* length, CK_ULONG offered) {
  if (in.isNull()) return;
  if (length == nullptr) throw Malformed("a length that nobody asked for");
  if (in.isNumber()) {
    *length = static_cast<CK_ULONG>(in.getNumber());
    return;
  }
  if (buffer == nullptr || !(in.isBytes() || (in.isArea() && area != nullptr)))
    throw Malformed("bytes that nobody asked for");
  kj::ArrayPtr<const kj::byte> bytes;
  if (in.isBytes()) {
    bytes = in.getBytes();
  } else {
    auto place = in.getArea();
    auto there = area->at(place.getOffset(), place.getLength());
    if (there.size() != place.getLength()) throw Malformed("bytes beyond the area");
    bytes = bytesAt(there.data(), there.size());
  }
  if (bytes.size() > offered) throw Malformed("more bytes than the caller has room for");
  if (bytes.size() != 0) std::memcpy(buffer, bytes.begin(), bytes.size());
  *length = bytes.size();
}

void HostCodec::numbersBack(In in, CK_ULONG* buffer, CK_ULONG* count, CK_ULONG offered) {
  if (in.isNull()) return;
  if (count == nullptr) throw Malformed("a count that nobody asked for");
  if (in.isNumber()) {
    *count = static_cast<CK_ULONG>(in.getNumber());
    return;
  }
  if (!in.isNumbers() || buffer == nullptr) throw Malformed("numbers that nobody asked for");
  auto numbers = in.getNumbers();
  if (numbers.size() > offered) throw Malformed("more numbers than the caller has room for");
  for (unsigned i = 0; i < numbers.size(); ++i) buffer[i] = static_cast<CK_ULONG>(numbers[i]);
  *count = numbers.size();
}

void HostCodec::objectsBack(In list, In in, CK_OBJECT_HANDLE* buffer, CK_ULONG max,
                            CK_ULONG* count) {
  if (in.isNull()) return;
  if (!in.isNumber() || count == nullptr) throw Malformed("a count that nobody asked for");
  CK_ULONG n = static_cast<CK_ULONG>(in.getNumber());
  if (buffer != nullptr) {
    numbersBack(list, buffer, &n, max);
    if (n > max || (n != 0 && list.isNull())) throw Malformed("a count without its objects");
    for (CK_ULONG i = 0; i < n; ++i) buffer[i] = handles.toHost(buffer[i]);
  }
  *count = n;
}

void HostCodec::templateBack(In in, CK_ATTRIBUTE* attributes, CK_ULONG count, CK_RV rv) {
  if (in.isNull()) return;
  if (!in.isAttributes() || attributes == nullptr || in.getAttributes().size() != count)
    throw Malformed("attributes that nobody asked for");
  auto list = in.getAttributes();
  for (unsigned i = 0; i < count; ++i) {
    auto attribute = load<CK_ATTRIBUTE>(attributes + i);
    attributeBack(list[i], attribute, 0, rv);
    store(attributes + i, attribute);
  }
}

void HostCodec::attributeBack(wire::Attribute::Reader in, CK_ATTRIBUTE& attribute, unsigned depth,
                              CK_RV rv) {
  if (in.isBytes()) {
    auto bytes = in.getBytes();
    if (attribute.pValue == nullptr || isTemplate(attribute.type) ||
        bytes.size() > attribute.ulValueLen || bytes.size() != in.getLength())
      throw Malformed("an attribute that does not fit");
    if (bytes.size() != 0) std::memcpy(attribute.pValue, bytes.begin(), bytes.size());
  } else if (in.isNested()) {
    auto list = in.getNested();
    CK_ULONG length = attribute.ulValueLen;
    if (attribute.pValue == nullptr || !isTemplate(attribute.type) || depth >= MAX_NESTING ||
        length % sizeof(CK_ATTRIBUTE) != 0 || list.size() > length / sizeof(CK_ATTRIBUTE))
      throw Malformed("a template that does not fit");
    auto inner = static_cast<CK_ATTRIBUTE*>(attribute.pValue);
    for (unsigned i = 0; i < list.size(); ++i) {
      auto one = load<CK_ATTRIBUTE>(inner + i);
      attributeBack(list[i], one, depth + 1, rv);
      // Unlike at the top, the module says here which attribute it is.
      one.type = static_cast<CK_ATTRIBUTE_TYPE>(list[i].getType());
      store(inner + i, one);
    }
  } else if (!in.isNull()) {
    throw Malformed("an attribute without a value");
  }
  CK_ULONG length = static_cast<CK_ULONG>(in.getLength());
  if (rv == CKR_OK && attribute.pValue != nullptr && length > attribute.ulValueLen &&
      length != CK_UNAVAILABLE_INFORMATION)
    throw Malformed("a success that claims more than there was room for");
  attribute.ulValueLen = length;
}

void HostCodec::mechanismBack(In in, const CK_MECHANISM* mechanism, Use use, CK_RV rv) {
  if (in.isNull()) return;
  if (!in.isMechanism() || mechanism == nullptr) throw Malformed("an unasked mechanism");
  auto own = load<CK_MECHANISM>(mechanism);
  parameterBack(in.getMechanism().getParameter(), own.mechanism, use, own.pParameter,
                own.ulParameterLen, rv);
}

void HostCodec::messageParameterBack(In in, void* p, CK_ULONG length, CK_RV rv) {
  if (in.isNull()) return;
  if (!in.isMechanism() || operationMechanism == CK_UNAVAILABLE_INFORMATION)
    throw Malformed("an unasked parameter");
  parameterBack(in.getMechanism().getParameter(), operationMechanism, Use::Message, p, length, rv);
}

void HostCodec::parameterBack(wire::Parameter::Reader in, CK_MECHANISM_TYPE type, Use use, void* p,
                              CK_ULONG length, CK_RV rv) {
  if (p == nullptr || length == 0) throw Malformed("a change to a parameter that is not there");
  Layout layout = layoutOf(type, use, p, length);
  if (layout.kind == Layout::Kind::Shaped) {
    structureBack(in, *layout.shape, static_cast<std::byte*>(p), length, nullptr, rv);
    return;
  }
  if (!writable(layout) || in.getImage().size() != length)
    throw Malformed("a change to a parameter that the module only reads");
  overwrite(p, in.getImage().begin(), length);
}

void HostCodec::handleBack(std::byte* at, const void* from, CK_RV rv) {
  auto handle = load<CK_OBJECT_HANDLE>(from);
  if (handle == detail::UNTOUCHED) return;
  // Beside an error it names nothing, whatever it is.
  if (rv == CKR_OK) handle = handles.toHost(handle);
  overwrite(at, &handle, sizeof handle);
}

void HostCodec::structureBack(wire::Parameter::Reader in, const Shape& shape, std::byte* p,
                              CK_ULONG size, const std::byte* parent, CK_RV rv) {
  if (size < shape.size) throw Malformed("a change to a parameter that is cut short");
  auto values = in.getFields();
  if (values.size() != pointersOf(shape)) throw Malformed("wrong number of fields");

  // The lengths that say how much a pointer has room for may change with what is written below.
  std::vector<std::pair<const Field*, CK_ULONG>> rooms;
  for (const Field& field : shape.fields)
    if (field.isPointer() && field.direction != Direction::In && active(field.when, p) &&
        load<const std::byte*>(p + field.offset) != nullptr)
      rooms.emplace_back(&field, lengthOf(field, p, parent));

  unsigned next = 0;
  for (const Field& field : shape.fields) {
    if (!field.isPointer()) continue;
    auto value = values[next++];
    if (value.isNull()) continue;
    auto at = load<std::byte*>(p + field.offset);
    if (at == nullptr || !active(field.when, p)) throw Malformed("a change behind no pointer");
    CK_ULONG n = lengthOf(field, p, parent);
    if (field.kind == Kind::Nested) {
      if (!value.isParameters() || value.getParameters().size() != n)
        throw Malformed("wrong number of structs");
      auto list = value.getParameters();
      for (unsigned i = 0; i < n; ++i)
        structureBack(list[i], *field.shape, at + std::size_t{i} * field.shape->size,
                      field.shape->size, p, rv);
      continue;
    }
    if (field.direction == Direction::In || !value.isBytes() || value.getBytes().size() > n)
      throw Malformed("a change to what the module only reads");
    if (field.kind == Kind::HandlePointer) {
      if (value.getBytes().size() != sizeof(CK_OBJECT_HANDLE)) throw Malformed("half a handle");
      handleBack(at, value.getBytes().begin(), rv);
    } else {
      overwrite(at, value.getBytes().begin(), value.getBytes().size());
    }
  }

  if (in.getImage().size() != 0 && in.getImage().size() != size)
    throw Malformed("a struct of another size");
  auto image = reinterpret_cast<const std::byte*>(in.getImage().begin());
  for (const Field& field : shape.fields) {
    if (in.getImage().size() == 0 || field.isPointer() || field.direction == Direction::In)
      continue;
    if (field.kind == Kind::Handle) {
      handleBack(p + field.offset, image + field.offset, rv);
    } else {
      overwrite(p + field.offset, image + field.offset, field.size);
    }
  }
  if (rv != CKR_OK) return;
  for (auto [field, room] : rooms)
    if (lengthOf(*field, p, parent) > room)
      throw Malformed("a success that claims more than there was room for");
}

// ---- worker ----

namespace {

// Fills the room for what a module is to write, so that it shows whether it did.
void leaveUntouched(std::byte* at, std::uint64_t n) {
  auto mark = reinterpret_cast<const std::byte*>(&detail::UNTOUCHED);
  for (std::uint64_t i = 0; i < n; ++i) at[i] = mark[i % sizeof detail::UNTOUCHED];
}
bool untouched(const std::byte* at, std::uint64_t n) {
  auto mark = reinterpret_cast<const std::byte*>(&detail::UNTOUCHED);
  for (std::uint64_t i = 0; i < n; ++i)
    if (at[i] != mark[i % sizeof detail::UNTOUCHED]) return false;
  return true;
}

// What a worker gives out for a pointer that is not NULL but has nothing behind it.
std::byte* nothing(Arena& arena) {
  return arena.allocate(1);
}

}  // namespace

CK_ULONG WorkerCodec::number(In in) {
  if (!in.isNumber()) throw Malformed("not a number");
  return static_cast<CK_ULONG>(in.getNumber());
}

void WorkerCodec::bytesIn(In in, CK_BYTE_PTR& p, CK_ULONG& n) {
  p = nullptr;
  n = 0;
  if (in.isNull()) return;
  if (in.isQuery()) {
    n = static_cast<CK_ULONG>(in.getQuery());
    return;
  }
  if (in.isArea()) {
    p = reinterpret_cast<CK_BYTE_PTR>(inArea(in.getArea()));
    n = static_cast<CK_ULONG>(in.getArea().getLength());
    return;
  }
  if (!in.isBytes()) throw Malformed("not bytes");
  auto bytes = in.getBytes();
  n = bytes.size();
  // The message is this call's own memory, so the module may have it as it is, and a module that
  // writes to its input harms nobody.
  p = n == 0 ? reinterpret_cast<CK_BYTE_PTR>(nothing(arena_))
             : const_cast<CK_BYTE_PTR>(bytes.begin());
}

std::byte* WorkerCodec::inArea(wire::Area::Reader place) const {
  auto there =
      area_ == nullptr ? std::span<std::byte>() : area_->at(place.getOffset(), place.getLength());
  if (there.empty() || there.size() != place.getLength()) throw Malformed("not in the area");
  return there.data();
}

void WorkerCodec::room(In in, void*& buffer, CK_ULONG*& length, std::size_t elementSize) {
  buffer = nullptr;
  length = nullptr;
  switch (in.which()) {
    case wire::Value::NULL_:
      return;
    case wire::Value::BUFFER:
      buffer = nothing(arena_);
      return;
    case wire::Value::QUERY:
      length = arena_.make<CK_ULONG>();
      *length = static_cast<CK_ULONG>(in.getQuery());
      return;
    case wire::Value::ROOM: {
      // Careless callers offer more room than there is memory. No answer can be larger than a
      // message, so less room than that changes none.
      std::uint64_t n = std::min<std::uint64_t>(in.getRoom(), maxBytes / elementSize);
      length = arena_.make<CK_ULONG>();
      *length = static_cast<CK_ULONG>(n);
      buffer = n == 0 ? nothing(arena_) : arena_.allocate(n * elementSize);
      return;
    }
    case wire::Value::ROOM_IN_AREA:
      if (elementSize != 1) throw Malformed("numbers in the area");
      buffer = inArea(in.getRoomInArea());
      length = arena_.make<CK_ULONG>();
      *length = static_cast<CK_ULONG>(in.getRoomInArea().getLength());
      return;
    default:
      throw Malformed("not a buffer");
  }
}

void WorkerCodec::templateIn(In in, CK_ATTRIBUTE_PTR& attributes, CK_ULONG& count) {
  attributes = nullptr;
  count = 0;
  if (in.isNull()) return;
  if (in.isQuery()) {
    count = static_cast<CK_ULONG>(in.getQuery());
    return;
  }
  if (!in.isAttributes()) throw Malformed("not a template");
  auto list = in.getAttributes();
  count = list.size();
  attributes = arena_.make<CK_ATTRIBUTE>(count);
  for (unsigned i = 0; i < count; ++i) attributeIn(list[i], attributes[i], 0);
}

void WorkerCodec::attributeIn(wire::Attribute::Reader in, CK_ATTRIBUTE& attribute, unsigned depth) {
  attribute.type = static_cast<CK_ATTRIBUTE_TYPE>(in.getType());
  attribute.ulValueLen = static_cast<CK_ULONG>(in.getLength());
  attribute.pValue = nullptr;
  switch (in.which()) {
    case wire::Attribute::NULL_:
      return;
    case wire::Attribute::BYTES: {
      auto bytes = in.getBytes();
      if (bytes.size() != attribute.ulValueLen) throw Malformed("an attribute of another length");
      attribute.pValue = bytes.size() == 0 ? static_cast<void*>(nothing(arena_))
                                           : const_cast<kj::byte*>(bytes.begin());
      return;
    }
    case wire::Attribute::ROOM:
      attribute.ulValueLen =
          static_cast<CK_ULONG>(std::min<std::uint64_t>(attribute.ulValueLen, maxBytes));
      attribute.pValue = arena_.allocate(attribute.ulValueLen);
      return;
    case wire::Attribute::NESTED: {
      auto list = in.getNested();
      if (depth >= MAX_NESTING || list.size() * sizeof(CK_ATTRIBUTE) != attribute.ulValueLen)
        throw Malformed("a template of another length");
      auto inner = arena_.make<CK_ATTRIBUTE>(list.size());
      for (unsigned i = 0; i < list.size(); ++i) attributeIn(list[i], inner[i], depth + 1);
      attribute.pValue = inner;
      return;
    }
  }
  throw Malformed("an attribute of an unknown kind");
}

CK_MECHANISM* WorkerCodec::mechanism(In in) {
  if (in.isNull()) return nullptr;
  if (!in.isMechanism()) throw Malformed("not a mechanism");
  auto mechanism = arena_.make<CK_MECHANISM>();
  mechanismAt(in.getMechanism(), *mechanism, 0);
  return mechanism;
}

void WorkerCodec::mechanismAt(wire::Mechanism::Reader in, CK_MECHANISM& mechanism, unsigned depth) {
  if (depth >= MAX_NESTING) throw Malformed("mechanisms nested too deep");
  auto parameterIn = in.getParameter();
  mechanism.mechanism = static_cast<CK_MECHANISM_TYPE>(in.getType());
  mechanism.ulParameterLen = static_cast<CK_ULONG>(parameterIn.getLength());
  mechanism.pParameter = parameter(parameterIn, depth);
}

void WorkerCodec::messageParameter(In in, CK_VOID_PTR& p, CK_ULONG& length) {
  if (!in.isMechanism()) throw Malformed("not a parameter");
  auto parameterIn = in.getMechanism().getParameter();
  length = static_cast<CK_ULONG>(parameterIn.getLength());
  p = parameter(parameterIn, 0);
}

namespace {

// The host says which layout it took; what it says is checked only for being one.
Layout layoutOnWire(wire::Parameter::Reader in) {
  std::uint16_t shape = in.getShape();
  if (shape == FLAT_IN) return {Layout::Kind::Flat, nullptr};
  if (shape == FLAT_IN_OUT) return {Layout::Kind::FlatOut, nullptr};
  if (shape >= shapes().size()) throw Malformed("no such shape");
  return {Layout::Kind::Shaped, shapes()[shape]};
}

}  // namespace

std::byte* WorkerCodec::parameter(wire::Parameter::Reader in, unsigned depth) {
  if (!in.getPresent()) return nullptr;
  CK_ULONG length = static_cast<CK_ULONG>(in.getLength());
  auto image = in.getImage();
  if (image.size() != length) throw Malformed("a parameter of another length");
  if (length == 0) return nothing(arena_);
  Layout layout = layoutOnWire(in);
  // A struct twice: the module's, and behind it what it was given, for structureBack().
  auto p = arena_.allocate(layout.kind == Layout::Kind::Shaped ? 2 * length : length);
  std::memcpy(p, image.begin(), length);
  if (layout.kind == Layout::Kind::Shaped) {
    structure(in, *layout.shape, p, length, depth);
    std::memcpy(p + length, p, length);
  }
  return p;
}

void WorkerCodec::structure(wire::Parameter::Reader in, const Shape& shape, std::byte* p,
                            CK_ULONG size, unsigned depth) {
  if (depth >= 2 * MAX_NESTING) throw Malformed("parameters nested too deep");
  auto values = in.getFields();
  if (values.size() != pointersOf(shape)) throw Malformed("wrong number of fields");
  dropPointers(shape, p, size);
  unsigned next = 0;
  for (const Field& field : shape.fields) {
    if (!field.isPointer()) continue;
    auto value = values[next++];
    if (value.isNull()) continue;
    if (!within(field, size)) throw Malformed("a field beyond its struct");
    void* target = nullptr;
    switch (field.kind) {
      case Kind::Number:
      case Kind::Handle:
        break;
      case Kind::Bytes:
      case Kind::BytesOrHandle:
      case Kind::HandlePointer: {
        if (value.isRoom()) {
          if (value.getRoom() > maxBytes) throw Malformed("more room than a message has");
          target = arena_.allocate(value.getRoom());
          leaveUntouched(static_cast<std::byte*>(target), value.getRoom());
          break;
        }
        if (!value.isBytes()) throw Malformed("not bytes");
        // A copy, unlike plain input: what the module writes is found by comparing with the
        // message.
        auto bytes = value.getBytes();
        auto copy = arena_.allocate(bytes.size());
        if (bytes.size() != 0) std::memcpy(copy, bytes.begin(), bytes.size());
        target = copy;
        break;
      }
      case Kind::Attributes: {
        CK_ATTRIBUTE_PTR attributes;
        CK_ULONG count;
        templateIn(value, attributes, count);
        target = attributes;
        break;
      }
      case Kind::Mechanism: {
        if (!value.isMechanism()) throw Malformed("not a mechanism");
        auto inner = arena_.make<CK_MECHANISM>();
        mechanismAt(value.getMechanism(), *inner, depth + 1);
        target = inner;
        break;
      }
      case Kind::Nested: {
        if (!value.isParameters()) throw Malformed("not structs");
        auto list = value.getParameters();
        std::size_t all = std::size_t{list.size()} * field.shape->size;
        auto inner = arena_.allocate(2 * all);
        for (unsigned i = 0; i < list.size(); ++i) {
          auto one = inner + std::size_t{i} * field.shape->size;
          if (list[i].getImage().size() != field.shape->size)
            throw Malformed("a struct of another size");
          std::memcpy(one, list[i].getImage().begin(), field.shape->size);
          structure(list[i], *field.shape, one, field.shape->size, depth + 1);
        }
        std::memcpy(inner + all, inner, all);
        target = inner;
        break;
      }
    }
    store(p + field.offset, target);
  }
}

void WorkerCodec::bytesBack(Out out, In request, const void* buffer, const CK_ULONG* length,
                            CK_RV rv) {
  if (length == nullptr) return;
  bool hadRoom = request.isRoom() || request.isRoomInArea();
  CK_ULONG before =
      static_cast<CK_ULONG>(request.isRoom()         ? request.getRoom()
                            : request.isRoomInArea() ? request.getRoomInArea().getLength()
                            : request.isQuery()      ? request.getQuery()
                                                     : 0);
  CK_ULONG offered = static_cast<CK_ULONG>(std::min<std::uint64_t>(before, maxBytes));
  if (hadRoom && rv == CKR_OK) {
    // The module has already written past its buffer; the host would not believe this either.
    if (*length > offered) throw Malformed("the module wrote more than there was room for");
    if (request.isRoomInArea()) {
      auto place = out.initArea();
      place.setOffset(request.getRoomInArea().getOffset());
      place.setLength(*length);
    } else {
      out.setBytes(bytesAt(buffer, *length));
    }
  } else if (*length != (hadRoom ? offered : before) || rv == CKR_OK ||
             rv == CKR_BUFFER_TOO_SMALL) {
    out.setNumber(*length);
  }
}

void WorkerCodec::numbersBack(Out out, In request, const CK_ULONG* buffer, const CK_ULONG* count,
                              CK_RV rv) {
  if (count == nullptr) return;
  bool hadRoom = request.isRoom();
  std::uint64_t offered =
      hadRoom ? std::min<std::uint64_t>(request.getRoom(), maxBytes / sizeof(CK_ULONG))
              : (request.isQuery() ? request.getQuery() : 0);
  if (hadRoom && rv == CKR_OK) {
    if (*count > offered) throw Malformed("the module wrote more than there was room for");
    auto list = out.initNumbers(static_cast<unsigned>(*count));
    for (unsigned i = 0; i < *count; ++i) list.set(i, buffer[i]);
  } else if (*count != offered || rv == CKR_OK || rv == CKR_BUFFER_TOO_SMALL) {
    out.setNumber(*count);
  }
}

void WorkerCodec::templateBack(Out out, In request, const CK_ATTRIBUTE* attributes, CK_RV rv) {
  if (!request.isAttributes()) return;
  // With these return values every attribute was looked at; with others perhaps none.
  bool processed = rv == CKR_OK || rv == CKR_ATTRIBUTE_SENSITIVE ||
                   rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL;
  auto asked = request.getAttributes();
  auto list = out.initAttributes(asked.size());
  for (unsigned i = 0; i < asked.size(); ++i)
    attributeBack(list[i], asked[i], attributes[i], processed);
}

void WorkerCodec::attributeBack(wire::Attribute::Builder out, wire::Attribute::Reader asked,
                                const CK_ATTRIBUTE& attribute, bool processed) {
  out.setType(attribute.type);
  out.setLength(attribute.ulValueLen);
  if (!processed || attribute.pValue == nullptr) return;
  if (asked.isRoom() && !isTemplate(static_cast<CK_ATTRIBUTE_TYPE>(asked.getType()))) {
    CK_ULONG offered = static_cast<CK_ULONG>(std::min<std::uint64_t>(asked.getLength(), maxBytes));
    if (attribute.ulValueLen <= offered)
      out.setBytes(bytesAt(attribute.pValue, attribute.ulValueLen));
  } else if (asked.isNested()) {
    CK_ULONG count = attribute.ulValueLen / sizeof(CK_ATTRIBUTE);
    auto inner = asked.getNested();
    if (attribute.ulValueLen % sizeof(CK_ATTRIBUTE) != 0 || count > inner.size()) return;
    auto list = out.initNested(static_cast<unsigned>(count));
    for (unsigned i = 0; i < count; ++i)
      attributeBack(list[i], inner[i], static_cast<const CK_ATTRIBUTE*>(attribute.pValue)[i],
                    processed);
  }
}

void WorkerCodec::mechanismBack(Out out, In request, const CK_MECHANISM* mechanism, CK_RV rv) {
  if (mechanism == nullptr || mechanism->pParameter == nullptr) return;
  auto asked = request.getMechanism().getParameter();
  if (asked.getLength() == 0) return;
  auto answer = out.initMechanism();
  parameterBack(answer.initParameter(), asked, static_cast<const std::byte*>(mechanism->pParameter),
                rv);
  auto parameter = answer.asReader().getParameter();
  if (parameter.getImage().size() == 0 && parameter.getFields().size() == 0) out.setNull();
}

void WorkerCodec::messageParameterBack(Out out, In request, const void* p, CK_RV rv) {
  if (p == nullptr) return;
  CK_MECHANISM mechanism{};
  mechanism.pParameter = const_cast<void*>(p);
  mechanismBack(out, request, &mechanism, rv);
}

void WorkerCodec::signatureBack(In room, In shape, void* buffer, const CK_ULONG* length, CK_RV rv) {
  if (shape.isNull() || rv != CKR_OK || buffer == nullptr || length == nullptr) return;
  if (!shape.isNumber() || shape.getNumber() >= shapes().size()) throw Malformed("no such shape");
  std::uint64_t offered = room.isRoom()         ? room.getRoom()
                          : room.isRoomInArea() ? room.getRoomInArea().getLength()
                                                : 0;
  if (*length > offered) return;  // for bytesBack() to judge
  Move(buffer, *length, reinterpret_cast<std::uintptr_t>(buffer), 0)
      .structs(*shapes()[shape.getNumber()], 0, 1);
}

void WorkerCodec::parameterBack(wire::Parameter::Builder out, wire::Parameter::Reader asked,
                                const std::byte* p, CK_RV rv) {
  auto image = asked.getImage();
  CK_ULONG length = image.size();
  auto before = reinterpret_cast<const std::byte*>(image.begin());
  Layout layout = layoutOnWire(asked);
  if (layout.kind == Layout::Kind::Shaped) {
    if (length >= layout.shape->size)
      structureBack(out, asked, *layout.shape, p, p + length, length, rv);
    return;
  }
  if (layout.kind == Layout::Kind::FlatOut && std::memcmp(before, p, length) != 0)
    out.setImage(bytesAt(p, length));
}

void WorkerCodec::structureBack(wire::Parameter::Builder out, wire::Parameter::Reader asked,
                                const Shape& shape, const std::byte* p, const std::byte* given,
                                CK_ULONG size, CK_RV rv) {
  auto values = asked.getFields();
  bool changed = false;
  for (const Field& field : shape.fields) {
    if (field.isPointer() || field.direction == Direction::In) continue;
    changed |= std::memcmp(given + field.offset, p + field.offset, field.size) != 0;
  }

  // Decided before anything is written: an unchanged struct adds nothing to the message.
  struct Change {
    unsigned index;
    const Field* field;
    const std::byte* at;
    CK_ULONG size;
  };
  std::vector<Change> changes;
  unsigned next = 0;
  for (const Field& field : shape.fields) {
    if (!field.isPointer()) continue;
    unsigned index = next++;
    auto value = values[index];
    if (value.isNull() || field.direction == Direction::In) continue;
    // Not what the module may have put in its place, which leads to nothing of the caller's.
    auto at = load<const std::byte*>(given + field.offset);
    if (at == nullptr) continue;
    if (field.kind == Kind::Nested) {
      changes.push_back({index, &field, at, value.getParameters().size()});
    } else if (value.isRoom()) {
      CK_ULONG room = static_cast<CK_ULONG>(value.getRoom());
      bool written = !untouched(at, room);
      // Where a length was written beside it, only so much of it is the module's.
      if (field.length.rule == Length::Rule::Through)
        room = std::min(room, lengthOf(field, given, nullptr));
      if (room != 0 && written) changes.push_back({index, &field, at, room});
    } else if (value.isBytes()) {
      auto before = value.getBytes();
      if (before.size() != 0 && std::memcmp(before.begin(), at, before.size()) != 0)
        changes.push_back({index, &field, at, before.size()});
    }
  }
  if (!changed && changes.empty()) return;

  auto fields = out.initFields(values.size());
  for (const Change& change : changes) {
    auto value = fields[change.index];
    if (change.field->kind != Kind::Nested) {
      value.setBytes(bytesAt(change.at, change.size));
      continue;
    }
    auto before = values[change.index].getParameters();
    auto list = value.initParameters(before.size());
    CK_ULONG each = change.field->shape->size, all = before.size() * each;
    for (unsigned i = 0; i < before.size(); ++i) {
      auto one = change.at + i * each;
      structureBack(list[i], before[i], *change.field->shape, one, one + all, each, rv);
      // The host wants the fields of a struct that did not change, too.
      if (list[i].asReader().getFields().size() == 0)
        list[i].initFields(static_cast<unsigned>(pointersOf(*change.field->shape)));
    }
  }
  if (changed) {
    auto copy = out.initImage(static_cast<unsigned>(size));
    std::memcpy(copy.begin(), p, size);
    dropPointers(shape, reinterpret_cast<std::byte*>(copy.begin()), size);
  }
}

}  // namespace bulkhead::ipc
