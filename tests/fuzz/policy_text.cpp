// SPDX-License-Identifier: BSD-2-Clause
//
// The text of `.policy` files. What is read without an error reads the same once more.
#include "sandbox/policy.h"
#include "tests/fuzz/scenario.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace sandbox = bulkhead::sandbox;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const sandbox::Specifiers specifiers{"/home/u", "u", "1000", "/run/user/1000"};
  sandbox::Policy policy;
  auto errors = sandbox::readPolicyText(text, "name", specifiers, policy);
  for (const auto& error : errors)
    if (error.message().empty()) bulkhead::fuzz::broken("an error that says nothing");
  if (!errors.empty()) return 0;
  sandbox::Policy again;
  if (!sandbox::readPolicyText(text, "name", specifiers, again).empty() ||
      again.syscalls != policy.syscalls || again.origin != policy.origin)
    bulkhead::fuzz::broken("the same text read twice is not the same policy");
  return 0;
}
