// SPDX-License-Identifier: BSD-2-Clause
//
// The connections that the supervisor makes for a worker: those of the policy, to real servers on
// this machine, and no other.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <thread>

#include "ipc/descriptor.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

/// A server that counts who comes.
class Server {
 public:
  explicit Server(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    ::memcpy(address.sun_path, path.data(), path.size());
    target_ = "unix:" + path;
    listen(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  explicit Server(int family) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    address.ss_family = static_cast<sa_family_t>(family);
    auto& in = reinterpret_cast<sockaddr_in&>(address);
    auto& in6 = reinterpret_cast<sockaddr_in6&>(address);
    if (family == AF_INET)
      in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
      in6.sin6_addr = in6addr_loopback;
    if (!listen(reinterpret_cast<sockaddr*>(&address), family == AF_INET ? sizeof in : sizeof in6))
      return;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = std::to_string(ntohs(family == AF_INET ? in.sin_port : in6.sin6_port));
    target_ = (family == AF_INET ? "inet:127.0.0.1:" : "inet6:::1:") + port_;
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

  bool ok() const { return thread_.joinable(); }
  const std::string& target() const { return target_; }
  const std::string& port() const { return port_; }
  /// How many came until now. What a connect() has seen succeed is among them soon.
  int visitors() const { return visitors_; }
  bool visited(int times) const {
    return test::eventually([&] { return visitors_ >= times; });
  }

 private:
  bool listen(const sockaddr* address, std::size_t size) {
    socket_.reset(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(socket_.get(), address, static_cast<socklen_t>(size)) != 0 ||
        ::listen(socket_.get(), 128) != 0)
      return false;
    thread_ = std::thread([this] {
      // One round more at the end, for who stands in line.
      for (bool last = false; !last;) {
        last = over_;
        pollfd one{socket_.get(), POLLIN, 0};
        while (::poll(&one, 1, last ? 0 : 10) > 0) {
          Descriptor visitor(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
          if (visitor) ++visitors_;
        }
      }
    });
    return true;
  }

  Descriptor socket_;
  std::string target_, port_;
  std::atomic<int> visitors_{0};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

/// What the module's attempt answers, with those lines of [Network].
class Broker : public testing::Test {
 protected:
  std::string tries(const std::string& attempt, const std::string& target,
                    const std::string& network, const std::string& more = {}) {
    rig_.configure("try:" + attempt + "@C_GenerateRandom",
                   "Environment=HOSTILE_TARGET=" + target + "\n" + more,
                   "[Network]\n" + network +
                       "[Layers]\nRequire=broker\n"
                       "[Syscalls]\nViolationLimit=0\n");
    EXPECT_EQ(rig_.initialize(), CKR_OK);
    std::string text;
    EXPECT_EQ(rig_.random(rig_.open(rig_.evilSlot()), text), CKR_OK) << rig_.log();
    return text;
  }
  std::string path(const char* name) { return rig_.setup().path(name); }

  Rig rig_{"warning"};
};

constexpr const char* CLIENT = "Network=client\n";

TEST_F(Broker, ConnectsToASocketByPath) {
  Server daemon(path("daemon"));
  EXPECT_EQ(
      tries("connect-target", daemon.target(), "Network=unix\nConnect=" + daemon.target() + "\n"),
      "ok");
  EXPECT_TRUE(daemon.visited(1));
}

TEST_F(Broker, ConnectsToASocketByPathWithoutWaiting) {
  Server daemon(path("daemon"));
  EXPECT_EQ(tries("connect-target-nonblocking", daemon.target(),
                  "Network=unix\nConnect=" + daemon.target() + "\n"),
            "ok");
  EXPECT_TRUE(daemon.visited(1));
}

TEST_F(Broker, SaysWhenNobodyListens) {
  EXPECT_EQ(tries("connect-target", "unix:" + path("nobody"),
                  "Network=unix\nConnect=unix:" + path("nobody") + "\n"),
            "ENOENT");
}

TEST_F(Broker, RefusesAnotherSocketAndNamesIt) {
  Server daemon(path("daemon")), other(path("other"));
  EXPECT_EQ(
      tries("connect-target", other.target(), "Network=unix\nConnect=" + daemon.target() + "\n"),
      "EACCES");
  EXPECT_TRUE(rig_.logs("refused connect(" + other.target() + ")")) << rig_.log();
  EXPECT_EQ(other.visitors() + daemon.visitors(), 0);
}

TEST_F(Broker, RefusesTheSystemBusByName) {
  EXPECT_EQ(
      tries("connect-target", "unix:/run/dbus/system_bus_socket", "Network=unix\nConnect=@pcscd\n"),
      "EACCES");
  EXPECT_TRUE(rig_.logs("refused connect(unix:/run/dbus/system_bus_socket)")) << rig_.log();
}

TEST_F(Broker, RefusesTheSameSocketByAnotherPath) {
  Server daemon(path("daemon"));
  EXPECT_EQ(tries("connect-target", "unix:" + path("./daemon"),
                  "Network=unix\nConnect=" + daemon.target() + "\n"),
            "EACCES");
  EXPECT_EQ(daemon.visitors(), 0);
}

// What it may write it may replace, with a link to another's socket.
TEST_F(Broker, FollowsNoLinkThatTheModuleMadeItself) {
  std::string writable = rig_.setup().directory().makeDirectory("writable");
  Server bus(path("bus"));
  std::string mine = "unix:" + writable + "/socket";
  EXPECT_EQ(
      tries("connect-own-link", mine,
            "Network=unix\nConnect=" + mine + "\n[Filesystem]\nReadWritePaths=" + writable + "\n",
            "Environment=HOSTILE_OTHER=" + path("bus") + "\n"),
      "EACCES");
  EXPECT_TRUE(rig_.logs("refused connect(" + mine + ")")) << rig_.log();
  EXPECT_EQ(bus.visitors(), 0);
}

// It is the same where the policy has two names for the directory.
TEST_F(Broker, FollowsNoSuchLinkByAnotherNameEither) {
  std::string writable = rig_.setup().directory().makeDirectory("writable");
  std::filesystem::create_directory_symlink(writable, path("named"));
  Server bus(path("bus"));
  std::string mine = "unix:" + writable + "/socket";
  EXPECT_EQ(tries("connect-own-link", mine,
                  "Network=unix\nConnect=" + mine +
                      "\n[Filesystem]\nReadWritePaths=" + path("named") + "\n",
                  "Environment=HOSTILE_OTHER=" + path("bus") + "\n"),
            "EACCES");
  EXPECT_EQ(bus.visitors(), 0);
}

TEST_F(Broker, ConnectsToASocketWhereTheModuleMayWrite) {
  std::string writable = rig_.setup().directory().makeDirectory("writable/deeper");
  Server daemon(writable + "/socket");
  EXPECT_EQ(tries("connect-target", daemon.target(),
                  "Network=unix\nConnect=" + daemon.target() +
                      "\n[Filesystem]\nReadWritePaths=" + path("writable") + "\n"),
            "ok");
  EXPECT_TRUE(daemon.visited(1));
}

struct Allowed {
  const char* name;
  int family;
  const char* network;  // PORT stands for the server's
  const char* attempt;
  const char* target;  // empty: the server's address
};

class Tcp : public Broker, public testing::WithParamInterface<Allowed> {
 protected:
  static std::string with(std::string text, const std::string& port) {
    for (std::size_t at; (at = text.find("PORT")) != std::string::npos;) text.replace(at, 4, port);
    return text;
  }
};

TEST_P(Tcp, IsConnected) {
  Server server(GetParam().family);
  if (!server.ok()) GTEST_SKIP() << "no loopback address of that family";
  std::string target = with(GetParam().target, server.port());
  EXPECT_EQ(tries(GetParam().attempt, target.empty() ? server.target() : target,
                  CLIENT + with(GetParam().network, server.port())),
            "ok")
      << rig_.log();
  EXPECT_TRUE(server.visited(1));
  EXPECT_EQ(rig_.log().find("refused"), std::string::npos) << rig_.log();
}

INSTANTIATE_TEST_SUITE_P(
    Named, Tcp,
    testing::Values(
        Allowed{"ByAddress", AF_INET, "Connect=tcp:127.0.0.1:PORT\n", "connect-target", ""},
        Allowed{"ByAddress6", AF_INET6, "Connect=tcp:[::1]:PORT\n", "connect-target", ""},
        Allowed{"ByNetwork", AF_INET, "Connect=tcp:127.0.0.0/8:PORT\n", "connect-target", ""},
        Allowed{"ByNetwork6", AF_INET6, "Connect=tcp:[::]/96:PORT\n", "connect-target", ""},
        Allowed{"ByName", AF_INET, "Connect=tcp:localhost:PORT\n", "connect-name",
                "localhost:PORT"},
        Allowed{"ByNameInThePolicy", AF_INET, "Connect=tcp:localhost:PORT\n", "connect-target", ""},
        Allowed{"WithoutWaiting", AF_INET, "Connect=tcp:127.0.0.1:PORT\n",
                "connect-target-nonblocking", ""},
        Allowed{"WithoutWaiting6", AF_INET6, "Connect=tcp:[::1]:PORT\n",
                "connect-target-nonblocking", ""}),
    [](const testing::TestParamInfo<Allowed>& at) { return at.param.name; });

struct Refused {
  const char* name;
  int family;
  const char* network;
};

class TcpOfOthers : public Broker, public testing::WithParamInterface<Refused> {};

TEST_P(TcpOfOthers, IsRefused) {
  Server server(GetParam().family), allowed(AF_INET);
  if (!server.ok()) GTEST_SKIP() << "no loopback address of that family";
  std::string network = GetParam().network;
  for (auto [word, port] : {std::pair{"ALLOWED", allowed.port()}, {"PORT", server.port()}})
    if (auto at = network.find(word); at != std::string::npos)
      network.replace(at, ::strlen(word), port);
  EXPECT_EQ(tries("connect-target", server.target(), CLIENT + network), "EACCES");
  EXPECT_TRUE(rig_.logs("refused connect(inet")) << rig_.log();
  EXPECT_EQ(server.visitors(), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Named, TcpOfOthers,
    testing::Values(Refused{"OnAnotherPort", AF_INET, "Connect=tcp:127.0.0.1:ALLOWED\n"},
                    Refused{"AtAnotherAddress", AF_INET, "Connect=tcp:127.0.0.2:PORT\n"},
                    Refused{"OutsideTheNetwork", AF_INET, "Connect=tcp:10.0.0.0/8:PORT\n"},
                    Refused{"OfTheOtherFamily", AF_INET6, "Connect=tcp:127.0.0.1:PORT\n"},
                    Refused{"WithoutAnyAllowed", AF_INET, ""}),
    [](const testing::TestParamInfo<Refused>& at) { return at.param.name; });

// The module asks a name server, and the supervisor on its own account.
TEST_F(Broker, ConnectsByANameThatAServerKnows) {
  const char* name = ::getenv("BULKHEAD_TEST_NAME");
  if (name == nullptr) GTEST_SKIP() << "no name server of this test's own";
  Server server(AF_INET);
  std::string at = std::string(name) + ":" + server.port();
  EXPECT_EQ(tries("connect-name", at, CLIENT + ("Connect=tcp:" + at) + "\n"), "ok") << rig_.log();
  EXPECT_TRUE(server.visited(1));
  EXPECT_EQ(rig_.log().find("refused"), std::string::npos) << rig_.log();
}

// Nothing leaves by datagram, which says where to only in memory.
TEST_F(Broker, SendsNoDatagrams) {
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  std::string port = std::to_string(ntohs(address.sin_port));
  EXPECT_EQ(tries("send-udp-message", "none", CLIENT, "Environment=HOSTILE_PORT=" + port + "\n"),
            "ESOCKTNOSUPPORT");
  pollfd one{socket.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&one, 1, 0), 0);
}

TEST_F(Broker, SaysThatATcpServerRefuses) {
  std::string port;
  {
    Server gone(AF_INET);
    port = gone.port();
  }
  for (const char* attempt : {"connect-target", "connect-target-nonblocking"}) {
    EXPECT_EQ(
        tries(attempt, "inet:127.0.0.1:" + port, CLIENT + ("Connect=tcp:127.0.0.1:" + port) + "\n"),
        "ECONNREFUSED");
    ASSERT_EQ(rig_.finalize(), CKR_OK);
  }
}

// The address is read once. Whatever it becomes meanwhile, only the allowed server is connected to.
TEST_F(Broker, ConnectsToWhatItChecked) {
  Server daemon(path("daemon")), other(path("others"));
  std::string text =
      tries("connect-flipping", daemon.target(), "Network=unix\nConnect=" + daemon.target() + "\n",
            "Environment=HOSTILE_OTHER=" + other.target() + "\n");
  ASSERT_TRUE(text.starts_with("made ")) << text;
  int made = std::atoi(text.c_str() + 5);
  // It did flip: some were allowed, and some were not.
  EXPECT_GT(made, 0);
  EXPECT_LT(made, 5000);
  EXPECT_TRUE(daemon.visited(made));
  EXPECT_EQ(rig_.finalize(), CKR_OK);
  EXPECT_EQ(daemon.visitors(), made);
  EXPECT_EQ(other.visitors(), 0);
}

TEST_F(Broker, ConnectsToWhatItCheckedByTcp) {
  Server server(AF_INET), other(AF_INET);
  std::string text = tries("connect-flipping", server.target(),
                           CLIENT + ("Connect=tcp:127.0.0.1:" + server.port()) + "\n",
                           "Environment=HOSTILE_OTHER=" + other.target() + "\n");
  ASSERT_TRUE(text.starts_with("made ")) << text;
  EXPECT_GT(std::atoi(text.c_str() + 5), 0);
  EXPECT_LT(std::atoi(text.c_str() + 5), 5000);
  EXPECT_EQ(rig_.finalize(), CKR_OK);
  EXPECT_EQ(other.visitors(), 0);
}

}  // namespace
}  // namespace bulkhead::hostile
