// SPDX-License-Identifier: BSD-2-Clause
//
// bulkheadctl: what an operator asks and tells bulkhead. The command line is defined here and
// nowhere else; completions come from the definition, and a test holds the manual page against it.
#include <CLI/CLI.hpp>

#include <algorithm>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/run.h"
#include "ctl/terminal.h"

namespace {

using namespace bulkhead::ctl;

int run(int argc, char** argv) {
  // What follows -- is a command of somebody else's, whose options are none of ours.
  std::vector<std::string> command;
  char** end = std::find_if(argv, argv + argc, [](char* a) { return std::string_view(a) == "--"; });
  bool hasCommand = end != argv + argc;
  if (hasCommand) command.assign(end + 1, argv + argc);
  argc = static_cast<int>(end - argv);

  Options options;
  std::string module, shell;
  std::vector<std::string> files;
  AdoptOptions adoption;
  bool noStart = false;

  CLI::App app(
      "Shows, checks and tries the confinement of PKCS#11 modules.\n"
      "Exit status: 0 nothing is wrong, 1 something is, 2 the command line is.\n",
      "bulkheadctl");
  app.set_version_flag("--version", "bulkheadctl " BULKHEAD_VERSION, "Print the version and exit");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_flag("--json", options.json, "Print JSON for programs");
  app.add_option("--program", options.program,
                 "See the modules as the program of this name does (enable-in, disable-in)");

  auto* listing = app.add_subcommand("list", "List the modules, their slots and tokens");
  listing->add_flag("--no-start", noStart, "Start no module: leave out slots and tokens");

  auto withModule = [&](CLI::App* sub, bool required = true) {
    auto* option = sub->add_option("MODULE", module, "The name of a .module file, without .module");
    if (required) option->required();
    return sub;
  };
  auto* showing = withModule(app.add_subcommand(
      "show", "Show the policy in force for a module, and where each key comes from"));
  auto* explaining = withModule(app.add_subcommand(
      "explain", "Explain what a module can read, write and reach on this machine"));
  auto* checking =
      app.add_subcommand("check", "Check all policies and module files, or those given");
  checking->add_option("FILE", files, "A .policy, .conf or .module file");
  auto* judging =
      withModule(app.add_subcommand("security", "Score how much a hostile module could do"), false);
  auto* trying = withModule(
      app.add_subcommand("try", "Start a module, list its slots, and report what was refused"));
  auto* tracing = withModule(app.add_subcommand(
      "trace", "Run a command with a module in learning mode, and print a policy"));
  // For the help and the completion; what is given is behind -- and never parsed.
  std::vector<std::string> unparsed;
  tracing->add_option("COMMAND", unparsed, "After --: a program that uses the module by bulkhead");

  auto adopting = [&](CLI::App* sub, const char* all) {
    sub->add_option("MODULE", adoption.modules, "Names of modules");
    sub->add_flag("--all", adoption.all, all);
    sub->add_flag("--dry-run", adoption.dryRun, "Say what would be done, and do nothing");
    sub->add_option("--directory", adoption.directory,
                    "Where the override files are (default: " BULKHEAD_P11_SYSTEM_MODULES ")");
    return sub;
  };
  auto* taking = adopting(
      app.add_subcommand("adopt", "Hide modules from programs that do not go through bulkhead"),
      "All modules that are configured");
  auto* giving = adopting(app.add_subcommand("release", "Undo what adopt did"),
                          "All modules that were adopted");

  auto* completing = app.add_subcommand("completion", "Print the completion for a shell");
  completing->add_option("SHELL", shell, "bash, zsh, fish or words")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish", "words"}));
  auto* probing = app.add_subcommand("probe", "Load the proxy and report, for list and try");
  probing->group("");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    int status = app.exit(error, std::cout, std::cerr);
    return status == 0 ? SUCCESS : USAGE;
  }
  auto wrong = [](const char* what) {
    complain(what);
    return USAGE;
  };
  if (hasCommand && !tracing->parsed()) return wrong("only trace takes a command after --");
  if (*listing) return list(options, !noStart);
  if (*showing) return show(options, module);
  if (*explaining) return explain(options, module);
  if (*checking) return check(options, files);
  if (*judging) return security(options, module);
  if (*trying) return tryModule(options, module);
  if (*tracing) {
    if (command.empty() || !unparsed.empty())
      return wrong("trace takes a command after --: bulkheadctl trace MODULE -- COMMAND...");
    return trace(options, module, command);
  }
  if (*taking || *giving) {
    if (adoption.all == !adoption.modules.empty())
      return wrong("name modules, or give --all, and not both");
    if (adoption.directory.empty()) adoption.directory = BULKHEAD_P11_SYSTEM_MODULES;
    return *taking ? adopt(options, adoption) : release(options, adoption);
  }
  if (*completing) return completion(app, shell);
  return probe();
}

}  // namespace

int main(int argc, char** argv) {
  int status;
  try {
    status = run(argc, argv);
  } catch (const std::exception& error) {
    complain(error.what());
    return TROUBLE;
  }
  if (!flushed()) {
    complain("standard output can't be written");
    return TROUBLE;
  }
  return status;
}
