#include "core/affinity.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

namespace {

std::vector<int> cores_of_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof(set), &set);
  std::vector<int> cores;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(size_t(i), &set)) cores.push_back(i);
  return cores;
}

}  // namespace

TEST_CASE("affinity: pinned threads run on a core each, and get all back", "[core][affinity]") {
  const std::vector<int> before = cores_of_this_thread();
  ThreadPool pool(std::min(2, int(before.size())));
  // The cores each of the pool's threads may use, as seen from inside of it.
  const auto cores_of_threads = [&] {
    std::map<int, std::vector<int>> seen;
    std::mutex mutex;
    while (int(seen.size()) < pool.threads())
      pool.parallel_for(64, [&](int64_t, int thread) {
        const std::lock_guard lock(mutex);
        seen[thread] = cores_of_this_thread();
      });
    return seen;
  };
  {
    const PinnedThreads pinned(pool);
    REQUIRE(int(pinned.cores().size()) == pool.threads());
    for (const auto& [thread, cores] : cores_of_threads())
      CHECK(cores == std::vector<int>{pinned.cores()[size_t(thread)]});
    const std::set<int> different(pinned.cores().begin(), pinned.cores().end());
    CHECK(int(different.size()) == pool.threads());
  }
  for (const auto& [thread, cores] : cores_of_threads()) CHECK(cores == before);
}

TEST_CASE("affinity: more threads than cores cannot be pinned", "[core][affinity]") {
  const std::vector<int> before = cores_of_this_thread();
  ThreadPool pool(int(before.size()) + 1);
  CHECK_THROWS_WITH(PinnedThreads(pool), ContainsSubstring(fmt::format("--threads {}", before.size())));
  CHECK(cores_of_this_thread() == before);
}

TEST_CASE("affinity: a physical core's second thread comes after all first ones", "[core][affinity]") {
  const TempFolder system;
  const std::vector<int> allowed = cores_of_this_thread();
  // As if every two neighbours were threads of one core.
  for (size_t i = 0; i < allowed.size(); ++i) {
    const auto topology =
        std::filesystem::path(system / fmt::format("devices/system/cpu/cpu{}/topology", allowed[i]));
    std::filesystem::create_directories(topology);
    std::ofstream(topology / "core_id") << i / 2 << "\n";
    std::ofstream(topology / "physical_package_id") << 0 << "\n";
  }
  std::vector<int> expected;
  for (size_t i = 0; i < allowed.size(); i += 2) expected.push_back(allowed[i]);
  for (size_t i = 1; i < allowed.size(); i += 2) expected.push_back(allowed[i]);
  CHECK(cores_by_preference(system.path()) == expected);
  const TempFolder nothing;  // no topology: each a core of its own
  CHECK(cores_by_preference(nothing.path()) == allowed);
}
