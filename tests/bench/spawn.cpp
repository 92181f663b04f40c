// SPDX-License-Identifier: BSD-2-Clause
//
// How long the start of a supervisor holds up the thread that starts it, and how long a fork would.
// Apart from what measures modules, so that no library of the proxy's is loaded there before it is.
//
//   spawn [--samples=N] [--resident=MiB] [--benchmark_...]
#include <benchmark/benchmark.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "ipc/control.h"
#include "proxy/spawn.h"
#include "tests/bench/ballast.h"

namespace bulkhead::bench {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "spawn: %s\n", why.c_str());
  std::exit(1);
}

double microsecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double spawnOnce() {
  auto host = ipc::socketPair();
  auto worker = ipc::socketPair();
  const char* executable = std::getenv("BULKHEAD_WORKER");
  if (!host || !worker || executable == nullptr) die("nothing to start a supervisor with");
  auto begin = Clock::now();
  auto supervisor =
      proxy::spawnSupervisor(executable, host->second.get(), worker->second.get(), {});
  double held = microsecondsSince(begin);
  if (!supervisor) die(supervisor.error().message());
  // It ends when nobody tells it what to start.
  host->first.reset();
  host->second.reset();
  if (!proxy::awaitEnd(supervisor->get(), 10'000)) die("a supervisor does not end");
  return held;
}

double forkOnce() {
  auto begin = Clock::now();
  pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  double held = microsecondsSince(begin);
  if (child < 0 || ::waitpid(child, nullptr, 0) != child) die("fork");
  return held;
}

void add(const char* name, double (*once)(), int samples) {
  benchmark::RegisterBenchmark(name,
                               [once](benchmark::State& s) {
                                 std::vector<double> held;
                                 for (auto _ : s) {
                                   held.push_back(once());
                                   s.SetIterationTime(held.back() / 1e6);
                                 }
                                 std::sort(held.begin(), held.end());
                                 s.counters["p50_us"] = held[held.size() / 2];
                               })
      ->Iterations(samples)
      ->UseManualTime();
}

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  int samples = 5;
  std::size_t resident = 0;
  for (int i = 1; i < argc; ++i)
    if (std::sscanf(argv[i], "--samples=%d", &samples) != 1 &&
        std::sscanf(argv[i], "--resident=%zu", &resident) != 1)
      die(std::string("unknown option ") + argv[i]);
  Ballast ballast(resident);
  add("spawn", spawnOnce, samples);
  add("fork", forkOnce, samples);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  return bulkhead::bench::main(argc, argv);
}
