// How long this process's threads were ready to run while other programs had the cores. A run during which
// they waited says something about the neighbours, not about the network.
#pragma once

#include <vector>

namespace ladarts {

class RunQueue {
 public:
  // Counts for the threads that exist now. Not thread-safe.
  RunQueue();
  ~RunQueue();
  RunQueue(const RunQueue&) = delete;
  RunQueue& operator=(const RunQueue&) = delete;

  // False where the system does not tell (no Linux scheduler statistics); waited_s() is then 0.
  bool known() const { return !files_.empty(); }
  double waited_s() const;  // since the threads began, summed over them

 private:
  std::vector<int> files_;  // /proc/self/task/THREAD/schedstat
};

}  // namespace ladarts
