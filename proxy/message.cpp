// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/message.h"

#include <algorithm>

namespace bulkhead::proxy {
namespace {

// Nothing that a thread would have to destroy at its end.
thread_local char text[512];

}  // namespace

void setMessage(std::string_view from) noexcept {
  std::size_t length = std::min(from.size(), sizeof text - 1);
  std::transform(from.begin(), from.begin() + length, text, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  });
  text[length] = '\0';
}

const char* message() noexcept {
  return text;
}

}  // namespace bulkhead::proxy
