// SPDX-License-Identifier: BSD-2-Clause
//
// Several modules in one process: all are there, and what befalls one is nobody else's concern.
#include <algorithm>
#include <atomic>
#include <memory>

#include "tests/integration/fixture.h"

namespace bulkhead::test {
namespace {

using std::chrono::steady_clock;

std::string nssParameters(const std::string& directory) {
  return "configdir='sql:" + directory + "' certPrefix='' keyPrefix='' secmod='secmod.db' flags=";
}

// "slot description | manufacturer | token label" of each slot.
std::vector<std::string> describe(CK_FUNCTION_LIST* f) {
  std::vector<std::string> all;
  for (CK_SLOT_ID slot : slots(f)) {
    CK_SLOT_INFO info{};
    EXPECT_EQ(f->C_GetSlotInfo(slot, &info), CKR_OK);
    CK_TOKEN_INFO token{};
    CK_RV rv = f->C_GetTokenInfo(slot, &token);
    all.push_back(field(info.slotDescription) + " | " + field(info.manufacturerID) + " | " +
                  (rv == CKR_OK ? field(token.label) : std::to_string(rv)));
  }
  return all;
}

// What the module shows when this process loads it itself.
std::vector<std::string> describeDirectly(const char* path, const std::string& reserved = {}) {
  Library library(path);
  CK_FUNCTION_LIST* f = library.functions();
  // NSS's structure has one field more.
  struct {
    CK_C_INITIALIZE_ARGS args;
    void* beyond;
  } wide{};
  wide.args.flags = CKF_OS_LOCKING_OK;
  std::string copy = reserved;
  if (!reserved.empty()) wide.args.pReserved = copy.data();
  EXPECT_EQ(f->C_Initialize(&wide.args), CKR_OK) << path;
  auto all = describe(f);
  EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK) << path;
  return all;
}

class SideBySide : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* module : {SOFTHSM, P11_KIT_TRUST, OPENSC, NSS_SOFTOKN}) BULKHEAD_NEEDS(module);
    configuration.addSoftHsm("softhsm2", "priority: 4\n");
    makeSoftHsmTokens({"one"});
    configuration.addModule("p11-kit-trust", P11_KIT_TRUST, "priority: 3\n");
    configuration.addModule("opensc", OPENSC, "priority: 2\n");
    nss = configuration.directory().makeDirectory("nss");
    configuration.addModule("nss-softokn", NSS_SOFTOKN,
                            "priority: 1\nx-init-reserved: " + nssParameters(nss) + "\n");
    configuration.addDropIn("nss-softokn", "[Filesystem]\nReadWritePaths=" + nss + "\n");
  }

  Configuration configuration;
  std::string nss;
};

TEST_F(SideBySide, slotsOfAllModulesAreVisibleInOrder) {
  std::vector<std::string> proxied;
  {
    Library proxy;
    CK_FUNCTION_LIST* f = proxy.functions();
    Initialized initialized(f);
    proxied = describe(f);
    for (const char* name : {"softhsm2", "p11-kit-trust", "opensc", "nss-softokn"})
      EXPECT_GT(workerOf(name), 0) << name;
  }
  std::vector<std::string> direct, trust, tokens;
  for (auto& module :
       {describeDirectly(SOFTHSM), describeDirectly(P11_KIT_TRUST), describeDirectly(OPENSC)})
    direct.insert(direct.end(), module.begin(), module.end());
  EXPECT_GE(direct.size(), 3u);
  auto softokn = describeDirectly(NSS_SOFTOKN, nssParameters(nss));
  EXPECT_EQ(softokn.size(), 2u);
  direct.insert(direct.end(), softokn.begin(), softokn.end());
  EXPECT_EQ(direct, proxied);
}

TEST_F(SideBySide, eachModuleDoesItsWork) {
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  Initialized initialized(f);
  auto softHsm = slotOf(f, "one");
  ASSERT_TRUE(softHsm);
  Session one(f, *softHsm);
  EXPECT_EQ(one.login(USER_PIN), CKR_OK);

  auto softokn = slotOf(f, "NSS Generic Crypto Services");
  ASSERT_TRUE(softokn);
  Session two(f, *softokn, CKF_SERIAL_SESSION);
  CK_MECHANISM sha{CKM_SHA256, nullptr, 0};
  CK_BYTE data[3] = {'a', 'b', 'c'}, digests[2][32] = {};
  for (auto [session, out] : {std::pair{&one, digests[0]}, std::pair{&two, digests[1]}}) {
    CK_ULONG size = 32;
    EXPECT_EQ(f->C_DigestInit(*session, &sha), CKR_OK);
    EXPECT_EQ(f->C_Digest(*session, data, sizeof data, out, &size), CKR_OK);
  }
  EXPECT_EQ(std::memcmp(digests[0], digests[1], 32), 0);
  EXPECT_EQ(digests[0][0], 0xba);

  // The trust module has the system's certificates, if there are any.
  std::size_t certificates = 0;
  for (CK_SLOT_ID slot : slots(f)) {
    CK_SLOT_INFO info{};
    EXPECT_EQ(f->C_GetSlotInfo(slot, &info), CKR_OK);
    if (field(info.manufacturerID).find("PKCS#11 Kit") == std::string::npos) continue;
    Session session(f, slot, CKF_SERIAL_SESSION);
    EXPECT_EQ(f->C_FindObjectsInit(session, nullptr, 0), CKR_OK);
    CK_OBJECT_HANDLE found[16];
    CK_ULONG count = 0;
    EXPECT_EQ(f->C_FindObjects(session, found, 16, &count), CKR_OK);
    EXPECT_EQ(f->C_FindObjectsFinal(session), CKR_OK);
    certificates += count;
  }
  bool any = std::filesystem::exists("/etc/ssl/certs/ca-certificates.crt");
  EXPECT_EQ(certificates > 0, any);
}

// One name for each way in which a `.module` file can be wrong, and what the log has to say.
struct Broken {
  const char* name;
  const char* says;
  std::function<std::string(const Directory&)> module;
};

TEST_F(SideBySide, aBrokenFifthModuleCostsOneLogLine) {
  const Broken BROKEN[] = {
      {"missing", "No such file", [](const Directory& d) { return d.path("not-there.so"); }},
      {"text", "invalid ELF header",
       [](const Directory& d) { return d.write("text.so", std::string(4096, 'x')); }},
      {"directory", "is a directory",
       [](const Directory& d) { return d.makeDirectory("directory.so"); }},
      {"library", "no PKCS#11 module",
       [](const Directory&) {
         return std::filesystem::canonical("/usr/lib/x86_64-linux-gnu/libm.so.6").string();
       }},
      {"dependency", "libnone++.so.6: cannot open shared object file",
       [](const Directory& d) {
         // As if one of its libraries were not installed.
         std::string module = readFile(BULKHEAD_SLOW_MODULE), needed = "libstdc++.so.6";
         auto at = module.find(needed + '\0');
         EXPECT_NE(at, std::string::npos);
         return d.write("dependency.so", module.replace(at, needed.size(), "libnone++.so.6"));
       }},
  };
  BULKHEAD_NEEDS("/usr/lib/x86_64-linux-gnu/libm.so.6");
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  std::vector<std::string> before;
  {
    Initialized initialized(f);
    before = describe(f);
    EXPECT_GE(before.size(), 5u);
  }
  for (const Broken& broken : BROKEN) {
    SCOPED_TRACE(broken.name);
    configuration.addModule(broken.name, broken.module(configuration.directory()), "priority: 9\n");
    ::testing::internal::CaptureStderr();
    {
      Variable level("BULKHEAD_LOG", "error");
      Initialized initialized(f);
      EXPECT_EQ(describe(f), before);
      auto slot = slotOf(f, "one");
      EXPECT_TRUE(slot);
      EXPECT_EQ(Session(f, slot.value_or(0)).login(USER_PIN), CKR_OK);
    }
    std::string log = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
    EXPECT_TRUE(log.starts_with("bulkhead: " + std::string(broken.name) + ": ")) << log;
    EXPECT_NE(log.find(broken.says), std::string::npos) << log;
    configuration.removeModule(broken.name);
  }
}

// ---- a module that can't lock ----

TEST(CannotLock, isCalledByOneThreadAtATime) {
  Configuration configuration;
  configuration.addModule("slow", BULKHEAD_SLOW_MODULE);
  for (bool cannotLock : {false, true}) {
    configuration.addDropIn("slow", cannotLock ? "[Worker]\nEnvironment=SLOW_CANNOT_LOCK=1\n" : "");
    Library library;
    CK_FUNCTION_LIST* f = library.functions();
    Initialized initialized(f);
    auto slot = slotOf(f, "slow");
    ASSERT_TRUE(slot);
    std::vector<std::unique_ptr<Session>> sessions;
    for (int i = 0; i < 3; ++i)
      sessions.push_back(std::make_unique<Session>(f, *slot, CKF_SERIAL_SESSION));
    auto began = steady_clock::now();
    std::vector<std::thread> threads;
    std::atomic<unsigned> done{0};
    for (auto& session : sessions)
      threads.emplace_back([&] {
        CK_BYTE second[1];
        EXPECT_EQ(f->C_GenerateRandom(*session, second, sizeof second), CKR_OK);
        ++done;
      });
    // Beside them, a call that could tell.
    CK_ULONG most = 0;
    while (done != sessions.size()) {
      CK_TOKEN_INFO info{};
      EXPECT_EQ(f->C_GetTokenInfo(*slot, &info), CKR_OK);
      most = std::max(most, info.ulSessionCount);
    }
    for (std::thread& thread : threads) thread.join();
    if (cannotLock) {
      EXPECT_EQ(most, 0U);
      EXPECT_GE(steady_clock::now() - began, std::chrono::seconds(3));
    } else {
      EXPECT_GT(most, 0U);
    }
  }
}

// ---- a worker that dies ----

class Killed : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    configuration.addSoftHsm();
    makeSoftHsmTokens({"other"});
    configuration.addModule("slow", BULKHEAD_SLOW_MODULE);
    library.emplace();
    f = library->functions();
    initialized.emplace(f);
    auto found = slotOf(f, "slow");
    ASSERT_TRUE(found);
    slow = *found;
    other = slotOf(f, "other").value();
  }

  // Waits until calls of that number are asleep in the module.
  bool asleep(CK_ULONG calls) {
    return eventually([&] {
      CK_TOKEN_INFO info{};
      return f->C_GetTokenInfo(slow, &info) == CKR_OK && info.ulSessionCount == calls;
    });
  }

  Configuration configuration;
  std::optional<Library> library;
  std::optional<Initialized> initialized;
  CK_FUNCTION_LIST* f = nullptr;
  CK_SLOT_ID slow = 0, other = 0;
};

TEST_F(Killed, theCallUnderWayEndsAndTheNextSessionWorks) {
  Session mine(f, other);
  ASSERT_EQ(mine.login(USER_PIN), CKR_OK);
  pid_t others = workerOf("softhsm2");
  CK_SESSION_HANDLE session = 0, idle = 0;
  ASSERT_EQ(f->C_OpenSession(slow, CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_OK);
  ASSERT_EQ(f->C_OpenSession(slow, CKF_SERIAL_SESSION, nullptr, nullptr, &idle), CKR_OK);

  std::atomic<CK_RV> answer{CKR_OK};
  steady_clock::time_point returned;
  std::thread caller([&] {
    CK_BYTE bytes[25];
    answer = f->C_GenerateRandom(session, bytes, sizeof bytes);
    returned = steady_clock::now();
  });
  EXPECT_TRUE(asleep(1));
  pid_t worker = workerOf("slow");
  EXPECT_GT(worker, 0);
  auto killed = steady_clock::now();
  EXPECT_TRUE(killWorker("slow"));
  caller.join();
  EXPECT_EQ(answer.load(), CKR_DEVICE_REMOVED);
  EXPECT_LT(returned - killed, std::chrono::seconds(10));

  // What was open on it is gone, what is open elsewhere is not.
  CK_SESSION_INFO info{};
  EXPECT_EQ(f->C_GetSessionInfo(idle, &info), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(f->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
  EXPECT_EQ(f->C_GetSessionInfo(mine, &info), CKR_OK);
  EXPECT_EQ(info.state, CKS_RW_USER_FUNCTIONS);
  EXPECT_EQ(workerOf("softhsm2"), others);

  // The slot is still listed, and a session starts a new worker.
  CK_SESSION_HANDLE fresh = 0;
  EXPECT_EQ(f->C_OpenSession(slow, CKF_SERIAL_SESSION, nullptr, nullptr, &fresh), CKR_OK);
  CK_BYTE none[1];
  EXPECT_EQ(f->C_GenerateRandom(fresh, none, 0), CKR_OK);
  EXPECT_NE(workerOf("slow"), worker);
  EXPECT_FALSE(alive(worker));
  EXPECT_EQ(f->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
  auto listed = slots(f);
  EXPECT_EQ(std::count(listed.begin(), listed.end(), slow), 1);
}

TEST_F(Killed, allCallsUnderWayEnd) {
  constexpr CK_ULONG CALLS = 6;
  std::vector<std::thread> callers;
  std::atomic<unsigned> removed{0};
  for (CK_ULONG i = 0; i < CALLS; ++i)
    callers.emplace_back([&] {
      CK_SESSION_HANDLE session = 0;
      EXPECT_EQ(f->C_OpenSession(slow, CKF_SERIAL_SESSION, nullptr, nullptr, &session), CKR_OK);
      CK_BYTE bytes[25];
      if (f->C_GenerateRandom(session, bytes, sizeof bytes) == CKR_DEVICE_REMOVED) ++removed;
    });
  EXPECT_TRUE(asleep(CALLS));
  EXPECT_TRUE(killWorker("slow"));
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(removed.load(), CALLS);
}

TEST_F(Killed, aSupervisorsDeathIsItsWorkersToo) {
  pid_t worker = workerOf("slow");
  pid_t supervisor =
      ::atoi(procField("/proc/" + std::to_string(worker) + "/status", "PPid").c_str());
  ASSERT_GT(supervisor, 1);
  ASSERT_EQ(::kill(supervisor, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return !alive(worker); }));
  // The first to notice may still be told; after that there is a new worker.
  CK_SESSION_HANDLE session = 0;
  EXPECT_TRUE(eventually([&] {
    return f->C_OpenSession(slow, CKF_SERIAL_SESSION, nullptr, nullptr, &session) == CKR_OK;
  }));
  EXPECT_EQ(Session(f, other).login(USER_PIN), CKR_OK);
}

}  // namespace
}  // namespace bulkhead::test
