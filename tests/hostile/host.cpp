// SPDX-License-Identifier: BSD-2-Clause
//
// host [MODULE]: a program that loads a PKCS#11 module, or has it preloaded, digests something on
// each token, and says what it saw.
#include <stdio.h>
#include <sys/auxv.h>

#include "tests/integration/fixture.h"

using namespace bulkhead;

int main(int argc, char** argv) {
  void* handle = argc > 1 ? ::dlopen(argv[1], RTLD_NOW) : RTLD_DEFAULT;
  auto get =
      reinterpret_cast<CK_RV (*)(CK_FUNCTION_LIST_PTR_PTR)>(::dlsym(handle, "C_GetFunctionList"));
  CK_FUNCTION_LIST* f = nullptr;
  if (get == nullptr || get(&f) != CKR_OK) return 1;
  if (f->C_Initialize(nullptr) != CKR_OK) return 2;
  std::printf("secure %lu\n", ::getauxval(AT_SECURE));
  unsigned digests = 0;
  auto slots = test::slots(f);
  for (CK_SLOT_ID slot : slots) {
    CK_SLOT_INFO info{};
    if (f->C_GetSlotInfo(slot, &info) == CKR_OK)
      std::printf("slot: %s\n", test::field(info.slotDescription).c_str());
    CK_SESSION_HANDLE session;
    if (f->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session) != CKR_OK) continue;
    CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
    CK_BYTE in[4] = {}, out[32];
    CK_ULONG size = sizeof out;
    if (f->C_DigestInit(session, &mechanism) == CKR_OK &&
        f->C_Digest(session, in, sizeof in, out, &size) == CKR_OK)
      ++digests;
  }
  std::size_t workers = 0, loaded = 0;
  for (pid_t supervisor : test::supervisors())
    for (pid_t worker : test::childrenOf(supervisor)) {
      ++workers;
      for (pid_t pid : {supervisor, worker})
        if (test::readFile("/proc/" + std::to_string(pid) + "/maps").find("libbulkhead") !=
            std::string::npos)
          ++loaded;
    }
  std::printf("%zu slots\n%u digests\n%zu workers\n%zu with the proxy in them\n", slots.size(),
              digests, workers, loaded);
  return f->C_Finalize(nullptr) == CKR_OK ? 0 : 3;
}
