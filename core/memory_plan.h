// Placement of values with known lifetimes in one arena.
#pragma once

#include <cstddef>
#include <vector>

namespace ladarts {

struct LifetimeRequest {
  size_t bytes = 0;
  int first = 0;  // first and last step, inclusive, in which the memory is in use
  int last = 0;
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // one per request, 64-byte aligned
  size_t bytes = 0;             // arena size
};

// Largest first, each at the lowest gap that fits among those alive at the same time.
MemoryPlan plan_memory(const std::vector<LifetimeRequest>& requests);

}  // namespace ladarts
