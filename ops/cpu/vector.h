// Single-precision vectors as wide as the instruction set that the including file is compiled for.
#pragma once

#include <cstdint>
#include <cstring>

namespace ladarts {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));

inline Vec load(const float* p) {
  Vec v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline void store(float* p, Vec v) {
  std::memcpy(p, &v, sizeof(v));
}

inline Vec splat(float x) {
  return Vec{} + x;
}

// Sum of the lanes, in pairs.
inline float lane_sum(Vec v) {
  float x[kLanes];
  store(x, v);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) x[i] += x[i + width];
  return x[0];
}

// Sum of f(Vec of x, Vec of y) over n elements: four accumulators, one scalar tail. Same order for every
// call.
template <class F, class G>
inline float reduce(int64_t n, F vector_term, G scalar_term) {
  Vec s0{}, s1{}, s2{}, s3{};
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
  return lane_sum((s0 + s1) + (s2 + s3)) + tail;
}

inline float sum(const float* x, int64_t n) {
  return reduce(
      n, [=](int64_t i) { return load(x + i); }, [=](int64_t i) { return x[i]; });
}

inline float dot(const float* x, const float* y, int64_t n) {
  return reduce(
      n, [=](int64_t i) { return load(x + i) * load(y + i); }, [=](int64_t i) { return x[i] * y[i]; });
}

}  // namespace
}  // namespace ladarts
