#include "core/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace ladarts {

MemoryPlan plan_memory(const std::vector<LifetimeRequest>& requests) {
  MemoryPlan plan;
  plan.offsets.assign(requests.size(), 0);
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].bytes > requests[b].bytes; });
  struct Placed {
    size_t begin, end;
    int first, last;
  };
  std::vector<Placed> placed;  // sorted by begin
  for (size_t index : order) {
    const LifetimeRequest& r = requests[index];
    const size_t bytes = (r.bytes + 63) / 64 * 64;
    size_t at = 0;
    for (const Placed& p : placed) {
      if (p.last < r.first || p.first > r.last) continue;
      if (p.begin >= at + bytes) break;
      at = std::max(at, p.end);
    }
    plan.offsets[index] = at;
    plan.bytes = std::max(plan.bytes, at + bytes);
    const Placed entry{at, at + bytes, r.first, r.last};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), entry,
                                   [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
                  entry);
  }
  return plan;
}

}  // namespace ladarts
