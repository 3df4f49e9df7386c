// Sums over the lanes of many vectors at once, four by four: a quarter of the instructions of one by one.
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
    return fold<L / 2>(lower_half<L>(v) + upper_half<L>(v));
  }
}

// In every four lanes: the sums of these four of v[0], v[1], v[2] and v[3].
template <int L>
inline Vec<L> sums_of_fours(const Vec<L>* v) {
  auto two = [](Vec<L> a, Vec<L> b) { return unpacked<L, 1, false>(a, b) + unpacked<L, 1, true>(a, b); };
  const Vec<L> a = two(v[0], v[1]), b = two(v[2], v[3]);
  return unpacked<L, 2, false>(a, b) + unpacked<L, 2, true>(a, b);
}

// out[t] += the sum of the lanes of sums[t].
template <int L>
inline void add_lane_sums(const Vec<L>* sums, int n, float* out) {
  int t = 0;
#pragma GCC unroll 8
  for (; t + 4 <= n; t += 4) store<4>(out + t, load<4>(out + t) + fold<L>(sums_of_fours<L>(sums + t)));
  for (; t < n; ++t) out[t] += sum_lanes<L>(sums[t]);
}

}  // namespace
}  // namespace ladarts
