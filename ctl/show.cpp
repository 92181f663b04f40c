// SPDX-License-Identifier: BSD-2-Clause
//
// `show` and `explain`: a policy in its own words, and what it means on this machine.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/terminal.h"
#include "sandbox/confine.h"
#include "sandbox/syscall_groups.h"

namespace bulkhead::ctl {
namespace {

using sandbox::PathAccess;
using sandbox::Policy;
using sandbox::Wanted;

std::vector<std::string> originOf(const Policy& policy, const std::string& key) {
  auto found = policy.origin.find(key);
  return found == policy.origin.end() ? std::vector<std::string>() : found->second;
}

// The module with a usable policy, or a complaint.
const KnownModule* usable(const Inventory& inventory, const std::string& name, int& status) {
  auto found = inventory.find(name);
  status = SUCCESS;
  if (!found) {
    complain(found.error().message());
    status = TROUBLE;
    return nullptr;
  }
  if (!(*found)->policy) {
    complain(findingOf((*found)->policy.error()).text());
    status = TROUBLE;
    return nullptr;
  }
  return *found;
}

constexpr const char* LAYER_STATES[] = {"in force", "missing", "refuses to start", "not wanted"};

// An index into LAYER_STATES.
int layerState(const Policy& policy, const std::string& layer) {
  Wanted want = wanted(policy, layer);
  if (want == Wanted::No) return 3;
  if (whyMissing(layer).empty()) return 0;
  return want == Wanted::Required ? 2 : 1;
}

const char* accessName(PathAccess access) {
  switch (access) {
    case PathAccess::Read:
      return "read";
    case PathAccess::ReadWrite:
      return "write";
    case PathAccess::Execute:
      return "execute";
    case PathAccess::Device:
      return "device";
    case PathAccess::Socket:
      return "socket";
  }
  return "read";
}

bool exists(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0;
}

// Groups that are granted as a whole, and calls beyond them.
struct Calls {
  std::vector<std::string> groups;
  std::vector<std::string> single;
  std::vector<std::string> removed;  // from the groups that the policy names or has by default
};

Calls callsOf(const Policy& policy) {
  Calls calls;
  std::set<std::string, std::less<>> covered;
  for (const auto& group : sandbox::syscallGroups()) {
    auto names = sandbox::syscallsOf(group);
    auto granted = static_cast<std::size_t>(std::count_if(
        names.begin(), names.end(),
        [&](std::string_view name) { return policy.syscalls.contains(std::string(name)); }));
    // A group of which something was taken away is still that group.
    bool whole = granted == names.size();
    bool named = group.name == "@worker" || (policy.systemCallDefaults && group.name == "@fs-read");
    if (!whole && !named) continue;
    calls.groups.emplace_back(group.name);
    for (std::string_view name : names) {
      covered.emplace(name);
      if (!policy.syscalls.contains(std::string(name))) calls.removed.emplace_back(name);
    }
  }
  for (const std::string& name : policy.syscalls)
    if (!covered.contains(name)) calls.single.push_back(name);
  return calls;
}

}  // namespace

int show(const Options& options, const std::string& name) {
  Inventory inventory = takeInventory(options.program);
  int status;
  const KnownModule* module = usable(inventory, name, status);
  if (module == nullptr) return status;
  const Policy& policy = module->policy.value();

  if (options.json) {
    Json out{{"module", module->config.name},
             {"file", module->config.path},
             {"configuration", module->config.files},
             {"policy", policy.name},
             {"keys", Json::array()}};
    for (const std::string& key : sandbox::policyKeys()) {
      auto dot = key.find('.');
      out["keys"].push_back({{"section", key.substr(0, dot)},
                             {"key", key.substr(dot + 1)},
                             {"value", valueOf(policy, key)},
                             {"origin", originOf(policy, key)}});
    }
    printJson(out);
    return SUCCESS;
  }

  Terminal terminal = Terminal::standardOutput();
  auto remark = [&](const std::string& text) {
    terminal.print(terminal.styled("# " + printable(text), Style::Faint) + "\n");
  };
  remark(fmt::format("Module {}: {}", module->config.name, module->config.path));
  remark("Configured in " + joined(module->config.files, ", "));
  remark("Policy " + policy.name);
  std::string section;
  for (const std::string& key : sandbox::policyKeys()) {
    auto dot = key.find('.');
    std::string keyName = key.substr(dot + 1);
    if (section != key.substr(0, dot)) {
      section = key.substr(0, dot);
      terminal.print("\n");
      terminal.heading("[" + section + "]");
    }
    auto origin = originOf(policy, key);
    remark(origin.empty() ? "default" : joined(origin, ", "));
    auto words = valueOf(policy, key);
    if (!words.empty() && words.front() == "(defaults)") {
      words.erase(words.begin());
      remark(words.empty() ? "the default groups hold" : "the default groups hold, and:");
      // An empty assignment would take them away.
      if (words.empty()) continue;
    } else if (key == "Syscalls.SystemCallFilter" && !words.empty()) {
      terminal.print(terminal.styled(keyName, Style::Bold) + "=\n");
    }
    // Assignments append, so a long list can stand on several lines.
    std::string line;
    auto flush = [&] {
      terminal.print(terminal.styled(keyName, Style::Bold) + "=" + printable(line) + "\n");
      line.clear();
    };
    for (const std::string& word : words) {
      if (!line.empty() && line.size() + word.size() > 80) flush();
      line += (line.empty() ? "" : " ") + word;
    }
    flush();
  }
  return SUCCESS;
}

int explain(const Options& options, const std::string& name) {
  Inventory inventory = takeInventory(options.program);
  int status;
  const KnownModule* module = usable(inventory, name, status);
  if (module == nullptr) return status;
  const Policy& policy = module->policy.value();
  auto rules = sandbox::pathRules(policy, module->config.path);
  Calls calls = callsOf(policy);
  bool enforced = layerState(policy, "landlock") == 0 || layerState(policy, "mountns") == 0;
  bool trouble = false;

  Json layers = Json::array();
  for (const std::string& layer : layerNames()) {
    int state = layerState(policy, layer);
    trouble |= state == 2;
    Wanted want = wanted(policy, layer);
    Json one{{"name", layer},
             {"what", layerPurpose(layer)},
             {"wanted", want == Wanted::Required    ? "required"
                        : want == Wanted::Preferred ? "preferred"
                                                    : "no"},
             {"state", LAYER_STATES[state]},
             {"available", whyMissing(layer).empty()}};
    if (!whyMissing(layer).empty()) one["reason"] = whyMissing(layer);
    layers.push_back(std::move(one));
  }
  auto connect = valueOf(policy, "Network.Connect");
  std::string network = valueOf(policy, "Network.Network").front();

  if (options.json) {
    Json out{{"module", module->config.name}, {"file", module->config.path},
             {"policy", policy.name},         {"layers", layers},
             {"paths", Json::array()},        {"paths_enforced", enforced}};
    for (const auto& rule : rules)
      out["paths"].push_back({{"path", rule.path},
                              {"access", accessName(rule.access)},
                              {"optional", rule.optional},
                              {"exists", exists(rule.path)}});
    out["network"] = network;
    out["connect"] = connect;
    out["syscall_groups"] = calls.groups;
    out["syscalls_beyond_groups"] = calls.single;
    out["syscalls_removed"] = calls.removed;
    out["syscall_count"] = policy.syscalls.size();
    out["pass_environment"] = policy.passEnvironment;
    Json set = Json::array();
    for (const auto& [variable, value] : policy.environment) set.push_back(variable);
    out["set_environment"] = set;
    printJson(out);
    return trouble ? TROUBLE : SUCCESS;
  }

  Terminal terminal = Terminal::standardOutput();
  terminal.print(fmt::format("{} ({}), policy {}\n\n",
                             terminal.styled(module->config.name, Style::Bold),
                             printable(module->config.path), printable(policy.name)));
  Table table({"LAYER", "WANTED", "HERE", "WHAT IT DOES"});
  for (const Json& layer : layers) {
    std::string state = layer["state"];
    std::string reason = layer.value("reason", "");
    Style style = state == LAYER_STATES[0]   ? Style::Good
                  : state == LAYER_STATES[3] ? Style::Faint
                                             : Style::Bad;
    std::string what = layer["what"];
    if (!reason.empty() && state != LAYER_STATES[3]) what += " (" + reason + ")";
    table.add({layer["name"].get<std::string>(),
               layer["wanted"].get<std::string>(),
               {state, style},
               what});
  }
  table.print(terminal);

  terminal.print("\n");
  terminal.heading(enforced ? "Files"
                            : "Files (nothing enforces this here: no landlock, no mountns)");
  auto paths = [&](PathAccess access, const char* what) {
    Table lines;
    for (const auto& rule : rules) {
      if (rule.access != access) continue;
      bool there = exists(rule.path);
      // What is not there and need not be would only hide what matters.
      if (!there && rule.optional) continue;
      lines.add({rule.path, {there ? "" : "missing, and not optional", Style::Bad}});
      trouble |= !there;
    }
    if (lines.empty()) return;
    terminal.print(std::string("  ") + what + "\n");
    lines.print(terminal, "    ");
  };
  paths(PathAccess::ReadWrite, "can read and write:");
  paths(PathAccess::Device, "can use the devices:");
  paths(PathAccess::Execute, "can read and map as code, or execute where the policy has @exec:");
  paths(PathAccess::Read, "can read:");

  terminal.print("\n");
  terminal.heading("Network");
  if (connect.empty()) {
    terminal.print("  can reach nobody\n");
  } else {
    terminal.print("  can reach, through the supervisor, and nobody else:\n");
    for (const std::string& one : connect) terminal.print("    " + printable(one) + "\n");
  }
  terminal.print("\n");
  terminal.heading("System calls");
  for (const std::string& group : calls.groups)
    terminal.print(fmt::format("  {:<14}{}\n", group, sandbox::findSyscallGroup(group)->intent));
  if (!calls.removed.empty()) terminal.print("  without       " + joined(calls.removed) + "\n");
  if (!calls.single.empty()) terminal.print("  and           " + joined(calls.single) + "\n");
  constexpr const char* ACTIONS[] = {"refused and logged", "logged, and ends the worker",
                                     "logged and let through: this policy enforces nothing"};
  terminal.print(fmt::format("  any other is {}\n",
                             ACTIONS[static_cast<std::size_t>(policy.violationAction)]));
  terminal.print("\n");
  terminal.heading("Environment");
  terminal.print("  passed on     " + joined(policy.passEnvironment) + "\n");
  std::vector<std::string> set;
  for (const auto& [variable, value] : policy.environment) set.push_back(variable);
  if (!set.empty()) terminal.print("  set           " + joined(set) + "\n");
  return trouble ? TROUBLE : SUCCESS;
}

}  // namespace bulkhead::ctl
