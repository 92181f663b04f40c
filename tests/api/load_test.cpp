// SPDX-License-Identifier: BSD-2-Clause
//
// Modules that are loaded through bulkhead.h, isolated: what each function does and refuses, and
// that they are the modules, workers and slots that bulkhead-pkcs11.so has in the same process.
#include <sys/wait.h>

#include <algorithm>

#include "proxy/bulkhead.h"
#include "tests/integration/fixture.h"

namespace bulkhead::test {
namespace {

std::string text(const char* s) {
  return s == nullptr ? "(null)" : s;
}

// Whether the thread's message has that in it.
::testing::AssertionResult says(const std::string& part) {
  std::string message = bulkhead_message();
  if (message.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "'" << message << "' has no '" << part << "'";
}

class Load : public ::testing::Test {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(SOFTHSM);
    configuration.addSoftHsm("softhsm2", "priority: 5\nx-acme-colour: blue and  green\n");
    configuration.addModule("slow", BULKHEAD_SLOW_MODULE);
    makeSoftHsmTokens({"one"});
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([] { return supervisors().empty(); })) << "something is left";
  }
  // A copy of the slow module, which is a module of its own.
  std::string copyOfSlow(const std::string& name) {
    configuration.directory().makeDirectory(std::filesystem::path(name).parent_path().string());
    std::filesystem::copy_file(BULKHEAD_SLOW_MODULE, configuration.path(name));
    return configuration.path(name);
  }
  static std::vector<std::string> names(CK_FUNCTION_LIST** lists) {
    std::vector<std::string> all;
    for (; lists != nullptr && *lists != nullptr; ++lists)
      all.push_back(text(bulkhead_module_name(*lists)));
    return all;
  }
  template <typename Body>
  static int inChild(Body body) {
    pid_t pid = ::fork();
    if (pid == 0) {
      ::alarm(60);
      ::_exit(body());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
  }

  Configuration configuration;
};
using Names = std::vector<std::string>;

TEST_F(Load, ByNameShowsThisModulesSlotsOnly) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("slow", 0);
  ASSERT_NE(list, nullptr) << bulkhead_message();
  EXPECT_STREQ(bulkhead_message(), "");
  EXPECT_EQ(list->version.major, 2);
  EXPECT_EQ(list->version.minor, 40);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  EXPECT_EQ(slots(list).size(), 1u);

  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  Initialized all(f);
  auto every = slots(f);
  EXPECT_EQ(every.size(), 3u);
  CK_SLOT_ID own = slots(list)[0];
  EXPECT_EQ(std::count(every.begin(), every.end(), own), 1);
  // Another module's slot is none here.
  for (CK_SLOT_ID slot : every) {
    CK_SLOT_INFO info;
    EXPECT_EQ(list->C_GetSlotInfo(slot, &info), slot == own ? CKR_OK : CKR_SLOT_ID_INVALID);
  }
  EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
  bulkhead_module_release(list);
}

TEST_F(Load, ReadsTheConfigurationAndStartsNothing) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  ASSERT_NE(list, nullptr);
  EXPECT_TRUE(supervisors().empty());
  CK_ULONG count = 0;
  EXPECT_EQ(list->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
  bulkhead_module_release(list);
}

TEST_F(Load, ByThePathOfAConfiguredModuleIsThatModule) {
  std::filesystem::create_symlink(SOFTHSM, configuration.path("alias.so"));
  for (const std::string& path : {std::string(SOFTHSM), configuration.path("alias.so")}) {
    CK_FUNCTION_LIST* list = bulkhead_module_load(path.c_str(), 0);
    ASSERT_NE(list, nullptr) << bulkhead_message();
    EXPECT_STREQ(bulkhead_module_name(list), "softhsm2");
    EXPECT_STREQ(bulkhead_module_path(list), SOFTHSM);
    EXPECT_STREQ(bulkhead_module_config(list, "priority"), "5");
    bulkhead_module_release(list);
  }
}

TEST_F(Load, ByAPathThatNobodyConfigured) {
  std::string path = copyOfSlow("here/acme.so");
  CK_FUNCTION_LIST* list = bulkhead_module_load(path.c_str(), 0);
  ASSERT_NE(list, nullptr) << bulkhead_message();
  EXPECT_STREQ(bulkhead_module_name(list), "acme.so");
  EXPECT_EQ(bulkhead_module_path(list), path);
  EXPECT_EQ(bulkhead_module_config(list, "module"), path);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK) << bulkhead_message();
  EXPECT_GT(workerOf("acme.so"), 0);
  ASSERT_EQ(slots(list).size(), 1u);

  // Of the same file name elsewhere, and of the same file again.
  std::string elsewhere = copyOfSlow("there/acme.so");
  CK_FUNCTION_LIST* other = bulkhead_module_load(elsewhere.c_str(), 0);
  CK_FUNCTION_LIST* again = bulkhead_module_load(path.c_str(), 0);
  EXPECT_STREQ(bulkhead_module_name(other), "acme.so:2");
  EXPECT_STREQ(bulkhead_module_name(again), "acme.so");
  ASSERT_EQ(bulkhead_initialize(other, nullptr), CKR_OK) << bulkhead_message();
  ASSERT_EQ(bulkhead_initialize(again, nullptr), CKR_OK) << bulkhead_message();
  EXPECT_EQ(supervisors().size(), 2u);
  EXPECT_NE(slots(list), slots(other));
  EXPECT_EQ(slots(list), slots(again));

  // It is nobody else's: who sees all sees what is configured.
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  Initialized all(f);
  auto every = slots(f);
  EXPECT_EQ(every.size(), 3u);
  EXPECT_EQ(std::count(every.begin(), every.end(), slots(list)[0]), 0);
  CK_SLOT_INFO info;
  EXPECT_EQ(f->C_GetSlotInfo(slots(list)[0], &info), CKR_SLOT_ID_INVALID);
  for (CK_FUNCTION_LIST* each : {list, other, again}) bulkhead_module_release(each);
}

TEST_F(Load, ByAPolicyThatMatchesTheFile) {
  // The shipped policy for SoftHSM2 is chosen by the file's name; its token directory is added here
  // for the module without a .module file.
  configuration.removeModule("softhsm2");
  configuration.addDropIn("libsofthsm2.so",
                          "[Filesystem]\nReadWritePaths=" + configuration.path("tokens") +
                              "\nReadOnlyPaths=" + configuration.path("softhsm2.conf") + "\n");
  CK_FUNCTION_LIST* list = bulkhead_module_load(SOFTHSM, 0);
  ASSERT_NE(list, nullptr) << bulkhead_message();
  EXPECT_STREQ(bulkhead_module_name(list), "libsofthsm2.so");
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK) << bulkhead_message();
  EXPECT_TRUE(slotOf(list, "one"));
  bulkhead_module_release(list);
}

TEST_F(Load, RefusesWithAMessage) {
  configuration.addModule("hidden", copyOfSlow("hidden.so"), "disable-in: bulkhead\n");
  configuration.addModule("gone", configuration.path("gone.so"));
  configuration.directory().write("modules/faulty.module", "module without a colon\n");
  configuration.addModule("again", proxyPath());
  const std::string proxy = proxyPath();
  struct {
    const char* name;
    const char* why;
  } cases[] = {
      {nullptr, "no name"},
      {"", "no name"},
      {"nobody", "not configured"},
      {"nobody.so", "not configured"},
      {"/nowhere/acme.so", "No such file"},
      {"/usr/lib", "is a directory"},
      {"/dev/null", "not a regular file"},
      {"hidden", "disable-in"},
      {"gone", "No such file"},
      {"faulty", "faulty.module:1"},
      {"again", "load all modules once more"},
      {proxy.c_str(), "load all modules once more"},
  };
  for (auto& one : cases) {
    EXPECT_EQ(bulkhead_module_load(one.name, 0), nullptr) << text(one.name);
    EXPECT_TRUE(says(one.why)) << text(one.name);
  }
  for (unsigned flags : {BULKHEAD_TRUSTED, 4U, 1U << 31}) {
    EXPECT_EQ(bulkhead_module_load("slow", flags), nullptr);
    EXPECT_TRUE(says("flags"));
  }
  // What is hidden from this program by name is not hidden from who has its path.
  CK_FUNCTION_LIST* list = bulkhead_module_load(configuration.path("hidden.so").c_str(), 0);
  ASSERT_NE(list, nullptr);
  EXPECT_STREQ(bulkhead_module_name(list), "hidden.so");
  bulkhead_module_release(list);
}

TEST_F(Load, WithTheNewerVersion) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", BULKHEAD_VERSION_3_2);
  ASSERT_NE(list, nullptr);
  auto newer = reinterpret_cast<CK_FUNCTION_LIST_3_2*>(list);
  EXPECT_EQ(newer->version.major, 3);
  EXPECT_EQ(newer->version.minor, 2);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  // Its other lists are the same consumer's.
  CK_FUNCTION_LIST* older = nullptr;
  CK_INTERFACE* interface = nullptr;
  CK_INTERFACE interfaces[3];
  CK_ULONG count = 3;
  ASSERT_EQ(list->C_GetFunctionList(&older), CKR_OK);
  ASSERT_EQ(newer->C_GetInterface(nullptr, nullptr, &interface, 0), CKR_OK);
  ASSERT_EQ(newer->C_GetInterfaceList(interfaces, &count), CKR_OK);
  EXPECT_EQ(interface->pFunctionList, list);
  EXPECT_EQ(interfaces[0].pFunctionList, list);
  EXPECT_STREQ(bulkhead_module_name(older), "softhsm2");
  EXPECT_EQ(slots(older), slots(list));
  for (CK_INTERFACE& one : interfaces)
    EXPECT_STREQ(bulkhead_module_name(static_cast<CK_FUNCTION_LIST*>(one.pFunctionList)),
                 "softhsm2");
  {
    Session session(list, *slotOf(list, "one"));
    EXPECT_EQ(newer->C_SessionCancel(session, 0), CKR_FUNCTION_NOT_SUPPORTED);
  }
  EXPECT_STREQ(bulkhead_module_name(list), "softhsm2");
  bulkhead_module_release(list);
}

TEST_F(Load, InfoIsTheModules) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  CK_INFO info{}, direct{};
  EXPECT_EQ(list->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  ASSERT_EQ(list->C_GetInfo(&info), CKR_OK);
  EXPECT_EQ(list->C_GetInfo(nullptr), CKR_ARGUMENTS_BAD);
  {
    Library softHsm(SOFTHSM);
    Initialized module(softHsm.functions());
    ASSERT_EQ(module->C_GetInfo(&direct), CKR_OK);
  }
  EXPECT_EQ(field(info.libraryDescription), field(direct.libraryDescription));
  EXPECT_EQ(field(info.manufacturerID), field(direct.manufacturerID));
  ASSERT_TRUE(killWorker("softhsm2"));
  // The first call may be the one that finds the worker dead.
  EXPECT_TRUE(eventually([&] { return list->C_GetInfo(&info) == CKR_OK; }));
  bulkhead_module_release(list);
}

TEST_F(Load, SharesItsWorkerAndSlotsWithTheProxy) {
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  for (bool proxyFirst : {true, false}) {
    if (proxyFirst) {
      ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
      ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
    } else {
      ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
      ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
    }
    pid_t worker = workerOf("softhsm2");
    ASSERT_GT(worker, 0);
    EXPECT_EQ(supervisors().size(), 2u) << "softhsm2 and slow, once each";
    EXPECT_EQ(slotOf(f, "one"), slotOf(list, "one"));

    // Sessions are each one's own, the login is the token's.
    CK_SLOT_ID slot = *slotOf(list, "one");
    Session ours(list, slot), theirs(f, slot);
    CK_SESSION_INFO info{};
    EXPECT_EQ(list->C_GetSessionInfo(theirs, &info), CKR_SESSION_HANDLE_INVALID);
    EXPECT_EQ(ours.login(USER_PIN), CKR_OK);
    EXPECT_EQ(theirs.login(USER_PIN), CKR_USER_ALREADY_LOGGED_IN);
    if (proxyFirst) {
      EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
      EXPECT_EQ(list->C_GetSessionInfo(ours, &info), CKR_OK);
      EXPECT_EQ(info.state, static_cast<CK_STATE>(CKS_RW_USER_FUNCTIONS));
      EXPECT_EQ(workerOf("softhsm2"), worker);
      EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
    } else {
      EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
      EXPECT_EQ(f->C_GetSessionInfo(theirs, &info), CKR_OK);
      EXPECT_EQ(info.state, static_cast<CK_STATE>(CKS_RW_USER_FUNCTIONS));
      EXPECT_EQ(workerOf("softhsm2"), worker);
      EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
    }
  }
  bulkhead_module_release(list);
}

TEST_F(Load, TwiceIsTwoConsumersOfOneWorker) {
  CK_FUNCTION_LIST* a = bulkhead_module_load("softhsm2", 0);
  CK_FUNCTION_LIST* b = bulkhead_module_load("softhsm2", 0);
  ASSERT_NE(a, b);
  ASSERT_EQ(bulkhead_initialize(a, nullptr), CKR_OK);
  ASSERT_EQ(bulkhead_initialize(b, nullptr), CKR_OK);
  EXPECT_EQ(supervisors().size(), 1u);
  {
    Session session(b, *slotOf(b, "one"));
    EXPECT_EQ(bulkhead_finalize(a), CKR_OK);
    CK_BYTE bytes[8];
    EXPECT_EQ(b->C_GenerateRandom(session, bytes, sizeof bytes), CKR_OK);
  }
  bulkhead_module_release(a);
  bulkhead_module_release(b);
}

TEST_F(Load, OutlivesItsWorker) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  ASSERT_TRUE(killWorker("softhsm2"));
  EXPECT_TRUE(eventually([&] { return slotOf(list, "one").has_value(); }));
  EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
  bulkhead_module_release(list);
}

TEST_F(Load, WhatCannotStartFailsWithTheReason) {
  configuration.addPolicy("slow", "[Worker]\nNoSuchKey=1\n");
  CK_FUNCTION_LIST* list = bulkhead_module_load("slow", 0);
  ASSERT_NE(list, nullptr);
  EXPECT_NE(bulkhead_initialize(list, nullptr), CKR_OK);
  EXPECT_TRUE(says("slow: "));
  EXPECT_TRUE(says("NoSuchKey"));
  EXPECT_EQ(bulkhead_finalize(list), CKR_CRYPTOKI_NOT_INITIALIZED);
  // What the module answers is handed on.
  configuration.addPolicy("slow", "");
  configuration.addModule("slow", BULKHEAD_MEETING);
  EXPECT_EQ(bulkhead_initialize(list, nullptr), CKR_ARGUMENTS_BAD) << "pReserved is missing";
  EXPECT_TRUE(says("slow: "));
  bulkhead_module_release(list);
}

TEST_F(Load, MixesWithCInitialize) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  ASSERT_EQ(list->C_Initialize(nullptr), CKR_OK);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  EXPECT_EQ(list->C_Finalize(nullptr), CKR_OK);
  EXPECT_TRUE(slotOf(list, "one"));
  EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
  CK_ULONG count = 0;
  EXPECT_EQ(list->C_GetSlotList(CK_FALSE, nullptr, &count), CKR_CRYPTOKI_NOT_INITIALIZED);
  bulkhead_module_release(list);

  // And on the proxy's own lists, which are lists as any other.
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  ASSERT_EQ(bulkhead_initialize(f, nullptr), CKR_OK);
  ASSERT_EQ(f->C_Initialize(nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(f), CKR_OK);
  EXPECT_TRUE(slotOf(f, "one"));
  EXPECT_EQ(f->C_Finalize(nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_module_name(f), nullptr);
  EXPECT_TRUE(says("not a loaded module"));
  bulkhead_module_release(f);
  ASSERT_EQ(bulkhead_initialize(f, nullptr), CKR_OK) << "nothing was released";
  EXPECT_EQ(bulkhead_finalize(f), CKR_OK);
}

TEST_F(Load, NamePathAndConfiguration) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  const char* name = bulkhead_module_name(list);
  const char* colour = bulkhead_module_config(list, "x-acme-colour");
  EXPECT_STREQ(name, "softhsm2");
  EXPECT_STREQ(bulkhead_module_path(list), SOFTHSM);
  EXPECT_STREQ(bulkhead_module_config(list, "module"), SOFTHSM);
  EXPECT_STREQ(colour, "blue and  green");
  EXPECT_STREQ(bulkhead_message(), "");
  EXPECT_EQ(bulkhead_module_config(list, "critical"), nullptr);
  EXPECT_TRUE(says("no such key"));
  EXPECT_EQ(bulkhead_module_config(list, nullptr), nullptr);
  bulkhead_module_release(list);
  for (auto ask : {bulkhead_module_name, bulkhead_module_path}) {
    EXPECT_EQ(ask(list), nullptr) << "it is released";
    EXPECT_EQ(ask(nullptr), nullptr);
    EXPECT_TRUE(says("not a loaded module"));
  }
  EXPECT_EQ(bulkhead_module_config(list, "module"), nullptr);
  EXPECT_EQ(bulkhead_module_config(nullptr, "module"), nullptr);
  EXPECT_STREQ(name, "softhsm2");
  EXPECT_STREQ(colour, "blue and  green");
}

TEST_F(Load, AllByPriorityAndName) {
  configuration.addModule("aaa", copyOfSlow("aaa.so"));
  configuration.addModule("elsewhere", copyOfSlow("elsewhere.so"), "enable-in: another-program\n");
  configuration.addModule("trusted", copyOfSlow("trusted.so"), "trust-policy: yes\npriority: -1\n");
  configuration.addModule("gone", configuration.path("gone.so"));
  auto loaded = [](const char* program, unsigned flags) {
    CK_FUNCTION_LIST** lists = bulkhead_modules_load(program, flags);
    auto all = names(lists);
    bulkhead_modules_release(lists);
    return all;
  };
  EXPECT_EQ(loaded(nullptr, 0), (Names{"softhsm2", "aaa", "slow", "trusted"}));
  EXPECT_EQ(loaded("another-program", 0),
            (Names{"softhsm2", "aaa", "elsewhere", "slow", "trusted"}));
  EXPECT_EQ(loaded(nullptr, BULKHEAD_TRUSTED), Names{"trusted"});
  CK_FUNCTION_LIST** lists =
      bulkhead_modules_load(nullptr, BULKHEAD_TRUSTED | BULKHEAD_VERSION_3_2);
  EXPECT_EQ(lists[0]->version.major, 3);
  bulkhead_modules_release(lists);
  EXPECT_EQ(bulkhead_modules_load(nullptr, 4), nullptr);
  EXPECT_TRUE(says("flags"));
}

TEST_F(Load, AllOfNothing) {
  configuration.removeModule("softhsm2");
  configuration.removeModule("slow");
  CK_FUNCTION_LIST** lists = bulkhead_modules_load(nullptr, 0);
  ASSERT_NE(lists, nullptr);
  EXPECT_EQ(*lists, nullptr);
  EXPECT_EQ(bulkhead_modules_initialize(lists), CKR_OK);
  EXPECT_EQ(bulkhead_modules_finalize(lists), CKR_OK);
  bulkhead_modules_release(lists);
  bulkhead_modules_release(nullptr);
  bulkhead_module_release(nullptr);
  EXPECT_EQ(bulkhead_modules_initialize(nullptr), CKR_ARGUMENTS_BAD);
  EXPECT_EQ(bulkhead_modules_finalize(nullptr), CKR_ARGUMENTS_BAD);
}

TEST_F(Load, AModuleOfAProgramsNameOnly) {
  configuration.addModule("elsewhere", copyOfSlow("elsewhere.so"),
                          "enable-in: another-program\npriority: 9\n");
  CK_FUNCTION_LIST** lists = bulkhead_modules_load("another-program", 0);
  ASSERT_EQ(names(lists), (Names{"elsewhere", "softhsm2", "slow"}));
  ASSERT_EQ(bulkhead_modules_initialize(lists), CKR_OK) << bulkhead_message();
  EXPECT_EQ(slots(lists[0]).size(), 1u);
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  {
    Initialized all(f);
    EXPECT_EQ(slots(f).size(), 3u) << "this program's";
  }
  EXPECT_EQ(bulkhead_modules_finalize(lists), CKR_OK);
  bulkhead_modules_release(lists);
}

TEST_F(Load, TakesOutWhatFailsAndIsNotCritical) {
  configuration.addModule("aaa", copyOfSlow("aaa.so"));
  configuration.addPolicy("aaa", "[Worker]\nNoSuchKey=1\n");
  CK_FUNCTION_LIST** lists = bulkhead_modules_load(nullptr, 0);
  ASSERT_EQ(names(lists), (Names{"softhsm2", "aaa", "slow"}));
  CK_FUNCTION_LIST* failing = lists[1];
  EXPECT_EQ(bulkhead_modules_initialize(lists), CKR_OK);
  EXPECT_TRUE(says("aaa: "));
  EXPECT_TRUE(says("NoSuchKey"));
  EXPECT_EQ(names(lists), (Names{"softhsm2", "slow"}));
  EXPECT_EQ(bulkhead_module_name(failing), nullptr) << "it is released";
  EXPECT_TRUE(slotOf(lists[0], "one"));
  EXPECT_EQ(bulkhead_modules_finalize(lists), CKR_OK);
  EXPECT_EQ(bulkhead_modules_finalize(lists), CKR_CRYPTOKI_NOT_INITIALIZED);
  EXPECT_NE(text(bulkhead_message()), "");
  bulkhead_modules_release(lists);
}

TEST_F(Load, ACriticalModuleThatFailsFailsAll) {
  configuration.addModule("aaa", copyOfSlow("aaa.so"), "critical: yes\n");
  configuration.addPolicy("aaa", "[Worker]\nNoSuchKey=1\n");
  CK_FUNCTION_LIST** lists = bulkhead_modules_load(nullptr, 0);
  ASSERT_EQ(names(lists), (Names{"softhsm2", "aaa", "slow"}));
  EXPECT_NE(bulkhead_modules_initialize(lists), CKR_OK);
  EXPECT_TRUE(says("aaa: "));
  EXPECT_EQ(names(lists), (Names{"softhsm2", "aaa", "slow"}));
  EXPECT_TRUE(supervisors().empty());
  // The others are none of that.
  EXPECT_EQ(bulkhead_initialize(lists[0], nullptr), CKR_OK);
  EXPECT_EQ(bulkhead_finalize(lists[0]), CKR_OK);
  bulkhead_modules_release(lists);
}

TEST_F(Load, ACriticalModuleThatIsBrokenLoadsNothing) {
  configuration.addModule("gone", configuration.path("gone.so"), "critical: yes\n");
  EXPECT_EQ(bulkhead_modules_load(nullptr, 0), nullptr);
  EXPECT_TRUE(says("gone: "));
  // Whoever wants another by its name is not concerned, whoever sees all is: then and after.
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  Library proxy;
  EXPECT_EQ(proxy.functions()->C_Initialize(nullptr), CKR_GENERAL_ERROR);
  EXPECT_TRUE(says("gone: "));
  EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
  EXPECT_EQ(proxy.functions()->C_Initialize(nullptr), CKR_GENERAL_ERROR);
  bulkhead_module_release(list);
}

TEST_F(Load, AllStartSideBySide) {
  std::string place = configuration.directory().makeDirectory("meeting");
  for (std::string name : {"left", "right"}) {
    std::filesystem::copy_file(BULKHEAD_MEETING, configuration.path(name + ".so"));
    configuration.addModule(name, configuration.path(name + ".so"),
                            "critical: yes\nx-init-reserved: " + place + "/" + name + "\n");
    configuration.addDropIn(name, "[Filesystem]\nReadWritePaths=" + place + "\n");
  }
  CK_FUNCTION_LIST** lists = bulkhead_modules_load(nullptr, 0);
  ASSERT_EQ(names(lists), (Names{"softhsm2", "left", "right", "slow"}));
  EXPECT_EQ(bulkhead_modules_initialize(lists), CKR_OK) << bulkhead_message();
  EXPECT_EQ(supervisors().size(), 4u);
  // So do those that are replaced.
  Library proxy;
  CK_FUNCTION_LIST* f = proxy.functions();
  {
    Initialized every(f);
    for (std::string name : {"left", "right"}) {
      std::filesystem::remove(place + "/" + name);
      ASSERT_TRUE(killWorker(name));
    }
    // The first look is the one that finds them dead.
    for (int i = 0; i < 2; ++i) EXPECT_EQ(slots(f).size(), 3u);
    EXPECT_GT(workerOf("left"), 0);
    EXPECT_GT(workerOf("right"), 0);
  }
  EXPECT_EQ(bulkhead_modules_finalize(lists), CKR_OK);
  EXPECT_TRUE(supervisors().empty());
  bulkhead_modules_release(lists);
}

TEST_F(Load, WithAWorkerOfItsOwnWhereThePolicySaysSo) {
  configuration.addDropIn("slow", "[Worker]\nShare=consumer\n");
  CK_FUNCTION_LIST* a = bulkhead_module_load("slow", 0);
  CK_FUNCTION_LIST* b = bulkhead_module_load("slow", 0);
  CK_FUNCTION_LIST* both[] = {a, b, nullptr};
  ASSERT_EQ(bulkhead_modules_initialize(both), CKR_OK) << bulkhead_message();
  EXPECT_EQ(supervisors().size(), 2u);
  EXPECT_EQ(slots(a), slots(b));
  bulkhead_module_release(a);
  EXPECT_EQ(slots(b).size(), 1u);
  bulkhead_module_release(b);
}

// What ends comes in each of 24 orders: two lists, each finalised and released.
TEST_F(Load, ReleaseInEveryOrder) {
  enum Step { FinalizeA, ReleaseA, FinalizeB, ReleaseB };
  std::vector<Step> order{FinalizeA, ReleaseA, FinalizeB, ReleaseB};
  do {
    CK_FUNCTION_LIST* a = bulkhead_module_load("slow", 0);
    CK_FUNCTION_LIST* b = bulkhead_module_load("slow", 0);
    ASSERT_EQ(bulkhead_initialize(a, nullptr), CKR_OK);
    ASSERT_EQ(bulkhead_initialize(b, nullptr), CKR_OK);
    bool endedA = false, endedB = false;
    for (Step step : order) {
      CK_FUNCTION_LIST* list = step == FinalizeA || step == ReleaseA ? a : b;
      bool& ended = list == a ? endedA : endedB;
      if (step == FinalizeA || step == FinalizeB) {
        EXPECT_EQ(bulkhead_finalize(list), ended ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_OK);
      } else {
        bulkhead_module_release(list);
        EXPECT_EQ(bulkhead_module_name(list), nullptr);
        bulkhead_module_release(list);  // a second time is harmless
      }
      ended = true;
      CK_ULONG count = 0;
      EXPECT_EQ(a->C_GetSlotList(CK_FALSE, nullptr, &count),
                endedA ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_OK);
      EXPECT_EQ(b->C_GetSlotList(CK_FALSE, nullptr, &count),
                endedB ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_OK);
    }
    EXPECT_TRUE(supervisors().empty());
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(Load, ReleaseEndsEveryInitialization) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("slow", 0);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(list->C_Initialize(nullptr), CKR_OK);
  bulkhead_module_release(list);
  EXPECT_TRUE(supervisors().empty());
  // Nothing of it is left for the list's next owner.
  EXPECT_EQ(bulkhead_finalize(list), CKR_CRYPTOKI_NOT_INITIALIZED);
}

TEST_F(Load, AListIsItsOwnersUntilItIsReleased) {
  CK_FUNCTION_LIST* kept = bulkhead_module_load("slow", 0);
  Library proxy;
  for (int i = 0; i < 500; ++i) EXPECT_NE(proxy.functions(), kept);
  EXPECT_STREQ(bulkhead_module_name(kept), "slow");

  std::vector<CK_FUNCTION_LIST*> all{kept};
  while (CK_FUNCTION_LIST* list = bulkhead_module_load("slow", 0)) {
    ASSERT_LE(all.size(), 1000u);
    EXPECT_EQ(std::count(all.begin(), all.end(), list), 0);
    all.push_back(list);
  }
  EXPECT_TRUE(says("all function lists are in use"));
  EXPECT_GE(all.size(), 128u);
  EXPECT_EQ(bulkhead_modules_load(nullptr, 0), nullptr);
  EXPECT_TRUE(says("all function lists are in use"));
  CK_FUNCTION_LIST* none = nullptr;
  EXPECT_EQ(proxy.symbol<CK_RV (*)(CK_FUNCTION_LIST**)>("C_GetFunctionList")(&none),
            CKR_HOST_MEMORY);
  // One place is not enough for two modules, and is not lost in the attempt.
  bulkhead_module_release(all.back());
  EXPECT_EQ(bulkhead_modules_load(nullptr, 0), nullptr);
  all.back() = bulkhead_module_load("slow", 0);
  EXPECT_NE(all.back(), nullptr);
  for (CK_FUNCTION_LIST* list : all) bulkhead_module_release(list);
  // A list that was someone's is as good as new.
  for (int i = 0; i < 300; ++i) {
    CK_FUNCTION_LIST* f = proxy.functions();
    EXPECT_EQ(bulkhead_module_name(f), nullptr);
    if (i % 100 != 0) continue;
    Initialized every(f);
    EXPECT_EQ(slots(f).size(), 3u);
  }
}

TEST_F(Load, ThousandsOneAfterAnother) {
  for (int i = 0; i < 3000; ++i) {
    CK_FUNCTION_LIST* list = bulkhead_module_load(i % 2 == 0 ? "slow" : SOFTHSM, 0);
    ASSERT_NE(list, nullptr);
    bulkhead_module_release(list);
  }
}

TEST_F(Load, ManyThreadsLoadAndRelease) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 20; ++i) {
        CK_FUNCTION_LIST* list = bulkhead_module_load(t % 2 == 0 ? "slow" : "softhsm2", 0);
        ASSERT_NE(list, nullptr);
        if (i % 4 == 0) {
          EXPECT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
          EXPECT_FALSE(slots(list).empty());
          if (i % 8 == 0) {
            EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
          }
        }
        EXPECT_STREQ(bulkhead_module_name(list), t % 2 == 0 ? "slow" : "softhsm2");
        bulkhead_module_release(list);
      }
    });
  for (auto& thread : threads) thread.join();
}

TEST_F(Load, EightThreadsRaceOnOneList) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) {
        EXPECT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
        EXPECT_EQ(slots(list).size(), 2u);
        EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(supervisors().empty());
  bulkhead_module_release(list);
}

TEST_F(Load, AForkedChildKeepsTheListsAndHasWorkersOfItsOwn) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("softhsm2", 0);
  CK_FUNCTION_LIST* idle = bulkhead_module_load("slow", 0);
  ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  pid_t worker = workerOf("softhsm2");
  CK_SLOT_ID slot = *slotOf(list, "one");
  EXPECT_EQ(inChild([&] {
              CK_ULONG count = 0;
              if (list->C_GetSlotList(CK_FALSE, nullptr, &count) != CKR_CRYPTOKI_NOT_INITIALIZED)
                return 1;
              if (bulkhead_finalize(list) != CKR_CRYPTOKI_NOT_INITIALIZED) return 2;
              if (text(bulkhead_module_name(list)) != "softhsm2") return 3;
              if (text(bulkhead_module_config(list, "priority")) != "5") return 4;
              if (bulkhead_initialize(list, nullptr) != CKR_OK) return 5;
              if (slotOf(list, "one") != slot) return 6;
              if (slots(list).size() != 2) return 7;
              pid_t own = workerOf("softhsm2");
              if (own <= 0 || own == worker) return 8;
              bulkhead_module_release(list);
              if (bulkhead_initialize(idle, nullptr) != CKR_OK) return 9;
              if (slots(idle).size() != 1) return 10;
              bulkhead_module_release(idle);
              CK_FUNCTION_LIST* fresh = bulkhead_module_load("softhsm2", 0);
              if (fresh == nullptr || bulkhead_initialize(fresh, nullptr) != CKR_OK) return 11;
              return bulkhead_finalize(fresh) == CKR_OK ? 0 : 12;
            }),
            0);
  EXPECT_EQ(workerOf("softhsm2"), worker);
  EXPECT_EQ(slotOf(list, "one"), slot);
  EXPECT_STREQ(bulkhead_module_name(idle), "slow");
  // A child that only ends harms nobody either.
  EXPECT_EQ(inChild([&] {
              bulkhead_module_release(list);
              return 0;
            }),
            0);
  EXPECT_EQ(slotOf(list, "one"), slot);
  EXPECT_EQ(bulkhead_finalize(list), CKR_OK);
  bulkhead_module_release(list);
  bulkhead_module_release(idle);
}

// Wherever it is: in a function, which is completed first, or between two.
TEST_F(Load, AThreadThatIsCancelledAtAnyInstructionLeavesNothingHalfDone) {
  CK_FUNCTION_LIST* list = bulkhead_module_load("slow", 0);
  for (int i = 0; i < 40; ++i) {
    pthread_t thread;
    ASSERT_EQ(::pthread_create(
                  &thread, nullptr,
                  [](void* module) -> void* {
                    auto one = static_cast<CK_FUNCTION_LIST*>(module);
                    ::pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
                    for (;;) {
                      (void)bulkhead_initialize(one, nullptr);
                      (void)bulkhead_module_load("nobody", 0);
                      (void)bulkhead_module_name(one);
                      (void)bulkhead_module_config(one, "module");
                      (void)bulkhead_message();
                      (void)bulkhead_finalize(one);
                    }
                  },
                  list),
              0);
    ::usleep(static_cast<useconds_t>(700 * i));
    ::pthread_cancel(thread);
    // What it yields differs with the C library's ways to end it.
    ASSERT_EQ(::pthread_join(thread, nullptr), 0);
    // It was between the two, or not.
    CK_RV left = bulkhead_finalize(list);
    EXPECT_TRUE(left == CKR_OK || left == CKR_CRYPTOKI_NOT_INITIALIZED) << left;
    EXPECT_TRUE(supervisors().empty());
    ASSERT_EQ(bulkhead_initialize(list, nullptr), CKR_OK) << bulkhead_message();
    EXPECT_EQ(slots(list).size(), 1u);
    ASSERT_EQ(bulkhead_finalize(list), CKR_OK);
  }
  bulkhead_module_release(list);
}

TEST_F(Load, MessagesAreTheThreadsOwn) {
  EXPECT_EQ(bulkhead_module_load("nobody", 0), nullptr);
  EXPECT_TRUE(says("nobody"));
  std::thread([] {
    EXPECT_STREQ(bulkhead_message(), "");
    EXPECT_EQ(bulkhead_module_load("no-one", 0), nullptr);
    EXPECT_TRUE(says("no-one"));
  }).join();
  EXPECT_TRUE(says("nobody"));
  EXPECT_EQ(bulkhead_module_load(std::string(5000, 'x').c_str(), 0), nullptr);
  EXPECT_LE(text(bulkhead_message()).size(), 511u);
  EXPECT_EQ(bulkhead_module_load("two\nlines", 0), nullptr);
  EXPECT_EQ(text(bulkhead_message()).find('\n'), std::string::npos);
  bulkhead_module_release(nullptr);
  EXPECT_STREQ(bulkhead_message(), "");
}

TEST_F(Load, NamesOfReturnValues) {
  EXPECT_STREQ(bulkhead_strerror(CKR_OK), "CKR_OK");
  EXPECT_STREQ(bulkhead_strerror(CKR_DEVICE_REMOVED), "CKR_DEVICE_REMOVED");
  EXPECT_STREQ(bulkhead_strerror(CKR_VENDOR_DEFINED), "CKR_VENDOR_DEFINED");
  EXPECT_STREQ(bulkhead_strerror(CKR_VENDOR_DEFINED + 5), "CKR_VENDOR_DEFINED");
  EXPECT_STREQ(bulkhead_strerror(0x7777), "an unknown error");
}

TEST_F(Load, KeepsErrno) {
  errno = ERANGE;
  EXPECT_EQ(bulkhead_module_load("nobody", 0), nullptr);
  EXPECT_EQ(errno, ERANGE);
  CK_FUNCTION_LIST* list = bulkhead_module_load("slow", 0);
  EXPECT_EQ(bulkhead_initialize(list, nullptr), CKR_OK);
  EXPECT_EQ(errno, ERANGE);
  bulkhead_module_release(list);
  EXPECT_EQ(errno, ERANGE);
}

}  // namespace
}  // namespace bulkhead::test
