// SPDX-License-Identifier: BSD-2-Clause
//
// The public C API: what bulkhead.h says, for the state that the proxy has anyway.

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "ipc/log.h"
#include "ipc/names.h"
#include "ipc/pkcs11.h"
#include "proxy/call_guard.h"
#include "proxy/loaded.h"
#include "proxy/message.h"
#include "proxy/process.h"

#pragma GCC visibility push(default)
#include "proxy/bulkhead.h"
#pragma GCC visibility pop

namespace bulkhead::proxy {
namespace {

using Lists = CK_FUNCTION_LIST**;

// What every function does around its own work: a fresh message, and an answer even without memory.
template <typename Answer, typename Work>
Answer answer(Answer withoutMemory, Answer otherwise, Work work) noexcept {
  setMessage({});
  try {
    return work();
  } catch (const std::bad_alloc&) {
    setMessage("out of memory");
    return withoutMemory;
  } catch (...) {
    setMessage("an unexpected exception");
    return otherwise;
  }
}

template <typename Work>
CK_RV valued(Work work) {
  CallGuard guard;
  return answer<CK_RV>(CKR_HOST_MEMORY, CKR_GENERAL_ERROR, work);
}

template <typename Pointer, typename Work>
Pointer pointed(Work work) {
  CallGuard guard;
  return answer<Pointer>(nullptr, nullptr, work);
}

// An error with a message, unless something closer to it has left one.
CK_RV refused(CK_RV rv, const std::string& why) {
  if (*message() == '\0') setMessage(why + ": " + ipc::returnValueName(rv));
  return rv;
}

CK_RV incomplete(const CK_FUNCTION_LIST* list) {
  if (list != nullptr && list->C_Initialize != nullptr && list->C_Finalize != nullptr)
    return CKR_OK;
  return refused(CKR_ARGUMENTS_BAD, list == nullptr ? "no function list"
                                                    : "a list without C_Initialize or C_Finalize");
}

CK_RV initialize(CK_FUNCTION_LIST* list, void* reserved) {
  if (CK_RV rv = incomplete(list); rv != CKR_OK) return rv;
  CK_RV rv = Process::instance().coordinator().initialize(*list, reserved);
  if (rv == CKR_OK) {
    setMessage({});  // a module that came back here may have left one
    return rv;
  }
  return refused(rv, rv == CKR_FUNCTION_FAILED
                         ? "C_Initialize failed, or it would wait for itself for ever"
                         : "C_Initialize failed");
}

CK_RV finalize(CK_FUNCTION_LIST* list) {
  if (CK_RV rv = incomplete(list); rv != CKR_OK) return rv;
  CK_RV rv = Process::instance().coordinator().finalize(*list);
  return rv == CKR_OK ? rv : refused(rv, "C_Finalize failed, or nothing was initialised");
}

void release(CK_FUNCTION_LIST* list) {
  auto consumer = Consumers::loaded(list);
  if (!consumer) return;
  Process& process = Process::instance();
  process.coordinator().forget(*list);
  while (process.active(*consumer) && process.finalize(*consumer) == CKR_OK) {
  }
  Consumers::release(*consumer);
}

bool known(unsigned flags, unsigned which) {
  if ((flags & ~which) == 0) return true;
  setMessage("unknown flags");
  return false;
}

CK_FUNCTION_LIST* load(FoundModule found, unsigned flags) {
  CK_VERSION version = {2, 40};
  if ((flags & BULKHEAD_VERSION_3_2) != 0) version = {3, 2};
  CK_FUNCTION_LIST* list = Consumers::load(LoadedModules::keep(std::move(found)), version);
  if (list == nullptr) setMessage("all function lists are in use");
  return list;
}

// Lists that go back if nobody takes them.
class Loaded {
 public:
  Loaded() = default;
  Loaded(const Loaded&) = delete;
  Loaded& operator=(const Loaded&) = delete;
  ~Loaded() {
    for (CK_FUNCTION_LIST* list : lists_) proxy::release(list);
  }
  bool add(FoundModule found, unsigned flags) {
    lists_.reserve(lists_.size() + 1);
    CK_FUNCTION_LIST* list = load(std::move(found), flags);
    if (list == nullptr) return false;
    lists_.push_back(list);
    return true;
  }
  Lists take() {
    auto array = std::make_unique<CK_FUNCTION_LIST*[]>(lists_.size() + 1);
    std::copy(lists_.begin(), lists_.end(), array.get());
    lists_.clear();
    return array.release();
  }

 private:
  std::vector<CK_FUNCTION_LIST*> lists_;
};

Lists loadAll(const char* program, unsigned flags) {
  ModuleSet set = loadModules(ConfigPaths::fromEnvironment(),
                              program == nullptr ? programName() : std::string(program));
  LogLevel level = logLevelOfEnvironment();
  for (const Error& warning : set.warnings) {
    if (warning.code == ENOMEM) throw std::bad_alloc();
    logToStderr(level, LogLevel::Warning, "", warning.message());
  }
  for (const SkippedModule& skipped : set.skipped) {
    if (skipped.kind != SkippedModule::Kind::Error) continue;
    logToStderr(level, LogLevel::Error, skipped.name, skipped.reason);
    if (!skipped.critical) continue;
    setMessage(skipped.name + ": " + skipped.reason);
    return nullptr;
  }
  Loaded lists;
  for (ModuleConfig& config : set.modules) {
    if ((flags & BULKHEAD_TRUSTED) != 0 && !config.trustPolicy) continue;
    if (!lists.add({std::move(config), true, {}, {}}, flags)) return nullptr;
  }
  return lists.take();
}

const ModuleConfig* configOf(CK_FUNCTION_LIST* list) {
  auto consumer = Consumers::loaded(list);
  if (consumer) return Consumers::moduleOf(*consumer);
  setMessage("not a loaded module");
  return nullptr;
}

// The modules behind several lists, started side by side and kept for a while.
class Started {
 public:
  Started(Process& process, Lists lists) : process_(process) {
    for (; *lists != nullptr; ++lists)
      if (auto consumer = Consumers::loaded(*lists)) consumers_.push_back(*consumer);
    modules_ = process.start(consumers_);
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;
  ~Started() { process_.letGo(modules_); }

  /// bulkhead_initialize(), but what did not start is not started a second time.
  CK_RV initialize(CK_FUNCTION_LIST* list) const {
    auto consumer = Consumers::loaded(list);
    auto found = std::find(consumers_.begin(), consumers_.end(), consumer);
    if (found == consumers_.end() || process_.active(*consumer))
      return proxy::initialize(list, nullptr);
    const Module& module = *modules_[static_cast<std::size_t>(found - consumers_.begin())];
    if (auto worker = module.worker(); worker != nullptr && worker->running())
      return proxy::initialize(list, nullptr);
    setMessage(module.config().name + ": " + module.failure());
    return module.failureValue();
  }

 private:
  Process& process_;
  std::vector<unsigned> consumers_;
  Process::Modules modules_;
};

bool isCritical(CK_FUNCTION_LIST* list) {
  auto consumer = Consumers::loaded(list);
  return consumer && Consumers::moduleOf(*consumer)->critical;
}

CK_RV initializeAll(Lists lists) {
  Started started(Process::instance(), lists);
  std::vector<CK_FUNCTION_LIST*> good, bad;
  std::string why;
  for (Lists one = lists; *one != nullptr; ++one) {
    setMessage({});
    CK_RV rv = started.initialize(*one);
    (rv == CKR_OK ? good : bad).push_back(*one);
    if (rv != CKR_OK) why = message();
    if (rv == CKR_OK || !isCritical(*one)) continue;
    for (CK_FUNCTION_LIST* each : good) (void)finalize(each);
    setMessage(why);
    return rv;
  }
  *std::copy(good.begin(), good.end(), lists) = nullptr;
  for (CK_FUNCTION_LIST* each : bad) release(each);
  setMessage(why);
  return CKR_OK;
}

CK_RV finalizeAll(Lists lists) {
  CK_RV worst = CKR_OK;
  std::string why;
  for (; *lists != nullptr; ++lists) {
    setMessage({});
    CK_RV rv = finalize(*lists);
    if (rv == CKR_OK) continue;
    worst = rv;
    why = message();
  }
  setMessage(why);
  return worst;
}

}  // namespace
}  // namespace bulkhead::proxy

using namespace bulkhead::proxy;

CK_RV bulkhead_initialize(CK_FUNCTION_LIST* list, void* reserved) {
  return valued([&] { return initialize(list, reserved); });
}

CK_RV bulkhead_finalize(CK_FUNCTION_LIST* list) {
  return valued([&] { return finalize(list); });
}

CK_FUNCTION_LIST* bulkhead_module_load(const char* name, unsigned flags) {
  return pointed<CK_FUNCTION_LIST*>([&]() -> CK_FUNCTION_LIST* {
    if (!known(flags, BULKHEAD_VERSION_3_2)) return nullptr;
    auto found =
        findModule(ConfigPaths::fromEnvironment(), programName(), name == nullptr ? "" : name);
    if (found) return load(std::move(*found), flags);
    setMessage(found.error().message());
    return nullptr;
  });
}

void bulkhead_module_release(CK_FUNCTION_LIST* list) {
  (void)valued([&] {
    release(list);
    return CKR_OK;
  });
}

CK_FUNCTION_LIST** bulkhead_modules_load(const char* program, unsigned flags) {
  return pointed<CK_FUNCTION_LIST**>([&] {
    bool good = known(flags, BULKHEAD_TRUSTED | BULKHEAD_VERSION_3_2);
    return good ? loadAll(program, flags) : nullptr;
  });
}

CK_RV bulkhead_modules_initialize(CK_FUNCTION_LIST** lists) {
  return valued([&] {
    return lists == nullptr ? refused(CKR_ARGUMENTS_BAD, "no lists") : initializeAll(lists);
  });
}

CK_RV bulkhead_modules_finalize(CK_FUNCTION_LIST** lists) {
  return valued([&] {
    return lists == nullptr ? refused(CKR_ARGUMENTS_BAD, "no lists") : finalizeAll(lists);
  });
}

void bulkhead_modules_release(CK_FUNCTION_LIST** lists) {
  (void)valued([&] {
    std::unique_ptr<CK_FUNCTION_LIST*[]> array(lists);
    for (; lists != nullptr && *lists != nullptr; ++lists) release(*lists);
    return CKR_OK;
  });
}

const char* bulkhead_module_name(CK_FUNCTION_LIST* list) {
  return pointed<const char*>([&] {
    const ModuleConfig* config = configOf(list);
    return config == nullptr ? nullptr : config->name.c_str();
  });
}

const char* bulkhead_module_path(CK_FUNCTION_LIST* list) {
  return pointed<const char*>([&] {
    const ModuleConfig* config = configOf(list);
    return config == nullptr ? nullptr : config->path.c_str();
  });
}

const char* bulkhead_module_config(CK_FUNCTION_LIST* list, const char* key) {
  return pointed<const char*>([&]() -> const char* {
    const ModuleConfig* config = configOf(list);
    if (config == nullptr) return nullptr;
    auto value = config->values.find(key == nullptr ? "" : key);
    if (value != config->values.end()) return value->second.c_str();
    setMessage(config->name + " has no such key");
    return nullptr;
  });
}

const char* bulkhead_message() {
  return message();
}

const char* bulkhead_strerror(CK_RV rv) {
  if (const char* name = bulkhead::ipc::knownReturnValueName(rv)) return name;
  return rv >= CKR_VENDOR_DEFINED ? "CKR_VENDOR_DEFINED" : "an unknown error";
}
