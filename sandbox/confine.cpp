// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "sandbox/filter.h"
#include "sandbox/libraries.h"
#include "sandbox/mounts.h"
#include "sandbox/scope.h"

namespace bulkhead::sandbox {
namespace {

// Newer than the headers: linux/prctl.h of Linux 6.3.
constexpr int SET_MDWE = 65;
constexpr unsigned long MDWE_REFUSE_EXEC_GAIN = 1;

Result<void> always() {
  return {};
}

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

Result<void> writeFile(const char* path, const std::string& text) {
  Descriptor file(::open(path, O_WRONLY | O_CLOEXEC));
  if (!file) return systemError("open", path);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return systemError("write", path);
  return {};
}

Result<void> lower(int resource, const char* name, Limit limit) {
  if (!limit) return {};
  rlimit present;
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &present) != 0)
    return systemError("getrlimit", name);
  // A host may have been given less already.
  rlim_t value = std::min<rlim_t>(*limit, present.rlim_max);
  rlimit wanted{value, value};
  if (::setrlimit(static_cast<__rlimit_resource_t>(resource), &wanted) != 0)
    return systemError("setrlimit", name);
  return {};
}

// ---- the layers, in the order of the table below ----

Result<void> noNewPrivileges(Confinement&) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return systemError("prctl NO_NEW_PRIVS");
  return {};
}

Result<void> noPrivilegesNoCores(Confinement& c) {
  if (auto r = noNewPrivileges(c); !r) return r;
  // The process stays dumpable in the kernel's sense: else a supervisor without privileges could
  // not look at the arguments of the system calls that it answers.
  // Of one byte: the kernel writes none then, and pipes none to a program either, which a limit of
  // zero does not keep it from. See core(5).
  return lower(RLIMIT_CORE, "RLIMIT_CORE", 1);
}

// Whether another process can be had with room for `tasks` of them.
bool canForkWithin(rlim_t tasks, rlim_t ceiling) {
  rlimit limit{tasks, ceiling};
  if (::setrlimit(RLIMIT_NPROC, &limit) != 0) return false;
  pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  return child > 0 && ::waitpid(child, nullptr, 0) == child;
}

// The kernel counts the processes of a user, so this is a limit of the worker alone only in a user
// namespace of its own, on Linux 5.14 or newer; and it does not count root's. Where it is neither,
// the limit stays as it was: one that refuses threads because of the user's other programs is worse
// than none.
Result<void> limitTasks(Limit tasks) {
  rlimit before;
  if (!tasks || ::getrlimit(RLIMIT_NPROC, &before) != 0) return {};
  bool counts = !canForkWithin(1, before.rlim_max), alone = canForkWithin(2, before.rlim_max);
  if (counts && alone) return lower(RLIMIT_NPROC, "RLIMIT_NPROC", tasks);
  if (::setrlimit(RLIMIT_NPROC, &before) != 0) return systemError("setrlimit", "RLIMIT_NPROC");
  return {};
}

Result<void> limits(Confinement& c) {
  const Policy& p = c.policy;
  Result<void> r = lower(RLIMIT_NOFILE, "RLIMIT_NOFILE", p.limitNoFile);
  if (r) r = lower(RLIMIT_FSIZE, "RLIMIT_FSIZE", p.limitFsize);
  if (r) r = lower(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", p.limitMemlock);
  if (r) r = lower(RLIMIT_STACK, "RLIMIT_STACK", p.limitStack);
  if (r) r = limitTasks(p.tasksMax);
#ifndef BULKHEAD_SANITIZED
  // Sanitizers reserve terabytes of address space.
  if (r) r = lower(RLIMIT_AS, "RLIMIT_AS", p.memoryMax);
#endif
  return r;
}

Result<void> probeUserNamespace() {
  pid_t child = ::fork();
  if (child < 0) return systemError("fork");
  if (child == 0) ::_exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return systemError("waitpid");
  if (!WIFEXITED(status)) return Error{"unshare user namespace", 0, "the probe died"};
  if (WEXITSTATUS(status) != 0) return Error{"unshare user namespace", WEXITSTATUS(status), {}};
  return {};
}

Result<void> userNamespace(Confinement&) {
  std::string uid = std::to_string(::geteuid()), gid = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER) != 0) return systemError("unshare user namespace");
  // The kernel wants setgroups off before it takes a group map from the unprivileged; groups that
  // the host has stay in effect.
  if (auto r = writeFile("/proc/self/setgroups", "deny"); !r) return r;
  if (auto r = writeFile("/proc/self/uid_map", uid + " " + uid + " 1\n"); !r) return r;
  return writeFile("/proc/self/gid_map", gid + " " + gid + " 1\n");
}

Result<void> networkNamespace(Confinement&) {
  if (::unshare(CLONE_NEWNET) != 0) return systemError("unshare network namespace");
  return {};
}

Result<void> ipcNamespace(Confinement&) {
  if (::unshare(CLONE_NEWIPC) != 0) return systemError("unshare IPC namespace");
  return {};
}

Result<void> mountNamespace(Confinement& c) {
  if (auto r = applyMounts(pathRules(c.policy, c.modulePath)); !r) return r;
  if (::chdir(c.policy.workingDirectory.c_str()) != 0) (void)!::chdir("/");
  return {};
}

Result<void> dropCapabilities(Confinement&) {
  // Without CAP_SETPCAP the bounding set stays; no_new_privs makes it moot.
  for (int cap = 0; ::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; ++cap) continue;
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  (void)::prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                       SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                       SECBIT_NO_CAP_AMBIENT_RAISE |
                                       SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capset, &header, none) != 0) return systemError("capset");
  return {};
}

Result<void> probeLandlock() {
  auto version = landlockVersion();
  if (!version) return version.error();
  return {};
}

Result<void> landlock(Confinement& c) {
  return applyLandlock(pathRules(c.policy, c.modulePath),
                       c.policy.network == NetworkAccess::Client);
}

Result<void> probeMemoryDenyWriteExecute() {
  if (::prctl(SET_MDWE + 1, 0, 0, 0, 0) < 0) return systemError("prctl MDWE");
  return {};
}

Result<void> memoryDenyWriteExecute(Confinement&) {
  if (::prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0) return systemError("prctl MDWE");
  return {};
}

Result<void> probeSeccomp() {
  if (::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0) return systemError("prctl GET_SECCOMP");
  return {};
}

Result<void> seccomp(Confinement& c) {
  if (wanted(c.policy, "broker") != Wanted::No) {
    auto probed = probeNotification();
    if (!probed) c.unasked = probed.error();
    if (probed) {
      auto asking = compileFilter(c.policy, Refusal::Notify);
      if (!asking) return asking.error();
      auto listener = installFilter(*asking, true);
      if (listener) {
        c.listener = std::move(*listener);
        return {};
      }
      // A host under a supervisor of its own (a container manager's) cannot have a second listener.
      if (listener.error().code != EBUSY) return listener.error();
      c.unasked = Error{"seccomp user notification", EBUSY, "another listener is above"};
    }
  }
  bool kill = c.policy.violationAction == ViolationAction::Kill;
  auto silent = compileFilter(c.policy, kill ? Refusal::Kill : Refusal::Errno);
  if (!silent) return silent.error();
  auto installed = installFilter(*silent, false);
  if (!installed) return installed.error();
  return {};
}

// Came with the filter, or did not.
Result<void> broker(Confinement& c) {
  if (c.listener) return {};
  return c.unasked;
}

constexpr Layer LAYERS[] = {
    {"no-new-privs", "nothing that it runs gains rights, and no core of it is written", always,
     noPrivilegesNoCores},
    {"userns", "its user has no say over other processes of that user", probeUserNamespace,
     userNamespace},
    {"limits", "memory, descriptors and file sizes are bounded", always, limits},
    {"netns", "there is no network, nor anybody's abstract sockets", probeUserNamespace,
     networkNamespace},
    {"ipcns", "shared memory and message queues of others are out of sight", probeUserNamespace,
     ipcNamespace},
    {"mountns", "only the files that the policy names are there", probeUserNamespace,
     mountNamespace},
    {"capabilities", "not even root has a privilege in it", always, dropCapabilities},
    {"landlock", "only the files that the policy names can be opened", probeLandlock, landlock},
    {"mdwe", "no memory that was writable becomes code", probeMemoryDenyWriteExecute,
     memoryDenyWriteExecute},
    {"seccomp", "only the system calls that the policy names reach the kernel", probeSeccomp,
     seccomp},
    {"broker", "what is refused is reported; the supervisor makes connections and changes modes",
     probeNotification, broker},
    {"cgroup", "the service manager bounds memory, tasks and processor time", probeScope, nullptr},
};

// What the loader, the C library, locales and time zones read: needed by any module, secret to
// nobody.
constexpr const char* COMMON[] = {
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib32",
    "/usr/libx32",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/nsswitch.conf",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
    "/etc/crypto-policies",
    "/usr/share/crypto-policies",
    "/etc/gcrypt",
    "/usr/share/locale",
    "/usr/share/i18n",
    "/usr/share/zoneinfo",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/crypto",
    "/proc/sys/kernel/random",
    "/proc/sys/kernel/ngroups_max",
    "/sys/devices/system/cpu",
};

}  // namespace

std::span<const Layer> layers() {
  return LAYERS;
}

std::vector<PathRule> pathRules(const Policy& policy, const std::string& modulePath) {
  std::vector<PathRule> rules;
  for (const char* path : COMMON) rules.push_back({path, PathAccess::Read, true});
  rules.push_back({"/dev/null", PathAccess::Device, true});
  // Itself: libraries look at their own maps and status.
  rules.push_back({"/proc/self", PathAccess::Read, true});
  rules.push_back({modulePath, PathAccess::Read, true});
  for (std::string& library : librariesOf(modulePath))
    rules.push_back({std::move(library), PathAccess::Read, true});
  auto add = [&](const std::vector<PolicyPath>& paths, PathAccess access) {
    for (const PolicyPath& one : paths) rules.push_back({one.path, access, one.optional});
  };
  add(policy.readOnlyPaths, PathAccess::Read);
  add(policy.readWritePaths, PathAccess::ReadWrite);
  add(policy.execPaths, PathAccess::Execute);
  add(policy.devices, PathAccess::Device);
  for (const Destination& destination : policy.connect)
    if (destination.kind == Destination::Kind::Unix)
      rules.push_back({destination.path, PathAccess::Socket, true});
  if (policy.network == NetworkAccess::Client)
    for (const char* path : {"/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf",
                             "/etc/services", "/etc/protocols"})
      rules.push_back({path, PathAccess::Read, true});
  return rules;
}

Wanted wanted(const Policy& policy, std::string_view layer) {
  if (contains(policy.require, layer)) return Wanted::Required;
  if (!contains(policy.prefer, layer)) return Wanted::No;
  return layer == "cgroup" && !hasScopeLimits(policy) ? Wanted::No : Wanted::Preferred;
}

Result<void> confine(Confinement& confinement,
                     const std::function<void(const Layer&, const Error&)>& degraded) {
  for (const Layer& layer : LAYERS) {
    Wanted want = wanted(confinement.policy, layer.name);
    if (want == Wanted::No || layer.apply == nullptr) continue;
    Result<void> r = layer.apply(confinement);
    if (r) continue;
    if (r.error().operation == POLICY_PATH) return r;
    if (want == Wanted::Required)
      return Error{"required layer " + std::string(layer.name), r.error().code,
                   r.error().operation + (r.error().detail.empty() ? "" : " " + r.error().detail)};
    degraded(layer, r.error());
  }
  return {};
}

void setEnvironment(const Policy& policy) {
  std::vector<std::pair<std::string, std::string>> kept;
  for (const std::string& name : policy.passEnvironment) {
    if (const char* value = ::getenv(name.c_str())) kept.emplace_back(name, value);
  }
  // What the process was born with stays readable, in its memory and in /proc/self/environ.
  for (char** one = ::environ; one != nullptr && *one != nullptr; ++one)
    ::explicit_bzero(*one, ::strlen(*one));
  ::clearenv();
  for (auto& [name, value] : kept) ::setenv(name.c_str(), value.c_str(), 1);
  // Names are asked for by TCP, which has a connect() that the supervisor can check.
  if (policy.network == NetworkAccess::Client) ::setenv("RES_OPTIONS", "use-vc", 1);
  for (auto& [name, value] : policy.environment) ::setenv(name.c_str(), value.c_str(), 1);
}

}  // namespace bulkhead::sandbox
