// SPDX-License-Identifier: BSD-2-Clause
//
// The two policies that are for any module: the default, and the template for HSMs behind the
// network. What a module can't do in them is tried by one.
#include <gmock/gmock.h>

#include "tests/policies/fixture.h"
#include "tests/policies/loopback.h"

namespace bulkhead::test {
namespace {

class Hostile : public InPolicy {
 protected:
  void SetUp() override {
    const char* path = ::getenv("HOSTILE_MODULE");
    BULKHEAD_NEEDS(path);
    // A name that no Match= fits.
    module = configuration.path("acme.so");
    std::filesystem::copy_file(path, module);
  }
  // What the module answers when it is asked to try.
  std::string attempt(const std::string& policy, const std::string& what,
                      const std::string& variables = {}) {
    configuration.addModule(policy, module);
    configuration.addDropIn(
        policy, "[Worker]\nEnvironment=HOSTILE=try:" + what + "@C_GenerateRandom\n" + variables);
    Library proxy;
    CK_FUNCTION_LIST* list = proxy.functions();
    Initialized initialized(list);
    auto present = slots(list);
    if (present.empty()) return "no slot: " + log();
    Session session(list, present[0], CKF_SERIAL_SESSION);
    char text[256] = {};
    EXPECT_EQ(list->C_GenerateRandom(session, reinterpret_cast<CK_BYTE*>(text), sizeof text - 1),
              CKR_OK);
    return text;
  }
  std::string module;
};

using NetworkHsmTemplate = Hostile;

TEST_F(NetworkHsmTemplate, ReachesOnePortAndNoOther) {
  Listener allowed, other;
  configuration.addPolicy(
      "hsm", filledIn({{"Connect=tcp:hsm1", "Connect=tcp:127.0.0.1:" + allowed.port()}}));
  EXPECT_EQ(attempt("hsm", "connect-tcp", "Environment=HOSTILE_PORT=" + allowed.port() + "\n"),
            "ok");
  EXPECT_TRUE(allowed.connected());
  EXPECT_EQ(log().find("refused"), std::string::npos) << log();
  EXPECT_EQ(attempt("hsm", "connect-tcp", "Environment=HOSTILE_PORT=" + other.port() + "\n"),
            "EACCES");
  EXPECT_FALSE(other.connected());
  EXPECT_NE(log().find("refused connect(inet:127.0.0.1:" + other.port()), std::string::npos)
      << log();
}

using OpenCryptokis = Hostile;

// It may run a shell. That one is confined as the module is, and there are no other programs.
TEST_F(OpenCryptokis, ShellReachesNoMoreThanTheModule) {
  const std::string secret = configuration.directory().write("secret", "secret\n");
  BULKHEAD_NEEDS("/bin/sh");
  for (auto [path, status] : {std::pair{std::string("/etc/passwd"), "status 0"},
                              {secret, "status 2"},
                              {std::string("/etc/shadow"), "status 2"}})
    EXPECT_EQ(attempt("opencryptoki", "read-by-shell", "Environment=HOSTILE_TARGET=" + path + "\n"),
              status)
        << path << "\n"
        << log();
  EXPECT_EQ(attempt("opencryptoki", "execve"), "EACCES");
}

using Default = Hostile;

TEST_F(Default, LetsAnUnknownModuleCompute) {
  configure("default", module);
  start();
  expectConfined();
  Session session(f, slots(f).at(0), CKF_SERIAL_SESSION);
  std::string text = "hello", out(64, '\0');
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  CK_ULONG size = out.size();
  EXPECT_EQ(f->C_DigestInit(session, &mechanism), CKR_OK);
  EXPECT_EQ(f->C_Digest(session, reinterpret_cast<CK_BYTE*>(text.data()), text.size(),
                        reinterpret_cast<CK_BYTE*>(out.data()), &size),
            CKR_OK);
  EXPECT_EQ(out.substr(0, size), text);
}

TEST_F(Default, PutsAModuleInTheRootDirectoryOrWhereItsPolicySays) {
  EXPECT_EQ(attempt("acme", "working-directory"), "/");
  EXPECT_EQ(attempt("acme", "working-directory", "WorkingDirectory=/usr/lib\n"), "/usr/lib");
}

TEST_F(Default, KeepsAnUnknownModuleFromFilesAndTheNetwork) {
  const std::string home = configuration.directory().makeDirectory("home/.ssh");
  configuration.directory().write("home/.ssh/id", "secret");
  Listener server;
  const std::string variables = "Environment=HOSTILE_DIR=" + configuration.path() +
                                "\nEnvironment=HOSTILE_PORT=" + server.port() + "\n";
  for (const char* what : {"shadow", "home", "root-home", "root-directory", "write-tmp"})
    EXPECT_THAT(attempt("acme", what, variables), ::testing::AnyOf("EACCES", "ENOENT", "EROFS"))
        << what;
  for (auto [what, answer] :
       {std::pair{"connect-tcp", "EPERM"}, {"udp", "EPERM"}, {"netlink", "EPERM"}})
    EXPECT_EQ(attempt("acme", what, variables), answer) << what;
  EXPECT_FALSE(server.connected());
}

}  // namespace
}  // namespace bulkhead::test
