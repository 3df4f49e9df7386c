// Vectors of floats for kernels whose speed hangs on registers: GCC vector extensions, as wide as the
// instruction set of the translation unit. Plain loops stay the first choice elsewhere.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ladarts {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

template <int L>
struct VecOf {
  typedef float type __attribute__((vector_size(L * 4), may_alias));
  typedef float unaligned __attribute__((vector_size(L * 4), aligned(4), may_alias));
};
template <int L>
using Vec = typename VecOf<L>::type;

template <int L>
inline Vec<L> load(const float* p) {
  return *reinterpret_cast<const typename VecOf<L>::unaligned*>(p);
}
template <int L>
inline void store(float* p, Vec<L> v) {
  *reinterpret_cast<typename VecOf<L>::unaligned*>(p) = v;
}
template <int L>
inline Vec<L> splat(float s) {
  return s - Vec<L>{};  // s - 0 == s, without a round trip through memory
}

// Keeps the compiler from reading v from memory again at each use: a load that straddles two cache lines
// costs twice, so it is worth a register.
template <int L>
inline void hold_in_register(Vec<L>& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__)
  asm("" : "+x"(v));
#else
  (void)v;
#endif
}

// a > b ? a : b.
template <int L>
inline Vec<L> maximum(Vec<L> a, Vec<L> b) {
#if defined(__AVX512F__)
  if constexpr (L == 16) return _mm512_maskz_max_ps(0xffff, a, b);  // the plain form warns
#endif
#if defined(__AVX2__)
  if constexpr (L == 8) return _mm256_max_ps(a, b);
#endif
#if defined(__x86_64__)
  if constexpr (L == 4) return _mm_max_ps(a, b);
#endif
  return a > b ? a : b;
}

// max(v, 0).
template <int L>
inline Vec<L> relu(Vec<L> v) {
  return maximum<L>(v, Vec<L>{});
}

// Lanes `s` on from those of b, in the row that a, b and c are parts of.
template <int L, int s, size_t... i>
inline Vec<L> shifted(Vec<L> a, Vec<L> b, Vec<L> c, std::index_sequence<i...>) {
  static_assert(s > -L && s < L);
  if constexpr (s == 0) {
    return b;
  } else if constexpr (s < 0) {
    return __builtin_shufflevector(a, b, int(i) + L + s...);
  } else {
    return __builtin_shufflevector(b, c, int(i) + s...);
  }
}

// Lanes 0, 2, 4, ... (or 1, 3, 5, ...) of low followed by high.
template <int L, int first, size_t... i>
inline Vec<L> every_second(Vec<L> low, Vec<L> high, std::index_sequence<i...>) {
  return __builtin_shufflevector(low, high, int(2 * i) + first...);
}
template <int L>
inline Vec<L> even_lanes(Vec<L> low, Vec<L> high) {
  return every_second<L, 0>(low, high, std::make_index_sequence<size_t(L)>());
}
template <int L>
inline Vec<L> odd_lanes(Vec<L> low, Vec<L> high) {
  return every_second<L, 1>(low, high, std::make_index_sequence<size_t(L)>());
}

// Lanes 0, 2, 4, ... of low followed by lanes 1, 3, 5, ... of high: every second float of 2 L - 1 that low
// begins and high ends.
template <int L, size_t... i>
inline Vec<L> even_then_odd(Vec<L> low, Vec<L> high, std::index_sequence<i...>) {
  return __builtin_shufflevector(low, high, int(2 * i + (2 * i < L ? 0 : 1))...);
}
template <int L>
inline Vec<L> even_then_odd(Vec<L> low, Vec<L> high) {
  return even_then_odd<L>(low, high, std::make_index_sequence<size_t(L)>());
}

template <int L, int first, size_t... i>
inline Vec<L / 2> lanes_from(Vec<L> v, std::index_sequence<i...>) {
  return __builtin_shufflevector(v, v, int(i) + first...);
}
template <int L>
inline Vec<L / 2> lower_half(Vec<L> v) {
  return lanes_from<L, 0>(v, std::make_index_sequence<size_t(L / 2)>());
}
template <int L>
inline Vec<L / 2> upper_half(Vec<L> v) {
  return lanes_from<L, L / 2>(v, std::make_index_sequence<size_t(L / 2)>());
}

// The lower (upper) half of even[0], odd[0], even[1], odd[1], ...
template <int L, int first, size_t... i>
inline Vec<L> in_turn(Vec<L> even, Vec<L> odd, std::index_sequence<i...>) {
  return __builtin_shufflevector(even, odd, int(i / 2) + first + (i % 2 == 0 ? 0 : L)...);
}
template <int L>
inline Vec<L> interleaved_low(Vec<L> even, Vec<L> odd) {
  return in_turn<L, 0>(even, odd, std::make_index_sequence<size_t(L)>());
}
template <int L>
inline Vec<L> interleaved_high(Vec<L> even, Vec<L> odd) {
  return in_turn<L, L / 2>(even, odd, std::make_index_sequence<size_t(L)>());
}

// In each four lanes: the lower (upper) two of a and of b, in turn by `unit` lanes.
template <int L, int unit, bool upper, size_t... j>
inline Vec<L> unpacked(Vec<L> a, Vec<L> b, std::index_sequence<j...>) {
  constexpr auto index = [](int k) {
    const int half = upper ? 2 : 0;
    return unit == 1 ? k / 4 * 4 + half + k % 4 / 2 + k % 2 * L : k / 4 * 4 + half + k % 2 + k % 4 / 2 * L;
  };
  return __builtin_shufflevector(a, b, index(int(j))...);
}
template <int L, int unit, bool upper>
inline Vec<L> unpacked(Vec<L> a, Vec<L> b) {
  return unpacked<L, unit, upper>(a, b, std::make_index_sequence<size_t(L)>());
}

// The first n lanes, 0 <= n <= L; the others read as zero and are not touched.
template <int L>
inline Vec<L> load_first(const float* p, int64_t n) {
#if defined(__AVX512VL__)
  if constexpr (L == 16) return _mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
  if constexpr (L == 8) return _mm256_maskz_loadu_ps(__mmask8((1u << n) - 1), p);
  if constexpr (L == 4) return _mm_maskz_loadu_ps(__mmask8((1u << n) - 1), p);
#endif
  if (n == L) return load<L>(p);
  alignas(64) float lanes[L] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load<L>(lanes);
}
template <int L>
inline void store_first(float* p, Vec<L> v, int64_t n) {
#if defined(__AVX512VL__)
  if constexpr (L == 16) return _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), v);
  if constexpr (L == 8) return _mm256_mask_storeu_ps(p, __mmask8((1u << n) - 1), v);
  if constexpr (L == 4) return _mm_mask_storeu_ps(p, __mmask8((1u << n) - 1), v);
#endif
  if (n == L) return store<L>(p, v);
  alignas(64) float lanes[L];
  store<L>(lanes, v);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
}

// Sum of the lanes, always in the same order: halves onto each other.
template <int L>
inline float sum_lanes(Vec<L> v) {
  if constexpr (L == 16) {
    return sum_lanes<8>(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
                        __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
  } else if constexpr (L == 8) {
    return sum_lanes<4>(__builtin_shufflevector(v, v, 0, 1, 2, 3) +
                        __builtin_shufflevector(v, v, 4, 5, 6, 7));
  } else {
    const Vec<4> pairs = v + __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return pairs[0] + pairs[1];
  }
}

}  // namespace
}  // namespace ladarts
