// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "proxy/message.h"

#ifdef BULKHEAD_SANITIZED
extern "C" __attribute__((weak)) void __lsan_register_root_region(const void*, std::size_t);
#endif

namespace bulkhead::proxy {
namespace {

// A page that a forked child finds zeroed, which is the mutex unlocked: how it learns, without an
// atfork handler, that the state is its parent's.
struct ForkPage {
  std::atomic<Process*> process{nullptr};
  std::mutex mutex;
};

ForkPage* forkPage() {
  static ForkPage* const PAGE = [] {
    auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* p = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    (void)::madvise(p, size, MADV_WIPEONFORK);
#ifdef BULKHEAD_SANITIZED
    // Else the leak sanitizer does not look here for what is in use.
    if (__lsan_register_root_region != nullptr) __lsan_register_root_region(p, size);
#endif
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
  // One thread alone: what another has opened meanwhile is not inherited.
  std::lock_guard lock(page->mutex);
  process = page->process.load(std::memory_order_acquire);
  if (process != nullptr) return *process;
  // What the parent had stays where it is: its locks may be held by threads that are not here.
  if (everStarted.exchange(true)) {
    Marked::closeInherited();
    Worker::forgetInherited();
  }
  auto fresh = std::make_unique<Process>();
  page->process.store(fresh.get(), std::memory_order_release);
  return *fresh.release();
}

Process::Process() : logLevel_(logLevelOfEnvironment()) {}

std::shared_ptr<const Process::Modules> Process::modulesOf(unsigned consumer) const {
  std::lock_guard lock(mutex_);
  auto modules = consumers_[consumer].modules;
  return modules != nullptr ? modules : std::make_shared<const Modules>();
}

std::vector<unsigned> Process::usersOf(const Module& module) const {
  std::vector<unsigned> users;
  std::lock_guard lock(mutex_);
  for (unsigned i = 0; i < MAX_CONSUMERS; ++i) {
    auto& modules = consumers_[i].modules;
    if (modules == nullptr) continue;
    for (auto& one : *modules)
      if (one.get() == &module) users.push_back(i);
  }
  return users;
}

std::shared_ptr<Module> Process::moduleOf(unsigned consumer, CK_SLOT_ID slot,
                                          CK_SLOT_ID& moduleSlot) const {
  auto found = Slots::find(slot);
  if (!found) return nullptr;
  moduleSlot = found->second;
  for (auto& module : *modulesOf(consumer))
    if (module->config().name == found->first) return module;
  return nullptr;
}

// Reads the configuration, and refuses when a module that is critical cannot even be tried.
Process::Modules Process::loadModules() {
  refusal_.clear();
  ModuleSet set = proxy::loadModules(ConfigPaths::fromEnvironment(), programName());
  for (const Error& warning : set.warnings)
    logToStderr(logLevel_, LogLevel::Warning, "", warning.message());
  for (const SkippedModule& skipped : set.skipped) {
    bool error = skipped.kind == SkippedModule::Kind::Error;
    logToStderr(logLevel_, error ? LogLevel::Error : LogLevel::Debug, skipped.name, skipped.reason);
    if (error && skipped.critical) refusal_ = skipped.name + ": " + skipped.reason;
  }
  Modules modules;
  for (ModuleConfig& config : set.modules)
    modules.push_back(std::make_shared<Module>(std::move(config), logLevel_));
  return modules;
}

// Acquires the modules for one consumer, side by side: as they are or, where the policy gives each
// consumer a worker of its own and another has this one, as copies.
Process::Modules Process::acquireFor(const Modules& configured) {
  auto copyOf = [&](const std::shared_ptr<Module>& module) {
    auto copy = std::make_shared<Module>(module->config(), logLevel_);
    (void)copy->claim();
    return copy;
  };
  Modules modules = configured;
  std::vector<bool> settled(modules.size());
  for (std::size_t i = 0; i < modules.size(); ++i) {
    settled[i] = modules[i]->perConsumer();
    if (settled[i] && !modules[i]->claim()) modules[i] = copyOf(modules[i]);
  }
  Module::acquire(modules);
  // Only a worker's start tells what the policy says, so that two who come at once may both have
  // the first.
  Modules others, copies;
  try {
    others.reserve(modules.size());
    copies.reserve(modules.size());
    for (std::size_t i = 0; i < modules.size(); ++i) {
      if (settled[i] || !modules[i]->perConsumer() || modules[i]->claim()) continue;
      copies.push_back(copyOf(modules[i]));
      others.push_back(std::exchange(modules[i], copies.back()));
    }
    Module::release(others);
    others.clear();
    Module::acquire(copies);
  } catch (...) {
    // Copies that have no user yet are left alone.
    Module::release(others);
    Module::release(modules);
    throw;
  }
  return modules;
}

// Adds a user to the process and tells the modules that this one sees. Until leave().
Process::Modules Process::enter(unsigned consumer, CK_RV& rv) {
  std::lock_guard lock(mutex_);
  if (users_ == 0) {
    logLevel_ = logLevelOfEnvironment();
    modules_ = loadModules();
  }
  Modules seen = seenBy(consumer, rv);
  ++users_;
  return seen;
}

Process::Modules Process::seenBy(unsigned consumer, CK_RV& rv) {
  const ModuleConfig* only = Consumers::moduleOf(consumer);
  if (only == nullptr) {
    if (!refusal_.empty()) {
      setMessage(refusal_);
      rv = CKR_GENERAL_ERROR;
    }
    if (!Consumers::adoptedOnly(consumer)) return modules_;
    Modules adopted;
    for (auto& module : modules_)
      if (module->config().adopted) adopted.push_back(module);
    return adopted;
  }
  // By its name, which is what slots go by: while a module is in use it stays what it is.
  for (auto* modules : {&modules_, &loaded_})
    for (auto& module : *modules)
      if (module->config().name == only->name) return {module};
  loaded_.push_back(std::make_shared<Module>(*only, logLevel_));
  return {loaded_.back()};
}

void Process::leave() {
  std::lock_guard lock(mutex_);
  if (--users_ != 0) return;
  modules_.clear();
  loaded_.clear();
}

CK_RV Process::start(unsigned index) {
  CK_RV rv = CKR_OK;
  Modules configured = enter(index, rv);
  try {
    if (rv == CKR_OK) rv = bringUp(index, configured);
  } catch (const std::bad_alloc&) {
    rv = CKR_HOST_MEMORY;
  }
  if (rv != CKR_OK) leave();
  return rv;
}

// Starts the modules for a consumer, or leaves nothing of them.
CK_RV Process::bringUp(unsigned index, const Modules& configured) {
  Consumer& consumer = consumers_[index];
  CK_RV rv = CKR_OK;
  const Modules modules = acquireFor(configured);
  try {
    auto shown = std::make_shared<const Modules>(modules);
    {
      std::lock_guard lock(mutex_);
      consumer.modules = std::move(shown);
    }
    for (auto& module : modules) {
      auto worker = module->worker();
      if (worker != nullptr && worker->running()) continue;
      // Without the only one that it sees a consumer has nothing.
      if (!module->config().critical && Consumers::moduleOf(index) == nullptr) continue;
      rv = module->failureValue();
      setMessage(module->config().name + ": " + module->failure());
    }
    // Ids are given in the order of the first look.
    if (rv == CKR_OK) (void)refreshSlots(modules, false);
  } catch (const std::bad_alloc&) {
    rv = CKR_HOST_MEMORY;
  }
  if (rv != CKR_OK) {
    {
      std::lock_guard lock(mutex_);
      consumer.modules = nullptr;
    }
    Module::release(modules);
  }
  return rv;
}

Process::Modules Process::start(const std::vector<unsigned>& consumers) {
  Modules all;
  all.reserve(consumers.size());
  try {
    CK_RV ignored = CKR_OK;
    for (unsigned consumer : consumers) all.push_back(enter(consumer, ignored).front());
  } catch (...) {
    for (std::size_t i = 0; i < all.size(); ++i) leave();
    throw;
  }
  Module::acquire(all);
  return all;
}

void Process::letGo(const Modules& modules) {
  Module::release(modules);
  for (std::size_t i = 0; i < modules.size(); ++i) leave();
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
  slotEvents_.begin(index);
  CK_RV rv;
  // Whatever happens, nobody waits for it for ever.
  try {
    rv = start(index);
  } catch (const std::bad_alloc&) {
    rv = CKR_HOST_MEMORY;
  } catch (...) {
    rv = CKR_GENERAL_ERROR;
  }
  {
    std::lock_guard lock(consumer.mutex);
    consumer.phase = rv == CKR_OK ? Phase::Active : Phase::Idle;
    consumer.count = rv == CKR_OK ? 1 : 0;
    if (rv == CKR_OK) consumer.life.store(++consumer.lives, std::memory_order_release);
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
    consumer.life.store(0, std::memory_order_release);
  }
  slotEvents_.wakeAll();
  // A module that hangs holds this up for as long as it may hold up its own end, and not twice.
  auto began = ipc::Clock::now();
  CK_RV rv = closeSessions(index, 0, began);
  std::shared_ptr<const Modules> modules;
  {
    std::lock_guard lock(mutex_);
    modules.swap(consumer.modules);
  }
  Module::release(*modules, began);
  leave();
  {
    std::lock_guard lock(consumer.mutex);
    consumer.phase = Phase::Idle;
  }
  consumer.changed.notify_all();
  return rv;
}

CK_RV Process::closeSessions(unsigned consumer, CK_SLOT_ID slot,
                             std::optional<ipc::Clock::time_point> ending) noexcept {
  CK_RV rv = CKR_OK;
  for (auto session = sessions_.take(consumer, slot); session != nullptr;
       session = std::move(session->next)) {
    if (!session->worker->running()) continue;
    Worker::Patience patience;
    if (ending) patience = *ending + session->worker->terms().stopTimeout;
    sessionClosed(*session);
    try {
      ipc::HostCodec codec = session->worker->codec();
      (void)session->worker->call<ipc::Function::C_CloseSession>(codec, {session->real}, patience);
    } catch (const std::bad_alloc&) {
      rv = CKR_HOST_MEMORY;
    }
  }
  return rv;
}

void Process::sessionClosed(const Session& session) {
  if (!sessions_.any(session.consumer, session.slot))
    session.worker->logins().remove(session.moduleSlot, session.consumer);
}

CK_RV Process::logout(const Session& session) {
  using Logout = Logins::Logout;
  Logout logout(session.worker->logins(), session.moduleSlot, session.consumer);
  // Whoever is not logged in gets the module's own answer, unless that would log out others.
  if (logout.what() == Logout::Of::Theirs) return CKR_USER_NOT_LOGGED_IN;
  if (logout.what() == Logout::Of::OneOfSeveral) return CKR_OK;
  ipc::HostCodec codec = session.worker->codec();
  return session.worker->call<ipc::Function::C_Logout>(codec, {session.real});
}

namespace {

constexpr std::chrono::seconds SLOTS_PATIENCE{2};

// One module's part in reading all slots: a question that has been sent, and what came of it.
struct SlotQuery {
  std::shared_ptr<Module> module;
  std::shared_ptr<Worker> worker;
  std::vector<CK_SLOT_ID> slots;
  CK_ULONG count = 0;
  ipc::HostCodec codec;
  Worker::Sent sent;
  bool answered = false;
  bool silent = false;  // it runs and gives no answer
};

using GetSlotList = ipc::Line<ipc::Function::C_GetSlotList>::Args;

// Asks all modules at once, and only then waits for them.
void askForSlots(std::vector<SlotQuery>& queries, bool tokenPresent, bool sizes) {
  CK_BBOOL flag = tokenPresent ? CK_TRUE : CK_FALSE;
  Worker::Patience patience = ipc::Clock::now() + SLOTS_PATIENCE;
  auto arguments = [&](SlotQuery& query) {
    return GetSlotList{flag, sizes ? nullptr : query.slots.data(), &query.count};
  };
  for (SlotQuery& query : queries) {
    if (query.worker == nullptr) continue;
    // One more than there were: where one comes in between, the next look finds it.
    if (!sizes) {
      query.slots.resize(std::min<CK_ULONG>(query.count, MAX_SLOTS_OF_A_MODULE) + 1);
      query.count = query.slots.size();
    }
    query.codec = query.worker->codec();
    query.sent =
        query.worker->send<ipc::Function::C_GetSlotList>(query.codec, arguments(query), patience);
  }
  for (SlotQuery& query : queries) {
    if (query.worker == nullptr) continue;
    CK_RV rv = query.sent.failed;
    if (rv == CKR_OK)
      rv = query.worker->finish<ipc::Function::C_GetSlotList>(query.sent, query.codec,
                                                              arguments(query));
    query.sent = {};
    if (rv != CKR_OK) {
      query.silent = query.worker->running();
      query.worker = nullptr;
    } else if (!sizes) {
      query.slots.resize(query.count);
      query.answered = true;
    }
  }
}

}  // namespace

std::vector<CK_SLOT_ID> refreshSlots(const std::vector<std::shared_ptr<Module>>& modules,
                                     bool tokenPresent) {
  std::vector<SlotQuery> queries(modules.size());
  auto workers = Module::runningWorkers(modules);
  for (std::size_t i = 0; i < modules.size(); ++i) {
    queries[i].module = modules[i];
    queries[i].worker = workers[i];
  }
  // The size first, as any application does: some modules look for new slots only then.
  askForSlots(queries, tokenPresent, true);
  askForSlots(queries, tokenPresent, false);

  std::vector<CK_SLOT_ID> ids;
  for (SlotQuery& query : queries) {
    if (query.answered)
      query.module->setLastSlots(tokenPresent, query.slots);
    else if (tokenPresent && !query.silent)
      query.slots.clear();
    else
      query.slots = query.module->lastSlots(tokenPresent);
    for (CK_SLOT_ID slot : query.slots)
      if (auto id = Slots::idOf({query.module->config().name, slot})) ids.push_back(*id);
  }
  return ids;
}

}  // namespace bulkhead::proxy
