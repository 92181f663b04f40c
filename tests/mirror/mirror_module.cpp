// SPDX-License-Identifier: BSD-2-Clause
//
// A PKCS#11 module that is a mirror: C_SeedRandom with a scenario arms it, the next call of that
// function is checked and answered (mirror.h), C_GenerateRandom tells what differed. Unarmed it is
// a token in a slot that has nothing and agrees to everything. Its file's name says which interface
// it has: mirror-2.40.so, mirror-3.0.so, mirror-3.2.so, and mirror-holes.so with most functions
// missing.
#include <dlfcn.h>

#include <mutex>

#include "mirror.h"

namespace bulkhead::mirror {
namespace {

constexpr CK_SLOT_ID SLOT = 7;

struct {
  std::mutex mutex;
  Scenario scenario;
  bool armed = false;
  CK_SESSION_HANDLE session = 0;
  CK_SESSION_HANDLE last = 0x100000;
  std::string report;
} state;

std::string ownName() {
  Dl_info info;
  if (::dladdr(reinterpret_cast<void*>(&ownName), &info) == 0) return "";
  std::string path = info.dli_fname;
  return path.substr(path.rfind('/') + 1);
}

template <std::size_t N>
void pad(CK_UTF8CHAR (&field)[N], const std::string& text) {
  std::memset(field, ' ', N);
  std::memcpy(field, text.data(), std::min(N, text.size()));
}

template <Function F>
CK_RV unarmed(const typename ipc::Line<F>::Args& args) {
  if constexpr (F == Function::C_SeedRandom) {
    auto [session, seed, size] = args;
    if (size != sizeof(Scenario) || load<std::uint64_t>(seed) != Scenario::MAGIC) return CKR_OK;
    state.scenario = load<Scenario>(seed);
    state.armed = true;
    state.session = session;
    state.report = "the call did not arrive";
  } else if constexpr (F == Function::C_GenerateRandom) {
    auto [session, buffer, size] = args;
    std::memset(buffer, 0, size);
    std::memcpy(buffer, state.report.data(), std::min<std::size_t>(state.report.size(), size));
  } else if constexpr (F == Function::C_GetSlotList) {
    auto [present, list, count] = args;
    CK_ULONG room = *count;
    *count = 1;
    if (list == nullptr) return CKR_OK;
    if (room < 1) return CKR_BUFFER_TOO_SMALL;
    list[0] = SLOT;
  } else if constexpr (F == Function::C_GetSlotInfo) {
    *std::get<1>(args) = {};
    pad(std::get<1>(args)->slotDescription, ownName());
    std::get<1>(args)->flags = CKF_TOKEN_PRESENT;
  } else if constexpr (F == Function::C_OpenSession) {
    *std::get<4>(args) = ++state.last;
  } else if constexpr (F == Function::C_WaitForSlotEvent) {
    return CKR_NO_EVENT;
  }
  return CKR_OK;
}

template <Function F, typename Pointer>
struct Thunk;
template <Function F, typename... A>
struct Thunk<F, CK_RV (*)(A...)> {
  static CK_RV call(A... a) {
    std::lock_guard lock(state.mutex);
    if (!state.armed || state.scenario.function != F) return unarmed<F>({a...});
    state.armed = false;
    state.report.clear();
    return receive<F>(state.scenario, Place{SLOT, state.session, 0}, {a...}, state.report);
  }
};

struct Lists {
  CK_FUNCTION_LIST_3_2 list{};
  CK_INTERFACE interface {};
  bool modern = false;

  Lists() {
    std::string name = ownName();
    bool holes = name == "mirror-holes.so";
    modern = name != "mirror-2.40.so";
    list.version = name == "mirror-3.0.so" ? CK_VERSION{3, 0}
                   : modern                ? CK_VERSION{3, 2}
                                           : CK_VERSION{2, 40};
#define MIRROR_SET(function, major, minor, ...) \
  if (!holes || needed(Function::function))     \
    list.function =                             \
        &Thunk<Function::function, typename ipc::Line<Function::function>::Pointer>::call;
    BULKHEAD_CATALOGUE(MIRROR_SET)
#undef MIRROR_SET
    interface = {const_cast<CK_UTF8CHAR_PTR>(reinterpret_cast<const CK_UTF8CHAR*>("PKCS 11")),
                 &list, 0};
  }
  static bool needed(Function f) {
    return f == Function::C_Initialize || f == Function::C_Finalize ||
           f == Function::C_GetSlotList || f == Function::C_GetSlotInfo ||
           f == Function::C_OpenSession || f == Function::C_CloseSession;
  }
};

Lists& lists() {
  static Lists all;
  return all;
}

}  // namespace
}  // namespace bulkhead::mirror

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(
    CK_FUNCTION_LIST_PTR_PTR list) {
  *list = reinterpret_cast<CK_FUNCTION_LIST_PTR>(&bulkhead::mirror::lists().list);
  return CKR_OK;
}

extern "C" __attribute__((visibility("default"))) CK_RV C_GetInterface(CK_UTF8CHAR_PTR,
                                                                       CK_VERSION_PTR version,
                                                                       CK_INTERFACE_PTR_PTR out,
                                                                       CK_FLAGS) {
  auto& all = bulkhead::mirror::lists();
  if (!all.modern) return CKR_FUNCTION_NOT_SUPPORTED;
  if (version != nullptr &&
      (version->major != all.list.version.major || version->minor != all.list.version.minor))
    return CKR_FUNCTION_FAILED;
  *out = &all.interface;
  return CKR_OK;
}
