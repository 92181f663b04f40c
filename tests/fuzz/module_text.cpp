// SPDX-License-Identifier: BSD-2-Clause
//
// The text of `.module` files, which is read inside other people's programs.
#include "proxy/module_config.h"
#include "tests/fuzz/scenario.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::map<std::string, std::string> values;
  auto errors = bulkhead::proxy::parseModuleText(text, "name", values);
  if (errors.size() > 16) bulkhead::fuzz::broken("more faults than are reported");
  for (const auto& error : errors)
    if (error.operation.rfind("name", 0) != 0) bulkhead::fuzz::broken("a fault without its file");
  for (const auto& [key, value] : values)
    if (key.empty() || key.size() > size || value.size() > size)
      bulkhead::fuzz::broken("a key or value that is not in the text");
  for (const char* program : {"ssh", "p11-kit-proxy", ""})
    (void)bulkhead::proxy::isEnabledFor(values, program);
  return 0;
}
