// SPDX-License-Identifier: BSD-2-Clause
//
// The world that a hostile module would like to reach: a host with secrets in its memory, its
// environment and its descriptors; files, sockets, queues and a terminal. After each attempt it is
// looked at from here.
#pragma once

#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ipc/descriptor.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {

/// Whether the environment that this test runs in is told to lack a layer: HOSTILE_MISSING has
/// their names.
inline bool missing(const std::string& layer) {
  const char* all = ::getenv("HOSTILE_MISSING");
  return all != nullptr &&
         (" " + std::string(all) + " ").find(" " + layer + " ") != std::string::npos;
}

class Outside {
 public:
  explicit Outside(Rig& rig) : rig_(rig) {
    auto& directory = rig.setup().directory();
    secret_ = directory.write("outside/secret", "secret");
    directory.write("outside/home/.ssh/id", "secret");
    directory.write("outside/spare", "secret");
    readable_ = directory.write("outside/readable", "public");
    writable_ = directory.makeDirectory("writable");
    bus_ = listen(at("outside/bus"));
    allowed_ = listen(at("outside/allowed"));
    datagrams_ = listen(at("outside/datagrams"), SOCK_DGRAM);
    name_ = "bulkhead-hostile-" + std::to_string(::getpid());
    Address abstract;
    abstract.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size() + 1);
    abstract.as<sockaddr_un>().sun_family = AF_UNIX;
    ::memcpy(abstract.as<sockaddr_un>().sun_path + 1, name_.data(), name_.size());
    abstract_ = listen(abstract);
    Address loopback;
    loopback.size = sizeof(sockaddr_in);
    loopback.as<sockaddr_in>().sin_family = AF_INET;
    loopback.as<sockaddr_in>().sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tcp_ = listen(loopback);
    ::getsockname(tcp_.get(), &loopback.as<sockaddr>(), &loopback.size);
    port_ = ntohs(loopback.as<sockaddr_in>().sin_port);
    udp_ = listen(loopback, SOCK_DGRAM);
    shm_ = ::shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    queue_ = Descriptor(::mq_open(("/" + name_).c_str(), O_RDWR | O_CREAT, 0600, nullptr));
    terminal_ = Descriptor(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (terminal_) (void)::unlockpt(terminal_.get());
    CPU_ZERO(&cpus_);
    ::sched_getaffinity(0, sizeof cpus_, &cpus_);
    ::getrlimit(RLIMIT_CORE, &core_);
    priority_ = ::getpriority(PRIO_PROCESS, 0);
    ::sigaction(SIGURG, nullptr, &before_);
    struct sigaction count {};
    count.sa_handler = [](int) { signals = signals + 1; };
    ::sigaction(SIGURG, &count, nullptr);
    signals = 0;
  }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
  ~Outside() {
    ::shmctl(shm_, IPC_RMID, nullptr);
    ::mq_unlink(("/" + name_).c_str());
    ::sigaction(SIGURG, &before_, nullptr);
    ::sched_setaffinity(0, sizeof cpus_, &cpus_);
  }

  /// For [Worker]: what attempts must know.
  std::string variables() const {
    std::string lines;
    auto add = [&](const char* name, const std::string& value) {
      lines += "Environment=HOSTILE_" + std::string(name) + "=" + value + "\n";
    };
    static char secret[] = "a secret in memory";
    char address[32];
    std::snprintf(address, sizeof address, "%lx", reinterpret_cast<unsigned long>(secret));
    add("HOST", std::to_string(::getpid()));
    add("ADDRESS", address);
    add("DIR", rig_.setup().path("outside"));
    add("WRITABLE", writable_);
    add("READABLE", readable_);
    add("ABSTRACT", name_);
    add("PORT", std::to_string(port_));
    add("SHM", std::to_string(shm_));
    add("QUEUE", "/" + name_);
    add("TERMINAL", terminal());
    return lines;
  }
  std::string sections(const std::string& network = "[Network]\nNetwork=none\n") const {
    return "[Limits]\nMemoryMax=512M\n[Filesystem]\nReadWritePaths=" + writable_ +
           "\nReadOnlyPaths=" + readable_ + "\n" + network;
  }
  /// The name of a terminal that this process holds the other end of.
  std::string terminal() const {
    const char* name = terminal_ ? ::ptsname(terminal_.get()) : nullptr;
    return name == nullptr ? "/dev/null" : name;
  }

  /// Whether somebody knocks at a socket of these.
  bool connected(const Descriptor& fd) const {
    pollfd one{fd.get(), POLLIN, 0};
    return ::poll(&one, 1, 0) != 0;
  }
  const Descriptor& allowed() const { return allowed_; }
  /// How often this process was signalled.
  int felt() const { return signals; }

  void expectUntouched() const {
    EXPECT_EQ(test::readFile(secret_), "secret");
    for (const std::string& path : {secret_, readable_}) {
      struct stat status;
      EXPECT_EQ(::stat(path.c_str(), &status), 0);
      EXPECT_EQ(status.st_mode & 07777, 0600U) << path;
      EXPECT_EQ(status.st_nlink, 1U) << path;
    }
    EXPECT_EQ(::access(rig_.setup().path("outside/spare").c_str(), F_OK), 0);
    EXPECT_NE(::access(rig_.setup().path("outside/made").c_str(), F_OK), 0);
    for (const char* made : {"/tmp/bulkhead-hostile-was-here", "/dev/shm/bulkhead-hostile",
                             "/usr/local/lib/bulkhead-hostile"})
      EXPECT_NE(::access(made, F_OK), 0) << made;
    for (const Descriptor* fd : {&bus_, &abstract_, &datagrams_, &tcp_, &udp_})
      EXPECT_FALSE(connected(*fd)) << "it has come through";
    shmid_ds segment{};
    EXPECT_EQ(::shmctl(shm_, IPC_STAT, &segment), 0);
    EXPECT_EQ(segment.shm_nattch, 0U);
    EXPECT_EQ(signals, 0) << "it has signalled this process";
    cpu_set_t now;
    ::sched_getaffinity(0, sizeof now, &now);
    EXPECT_TRUE(CPU_EQUAL(&now, &cpus_)) << "it has moved this process";
    rlimit core;
    ::getrlimit(RLIMIT_CORE, &core);
    EXPECT_EQ(core.rlim_max, core_.rlim_max);
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), priority_);
    errno = 0;
    pid_t worker = test::workerOf(rig_.evil());
    if (worker > 0) {
      EXPECT_TRUE(test::childrenOf(worker).empty());
    }
  }

 private:
  struct Address {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    template <typename Kind>
    Kind& as() {
      return reinterpret_cast<Kind&>(storage);
    }
  };
  Address at(const char* name) {
    Address address;
    address.size = sizeof(sockaddr_un);
    auto& un = address.as<sockaddr_un>();
    un.sun_family = AF_UNIX;
    std::string path = rig_.setup().path(name);
    ::memcpy(un.sun_path, path.data(), path.size());
    return address;
  }
  static Descriptor listen(Address address, int type = SOCK_STREAM) {
    Descriptor fd(::socket(address.storage.ss_family, type | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(fd.get(), &address.as<sockaddr>(), address.size), 0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(::listen(fd.get(), 8), 0);
    }
    return fd;
  }

  static inline volatile sig_atomic_t signals = 0;
  Rig& rig_;
  std::string secret_, readable_, writable_, name_;
  Descriptor bus_, allowed_, datagrams_, abstract_, tcp_, udp_, queue_, terminal_;
  int shm_ = -1, priority_ = 0;
  unsigned port_ = 0;
  cpu_set_t cpus_;
  rlimit core_{};
  struct sigaction before_ {};
};

/// The host's secrets, as hosts have them: in its environment, in a descriptor that is not
/// close-on-exec, on its standard output.
class Secrets {
 public:
  Secrets() : variable_("API_TOKEN", std::string("planted-") + "secret-XXXX") {
    leak_ = ::open("/etc/passwd", O_RDONLY);
    (void)::dup2(leak_, 200);
  }
  Secrets(const Secrets&) = delete;
  Secrets& operator=(const Secrets&) = delete;
  ~Secrets() {
    ::close(leak_);
    ::close(200);
  }

 private:
  test::Variable variable_;
  int leak_;
};

}  // namespace bulkhead::hostile
