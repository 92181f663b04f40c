// SPDX-License-Identifier: BSD-2-Clause
//
// `try`: one module, started as a host would start it, with everything that was said on the way.
#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/run.h"
#include "ctl/terminal.h"

namespace bulkhead::ctl {

int tryModule(const Options& options, const std::string& name) {
  Inventory inventory = takeInventory(options.program);
  auto found = inventory.find(name);
  if (!found) {
    complain(found.error().message());
    return TROUBLE;
  }
  auto trials = tryModules({*found});
  if (!trials) {
    complain(trials.error().message());
    return TROUBLE;
  }
  const Trial& trial = trials->front();

  Json violations = Json::array(), degraded = Json::array(), said = Json::array(),
       log = Json::array();
  for (const LogLine& line : trial.log) {
    switch (line.kind) {
      case LogLine::Kind::Violation:
        violations.push_back({{"syscall", line.syscall},
                              {"arguments", line.arguments},
                              {"location", line.location},
                              {"function", line.function}});
        break;
      case LogLine::Kind::Degraded:
        degraded.push_back(line.text);
        break;
      case LogLine::Kind::Output:
        said.push_back(line.text.substr(6));
        break;
      case LogLine::Kind::Failure:
      case LogLine::Kind::Death:
      case LogLine::Kind::Other:
        log.push_back(line.text);
        break;
    }
  }
  Json report = trial.report.is_object() ? trial.report : Json::object();
  int status = trial.started() ? SUCCESS : TROUBLE;

  if (options.json) {
    Json out{{"module", name}, {"started", trial.started()}};
    if (!trial.failure.empty()) out["failure"] = trial.failure;
    for (const auto& [key, value] : report.items())
      if (key != "error") out[key] = value;
    out["violations"] = violations;
    out["degraded"] = degraded;
    out["output"] = said;
    out["log"] = log;
    printJson(out);
    return status;
  }

  Terminal terminal = Terminal::standardOutput();
  auto lines = [&](const char* heading, const Json& texts) {
    if (texts.empty()) return;
    terminal.print("\n");
    terminal.heading(heading);
    for (const Json& text : texts) terminal.print("  " + printable(text.get<std::string>()) + "\n");
  };
  if (!trial.started()) complain(name + " can't be started: " + trial.failure);
  if (trial.started()) {
    const Json slots = report.value("slots", Json::array());
    terminal.print(
        fmt::format("{} works: started in {:.1f} ms, {} slot{} listed in {:.1f} ms, ended "
                    "in {:.1f} ms\n",
                    terminal.styled(name, Style::Bold), report.value("initialize_ms", 0.0),
                    slots.size(), slots.size() == 1 ? "" : "s",
                    report.value("slot_list_ms", 0.0) + report.value("slot_info_ms", 0.0),
                    report.value("finalize_ms", 0.0)));
    Table table({"SLOT", "TOKEN", "MECHANISMS", "READER"});
    auto textAt = [](const Json& json, const char* key) {
      auto at = json.find(key);
      return at != json.end() && at->is_string() ? at->get<std::string>() : std::string();
    };
    for (const Json& slot : slots) {
      const Json token = slot.value("token", Json::object());
      const Json count = token.value("mechanisms", Json());
      std::string label = token.empty() ? "(no token)" : textAt(token, "label");
      if (slot.contains("error")) label = "(" + textAt(slot, "error") + ")";
      table.add({fmt::format("{:#x}", slot.value("id", 0UL)), label,
                 count.is_number() ? std::to_string(count.get<unsigned long>()) : "-",
                 textAt(slot, "description")});
    }
    if (!table.empty()) {
      terminal.print("\n");
      table.print(terminal);
    }
  }
  lines("Layers that are not in force", degraded);
  if (!violations.empty()) {
    terminal.print("\n");
    terminal.heading("Refused system calls");
    Table table({"CALL", "ARGUMENTS", "FROM", "DURING"});
    for (const Json& one : violations)
      table.add({one["syscall"].get<std::string>(), one["arguments"].get<std::string>(),
                 one["location"].get<std::string>(), one["function"].get<std::string>()});
    table.print(terminal, "  ");
  }
  lines("What the module wrote to its output", said);
  lines("What else was logged", log);
  return status;
}

}  // namespace bulkhead::ctl
