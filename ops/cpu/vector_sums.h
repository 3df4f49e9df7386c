// Sums over contiguous floats with whole vectors, always in the same order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

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

// to (+)= parts[0] + parts[1] + ..., n floats each, `stride` apart. A block of the sums at a time, so that
// each part is read in runs.
inline void sum_parts(const float* parts, int64_t count, int64_t stride, int64_t n, float* to, bool add) {
  constexpr int64_t kTogether = 512;
  alignas(64) float sums[kTogether];
  for (int64_t begin = 0; begin < n; begin += kTogether) {
    const int64_t block = std::min(kTogether, n - begin);
    std::memcpy(sums, parts + begin, size_t(block) * sizeof(float));
    for (int64_t k = 1; k < count; ++k)
      for (int64_t i = 0; i < block; ++i) sums[i] += parts[k * stride + begin + i];
    if (add)
      for (int64_t i = 0; i < block; ++i) sums[i] += to[begin + i];
    std::memcpy(to + begin, sums, size_t(block) * sizeof(float));
  }
}

}  // namespace
}  // namespace ladarts
