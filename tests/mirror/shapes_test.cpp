// SPDX-License-Identifier: BSD-2-Clause
//
// The table of parameter structs against the text of the standard's header: every struct, every
// member, its place, whether it is a pointer or a handle, and which member says how long it is,
// by the standard's naming convention. What no name tells is listed here a second time, on purpose:
// an entry that somebody breaks is found.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "ipc/params.h"

namespace bulkhead::ipc {
namespace {

struct Member {
  std::string name;
  std::string type;
  std::size_t offset = 0;
  std::size_t size = 0;
};
struct Struct {
  std::vector<Member> members;
  std::size_t size = 0;
  std::size_t alignment = 1;
};
using Structs = std::map<std::string, Struct>;

bool endsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool isPointer(const std::string& type) {
  return endsWith(type, "_PTR") || endsWith(type, "*");
}

// Every struct of the header, laid out as the compiler does.
Structs parse(const char* path) {
  std::ifstream in(path);
  Structs all;
  std::string line;
  Struct* open = nullptr;
  std::regex begin(R"(typedef struct (\w+) \{)");
  std::regex member(R"(\s+(\w+\*?)\s+(\w+)(?:\[(\w+)\])?;.*)");
  std::smatch m;
  while (std::getline(in, line)) {
    if (std::regex_match(line, m, begin)) {
      open = &all[m[1]];
    } else if (line.rfind("}", 0) == 0) {
      if (open != nullptr)
        open->size = (open->size + open->alignment - 1) / open->alignment * open->alignment;
      open = nullptr;
    } else if (open != nullptr && std::regex_match(line, m, member)) {
      Member one{m[2], m[1], 0, 0};
      std::size_t alignment = sizeof(CK_ULONG);
      auto embedded = all.find(one.type);
      if (embedded != all.end()) {
        one.size = embedded->second.size;
        alignment = embedded->second.alignment;
      } else if (one.type == "CK_BYTE" || one.type == "CK_BBOOL" || one.type == "CK_CHAR" ||
                 one.type == "CK_UTF8CHAR") {
        one.size = alignment = 1;
      } else {
        one.size = sizeof(CK_ULONG);
      }
      if (m[3].matched) {
        std::string n = m[3];
        one.size *= n[0] >= '0' && n[0] <= '9' ? std::stoul(n) : 8;
      }
      open->size = (open->size + alignment - 1) / alignment * alignment;
      one.offset = open->size;
      open->size += one.size;
      open->alignment = std::max(open->alignment, alignment);
      open->members.push_back(one);
    }
  }
  return all;
}

// Structs within a struct, member by member.
std::vector<Member> flattened(const Structs& all, const Struct& s) {
  std::vector<Member> flat;
  for (const Member& m : s.members) {
    auto embedded = all.find(m.type);
    if (embedded == all.end() || m.type == "CK_VERSION") {
      flat.push_back(m);
      continue;
    }
    for (const Member& inner : embedded->second.members)
      flat.push_back({m.name + "." + inner.name, inner.type, m.offset + inner.offset, inner.size});
  }
  return flat;
}

const Field* fieldAt(const Shape& shape, std::size_t offset) {
  for (const Field& f : shape.fields)
    if (f.offset == offset) return &f;
  return nullptr;
}

std::string nameAt(const Shape& shape, std::size_t offset) {
  const Field* f = fieldAt(shape, offset);
  return f == nullptr ? "nothing" : f->name;
}

std::string tellLength(const Shape& shape, const Field& f) {
  switch (f.length.rule) {
    case Length::Rule::Fixed:
      return "fixed " + std::to_string(f.length.value);
    case Length::Rule::Field:
      return nameAt(shape, f.length.value);
    case Length::Rule::Bits:
      return "bits " + nameAt(shape, f.length.value);
    case Length::Rule::FieldOrBits:
      return nameAt(shape, f.length.value) + " or bits " + nameAt(shape, f.length.other);
    case Length::Rule::Through:
      return "through " + nameAt(shape, f.length.value);
    case Length::Rule::ParentBits:
      return "parent's bits at " + std::to_string(f.length.value);
    case Length::Rule::BitsOrBytes:
      return "bits or bytes " + nameAt(shape, f.length.value);
    case Length::Rule::Terminated:
      return "terminated";
    case Length::Rule::Unknown:
      return "unknown";
  }
  return "";
}

std::string tellCondition(const Shape& shape, const Condition& c) {
  std::string value = nameAt(shape, c.number) + " is " + std::to_string(c.value);
  switch (c.rule) {
    case Condition::Rule::Always:
      return "";
    case Condition::Rule::Set:
      return " if " + nameAt(shape, c.flag);
    case Condition::Rule::Equals:
      return " if " + value;
    case Condition::Rule::SetAndEquals:
      return " if " + nameAt(shape, c.flag) + " and " + value;
  }
  return "";
}

// Everything about a field that its place and its type don't tell.
std::string tell(const Shape& shape, const Field& f) {
  std::string text;
  if (f.direction == Direction::Out) text += "out ";
  if (f.direction == Direction::InOut) text += "inout ";
  if (f.kind == Kind::BytesOrHandle) text += "may be a handle ";
  if (f.isPointer()) text += tellLength(shape, f);
  return text + tellCondition(shape, f.when);
}

// What the convention says: pThing has ulThingLen beside it.
std::string conventional(const std::vector<Member>& members, const Member& m) {
  if (!isPointer(m.type)) return "";
  auto dot = m.name.find('.');
  std::string prefix = dot == std::string::npos ? "" : m.name.substr(0, dot + 1);
  std::string own = m.name.substr(prefix.size());
  std::string stem = own[0] == 'p' ? own.substr(1) : own;
  for (const char* end : {"Len", "Length"})
    for (const Member& other : members)
      if (other.name == prefix + "ul" + stem + end) return other.name;
  if (m.type == "CK_MECHANISM_PTR") return "fixed 1";
  return "?";
}

// Where the convention does not tell, or tells half.
const std::map<std::string, std::string> SAID_ELSEWHERE = {
#include "shapes_exceptions.inc"
};

const Structs& header() {
  static const Structs all = parse(MIRROR_HEADER);
  return all;
}

TEST(Shapes, EveryStructOfTheHeaderIsInTheTable) {
  std::set<std::string> described;
  for (const Shape* shape : shapes()) described.insert(shape->name);
  unsigned parameters = 0;
  for (auto& [name, s] : header()) {
    bool parameter =
        name.find("_PARAM") != std::string::npos || name.find("_DATA") != std::string::npos ||
        name.find("_FORMAT") != std::string::npos || name.find("_MAT_OUT") != std::string::npos ||
        name.find("_CONTEXT") != std::string::npos || name == "CK_DERIVED_KEY" ||
        name == "CK_OTP_SIGNATURE_INFO";
    if (!parameter) continue;
    ++parameters;
    EXPECT_EQ(described.count(name), 1U) << name;
  }
  EXPECT_GE(parameters, 80U);
  // Those whose names the header does not have, or not as others.
  for (const char* name : {"specifiedParams", "CK_GCM_PARAMS (2.30)"})
    EXPECT_EQ(described.count(name), 1U) << name;
  EXPECT_EQ(described.size(), parameters + 2);
  EXPECT_EQ(shapes().size(), described.size());
}

TEST(Shapes, EveryMemberIsAsTheHeaderHasIt) {
  for (const Shape* shape : shapes()) {
    auto found = header().find(shape->name);
    if (found == header().end()) {
      EXPECT_TRUE(std::string(shape->name) == "CK_GCM_PARAMS (2.30)" ||
                  std::string(shape->name) == "specifiedParams")
          << shape->name;
      continue;
    }
    EXPECT_EQ(found->second.size, shape->size) << shape->name;
    auto members = flattened(header(), found->second);
    EXPECT_EQ(members.size(), shape->fields.size()) << shape->name;
    for (const Member& m : members) {
      std::string name = std::string(shape->name) + "." + m.name;
      const Field* f = fieldAt(*shape, m.offset);
      EXPECT_NE(f, nullptr) << name;
      if (f == nullptr) continue;
      EXPECT_EQ(f->name, m.name) << name;
      EXPECT_EQ(f->size, m.size) << name;
      EXPECT_EQ(f->isPointer(), isPointer(m.type)) << name;
      EXPECT_EQ(f->kind == Kind::Handle,
                m.type == "CK_OBJECT_HANDLE" || m.type == "CK_X2RATCHET_HANDLE")
          << name;
      EXPECT_EQ(f->kind == Kind::HandlePointer, m.type == "CK_OBJECT_HANDLE_PTR") << name;
      EXPECT_EQ(f->kind == Kind::Attributes, m.type == "CK_ATTRIBUTE_PTR") << name;
      EXPECT_EQ(f->kind == Kind::Mechanism, m.type == "CK_MECHANISM_PTR") << name;
      bool struct_ = isPointer(m.type) && m.type != "CK_MECHANISM_PTR" &&
                     m.type != "CK_ATTRIBUTE_PTR" && m.type != "CK_VERSION_PTR" &&
                     header().count(m.type.substr(0, m.type.size() - 4)) != 0;
      EXPECT_EQ(f->kind == Kind::Nested, struct_) << name;
      if (f->kind == Kind::Nested) {
        EXPECT_EQ(f->shape->name, m.type.substr(0, m.type.size() - 4)) << name;
      }
      auto said = SAID_ELSEWHERE.find(name);
      std::string wanted = said != SAID_ELSEWHERE.end() ? said->second : conventional(members, m);
      EXPECT_EQ(tell(*shape, *f), wanted)
          << "{\"" << name << "\", \"" << tell(*shape, *f) << "\"},";
    }
  }
}

// The layout that today's header does not have any more.
TEST(Shapes, TheOldLayoutOfGcmIsAsItWas) {
  auto all = shapes();
  auto found = std::find_if(all.begin(), all.end(), [](const Shape* shape) {
    return std::string(shape->name) == "CK_GCM_PARAMS (2.30)";
  });
  ASSERT_NE(found, all.end());
  std::string text;
  for (const Field& f : (*found)->fields)
    text += std::string(f.name) + "@" + std::to_string(f.offset / sizeof(CK_ULONG)) +
            (f.kind == Kind::Bytes    ? " to "
             : f.kind == Kind::Number ? " number "
                                      : " else ") +
            tell(**found, f) + "; ";
  EXPECT_EQ(text,
            "pIv@0 to inout ulIvLen; ulIvLen@1 number ; pAAD@2 to ulAADLen; ulAADLen@3 number ; "
            "ulTagBits@4 number ; ");
  EXPECT_EQ((*found)->size, 5 * sizeof(CK_ULONG));
}

TEST(Shapes, WhatIsSaidElsewhereIsThere) {
  std::set<std::string> names;
  for (const Shape* shape : shapes())
    for (const Field& f : shape->fields) names.insert(std::string(shape->name) + "." + f.name);
  for (auto& [name, text] : SAID_ELSEWHERE) EXPECT_EQ(names.count(name), 1U) << name;
}

// ---- mechanisms ----

// Those whose parameters are not just bytes that the module reads.
const std::map<std::string, std::string> MECHANISMS = {
#include "mechanisms.inc"
};

std::map<std::string, CK_MECHANISM_TYPE> mechanismsOf(const char* path) {
  std::ifstream in(path);
  std::map<std::string, CK_MECHANISM_TYPE> all;
  std::regex define(R"(#define (CKM_\w+)\s+(0x[0-9a-fA-F]+)UL.*)");
  std::smatch m;
  for (std::string line; std::getline(in, line);)
    if (std::regex_match(line, m, define)) all[m[1]] = std::stoul(m[2], nullptr, 16);
  all.erase("CKM_VENDOR_DEFINED");
  return all;
}

// The layouts of a mechanism: in each kind of call those whose size decides, and what another size
// is taken for.
std::string tellMechanism(CK_MECHANISM_TYPE type) {
  const std::byte zeros[256] = {};
  std::string text;
  std::string before;
  for (Use use : {Use::Operation, Use::Wrap, Use::Message, Use::AuthenticatedWrap}) {
    std::string own;
    Layout other = layoutOf(type, use, zeros, 1);
    switch (other.kind) {
      case Layout::Kind::Unknown:
        return "unknown";
      case Layout::Kind::Flat:
        own = "flat";
        break;
      case Layout::Kind::FlatOut:
        own = "flat, written";
        break;
      case Layout::Kind::Handle:
        own = "a handle";
        break;
      case Layout::Kind::Shaped:
        own = other.shape->name;
        for (CK_ULONG size = 2; size < sizeof zeros; ++size) {
          Layout layout = layoutOf(type, use, zeros, size);
          if (layout.shape != other.shape) own += std::string(", ") + layout.shape->name;
        }
        break;
    }
    if (own != before) text += (text.empty() ? "" : " | ") + own;
    before = own;
  }
  if (const Shape* signature = signatureOf(type)) text += std::string(" signs ") + signature->name;
  return text;
}

TEST(Mechanisms, EveryOneOfTheHeaderHasItsLayout) {
  auto all = mechanismsOf(MIRROR_HEADER);
  std::set<CK_MECHANISM_TYPE> types;
  for (auto& [name, type] : all) {
    types.insert(type);
    auto said = MECHANISMS.find(name);
    // An alias may stand for another.
    for (auto& [other, same] : all)
      if (said == MECHANISMS.end() && same == type) said = MECHANISMS.find(other);
    EXPECT_EQ(tellMechanism(type), said == MECHANISMS.end() ? "flat" : said->second) << name;
  }
  for (auto& [name, text] : MECHANISMS) EXPECT_EQ(all.count(name), 1U) << name;
  auto known = knownMechanisms();
  EXPECT_EQ(std::set<CK_MECHANISM_TYPE>(known.begin(), known.end()), types);
  EXPECT_EQ(known.size(), types.size());
}

// ---- layoutOf ----

std::string shapeOf(CK_MECHANISM_TYPE type, Use use, const void* p, CK_ULONG length) {
  Layout layout = layoutOf(type, use, p, length);
  return layout.kind == Layout::Kind::Shaped ? layout.shape->name : "none";
}

TEST(LayoutOf, TellsTheFourLayoutsOfGcmApart) {
  std::byte zeros[sizeof(CK_GCM_WRAP_PARAMS)] = {};
  auto gcm = [&](Use use, CK_ULONG length) { return shapeOf(CKM_AES_GCM, use, zeros, length); };
  EXPECT_EQ(gcm(Use::Operation, sizeof(CK_GCM_PARAMS)), "CK_GCM_PARAMS");
  EXPECT_EQ(gcm(Use::Operation, sizeof(CK_GCM_PARAMS) - sizeof(CK_ULONG)), "CK_GCM_PARAMS (2.30)");
  EXPECT_EQ(gcm(Use::Wrap, sizeof(CK_GCM_WRAP_PARAMS)), "CK_GCM_WRAP_PARAMS");
  EXPECT_EQ(gcm(Use::Wrap, sizeof(CK_GCM_PARAMS)), "CK_GCM_PARAMS");
  EXPECT_EQ(gcm(Use::Message, sizeof(CK_GCM_MESSAGE_PARAMS)), "CK_GCM_MESSAGE_PARAMS");
  EXPECT_EQ(gcm(Use::AuthenticatedWrap, sizeof(CK_GCM_MESSAGE_PARAMS)), "CK_GCM_MESSAGE_PARAMS");
}

TEST(LayoutOf, TellsTheTwoPbkd2StructsOfOneSizeApart) {
  static_assert(sizeof(CK_PKCS5_PBKD2_PARAMS) == sizeof(CK_PKCS5_PBKD2_PARAMS2));
  CK_ULONG length = 5;
  CK_PKCS5_PBKD2_PARAMS first{};
  first.ulPasswordLen = &length;
  CK_PKCS5_PBKD2_PARAMS2 second{};
  second.ulPasswordLen = 5;
  for (Use use : {Use::Operation, Use::Wrap, Use::Message, Use::AuthenticatedWrap}) {
    EXPECT_EQ(shapeOf(CKM_PKCS5_PBKD2, use, &first, sizeof first), "CK_PKCS5_PBKD2_PARAMS");
    EXPECT_EQ(shapeOf(CKM_PKCS5_PBKD2, use, &second, sizeof second), "CK_PKCS5_PBKD2_PARAMS2");
  }
}

// Whatever the call and the length: what is no pointer is not followed.
TEST(LayoutOf, TakesNoPasswordsLengthForAPointer) {
  struct {
    CK_PKCS5_PBKD2_PARAMS2 params{};
    CK_ULONG more = 0;
  } longer;
  longer.params.ulPasswordLen = 5;
  for (Use use : {Use::Operation, Use::Message, Use::Wrap, Use::AuthenticatedWrap})
    for (CK_ULONG length : {sizeof longer.params, sizeof longer, sizeof longer.params - 8})
      EXPECT_EQ(shapeOf(CKM_PKCS5_PBKD2, use, &longer, length), "CK_PKCS5_PBKD2_PARAMS2");
  std::byte gmac[sizeof(CK_GCM_PARAMS)] = {};
  EXPECT_EQ(shapeOf(CKM_AES_GMAC, Use::Message, gmac, sizeof gmac), "CK_GCM_PARAMS");
}

TEST(LayoutOf, KnowsNothingOfAVendorsMechanism) {
  EXPECT_EQ(layoutOf(CKM_VENDOR_DEFINED | 0x777, Use::Operation, nullptr, 0).kind,
            Layout::Kind::Unknown);
}

TEST(LayoutOf, NeverReadsWhereOneSizeDecides) {
  for (CK_MECHANISM_TYPE type : knownMechanisms())
    for (Use use : {Use::Operation, Use::Message, Use::Wrap, Use::AuthenticatedWrap})
      for (CK_ULONG length : {CK_ULONG{0}, CK_ULONG{1}, CK_ULONG{40}})
        EXPECT_NE(layoutOf(type, use, reinterpret_cast<void*>(1), length).kind,
                  Layout::Kind::Unknown);
}

}  // namespace
}  // namespace bulkhead::ipc
