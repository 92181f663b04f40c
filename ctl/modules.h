// SPDX-License-Identifier: BSD-2-Clause
//
// The configured modules with their policies, as the proxy and the supervisor would find them now.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "ipc/result.h"
#include "proxy/module_config.h"
#include "sandbox/policy.h"

namespace bulkhead::ctl {

using Json = nlohmann::ordered_json;

/// A module that would be loaded, and what it may do or why that is not known.
struct KnownModule {
  proxy::ModuleConfig config;
  Result<sandbox::Policy> policy;
};

/// What is configured.
struct Inventory {
  std::vector<KnownModule> modules;
  std::vector<proxy::SkippedModule> skipped;
  std::vector<Error> warnings;

  /// The module of that name; otherwise the error says why there is none and what may be meant.
  Result<const KnownModule*> find(const std::string& name) const;
};

/// Reads everything, as `program` would see it; empty: as this one does.
Inventory takeInventory(const std::string& program);

/// Whether these are the values of bulkhead itself, by whatever name it is installed.
bool isBulkhead(const std::map<std::string, std::string>& values);

/// Whether it is, and leaves to p11-kit what p11-kit shows itself.
bool showsAdoptedOnly(const std::map<std::string, std::string>& values);

/// Whether these are the values of the module of `config`, under another name perhaps.
bool sameModule(const std::map<std::string, std::string>& values,
                const proxy::ModuleConfig& config);

/// What of a module the programs get to see that load modules by p11-kit.
enum class Sight {
  Nothing,   ///< nothing: p11-kit hides it, or can't load it
  Itself,    ///< the module
  Bulkhead,  ///< bulkhead, which shows it
  Twice,     ///< both
};
const char* sightName(Sight sight);

/// What `program` sees of a module of these values by p11-kit; empty: any program that is not named
/// anywhere.
Sight sightOf(const Inventory& inventory, const std::map<std::string, std::string>& values,
              const std::string& program);

/// "disabled", "duplicate", ...
const char* kindName(proxy::SkippedModule::Kind kind);

/// The value of "Section.Key" as words, in the policy language. Empty where nothing is set.
std::vector<std::string> valueOf(const sandbox::Policy& policy, std::string_view key);

/// Why a worker that wants this layer does not get it here; empty when it does.
std::string whyMissing(std::string_view layer);

/// What a layer does, in one sentence.
std::string layerPurpose(std::string_view layer);

/// The names of all layers, in the order in which they are applied.
std::vector<std::string> layerNames();

/// A file with a line number taken apart: "file:line: rest".
struct Finding {
  std::string file;
  unsigned line = 0;  ///< 0: the whole file
  std::string key;    ///< "[Section] Key" or "[Section]" where the text names one
  std::string message;
  std::string text() const;
};
Finding findingOf(const Error& error);

/// Prints JSON on standard output.
void printJson(const Json& json);

}  // namespace bulkhead::ctl
