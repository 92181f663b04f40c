// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox/scope.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <vector>

#include "ipc/descriptor.h"

namespace bulkhead::sandbox {
namespace {

using Clock = std::chrono::steady_clock;

// ---- libsystemd, by its functions' addresses ----

#define BULKHEAD_SD_BUS_FUNCTIONS(X) \
  X(sd_bus_new)                      \
  X(sd_bus_set_fd)                   \
  X(sd_bus_set_bus_client)           \
  X(sd_bus_start)                    \
  X(sd_bus_close_unref)              \
  X(sd_bus_match_signal_async)       \
  X(sd_bus_call_async)               \
  X(sd_bus_call_method_async)        \
  X(sd_bus_process)                  \
  X(sd_bus_wait)                     \
  X(sd_bus_message_new_method_call)  \
  X(sd_bus_message_append)           \
  X(sd_bus_message_open_container)   \
  X(sd_bus_message_close_container)  \
  X(sd_bus_message_read)             \
  X(sd_bus_message_get_error)        \
  X(sd_bus_message_unref)

struct LibSystemd {
#define X(name) decltype(&::name) name = nullptr;
  BULKHEAD_SD_BUS_FUNCTIONS(X)
#undef X
};

// Stays loaded once it is.
Result<LibSystemd> loadLibSystemd() {
  void* library = ::dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return Error{"no libsystemd", 0, ::dlerror()};
  LibSystemd sd;
#define X(name)                                                           \
  sd.name = reinterpret_cast<decltype(sd.name)>(::dlsym(library, #name)); \
  if (sd.name == nullptr) return Error{"libsystemd", 0, "it has no " #name};
  BULKHEAD_SD_BUS_FUNCTIONS(X)
#undef X
  return sd;
}

// ---- the managers ----

constexpr const char* BUS = "org.freedesktop.systemd1";
constexpr const char* PATH = "/org/freedesktop/systemd1";
constexpr const char* MANAGER = "org.freedesktop.systemd1.Manager";

Result<Descriptor> connectTo(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error{"connect", ENAMETOOLONG, path};
  path.copy(address.sun_path, path.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return systemError("socket");
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return systemError("connect", path);

  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return systemError("getsockopt", path);
  if (peer.uid != 0 && peer.uid != ::geteuid()) return Error{"connect", EPERM, path};
  // The number that the worker has here would there be somebody else's.
  if (peer.pid == 0) return Error{path, 0, "its manager is of another PID namespace"};
  return socket;
}

// A connection to the bus of the user's manager, or of the system's for root without one. Where
// these are is fixed: the environment is whoever's who started the host.
Result<Descriptor> connectToManager() {
  struct stat status;
  if (::stat("/run/systemd/system", &status) != 0)
    return Error{"no service manager", 0, "systemd is not running"};
  auto bus = connectTo("/run/user/" + std::to_string(::geteuid()) + "/bus");
  if (bus || ::geteuid() != 0) return bus;
  auto system = connectTo("/run/dbus/system_bus_socket");
  return system ? std::move(system) : std::move(bus);
}

// ---- the limits ----

// A cgroup of the worker for one controller.
struct Group {
  std::string path;  // below its hierarchy's root, as /proc has it
  std::string directory;
  bool unified = false;

  std::string read(const char* file) const {
    std::string text;
    std::ifstream in(directory + "/" + file);
    std::getline(in, text);
    return text;
  }
};

struct ScopeLimit {
  const char* key;
  const char* property;
  const char* controller;
  int resource;                     // that holds it, more or less, without a scope; -1 for none
  Limit (*wanted)(const Policy&);   // in the unit of the property
  Limit (*enforced)(const Group&);  // the same, as the kernel has it
};

Limit numberOf(const std::string& text) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// A quota and the period that it is of, in microseconds.
Limit share(const std::string& quota, const std::string& period) {
  Limit part = numberOf(quota), whole = numberOf(period);
  if (!part || !whole || *whole == 0) return std::nullopt;
  return *part * 1'000'000 / *whole;
}

constexpr ScopeLimit LIMITS[] = {
    {"MemoryMax=", "MemoryMax", "memory", RLIMIT_AS, [](const Policy& p) { return p.memoryMax; },
     [](const Group& g) {
       return numberOf(g.read(g.unified ? "memory.max" : "memory.limit_in_bytes"));
     }},
    {"TasksMax=", "TasksMax", "pids", RLIMIT_NPROC, [](const Policy& p) { return p.tasksMax; },
     [](const Group& g) { return numberOf(g.read("pids.max")); }},
    {"CPUQuota=", "CPUQuotaPerSecUSec", "cpu", -1,
     [](const Policy& p) {
       return p.cpuQuotaPercent ? Limit(*p.cpuQuotaPercent * 10'000) : std::nullopt;
     },
     [](const Group& g) {
       if (!g.unified) return share(g.read("cpu.cfs_quota_us"), g.read("cpu.cfs_period_us"));
       std::string both = g.read("cpu.max");
       auto blank = both.find(' ');
       return blank == std::string::npos ? Limit()
                                         : share(both.substr(0, blank), both.substr(blank + 1));
     }},
};

bool listHas(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// Where the kernel keeps what the controller does to the process: in a hierarchy of the
// controller's own or, where it has none, in the unified one.
std::optional<Group> groupOf(pid_t pid, const std::string& controller) {
  Group group;
  group.unified = true;
  std::ifstream groups("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(groups, line);) {
    auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string list = line.substr(first + 1, second - first - 1);
    if (list.empty() ? group.unified : listHas(list, controller)) {
      group.path = line.substr(second + 1);
      group.unified = list.empty();
    }
  }
  if (group.path.empty()) return std::nullopt;

  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream left(line.substr(0, line.find(" - ")));
    std::istringstream right(line.substr(std::min(line.find(" - ") + 3, line.size())));
    std::string skip, root, point, type, source, options;
    left >> skip >> skip >> skip >> root >> point;
    right >> type >> source >> options;
    if (group.unified ? type != "cgroup2" : type != "cgroup" || !listHas(options, controller))
      continue;
    if (root == "/") root.clear();
    if (!group.path.starts_with(root)) continue;
    group.directory = point + group.path.substr(root.size());
  }
  return group;
}

// Why the process is not in the scope for a controller; empty when it is.
std::string whyNotIn(const std::string& scope, const char* controller,
                     const std::optional<Group>& group) {
  if (!group) return "there is no controller " + std::string(controller);
  if (group->path.ends_with("/" + scope)) return {};
  return "the worker's cgroup for " + std::string(controller) + " is " + group->path;
}

// Why the kernel does not hold a limit; empty when it does.
std::string whyNotEnforced(const ScopeLimit& limit, std::uint64_t wanted, pid_t pid,
                           const std::string& scope) {
  auto group = groupOf(pid, limit.controller);
  if (std::string why = whyNotIn(scope, limit.controller, group); !why.empty()) return why;
  Limit enforced = limit.enforced(*group);
  if (enforced && *enforced <= wanted) return {};
  return "the controller " + std::string(limit.controller) + " does not have it";
}

void append(std::string& keys, const char* key) {
  keys += (keys.empty() ? "" : " ") + std::string(key);
}

Result<void> readBack(const Policy& policy, const std::string& scope, pid_t pid) {
  // What a manager of this kind keeps its units in, whatever they are limited in.
  constexpr const char* UNITS = "name=systemd";
  if (std::string why = whyNotIn(scope, UNITS, groupOf(pid, UNITS)); !why.empty())
    return Error{"scope", 0, why};
  std::string keys, first;
  for (const ScopeLimit& limit : LIMITS) {
    Limit wanted = limit.wanted(policy);
    std::string why = wanted ? whyNotEnforced(limit, *wanted, pid, scope) : "";
    if (why.empty()) continue;
    append(keys, limit.key);
    if (first.empty()) first = std::move(why);
  }
  if (keys.empty()) return {};
  return Error{keys + " accepted by the service manager and not enforced", 0, first};
}

// ---- the request ----

// What has become of the request for a scope.
struct Request {
  const LibSystemd& sd;
  std::string scope;
  bool done = false;
  std::string failure;

  void end(const char* why) {
    done = true;
    if (why != nullptr) failure = why;
  }
};

int onReply(sd_bus_message* message, void* data, sd_bus_error*) {
  auto& request = *static_cast<Request*>(data);
  if (const sd_bus_error* error = request.sd.sd_bus_message_get_error(message))
    request.end(error->message != nullptr ? error->message : error->name);
  return 0;
}

int onJobRemoved(sd_bus_message* message, void* data, sd_bus_error*) {
  auto& request = *static_cast<Request*>(data);
  std::uint32_t id = 0;
  const char *job = nullptr, *unit = nullptr, *result = nullptr;
  if (request.sd.sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) < 0) return 0;
  if (request.scope != unit) return 0;
  request.end(std::string_view(result) == "done" ? nullptr : result);
  return 0;
}

// 0, or the first error of the calls that are put in: sd-bus answers negative errno values.
class FirstError {
 public:
  FirstError& operator<<(int r) {
    if (code_ == 0 && r < 0) code_ = -r;
    return *this;
  }
  int code() const { return code_; }

 private:
  int code_ = 0;
};

Result<void> startScope(const LibSystemd& sd, Descriptor socket, const Policy& policy,
                        const std::string& scope, pid_t pid) {
  const auto deadline = Clock::now() + SCOPE_TIMEOUT;
  constexpr const char* WHAT = "the service manager";
  sd_bus* made = nullptr;
  if (int r = sd.sd_bus_new(&made); r < 0) return Error{WHAT, -r, {}};
  // Closing drops what is not sent yet. Flushing would wait for a peer that does not read.
  std::unique_ptr<sd_bus, decltype(sd.sd_bus_close_unref)> bus(made, sd.sd_bus_close_unref);
  FirstError error;
  error << sd.sd_bus_set_fd(made, socket.get(), socket.get());
  if (error.code() == 0) (void)socket.release();
  error << sd.sd_bus_set_bus_client(made, 1) << sd.sd_bus_start(made);

  Request request{sd, scope, false, {}};
  error << sd.sd_bus_match_signal_async(made, nullptr, BUS, PATH, MANAGER, "JobRemoved",
                                        onJobRemoved, nullptr, &request)
        << sd.sd_bus_call_method_async(made, nullptr, BUS, PATH, MANAGER, "Subscribe", onReply,
                                       &request, "");
  sd_bus_message* call = nullptr;
  error << sd.sd_bus_message_new_method_call(made, &call, BUS, PATH, MANAGER, "StartTransientUnit");
  std::unique_ptr<sd_bus_message, decltype(sd.sd_bus_message_unref)> owned(call,
                                                                           sd.sd_bus_message_unref);
  if (error.code() != 0) return Error{WHAT, error.code(), {}};

  error << sd.sd_bus_message_append(call, "ss", scope.c_str(), "fail")
        << sd.sd_bus_message_open_container(call, 'a', "(sv)")
        << sd.sd_bus_message_append(call, "(sv)", "Description", "s", "Worker of a PKCS#11 module")
        << sd.sd_bus_message_append(call, "(sv)", "PIDs", "au", 1U, static_cast<unsigned>(pid))
        // One whose worker was killed for its memory is not kept as failed.
        << sd.sd_bus_message_append(call, "(sv)", "CollectMode", "s", "inactive-or-failed");
  for (const ScopeLimit& limit : LIMITS)
    if (Limit wanted = limit.wanted(policy))
      error << sd.sd_bus_message_append(call, "(sv)", limit.property, "t", *wanted);
  // Else what is beyond the limit goes to the swap space, keys and PINs with it.
  if (policy.memoryMax)
    error << sd.sd_bus_message_append(call, "(sv)", "MemorySwapMax", "t", std::uint64_t{0});
  error << sd.sd_bus_message_close_container(call)
        << sd.sd_bus_message_append(call, "a(sa(sv))", 0U)
        << sd.sd_bus_call_async(made, nullptr, call, onReply, &request, 0);
  if (error.code() != 0) return Error{WHAT, error.code(), {}};

  while (!request.done) {
    auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
    if (left.count() <= 0) return Error{WHAT, ETIMEDOUT, {}};
    int r = sd.sd_bus_process(made, nullptr);
    if (r == 0) r = sd.sd_bus_wait(made, static_cast<std::uint64_t>(left.count()));
    if (r < 0 && r != -EINTR) return Error{WHAT, -r, {}};
  }
  if (!request.failure.empty()) return Error{WHAT, 0, request.failure};
  return {};
}

}  // namespace

bool hasScopeLimits(const Policy& policy) {
  return std::any_of(std::begin(LIMITS), std::end(LIMITS),
                     [&](const ScopeLimit& limit) { return limit.wanted(policy).has_value(); });
}

Result<void> probeScope() {
  auto bus = connectToManager();
  if (!bus) return bus.error();
  auto sd = loadLibSystemd();
  if (!sd) return sd.error();
  return {};
}

std::string scopeName(const std::string& module, pid_t pid) {
  constexpr std::size_t LONGEST = 48;  // four characters each, and a unit's name has 255 at most
  constexpr std::string_view PLAIN =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-";
  std::string name = "bulkhead-";
  for (char c : module.substr(0, LONGEST)) {
    if (PLAIN.find(c) != std::string_view::npos) {
      name += c;
      continue;
    }
    constexpr char DIGITS[] = "0123456789abcdef";
    auto byte = static_cast<unsigned char>(c);
    name += {'\\', 'x', DIGITS[byte >> 4], DIGITS[byte & 15]};
  }
  return name + "-" + std::to_string(pid) + ".scope";
}

Result<void> placeInScope(const Policy& policy, const std::string& module, pid_t pid) {
  auto bus = connectToManager();
  if (!bus) return bus.error();
  auto sd = loadLibSystemd();
  if (!sd) return sd.error();
  std::string scope = scopeName(module, pid);
  if (auto r = startScope(*sd, std::move(*bus), policy, scope, pid); !r) return r;
  return readBack(policy, scope, pid);
}

std::string openLimits(const Policy& policy, const std::string& module, pid_t pid) {
  std::string keys, scope = scopeName(module, pid);
  for (const ScopeLimit& limit : LIMITS) {
    Limit wanted = limit.wanted(policy);
    if (!wanted || whyNotEnforced(limit, *wanted, pid, scope).empty()) continue;
    rlimit own{};
    if (limit.resource >= 0 &&
        ::prlimit(pid, static_cast<decltype(RLIMIT_AS)>(limit.resource), nullptr, &own) == 0 &&
        own.rlim_cur <= *wanted)
      continue;
    append(keys, limit.key);
  }
  return keys;
}

}  // namespace bulkhead::sandbox
