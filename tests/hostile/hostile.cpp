// SPDX-License-Identifier: BSD-2-Clause
//
// A PKCS#11 module that does harm on request. HOSTILE=behaviour@point in its environment says what
// and where: a point is ctor, getlist, init, finalize, dtor, thread, or the name of a C_ function.
// try:NAME@point is an attempt to get out of the sandbox (attempts.cpp); what came of it is what
// C_GenerateRandom answers; handled:NAME@point is the same by a module that handles, and blocks,
// all signals that can be. returns:NUMBER@point has a C_ function return that. Everywhere else, and
// without HOSTILE, it is a decent module with one token, whose digests are what goes in.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "ipc/pkcs11.h"
#include "tests/hostile/attempts.h"

namespace bulkhead::hostile {
namespace {

struct Plan {
  std::string behaviour, point;
};

// Never destroyed: the destructor of this module runs after those of its objects.
const Plan& plan() {
  static const Plan* const PLAN = [] {
    const char* text = ::getenv("HOSTILE");
    std::string all = text == nullptr ? "" : text;
    auto at = all.rfind('@');
    return at == std::string::npos ? new Plan{} : new Plan{all.substr(0, at), all.substr(at + 1)};
  }();
  return *PLAN;
}

bool is(const char* behaviour) {
  return plan().behaviour == behaviour;
}
bool lies(const char* behaviour, const char* point) {
  return is(behaviour) && plan().point == point;
}

// What a function returns that would return `right`.
CK_RV returned(const char* function, CK_RV right) {
  if (plan().point != function || !plan().behaviour.starts_with("returns:")) return right;
  return ::strtoul(plan().behaviour.c_str() + 8, nullptr, 0);
}

// How many calls the host has made, and so what number its present request has.
std::atomic<std::uint32_t> served{0};

pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
bool poked = false;
bool reported = false;
// Not an object: the constructor of this module runs before those of its objects.
char report[16384];

void setReport(const std::string& text) {
  ::pthread_mutex_lock(&mutex);
  ::snprintf(report, sizeof report, "%s", text.c_str());
  reported = true;
  ::pthread_cond_broadcast(&changed);
  ::pthread_mutex_unlock(&mutex);
}

[[noreturn]] void forEver() {
  for (;;) ::pause();
}

// ---- ways to die ----

// By the hardware, not by raise(): nothing can be left to chance about who sent it.
void crash() {
  volatile auto nowhere = std::uintptr_t{8};
  *reinterpret_cast<int*>(nowhere) = 1;
}

jmp_buf gone;
void remember() {
  // The frame that this returns into is gone by the time that somebody jumps here.
  if (::setjmp(gone) != 0) ::abort();
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winfinite-recursion"
int overflowStack(int depth) {
  volatile char frame[4096];
  frame[depth % 4096] = static_cast<char>(depth);
  return overflowStack(depth + 1) + frame[(depth + 1) % 4096];
}
#pragma GCC diagnostic pop

[[noreturn]] void exhaustMemory() {
  for (;;) {
    auto p = new char[1 << 20];
    ::memset(p, 1, 1 << 20);
    // Compilers may do without memory that nobody looks at.
    asm volatile("" : : "r"(p) : "memory");
  }
}

// What is corrupt is noticed when it is given back.
void* corruptHeap() {
  auto p = static_cast<char*>(::malloc(64));
  volatile char* header = p - 16;
  for (int i = 0; i < 16; ++i) header[i] = 0x41;
  return p;
}

// All that a library shares with its program.
void changeProcess() {
  (void)!::chdir("/usr");
  ::umask(0123);
  ::setenv("TZ", "Asia/Tokyo", 1);
  ::tzset();
  ::unsetenv("PATH");
  ::setlocale(LC_ALL, "C.UTF-8");
  ::fesetround(FE_UPWARD);
  ::signal(SIGTERM, SIG_IGN);
}

void takeAllSignals(sighandler_t handler) {
  for (int n = 1; n < 65; ++n) ::signal(n, handler);
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

// ---- the host's descriptors ----

std::vector<int> sockets(int type) {
  std::vector<int> found;
  for (int fd = 3; fd < 256; ++fd) {
    int have = 0;
    socklen_t size = sizeof have;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &have, &size) == 0 && have == type)
      found.push_back(fd);
  }
  return found;
}

std::vector<int> pipes(int mode) {
  std::vector<int> found;
  for (int fd = 3; fd < 256; ++fd) {
    if (::fcntl(fd, F_GETPIPE_SZ) > 0 && (::fcntl(fd, F_GETFL) & O_ACCMODE) == mode)
      found.push_back(fd);
  }
  return found;
}

// Where requests come from, and where replies go.
std::vector<int> requests() {
  return pipes(O_RDONLY);
}
std::vector<int> replies() {
  return pipes(O_WRONLY);
}

void toAll(const std::vector<int>& fds, const void* data, std::size_t size) {
  for (int fd : fds) (void)!::write(fd, data, size);
}

// A frame: header, segment table, words.
std::vector<std::uint64_t> frame(std::uint32_t sequence, const std::vector<std::uint64_t>& words) {
  std::vector<std::uint64_t> all;
  all.push_back((words.size() + 1) | std::uint64_t{sequence} << 32);
  all.push_back(std::uint64_t{words.size()} << 32);
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

// A reply that says CKR_OK and carries no values: root pointer, two words of data, one pointer.
std::vector<std::uint64_t> emptyReply(std::uint32_t sequence) {
  return frame(sequence, {std::uint64_t{2} << 32 | std::uint64_t{1} << 48, 0, 0, 0});
}

void send(const std::vector<std::uint64_t>& words) {
  toAll(replies(), words.data(), words.size() * sizeof words[0]);
}

void* later(void*) {
  ::usleep(50'000);
  send(emptyReply(served - 1));
  return nullptr;
}

void writeFrames() {
  std::uint32_t sequence = served - 1;
  if (is("frame-garbage")) {
    char garbage[256];
    ::memset(garbage, 0xa5, sizeof garbage);
    toAll(replies(), garbage, sizeof garbage);
  } else if (is("frame-oversized")) {
    send({std::uint64_t{0x7fffffff} | std::uint64_t{sequence} << 32, 0});
  } else if (is("frame-zero")) {
    send({std::uint64_t{sequence} << 32});
  } else if (is("frame-double")) {
    auto twice = emptyReply(sequence);
    auto once = twice;
    twice.insert(twice.end(), once.begin(), once.end());
    send(twice);
  } else if (is("frame-forged")) {
    send(emptyReply(sequence));
  } else if (is("frame-sequence")) {
    send(emptyReply(sequence + 1000));
  } else if (is("frame-cyclic")) {
    // A struct whose only pointer is the pointer that leads to it.
    send(frame(sequence, {std::uint64_t{0xfffffffc} | std::uint64_t{1} << 48, 0}));
  } else if (is("frame-far")) {
    send(frame(sequence, {2 | std::uint64_t{5} << 32, 0}));
  } else if (is("frame-segments")) {
    send({std::uint64_t{3} | std::uint64_t{sequence} << 32, 0xffffffffffffffff, 0, 0});
  } else if (is("frame-list")) {
    auto huge = emptyReply(sequence);
    // A list of 2^29-1 eight-byte elements in a message of a few words.
    huge.back() = 1 | std::uint64_t{0xfffffffd} << 32;
    send(huge);
  } else if (is("frame-truncated")) {
    send({std::uint64_t{100} | std::uint64_t{sequence} << 32, 0});
    for (int fd : replies()) ::close(fd);
    forEver();
  } else if (is("frame-stall")) {
    send({std::uint64_t{100} | std::uint64_t{sequence} << 32, 0});
    forEver();
  } else if (is("frame-drip")) {
    send({std::uint64_t{100} | std::uint64_t{sequence} << 32});
    for (;; ::usleep(50'000)) toAll(replies(), "", 1);
  } else if (is("frame-flood")) {
    std::vector<char> zeros(1 << 20);
    toAll(replies(), zeros.data(), zeros.size());
  } else if (is("frame-later")) {
    pthread_t thread;
    if (::pthread_create(&thread, nullptr, later, nullptr) == 0) ::pthread_detach(thread);
  } else if (is("control-garbage")) {
    char garbage[64];
    ::memset(garbage, 0xa5, sizeof garbage);
    toAll(sockets(SOCK_SEQPACKET), garbage, sizeof garbage);
    toAll(sockets(SOCK_SEQPACKET), garbage, 3);
  }
}

// Takes what is meant for the worker.
void* steal(void*) {
  for (;;)
    for (int fd : requests()) {
      pollfd one{fd, POLLIN, 0};
      char bytes[64];
      if (::poll(&one, 1, 1) == 1) (void)!::read(fd, bytes, sizeof bytes);
    }
  return nullptr;
}

void usePipes() {
  if (is("pipe-small")) {
    for (int mode : {O_RDONLY, O_WRONLY})
      for (int fd : pipes(mode)) (void)::fcntl(fd, F_SETPIPE_SZ, 4096);
  } else if (is("pipe-flags")) {
    for (int mode : {O_RDONLY, O_WRONLY})
      for (int fd : pipes(mode)) (void)::fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT);
  } else if (is("pipe-swapped")) {
    auto in = requests(), out = replies();
    for (std::size_t i = 0; i < in.size(); ++i) {
      int kept = ::dup(in[i]);
      (void)::dup2(out[i], in[i]);
      (void)::dup2(kept, out[i]);
    }
  } else if (is("pipe-looped")) {
    int own[2];
    auto in = requests(), out = replies();
    if (::pipe(own) != 0) return;
    for (int fd : in) (void)::dup2(own[0], fd);
    for (int fd : out) (void)::dup2(own[1], fd);
  } else if (is("pipe-kept")) {
    for (int fd : replies()) {
      (void)!::dup(fd);
      ::close(fd);
    }
  } else if (is("pipe-filled")) {
    // Opened once more from the other side, where the sandbox has a /proc.
    for (int fd : requests()) {
      int own = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_WRONLY | O_NONBLOCK);
      ::fprintf(stderr, "the other side of a pipe: %s\n", own < 0 ? ::strerror(errno) : "open");
      char bytes[4096] = {};
      while (own >= 0 && ::write(own, bytes, sizeof bytes) > 0) continue;
    }
    forEver();
  } else if (is("pipe-stolen")) {
    pthread_t thread;
    if (::pthread_create(&thread, nullptr, steal, nullptr) == 0) ::pthread_detach(thread);
  }
}

// ---- what can be sent to the host and the supervisor ----

// A message of the worker's, `failed`, that says "all is well".
constexpr unsigned char FAILED[] = {
    0,  0, 0, 0, 7,   0,   0,   0,   0,   0,   0,   0,   1,   0,   1,   0, 3, 0, 0, 0, 0, 0,
    0,  0, 0, 0, 0,   0,   1,   0,   1,   0,   0,   0,   0,   0,   0,   0, 0, 0, 1, 0, 0, 0,
    98, 0, 0, 0, 'a', 'l', 'l', ' ', 'i', 's', ' ', 'w', 'e', 'l', 'l', 0, 0, 0, 0, 0};
// The sockets that were there in the constructor, under numbers of the module's own.
std::vector<int> keptSockets;

// As many copies of a descriptor as one message takes.
bool sendCopies(int socket, int fd, std::size_t copies) {
  char byte[8] = {};
  iovec part{byte, sizeof byte};
  std::vector<char> control(CMSG_SPACE(copies * sizeof(int)));
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control.data();
  m.msg_controllen = control.size();
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(copies * sizeof(int));
  for (std::size_t i = 0; i < copies; ++i) ::memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof fd);
  return ::sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

// A socket whose closing takes half a minute, for somebody else to close.
void sendLinger() {
  int tcp = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(::atoi(::getenv("PORT"))));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(tcp, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) return;
  linger time{1, 30};
  (void)::setsockopt(tcp, SOL_SOCKET, SO_LINGER, &time, sizeof time);
  std::vector<char> much(1 << 20);
  while (::sendto(tcp, much.data(), much.size(), MSG_DONTWAIT, nullptr, 0) > 0) continue;
  for (int socket : sockets(SOCK_SEQPACKET))
    for (int i = 0; i < 200 && sendCopies(socket, tcp, 1); ++i) continue;
  ::close(tcp);
}

void behave() {
  if (is("end")) {
    (void)!::write(2, "called\n", 7);
    std::uint64_t none = std::uint64_t{0xffffffff} << 32;
    toAll(replies(), &none, sizeof none);
    ::usleep(50'000);
  }
  if (is("inflight"))
    for (int i = 0; i < 6; ++i)
      for (int socket : sockets(SOCK_SEQPACKET)) (void)sendCopies(socket, 1, 253);
  if (is("linger")) sendLinger();
  if (is("false-report")) {
    for (int socket : keptSockets)
      (void)::send(socket, FAILED, sizeof FAILED, MSG_DONTWAIT | MSG_NOSIGNAL);
    forEver();
  }
  if (is("segv")) crash();
  if (is("abort")) ::abort();
  if (is("exit")) ::exit(0);
  if (is("_exit")) ::_exit(0);
  if (is("stack")) overflowStack(0);
  if (is("heap")) ::free(corruptHeap());
  if (is("heap-later")) {
    static std::atomic<int> times{0};
    static void* corrupt = nullptr;
    switch (++times) {
      case 1:
        corrupt = corruptHeap();
        break;
      case 3:
        ::free(corrupt);
    }
  }
  if (is("throw")) throw std::runtime_error("out of a C function");
  if (is("throw-int")) throw 42;
  if (is("longjmp")) ::longjmp(gone, 1);
  if (is("oom")) exhaustMemory();
  if (is("pthread-exit")) ::pthread_exit(nullptr);
  if (is("kill")) ::raise(SIGKILL);
  if (is("hang")) forEver();
  if (is("hang-later")) {
    static std::atomic<int> times{0};
    if (++times > 4) forEver();
  }
  if (is("spin"))
    for (;;) asm volatile("");
  if (is("stop")) ::raise(SIGSTOP);
  if (is("slow")) ::usleep(300'000);
  if (is("deaf")) {
    // Nothing that can be caught reaches it, and it never comes back.
    takeAllSignals(SIG_IGN);
    for (;;) ::usleep(1'000'000);
  }
  if (is("handled-segv")) {
    // The handler comes back to what has raised it, time and again.
    ::signal(SIGSEGV, [](int) {});
    crash();
  }
  if (is("close")) {
    for (int fd = 0; fd < 256; ++fd) ::close(fd);
    forEver();
  }
  if (is("flood")) {
    std::string line(200, 'x');
    line += '\n';
    for (int i = 0; i < 500'000; ++i) (void)!::write(1 + i % 2, line.data(), line.size());
  }
  if (is("change")) changeProcess();
  if (is("say")) (void)!::write(2, "line one\nline \x1b[31m two\n", 24);
  if (plan().behaviour.starts_with("frame-") || plan().behaviour.starts_with("control-"))
    writeFrames();
  if (plan().behaviour.starts_with("pipe-")) usePipes();
  if (plan().behaviour.starts_with("try:")) setReport(attempt(plan().behaviour.substr(4)));
  if (plan().behaviour.starts_with("handled:")) {
    takeAllSignals([](int) {});
    setReport(attempt(plan().behaviour.substr(8)));
  }
}

void at(const char* point) {
  if (point[0] == 'C') ++served;
  if (plan().point == point) behave();
}

void* background(void*) {
  ::pthread_mutex_lock(&mutex);
  while (!poked) ::pthread_cond_wait(&changed, &mutex);
  ::pthread_mutex_unlock(&mutex);
  behave();
  return nullptr;
}

__attribute__((constructor)) void onLoad() {
  remember();
  if (is("false-report"))
    for (int socket : sockets(SOCK_SEQPACKET)) keptSockets.push_back(::dup(socket));
  at("ctor");
}
__attribute__((destructor)) void onUnload() {
  at("dtor");
}

// ---- the decent module ----

constexpr CK_SLOT_ID SLOT = 7;
std::atomic<CK_SESSION_HANDLE> lastSession{100};
std::atomic<int> found{0};
extern CK_FUNCTION_LIST functions;

template <std::size_t N>
void pad(CK_UTF8CHAR (&field)[N], const char* text) {
  ::memset(field, ' ', N);
  ::memcpy(field, text, std::min(N, ::strlen(text)));
}

constexpr CK_ULONG HUGE_COUNT = CK_ULONG{1} << 40;

CK_RV initialize(void*) {
  if (plan().point == "thread") {
    pthread_t thread;
    if (::pthread_create(&thread, nullptr, background, nullptr) != 0) return CKR_HOST_MEMORY;
    ::pthread_detach(thread);
  }
  at("init");
  return returned("C_Initialize", CKR_OK);
}
CK_RV finalize(void*) {
  at("finalize");
  if (is("slow")) (void)!::write(2, "finalized\n", 10);
  return CKR_OK;
}
CK_RV getInfo(CK_INFO_PTR info) {
  at("C_GetInfo");
  *info = {};
  return CKR_OK;
}
CK_RV getSlotList(CK_BBOOL, CK_SLOT_ID_PTR list, CK_ULONG_PTR count) {
  at("C_GetSlotList");
  if (lies("count", "C_GetSlotList")) {
    *count = HUGE_COUNT;
    return CKR_OK;
  }
  if (list != nullptr && *count < 1) return CKR_BUFFER_TOO_SMALL;
  if (list != nullptr) *list = SLOT;
  *count = 1;
  return CKR_OK;
}
CK_RV getSlotInfo(CK_SLOT_ID, CK_SLOT_INFO_PTR info) {
  at("C_GetSlotInfo");
  *info = {};
  pad(info->slotDescription, "hostile");
  pad(info->manufacturerID, "bulkhead");
  info->flags = CKF_TOKEN_PRESENT;
  return CKR_OK;
}
CK_RV getTokenInfo(CK_SLOT_ID, CK_TOKEN_INFO_PTR info) {
  at("C_GetTokenInfo");
  *info = {};
  pad(info->label, "hostile");
  info->flags = CKF_TOKEN_INITIALIZED | CKF_RNG;
  return CKR_OK;
}
CK_RV getMechanismList(CK_SLOT_ID, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count) {
  at("C_GetMechanismList");
  if (lies("count", "C_GetMechanismList")) {
    *count = HUGE_COUNT;
    return CKR_OK;
  }
  if (list != nullptr && *count < 1) return CKR_BUFFER_TOO_SMALL;
  if (list != nullptr) *list = CKM_SHA256;
  *count = 1;
  return CKR_OK;
}
CK_RV openSession(CK_SLOT_ID, CK_FLAGS, void*, CK_NOTIFY, CK_SESSION_HANDLE_PTR handle) {
  at("C_OpenSession");
  *handle = lies("zero", "C_OpenSession")   ? 0
            : lies("same", "C_OpenSession") ? lastSession.load()
                                            : ++lastSession;
  if (lies("table", "C_OpenSession")) {
    functions.C_Digest = reinterpret_cast<CK_C_Digest>(1);
    functions.C_GenerateRandom = nullptr;
    functions.C_DigestInit = nullptr;
  }
  return CKR_OK;
}
CK_RV closeSession(CK_SESSION_HANDLE) {
  at("C_CloseSession");
  return CKR_OK;
}
CK_RV closeAllSessions(CK_SLOT_ID) {
  at("C_CloseAllSessions");
  return CKR_OK;
}
CK_RV getSessionInfo(CK_SESSION_HANDLE, CK_SESSION_INFO_PTR info) {
  at("C_GetSessionInfo");
  *info = {};
  info->slotID = SLOT;
  info->flags = CKF_SERIAL_SESSION;
  return CKR_OK;
}
CK_RV login(CK_SESSION_HANDLE, CK_USER_TYPE, CK_UTF8CHAR_PTR pin, CK_ULONG size) {
  at("C_Login");
  if (lies("leak", "C_Login")) ::fprintf(stderr, "%.*s\n", static_cast<int>(size), pin);
  return CKR_OK;
}
CK_RV logout(CK_SESSION_HANDLE) {
  at("C_Logout");
  return CKR_OK;
}
CK_RV setPin(CK_SESSION_HANDLE, CK_UTF8CHAR_PTR, CK_ULONG, CK_UTF8CHAR_PTR, CK_ULONG) {
  at("C_SetPIN");
  return CKR_OK;
}
// The last object's value, in disguise: who looks for what this module was given finds it nowhere
// that the product had it.
std::mutex keptMutex;
std::vector<CK_BYTE> kept;
constexpr CK_BYTE DISGUISE = 0x5a;

CK_RV createObject(CK_SESSION_HANDLE, CK_ATTRIBUTE_PTR list, CK_ULONG count,
                   CK_OBJECT_HANDLE_PTR object) {
  at("C_CreateObject");
  *object = 12;
  std::lock_guard lock(keptMutex);
  for (CK_ULONG i = 0; i < count; ++i) {
    if (list[i].type != CKA_VALUE || list[i].pValue == nullptr) continue;
    auto value = static_cast<const CK_BYTE*>(list[i].pValue);
    kept.resize(list[i].ulValueLen);
    std::transform(value, value + kept.size(), kept.begin(),
                   [](CK_BYTE b) { return static_cast<CK_BYTE>(b ^ DISGUISE); });
  }
  return lies("refuse", "C_CreateObject") ? CKR_TEMPLATE_INCONSISTENT : CKR_OK;
}
CK_RV findObjectsInit(CK_SESSION_HANDLE, CK_ATTRIBUTE_PTR, CK_ULONG) {
  at("C_FindObjectsInit");
  found = 0;
  return CKR_OK;
}
CK_RV findObjects(CK_SESSION_HANDLE, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max,
                  CK_ULONG_PTR count) {
  at("C_FindObjects");
  *count = 0;
  if (max > 0 && found.exchange(1) == 0) {
    objects[0] = 11;
    *count = 1;
  }
  if (lies("count", "C_FindObjects")) *count = HUGE_COUNT;
  if (lies("handle", "C_FindObjects")) objects[0] = ~CK_OBJECT_HANDLE{0};
  return CKR_OK;
}
CK_RV findObjectsFinal(CK_SESSION_HANDLE) {
  at("C_FindObjectsFinal");
  return CKR_OK;
}
CK_RV getAttributeValue(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_ATTRIBUTE_PTR list,
                        CK_ULONG count) {
  at("C_GetAttributeValue");
  for (CK_ULONG i = 0; i < count; ++i) {
    auto value = static_cast<CK_BYTE*>(list[i].pValue);
    if (value != nullptr) ::memset(value, 'v', list[i].ulValueLen);
    if (std::lock_guard lock(keptMutex);
        value != nullptr && list[i].type == CKA_VALUE && list[i].ulValueLen == kept.size())
      std::transform(kept.begin(), kept.end(), value,
                     [](CK_BYTE b) { return static_cast<CK_BYTE>(b ^ DISGUISE); });
    if (lies("count", "C_GetAttributeValue")) list[i].ulValueLen = HUGE_COUNT;
    if (lies("longer", "C_GetAttributeValue")) list[i].ulValueLen += 1000;
    if (lies("type", "C_GetAttributeValue")) list[i].type = CKA_VENDOR_DEFINED;
    if (lies("pointer", "C_GetAttributeValue"))
      list[i].pValue = reinterpret_cast<void*>(std::uintptr_t{16});
  }
  return CKR_OK;
}
CK_RV digestInit(CK_SESSION_HANDLE, CK_MECHANISM_PTR) {
  at("C_DigestInit");
  return CKR_OK;
}
CK_RV digest(CK_SESSION_HANDLE, CK_BYTE_PTR data, CK_ULONG size, CK_BYTE_PTR out,
             CK_ULONG_PTR outSize) {
  at("C_Digest");
  CK_ULONG room = *outSize;
  *outSize = size;
  if (lies("longer", "C_Digest")) {
    *outSize = room + 1000;
    return CKR_OK;
  }
  if (lies("count", "C_Digest")) {
    *outSize = HUGE_COUNT;
    return CKR_OK;
  }
  if (lies("beyond", "C_Digest")) {
    // Far past what was offered, and it says so.
    ::memset(out, 'b', room + 4096);
    *outSize = room + 4096;
    return CKR_OK;
  }
  // One length where it is asked for one, and another where the result is to be.
  bool asked = out == nullptr;
  if (lies("grows", "C_Digest") || lies("grows-told", "C_Digest")) *outSize = asked ? 10 : 10'000;
  if (lies("shrinks", "C_Digest")) *outSize = asked ? 10'000 : 10;
  if (asked || lies("grows", "C_Digest")) return CKR_OK;
  if (room < *outSize) return CKR_BUFFER_TOO_SMALL;
  ::memcpy(out, data, std::min(size, *outSize));
  return returned("C_Digest", CKR_OK);
}
// Shows what handles it was given: the new key's is the sum of both.
CK_RV deriveKey(CK_SESSION_HANDLE, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE base,
                CK_ATTRIBUTE_PTR, CK_ULONG, CK_OBJECT_HANDLE_PTR made) {
  at("C_DeriveKey");
  CK_OBJECT_HANDLE other = 0;
  if (mechanism->mechanism == CKM_CONCATENATE_BASE_AND_KEY)
    ::memcpy(&other, mechanism->pParameter, sizeof other);
  if (mechanism->mechanism == CKM_ECMQV_DERIVE)
    other = static_cast<CK_ECMQV_DERIVE_PARAMS*>(mechanism->pParameter)->hPrivateData;
  *made = base + other;
  return CKR_OK;
}
CK_RV seedRandom(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG) {
  at("C_SeedRandom");
  return CKR_OK;
}
CK_RV generateRandom(CK_SESSION_HANDLE, CK_BYTE_PTR data, CK_ULONG size) {
  at("C_GenerateRandom");
  ::memset(data, 0, size);
  bool tries = plan().behaviour.starts_with("try:") || plan().behaviour.starts_with("handled:");
  ::pthread_mutex_lock(&mutex);
  if (plan().point == "thread") {
    poked = true;
    ::pthread_cond_broadcast(&changed);
    while (!reported) ::pthread_cond_wait(&changed, &mutex);
  }
  std::string text = reported ? report : tries ? "not tried" : "random";
  ::pthread_mutex_unlock(&mutex);
  ::memcpy(data, text.data(), std::min<std::size_t>(size, text.size()));
  return CKR_OK;
}

CK_RV getFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

CK_FUNCTION_LIST functions = [] {
  CK_FUNCTION_LIST f{};
  f.version = {2, 40};
  f.C_Initialize = initialize;
  f.C_Finalize = finalize;
  f.C_GetInfo = getInfo;
  f.C_GetFunctionList = getFunctionList;
  f.C_GetSlotList = getSlotList;
  f.C_GetSlotInfo = getSlotInfo;
  f.C_GetTokenInfo = getTokenInfo;
  f.C_GetMechanismList = getMechanismList;
  f.C_OpenSession = openSession;
  f.C_CloseSession = closeSession;
  f.C_CloseAllSessions = closeAllSessions;
  f.C_GetSessionInfo = getSessionInfo;
  f.C_Login = login;
  f.C_Logout = logout;
  f.C_SetPIN = setPin;
  f.C_CreateObject = createObject;
  f.C_FindObjectsInit = findObjectsInit;
  f.C_FindObjects = findObjects;
  f.C_FindObjectsFinal = findObjectsFinal;
  f.C_GetAttributeValue = getAttributeValue;
  f.C_DigestInit = digestInit;
  f.C_Digest = digest;
  f.C_DeriveKey = deriveKey;
  f.C_SeedRandom = seedRandom;
  f.C_GenerateRandom = generateRandom;
  return f;
}();

CK_RV getFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  at("getlist");
  *list = &functions;
  if (lies("null-table", "getlist")) *list = nullptr;
  if (lies("error", "getlist")) return CKR_GENERAL_ERROR;
  if (lies("version-zero", "getlist")) functions.version = {0, 0};
  if (lies("version-absurd", "getlist")) functions.version = {255, 255};
  if (lies("version-newer", "getlist")) functions.version = {3, 2};
  if (lies("no-initialize", "getlist")) functions.C_Initialize = nullptr;
  if (lies("null-entries", "getlist")) {
    CK_FUNCTION_LIST empty{};
    empty.version = functions.version;
    empty.C_Initialize = functions.C_Initialize;
    functions = empty;
  }
  return CKR_OK;
}

}  // namespace
}  // namespace bulkhead::hostile

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(
    CK_FUNCTION_LIST_PTR_PTR list) {
  return bulkhead::hostile::getFunctionList(list);
}
