// SPDX-License-Identifier: BSD-2-Clause
#include "ctl/modules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>

#include "ctl/terminal.h"
#include "ipc/names.h"
#include "sandbox/confine.h"

namespace bulkhead::ctl {
namespace {

using sandbox::Policy;
using Words = std::vector<std::string>;

std::string timeText(std::chrono::milliseconds time) {
  auto count = time.count();
  if (count == 0) return "infinity";
  if (count % 60'000 == 0) return fmt::format("{}min", count / 60'000);
  if (count % 1000 == 0) return fmt::format("{}s", count / 1000);
  return fmt::format("{}ms", count);
}

std::string sizeText(std::uint64_t bytes) {
  constexpr std::pair<int, char> UNITS[] = {{40, 'T'}, {30, 'G'}, {20, 'M'}, {10, 'K'}};
  for (auto [shift, letter] : UNITS)
    if (bytes != 0 && (bytes & ((std::uint64_t{1} << shift) - 1)) == 0)
      return fmt::format("{}{}", bytes >> shift, letter);
  return std::to_string(bytes);
}

Words limitWords(const sandbox::Limit& limit, bool size, const char* unit = "") {
  if (!limit) return {"infinity"};
  return {(size ? sizeText(*limit) : std::to_string(*limit)) + unit};
}

std::string quotedWord(const std::string& word) {
  if (!word.empty() && word.find_first_of(" \t'\"\\#;") == std::string::npos) return word;
  std::string out = "\"";
  for (char c : word) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

Words pathWords(const std::vector<sandbox::PolicyPath>& paths) {
  Words words;
  for (const auto& one : paths) words.push_back(quotedWord((one.optional ? "-" : "") + one.path));
  return words;
}

Words quotedWords(const Words& plain) {
  Words words;
  for (const std::string& one : plain) words.push_back(quotedWord(one));
  return words;
}

const char* yesNo(bool value) {
  return value ? "yes" : "no";
}

using Getter = Words (*)(const Policy&);

// The counterpart of the parser's table; a test sees to it that none of its keys is missing here.
const std::map<std::string, Getter, std::less<>>& getters() {
  static const std::map<std::string, Getter, std::less<>> GETTERS = {
      {"Module.Match", [](const Policy& p) { return quotedWords(p.match); }},
      {"Worker.Environment",
       [](const Policy& p) {
         Words words;
         for (const auto& [name, value] : p.environment)
           words.push_back(quotedWord(name + "=" + value));
         return words;
       }},
      {"Worker.PassEnvironment", [](const Policy& p) { return p.passEnvironment; }},
      {"Worker.StartTimeoutSec", [](const Policy& p) { return Words{timeText(p.startTimeout)}; }},
      {"Worker.CallTimeoutSec",
       [](const Policy& p) {
         Words words{timeText(p.callTimeout)};
         for (const auto& [name, time] : p.callTimeouts)
           words.push_back(name + ":" + timeText(time));
         return words;
       }},
      {"Worker.StopTimeoutSec", [](const Policy& p) { return Words{timeText(p.stopTimeout)}; }},
      {"Worker.StartLimitBurst",
       [](const Policy& p) { return Words{std::to_string(p.startLimitBurst)}; }},
      {"Worker.StartLimitIntervalSec",
       [](const Policy& p) { return Words{timeText(p.startLimitInterval)}; }},
      {"Worker.WorkingDirectory",
       [](const Policy& p) { return Words{quotedWord(p.workingDirectory)}; }},
      {"Worker.Serialize", [](const Policy& p) { return Words{yesNo(p.serialize)}; }},
      {"Worker.Share",
       [](const Policy& p) {
         return Words{p.share == sandbox::WorkerSharing::Process ? "process" : "consumer"};
       }},
      {"Limits.MemoryMax", [](const Policy& p) { return limitWords(p.memoryMax, true); }},
      {"Limits.TasksMax", [](const Policy& p) { return limitWords(p.tasksMax, false); }},
      {"Limits.CPUQuota",
       [](const Policy& p) {
         return limitWords(p.cpuQuotaPercent, false, p.cpuQuotaPercent ? "%" : "");
       }},
      {"Limits.LimitNOFILE", [](const Policy& p) { return limitWords(p.limitNoFile, false); }},
      {"Limits.LimitFSIZE", [](const Policy& p) { return limitWords(p.limitFsize, true); }},
      {"Limits.LimitMEMLOCK", [](const Policy& p) { return limitWords(p.limitMemlock, true); }},
      {"Limits.LimitSTACK", [](const Policy& p) { return limitWords(p.limitStack, true); }},
      {"Limits.MaxMessage", [](const Policy& p) { return Words{sizeText(p.maxMessage)}; }},
      {"Filesystem.ReadOnlyPaths", [](const Policy& p) { return pathWords(p.readOnlyPaths); }},
      {"Filesystem.ReadWritePaths", [](const Policy& p) { return pathWords(p.readWritePaths); }},
      {"Filesystem.ExecPaths", [](const Policy& p) { return pathWords(p.execPaths); }},
      {"Filesystem.Devices", [](const Policy& p) { return pathWords(p.devices); }},
      {"Network.Network",
       [](const Policy& p) {
         constexpr const char* NAMES[] = {"none", "unix", "client"};
         return Words{NAMES[static_cast<int>(p.network)]};
       }},
      {"Network.Connect",
       [](const Policy& p) {
         Words words;
         for (const auto& d : p.connect) {
           if (d.kind == sandbox::Destination::Kind::Unix) {
             words.push_back(quotedWord("unix:" + d.path));
           } else if (d.host.find(':') == std::string::npos) {
             words.push_back(fmt::format("tcp:{}:{}", d.host, d.port));
           } else {
             auto slash = std::min(d.host.find('/'), d.host.size());
             words.push_back(fmt::format("tcp:[{}]{}:{}", d.host.substr(0, slash),
                                         d.host.substr(slash), d.port));
           }
         }
         return words;
       }},
      {"Syscalls.SystemCallFilter",
       [](const Policy& p) {
         Words words = p.systemCallFilter;
         // The language has no word for them: they are what an empty assignment takes away.
         if (p.systemCallDefaults) words.insert(words.begin(), "(defaults)");
         return words;
       }},
      {"Syscalls.SystemCallAction",
       [](const Policy& p) {
         constexpr const char* NAMES[] = {"deny", "kill", "log"};
         return Words{NAMES[static_cast<int>(p.violationAction)]};
       }},
      {"Syscalls.ViolationLimit",
       [](const Policy& p) { return Words{std::to_string(p.violationLimit)}; }},
      {"Layers.Require", [](const Policy& p) { return p.require; }},
      {"Layers.Prefer", [](const Policy& p) { return p.prefer; }},
      {"Mechanisms.FlatMechanisms",
       [](const Policy& p) {
         Words words;
         for (auto one : p.flatMechanisms) words.push_back(fmt::format("{:#x}", one));
         return words;
       }},
  };
  return GETTERS;
}

const sandbox::Layer* findLayer(std::string_view name) {
  for (const sandbox::Layer& layer : sandbox::layers())
    if (layer.name == name) return &layer;
  return nullptr;
}

}  // namespace

Result<const KnownModule*> Inventory::find(const std::string& name) const {
  for (const KnownModule& module : modules)
    if (module.config.name == name) return &module;
  for (const proxy::SkippedModule& one : skipped)
    if (one.name == name)
      return Error{"module " + name, 0, std::string(kindName(one.kind)) + ": " + one.reason};
  Words names;
  for (const KnownModule& module : modules) names.push_back(module.config.name);
  return Error{"module " + name, 0,
               names.empty() ? "no module is configured"
                             : "not configured; there are " + joined(names, ", ")};
}

Inventory takeInventory(const std::string& program) {
  auto set = proxy::loadModules(proxy::ConfigPaths::fromEnvironment(),
                                program.empty() ? proxy::programName() : program);
  Inventory inventory;
  auto directories = sandbox::policyDirectories();
  auto specifiers = sandbox::currentSpecifiers();
  for (proxy::ModuleConfig& config : set.modules) {
    auto policy = sandbox::loadPolicy({config.name, config.path}, directories, specifiers);
    inventory.modules.push_back({std::move(config), std::move(policy)});
  }
  inventory.skipped = std::move(set.skipped);
  inventory.warnings = std::move(set.warnings);
  return inventory;
}

namespace {

// The names by which a module is installed: that of the file, and of what it is a link to.
std::vector<std::string> fileNames(const std::map<std::string, std::string>& values) {
  auto module = values.find("module");
  if (module == values.end()) return {};
  std::error_code error;
  return {std::filesystem::path(module->second).filename(),
          std::filesystem::canonical(module->second, error).filename()};
}

bool isAdoptedModule(const std::string& name) {
  return name == "bulkhead-adopted.so";
}

}  // namespace

bool isBulkhead(const std::map<std::string, std::string>& values) {
  auto names = fileNames(values);
  return std::any_of(names.begin(), names.end(), proxy::isBulkheadFile);
}

bool showsAdoptedOnly(const std::map<std::string, std::string>& values) {
  auto names = fileNames(values);
  return std::any_of(names.begin(), names.end(), isAdoptedModule);
}

bool sameModule(const std::map<std::string, std::string>& values,
                const proxy::ModuleConfig& config) {
  auto module = values.find("module");
  if (module == values.end()) return false;
  // The module directory is the same for both.
  std::filesystem::path path = module->second;
  auto own = config.values.find("module");
  if (own != config.values.end() && own->second == module->second) return true;
  std::error_code error;
  if (path.is_relative()) path = std::filesystem::path(BULKHEAD_P11_MODULES) / path;
  return std::filesystem::equivalent(path, config.path, error);
}

const char* sightName(Sight sight) {
  constexpr const char* NAMES[] = {"-", "itself", "bulkhead", "twice"};
  return NAMES[static_cast<int>(sight)];
}

Sight sightOf(const Inventory& inventory, const std::map<std::string, std::string>& values,
              const std::string& program) {
  bool itself = proxy::isShownByP11Kit(values, program);
  bool byBulkhead = false;
  for (const proxy::SkippedModule& one : inventory.skipped) {
    if (!isBulkhead(one.values) || !proxy::isShownByP11Kit(one.values, program)) continue;
    byBulkhead |= showsAdoptedOnly(one.values) ? proxy::isAdopted(values, program)
                                               : proxy::isEnabledFor(values, program);
  }
  return itself ? (byBulkhead ? Sight::Twice : Sight::Itself)
                : (byBulkhead ? Sight::Bulkhead : Sight::Nothing);
}

const char* kindName(proxy::SkippedModule::Kind kind) {
  switch (kind) {
    case proxy::SkippedModule::Kind::Disabled:
      return "disabled";
    case proxy::SkippedModule::Kind::Recursion:
      return "never loaded";
    case proxy::SkippedModule::Kind::Duplicate:
      return "duplicate";
    case proxy::SkippedModule::Kind::Error:
      return "broken";
  }
  return "broken";
}

std::vector<std::string> valueOf(const Policy& policy, std::string_view key) {
  auto found = getters().find(key);
  return found == getters().end() ? Words{"(bulkheadctl does not know this key)"}
                                  : found->second(policy);
}

std::string whyMissing(std::string_view layer) {
  // Asking costs a process for some; the answer does not change while this program runs.
  static std::map<std::string, std::string, std::less<>> known;
  auto found = known.find(layer);
  if (found != known.end()) return found->second;
  std::string why;
  if (const sandbox::Layer* one = findLayer(layer)) {
    if (auto result = one->probe(); !result) why = result.error().message();
  }
  known.emplace(layer, why);
  return why;
}

std::string layerPurpose(std::string_view layer) {
  if (const sandbox::Layer* one = findLayer(layer)) return one->what;
  return "";
}

std::vector<std::string> layerNames() {
  Words names;
  for (const sandbox::Layer& layer : sandbox::layers()) names.emplace_back(layer.name);
  return names;
}

std::string Finding::text() const {
  std::string out = file;
  if (line != 0) out += fmt::format(":{}", line);
  if (!out.empty()) out += ": ";
  if (!key.empty()) out += key + (key.ends_with(']') ? ": " : "=: ");
  return out + message;
}

Finding findingOf(const Error& error) {
  Finding finding;
  // A policy's error carries its place in the detail, a module file's in the operation.
  std::string text = error.operation == "policy" && !error.detail.empty()
                         ? Error{error.detail, error.code, {}}.message()
                         : error.message();
  std::size_t colon = text.find(": ");
  if (text.starts_with('/') && colon != std::string::npos) {
    std::string place = text.substr(0, colon);
    text.erase(0, colon + 2);
    auto number = place.rfind(':');
    if (number != std::string::npos && number + 1 < place.size() &&
        place.find_first_not_of("0123456789", number + 1) == std::string::npos) {
      finding.line = static_cast<unsigned>(std::stoul(place.substr(number + 1)));
      place.resize(number);
    }
    finding.file = std::move(place);
  }
  if (text.starts_with('[')) {
    colon = text.find(": ");
    if (colon != std::string::npos) {
      finding.key = text.substr(0, colon);
      if (finding.key.ends_with('=')) finding.key.pop_back();
      text.erase(0, colon + 2);
    }
  }
  finding.message = std::move(text);
  return finding;
}

void printJson(const Json& json) {
  // A label on a token may be any bytes; a program that reads JSON wants UTF-8.
  std::string text = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
}

}  // namespace bulkhead::ctl
