// SPDX-License-Identifier: BSD-2-Clause
//
// `check`: reads policies and module files as the product does and tells everything that is wrong,
// not only the first fault of the file that a module happens to need.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/run.h"
#include "ctl/terminal.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;
using sandbox::Policy;

struct Report {
  std::vector<Finding> errors;
  std::set<std::string> files;  // that were looked at

  void add(const Error& error) {
    Finding finding = findingOf(error);
    // One fault in a policy is found again by each module that has it.
    for (const Finding& known : errors)
      if (known.file == finding.file && known.line == finding.line &&
          (known.line != 0 || known.message == finding.message))
        return;
    errors.push_back(std::move(finding));
  }
};

std::vector<std::string> namesIn(const std::string& directory, std::string_view ending,
                                 Report* report) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  if (error) {
    if (report != nullptr && error != std::errc::no_such_file_or_directory)
      report->add(Error{directory, error.value(), {}});
    return names;
  }
  for (const fs::directory_entry& entry : entries) {
    std::string name = entry.path().filename().string();
    if (name.size() > ending.size() && name.ends_with(ending) && !name.starts_with('.'))
      names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What loadPolicy() would read for a policy of that name, in its order.
std::vector<std::string> filesOf(const std::string& name, const std::vector<std::string>& dirs,
                                 Report* report) {
  std::vector<std::string> files;
  for (const std::string& directory : dirs) {
    std::error_code error;
    std::string path = directory + "/" + name + ".policy";
    if (fs::symlink_status(path, error).type() == fs::file_type::not_found) continue;
    files.push_back(path);
    break;
  }
  std::map<std::string, std::string> dropIns;
  for (const std::string& directory : dirs) {
    std::string path = directory + "/" + name + ".policy.d";
    for (const std::string& file : namesIn(path, ".conf", report))
      dropIns.emplace(file, path + "/" + file);
  }
  for (const auto& [file, path] : dropIns) files.push_back(path);
  return files;
}

// The files that are read before a drop-in of `name`: those of another policy, where the module of
// that name has one.
std::vector<std::string> chain(const std::string& name, const std::vector<std::string>& dirs,
                               const std::map<std::string, std::string>& policyOfModule,
                               Report* report) {
  auto own = filesOf(name, dirs, report);
  bool main = !own.empty() && own.front().ends_with(".policy");
  if (main) return own;
  auto found = policyOfModule.find(name);
  std::string other = found == policyOfModule.end() ? "default" : found->second;
  if (other == name) return own;
  auto files = filesOf(other, dirs, nullptr);
  files.insert(files.end(), own.begin(), own.end());
  return files;
}

// Reads the chain and reports the errors of `only`, or of all files when that is empty.
void readChain(const std::vector<std::string>& files, const std::string& only, Report& report) {
  Policy policy = sandbox::builtInPolicy();
  auto specifiers = sandbox::currentSpecifiers();
  for (const std::string& file : files) {
    auto errors = sandbox::readPolicyFile(file, specifiers, policy);
    if (!only.empty() && file != only) continue;
    report.files.insert(file);
    for (const Error& error : errors) report.add(error);
  }
}

std::map<std::string, std::string> policiesOf(const Inventory& inventory) {
  std::map<std::string, std::string> names;
  for (const KnownModule& module : inventory.modules)
    if (module.policy && module.policy.value().name != "built-in")
      names[module.config.name] = module.policy.value().name;
  return names;
}

// A file by which p11-kit loads bulkhead: it should show what p11-kit does not.
void checkBulkhead(const Inventory& inventory, const proxy::SkippedModule& bulkhead,
                   const std::string& program, Report& report) {
  for (const KnownModule& module : inventory.modules) {
    if (sightOf(inventory, module.config.values, program) != Sight::Twice) continue;
    report.add(
        Error{bulkhead.files.front(), 0,
              fmt::format("p11-kit shows {} and bulkhead, which shows it once more; this file "
                          "needs 'module: bulkhead-adopted.so'",
                          module.config.name)});
    return;
  }
}

void checkEverything(const Options& options, Report& report) {
  Inventory inventory = takeInventory(options.program);
  auto directories = sandbox::policyDirectories();
  auto policies = policiesOf(inventory);
  std::set<std::string> names;
  for (const std::string& directory : directories) {
    for (const std::string& file : namesIn(directory, ".policy", &report))
      names.insert(file.substr(0, file.size() - std::string_view(".policy").size()));
    for (const std::string& file : namesIn(directory, ".policy.d", &report))
      names.insert(file.substr(0, file.size() - std::string_view(".policy.d").size()));
  }
  for (const std::string& name : names)
    readChain(chain(name, directories, policies, &report), {}, report);

  // What only shows when all files of a module are put together.
  for (const KnownModule& module : inventory.modules) {
    report.files.insert(module.config.files.begin(), module.config.files.end());
    if (!module.policy) report.add(module.policy.error());
  }
  for (const proxy::SkippedModule& skipped : inventory.skipped) {
    report.files.insert(skipped.files.begin(), skipped.files.end());
    if (skipped.kind == proxy::SkippedModule::Kind::Error) report.add(Error{skipped.reason, 0, {}});
    if (isBulkhead(skipped.values)) checkBulkhead(inventory, skipped, options.program, report);
  }
  for (const Error& warning : inventory.warnings) report.add(warning);
}

void checkFile(const std::string& given, const Options& options, Report& report) {
  std::error_code error;
  std::string path = fs::absolute(given, error).lexically_normal().string();
  if (error || !fs::exists(path, error)) {
    report.files.insert(path);
    report.add(Error{path, ENOENT, {}});
    return;
  }
  if (path.ends_with(".module")) {
    report.files.insert(path);
    auto text = readText(path);
    if (!text) return report.add(Error{path, text.error().code, {}});
    std::map<std::string, std::string> values;
    for (const Error& fault : proxy::parseModuleText(*text, path, values)) report.add(fault);
    return;
  }
  fs::path parent = fs::path(path).parent_path();
  std::string folder = parent.filename().string();
  if (!path.ends_with(".conf") || !folder.ends_with(".policy.d"))
    return readChain({path}, {}, report);
  // A drop-in can take away what the files before it gave, so it means nothing without them.
  std::string name = folder.substr(0, folder.size() - std::string_view(".policy.d").size());
  auto directories = sandbox::policyDirectories();
  directories.insert(directories.begin(), parent.parent_path().string());
  auto files = chain(name, directories, policiesOf(takeInventory(options.program)), nullptr);
  if (std::find(files.begin(), files.end(), path) == files.end()) files.push_back(path);
  readChain(files, path, report);
}

}  // namespace

int check(const Options& options, const std::vector<std::string>& files) {
  Report report;
  if (files.empty()) checkEverything(options, report);
  for (const std::string& file : files) checkFile(file, options, report);

  // In JSON the errors are the result; for people a result of errors only belongs to stderr.
  if (options.json) {
    Json out{{"files", report.files}, {"errors", Json::array()}};
    for (const Finding& finding : report.errors) {
      Json one{{"file", finding.file}};
      one["line"] = finding.line == 0 ? Json(nullptr) : Json(finding.line);
      if (!finding.key.empty()) one["key"] = finding.key;
      one["message"] = finding.message;
      out["errors"].push_back(std::move(one));
    }
    printJson(out);
  } else {
    for (const Finding& finding : report.errors) {
      std::string line = printable(finding.text()) + "\n";
      (void)std::fwrite(line.data(), 1, line.size(), stderr);
    }
    if (report.errors.empty())
      Terminal::standardOutput().print(fmt::format(
          "{} file{} without a fault\n", report.files.size(), report.files.size() == 1 ? "" : "s"));
  }
  return report.errors.empty() ? SUCCESS : TROUBLE;
}

}  // namespace bulkhead::ctl
