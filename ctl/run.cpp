// SPDX-License-Identifier: BSD-2-Clause
#include "ctl/run.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <sstream>

#include "ctl/terminal.h"
#include "ipc/names.h"
#include "ipc/pkcs11.h"

namespace bulkhead::ctl {
namespace {

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

// PKCS#11 pads its texts with blanks, and some modules with NUL bytes.
template <std::size_t N>
std::string fixedText(const unsigned char (&field)[N]) {
  std::string text(reinterpret_cast<const char*>(field), N);
  text.resize(::strnlen(text.data(), text.size()));
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

std::vector<std::string> mergedEnvironment(const EnvironmentChanges& changes) {
  std::vector<std::string> merged;
  for (char** one = environ; *one != nullptr; ++one) {
    std::string_view entry = *one;
    if (!changes.contains(std::string(entry.substr(0, entry.find('='))))) merged.emplace_back(*one);
  }
  for (const auto& [name, value] : changes)
    if (value) merged.push_back(name + "=" + *value);
  return merged;
}

std::vector<char*> pointersTo(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// The module's file as the proxy shall see it: by its full path, and shown to this program, too.
std::string moduleText(const proxy::ModuleConfig& config) {
  std::string text;
  for (const auto& [key, value] : config.values)
    if (key != "module" && key != "enable-in" && key != "disable-in")
      text += key + ": " + value + "\n";
  return text + "module: " + config.path + "\n";
}

std::string fileName(const proxy::ModuleConfig& config) {
  return std::filesystem::path(config.files.front()).filename().string();
}

Json describeSlot(const CK_FUNCTION_LIST& list, CK_SLOT_ID id) {
  Json slot{{"id", id}};
  CK_SLOT_INFO info{};
  CK_RV rv = list.C_GetSlotInfo(id, &info);
  if (rv != CKR_OK) {
    slot["error"] = "C_GetSlotInfo: " + ipc::returnValueName(rv);
    return slot;
  }
  slot["description"] = fixedText(info.slotDescription);
  slot["manufacturer"] = fixedText(info.manufacturerID);
  slot["removable"] = (info.flags & CKF_REMOVABLE_DEVICE) != 0;
  slot["token_present"] = (info.flags & CKF_TOKEN_PRESENT) != 0;
  if ((info.flags & CKF_TOKEN_PRESENT) == 0) return slot;

  CK_TOKEN_INFO token{};
  rv = list.C_GetTokenInfo(id, &token);
  if (rv != CKR_OK) {
    slot["error"] = "C_GetTokenInfo: " + ipc::returnValueName(rv);
    return slot;
  }
  CK_ULONG mechanisms = 0;
  rv = list.C_GetMechanismList(id, nullptr, &mechanisms);
  slot["token"] = {{"label", fixedText(token.label)},
                   {"manufacturer", fixedText(token.manufacturerID)},
                   {"model", fixedText(token.model)},
                   {"serial", fixedText(token.serialNumber)},
                   {"initialized", (token.flags & CKF_TOKEN_INITIALIZED) != 0},
                   {"login_required", (token.flags & CKF_LOGIN_REQUIRED) != 0},
                   {"write_protected", (token.flags & CKF_WRITE_PROTECTED) != 0},
                   {"mechanisms", rv == CKR_OK ? Json(mechanisms) : Json(nullptr)}};
  return slot;
}

}  // namespace

// ---- Files and programs ------------------------------------------------------------------------

Result<TemporaryDirectory> TemporaryDirectory::make() {
  const char* given = std::getenv("TMPDIR");
  std::string path =
      std::string(given != nullptr && *given == '/' ? given : "/tmp") + "/bulkheadctl.XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return systemError("mkdtemp", path);
  return TemporaryDirectory(std::move(path));
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Result<void> writeText(const std::string& path, const std::string& text) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) return systemError("open", path);
  std::string_view rest = text;
  while (!rest.empty()) {
    ssize_t n = ::write(file.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return systemError("write", path);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::string> readText(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return systemError("open", path);
  std::string text;
  char buffer[4096];
  for (;;) {
    ssize_t n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return systemError("read", path);
    if (n == 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

struct InterruptsIgnored::State {
  struct sigaction interrupt;
  struct sigaction quit;
};

InterruptsIgnored::InterruptsIgnored() : state_(std::make_unique<State>().release()) {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGINT, &ignore, &state_->interrupt);
  ::sigaction(SIGQUIT, &ignore, &state_->quit);
}

InterruptsIgnored::~InterruptsIgnored() {
  std::unique_ptr<State> state(state_);
  ::sigaction(SIGINT, &state->interrupt, nullptr);
  ::sigaction(SIGQUIT, &state->quit, nullptr);
}

Result<pid_t> startProgram(const std::vector<std::string>& arguments,
                           const EnvironmentChanges& changes, int out, int err) {
  std::vector<std::string> words = arguments;
  std::vector<std::string> environment = mergedEnvironment(changes);
  auto wordPointers = pointersTo(words);
  auto environmentPointers = pointersTo(environment);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  if (out >= 0) ::posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (err >= 0) ::posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  sigset_t byDefault;
  ::sigemptyset(&byDefault);
  ::sigaddset(&byDefault, SIGINT);
  ::sigaddset(&byDefault, SIGQUIT);
  ::posix_spawnattr_setsigdefault(&attributes, &byDefault);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  int error = ::posix_spawnp(&pid, words.front().c_str(), &actions, &attributes,
                             wordPointers.data(), environmentPointers.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return Error{"start", error, words.front()};
  return pid;
}

int awaitProgram(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

// ---- The log -----------------------------------------------------------------------------------

std::optional<LogLine> parseLogLine(std::string_view line) {
  constexpr std::string_view PREFIX = "bulkhead: ";
  if (!line.starts_with(PREFIX)) return std::nullopt;
  line.remove_prefix(PREFIX.size());
  LogLine parsed;
  auto colon = line.find(": ");
  if (colon != std::string_view::npos) {
    parsed.module = line.substr(0, colon);
    line.remove_prefix(colon + 2);
  }
  parsed.text = line;
  if (line.starts_with("cannot start: ")) {
    parsed.kind = LogLine::Kind::Failure;
  } else if (line.starts_with("layer ")) {
    parsed.kind = LogLine::Kind::Degraded;
  } else if (line.starts_with("worker was ended ") || line.starts_with("worker exited ")) {
    parsed.kind = LogLine::Kind::Death;
  } else if (line.starts_with("says: ")) {
    parsed.kind = LogLine::Kind::Output;
  } else if (line.starts_with("refused ")) {
    line.remove_prefix(std::strlen("refused "));
    auto open = line.find('(');
    auto at = line.rfind(") at ");
    if (open == std::string_view::npos || at == std::string_view::npos || at < open) return parsed;
    parsed.kind = LogLine::Kind::Violation;
    parsed.syscall = line.substr(0, open);
    parsed.arguments = line.substr(open + 1, at - open - 1);
    std::string_view rest = line.substr(at + std::strlen(") at "));
    auto in = rest.rfind(" in ");
    parsed.location = rest.substr(0, in);
    if (in != std::string_view::npos) parsed.function = rest.substr(in + std::strlen(" in "));
  }
  return parsed;
}

// ---- Trying modules ----------------------------------------------------------------------------

namespace {

std::string proxyOfEnvironment() {
  const char* given = ::secure_getenv("BULKHEAD_PROXY");
  return given != nullptr ? given : "";
}

std::string adoptedModuleBeside(const std::string& proxy, const char* otherwise) {
  if (proxy.empty()) return otherwise;
  return (std::filesystem::path(proxy).parent_path() / "bulkhead-adopted.so").string();
}

}  // namespace

std::string proxyFile() {
  std::string given = proxyOfEnvironment();
  return given.empty() ? BULKHEAD_PROXY_PATH : given;
}

std::string adoptedModuleFile() {
  return adoptedModuleBeside(proxyOfEnvironment(), BULKHEAD_MODULE_DIR "/bulkhead-adopted.so");
}

std::string adoptedModuleForP11Kit() {
  return adoptedModuleBeside(proxyOfEnvironment(), BULKHEAD_ADOPTED_MODULE);
}

Result<std::vector<Trial>> tryModules(const std::vector<const KnownModule*>& modules) {
  auto directory = TemporaryDirectory::make();
  if (!directory) return directory.error();
  InterruptsIgnored interrupts;

  std::vector<Result<pid_t>> running;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    std::string place = directory->path() + "/" + std::to_string(i);
    const proxy::ModuleConfig& config = modules[i]->config;
    auto prepare = [&]() -> Result<pid_t> {
      std::error_code error;
      if (!std::filesystem::create_directory(place, error) ||
          !std::filesystem::create_directory(place + "/modules", error))
        return Error{"mkdir", error.value(), place};
      if (auto r = writeText(place + "/modules/" + fileName(config), moduleText(config)); !r)
        return r.error();
      Descriptor out(::open((place + "/out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
      Descriptor err(
          ::open((place + "/err").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
      if (!out || !err) return systemError("open", place);
      return startProgram({"/proc/self/exe", "probe"},
                          {{"BULKHEAD_MODULES", place + "/modules"}, {"BULKHEAD_LOG", "debug"}},
                          out.get(), err.get());
    };
    running.push_back(prepare());
  }

  std::vector<Trial> trials;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    Trial trial;
    const std::string& name = modules[i]->config.name;
    std::string place = directory->path() + "/" + std::to_string(i);
    if (!running[i]) {
      trial.failure = running[i].error().message();
      trials.push_back(std::move(trial));
      continue;
    }
    int status = awaitProgram(*running[i]);
    auto out = readText(place + "/out");
    auto err = readText(place + "/err");
    std::string other;
    std::istringstream lines(err ? *err : std::string());
    for (std::string line; std::getline(lines, line);) {
      auto parsed = parseLogLine(line);
      if (!parsed) {
        other = line;
        continue;
      }
      if (parsed->kind == LogLine::Kind::Failure && trial.failure.empty())
        trial.failure = parsed->text.substr(std::strlen("cannot start: "));
      trial.log.push_back(std::move(*parsed));
    }
    trial.report = Json::parse(out ? *out : std::string(), nullptr, false);
    if (trial.report.is_discarded()) {
      trial.report = nullptr;
      trial.failure =
          !other.empty() ? other : fmt::format("the process that loaded it ended with {}", status);
    } else if (trial.failure.empty() && trial.report.value("error", "") != "") {
      trial.failure = trial.report.value("error", "");
    }
    // A module that can't be loaded here any more was there a moment ago.
    if (trial.failure.empty() && trial.report.value("slots", Json::array()).empty())
      for (const LogLine& line : trial.log)
        if (line.kind == LogLine::Kind::Death && line.module == name &&
            line.text.find("the host is done") == std::string::npos)
          trial.failure = line.text;
    trials.push_back(std::move(trial));
  }
  return trials;
}

int probe() {
  std::string file = proxyFile();
  auto started = Clock::now();
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    complain(why == nullptr ? file : why);
    return 1;
  }
  Json report;
  report["load_ms"] = millisecondsSince(started);
  auto fail = [&](const char* what, CK_RV rv) {
    report["error"] = std::string(what) + ": " + ipc::returnValueName(rv);
  };
  auto getList = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(handle, "C_GetFunctionList"));
  CK_FUNCTION_LIST* list = nullptr;
  CK_RV rv = getList == nullptr ? CKR_FUNCTION_NOT_SUPPORTED : getList(&list);
  if (rv != CKR_OK || list == nullptr) {
    complain(file + ": C_GetFunctionList: " + ipc::returnValueName(rv));
    return 1;
  }
  CK_C_INITIALIZE_ARGS arguments{};
  arguments.flags = CKF_OS_LOCKING_OK;
  started = Clock::now();
  rv = list->C_Initialize(&arguments);
  report["initialize_ms"] = millisecondsSince(started);
  report["slots"] = Json::array();
  if (rv != CKR_OK) {
    fail("C_Initialize", rv);
    printJson(report);
    return 1;
  }
  started = Clock::now();
  CK_ULONG count = 0;
  std::vector<CK_SLOT_ID> slots;
  do {
    rv = list->C_GetSlotList(CK_FALSE, nullptr, &count);
    slots.resize(count);
    if (rv == CKR_OK) rv = list->C_GetSlotList(CK_FALSE, slots.data(), &count);
  } while (rv == CKR_BUFFER_TOO_SMALL);
  report["slot_list_ms"] = millisecondsSince(started);
  if (rv != CKR_OK) fail("C_GetSlotList", rv);
  slots.resize(rv == CKR_OK ? count : 0);
  started = Clock::now();
  for (CK_SLOT_ID slot : slots) report["slots"].push_back(describeSlot(*list, slot));
  report["slot_info_ms"] = millisecondsSince(started);
  started = Clock::now();
  (void)list->C_Finalize(nullptr);
  report["finalize_ms"] = millisecondsSince(started);
  printJson(report);
  return 0;
}

}  // namespace bulkhead::ctl
