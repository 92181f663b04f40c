// SPDX-License-Identifier: BSD-2-Clause
//
// Completions for shells, from the definition of the command line: what is added there is
// completed.
#include <CLI/CLI.hpp>

#include <fmt/format.h>

#include "ctl/commands.h"
#include "ctl/terminal.h"

namespace bulkhead::ctl {
namespace {

struct Flag {
  std::vector<std::string> names;  // with their dashes
  std::string description;
  bool takesValue = false;
};

struct Command {
  std::string name;
  std::string description;
  std::vector<Flag> flags;
  bool takesModule = false;
  bool takesFile = false;
  bool takesShell = false;
};

constexpr std::string_view SHELLS = "bash zsh fish";

std::vector<Flag> flagsOf(const CLI::App& app) {
  std::vector<Flag> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->nonpositional()) continue;
    // Each command has --help; it is completed as one of all commands.
    if (app.get_parent() != nullptr && option == app.get_help_ptr()) continue;
    Flag flag;
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    flag.description = option->get_description();
    flag.takesValue = option->get_items_expected_max() > 0;
    flags.push_back(std::move(flag));
  }
  return flags;
}

std::vector<Command> commandsOf(const CLI::App& app) {
  std::vector<Command> commands;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_group().empty()) continue;  // hidden
    Command command{sub->get_name(), sub->get_description(), flagsOf(*sub)};
    for (const CLI::Option* option : sub->get_options()) {
      if (option->nonpositional()) continue;
      std::string name = option->get_name(true);
      command.takesModule |= name == "MODULE";
      command.takesFile |= name == "FILE" || name == "COMMAND";
      command.takesShell |= name == "SHELL";
    }
    commands.push_back(std::move(command));
  }
  return commands;
}

std::string namesOf(const std::vector<Flag>& flags) {
  std::vector<std::string> names;
  for (const Flag& flag : flags) names.insert(names.end(), flag.names.begin(), flag.names.end());
  return joined(names);
}

// For single quotes in a shell.
std::string shellQuoted(const std::string& text) {
  std::string out;
  for (char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out;
}

constexpr std::string_view MODULES =
    "bulkheadctl list --no-start --json 2>/dev/null |"
    " sed -n 's/^      \"name\": \"\\([A-Za-z0-9._-]*\\)\".*/\\1/p'";

std::string bash(const std::vector<Flag>& global, const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  std::string out =
      "# bash completion for bulkheadctl\n"
      "_bulkheadctl() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} command= words= i\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    [[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]}; break; }\n"
      "  done\n"
      "  COMPREPLY=()\n"
      "  case $command in\n";
  out += fmt::format("    '') words='{} {}' ;;\n", joined(names), namesOf(global));
  for (const Command& command : commands) {
    out += fmt::format("    {})\n      words='{} {}'\n", command.name, namesOf(command.flags),
                       namesOf(global));
    if (command.takesModule) out += fmt::format("      [[ $cur == -* ]] || words=$({})\n", MODULES);
    if (command.takesShell) out += fmt::format("      [[ $cur == -* ]] || words='{}'\n", SHELLS);
    if (command.takesFile)
      out += "      [[ $cur == -* ]] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n";
    out += "      ;;\n";
  }
  return out +
         "  esac\n"
         "  local found\n"
         "  mapfile -t found < <(compgen -W \"$words\" -- \"$cur\")\n"
         "  COMPREPLY+=(\"${found[@]}\")\n"
         "}\n"
         "complete -F _bulkheadctl bulkheadctl\n";
}

std::string zsh(const std::vector<Flag>& global, const std::vector<Command>& commands) {
  auto described = [](std::string text) {
    std::string out;
    for (char c : shellQuoted(text)) {
      if (c == ':' || c == '[' || c == ']') out += '\\';
      out += c;
    }
    return out;
  };
  auto flags = [&](const std::vector<Flag>& list) {
    std::string out;
    for (const Flag& flag : list)
      for (const std::string& name : flag.names)
        out += fmt::format(" \\\n        '{}[{}]{}'", name, described(flag.description),
                           flag.takesValue ? ":value:_files" : "");
    return out;
  };
  std::string out = "#compdef bulkheadctl\n_bulkheadctl() {\n  local -a commands\n  commands=(\n";
  for (const Command& command : commands)
    out += fmt::format("    '{}:{}'\n", command.name, described(command.description));
  out += "  )\n  local context state line\n  typeset -A opt_args\n  _arguments -C" + flags(global) +
         " \\\n        '1: :->command' '*:: :->arguments'\n"
         "  case $state in\n"
         "    command) _describe -t commands command commands ;;\n"
         "    arguments)\n"
         "      case $line[1] in\n";
  for (const Command& command : commands) {
    out += fmt::format("        {})\n          _arguments{}{}", command.name, flags(command.flags),
                       flags(global));
    if (command.takesModule)
      out += fmt::format(" \\\n        '1:module:($({}))'", shellQuoted(std::string(MODULES)));
    if (command.takesFile) out += " \\\n        '*:file:_files'";
    if (command.takesShell) out += fmt::format(" \\\n        '1:shell:({})'", SHELLS);
    out += "\n          ;;\n";
  }
  return out + "      esac\n      ;;\n  esac\n}\n_bulkheadctl \"$@\"\n";
}

std::string fish(const std::vector<Flag>& global, const std::vector<Command>& commands) {
  std::string out = "# fish completion for bulkheadctl\ncomplete -c bulkheadctl -f\n";
  auto flags = [&](const std::vector<Flag>& list, const std::string& condition) {
    for (const Flag& flag : list) {
      out += "complete -c bulkheadctl" + condition;
      for (const std::string& name : flag.names)
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (flag.takesValue) out += " -r -F";
      out += fmt::format(" -d '{}'\n", shellQuoted(flag.description));
    }
  };
  flags(global, "");
  for (const Command& command : commands) {
    out += fmt::format("complete -c bulkheadctl -n __fish_use_subcommand -a {} -d '{}'\n",
                       command.name, shellQuoted(command.description));
    std::string condition = fmt::format(" -n '__fish_seen_subcommand_from {}'", command.name);
    flags(command.flags, condition);
    if (command.takesModule)
      out += fmt::format("complete -c bulkheadctl{} -a '({})'\n", condition,
                         shellQuoted(std::string(MODULES)));
    if (command.takesFile) out += fmt::format("complete -c bulkheadctl{} -F\n", condition);
    if (command.takesShell)
      out += fmt::format("complete -c bulkheadctl{} -a '{}'\n", condition, SHELLS);
  }
  return out;
}

std::string words(const std::vector<Flag>& global, const std::vector<Command>& commands) {
  std::string out;
  for (const Flag& flag : global)
    for (const std::string& name : flag.names) out += name + "\n";
  for (const Command& command : commands) {
    out += command.name + "\n";
    for (const Flag& flag : command.flags)
      for (const std::string& name : flag.names) out += name + "\n";
  }
  return out;
}

}  // namespace

int completion(const CLI::App& app, const std::string& shell) {
  auto global = flagsOf(app);
  auto commands = commandsOf(app);
  std::string text = shell == "bash"   ? bash(global, commands)
                     : shell == "zsh"  ? zsh(global, commands)
                     : shell == "fish" ? fish(global, commands)
                                       : words(global, commands);
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
  return SUCCESS;
}

}  // namespace bulkhead::ctl
