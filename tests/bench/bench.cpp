// SPDX-License-Identifier: BSD-2-Clause
//
// Measures one PKCS#11 module, whatever is behind it. `compare` runs this once per target and
// round, in a PID namespace of its own: every other process that it sees there, but the first, is a
// helper of the module, whose CPU time, context switches and memory count.
//
//   bench --suite=calls|threads|stall|start|memory|floor|prepare --module=PATH[:PATH...]
//         --placement=one|two|free [--samples=N] [--resident=MiB] [--benchmark_...]
#include <benchmark/benchmark.h>
#include <dirent.h>
#include <dlfcn.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "ipc/descriptor.h"
#include "ipc/pkcs11.h"
#include "tests/bench/ballast.h"

namespace bulkhead::bench {
namespace {

using Clock = std::chrono::steady_clock;
using benchmark::State;

struct Options {
  std::string suite = "calls";
  std::vector<std::string> modules;
  std::string placement = "free";
  int samples = 5;
  std::size_t resident = 0;  // MiB, see Ballast
  int window = 300;          // ms
};
Options options;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::exit(1);
}

double microseconds(Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// ---- processes ----

// A process beside this one, and what the kernel says of it.
struct Helper {
  pid_t pid;
  pid_t parent;
};

std::string field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line))
    if (line.rfind(key, 0) == 0) return line.substr(key.size());
  return {};
}

std::vector<int> numbersIn(const std::string& directory) {
  std::vector<int> found;
  DIR* dir = ::opendir(directory.c_str());
  if (dir == nullptr) return found;
  while (const dirent* entry = ::readdir(dir)) {
    int n = std::atoi(entry->d_name);
    if (n > 0) found.push_back(n);
  }
  ::closedir(dir);
  return found;
}

std::vector<Helper> helpers() {
  std::vector<Helper> found;
  for (int pid : numbersIn("/proc")) {
    if (pid == 1 || pid == ::getpid()) continue;
    std::string parent = field("/proc/" + std::to_string(pid) + "/status", "PPid:");
    if (!parent.empty()) found.push_back({pid, std::atoi(parent.c_str())});
  }
  return found;
}

struct Usage {
  double cpu = 0;  // us
  double switches = 0;
  double faults = 0;
};

Usage usageOf(pid_t pid) {
  Usage sum;
  std::string tasks = "/proc/" + std::to_string(pid) + "/task/";
  for (int tid : numbersIn(tasks)) {
    std::string task = tasks + std::to_string(tid);
    double nanoseconds = 0;
    std::ifstream(task + "/schedstat") >> nanoseconds;
    sum.cpu += nanoseconds / 1000;
    sum.switches += std::atof(field(task + "/status", "voluntary_ctxt_switches:").c_str());
    // The tenth field, counted behind the name, which may hold spaces.
    std::string stat = field(task + "/stat", "");
    std::istringstream rest(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
    std::string skipped;
    for (int i = 0; i < 7; ++i) rest >> skipped;
    double faults = 0;
    rest >> faults;
    sum.faults += faults;
  }
  return sum;
}

Usage usageOfHelpers() {
  Usage sum;
  for (const Helper& helper : helpers()) {
    Usage one = usageOf(helper.pid);
    sum.cpu += one.cpu;
    sum.switches += one.switches;
    sum.faults += one.faults;
  }
  return sum;
}

struct Memory {
  double privateKb = 0;
  double pssKb = 0;
};

Memory memoryOf(pid_t pid) {
  std::string rollup = "/proc/" + std::to_string(pid) + "/smaps_rollup";
  auto number = [&](const char* key) { return std::atof(field(rollup, key).c_str()); };
  return {number("Private_Clean:") + number("Private_Dirty:"), number("Pss:")};
}

// The CPUs that this process started with.
std::vector<int> allowedCpus() {
  static const std::vector<int> cpus = [] {
    std::vector<int> found;
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) die("sched_getaffinity");
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &set)) found.push_back(i);
    return found;
  }();
  return cpus;
}

void pin(pid_t tid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (::sched_setaffinity(tid, sizeof set, &set) != 0) die("sched_setaffinity");
}

// Before there are helpers: they inherit the host's place.
void placeHost() {
  if (allowedCpus().size() < 2 && options.placement == "two") die("only one CPU to run on");
  if (options.placement != "free") pin(0, allowedCpus()[0]);
}

void placeHelpers() {
  if (options.placement != "two") return;
  for (const Helper& helper : helpers())
    for (int tid : numbersIn("/proc/" + std::to_string(helper.pid) + "/task"))
      pin(tid, allowedCpus()[1]);
}

// What a piece of work cost beside time: CPU and voluntary switches of the host and its helpers.
class Meter {
 public:
  Meter() : helpers_(usageOfHelpers()), host_(own()) {}

  void finish(State& state, double operations) {
    Usage host = own();
    Usage others = usageOfHelpers();
    state.counters["cpu_host_us"] = (host.cpu - host_.cpu) / operations;
    state.counters["cpu_helpers_us"] = (others.cpu - helpers_.cpu) / operations;
    state.counters["switches_host"] = (host.switches - host_.switches) / operations;
    state.counters["switches_helpers"] = (others.switches - helpers_.switches) / operations;
    state.counters["faults_host"] = (host.faults - host_.faults) / operations;
    state.counters["faults_helpers"] = (others.faults - helpers_.faults) / operations;
  }

 private:
  static Usage own() {
    rusage usage;
    ::getrusage(RUSAGE_SELF, &usage);
    timespec cpu;
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return {static_cast<double>(cpu.tv_sec) * 1e6 + static_cast<double>(cpu.tv_nsec) / 1e3,
            static_cast<double>(usage.ru_nvcsw), static_cast<double>(usage.ru_minflt)};
  }

  Usage helpers_;
  Usage host_;
};

void percentiles(State& state, std::vector<double>& latencies) {
  if (latencies.empty()) return;
  std::sort(latencies.begin(), latencies.end());
  state.counters["p50_us"] = latencies[latencies.size() / 2];
  state.counters["p99_us"] = latencies[latencies.size() * 99 / 100];
  state.counters["max_us"] = latencies.back();
}

// ---- the module ----

std::string failure(const char* what, CK_RV rv) {
  char text[128];
  std::snprintf(text, sizeof text, "%s: 0x%lx", what, rv);
  return text;
}

void check(CK_RV rv, const char* what) {
  if (rv != CKR_OK) die(failure(what, rv));
}

CK_FUNCTION_LIST* load(const std::string& path) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) die(::dlerror());
  auto get = reinterpret_cast<CK_C_GetFunctionList>(::dlsym(library, "C_GetFunctionList"));
  CK_FUNCTION_LIST* list = nullptr;
  if (get == nullptr || get(&list) != CKR_OK) die(path + " is no PKCS#11 module");
  return list;
}

void initialize(CK_FUNCTION_LIST* p) {
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  check(p->C_Initialize(&args), "C_Initialize");
}

std::vector<CK_SLOT_ID> slotsOf(CK_FUNCTION_LIST* p) {
  CK_ULONG count = 0;
  check(p->C_GetSlotList(CK_TRUE, nullptr, &count), "C_GetSlotList");
  std::vector<CK_SLOT_ID> slots(count);
  check(p->C_GetSlotList(CK_TRUE, slots.data(), &count), "C_GetSlotList");
  slots.resize(count);
  return slots;
}

constexpr char PIN[] = "1234";
constexpr char LABEL[] = "bench";

// The module at work: initialised, with a session that is logged in.
class Token {
 public:
  explicit Token(bool login) {
    p_ = load(options.modules.at(0));
    initialize(p_);
    for (CK_SLOT_ID slot : slotsOf(p_)) {
      CK_TOKEN_INFO info;
      if (p_->C_GetTokenInfo(slot, &info) != CKR_OK) continue;
      if (std::memcmp(info.label, LABEL, sizeof LABEL - 1) == 0) slot_ = slot;
    }
    if (slot_ == CK_UNAVAILABLE_INFORMATION) die("no token of ours");
    session = open();
    if (login)
      check(p_->C_Login(session, CKU_USER,
                        const_cast<CK_UTF8CHAR*>(reinterpret_cast<const CK_UTF8CHAR*>(PIN)),
                        sizeof PIN - 1),
            "C_Login");
    CK_SESSION_INFO info;
    for (int i = 0; i < 10; ++i) check(p_->C_GetSessionInfo(session, &info), "C_GetSessionInfo");
    placeHelpers();
  }
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;
  ~Token() { check(p_->C_Finalize(nullptr), "C_Finalize"); }

  CK_FUNCTION_LIST* operator->() const { return p_; }

  CK_SESSION_HANDLE open() const {
    CK_SESSION_HANDLE handle;
    check(p_->C_OpenSession(slot_, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &handle),
          "C_OpenSession");
    return handle;
  }

  CK_OBJECT_HANDLE ecdsaKey() {
    if (ecdsa_ == 0) ecdsa_ = pair(CKM_EC_KEY_PAIR_GEN);
    return ecdsa_;
  }
  CK_OBJECT_HANDLE rsaKey() {
    if (rsa_ == 0) rsa_ = pair(CKM_RSA_PKCS_KEY_PAIR_GEN);
    return rsa_;
  }
  CK_OBJECT_HANDLE aesKey() {
    if (aes_ != 0) return aes_;
    CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
    CK_ULONG length = 32;
    CK_BBOOL yes = CK_TRUE;
    CK_ATTRIBUTE t[] = {{CKA_VALUE_LEN, &length, sizeof length},
                        {CKA_ENCRYPT, &yes, sizeof yes},
                        {CKA_DECRYPT, &yes, sizeof yes}};
    check(p_->C_GenerateKey(session, &mechanism, t, 3, &aes_), "C_GenerateKey");
    return aes_;
  }
  void thousandObjects() {
    if (objects_) return;
    objects_ = true;
    CK_OBJECT_CLASS data = CKO_DATA;
    // Public, as certificates are: SoftHSM2 decrypts what is private for each look at it, and then
    // most of what is measured is that.
    CK_BBOOL no = CK_FALSE;
    for (int i = 0; i < 1000; ++i) {
      std::string label = "object " + std::to_string(i);
      char value[64] = {};
      CK_ATTRIBUTE t[] = {{CKA_CLASS, &data, sizeof data},
                          {CKA_LABEL, label.data(), label.size()},
                          {CKA_VALUE, value, sizeof value},
                          {CKA_PRIVATE, &no, sizeof no}};
      CK_OBJECT_HANDLE handle;
      check(p_->C_CreateObject(session, t, 4, &handle), "C_CreateObject");
    }
  }

  CK_SESSION_HANDLE session = 0;

 private:
  CK_OBJECT_HANDLE pair(CK_MECHANISM_TYPE type) {
    CK_MECHANISM mechanism{type, nullptr, 0};
    CK_BBOOL yes = CK_TRUE;
    CK_ULONG bits = 2048;
    CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_ATTRIBUTE of = type == CKM_EC_KEY_PAIR_GEN
                          ? CK_ATTRIBUTE{CKA_EC_PARAMS, p256, sizeof p256}
                          : CK_ATTRIBUTE{CKA_MODULUS_BITS, &bits, sizeof bits};
    CK_ATTRIBUTE pub[] = {of, {CKA_VERIFY, &yes, sizeof yes}};
    CK_ATTRIBUTE prv[] = {{CKA_SIGN, &yes, sizeof yes}};
    CK_OBJECT_HANDLE a;
    CK_OBJECT_HANDLE b;
    check(p_->C_GenerateKeyPair(session, &mechanism, pub, 2, prv, 1, &a, &b), "C_GenerateKeyPair");
    return b;
  }

  CK_FUNCTION_LIST* p_ = nullptr;
  CK_SLOT_ID slot_ = CK_UNAVAILABLE_INFORMATION;
  CK_OBJECT_HANDLE ecdsa_ = 0;
  CK_OBJECT_HANDLE rsa_ = 0;
  CK_OBJECT_HANDLE aes_ = 0;
  bool objects_ = false;
};

// ---- one call after the other ----

template <typename Operation>
void measure(State& state, const char* name, Operation&& operation) {
  std::vector<double> latencies;
  latencies.reserve(static_cast<std::size_t>(state.max_iterations));
  // The first two that touch 16 MiB take twice as long, with or without bulkhead.
  CK_RV rv = operation();
  if (rv == CKR_OK) rv = operation();
  if (rv != CKR_OK) return state.SkipWithError(failure(name, rv).c_str());
  Meter meter;
  for (auto _ : state) {
    auto begin = Clock::now();
    rv = operation();
    latencies.push_back(microseconds(Clock::now() - begin));
    if (rv != CKR_OK) return state.SkipWithError(failure(name, rv).c_str());
  }
  meter.finish(state, static_cast<double>(latencies.size()));
  percentiles(state, latencies);
}

CK_RV sign(Token& token, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_BYTE hash[32] = {1, 2, 3};
  CK_BYTE signature[512];
  CK_ULONG length = sizeof signature;
  CK_RV rv = token->C_SignInit(session, &mechanism, key);
  return rv != CKR_OK ? rv : token->C_Sign(session, hash, sizeof hash, signature, &length);
}

CK_RV findAll(Token& token, bool attributes) {
  CK_OBJECT_CLASS data = CKO_DATA;
  CK_ATTRIBUTE t{CKA_CLASS, &data, sizeof data};
  CK_RV rv = token->C_FindObjectsInit(token.session, &t, 1);
  std::vector<CK_OBJECT_HANDLE> found;
  while (rv == CKR_OK) {
    CK_OBJECT_HANDLE page[128];
    CK_ULONG count = 0;
    rv = token->C_FindObjects(token.session, page, 128, &count);
    if (rv != CKR_OK || count == 0) break;
    found.insert(found.end(), page, page + count);
  }
  if (rv == CKR_OK) rv = token->C_FindObjectsFinal(token.session);
  if (rv == CKR_OK && found.size() != 1000) return CKR_FUNCTION_FAILED;
  for (std::size_t i = 0; attributes && rv == CKR_OK && i < found.size(); ++i) {
    CK_BYTE value[128];
    CK_BYTE label[64];
    CK_OBJECT_CLASS type;
    CK_ATTRIBUTE three[] = {{CKA_CLASS, &type, sizeof type},
                            {CKA_LABEL, label, sizeof label},
                            {CKA_VALUE, value, sizeof value}};
    rv = token->C_GetAttributeValue(token.session, found[i], three, 3);
  }
  return rv;
}

void registerCalls(Token& token) {
  auto add = [](const std::string& name, auto run) {
    return benchmark::RegisterBenchmark(name.c_str(), run)->UseRealTime();
  };
  add("C_GetSessionInfo", [&](State& s) {
    CK_SESSION_INFO info;
    measure(s, "C_GetSessionInfo", [&] { return token->C_GetSessionInfo(token.session, &info); });
  });
  add("C_GenerateRandom(32)", [&](State& s) {
    CK_BYTE random[32];
    measure(s, "C_GenerateRandom",
            [&] { return token->C_GenerateRandom(token.session, random, sizeof random); });
  });
  add("ECDSA P-256 sign", [&](State& s) {
    CK_OBJECT_HANDLE key = token.ecdsaKey();
    measure(s, "C_Sign", [&] { return sign(token, token.session, CKM_ECDSA, key); });
  });
  add("RSA-2048 sign", [&](State& s) {
    CK_OBJECT_HANDLE key = token.rsaKey();
    measure(s, "C_Sign", [&] { return sign(token, token.session, CKM_RSA_PKCS, key); });
  });
  struct Size {
    const char* name;
    std::size_t bytes;
  };
  static constexpr Size SIZES[] = {
      {"1 KiB", 1 << 10}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}, {"16 MiB", 16 << 20}};
  for (const Size& size : SIZES)
    add(std::string("SHA-256 ") + size.name, [&token, size](State& s) {
      std::vector<CK_BYTE> data(size.bytes, 7);
      measure(s, "C_Digest", [&] {
        CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
        CK_BYTE digest[32];
        CK_ULONG length = sizeof digest;
        CK_RV rv = token->C_DigestInit(token.session, &mechanism);
        return rv != CKR_OK
                   ? rv
                   : token->C_Digest(token.session, data.data(), data.size(), digest, &length);
      });
    });
  for (const Size& size : SIZES)
    add(std::string("AES-CBC ") + size.name, [&token, size](State& s) {
      std::vector<CK_BYTE> data(size.bytes, 7);
      std::vector<CK_BYTE> out(size.bytes);
      CK_OBJECT_HANDLE key = token.aesKey();
      measure(s, "C_EncryptInit", [&] {
        CK_BYTE iv[16] = {};
        CK_MECHANISM mechanism{CKM_AES_CBC, iv, sizeof iv};
        CK_ULONG length = out.size();
        CK_RV rv = token->C_EncryptInit(token.session, &mechanism, key);
        return rv != CKR_OK
                   ? rv
                   : token->C_Encrypt(token.session, data.data(), data.size(), out.data(), &length);
      });
    });
  add("find 1000", [&](State& s) {
    token.thousandObjects();
    measure(s, "C_FindObjects", [&] { return findAll(token, false); });
  });
  add("find 1000, 3 attributes", [&](State& s) {
    token.thousandObjects();
    measure(s, "C_GetAttributeValue", [&] { return findAll(token, true); });
  });
}

// ---- many threads ----

// Runs `count` threads for a while, each repeating what `make(thread)` yields.
template <typename Make>
void inThreads(State& state, unsigned count, Make&& make) {
  for (auto _ : state) {
    std::atomic<bool> stop{false};
    std::atomic<CK_RV> failed{CKR_OK};
    std::vector<std::vector<double>> latencies(count);
    std::vector<std::thread> threads;
    std::atomic<unsigned> ready{0};
    std::atomic<bool> go{false};
    for (unsigned i = 0; i < count; ++i)
      threads.emplace_back([&, i] {
        auto operation = make(i);
        latencies[i].reserve(1 << 16);
        CK_RV rv = operation();
        ready.fetch_add(1);
        while (!go) std::this_thread::yield();
        while (!stop.load(std::memory_order_relaxed) && rv == CKR_OK) {
          auto begin = Clock::now();
          rv = operation();
          latencies[i].push_back(microseconds(Clock::now() - begin));
        }
        CK_RV none = CKR_OK;
        if (rv != CKR_OK) failed.compare_exchange_strong(none, rv);
      });
    while (ready < count) std::this_thread::yield();
    placeHelpers();
    Meter meter;
    auto begin = Clock::now();
    go = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(options.window));
    stop = true;
    double seconds = microseconds(Clock::now() - begin) / 1e6;
    for (auto& thread : threads) thread.join();
    std::vector<double> all;
    for (auto& own : latencies) all.insert(all.end(), own.begin(), own.end());
    double operations = static_cast<double>(std::max<std::size_t>(all.size(), 1));
    meter.finish(state, operations);
    percentiles(state, all);
    state.counters["ops_per_s"] = operations / seconds;
    state.SetIterationTime(seconds);
    if (failed != CKR_OK) state.SkipWithError(failure("a call in a thread", failed).c_str());
  }
}

void registerThreads(Token& token) {
  for (unsigned threads : {1U, 2U, 4U, 8U}) {
    std::string name = std::to_string(threads) + (threads == 1 ? " thread" : " threads");
    benchmark::RegisterBenchmark((name + " C_GetSessionInfo").c_str(),
                                 [&token, threads](State& s) {
                                   inThreads(s, threads, [&](unsigned) {
                                     return [&token, session = token.open()] {
                                       CK_SESSION_INFO info;
                                       return token->C_GetSessionInfo(session, &info);
                                     };
                                   });
                                 })
        ->Iterations(1)
        ->UseManualTime();
    benchmark::RegisterBenchmark((name + " ECDSA").c_str(),
                                 [&token, threads](State& s) {
                                   CK_OBJECT_HANDLE key = token.ecdsaKey();
                                   inThreads(s, threads, [&](unsigned) {
                                     return [&token, key, session = token.open()] {
                                       return sign(token, session, CKM_ECDSA, key);
                                     };
                                   });
                                 })
        ->Iterations(1)
        ->UseManualTime();
  }
}

void registerStall(Token& token) {
  for (bool slow : {false, true})
    benchmark::RegisterBenchmark(slow ? "3 threads, a fourth in a slow call" : "3 threads",
                                 [&token, slow](State& s) {
                                   std::atomic<bool> stop{false};
                                   std::thread fourth;
                                   if (slow)
                                     fourth = std::thread([&token, &stop] {
                                       CK_SESSION_HANDLE session = token.open();
                                       CK_BYTE random[32];
                                       while (!stop)
                                         check(token->C_GenerateRandom(session, random, 32),
                                               "C_GenerateRandom");
                                     });
                                   inThreads(s, 3, [&](unsigned) {
                                     return [&token, session = token.open()] {
                                       CK_SESSION_INFO info;
                                       return token->C_GetSessionInfo(session, &info);
                                     };
                                   });
                                   stop = true;
                                   if (fourth.joinable()) fourth.join();
                                 })
        ->Iterations(1)
        ->UseManualTime();
}

// ---- start, end and memory ----

constexpr const char* STEPS[] = {"dlopen_us", "initialize_us", "slots_us", "finalize_us"};
struct Steps {
  double us[4] = {};
};

// In a fresh process: what was loaded once is never loaded for the first time again.
Steps startOnce() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) die("pipe2");
  Descriptor in(ends[0]);
  Descriptor out(ends[1]);
  pid_t child = ::fork();
  if (child < 0) die("fork");
  if (child == 0) {
    Steps steps;
    auto last = Clock::now();
    auto lap = [&](int step) {
      auto now = Clock::now();
      steps.us[step] = microseconds(now - last);
      last = Clock::now();
    };
    std::vector<CK_FUNCTION_LIST*> lists;
    for (const auto& module : options.modules) lists.push_back(load(module));
    lap(0);
    for (auto* p : lists) initialize(p);
    lap(1);
    std::size_t slots = 0;
    for (auto* p : lists) slots += slotsOf(p).size();
    lap(2);
    for (auto* p : lists) check(p->C_Finalize(nullptr), "C_Finalize");
    lap(3);
    if (slots == 0) die("no slot");
    if (::write(out.get(), &steps, sizeof steps) != sizeof steps) ::_exit(1);
    ::_exit(0);
  }
  out.reset();
  Steps steps;
  bool got = ::read(in.get(), &steps, sizeof steps) == sizeof steps;
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!got || status != 0) die("a start failed");
  return steps;
}

void registerStart() {
  benchmark::RegisterBenchmark("start",
                               [](State& s) {
                                 std::vector<double> all[4];
                                 for (auto _ : s) {
                                   Steps steps = startOnce();
                                   double total = 0;
                                   for (int i = 0; i < 4; ++i) {
                                     all[i].push_back(steps.us[i]);
                                     total += steps.us[i];
                                   }
                                   s.SetIterationTime(total / 1e6);
                                 }
                                 for (int i = 0; i < 4; ++i) {
                                   std::sort(all[i].begin(), all[i].end());
                                   s.counters[STEPS[i]] = all[i][all[i].size() / 2];
                                 }
                               })
      ->Iterations(options.samples)
      ->UseManualTime();
}

// A supervisor and its worker, or a helper of another kind: the one that has a parent among the
// helpers, or that is alone, holds the module.
void registerMemory() {
  benchmark::RegisterBenchmark("memory", [](State& s) {
    std::vector<CK_FUNCTION_LIST*> lists;
    for (const auto& module : options.modules) lists.push_back(load(module));
    int sessions = 0;
    for (auto* p : lists) {
      initialize(p);
      for (CK_SLOT_ID slot : slotsOf(p)) {
        CK_SESSION_HANDLE session;
        CK_SESSION_INFO info;
        CK_TOKEN_INFO token;
        check(p->C_GetTokenInfo(slot, &token), "C_GetTokenInfo");
        if ((token.flags & CKF_TOKEN_INITIALIZED) == 0) continue;
        check(p->C_OpenSession(slot, CKF_SERIAL_SESSION, nullptr, nullptr, &session),
              "C_OpenSession");
        check(p->C_GetSessionInfo(session, &info), "C_GetSessionInfo");
        ++sessions;
      }
    }
    if (sessions == 0) die("no token of ours");
    auto all = helpers();
    Memory host = memoryOf(::getpid());
    Memory worker;
    Memory supervisor;
    double workers = 0;
    for (const Helper& one : all) {
      bool leads = std::any_of(all.begin(), all.end(),
                               [&](const Helper& other) { return other.parent == one.pid; });
      Memory memory = memoryOf(one.pid);
      Memory& sum = leads ? supervisor : worker;
      sum.privateKb += memory.privateKb;
      sum.pssKb += memory.pssKb;
      workers += leads ? 0 : 1;
    }
    for (auto _ : s) {
    }
    double n = std::max(workers, 1.0);
    s.counters["host_private_kb"] = host.privateKb;
    s.counters["host_pss_kb"] = host.pssKb;
    s.counters["worker_private_kb"] = worker.privateKb / n;
    s.counters["worker_pss_kb"] = worker.pssKb / n;
    s.counters["supervisor_private_kb"] = supervisor.privateKb / n;
    s.counters["supervisor_pss_kb"] = supervisor.pssKb / n;
    s.counters["processes"] = static_cast<double>(all.size());
    for (auto* p : lists) check(p->C_Finalize(nullptr), "C_Finalize");
  })->Iterations(1);
}

// ---- the floor ----

// The other end of a socket pair, answering as many bytes as bulkhead's messages for
// C_GetSessionInfo have.
class Echo {
 public:
  Echo() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) die("socketpair");
    own_.reset(ends[0]);
    Descriptor other(ends[1]);
    pid_ = ::fork();
    if (pid_ < 0) die("fork");
    if (pid_ == 0) {
      own_.reset();
      while (take<REQUEST>(other) && give<REPLY>(other)) {
      }
      ::_exit(0);
    }
    for (int i = 0; i < 10; ++i) (void)roundTrip();
    placeHelpers();
  }
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;
  ~Echo() {
    own_.reset();
    ::waitpid(pid_, nullptr, 0);
  }
  CK_RV roundTrip() {
    return give<REQUEST>(own_) && take<REPLY>(own_) ? CKR_OK : CKR_GENERAL_ERROR;
  }

 private:
  static constexpr ssize_t REQUEST = 96;
  static constexpr ssize_t REPLY = 136;

  template <ssize_t SIZE>
  static bool give(const Descriptor& to) {
    char message[SIZE] = {};
    return ::send(to.get(), message, SIZE, MSG_NOSIGNAL) == SIZE;
  }
  template <ssize_t SIZE>
  static bool take(const Descriptor& from) {
    char message[SIZE];
    return ::recv(from.get(), message, SIZE, 0) == SIZE;
  }

  Descriptor own_;
  pid_t pid_ = -1;
};

// ---- the token to measure with ----

void prepare() {
  CK_FUNCTION_LIST* p = load(options.modules.at(0));
  initialize(p);
  auto slots = slotsOf(p);
  CK_UTF8CHAR label[32];
  std::memset(label, ' ', sizeof label);
  std::memcpy(label, LABEL, sizeof LABEL - 1);
  auto pin = const_cast<CK_UTF8CHAR*>(reinterpret_cast<const CK_UTF8CHAR*>(PIN));
  check(p->C_InitToken(slots.at(0), pin, sizeof PIN - 1, label), "C_InitToken");
  CK_SESSION_HANDLE session;
  check(p->C_OpenSession(slots.at(0), CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr,
                         &session),
        "C_OpenSession");
  check(p->C_Login(session, CKU_SO, pin, sizeof PIN - 1), "C_Login");
  check(p->C_InitPIN(session, pin, sizeof PIN - 1), "C_InitPIN");
  check(p->C_Finalize(nullptr), "C_Finalize");
}

int run() {
  placeHost();
  if (options.suite == "prepare") {
    prepare();
    return 0;
  }
  if (options.suite == "floor") {
    Echo echo;
    benchmark::RegisterBenchmark("socketpair", [&](State& s) {
      measure(s, "echo", [&] { return echo.roundTrip(); });
    })->UseRealTime();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  }
  if (options.suite == "start" || options.suite == "memory") {
    Ballast ballast(options.resident);
    if (options.suite == "start") registerStart();
    if (options.suite == "memory") registerMemory();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  }
  Token token(options.suite != "stall");
  if (options.suite == "calls") registerCalls(token);
  if (options.suite == "threads") registerThreads(token);
  if (options.suite == "stall") registerStall(token);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    auto equals = argument.find('=');
    std::string key = argument.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : argument.substr(equals + 1);
    if (key == "--suite") {
      options.suite = value;
    } else if (key == "--module") {
      std::stringstream list(value);
      for (std::string one; std::getline(list, one, ':');) options.modules.push_back(one);
    } else if (key == "--placement") {
      options.placement = value;
    } else if (key == "--samples") {
      options.samples = std::atoi(value.c_str());
    } else if (key == "--resident") {
      options.resident = static_cast<std::size_t>(std::atol(value.c_str()));
    } else if (key == "--window") {
      options.window = std::atoi(value.c_str());
    } else {
      die("unknown option " + argument);
    }
  }
  return run();
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  return bulkhead::bench::main(argc, argv);
}
