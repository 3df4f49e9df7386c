#include "core/affinity.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>

#include <fmt/ranges.h>

#include "core/error.h"

namespace ladarts {

namespace {

constexpr int kMaxCores = 4096;  // more than a cpu_set_t holds

// The set of the calling thread.
std::vector<int> allowed_cores() {
  std::vector<int> cores;
  cpu_set_t* set = CPU_ALLOC(kMaxCores);
  const size_t bytes = CPU_ALLOC_SIZE(kMaxCores);
  CPU_ZERO_S(bytes, set);
  if (sched_getaffinity(0, bytes, set) == 0)
    for (int core = 0; core < kMaxCores; ++core)
      if (CPU_ISSET_S(size_t(core), bytes, set)) cores.push_back(core);
  CPU_FREE(set);
  return cores;
}

// Of the calling thread; 0 or the error's number.
int set_cores(const std::vector<int>& cores) {
  cpu_set_t* set = CPU_ALLOC(kMaxCores);
  const size_t bytes = CPU_ALLOC_SIZE(kMaxCores);
  CPU_ZERO_S(bytes, set);
  for (const int core : cores) CPU_SET_S(size_t(core), bytes, set);
  const int error = sched_setaffinity(0, bytes, set) == 0 ? 0 : errno;
  CPU_FREE(set);
  return error;
}

int64_t read_number(const std::filesystem::path& path, int64_t otherwise) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : otherwise;
}

// Calls f(thread) once on every thread of the pool: each task waits until all have been taken.
template <class F>
void on_every_thread(ThreadPool& pool, F&& f) {
  std::atomic<int> arrived{0};
  pool.parallel_for(pool.threads(), [&](int64_t, int thread) {
    f(thread);
    arrived.fetch_add(1);
    while (arrived.load() < pool.threads()) std::this_thread::yield();
  });
}

}  // namespace

std::vector<int> cores_by_preference(const std::filesystem::path& system) {
  std::map<std::pair<int64_t, int64_t>, int> taken;  // (package, physical core): its logical cores so far
  std::vector<std::pair<int, int>> ranked;           // (how many siblings come before, core)
  for (const int core : allowed_cores()) {
    const auto topology = system / fmt::format("devices/system/cpu/cpu{}/topology", core);
    const int64_t physical = read_number(topology / "core_id", -1 - core);  // unreadable: one of its own
    const int64_t package = read_number(topology / "physical_package_id", 0);
    ranked.emplace_back(taken[{package, physical}]++, core);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<int> cores;
  for (const auto& [siblings, core] : ranked) cores.push_back(core);
  return cores;
}

PinnedThreads::PinnedThreads(ThreadPool& pool) : pool_(pool), before_(allowed_cores()) {
  cores_ = cores_by_preference();
  require(
      int(cores_.size()) >= pool.threads(),
      "[threads] {} threads cannot be pinned to the {} cores that this process may use; give --threads {}",
      pool.threads(), cores_.size(), cores_.size());
  cores_.resize(size_t(pool.threads()));
  std::atomic<int> error{0};
  on_every_thread(pool_, [&](int thread) {
    if (const int e = set_cores({cores_[size_t(thread)]})) error = e;
  });
  if (error == 0) return;
  on_every_thread(pool_, [&](int) { set_cores(before_); });
  fail("[threads] cannot be pinned to cores {}: {}", str(), std::strerror(error));
}

PinnedThreads::~PinnedThreads() {
  on_every_thread(pool_, [&](int) { set_cores(before_); });
}

std::string PinnedThreads::str() const {
  return fmt::format("{}", fmt::join(cores_, ","));
}

}  // namespace ladarts
