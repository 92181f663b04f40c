// SPDX-License-Identifier: BSD-2-Clause
//
// `trace`: runs somebody's program with one module in learning mode. A drop-in that lasts as long
// as the program takes the calls that open paths, and all that the policy grants beyond the basic
// groups, back from the filter, so that each goes to the supervisor, which logs it and lets it
// through. What was logged is then held against the policy of today.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "ctl/commands.h"
#include "ctl/modules.h"
#include "ctl/run.h"
#include "ctl/terminal.h"
#include "sandbox/confine.h"
#include "sandbox/syscall_groups.h"

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;
using sandbox::PathAccess;
using sandbox::PathRule;
using sandbox::Policy;

// Calls that name a path for which a policy needs a line. What only asks about a path (stat,
// access, readlink) is not among them: Landlock has no say over it.
constexpr std::string_view OPENING[] = {"open", "openat"};
constexpr std::string_view CHANGING[] = {"creat",    "mkdir",     "mkdirat",  "rmdir", "unlink",
                                         "unlinkat", "rename",    "renameat", "link",  "linkat",
                                         "symlink",  "symlinkat", "renameat2"};
constexpr std::string_view RUNNING[] = {"execve", "execveat"};
// What every worker may do; not worth asking the supervisor each time.
constexpr std::string_view BASIC_GROUPS[] = {"@worker", "@thread", "@fs-read"};

template <std::size_t N>
bool isAmong(const std::string_view (&list)[N], std::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

std::set<std::string> callsOfGroups(const std::vector<std::string>& groups) {
  std::set<std::string> names;
  for (const std::string& group : groups)
    if (const auto* found = sandbox::findSyscallGroup(group))
      for (std::string_view name : sandbox::syscallsOf(*found)) names.emplace(name);
  return names;
}

std::string learningDropIn(const Policy& policy) {
  std::set<std::string> basic = callsOfGroups({std::begin(BASIC_GROUPS), std::end(BASIC_GROUPS)});
  std::set<std::string> asked;
  for (std::string_view name : OPENING) asked.emplace(name);
  for (std::string_view name : CHANGING) asked.emplace(name);
  for (std::string_view name : RUNNING) asked.emplace(name);
  for (const std::string& name : policy.syscalls)
    if (!basic.contains(name)) asked.insert(name);
  std::string text =
      "[Layers]\n"
      "Require=~-landlock ~-mountns ~-netns\n"
      "Prefer=~-landlock ~-mountns ~-netns\n"
      "Require=broker\n"
      "[Network]\n"
      "Connect=\n"
      "[Syscalls]\n"
      "SystemCallAction=log\n"
      "ViolationLimit=0\n";
  // A line at a time: the parser's lines are bounded.
  for (const std::string& name : asked) text += "SystemCallFilter=~" + name + "\n";
  return text;
}

// How often, by when in a module's life.
using Phases = std::map<std::string, unsigned>;

// By the function that was running; the worker opens a module for its list of functions.
std::string phaseOf(const std::string& function) {
  if (function == "C_GetFunctionList") return "load";
  if (function == "C_Initialize" || function == "C_Finalize") return function;
  return function.empty() ? "no call" : "calls";
}

unsigned sumOf(const Phases& phases) {
  unsigned sum = 0;
  for (const auto& [phase, times] : phases) sum += times;
  return sum;
}

void add(Phases& to, const Phases& more) {
  for (const auto& [phase, times] : more) to[phase] += times;
}

struct PathUse {
  Phases phases;
  unsigned reads = 0;
  unsigned writes = 0;   // of the file itself
  unsigned changes = 0;  // of the directory it is in: made, removed, renamed
  unsigned runs = 0;
};

struct Recording {
  std::map<std::string, PathUse> paths;
  std::map<std::string, Phases> connects;
  std::map<std::string, Phases> calls;  // other calls than those that open paths and connect
  unsigned relative = 0;                // paths below a directory that was open
  std::vector<std::string> failures;
  bool seen = false;

  void add(const LogLine& line, const std::string& workingDirectory);
};

// `0xffffff9c, "/etc/x", 0x80000, ...` taken apart.
struct Arguments {
  std::vector<std::uint64_t> before, after;
  std::optional<std::string> path;
};

std::vector<std::uint64_t> numbersIn(const std::string& text) {
  std::vector<std::uint64_t> numbers;
  for (std::size_t at = text.find("0x"); at != std::string::npos; at = text.find("0x", at + 2))
    numbers.push_back(std::strtoull(text.c_str() + at, nullptr, 16));
  return numbers;
}

Arguments parseArguments(const std::string& text) {
  Arguments parsed;
  auto open = text.find('"');
  auto close = text.rfind('"');
  if (open == std::string::npos || close == open) return parsed;
  parsed.before = numbersIn(text.substr(0, open));
  parsed.after = numbersIn(text.substr(close + 1));
  parsed.path = text.substr(open + 1, close - open - 1);
  return parsed;
}

void Recording::add(const LogLine& line, const std::string& workingDirectory) {
  if (line.kind == LogLine::Kind::Failure) failures.push_back(line.text);
  if (line.kind == LogLine::Kind::Death) seen = true;
  if (line.kind != LogLine::Kind::Violation) return;
  seen = true;
  std::string phase = phaseOf(line.function);
  if (line.syscall == "connect") {
    ++connects[line.arguments][phase];
    return;
  }
  bool opening = isAmong(OPENING, line.syscall);
  bool changing = isAmong(CHANGING, line.syscall);
  bool running = isAmong(RUNNING, line.syscall);
  if (!opening) ++calls[line.syscall][phase];
  if (!opening && !changing && !running) return;
  Arguments arguments = parseArguments(line.arguments);
  if (!arguments.path || arguments.path->empty()) return;
  std::string path = *arguments.path;
  if (!path.starts_with('/')) {
    bool fromHere = arguments.before.empty() ||
                    static_cast<int>(static_cast<std::uint32_t>(arguments.before[0])) == AT_FDCWD;
    if (!fromHere) {
      ++relative;
      return;
    }
    path = workingDirectory + "/" + path;
  }
  path = fs::path(path).lexically_normal().string();
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  PathUse& use = paths[path];
  ++use.phases[phase];
  std::uint64_t flags = arguments.after.empty() ? 0 : arguments.after[0];
  if (running)
    ++use.runs;
  else if (changing || (flags & O_CREAT) != 0)
    ++use.changes;
  else if ((flags & O_ACCMODE) != O_RDONLY)
    ++use.writes;
  else
    ++use.reads;
}

bool isBelow(const std::string& path, const std::string& directory) {
  return directory == "/" || path == directory ||
         (path.starts_with(directory) && path[directory.size()] == '/');
}

std::string realOf(const std::string& path) {
  std::error_code error;
  auto real = fs::weakly_canonical(path, error);
  return error ? path : real.string();
}

bool allows(PathAccess access, const PathUse& use) {
  if (use.writes + use.changes > 0)
    return access == PathAccess::ReadWrite || (access == PathAccess::Device && use.changes == 0);
  return use.runs == 0 || access == PathAccess::Execute;
}

const PathRule* covering(const std::vector<PathRule>& rules, const std::string& path,
                         const PathUse& use) {
  std::string real = realOf(path);
  for (const PathRule& rule : rules)
    if (rule.access != PathAccess::Socket && allows(rule.access, use) &&
        (isBelow(path, rule.path) || isBelow(real, rule.path) || isBelow(real, realOf(rule.path))))
      return &rule;
  return nullptr;
}

constexpr const char* keyOf(PathAccess access) {
  switch (access) {
    case PathAccess::Read:
      return "ReadOnlyPaths";
    case PathAccess::ReadWrite:
      return "ReadWritePaths";
    case PathAccess::Execute:
      return "ExecPaths";
    case PathAccess::Device:
      return "Devices";
    case PathAccess::Socket:
      break;
  }
  return "ReadOnlyPaths";
}

// A line of the policy to be, and why it is there.
struct Line {
  std::string key;
  std::string word;
  Phases phases;
  bool missing = false;  // from the policy of today
};

struct Learned {
  std::vector<Line> paths;
  std::vector<Line> connects;
  std::vector<Line> calls;
  std::vector<std::string> absent;   // was looked for, is not there, and today's policy has no line
  std::vector<std::string> unused;   // lines of today that nothing needed
  std::vector<std::string> remarks;  // what can't be granted
  std::string network;
};

std::string withHome(const std::string& path) {
  std::string home = sandbox::currentSpecifiers().home;
  std::string escaped;
  for (char c : path) escaped += c == '%' ? "%%" : std::string(1, c);
  if (home.size() < 2 || !isBelow(path, home)) return escaped;
  return "%h" + escaped.substr(home.size());
}

void count(std::vector<Line>& lines, std::string key, std::string word, const Phases& uses,
           bool missing) {
  for (Line& line : lines)
    if (line.key == key && line.word == word) {
      add(line.phases, uses);
      return;
    }
  lines.push_back({std::move(key), std::move(word), uses, missing});
}

void learnPaths(const Recording& recording, const Policy& policy, const std::string& modulePath,
                Learned& learned) {
  auto builtIn = sandbox::pathRules(sandbox::builtInPolicy(), modulePath);
  auto today = sandbox::pathRules(policy, modulePath);
  today.erase(std::remove_if(today.begin(), today.end(),
                             [&](const PathRule& rule) {
                               return std::any_of(
                                   builtIn.begin(), builtIn.end(), [&](const PathRule& other) {
                                     return other.path == rule.path && other.access == rule.access;
                                   });
                             }),
              today.end());
  std::set<std::string> used;
  std::map<std::string, Phases> written;
  for (const auto& [path, use] : recording.paths) {
    const Phases& uses = use.phases;
    if (covering(builtIn, path, use) != nullptr) continue;
    if (const PathRule* rule = covering(today, path, use)) {
      used.insert(std::string(keyOf(rule->access)) + "=" + rule->path);
      count(learned.paths, keyOf(rule->access), (rule->optional ? "-" : "") + withHome(rule->path),
            uses, false);
      continue;
    }
    std::error_code error;
    bool there = fs::exists(path, error);
    if (use.changes > 0) {
      // Even where it is gone again: what makes a file needs its directory.
      add(written[fs::path(path).parent_path().string()], uses);
    } else if (!there) {
      learned.absent.push_back(path);
    } else if (use.writes > 0) {
      bool device = path.starts_with("/dev/") && !fs::is_regular_file(path, error);
      count(learned.paths, device ? "Devices" : "ReadWritePaths", withHome(path), uses, true);
    } else {
      count(learned.paths, use.runs > 0 ? "ExecPaths" : "ReadOnlyPaths", withHome(path), uses,
            true);
    }
  }
  for (const auto& [directory, uses] : written)
    count(learned.paths, "ReadWritePaths", withHome(directory), uses, true);
  // A line below another that grants at least as much says nothing.
  std::vector<Line> lines = learned.paths;
  std::erase_if(learned.paths, [&](const Line& line) {
    return line.missing && std::any_of(lines.begin(), lines.end(), [&](const Line& other) {
             std::string word = other.word.starts_with('-') ? other.word.substr(1) : other.word;
             return word != line.word && isBelow(line.word, word) &&
                    (other.key == line.key ||
                     (other.key == "ReadWritePaths" && line.key == "ReadOnlyPaths"));
           });
  });

  for (const PathRule& rule : today) {
    std::string line = std::string(keyOf(rule.access)) + "=" + rule.path;
    if (rule.path != modulePath && !used.contains(line)) learned.unused.push_back(line);
  }
}

// "inet:192.0.2.1:443" in the policy language; nothing for what it has no word for.
std::optional<std::string> destinationOf(const std::string& logged) {
  if (logged.starts_with("unix:/")) return withHome(logged);
  if (logged.starts_with("inet:")) return "tcp:" + logged.substr(5);
  if (logged.starts_with("inet6:")) return "tcp:" + logged.substr(6);
  return std::nullopt;
}

void learnConnects(const Recording& recording, const Policy& policy, Learned& learned) {
  auto today = valueOf(policy, "Network.Connect");
  std::set<std::string> used;
  bool tcp = false;
  for (const auto& entry : recording.connects) {
    const auto& logged = entry.first;  // clang 14 captures no structured bindings
    const auto& uses = entry.second;
    auto destination = destinationOf(logged);
    if (!destination) {
      learned.remarks.push_back(
          fmt::format("connect({}), {} time(s): no policy can allow it", logged, sumOf(uses)));
      continue;
    }
    tcp |= destination->starts_with("tcp:");
    // /var/run is where /run is, for programs of another time.
    std::string plain = *destination;
    if (plain.starts_with("unix:/var/run/")) plain = "unix:" + plain.substr(9);
    auto same = std::find_if(today.begin(), today.end(), [&](const std::string& word) {
      return word == *destination || word == plain || word == logged;
    });
    // A host's name or a network can't be told from an address here.
    bool perhaps = destination->starts_with("tcp:") &&
                   std::any_of(today.begin(), today.end(), [&](const std::string& word) {
                     return word.starts_with("tcp:") &&
                            word.substr(word.rfind(':')) == logged.substr(logged.rfind(':')) &&
                            (word.find('/') != std::string::npos ||
                             word.find_first_of("ghijklmnopqrstuvwxyz", 4) != std::string::npos);
                   });
    if (same != today.end()) used.insert(*same);
    if (perhaps)
      for (const std::string& word : today)
        if (word.starts_with("tcp:")) used.insert(word);
    count(learned.connects, "Connect", plain, uses, same == today.end() && !perhaps);
  }
  for (const std::string& word : today)
    if (!used.contains(word)) learned.unused.push_back("Connect=" + word);
  learned.network = tcp ? "client" : learned.connects.empty() ? "none" : "unix";
}

void learnCalls(const Recording& recording, const Policy& policy, Learned& learned) {
  std::vector<std::string> groups(std::begin(BASIC_GROUPS), std::end(BASIC_GROUPS));
  bool writes = std::any_of(learned.paths.begin(), learned.paths.end(),
                            [](const Line& line) { return line.key == "ReadWritePaths"; });
  if (writes) groups.emplace_back("@fs-write");
  if (learned.network == "unix") groups.emplace_back("@unix-client");
  if (learned.network == "client") groups.emplace_back("@net-client");
  auto given = callsOfGroups(groups);

  std::set<std::string> needed;
  for (const auto& [name, uses] : recording.calls) {
    if (auto why = sandbox::whyNeverGrantable(name); !why.empty()) {
      learned.remarks.push_back(
          fmt::format("{}(), {} time(s): no policy can allow it, it {}", name, sumOf(uses), why));
      continue;
    }
    bool today = policy.syscalls.contains(name);
    if (given.contains(name)) {
      // A call that its group has, and that was reported all the same, had arguments that no policy
      // lets through, or was asked for by this trace.
      if (!today) count(learned.calls, "", name, uses, false);
      continue;
    }
    if (name == "socket") {
      // Loggers make one, try to connect it to what the sandbox has not, and go on without.
      learned.remarks.push_back(
          fmt::format("socket(), {} time(s): and no connection that it would be for", sumOf(uses)));
      continue;
    }
    std::string word = name;
    for (const auto& group : sandbox::syscallGroups()) {
      auto names = sandbox::syscallsOf(group);
      if (std::find(names.begin(), names.end(), name) == names.end()) continue;
      word = group.name;
      break;
    }
    needed.insert(word);
    count(learned.calls, "SystemCallFilter", word, uses, !today);
  }
  std::erase_if(learned.calls, [](const Line& line) { return line.key.empty(); });
  for (const std::string& word : policy.systemCallFilter) {
    if (word.starts_with('~') || needed.contains(word)) continue;
    bool traced = true;
    if (word.starts_with('@'))
      traced = !isAmong(BASIC_GROUPS, word);
    else
      traced = !callsOfGroups({"@worker", "@thread", "@fs-read"}).contains(word);
    if (traced) learned.unused.push_back("SystemCallFilter=" + word);
  }
}

std::string policyText(const KnownModule& module, const std::vector<std::string>& command,
                       const Recording& recording, const Learned& learned) {
  std::string text = fmt::format(
      "# What {} used while this ran:\n#   {}\n"
      "# Read it before you use it: what did not happen then is not in it.\n",
      module.config.name, printable(joined(command)));
  auto section = [&](const std::vector<Line>& lines) {
    for (const Line& line : lines) {
      std::string when;
      for (const auto& [phase, times] : line.phases)
        when += fmt::format("{}{} in {}", when.empty() ? "" : ", ", times, phase);
      text += fmt::format("# {}{}\n{}={}\n", when,
                          line.missing ? "; missing from the policy of today" : "", line.key,
                          printable(line.word));
    }
  };
  text += "\n[Filesystem]\n";
  section(learned.paths);
  text += "\n[Network]\nNetwork=" + learned.network + "\n";
  section(learned.connects);
  if (!learned.calls.empty()) {
    text += "\n[Syscalls]\n";
    section(learned.calls);
  }
  auto remarks = [&](const char* heading, const std::vector<std::string>& lines) {
    if (lines.empty()) return;
    text += fmt::format("\n# {}\n", heading);
    for (const std::string& line : lines) text += "#   " + printable(line) + "\n";
  };
  remarks("In the policy of today, and not used:", learned.unused);
  remarks("Looked for, and not there:", learned.absent);
  remarks("Done, and beyond any policy:", learned.remarks);
  if (recording.relative != 0)
    text += fmt::format(
        "\n# {} path(s) were opened below a directory that was open already; the lines above have\n"
        "# that directory.\n",
        recording.relative);
  return text;
}

Json linesJson(const std::vector<Line>& lines) {
  Json out = Json::array();
  for (const Line& line : lines)
    out.push_back({{"key", line.key},
                   {"value", line.word},
                   {"count", sumOf(line.phases)},
                   {"phases", line.phases},
                   {"missing", line.missing}});
  return out;
}

// Reads the program's stderr until nobody has it open any more: lines of the log are recorded,
// others passed on. A program that leaves others behind is not waited for.
int record(pid_t pid, const Descriptor& input, const std::string& module,
           const std::string& workingDirectory, Recording& recording) {
  std::string pending;
  auto take = [&](std::string_view line) {
    auto parsed = parseLogLine(line);
    if (!parsed) {
      (void)!::write(STDERR_FILENO, line.data(), line.size());
      (void)!::write(STDERR_FILENO, "\n", 1);
    } else if (parsed->module == module) {
      recording.add(*parsed, workingDirectory);
    }
  };
  std::optional<std::chrono::steady_clock::time_point> until;
  std::optional<int> status;
  for (;;) {
    pollfd one{input.get(), POLLIN, 0};
    int ready = ::poll(&one, 1, 100);
    if (!status) {
      siginfo_t info{};
      if (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid == pid) {
        status = awaitProgram(pid);
        until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
      }
    }
    if (ready > 0) {
      char buffer[4096];
      ssize_t n = ::read(input.get(), buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      pending.append(buffer, static_cast<std::size_t>(n));
      std::size_t end;
      while ((end = pending.find('\n')) != std::string::npos) {
        take(std::string_view(pending).substr(0, end));
        pending.erase(0, end + 1);
      }
    } else if (until && std::chrono::steady_clock::now() > *until) {
      break;
    }
  }
  if (!pending.empty()) take(pending);
  return status ? *status : awaitProgram(pid);
}

}  // namespace

int trace(const Options& options, const std::string& name,
          const std::vector<std::string>& command) {
  Inventory inventory = takeInventory(options.program);
  auto found = inventory.find(name);
  if (!found) {
    complain(found.error().message());
    return TROUBLE;
  }
  const KnownModule& module = **found;
  if (!module.policy) {
    complain(findingOf(module.policy.error()).text());
    return TROUBLE;
  }
  const Policy& policy = module.policy.value();
  if (std::string why = whyMissing("broker"); !why.empty()) {
    complain("nothing can be traced here: " + why);
    return TROUBLE;
  }

  auto directory = TemporaryDirectory::make();
  if (!directory) {
    complain(directory.error().message());
    return TROUBLE;
  }
  std::string dropIns = directory->path() + "/" + name + ".policy.d";
  std::error_code error;
  fs::create_directory(dropIns, error);
  // Drop-ins are read in the order of their names, and this one has to be the last.
  auto written = writeText(dropIns + "/zzzz-bulkheadctl-trace.conf", learningDropIn(policy));
  if (error || !written) {
    complain(error ? error.message() : written.error().message());
    return TROUBLE;
  }
  std::vector<std::string> directories = sandbox::policyDirectories();
  directories.insert(directories.begin(), directory->path());
  if (auto learning = sandbox::loadPolicy({name, module.config.path}, directories,
                                          sandbox::currentSpecifiers());
      !learning) {
    complain("the learning mode does not go with this policy: " +
             findingOf(learning.error()).text());
    return TROUBLE;
  }

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    complain(systemError("pipe").message());
    return TROUBLE;
  }
  Descriptor reading(ends[0]), writing(ends[1]);
  InterruptsIgnored interrupts;
  // Its output goes to our stderr: on stdout there is the policy and nothing else.
  auto started = startProgram(
      command, {{"BULKHEAD_POLICIES", joined(directories, ":")}, {"BULKHEAD_LOG", "debug"}},
      STDERR_FILENO, writing.get());
  writing.reset();
  if (!started) {
    complain(started.error().message());
    return TROUBLE;
  }
  Recording recording;
  int status = record(*started, reading, name, policy.workingDirectory, recording);
  for (const std::string& failure : recording.failures) complain(name + ": " + failure);
  if (status != 0) complain(fmt::format("{} ended with {}", command.front(), status));
  if (!recording.seen) {
    complain("no worker of " + name +
             " was started: the command has to load bulkhead, and without privileges of its own");
    return TROUBLE;
  }

  Learned learned;
  learnPaths(recording, policy, module.config.path, learned);
  learnConnects(recording, policy, learned);
  learnCalls(recording, policy, learned);
  std::string text = policyText(module, command, recording, learned);
  if (options.json) {
    printJson({{"module", name},
               {"policy", policy.name},
               {"command_status", status},
               {"paths", linesJson(learned.paths)},
               {"connects", linesJson(learned.connects)},
               {"network", learned.network},
               {"syscalls", linesJson(learned.calls)},
               {"unused", learned.unused},
               {"absent", learned.absent},
               {"remarks", learned.remarks},
               {"text", text}});
  } else {
    Terminal::standardOutput().print(text);
  }
  return SUCCESS;
}

}  // namespace bulkhead::ctl
