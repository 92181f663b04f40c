// SPDX-License-Identifier: BSD-2-Clause
#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/run.h"
#include "ctl/terminal.h"

namespace bulkhead::ctl {
namespace {

struct Row {
  std::string name;
  std::string state;  // ok, failed, configured; or the kind of what was skipped
  std::string reason;
  std::string policy;
  Sight inP11Kit = Sight::Nothing;  // what programs get to see that load modules by p11-kit
  std::string path;
  int priority = 0;
  Json slots;  // null: not asked
};

std::string textAt(const Json& json, const char* key) {
  auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Style styleOf(const std::string& state) {
  if (state == "ok") return Style::Good;
  if (state == "failed" || state == "broken") return Style::Bad;
  return Style::Faint;
}

void printText(const std::vector<Row>& rows) {
  Terminal terminal = Terminal::standardOutput();
  Table modules({"MODULE", "STATE", "IN P11-KIT", "POLICY", "SLOTS", "TOKENS", "FILE"});
  Table slots({"MODULE", "SLOT", "TOKEN", "MODEL", "SERIAL", "READER"});
  for (const Row& row : rows) {
    std::size_t tokens = 0;
    for (const Json& slot : row.slots) {
      tokens += slot.contains("token");
      const Json token = slot.value("token", Json::object());
      std::string label = textAt(token, "label");
      if (!token.empty() && !token.value("initialized", true)) label = "(not initialized)";
      if (token.empty()) label = "(no token)";
      if (slot.contains("error")) label = "(" + textAt(slot, "error") + ")";
      slots.add({row.name, fmt::format("{:#x}", slot.value("id", 0UL)), label,
                 textAt(token, "model"), textAt(token, "serial"), textAt(slot, "description")});
    }
    bool asked = !row.slots.is_null();
    modules.add(
        {{row.name, Style::Bold},
         {row.state, styleOf(row.state)},
         {sightName(row.inP11Kit), row.inP11Kit == Sight::Twice ? Style::Bad : Style::Plain},
         row.policy.empty() ? "-" : row.policy,
         asked ? std::to_string(row.slots.size()) : "-",
         asked ? std::to_string(tokens) : "-",
         row.path.empty() ? "-" : row.path});
  }
  if (rows.empty()) {
    terminal.print("No modules are configured.\n");
    return;
  }
  modules.print(terminal);
  if (!slots.empty()) {
    terminal.print("\n");
    slots.print(terminal);
  }
  bool first = true;
  for (const Row& row : rows) {
    if (row.reason.empty()) continue;
    if (first) terminal.print("\n");
    first = false;
    terminal.print(
        fmt::format("{}: {}\n", terminal.styled(row.name, Style::Bold), printable(row.reason)));
  }
}

Sight sightOfSkipped(const proxy::SkippedModule& skipped, const std::string& program) {
  switch (skipped.kind) {
    case proxy::SkippedModule::Kind::Disabled:
    case proxy::SkippedModule::Kind::Recursion:
      return proxy::isShownByP11Kit(skipped.values, program) ? Sight::Itself : Sight::Nothing;
    case proxy::SkippedModule::Kind::Duplicate:  // p11-kit, too, has a module once
    case proxy::SkippedModule::Kind::Error:
      break;
  }
  return Sight::Nothing;
}

}  // namespace

int list(const Options& options, bool startModules) {
  Inventory inventory = takeInventory(options.program);
  std::vector<const KnownModule*> startable;
  for (const KnownModule& module : inventory.modules)
    if (module.policy) startable.push_back(&module);
  std::vector<Trial> trials;
  if (startModules) {
    auto tried = tryModules(startable);
    if (!tried) {
      complain(tried.error().message());
      return TROUBLE;
    }
    trials = std::move(*tried);
  }

  std::vector<Row> rows;
  bool trouble = false;
  std::size_t next = 0;
  for (const KnownModule& module : inventory.modules) {
    Row row{module.config.name,
            "configured",
            {},
            {},
            sightOf(inventory, module.config.values, options.program),
            module.config.path,
            module.config.priority,
            nullptr};
    if (!module.policy) {
      row.state = "failed";
      row.reason = findingOf(module.policy.error()).text();
    } else {
      row.policy = module.policy.value().name;
      if (startModules) {
        const Trial& trial = trials[next++];
        row.state = trial.started() ? "ok" : "failed";
        row.reason = trial.failure;
        row.slots =
            trial.report.is_object() ? trial.report.value("slots", Json::array()) : Json::array();
      }
    }
    trouble |= row.state == "failed";
    rows.push_back(std::move(row));
  }
  for (const proxy::SkippedModule& skipped : inventory.skipped) {
    rows.push_back({skipped.name,
                    kindName(skipped.kind),
                    skipped.reason,
                    {},
                    sightOfSkipped(skipped, options.program),
                    {},
                    0,
                    nullptr});
    trouble |= skipped.kind == proxy::SkippedModule::Kind::Error;
  }
  for (const Error& warning : inventory.warnings) complain(warning.message());

  if (options.json) {
    Json out{{"modules", Json::array()}, {"warnings", Json::array()}};
    for (const Row& row : rows) {
      Json one{{"name", row.name}, {"state", row.state}};
      if (!row.path.empty()) one["file"] = row.path;
      if (!row.path.empty()) one["priority"] = row.priority;
      if (row.inP11Kit != Sight::Nothing) one["in p11-kit"] = sightName(row.inP11Kit);
      if (!row.policy.empty()) one["policy"] = row.policy;
      if (!row.reason.empty()) one["reason"] = row.reason;
      if (!row.slots.is_null()) one["slots"] = row.slots;
      out["modules"].push_back(std::move(one));
    }
    for (const Error& warning : inventory.warnings) out["warnings"].push_back(warning.message());
    printJson(out);
  } else {
    printText(rows);
  }
  return trouble ? TROUBLE : SUCCESS;
}

}  // namespace bulkhead::ctl
