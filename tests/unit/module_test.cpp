// SPDX-License-Identifier: BSD-2-Clause
#include "worker/module.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace bulkhead::worker {
namespace {

using ipc::Function;

std::string quirk(const std::string& name) {
  return std::string(BULKHEAD_QUIRKS) + "/libquirk-" + name + ".so";
}

TEST(ModuleLoader, TakesAListOf240) {
  auto module = Module::load(quirk("plain"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->version().major, 2);
  EXPECT_EQ(module->initialize(nullptr), CKR_OK);
  EXPECT_FALSE(module->oneAtATime());
  EXPECT_EQ(module->function(Function::C_GetSlotList), nullptr);
  EXPECT_EQ(module->function(Function::C_EncapsulateKey), nullptr);
}

TEST(ModuleLoader, SerialisesAModuleThatCannotLock) {
  auto module = Module::load(quirk("cannot-lock"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->initialize(nullptr), CKR_OK);
  EXPECT_TRUE(module->oneAtATime());
}

TEST(ModuleLoader, ReadsNoMoreOfAListThanA240ListHasWhateverItsVersion) {
  auto module = Module::load(quirk("short-list"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->function(Function::C_EncapsulateKey), nullptr);
}

TEST(ModuleLoader, FallsBackToTheListWhenTheInterfaceFails) {
  auto module = Module::load(quirk("broken-interface"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->version().major, 2);
}

TEST(ModuleLoader, PrefersTheNewestInterface) {
  auto module = Module::load(quirk("new-interface"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->version().major, 3);
  EXPECT_EQ(module->version().minor, 2);
  EXPECT_NE(module->function(Function::C_EncapsulateKey), nullptr);
}

TEST(ModuleLoader, ReadsNoMoreOfA30ListThanItHas) {
  auto module = Module::load(quirk("old-new-interface"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->version().minor, 0);
  EXPECT_EQ(module->function(Function::C_EncapsulateKey), nullptr);
}

TEST(ModuleLoader, DoesNotTakeTheInterfaceOfALibraryOfTheModules) {
  auto module = Module::load(quirk("borrows-interface"));
  ASSERT_TRUE(module) << module.error().message();
  EXPECT_EQ(module->version().major, 2);
}

TEST(ModuleLoader, RefusesVersionsThatNoStandardHas) {
  for (const char* name : {"version-zero", "version-absurd"}) {
    auto module = Module::load(quirk(name));
    ASSERT_FALSE(module);
    EXPECT_NE(module.error().message().find("version"), std::string::npos);
  }
}

TEST(ModuleLoader, SaysWhyAFileIsNoModule) {
  auto expectRefused = [](const std::string& path, const std::string& part) {
    auto module = Module::load(path);
    ASSERT_FALSE(module) << path;
    EXPECT_NE(module.error().message().find(part), std::string::npos) << module.error().message();
  };
  expectRefused(quirk("no-list"), "gave no function list");
  expectRefused(quirk("no-initialize"), "no C_Initialize");
  expectRefused("/nonexistent/module.so", "No such file");
  expectRefused("/usr", "no regular file");
  expectRefused("/etc/passwd", "invalid ELF header");
  // The C library itself: a library, but no module.
  Dl_info libc;
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(&::getppid), &libc), 0);
  expectRefused(libc.dli_fname, "no C_GetFunctionList");
}

}  // namespace
}  // namespace bulkhead::worker
