// SPDX-License-Identifier: BSD-2-Clause
//
// What a worker may do, as an operator writes it. bulkhead.policy(5) describes the language; this
// header is its meaning as plain values, and how they are read from files.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/result.h"

namespace bulkhead::sandbox {

/// A path that a policy names. `optional` (written -/path) means: no complaint when it is missing.
struct PolicyPath {
  std::string path;
  bool optional = false;
  bool operator==(const PolicyPath&) const = default;
};

enum class NetworkAccess { None, Unix, Client };
enum class ViolationAction { Deny, Kill, Log };
enum class WorkerSharing { Process, Consumer };

/// One allowed destination of a connect(): the supervisor makes the connection.
struct Destination {
  enum class Kind { Unix, Tcp };
  Kind kind = Kind::Unix;
  std::string path;        ///< Unix: the socket's path, absolute
  std::string host;        ///< Tcp: a name, an address, or an address with a prefix length
  std::uint16_t port = 0;  ///< Tcp
  bool operator==(const Destination&) const = default;
};

/// What [Layers] can name.
inline constexpr std::string_view LAYER_NAMES[] = {
    "no-new-privs",  // nothing that is run gains rights, and no core is written
    "limits",        // resource limits
    "userns",        // a user namespace: no say over the user's other processes
    "netns",         // a network namespace without interfaces
    "ipcns",         // System V objects of the worker's own
    "mountns",       // no files are there but the policy's
    "capabilities",  // no privilege, whoever the host is
    "landlock",      // opens no paths but the policy's
    "mdwe",          // memory is writable or code, never both
    "seccomp",       // no system calls but the policy's
    "broker",        // the supervisor makes connections and reports what was refused
    "cgroup",        // a scope of the service manager's, with MemoryMax=, TasksMax= and CPUQuota=
};

/// What Connect= can name instead of a socket's path.
struct NamedSocket {
  std::string_view name;  ///< with its @
  std::string_view path;
  std::string_view reason;
};
inline constexpr NamedSocket NAMED_SOCKETS[] = {
    {"@pcscd", "/run/pcscd/pcscd.comm", "smart card readers"},
    {"@pkcsslotd", "/run/pkcsslotd.socket", "opencryptoki's slot daemon"},
    {"@tpm2-abrmd", "/run/dbus/system_bus_socket",
     "the TPM's resource manager, by way of the whole system bus"},
};

/// A limit that may be absent ("infinity").
using Limit = std::optional<std::uint64_t>;

/// A policy in force for one module: every key with its value, defaults included.
/// Plain value; copies are independent.
struct Policy {
  std::string name;  ///< file name without .policy; "built-in" for none

  // [Module]
  std::vector<std::string> match;  ///< glob patterns on the module's file name

  // [Worker]
  std::map<std::string, std::string> environment;
  std::vector<std::string> passEnvironment;
  std::chrono::milliseconds startTimeout{10'000};
  std::chrono::milliseconds callTimeout{60'000};                  ///< zero: none
  std::map<std::string, std::chrono::milliseconds> callTimeouts;  ///< by C_ name; zero: none
  std::chrono::milliseconds stopTimeout{3'000};
  std::uint32_t startLimitBurst = 5;
  std::chrono::milliseconds startLimitInterval{60'000};
  std::string workingDirectory = "/";
  bool serialize = false;
  WorkerSharing share = WorkerSharing::Process;

  // [Limits]
  Limit memoryMax;  ///< bytes; scope where there is a manager, RLIMIT_AS always
  Limit tasksMax;
  Limit cpuQuotaPercent;
  Limit limitNoFile = 512;
  Limit limitFsize = std::uint64_t{64} << 20;
  Limit limitMemlock = std::uint64_t{8} << 20;
  Limit limitStack;
  std::uint64_t maxMessage = std::uint64_t{64} << 20;  ///< bytes in one message, either way

  // [Filesystem]
  std::vector<PolicyPath> readOnlyPaths;
  std::vector<PolicyPath> readWritePaths;
  std::vector<PolicyPath> execPaths;
  std::vector<PolicyPath> devices;

  // [Network]
  NetworkAccess network = NetworkAccess::None;
  std::vector<Destination> connect;

  // [Syscalls]
  /// Names of system calls that are allowed, groups expanded, removals done. Reading a file settles
  /// it from the two members below, from whether there are readWritePaths, and from `network`.
  std::set<std::string> syscalls;
  std::vector<std::string> systemCallFilter;  ///< the words of SystemCallFilter=, in order
  bool systemCallDefaults = true;  ///< the default groups hold too; an empty assignment ends that
  ViolationAction violationAction = ViolationAction::Deny;
  std::uint32_t violationLimit = 100;  ///< violations after which the worker is killed; 0: never

  // [Layers] What stands in neither list is not used at all.
  std::vector<std::string> require;  ///< no worker without them
  std::vector<std::string> prefer;   ///< used where they can be had

  // [Mechanisms]
  std::vector<std::uint64_t> flatMechanisms;

  /// Where each key's value came from: "Section.Key" -> "file:line", in the order of reading; what
  /// is absent is a default.
  std::map<std::string, std::vector<std::string>> origin;
};

/// What `%` specifiers stand for: %h home, %u user name, %U numeric user id, %t runtime directory.
struct Specifiers {
  std::string home;
  std::string userName;
  std::string userId;
  std::string runtimeDirectory;
};

/// The specifiers of the present process: home from the password database, not from $HOME.
Specifiers currentSpecifiers();

/// A module as policies are chosen for it.
struct ModuleIdentity {
  std::string name;  ///< the .module file's name without its ending
  std::string path;  ///< the module's file
};

/// Finds and reads the policy of a module.
///
/// `directories` come earliest first; the first that holds NAME.policy wins for the main file, and
/// drop-ins NAME.policy.d/*.conf of all directories are read over it in the order of their file
/// names, an earlier directory's file hiding a later one's of the same name. NAME is the module's
/// name; if no directory has it, the first file whose Match= fits the module's file name; else
/// "default"; else the built-in default. Whatever is chosen is read over builtInPolicy(), so that a
/// file says only what its module has beyond it, and an empty assignment takes that away too.
/// Drop-ins of the chosen policy's name come first, those of the module's name, where that is
/// another, after them: MODULE.policy.d/ adds to default.policy for one module.
///
/// Any unknown section, key, group, system call, specifier or malformed value is an error that
/// names file, line and key, and suggests what may have been meant. A file of another module fails
/// this one only when its Match= can't be known: it may have been meant for it.
///
/// A file is refused when others than root and the present user own it or can write it, or its
/// directory, or the directory that a symbolic link leads to. A sticky directory such as /tmp may
/// be writable by all: nobody can replace our file there, and a file of somebody else is refused. A
/// link to /dev/null is an empty file: it hides those behind it.
///
/// Two things are added at the end: the module's own file to execPaths where these don't reach it,
/// and with Network=client what the resolver reads, while the netns layer goes. Connect= without a
/// Network= that allows it is an error. When there are several errors, yields the first and says
/// how many follow.
Result<Policy> loadPolicy(const ModuleIdentity& module, const std::vector<std::string>& directories,
                          const Specifiers& specifiers);

/// Reads one file over `policy`. The building block of loadPolicy() and of `bulkheadctl check`:
/// yields every error of the file, one line each, rather than the first.
std::vector<Error> readPolicyFile(const std::string& path, const Specifiers& specifiers,
                                  Policy& policy);

/// The same on text that is already in memory; `name` stands for the file in messages. Fuzzed.
std::vector<Error> readPolicyText(std::string_view text, const std::string& name,
                                  const Specifiers& specifiers, Policy& policy);

/// Every key of the language as "Section.Key", section by section.
std::vector<std::string> policyKeys();

/// The policy of a module that has none: compute, and read what libraries and locales need.
Policy builtInPolicy();

/// BULKHEAD_POLICIES split at colons when set and the process is not AT_SECURE, else
/// /etc/bulkhead/policies and the vendor directory that was fixed at build time.
std::vector<std::string> policyDirectories();

}  // namespace bulkhead::sandbox
