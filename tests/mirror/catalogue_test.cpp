// SPDX-License-Identifier: BSD-2-Clause
//
// The catalogue against the text of the standard's header: what each argument is for, as its type
// and its name tell there. Where they don't, it is said here a second time, on purpose: a role that
// somebody breaks is found.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "ipc/catalogue.h"

namespace bulkhead::ipc {
namespace {

struct Argument {
  std::string type;
  std::string name;
};

// The functions of the header with their arguments, and the version of the list that brought them.
struct Prototype {
  std::string version;
  std::vector<Argument> arguments;
};

std::map<std::string, Prototype> parse(const char* path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  std::string text = std::regex_replace(all.str(), std::regex(R"(\s*\\\n\s*)"), " ");
  std::map<std::string, Prototype> found;
  std::istringstream lines(text);
  std::regex list(R"(#define BULKHEAD_PKCS11_FUNCTIONS_(\d)_(\d+)\(F\).*)");
  std::regex function(R"(F\((C_\w+), \(([^)]*)\)\))");
  std::regex argument(R"((\w+) (\w+))");
  std::smatch m;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, m, list)) continue;
    std::string version = m[1].str() + "." + m[2].str();
    for (std::sregex_iterator f(line.begin(), line.end(), function), end; f != end; ++f) {
      Prototype& one = found[(*f)[1]];
      one.version = version;
      std::string arguments = (*f)[2];
      for (std::sregex_iterator a(arguments.begin(), arguments.end(), argument); a != end; ++a)
        one.arguments.push_back({(*a)[1], (*a)[2]});
    }
  }
  return found;
}

bool isOneOf(const std::string& text, std::initializer_list<const char*> list) {
  for (const char* one : list)
    if (text == one) return true;
  return false;
}

std::string useOf(const std::string& function) {
  if (function.rfind("C_Message", 0) == 0) return "message";
  if (isOneOf(function, {"C_WrapKey", "C_UnwrapKey"})) return "wrap";
  if (isOneOf(function, {"C_WrapKeyAuthenticated", "C_UnwrapKeyAuthenticated"}))
    return "authenticated wrap";
  return "operation";
}

// The roles that types and names tell.
std::string rolesOf(const std::string& function, const std::vector<Argument>& arguments) {
  std::string roles;
  auto typeAt = [&](std::size_t i) { return i < arguments.size() ? arguments[i].type : ""; };
  for (std::size_t i = 0; i < arguments.size();) {
    auto& [type, name] = arguments[i];
    std::string next = typeAt(i + 1);
    std::size_t taken = 1;
    std::string role = "?";
    bool bytes = isOneOf(type, {"CK_BYTE_PTR", "CK_UTF8CHAR_PTR"});
    if (isOneOf(function, {"C_Initialize", "C_Finalize", "C_GetFunctionList", "C_GetInterfaceList",
                           "C_GetInterface"}) ||
        (function.rfind("C_Async", 0) == 0 && type != "CK_SESSION_HANDLE") ||
        isOneOf(name, {"pApplication", "Notify", "pReserved"})) {
      role = "local";
    } else if (type == "CK_SESSION_HANDLE") {
      role = "session";
    } else if (type == "CK_SLOT_ID") {
      role = "slot";
    } else if (type == "CK_BBOOL") {
      role = "bool";
    } else if (type == "CK_OBJECT_HANDLE") {
      role = name == "hObject" ? "object" : "key";
    } else if (type == "CK_OBJECT_HANDLE_PTR" && next == "CK_ULONG") {
      role = "objects out";
      taken = 3;
    } else if (type == "CK_OBJECT_HANDLE_PTR") {
      role = "object out";
    } else if (type == "CK_MECHANISM_PTR") {
      role = "mechanism of " + useOf(function);
    } else if (type == "CK_ATTRIBUTE_PTR") {
      role = function == "C_GetAttributeValue" ? "template to fill" : "template";
      taken = 2;
    } else if (bytes && next == "CK_ULONG") {
      role = function == "C_GenerateRandom" ? "fill" : "bytes";
      taken = 2;
    } else if (bytes && next == "CK_ULONG_PTR") {
      role = isOneOf(function, {"C_Sign", "C_SignFinal"}) ? "signature out" : "bytes out";
      taken = 2;
    } else if (name == "pLabel") {
      role = "label";
    } else if (type == "CK_VOID_PTR" && next == "CK_ULONG") {
      role = "message parameter";
      taken = 2;
    } else if (isOneOf(type, {"CK_SLOT_ID_PTR", "CK_MECHANISM_TYPE_PTR"}) &&
               next == "CK_ULONG_PTR") {
      role = "numbers out";
      taken = 2;
    } else if (type.find("_INFO_PTR") != std::string::npos) {
      role = type.substr(0, type.size() - 4) + " out";
    } else if (isOneOf(type, {"CK_INFO_PTR"})) {
      role = "CK_INFO out";
    } else if (isOneOf(type, {"CK_ULONG_PTR", "CK_FLAGS_PTR", "CK_SESSION_HANDLE_PTR",
                              "CK_SLOT_ID_PTR"})) {
      role = "number out";
    } else if (isOneOf(type, {"CK_ULONG", "CK_FLAGS", "CK_USER_TYPE", "CK_MECHANISM_TYPE",
                              "CK_SESSION_VALIDATION_FLAGS_TYPE"})) {
      role = "number";
    }
    roles += role + "; ";
    i += taken;
  }
  return roles;
}

template <typename Role>
struct Told;
#define TOLD(role_, text)                     \
  template <>                                 \
  struct Told<role_> {                        \
    static constexpr const char* TEXT = text; \
  };
TOLD(role::Slot, "slot")
TOLD(role::Session, "session")
TOLD(role::Object, "object")
TOLD(role::Key, "key")
TOLD(role::Number, "number")
TOLD(role::Bool, "bool")
TOLD(role::BytesIn, "bytes")
TOLD(role::Label, "label")
TOLD(role::BytesOut, "bytes out")
TOLD(role::SignatureOut, "signature out")
TOLD(role::Fill, "fill")
TOLD(role::TemplateIn, "template")
TOLD(role::TemplateFill, "template to fill")
TOLD(role::Mechanism<Use::Operation>, "mechanism of operation")
TOLD(role::Mechanism<Use::Message>, "mechanism of message")
TOLD(role::Mechanism<Use::Wrap>, "mechanism of wrap")
TOLD(role::Mechanism<Use::AuthenticatedWrap>, "mechanism of authenticated wrap")
TOLD(role::MessageParameter, "message parameter")
TOLD(role::NumberOut, "number out")
TOLD(role::ObjectOut, "object out")
TOLD(role::NumbersOut, "numbers out")
TOLD(role::ObjectsOut, "objects out")
TOLD(role::StructOut<CK_INFO>, "CK_INFO out")
TOLD(role::StructOut<CK_SLOT_INFO>, "CK_SLOT_INFO out")
TOLD(role::StructOut<CK_TOKEN_INFO>, "CK_TOKEN_INFO out")
TOLD(role::StructOut<CK_MECHANISM_INFO>, "CK_MECHANISM_INFO out")
TOLD(role::StructOut<CK_SESSION_INFO>, "CK_SESSION_INFO out")
#undef TOLD
template <typename T>
struct Told<role::Local<T>> {
  static constexpr const char* TEXT = "local";
};

template <typename Roles>
struct Tell;
template <typename... Roles>
struct Tell<std::tuple<Roles...>> {
  static std::string all() {
    return (std::string() + ... + (std::string(Told<Roles>::TEXT) + "; "));
  }
};

TEST(Catalogue, EveryArgumentIsForWhatTheHeaderSays) {
  auto header = parse(MIRROR_HEADER);
  EXPECT_EQ(header.size(), FUNCTIONS);
  forEachFunction([&]<Function F>() {
    std::string name(nameOf(F));
    ASSERT_EQ(header.count(name), 1U) << name;
    EXPECT_EQ(Tell<typename Line<F>::Roles>::all(), rolesOf(name, header.at(name).arguments))
        << name;
  });
}

TEST(Catalogue, EveryFunctionCameWithTheVersionThatTheHeaderSays) {
  auto header = parse(MIRROR_HEADER);
#define SAYS(name, major, minor, ...) \
  EXPECT_EQ(header.at(#name).version, std::to_string(major) + "." + std::to_string(minor)) << #name;
  BULKHEAD_CATALOGUE(SAYS)
#undef SAYS
}

}  // namespace
}  // namespace bulkhead::ipc
