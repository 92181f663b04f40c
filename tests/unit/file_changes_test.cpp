// SPDX-License-Identifier: BSD-2-Clause
//
// Which files' modes the supervisor changes for a worker, and for which it lets itself be fooled.
#include "sandbox/file_changes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "ipc/descriptor.h"

namespace bulkhead::sandbox {
namespace {

namespace fs = std::filesystem;

class Changes : public testing::Test {
 protected:
  Changes() {
    std::string name = (fs::temp_directory_path() / "bulkhead-changes-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    fs::create_directories(directory_ + "/writable");
    make(directory_ + "/writable/file");
    make(directory_ + "/other");
  }
  ~Changes() override { fs::remove_all(directory_); }

  static void make(const std::string& path) {
    std::ofstream(path) << "text";
    ::chmod(path.c_str(), 0600);
  }
  static unsigned modeOf(int file) {
    struct stat status {};
    ::fstat(file, &status);
    return status.st_mode & 07777;
  }
  static Descriptor at(const std::string& path) {
    return Descriptor(::open(path.c_str(), O_PATH | O_CLOEXEC));
  }
  FileChanges changes() const { return FileChanges({{directory_ + "/writable", false}}); }

  std::string directory_;
};

TEST_F(Changes, AreMadeWhereTheWorkerMayWrite) {
  Descriptor file = at(directory_ + "/writable/file");
  EXPECT_EQ(changes().setMode(file.get(), 0640), 0);
  EXPECT_EQ(modeOf(file.get()), 0640U);
}

TEST_F(Changes, AreNotMadeElsewhere) {
  for (const char* name : {"/other", "/writable/link"}) {
    ::symlink((directory_ + "/other").c_str(), (directory_ + "/writable/link").c_str());
    Descriptor file = at(directory_ + name);
    EXPECT_EQ(changes().setMode(file.get(), 0640), std::nullopt) << name;
    EXPECT_EQ(modeOf(file.get()), 0600U);
  }
}

// A link that a module has put in the way of what its policy names within makes nothing writable.
TEST_F(Changes, AreNotMadeWhereAPlantedLinkLeads) {
  fs::create_directory(directory_ + "/elsewhere");
  make(directory_ + "/elsewhere/file");
  fs::create_directory_symlink(directory_ + "/elsewhere", directory_ + "/writable/named");
  FileChanges both({{directory_ + "/writable", false}, {directory_ + "/writable/named", false}});
  Descriptor file = at(directory_ + "/elsewhere/file");
  EXPECT_EQ(both.setMode(file.get(), 0640), std::nullopt);
  EXPECT_EQ(modeOf(file.get()), 0600U);
}

// The file of a container whose path is the same there is reached by /proc/PID/root.
TEST_F(Changes, AreNotMadeInAnotherMountNamespace) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  Descriptor reading(ready[0]), writing(ready[1]);
  pid_t container = ::fork();
  if (container == 0) {
    int flags = CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER);
    uid_t user = ::geteuid();
    char ok = 0;
    if (::unshare(flags) == 0) {
      if (user != 0) std::ofstream("/proc/self/uid_map") << user << " " << user << " 1\n";
      std::string writable = directory_ + "/writable";
      if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
          ::mount("tmpfs", writable.c_str(), "tmpfs", 0, nullptr) == 0) {
        make(writable + "/file");
        ok = 1;
      }
    }
    (void)!::write(ready[1], &ok, 1);
    for (;;) ::pause();
  }
  char ok = 0;
  EXPECT_EQ(::read(ready[0], &ok, 1), 1);
  Descriptor file =
      at("/proc/" + std::to_string(container) + "/root" + directory_ + "/writable/file");
  std::optional<int> made = file ? changes().setMode(file.get(), 0640) : std::nullopt;
  unsigned mode = file ? modeOf(file.get()) : 0;
  ::kill(container, SIGKILL);
  ::waitpid(container, nullptr, 0);
  if (ok == 0 || !file) GTEST_SKIP() << "no way into another mount namespace for this user";
  EXPECT_EQ(made, std::nullopt);
  EXPECT_EQ(mode, 0600U);
}

}  // namespace
}  // namespace bulkhead::sandbox
