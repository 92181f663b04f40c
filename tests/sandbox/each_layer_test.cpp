// SPDX-License-Identifier: BSD-2-Clause
//
// Which layers stop what, each alone. Every property's attempt is made once without any layer,
// where it must get through, else it shows nothing, and then with each layer by itself. What comes
// out is compared with the expectation beside the property, and printed as Markdown.
//
// A module without layers can do harm. So each host runs in namespaces of its own, which end with
// it: processes, mounts, network, names, System V objects; what is left to break is its own.
//
// each-layer-test --readme prints the short table that README.md has; each-layer-test ATTEMPT
// [LAYER...] makes one attempt and says what came of it.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "sandbox/confine.h"
#include "tests/hostile/outside.h"
#include "tests/hostile/properties.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

using Layers = std::vector<std::string>;
using Answers = std::map<std::string, std::string>;  // by attempt

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}
bool among(const std::string& word, const std::string& list) {
  auto all = words(list);
  return std::find(all.begin(), all.end(), word) != all.end();
}
std::string joined(const std::vector<std::string>& all, const char* between = " ") {
  std::string text;
  for (auto& one : all) text += (text.empty() ? "" : between) + one;
  return text;
}

// What a layer can't be had without: the kernel takes filters and Landlock from the unprivileged
// only with no_new_privs, and other namespaces only in a user namespace of theirs.
Layers needs(const std::string& layer) {
  if (layer == "landlock" || layer == "seccomp") return {"no-new-privs"};
  if (layer == "netns" || layer == "ipcns" || layer == "mountns") return {"userns"};
  // It is a way to answer what the filter refuses.
  if (layer == "broker") return {"no-new-privs", "seccomp"};
  return {};
}

// Attempts whose effect is beyond a child of the worker, or is seen from outside alone.
bool wantsItsOwn(const std::string& attempt) {
  return among(attempt,
               "mount umount kill-supervisor kill-group kill-all own-by-signal priority-host int80 "
               "x32 descriptors") ||
         attempt.starts_with("sibling-");
}

// ---- a world of its own ----

void write(const char* path, const std::string& text) {
  Descriptor file(::open(path, O_WRONLY | O_CLOEXEC));
  (void)!::write(file.get(), text.data(), text.size());
}

// Enters namespaces of its own, and says why it can't.
std::string enter() {
  int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC;
  uid_t user = ::geteuid();
  gid_t group = ::getegid();
  if (user != 0) flags |= CLONE_NEWUSER;
  if (::unshare(flags) != 0) return std::string("unshare: ") + ::strerror(errno);
  if (user != 0) {
    write("/proc/self/setgroups", "deny");
    write("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1\n");
    write("/proc/self/gid_map", std::to_string(group) + " " + std::to_string(group) + " 1\n");
  }
  return {};
}

// The directories of what is tested: a source tree may lie where furnish() mounts something else.
class Tested {
 public:
  Tested() {
    for (const char* file : {"BULKHEAD_PROXY", "BULKHEAD_WORKER", "HOSTILE_MODULE"})
      keep(std::filesystem::path(variable(file)).parent_path());
    std::istringstream policies(variable("BULKHEAD_POLICIES"));
    for (std::string one; std::getline(policies, one, ':');) keep(one);
  }
  // Puts those that are gone back where they were.
  std::string putBack() const {
    for (auto& [path, directory] : kept_) {
      if (::access(path.c_str(), F_OK) == 0) continue;
      std::error_code error;
      std::filesystem::create_directories(path, error);
      std::string from = "/proc/self/fd/" + std::to_string(directory.get());
      if (error || ::mount(from.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
        return "bind " + path + ": " + ::strerror(error ? error.value() : errno);
    }
    return {};
  }

 private:
  static std::string variable(const char* name) {
    const char* value = ::getenv(name);
    return value == nullptr ? "" : value;
  }
  void keep(const std::string& path) {
    kept_.emplace_back(path, Descriptor(::open(path.c_str(), O_PATH | O_CLOEXEC)));
  }

  std::vector<std::pair<std::string, Descriptor>> kept_;
};

// The rest, as its first process's child; then no more rights than its user has.
std::string furnish() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("proc", "/proc", "proc", 0, nullptr) != 0)
    return std::string("mount: ") + ::strerror(errno);
  Tested tested;
  for (const char* path : {"/tmp", "/dev/shm", "/usr/local/lib"})
    if (::mount("tmpfs", path, "tmpfs", 0, "mode=1777") != 0)
      return std::string("mount ") + path + ": " + ::strerror(errno);
  if (std::string why = tested.putBack(); !why.empty()) return why;
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq loopback{};
  ::strcpy(loopback.ifr_name, "lo");
  loopback.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &loopback) != 0)
    return std::string("lo: ") + ::strerror(errno);
  if (::geteuid() != 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    if (::syscall(SYS_capset, &header, none) != 0) return "capset";
  }
  ::setenv("TMPDIR", "/tmp", 1);
  return {};
}

// ---- one host ----

std::string policyOf(const Layers& layers, const Outside& outside) {
  return outside.sections() +
         "[Syscalls]\nViolationLimit=0\n"
         "[Layers]\nRequire=\nPrefer=\nRequire=" +
         joined(layers) + "\n";
}

std::string tryIn(const std::string& plan, const Layers& layers, const std::string& list) {
  Rig rig("warning");
  Outside outside(rig);
  Secrets secrets;
  bool late = plan.find("sibling-") != std::string::npos;
  rig.configure("try:" + plan + (late ? "@C_GenerateRandom" : "@ctor"),
                "StartTimeoutSec=300\n" + outside.variables(), policyOf(layers, outside));
  if (late) {
    rig.addNeighbour();
    rig.setup().addDropIn(rig.good(), "[Layers]\nRequire=\nPrefer=\n");
  }
  rig.setup().directory().write("writable/list", list);
  if (rig.initialize() != CKR_OK) return "why: not initialised";
  if (late) {
    pid_t pid = test::workerOf(rig.good());
    std::string maps = test::readFile("/proc/" + std::to_string(pid) + "/maps");
    rig.setup().directory().write("writable/sibling",
                                  std::to_string(pid) + " " + maps.substr(0, maps.find('-')));
  }
  if (test::slots(rig.functions()).size() < (late ? 2U : 1U))
    return rig.log().find("cannot start") == std::string::npos ? "dead" : rig.log();
  std::string text;
  CK_RV rv = rig.random(rig.open(rig.evilSlot()), text);
  if (rv == CKR_DEVICE_REMOVED) return "dead";
  if (rv != CKR_OK) return "returns " + std::to_string(rv);
  // The kernel calls it a success to have signalled nobody.
  if (among(plan, "kill-all own-by-signal") && text == "ok" && outside.felt() == 0) return "unfelt";
  if (plan == "sibling-kill" && text == "ok" &&
      !test::eventually([&] { return test::workerOf(rig.good()) <= 0; }))
    return "alive";
  return text;
}

// Ends with whoever started it, the test being ended among the cases.
pid_t forkMortal() {
  pid_t child = ::fork();
  if (child == 0) (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
  return child;
}

// In namespaces that end with it. "why: " is in front of what has nothing to do with the attempt.
std::string tryApart(const std::string& plan, const Layers& layers, const std::string& list = {}) {
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return "why: pipe";
  pid_t outer = forkMortal();
  if (outer == 0) {
    auto say = [&](const std::string& text) {
      (void)!::write(pipe[1], text.data(), text.size());
      ::_exit(0);
    };
    if (auto why = enter(); !why.empty()) say("why: " + why);
    pid_t first = forkMortal();
    if (first == 0) {
      // The namespace's first process only waits; the host is another, as hosts are.
      if (auto why = furnish(); !why.empty()) say("why: " + why);
      pid_t host = ::fork();
      if (host == 0) {
        try {
          say(tryIn(plan, layers, list));
        } catch (const std::exception& e) {
          say(std::string("why: ") + e.what());
        }
      }
      while (::waitpid(-1, nullptr, 0) != host) {
      }
      ::_exit(0);
    }
    ::waitpid(first, nullptr, 0);
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string text;
  char part[4096];
  for (ssize_t n; (n = ::read(pipe[0], part, sizeof part)) > 0;)
    text.append(part, static_cast<std::size_t>(n));
  ::close(pipe[0]);
  ::waitpid(outer, nullptr, 0);
  return text;
}

Answers tryAll(const Layers& layers) {
  Answers answers;
  std::string together;
  for (const Property& p : PROPERTIES) {
    if (wantsItsOwn(p.attempt))
      answers[p.attempt] = tryApart(p.attempt, layers);
    else
      together += std::string(p.attempt) + "\n";
  }
  std::istringstream all(tryApart("listed", layers, together));
  for (std::string one; std::getline(all, one, ';');) {
    auto equals = one.find('=');
    answers[one.substr(0, equals)] = equals == std::string::npos ? "" : one.substr(equals + 1);
  }
  return answers;
}

// ---- the matrix ----

struct Column {
  std::string layer;
  Answers alone, without;  // with what it needs; with that only
};

struct Row {
  const Property* property;
  std::string control;
  bool open;  // it got through without any layer
  std::vector<std::string> stoppedBy;
};

// "CannotReadTheHostsMemory" as an operator says it, after "a module cannot".
std::string spoken(const std::string& name) {
  std::string text;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z' && !text.empty()) text += ' ';
    text += static_cast<char>(::tolower(c));
  }
  for (const char* owner : {"host", "supervisor", "sibling", "init", "root", "kernel"}) {
    auto at = text.find(std::string(" ") + owner + "s ");
    if (at != std::string::npos) text.insert(at + 1 + std::strlen(owner), "'");
  }
  return text.starts_with("cannot ") ? text.substr(7) : text;
}

void printWhole(const std::vector<Row>& rows, const Layers& columns) {
  std::printf("| a module cannot |");
  for (auto& layer : columns) std::printf(" %s |", layer.c_str());
  std::printf(" alone |\n|---|");
  for (std::size_t i = 0; i <= columns.size(); ++i) std::printf(":-:|");
  std::printf("\n");
  for (const Row& row : rows) {
    std::printf("| %s |", spoken(row.property->name).c_str());
    for (auto& layer : columns) {
      bool stops =
          std::find(row.stoppedBy.begin(), row.stoppedBy.end(), layer) != row.stoppedBy.end();
      std::printf(" %s |", stops ? "x" : " ");
    }
    std::printf(" %s |\n", row.open                          ? ""
                           : row.property->unless[0] != '\0' ? row.property->unless
                                                             : row.control.c_str());
  }
}

// What is stopped by the same layers is one line.
void printShort(const std::vector<Row>& rows, const Layers& columns) {
  std::vector<std::pair<Layers, Layers>> groups;
  for (const Row& row : rows) {
    if (!row.open || row.stoppedBy.empty()) continue;
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](auto& group) { return group.first == row.stoppedBy; });
    if (found == groups.end()) found = groups.insert(groups.end(), {row.stoppedBy, {}});
    found->second.push_back(spoken(row.property->name));
  }
  std::stable_sort(groups.begin(), groups.end(),
                   [](auto& a, auto& b) { return a.first.size() > b.first.size(); });
  std::printf("| a module cannot |");
  for (auto& layer : columns) std::printf(" %s |", layer.c_str());
  std::printf("\n|---|");
  for (std::size_t i = 0; i < columns.size(); ++i) std::printf(":-:|");
  std::printf("\n");
  for (auto& [layers, names] : groups) {
    std::printf("| %s |", joined(names, "; ").c_str());
    for (auto& layer : columns)
      std::printf(" %s |",
                  std::find(layers.begin(), layers.end(), layer) != layers.end() ? "x" : " ");
    std::printf("\n");
  }
}

// What is expected of a property here.
struct Expectation {
  Layers sure, perhaps;
};

Expectation expectationOf(const Property& p) {
  Expectation expected;
  for (std::string layer : words(p.stops)) {
    // Who has no capability has none to drop.
    if (layer == "capabilities" && ::geteuid() != 0) continue;
    if (layer.front() == '(')
      expected.perhaps.push_back(layer.substr(1, layer.size() - 2));
    else
      expected.sure.push_back(layer);
  }
  return expected;
}

// Whether the reason beside the property explains that nothing got through.
bool explains(const std::string& reason, const std::string& answer) {
  if (reason == ROOT) return ::geteuid() != 0 || answer == "EPERM";
  if (reason == KERNEL)
    return among(answer, "ENOENT ENOSYS ENODEV ENXIO EINVAL EAFNOSUPPORT EOPNOTSUPP EPERM EACCES");
  if (reason == TRACER)
    return ::atoi(test::readFile("/proc/sys/kernel/yama/ptrace_scope").c_str()) > 0;
  return !reason.empty();
}

// The layers that the expectations know: one that came later is shown and not judged.
std::set<std::string> judged() {
  std::set<std::string> all;
  for (const Property& p : PROPERTIES) {
    Expectation expected = expectationOf(p);
    all.insert(expected.sure.begin(), expected.sure.end());
    all.insert(expected.perhaps.begin(), expected.perhaps.end());
  }
  return all;
}

int run(bool readme) {
  int failures = 0;
  auto fails = [&](const std::string& what) {
    std::fprintf(stderr, "FAILED: %s\n", what.c_str());
    ++failures;
  };
  (void)Rig::library();

  if (std::string first = tryApart("unix", {}); first.starts_with("why: ")) {
    std::fprintf(stderr, "skipped: no world of its own to try this in: %s\n", first.c_str());
    return 77;
  }
  Answers control = tryAll({});
  std::vector<Column> columns;
  std::map<Layers, Answers> known{{{}, control}};
  for (const sandbox::Layer& layer : sandbox::layers()) {
    if (auto r = layer.probe(); !r) {
      std::fprintf(stderr, "this machine has no %s: %s\n", layer.name, r.error().message().c_str());
      continue;
    }
    Layers with = needs(layer.name);
    if (!known.count(with)) known[with] = tryAll(with);
    const Answers& without = known[with];
    with.push_back(layer.name);
    std::fprintf(stderr, "trying %s\n", joined(with).c_str());
    if (!known.count(with)) known[with] = tryAll(with);
    columns.push_back({layer.name, known[with], without});
  }

  std::set<std::string> judge = judged();
  std::vector<Row> rows;
  for (const Property& p : PROPERTIES) {
    auto through = [&](const Answers& answers) {
      auto found = answers.find(p.attempt);
      return found != answers.end() && among(found->second, p.open);
    };
    Row row{&p, control[p.attempt], through(control), {}};
    if (p.unless == GRANTED) continue;
    if (!row.open && !explains(p.unless, row.control))
      fails(std::string(p.name) + " shows nothing: without any layer, too, the module sees " +
            row.control);
    for (const Column& column : columns) {
      auto found = column.alone.find(p.attempt);
      if (found == column.alone.end() || found->second.empty() || found->second == "not tried")
        fails(std::string(p.name) + " was not tried with " + column.layer);
      // What the layers that it needs stop without it is theirs.
      if (row.open && through(column.without) && !through(column.alone))
        row.stoppedBy.push_back(column.layer);
    }
    if (row.open && row.stoppedBy.empty()) fails(std::string(p.name) + " is stopped by no layer");
    Expectation expected = expectationOf(p);
    for (const Column& column : columns) {
      auto has = [&](const Layers& all) {
        return std::find(all.begin(), all.end(), column.layer) != all.end();
      };
      if (!row.open || !judge.count(column.layer) || has(expected.perhaps) ||
          has(row.stoppedBy) == has(expected.sure))
        continue;
      fails(std::string(p.name) + (has(expected.sure) ? " is not" : " is") + " stopped by " +
            column.layer + " alone: the module sees " + column.alone.at(p.attempt));
    }
    rows.push_back(std::move(row));
  }

  Layers names;
  for (const Column& column : columns)
    if (std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
          return std::find(row.stoppedBy.begin(), row.stoppedBy.end(), column.layer) !=
                 row.stoppedBy.end();
        }))
      names.push_back(column.layer);
  readme ? printShort(rows, names) : printWhole(rows, names);
  std::fprintf(stderr, "%zu properties, %d failures\n", rows.size(), failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bulkhead::hostile

int main(int argc, char** argv) {
  using namespace bulkhead::hostile;
  std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || arguments[0] == "--readme") return run(!arguments.empty());
  (void)Rig::library();
  std::string list;
  for (const Property& p : PROPERTIES)
    if (!wantsItsOwn(p.attempt)) list += std::string(p.attempt) + "\n";
  std::puts(tryApart(arguments[0], {arguments.begin() + 1, arguments.end()}, list).c_str());
  return 0;
}
