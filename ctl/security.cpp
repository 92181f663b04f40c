// SPDX-License-Identifier: BSD-2-Clause
//
// `security`: how much a hostile module could do, as a number to compare policies by. Each line of
// the table has a weight and a badness between 0 and 1; the exposure is their mean, times ten.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <span>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/terminal.h"
#include "sandbox/confine.h"

namespace bulkhead::ctl {
namespace {

using sandbox::PathAccess;
using sandbox::Policy;
using sandbox::Wanted;

struct Verdict {
  std::string name;
  std::string text;
  double weight;
  double badness;
};

struct LayerWeight {
  std::string_view name;
  double weight;
};
// By what is open to a module that has taken over its worker when only this one is missing.
constexpr LayerWeight LAYER_WEIGHTS[] = {
    {"no-new-privs", 500}, {"limits", 100},   {"userns", 300},       {"netns", 400},
    {"ipcns", 150},        {"mountns", 500},  {"capabilities", 500}, {"landlock", 1000},
    {"mdwe", 300},         {"seccomp", 1500}, {"broker", 400},       {"cgroup", 100},
};

bool reaches(const std::string& rule, const std::string& path) {
  return rule == "/" || path == rule ||
         (path.starts_with(rule) && path.size() > rule.size() && path[rule.size()] == '/');
}

// The first of `paths` that one of the rules with such access reaches.
std::string firstReached(const std::vector<sandbox::PathRule>& rules, bool write,
                         std::span<const std::string> paths) {
  for (const std::string& path : paths)
    for (const auto& rule : rules)
      if ((!write || rule.access == PathAccess::ReadWrite) && reaches(rule.path, path)) return path;
  return {};
}

std::vector<Verdict> judge(const KnownModule& module) {
  const Policy& policy = module.policy.value();
  auto rules = sandbox::pathRules(policy, module.config.path);
  std::string home = sandbox::currentSpecifiers().home;
  std::vector<Verdict> verdicts;
  auto add = [&](std::string name, double weight, double badness, std::string text) {
    verdicts.push_back({std::move(name), std::move(text), weight, badness});
  };

  for (const std::string& layer : layerNames()) {
    double weight = 100;
    for (const LayerWeight& one : LAYER_WEIGHTS)
      if (one.name == layer) weight = one.weight;
    std::string why = whyMissing(layer);
    if (wanted(policy, layer) == Wanted::No)
      add(layer, weight, 1, "the policy does without it");
    else if (!why.empty())
      add(layer, weight, 1, "not to be had here: " + why);
    else
      add(layer, weight, 0, layerPurpose(layer));
  }

  constexpr const char* ACTIONS[] = {"what is forbidden is refused", "what is forbidden ends it",
                                     "what is forbidden is let through"};
  add("SystemCallAction=", 1500, policy.violationAction == sandbox::ViolationAction::Log ? 1 : 0,
      ACTIONS[static_cast<std::size_t>(policy.violationAction)]);

  std::vector<std::string> secrets = {"/etc/shadow", "/root/.ssh", "/etc/ssh/ssh_host_rsa_key"};
  std::vector<std::string> precious = {"/etc/passwd", "/usr/bin/env", "/root/.profile",
                                       "/var/tmp/x", "/tmp/x"};
  if (!home.empty()) {
    secrets.insert(secrets.end(), {home + "/.ssh", home + "/.gnupg"});
    precious.insert(precious.end(), {home + "/.profile", home + "/.ssh"});
  }
  std::string secret = firstReached(rules, false, secrets);
  add("secrets", 800, secret.empty() ? 0 : 1,
      secret.empty() ? "can't read passwords or others' keys" : "can read " + secret);
  std::string spoilt = firstReached(rules, true, precious);
  bool writes = !policy.readWritePaths.empty();
  add("writing", 800,
      !spoilt.empty() ? 1
      : writes        ? 0.2
                      : 0,
      !spoilt.empty() ? "can write " + spoilt
      : writes        ? "can write its own files"
                      : "can write no file");
  add("devices", 300, policy.devices.empty() ? 0 : 0.5,
      policy.devices.empty() ? "uses no device" : "uses devices");

  bool bus = std::any_of(policy.connect.begin(), policy.connect.end(), [](const auto& d) {
    return d.path.find("dbus/system_bus_socket") != std::string::npos;
  });
  if (policy.network == sandbox::NetworkAccess::Client)
    add("network", 800, 0.8, "reaches servers");
  else if (policy.connect.empty())
    add("network", 800, 0, "reaches nobody");
  else
    add("network", 800, bus ? 0.8 : 0.3, bus ? "reaches the whole system bus" : "reaches daemons");

  bool exec = policy.syscalls.contains("execve") || policy.syscalls.contains("execveat");
  bool fork = policy.syscalls.contains("fork") || policy.syscalls.contains("vfork");
  add("programs", 400,
      exec   ? 1
      : fork ? 0.4
             : 0,
      exec   ? "runs other programs"
      : fork ? "starts further processes"
             : "starts no process");
  bool sysv = policy.syscalls.contains("shmget") && wanted(policy, "ipcns") == Wanted::No;
  add("System V IPC", 200, sysv ? 1 : 0,
      sysv ? "shares memory with other programs" : "shares no memory with other programs");

  auto limit = [&](const char* key, double weight, const sandbox::Limit& value, bool held) {
    add(key, weight, value && held ? 0 : 1,
        !value  ? "not bounded"
        : !held ? "nothing here holds it: no scope"
                : "bounded");
  };
  // Without a scope there are resource limits, which bound memory, and tasks but for root.
  auto has = [&](const char* layer) {
    return wanted(policy, layer) != Wanted::No && whyMissing(layer).empty();
  };
  bool scope = has("cgroup"), resources = has("limits");
  limit("MemoryMax=", 100, policy.memoryMax, scope || resources);
  limit("TasksMax=", 60, policy.tasksMax,
        scope || (resources && has("userns") && ::geteuid() != 0));
  limit("CPUQuota=", 40, policy.cpuQuotaPercent, scope);
  add("CallTimeoutSec=", 60, policy.callTimeout.count() == 0 ? 1 : 0,
      policy.callTimeout.count() == 0 ? "may hang a caller for ever" : "calls end");
  add("ViolationLimit=", 40, policy.violationLimit == 0 ? 1 : 0,
      policy.violationLimit == 0 ? "may go on trying" : "ends after so many refusals");
  return verdicts;
}

double exposureOf(const std::vector<Verdict>& verdicts) {
  double sum = 0, weights = 0;
  for (const Verdict& one : verdicts) {
    sum += one.weight * one.badness;
    weights += one.weight;
  }
  return weights == 0 ? 0 : 10 * sum / weights;
}

struct Rating {
  double from;
  const char* name;
  Style style;
};
// Where systemd-analyze security draws its lines.
constexpr Rating RATINGS[] = {{9, "UNSAFE", Style::Bad},
                              {7.5, "EXPOSED", Style::Bad},
                              {5, "MEDIUM", Style::Warning},
                              {1, "OK", Style::Good},
                              {0, "SAFE", Style::Good}};

const Rating& ratingOf(double exposure) {
  for (const Rating& rating : RATINGS)
    if (exposure >= rating.from) return rating;
  return std::end(RATINGS)[-1];
}

}  // namespace

int security(const Options& options, const std::string& name) {
  Inventory inventory = takeInventory(options.program);
  std::vector<const KnownModule*> modules;
  if (name.empty()) {
    for (const KnownModule& module : inventory.modules) modules.push_back(&module);
  } else {
    auto found = inventory.find(name);
    if (!found) {
      complain(found.error().message());
      return TROUBLE;
    }
    modules.push_back(*found);
  }

  int status = SUCCESS;
  Terminal terminal = Terminal::standardOutput();
  Json out = Json::array();
  Table summary({"MODULE", "EXPOSURE", "RATING", "POLICY", "WORST"});
  for (const KnownModule* module : modules) {
    if (!module->policy) {
      complain(module->config.name + ": " + findingOf(module->policy.error()).text());
      status = TROUBLE;
      continue;
    }
    auto verdicts = judge(*module);
    double exposure = exposureOf(verdicts);
    double weights = 0;
    for (const Verdict& one : verdicts) weights += one.weight;
    const Rating& rating = ratingOf(exposure);
    auto worst = std::max_element(
        verdicts.begin(), verdicts.end(),
        [](const auto& a, const auto& b) { return a.weight * a.badness < b.weight * b.badness; });
    summary.add({{module->config.name, Style::Bold},
                 fmt::format("{:.1f}", exposure),
                 {rating.name, rating.style},
                 module->policy.value().name,
                 worst->badness == 0 ? "" : worst->name + ": " + worst->text});

    Json one{{"module", module->config.name},
             {"policy", module->policy.value().name},
             {"exposure", exposure},
             {"rating", rating.name},
             {"checks", Json::array()}};
    Table details({"", "CHECK", "RESULT", "EXPOSURE"});
    for (const Verdict& verdict : verdicts) {
      double part = 10 * verdict.weight * verdict.badness / weights;
      one["checks"].push_back({{"check", verdict.name},
                               {"result", verdict.text},
                               {"badness", verdict.badness},
                               {"weight", verdict.weight},
                               {"exposure", part}});
      details.add({{verdict.badness == 0  ? "+"
                    : verdict.badness < 1 ? "~"
                                          : "-",
                    verdict.badness == 0  ? Style::Good
                    : verdict.badness < 1 ? Style::Warning
                                          : Style::Bad},
                   verdict.name,
                   verdict.text,
                   part == 0 ? "" : fmt::format("{:.2f}", part)});
    }
    out.push_back(std::move(one));
    if (name.empty() || options.json) continue;
    details.print(terminal);
    terminal.print(fmt::format("\nExposure of {}: {:.1f} {}\n", module->config.name, exposure,
                               terminal.styled(rating.name, rating.style)));
  }
  if (options.json)
    printJson(out);
  else if (name.empty() && !summary.empty())
    summary.print(terminal);
  else if (name.empty() && status == SUCCESS)
    terminal.print("No modules are configured.\n");
  return status;
}

}  // namespace bulkhead::ctl
