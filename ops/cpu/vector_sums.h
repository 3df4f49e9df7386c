// Sums over contiguous floats with whole vectors, always in the same order.
#pragma once

#include <cstdint>

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

// Sum of f(Vec of x, Vec of y) over n elements: four accumulators, one scalar tail. Same order for every
// call.
template <class F, class G>
inline float reduce(int64_t n, F vector_term, G scalar_term) {
  Vec<kLanes> s0{}, s1{}, s2{}, s3{};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    s0 += vector_term(i);
    s1 += vector_term(i + kLanes);
    s2 += vector_term(i + 2 * kLanes);
    s3 += vector_term(i + 3 * kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) s0 += vector_term(i);
  float tail = 0;
  for (; i < n; ++i) tail += scalar_term(i);
  return sum_lanes<kLanes>((s0 + s1) + (s2 + s3)) + tail;
}

inline float sum(const float* x, int64_t n) {
  return reduce(
      n, [=](int64_t i) { return load<kLanes>(x + i); }, [=](int64_t i) { return x[i]; });
}

inline float dot(const float* x, const float* y, int64_t n) {
  return reduce(
      n, [=](int64_t i) { return load<kLanes>(x + i) * load<kLanes>(y + i); },
      [=](int64_t i) { return x[i] * y[i]; });
}

}  // namespace
}  // namespace ladarts
