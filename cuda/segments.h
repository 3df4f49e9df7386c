// Sizes of consecutive segments as an argument of a kernel: they lie in the op, not in the device's memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ladarts::cuda {

constexpr int kSegments = 128;

struct Segments {
  int32_t begin[kSegments + 1];
  int count;
};

// f(segments) for all of `sizes`, kSegments at a time.
template <class F>
void for_segments(const std::vector<int>& sizes, F f) {
  int32_t at = 0;
  for (size_t first = 0; first < sizes.size(); first += kSegments) {
    Segments s{};
    for (; s.count < kSegments && first + size_t(s.count) < sizes.size(); ++s.count) {
      s.begin[s.count] = at;
      at += sizes[first + size_t(s.count)];
    }
    s.begin[s.count] = at;
    f(s);
  }
}

}  // namespace ladarts::cuda
