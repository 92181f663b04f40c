// SPDX-License-Identifier: BSD-2-Clause
//
// Templates that own what they point to.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/pkcs11.h"

namespace bulkhead::test {

/// The attributes of an object, written one after the other.
class Template {
 public:
  Template& number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) {
    return bytes(type, {reinterpret_cast<const char*>(&value), sizeof value});
  }
  Template& boolean(CK_ATTRIBUTE_TYPE type, bool value) {
    char one = value ? CK_TRUE : CK_FALSE;
    return bytes(type, {&one, 1});
  }
  Template& bytes(CK_ATTRIBUTE_TYPE type, std::string_view value) {
    std::string& own = values_.emplace_back(value);
    attributes_.push_back({type, own.data(), own.size()});
    return *this;
  }
  /// Room for an attribute that is to be read.
  Template& room(CK_ATTRIBUTE_TYPE type, std::size_t size) {
    return bytes(type, std::string(size, '\0'));
  }

  CK_ATTRIBUTE* data() { return attributes_.data(); }
  CK_ULONG size() const { return attributes_.size(); }
  CK_ATTRIBUTE& operator[](std::size_t i) { return attributes_[i]; }

 private:
  std::deque<std::string> values_;  // does not move what is in it
  std::vector<CK_ATTRIBUTE> attributes_;
};

}  // namespace bulkhead::test
