// Copies by whole vectors, with ReLU on the way where asked for.
#pragma once

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

template <int L, bool with_relu>
inline void copy_vectors(float* to, const float* from, int64_t n) {
  int64_t i = 0;
  for (; i + L <= n; i += L) store<L>(to + i, with_relu ? relu<L>(load<L>(from + i)) : load<L>(from + i));
  if (i == n) return;
  if constexpr (L > 4) return copy_vectors<L / 2, with_relu>(to + i, from + i, n - i);
  store_first<L>(to + i, with_relu ? relu<L>(load_first<L>(from + i, n - i)) : load_first<L>(from + i, n - i),
                 n - i);
}

// Narrower vectors rather than masks at the end: what follows may read it back before it leaves the store
// buffer.
inline void copy_floats(float* to, const float* from, int64_t n, bool relu_input) {
  relu_input ? copy_vectors<kLanes, true>(to, from, n) : copy_vectors<kLanes, false>(to, from, n);
}

}  // namespace
}  // namespace ladarts
