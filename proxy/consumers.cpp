// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/consumers.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <optional>
#include <string_view>
#include <utility>

#include "ipc/log.h"
#include "proxy/calls.h"
#include "proxy/process.h"

namespace bulkhead::proxy {
namespace {

using ipc::Function;

// A function of one consumer: the same call with the consumer's number.
template <Function F, unsigned CONSUMER, typename Pointer>
struct Thunk;
template <Function F, unsigned CONSUMER, typename... A>
struct Thunk<F, CONSUMER, CK_RV (*)(A...)> {
  static CK_RV function(A... arguments) { return Entry<F>::call(arguments..., CONSUMER); }
};

// What a consumer holds: its lists, and the interfaces that show them. Every version of a list is
// the beginning of the next.
struct Lists {
  CK_FUNCTION_LIST v2;
  CK_FUNCTION_LIST_3_0 v30;
  CK_FUNCTION_LIST_3_2 v32;
  CK_INTERFACE interfaces[3];
};

CK_UTF8CHAR standardName[] = "PKCS 11";

// Filled when a list is first handed out, so that loading the proxy relocates none of this.
Lists lists[MAX_CONSUMERS];

// Later than any time: a list that is kept for whoever loaded it.
constexpr std::uint64_t KEPT = UINT64_MAX;

struct State {
  // When it was last handed out, initialised or finalised; 0 for a list that never was.
  std::atomic<std::uint64_t> used{0};
  // The one module that the consumer sees.
  std::atomic<const ModuleConfig*> module{nullptr};
  std::atomic<bool> adoptedOnly{false};
  std::atomic<unsigned char> minor{0};
  std::atomic<unsigned char> major{0};
};
State states[MAX_CONSUMERS];
std::atomic<std::uint64_t> ticks{0};

template <unsigned CONSUMER>
void fill() {
  Lists& own = lists[CONSUMER];
#define BULKHEAD_SET(name, major, minor, ...) \
  own.v32.name = &Thunk<Function::name, CONSUMER, ipc::Line<Function::name>::Pointer>::function;
  BULKHEAD_CATALOGUE(BULKHEAD_SET)
#undef BULKHEAD_SET
  std::memcpy(&own.v30, &own.v32, sizeof own.v30);
  std::memcpy(&own.v2, &own.v32, sizeof own.v2);
  own.v2.version = {2, 40};
  own.v30.version = {3, 0};
  own.v32.version = {3, 2};
  own.interfaces[0] = {standardName, &own.v32, 0};
  own.interfaces[1] = {standardName, &own.v30, 0};
  own.interfaces[2] = {standardName, &own.v2, 0};
}

using Filler = void (*)();
constexpr auto FILLERS = []<unsigned... I>(std::integer_sequence<unsigned, I...>) {
  return std::array<Filler, sizeof...(I)>{&fill<I>...};
}
(std::make_integer_sequence<unsigned, MAX_CONSUMERS>());

// Hands out a list: one that never was, else the one that is idle longest. With a module it is
// kept.
std::optional<unsigned> take(CK_VERSION version, const ModuleConfig* module = nullptr,
                             bool adoptedOnly = false) try {
  Process& process = Process::instance();
  for (;;) {
    std::optional<unsigned> best;
    std::uint64_t oldest = KEPT;
    for (unsigned i = 0; i < MAX_CONSUMERS; ++i) {
      if (!process.idle(i)) continue;
      std::uint64_t used = states[i].used.load(std::memory_order_acquire);
      if (used >= oldest) continue;
      oldest = used;
      best = i;
      if (used == 0) break;
    }
    if (!best) {
      logToStderr(logLevelOfEnvironment(), LogLevel::Error, "",
                  "all function lists are in use by initialised consumers");
      return std::nullopt;
    }
    // Whoever moves the time on has it; another thread that saw the same looks again.
    State& state = states[*best];
    std::uint64_t now = module == nullptr ? ticks.fetch_add(1) + 1 : KEPT;
    if (!state.used.compare_exchange_strong(oldest, now)) continue;
    // Who had it before may have initialised it since it was looked at, and then has it still.
    if (!process.idle(*best)) {
      state.used.store(ticks.fetch_add(1) + 1, std::memory_order_release);
      continue;
    }
    state.module.store(module, std::memory_order_release);
    state.adoptedOnly.store(adoptedOnly, std::memory_order_release);
    FILLERS[*best]();
    state.major.store(version.major);
    state.minor.store(version.minor);
    return best;
  }
} catch (const std::bad_alloc&) {
  return std::nullopt;
}

// Who gets interfaces: whoever asks through a list of one module, else a new consumer.
std::optional<unsigned> receiver(std::optional<unsigned> caller, CK_VERSION version,
                                 bool adoptedOnly = false) {
  if (caller && Consumers::moduleOf(*caller) != nullptr) return caller;
  return take(version, nullptr, adoptedOnly || (caller && Consumers::adoptedOnly(*caller)));
}

bool same(CK_VERSION a, CK_VERSION b) {
  return a.major == b.major && a.minor == b.minor;
}

bool same(const CK_UTF8CHAR* a, const void* b) {
  return std::strcmp(reinterpret_cast<const char*>(a), static_cast<const char*>(b)) == 0;
}

}  // namespace

CK_RV Consumers::functionList(CK_FUNCTION_LIST_PTR_PTR out) {
  if (out == nullptr) return CKR_ARGUMENTS_BAD;
  auto consumer = take({2, 40});
  if (!consumer) return CKR_HOST_MEMORY;
  *out = &lists[*consumer].v2;
  return CKR_OK;
}

CK_RV Consumers::functionList(unsigned consumer, CK_FUNCTION_LIST_PTR_PTR out) {
  if (out == nullptr) return CKR_ARGUMENTS_BAD;
  *out = &lists[consumer].v2;
  return CKR_OK;
}

CK_RV Consumers::interfaceList(CK_INTERFACE_PTR list, CK_ULONG_PTR count,
                               std::optional<unsigned> caller) {
  if (count == nullptr) return CKR_ARGUMENTS_BAD;
  constexpr CK_ULONG NUMBER = std::size(Lists{}.interfaces);
  CK_ULONG room = *count;
  *count = NUMBER;
  if (list == nullptr) return CKR_OK;
  if (room < NUMBER) return CKR_BUFFER_TOO_SMALL;
  auto consumer = receiver(caller, {3, 2});
  if (!consumer) return CKR_HOST_MEMORY;
  std::memcpy(list, lists[*consumer].interfaces, sizeof lists[*consumer].interfaces);
  return CKR_OK;
}

CK_RV Consumers::interface(CK_UTF8CHAR_PTR name, CK_VERSION_PTR version, CK_INTERFACE_PTR_PTR out,
                           CK_FLAGS flags, std::optional<unsigned> caller) {
  if (out == nullptr) return CKR_ARGUMENTS_BAD;
  bool adoptedOnly = name != nullptr && same(name, ADOPTED_MODULES);
  if (name != nullptr && !adoptedOnly && !same(name, standardName)) return CKR_ARGUMENTS_BAD;
  // No interface has a flag; a forked child has none of its parent's sessions.
  if (flags != 0) return CKR_ARGUMENTS_BAD;
  constexpr CK_VERSION VERSIONS[] = {{3, 2}, {3, 0}, {2, 40}};
  CK_VERSION wanted = version == nullptr ? VERSIONS[0] : *version;
  // 3.1 added no function: its list is that of 3.0.
  if (same(wanted, {3, 1})) wanted = {3, 0};
  for (std::size_t i = 0; i < std::size(VERSIONS); ++i) {
    if (!same(wanted, VERSIONS[i])) continue;
    auto consumer = receiver(caller, wanted, adoptedOnly);
    if (!consumer) return CKR_HOST_MEMORY;
    *out = &lists[*consumer].interfaces[i];
    return CKR_OK;
  }
  return CKR_ARGUMENTS_BAD;
}

CK_FUNCTION_LIST* Consumers::load(const ModuleConfig* module, CK_VERSION version) {
  auto consumer = take(version, module);
  if (!consumer) return nullptr;
  Lists& own = lists[*consumer];
  // Every version of a list is the beginning of the next.
  return version.major == 2 ? &own.v2 : reinterpret_cast<CK_FUNCTION_LIST*>(&own.v32);
}

void Consumers::release(unsigned consumer) {
  states[consumer].used.store(ticks.fetch_add(1) + 1, std::memory_order_release);
}

std::optional<unsigned> Consumers::loaded(const CK_FUNCTION_LIST* list) {
  auto offset = reinterpret_cast<std::uintptr_t>(list) - reinterpret_cast<std::uintptr_t>(lists);
  if (offset >= sizeof lists) return std::nullopt;
  auto consumer = static_cast<unsigned>(offset / sizeof(Lists));
  offset %= sizeof(Lists);
  if (offset != offsetof(Lists, v2) && offset != offsetof(Lists, v30) &&
      offset != offsetof(Lists, v32))
    return std::nullopt;
  if (states[consumer].used.load(std::memory_order_acquire) != KEPT) return std::nullopt;
  return consumer;
}

const ModuleConfig* Consumers::moduleOf(unsigned consumer) {
  return states[consumer].module.load(std::memory_order_acquire);
}

bool Consumers::adoptedOnly(unsigned consumer) {
  return states[consumer].adoptedOnly.load(std::memory_order_acquire);
}

CK_VERSION Consumers::version(unsigned consumer) {
  return {states[consumer].major.load(), states[consumer].minor.load()};
}

void Consumers::touch(unsigned consumer) {
  auto& used = states[consumer].used;
  std::uint64_t before = used.load(std::memory_order_acquire);
  std::uint64_t now = ticks.fetch_add(1) + 1;
  while (before != KEPT && !used.compare_exchange_weak(before, now)) {
  }
}

}  // namespace bulkhead::proxy
