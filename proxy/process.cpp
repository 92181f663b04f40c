// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace bulkhead::proxy {
namespace {

// A page that a forked child finds zeroed: how it learns, without an atfork handler, that the
// state is its parent's.
struct ForkPage {
  std::atomic<Process*> process{nullptr};
};

ForkPage* forkPage() {
  static ForkPage* const PAGE = [] {
    auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    (void)::madvise(p, size, MADV_WIPEONFORK);
    return new (p) ForkPage;
  }();
  return PAGE;
}

// Of any process that this one was forked from: set once there is something to inherit.
std::atomic<bool> everStarted{false};

}  // namespace

Process& Process::instance() {
  ForkPage* page = forkPage();
  Process* process = page->process.load(std::memory_order_acquire);
  if (process != nullptr) return *process;
  // What the parent had stays where it is: its locks may be held by threads that are not here.
  if (everStarted.exchange(true)) Owned::closeInherited();
  auto fresh = std::make_unique<Process>();
  if (page->process.compare_exchange_strong(process, fresh.get(), std::memory_order_acq_rel))
    return *fresh.release();
  return *process;
}

Process::Process() : logLevel_(logLevelOfEnvironment()) {}

std::vector<std::shared_ptr<Module>> Process::modules() const {
  std::lock_guard lock(mutex_);
  return modules_;
}

std::shared_ptr<Module> Process::moduleOf(CK_SLOT_ID slot, CK_SLOT_ID& moduleSlot) const {
  auto found = Slots::find(slot);
  if (!found) return nullptr;
  moduleSlot = found->second;
  std::lock_guard lock(mutex_);
  for (auto& module : modules_)
    if (module->config().name == found->first) return module;
  return nullptr;
}

// Reads the configuration. `refused` is set when a module that is critical cannot even be tried.
std::vector<std::shared_ptr<Module>> Process::loadModules(CK_RV& refused) {
  ModuleSet set = proxy::loadModules(ConfigPaths::fromEnvironment(), programName());
  for (const Error& warning : set.warnings)
    logToStderr(logLevel_, LogLevel::Warning, "", warning.message());
  for (const SkippedModule& skipped : set.skipped) {
    bool error = skipped.kind == SkippedModule::Kind::Error;
    logToStderr(logLevel_, error ? LogLevel::Error : LogLevel::Debug, skipped.name, skipped.reason);
    if (error && skipped.critical) refused = CKR_GENERAL_ERROR;
  }
  std::vector<std::shared_ptr<Module>> modules;
  for (ModuleConfig& config : set.modules)
    modules.push_back(std::make_shared<Module>(std::move(config), logLevel_));
  return modules;
}

CK_RV Process::start(Consumer& consumer, unsigned index) {
  CK_RV rv = CKR_OK;
  std::vector<std::shared_ptr<Module>> modules;
  {
    std::lock_guard lock(mutex_);
    if (users_++ == 0) {
      logLevel_ = logLevelOfEnvironment();
      modules_ = loadModules(rv);
    }
    modules = modules_;
  }
  if (rv == CKR_OK) {
    Module::acquire(modules);
    consumer.modules = modules;
    for (auto& module : modules) {
      auto worker = module->worker();
      if (worker != nullptr && worker->running()) {
        // In this order, because ids are given in the order of the first look.
        (void)refreshSlots(*module, false);
      } else if (module->config().critical) {
        rv = module->failureValue();
      }
    }
    if (rv != CKR_OK) {
      consumer.modules.clear();
      Module::release(modules);
    }
  }
  if (rv != CKR_OK) {
    std::lock_guard lock(mutex_);
    if (--users_ == 0) modules_.clear();
  }
  (void)index;
  return rv;
}

CK_RV Process::initialize(unsigned index) {
  Consumer& consumer = consumers_[index];
  {
    std::unique_lock lock(consumer.mutex);
    consumer.changed.wait(lock, [&] { return consumer.phase != Phase::Changing; });
    if (consumer.phase == Phase::Active) {
      ++consumer.count;
      return CKR_OK;
    }
    consumer.phase = Phase::Changing;
  }
  CK_RV rv;
  try {
    rv = start(consumer, index);
  } catch (const std::bad_alloc&) {
    rv = CKR_HOST_MEMORY;
  }
  {
    std::lock_guard lock(consumer.mutex);
    consumer.phase = rv == CKR_OK ? Phase::Active : Phase::Idle;
    consumer.count = rv == CKR_OK ? 1 : 0;
    consumer.active.store(rv == CKR_OK, std::memory_order_release);
  }
  consumer.changed.notify_all();
  return rv;
}

CK_RV Process::finalize(unsigned index) {
  Consumer& consumer = consumers_[index];
  {
    std::unique_lock lock(consumer.mutex);
    consumer.changed.wait(lock, [&] { return consumer.phase != Phase::Changing; });
    if (consumer.phase != Phase::Active) return CKR_CRYPTOKI_NOT_INITIALIZED;
    if (--consumer.count != 0) return CKR_OK;
    consumer.phase = Phase::Changing;
    consumer.active.store(false, std::memory_order_release);
  }
  closeSessions(index, 0);
  Module::release(consumer.modules);
  consumer.modules.clear();
  {
    std::lock_guard lock(mutex_);
    if (--users_ == 0) modules_.clear();
  }
  {
    std::lock_guard lock(consumer.mutex);
    consumer.phase = Phase::Idle;
  }
  consumer.changed.notify_all();
  return CKR_OK;
}

void Process::closeSessions(unsigned consumer, CK_SLOT_ID slot) {
  for (auto& session : sessions_.of(consumer, slot)) {
    if (!sessions_.remove(session->handle) || !session->worker->running()) continue;
    // The login goes before the last session: with it, others' sessions would stay logged in.
    sessionClosed(*session);
    ipc::HostCodec codec = session->worker->codec();
    (void)session->worker->call<ipc::Function::C_CloseSession>(codec, {session->real});
  }
}

void Process::sessionClosed(const Session& session) {
  if (!sessions_.of(session.consumer, session.slot).empty()) return;
  auto left = session.module->loggedOut(session.worker, session.moduleSlot, session.consumer);
  if (left != Module::Logout::Last) return;
  ipc::HostCodec codec = session.worker->codec();
  (void)session.worker->call<ipc::Function::C_Logout>(codec, {session.real});
}

CK_RV Process::logout(const Session& session) {
  auto left = session.module->loggedOut(session.worker, session.moduleSlot, session.consumer);
  if (left == Module::Logout::OthersRemain) return CKR_OK;
  ipc::HostCodec codec = session.worker->codec();
  // Whoever is not logged in gets the module's own answer, unless that would log out others.
  if (left == Module::Logout::NotLoggedIn &&
      session.module->anyLoggedIn(session.worker, session.moduleSlot))
    return CKR_USER_NOT_LOGGED_IN;
  return session.worker->call<ipc::Function::C_Logout>(codec, {session.real});
}

std::vector<CK_SLOT_ID> refreshSlots(Module& module, bool tokenPresent) {
  auto known = [&] {
    std::vector<CK_SLOT_ID> ids;
    for (CK_SLOT_ID slot : module.lastSlots())
      ids.push_back(Slots::idOf({module.config().name, slot}));
    return ids;
  };
  auto worker = module.runningWorker();
  if (worker == nullptr) return tokenPresent ? std::vector<CK_SLOT_ID>{} : known();
  // The list may grow between the question for its size and the question for it.
  for (int attempt = 0; attempt < 4; ++attempt) {
    ipc::HostCodec codec = worker->codec();
    CK_ULONG count = 0;
    CK_BBOOL flag = tokenPresent ? CK_TRUE : CK_FALSE;
    CK_RV rv = worker->call<ipc::Function::C_GetSlotList>(codec, {flag, nullptr, &count});
    if (rv != CKR_OK || count > ipc::MAX_COUNT) break;
    std::vector<CK_SLOT_ID> slots(count + 1);
    count = slots.size();
    codec = worker->codec();
    rv = worker->call<ipc::Function::C_GetSlotList>(codec, {flag, slots.data(), &count});
    if (rv == CKR_BUFFER_TOO_SMALL) continue;
    if (rv != CKR_OK || count > slots.size()) break;
    slots.resize(count);
    if (!tokenPresent) {
      module.setLastSlots(std::move(slots));
      return known();
    }
    std::vector<CK_SLOT_ID> ids;
    for (CK_SLOT_ID slot : slots) ids.push_back(Slots::idOf({module.config().name, slot}));
    return ids;
  }
  return tokenPresent ? std::vector<CK_SLOT_ID>{} : known();
}

}  // namespace bulkhead::proxy
