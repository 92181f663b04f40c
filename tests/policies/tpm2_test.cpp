// SPDX-License-Identifier: BSD-2-Clause
//
// tpm2-pkcs11 in its policy and in the template for HSMs behind the network, with a TPM in software
// on TCP ports of loopback.
#include "tests/policies/fixture.h"
#include "tests/policies/loopback.h"

namespace bulkhead::test {
namespace {

constexpr const char* TPM2 = "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so";

// Two ports that follow each other and that nobody has: commands, and control.
unsigned freePorts() {
  for (int i = 0; i < 1000; ++i) {
    unsigned port = Listener().number();
    if (port != 0 && port < 65535 && Listener(port + 1).number() != 0) return port;
  }
  return 0;
}

class Tpm2 : public InPolicy {
 protected:
  void SetUp() override {
    BULKHEAD_NEEDS(TPM2);
    BULKHEAD_NEEDS_PROGRAM("swtpm");
    port = freePorts();
    ASSERT_NE(port, 0U);
    std::string number = std::to_string(port), control = std::to_string(port + 1);
    tpm.emplace(std::vector<std::string>{"swtpm", "socket", "--tpm2", "--tpmstate",
                                         "dir=" + configuration.directory().makeDirectory("tpm"),
                                         "--server", "type=tcp,bindaddr=127.0.0.1,port=" + number,
                                         "--ctrl", "type=tcp,bindaddr=127.0.0.1,port=" + control,
                                         "--flags", "not-need-init,startup-clear"});
    ASSERT_TRUE(eventually([&] { return listens(port + 1); }));
    store.emplace("TPM2_PKCS11_STORE", configuration.directory().makeDirectory("store"));
    sections = "[Worker]\nEnvironment=TPM2_PKCS11_TCTI=swtpm:host=127.0.0.1,port=" + number +
               "\n[Filesystem]\nDevices=\nReadWritePaths=" + configuration.path("store") +
               "\n[Network]\nNetwork=client\nConnect=tcp:127.0.0.1:" + number +
               " tcp:127.0.0.1:" + control + "\n";
  }

  void work() {
    start();
    expectConfined();
    std::string so = SO_PIN, user = USER_PIN, label(32, ' ');
    label.replace(0, 4, "chip");
    auto free = slots(f, true);
    ASSERT_FALSE(free.empty()) << log();
    ASSERT_EQ(f->C_InitToken(free.back(), reinterpret_cast<CK_UTF8CHAR*>(so.data()), so.size(),
                             reinterpret_cast<CK_UTF8CHAR*>(label.data())),
              CKR_OK)
        << log();
    auto slot = slotOf(f, "chip");
    ASSERT_TRUE(slot);
    {
      Session session(f, *slot);
      ASSERT_EQ(session.login(so, CKU_SO), CKR_OK);
      EXPECT_EQ(f->C_InitPIN(session, reinterpret_cast<CK_UTF8CHAR*>(user.data()), user.size()),
                CKR_OK);
      EXPECT_EQ(f->C_Logout(session), CKR_OK);
      ASSERT_EQ(session.login(user), CKR_OK);
      expectSigns(f, session, generate(f, session, CKM_EC_KEY_PAIR_GEN, "ec"), CKM_ECDSA);
    }
    restart();
    slot = slotOf(f, "chip");
    ASSERT_TRUE(slot);
    Session session(f, *slot);
    ASSERT_EQ(session.login(user), CKR_OK);
    expectSigns(f, session, findPair(f, session, "ec"), CKM_ECDSA);
  }

  unsigned port = 0;
  std::optional<Daemon> tpm;
  std::optional<Variable> store;
  std::string sections;
};

TEST_F(Tpm2, WorksAndNothingIsRefused) {
  configure("tpm2-pkcs11", TPM2, sections);
  work();
}

// The way that the policy has without a drop-in; on paper, as a stand-in for the device answers
// nobody.
TEST_F(Tpm2, ReachesTheKernelsResourceManagerAndNoOtherDevice) {
  BULKHEAD_NEEDS("/dev/tpmrm0");
  configuration.addModule("tpm2-pkcs11", TPM2);
  std::string text = output("explain tpm2-pkcs11");
  auto devices = text.find("can use the devices:\n");
  ASSERT_NE(devices, std::string::npos) << text;
  std::string listed = text.substr(devices, text.find("can ", devices + 1) - devices);
  EXPECT_NE(listed.find("/dev/tpmrm0\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("/dev/tpm0"), std::string::npos) << text;
  EXPECT_NE(text.find("can reach nobody"), std::string::npos) << text;
  RecordProperty("device", "/dev/tpmrm0");
}

using NetworkHsm = Tpm2;

TEST_F(NetworkHsm, CarriesAModuleToItsServer) {
  std::string number = std::to_string(port), control = std::to_string(port + 1);
  configuration.addPolicy(
      "hsm", filledIn({{"PassEnvironment=",
                        "PassEnvironment=TPM2_PKCS11_STORE\n"
                        "Environment=TPM2_PKCS11_TCTI=swtpm:host=127.0.0.1,port=" +
                            number},
                       {"ReadWritePaths=", "ReadWritePaths=" + configuration.path("store")},
                       {"Connect=tcp:hsm1", "Connect=tcp:localhost:" + number},
                       {"Connect=tcp:192", "Connect=tcp:127.0.0.0/28:" + control}}));
  EXPECT_EQ(output("check " + configuration.path("policies/hsm.policy")),
            "1 file without a fault\n");
  configureAs("hsm", "hsm", TPM2);
  RecordProperty("policy", "network-hsm");
  work();
}

}  // namespace
}  // namespace bulkhead::test
