// Sums over the lanes of many vectors at once, four by four: a third of the shuffles of one by one.
#pragma once

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

// Halves onto each other down to four lanes.
template <int L>
inline Vec<4> fold(Vec<L> v) {
  if constexpr (L == 4) {
    return v;
  } else {
    Vec<L / 2> low, high;
    __builtin_memcpy(&low, &v, sizeof low);
    __builtin_memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return fold<L / 2>(low + high);
  }
}

// out[t] += the sum of the lanes of sums[t].
template <int L>
inline void add_lane_sums(const Vec<L>* sums, int n, float* out) {
  int t = 0;
  for (; t + 4 <= n; t += 4) {
    const Vec<4> a = fold<L>(sums[t]), b = fold<L>(sums[t + 1]);
    const Vec<4> c = fold<L>(sums[t + 2]), d = fold<L>(sums[t + 3]);
    const Vec<4> ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Vec<4> cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const Vec<4> sum =
        __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    store<4>(out + t, load<4>(out + t) + sum);
  }
  for (; t < n; ++t) out[t] += sum_lanes<L>(sums[t]);
}

}  // namespace
}  // namespace ladarts
