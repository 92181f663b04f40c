// SPDX-License-Identifier: BSD-2-Clause
#include "worker/module.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

#include <cstring>

#include "ipc/initialize.h"

namespace bulkhead::worker {
namespace {

// Whether `symbol` was defined by the object behind `handle` itself. A lookup through a handle also
// finds what the object's libraries define, and some of those are PKCS#11 modules, too.
bool isOwn(void* handle, void* symbol) {
  link_map* module = nullptr;
  link_map* owner = nullptr;
  Dl_info info;
  return ::dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0 &&
         ::dladdr1(symbol, &info, reinterpret_cast<void**>(&owner), RTLD_DL_LINKMAP) != 0 &&
         owner == module;
}

// How many functions a list of this version has; 0 for a version that no standard has.
std::size_t functionsIn(CK_VERSION version) {
  if (version.major == 2) return ipc::FUNCTIONS_2_40;
  if (version.major == 3) return version.minor < 2 ? ipc::FUNCTIONS_3_0 : ipc::FUNCTIONS;
  return 0;
}

Error badVersion(const char* where, CK_VERSION version) {
  return Error{where, 0,
               "a function list of version " + std::to_string(version.major) + "." +
                   std::to_string(version.minor) + " is none of PKCS#11"};
}

// The function list that the module's own C_GetInterface offers, the newest that we know first.
CK_FUNCTION_LIST_3_2* fromInterface(void* handle, CK_VERSION& version) {
  void* symbol = ::dlsym(handle, "C_GetInterface");
  if (symbol == nullptr || !isOwn(handle, symbol)) return nullptr;
  auto getInterface = reinterpret_cast<CK_C_GetInterface>(symbol);
  CK_UTF8CHAR name[] = "PKCS 11";
  CK_VERSION wanted[] = {{3, 2}, {3, 1}, {3, 0}};
  CK_VERSION* tries[] = {&wanted[0], &wanted[1], &wanted[2], nullptr};
  for (CK_VERSION* one : tries) {
    CK_INTERFACE* interface = nullptr;
    if (getInterface(name, one, &interface, 0) != CKR_OK || interface == nullptr ||
        interface->pFunctionList == nullptr)
      continue;
    // Every list begins with its version.
    std::memcpy(&version, interface->pFunctionList, sizeof version);
    if (functionsIn(version) != 0)
      return static_cast<CK_FUNCTION_LIST_3_2*>(interface->pFunctionList);
  }
  return nullptr;
}

}  // namespace

Result<Module> Module::load(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return systemError("open module", path);
  if (!S_ISREG(status.st_mode)) return Error{"open module", 0, path + " is no regular file"};
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* why = ::dlerror();
    return Error{"open module", 0, why == nullptr ? path : why};
  }

  Module module;
  std::size_t count = 0;
  auto list = fromInterface(handle, module.version_);
  if (list != nullptr) {
    count = functionsIn(module.version_);
  } else {
    auto getList = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(handle, "C_GetFunctionList"));
    if (getList == nullptr)
      return Error{"open module", 0, path + " is no PKCS#11 module: it has no C_GetFunctionList"};
    CK_FUNCTION_LIST* classic = nullptr;
    CK_RV rv = getList(&classic);
    if (rv != CKR_OK || classic == nullptr)
      return Error{"C_GetFunctionList", 0, path + " gave no function list"};
    list = reinterpret_cast<CK_FUNCTION_LIST_3_2*>(classic);
    module.version_ = classic->version;
    if (functionsIn(module.version_) == 0) return badVersion("C_GetFunctionList", module.version_);
    // Whatever version it claims: some modules hand out a short list with a new number on it.
    count = ipc::FUNCTIONS_2_40;
  }
  std::memcpy(module.functions_.data(), &list->C_Initialize, count * sizeof(AnyFunction));
  if (module.get<ipc::Function::C_Initialize>() == nullptr)
    return Error{"C_GetFunctionList", 0, path + " has no C_Initialize"};
  return module;
}

CK_RV Module::initialize(const char* reserved) {
  ipc::InitializeArgs wide(const_cast<char*>(reserved));
  auto call = get<ipc::Function::C_Initialize>();
  CK_RV rv = call(&wide.args);
  if (rv == CKR_CANT_LOCK) {
    oneAtATime_ = true;
    wide.args.flags = 0;
    rv = call(reserved == nullptr ? nullptr : &wide.args);
  }
  return rv == CKR_CRYPTOKI_ALREADY_INITIALIZED ? CKR_OK : rv;
}

}  // namespace bulkhead::worker
