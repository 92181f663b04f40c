// SPDX-License-Identifier: BSD-2-Clause
//
// Which libraries a module brings along from outside the system's library folders.
#pragma once

#include <string>
#include <vector>

namespace bulkhead::sandbox {

/// The libraries that the loader will find for `module` through DT_RPATH and DT_RUNPATH, theirs
/// included, as absolute paths. Those in the system's folders are not listed. A file that is no
/// ELF object, or a damaged one, has none: opening it will report what is wrong.
std::vector<std::string> librariesOf(const std::string& module);

}  // namespace bulkhead::sandbox
