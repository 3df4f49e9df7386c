// Which cores threads run on.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/thread_pool.h"

namespace ladarts {

// The logical cores that this process may use (sched_getaffinity), those that share a physical core last: the
// first `n` of them are n different physical cores where there are as many. `system` holds
// devices/system/cpu, for tests.
std::vector<int> cores_by_preference(const std::filesystem::path& system = "/sys");

// Binds thread i of the pool to the i-th of cores_by_preference() for as long as it lives, the calling
// thread, which is the pool's first, included; then gives all their former cores back. Throws Error for more
// threads than cores.
class PinnedThreads {
 public:
  explicit PinnedThreads(ThreadPool& pool);
  ~PinnedThreads();
  PinnedThreads(const PinnedThreads&) = delete;
  PinnedThreads& operator=(const PinnedThreads&) = delete;

  const std::vector<int>& cores() const { return cores_; }  // of thread 0, 1, ...
  std::string str() const;                                  // "0,2"

 private:
  ThreadPool& pool_;
  std::vector<int> cores_, before_;
};

}  // namespace ladarts
