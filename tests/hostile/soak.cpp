// SPDX-License-Identifier: BSD-2-Clause
//
// soak SECONDS: eight threads sign, find and encrypt on two SoftHSM2 tokens of two modules while
// every 20 to 200 ms a worker is killed, is stopped, or has garbage on its channels. Every call
// must return, with what is right or with an error that a death may cause; nothing may be left
// behind: no process, no zombie, no descriptor, no memory.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <atomic>
#include <random>

#include "ipc/descriptor.h"
#include "tests/hostile/rig.h"

namespace bulkhead::hostile {
namespace {

std::atomic<unsigned long> calls{0}, right{0}, errors{0}, wrong{0}, reopened{0};
std::atomic<unsigned long> kills{0}, stops{0}, lies{0};
// The kernel does not let this user take a worker's descriptors, and so nobody lies.
std::atomic<bool> unable{false};

bool allowed(CK_RV rv) {
  switch (rv) {
    case CKR_DEVICE_REMOVED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID:
      return true;
    default:
      return false;
  }
}

// Counts an answer; true when it was CKR_OK.
bool ok(CK_RV rv, const char* what) {
  ++calls;
  if (rv == CKR_OK) {
    ++right;
    return true;
  }
  ++errors;
  if (!allowed(rv)) {
    // The first ones say enough.
    if (++wrong < 20) std::printf("%s answered 0x%lx\n", what, rv);
  }
  return false;
}

CK_BYTE* bytes(std::string& text) {
  return reinterpret_cast<CK_BYTE*>(text.data());
}

void check(bool good, const char* what) {
  if (good) return;
  if (++wrong < 20) std::printf("%s\n", what);
}

// One session's life, until something ends it.
void oneLife(CK_FUNCTION_LIST* f, CK_SLOT_ID slot, const std::atomic<bool>& done) {
  CK_SESSION_HANDLE session;
  if (!ok(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session),
          "C_OpenSession")) {
    std::this_thread::sleep_for(milliseconds(5));
    return;
  }
  ++reopened;
  std::string pin = test::USER_PIN;
  CK_RV rv = f->C_Login(session, CKU_USER, bytes(pin), pin.size());
  if (rv != CKR_USER_ALREADY_LOGGED_IN && !ok(rv, "C_Login")) return;

  CK_OBJECT_CLASS secret = CKO_SECRET_KEY;
  CK_KEY_TYPE type = CKK_AES, generic = CKK_GENERIC_SECRET;
  CK_BBOOL yes = CK_TRUE;
  std::string value(16, 'k'), longValue(32, 'm');
  CK_OBJECT_HANDLE key, mac;
  CK_ATTRIBUTE aes[] = {{CKA_CLASS, &secret, sizeof secret},
                        {CKA_KEY_TYPE, &type, sizeof type},
                        {CKA_VALUE, value.data(), value.size()},
                        {CKA_ENCRYPT, &yes, sizeof yes}};
  CK_ATTRIBUTE hmac[] = {{CKA_CLASS, &secret, sizeof secret},
                         {CKA_KEY_TYPE, &generic, sizeof generic},
                         {CKA_VALUE, longValue.data(), longValue.size()},
                         {CKA_SIGN, &yes, sizeof yes}};
  if (!ok(f->C_CreateObject(session, aes, 4, &key), "C_CreateObject")) return;
  if (!ok(f->C_CreateObject(session, hmac, 4, &mac), "C_CreateObject")) return;

  std::string firstSignature, firstCipher;
  while (!done) {
    std::string data = "what is signed", out(64, '\0');
    CK_ULONG size = out.size();
    CK_MECHANISM sha{CKM_SHA256_HMAC, nullptr, 0};
    if (!ok(f->C_SignInit(session, &sha, mac), "C_SignInit")) return;
    if (!ok(f->C_Sign(session, bytes(data), data.size(), bytes(out), &size), "C_Sign")) return;
    check(size == 32, "a signature of another length");
    out.resize(size);
    if (firstSignature.empty()) firstSignature = out;
    check(out == firstSignature, "another signature of the same data");

    std::string plain(64, 'p'), cipher(96, '\0'), iv(16, 'i');
    size = cipher.size();
    CK_MECHANISM cbc{CKM_AES_CBC, iv.data(), iv.size()};
    if (!ok(f->C_EncryptInit(session, &cbc, key), "C_EncryptInit")) return;
    if (!ok(f->C_Encrypt(session, bytes(plain), plain.size(), bytes(cipher), &size), "C_Encrypt"))
      return;
    check(size == 64, "a cipher text of another length");
    cipher.resize(size);
    if (firstCipher.empty()) firstCipher = cipher;
    check(cipher == firstCipher, "another cipher text of the same plain text");

    CK_OBJECT_HANDLE found[4];
    CK_ULONG count = 0;
    if (!ok(f->C_FindObjectsInit(session, hmac, 2), "C_FindObjectsInit")) return;
    if (!ok(f->C_FindObjects(session, found, 4, &count), "C_FindObjects")) return;
    check(count >= 1, "its own key is not found");
    if (!ok(f->C_FindObjectsFinal(session), "C_FindObjectsFinal")) return;
  }
  (void)f->C_CloseSession(session);
}

// Writes garbage into the worker's ends of its channels, as a module could. False when there are
// none, or others may not take them.
bool lie(pid_t worker) {
  Descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, worker, 0)));
  if (!process) return false;
  bool lied = false;
  // The host may be done with a channel by now. That signal is ours alone, not the host's.
  sigset_t pipe, before;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe, &before);
  for (int fd = 3; fd < 40; ++fd) {
    Descriptor own(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
    if (!own && (errno == EPERM || errno == ENOSYS)) unable = true;
    if (!own || ::fcntl(own.get(), F_GETPIPE_SZ) <= 0 ||
        (::fcntl(own.get(), F_GETFL) & O_ACCMODE) != O_WRONLY)
      continue;
    char garbage[64];
    std::memset(garbage, 0xa5, sizeof garbage);
    pollfd room{own.get(), POLLOUT, 0};
    if (::poll(&room, 1, 0) == 1) lied |= ::write(own.get(), garbage, sizeof garbage) > 0;
  }
  timespec none{};
  (void)::sigtimedwait(&pipe, nullptr, &none);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return lied;
}

// Half of them are killed; the others live on, and are no use.
void harm(pid_t worker, unsigned long chance) {
  if (chance % 4 == 0 && ::kill(worker, SIGSTOP) == 0) {
    ++stops;
  } else if (chance % 4 == 1 && lie(worker)) {
    ++lies;
  } else if (::kill(worker, SIGKILL) == 0) {
    ++kills;
  }
}

std::size_t residentKiB() {
  return static_cast<std::size_t>(::atol(test::procField("/proc/self/status", "VmRSS").c_str()));
}

int soak(int seconds) {
  if (::access(test::SOFTHSM, R_OK) != 0) {
    std::printf("%s is not here\n", test::SOFTHSM);
    return 77;
  }
  test::Configuration setup;
  const std::string names[] = {"s" + std::to_string(::getpid()) + "-a",
                               "s" + std::to_string(::getpid()) + "-b"};
  setup.addSoftHsm(names[0]);
  // The same library as a module of its own.
  std::filesystem::copy_file(test::SOFTHSM, setup.path("other.so"));
  setup.addModule(names[1], setup.path("other.so"));
  // Tokens that nobody writes: SoftHSM2 loses one whose file it was writing when it was killed.
  for (auto& name : names)
    setup.addDropIn(name,
                    "[Worker]\nPassEnvironment=SOFTHSM2_CONF\nCallTimeoutSec=500ms\n"
                    "StartLimitBurst=1000000\n[Filesystem]\nReadOnlyPaths=" +
                        setup.path("tokens") + "\nReadOnlyPaths=" + setup.path("softhsm2.conf") +
                        "\n");
  // In a process of its own: what the module leaves behind in it is not what is looked for here.
  pid_t maker = ::fork();
  if (maker == 0) {
    test::makeSoftHsmTokens({"one", "two"});
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ::waitpid(maker, &status, 0);
  if (status != 0) return 1;

  // The parent of whatever is left without one: of what is not reaped, too.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto before = test::descriptors().size();
  CK_FUNCTION_LIST* f = Rig::library().functions();
  if (f->C_Initialize(nullptr) != CKR_OK) return 1;
  std::vector<CK_SLOT_ID> tokens;
  for (CK_SLOT_ID slot : test::slots(f, true)) {
    CK_TOKEN_INFO info;
    if (f->C_GetTokenInfo(slot, &info) == CKR_OK && (info.flags & CKF_TOKEN_INITIALIZED) != 0)
      tokens.push_back(slot);
  }
  if (tokens.size() != 4) {
    std::printf("%zu tokens, not two of each module\n", tokens.size());
    return 1;
  }

  std::atomic<bool> done{false};
  std::atomic<unsigned long> progress[8] = {};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      while (!done) {
        oneLife(f, tokens[i % tokens.size()], done);
        ++progress[i];
      }
    });
  std::thread killer([&] {
    std::mt19937 random(static_cast<unsigned>(::getpid()));
    while (!done) {
      std::this_thread::sleep_for(milliseconds(20 + random() % 181));
      pid_t worker = test::workerOf(names[random() % 2]);
      if (worker > 0) harm(worker, random());
    }
  });
  // What grows in the second half is a leak; in the first it is what is in use.
  std::this_thread::sleep_for(std::chrono::milliseconds(seconds * 500));
  std::size_t half = residentKiB();
  std::this_thread::sleep_for(std::chrono::milliseconds(seconds * 500));
  std::size_t whole = residentKiB();
  done = true;
  auto last = timeOf([&] {
    killer.join();
    for (auto& thread : threads) thread.join();
  });
  CK_RV rv = f->C_Finalize(nullptr);
  bool gone = test::eventually([] { return test::processes().empty(); });
  std::size_t zombies = test::childrenOf(::getpid()).size();
  auto after = test::descriptors().size();
  std::printf(
      "%lu calls: %lu right, %lu ended by a death, %lu wrong; %lu sessions; %lu kills, %lu stops, "
      "%lu lies%s; the last call took %ld ms; %zu descriptors before, %zu after; %zu KiB resident "
      "at "
      "half time, %zu at the end; %zu zombies\n",
      calls.load(), right.load(), errors.load() - wrong.load(), wrong.load(), reopened.load(),
      kills.load(), stops.load(), lies.load(), unable ? " (this user may not)" : "",
      static_cast<long>(last.count()), before, after, half, whole, zombies);
  if (rv != CKR_OK) std::printf("C_Finalize answered 0x%lx\n", rv);
  // Calls have a deadline of half a second, and the start of a worker has one of ten.
  bool leaks = after > before || zombies != 0 || (!SANITIZED && whole > half + 4096);
  return wrong == 0 && rv == CKR_OK && gone && !leaks && kills > 0 && stops > 0 &&
                 (lies > 0 || unable) && right > 0 && last < milliseconds(20'000)
             ? 0
             : 1;
}

}  // namespace
}  // namespace bulkhead::hostile

int main(int argc, char** argv) {
  ::setvbuf(stdout, nullptr, _IOLBF, 0);
  return bulkhead::hostile::soak(argc > 1 ? ::atoi(argv[1]) : 20);
}
