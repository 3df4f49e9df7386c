// What depthwise loops over padded planes are made of. K kernel side, D dilation, S stride.
#pragma once

#include <type_traits>
#include <utility>

#include "core/kernel.h"
#include "ops/cpu/simd.h"
#include "ops/separable_plan.h"

// Under sanitizers depthwise loops stay loops, in functions of their own: in a row, with each access watched,
// they would take the compiler minutes.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LADARTS_SANITIZED 1
#define LADARTS_INLINE inline
#define LADARTS_INLINE_LAMBDA
#else
#define LADARTS_SANITIZED 0
#define LADARTS_INLINE __attribute__((always_inline)) inline
#define LADARTS_INLINE_LAMBDA __attribute__((always_inline))
#endif

namespace ladarts {
namespace {

constexpr int kHalo = SeparablePlan::kHalo;
// Tiles' rows are whole vectors of so many floats.
constexpr int kTileLanes = kLanes < 8 ? kLanes : 8;

// The vectors for rows of `width` pixels. Windows start anywhere, and every misaligned load of 16 lanes
// crosses a cache line: where such vectors are executed in halves (Zen 4) that costs more than they gain.
inline int tile_lanes(int width) {
  return kLanes > kTileLanes && width % kLanes == 0 && whole_vectors() ? kLanes : kTileLanes;
}

// f(tile_lanes(width)), as a constant.
template <class F>
inline void with_tile_lanes(int width, F f) {
  if constexpr (kLanes > kTileLanes)
    if (tile_lanes(width) == kLanes) return f(std::integral_constant<int, kLanes>());
  f(std::integral_constant<int, kTileLanes>());
}

// Where the window of output (0, 0) starts in a padded plane.
template <int K, int D>
constexpr int kFirst = kHalo - D*(K - 1) / 2;

template <int K, int D, int S>
inline ptrdiff_t tap_column(int q, ptrdiff_t half) {
  const int u = kFirst<K, D> + q * D;
  return S == 1 ? u : (u & 1) * half + (u >> 1);
}

struct Plane {
  const float* data;
  ptrdiff_t pitch;
  ptrdiff_t half = 0;  // start of the odd columns, where the columns are split by parity
};

// f(0), ..., f(N - 1), in a row, so that what f indexes by them can stay in registers whatever loops lie
// around it.
template <int N, class F>
LADARTS_INLINE void unrolled(F&& f) {
#if LADARTS_SANITIZED
  for (int i = 0; i < N; ++i) f(i);
#else
  [&]<int... i>(std::integer_sequence<int, i...>) LADARTS_INLINE_LAMBDA {
    (f(i), ...);
  }
  (std::make_integer_sequence<int, N>());
#endif
}

// A distance between rows for walk_rows().
struct RowStep {
  explicit RowStep(ptrdiff_t floats) : one(floats), three(3 * floats) { asm("" : "+r"(one), "+r"(three)); }
  ptrdiff_t one, three;
};

// f(r, address of row r) for N rows from `at` on. GCC would keep an address for each of 60 loads: 200
// instructions to prepare them, more than the arithmetic of a row of 8 pixels, and most of them spilled.
// Hidden from it, every fourth row has a register and those between are reached by addressing modes.
template <int N, class T, class F>
LADARTS_INLINE void walk_rows(T* at, RowStep step, F&& f) {
  asm("" : "+r"(at));
  unrolled<N>([&](int r) LADARTS_INLINE_LAMBDA {
    if (r > 0 && r % 4 == 0) {
      at += 4 * step.one;
      asm("" : "+r"(at));
    }
    f(r, at + (r % 4 == 0 ? 0 : r % 4 == 1 ? step.one : r % 4 == 2 ? 2 * step.one : step.three));
  });
}

// 32 vector registers in place of 16.
#if defined(__AVX512VL__)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif

// f(K, D) as constants, of any kernel that separable ops offer.
template <class F>
inline void with_kernel(int kernel, int dilation, F f) {
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 2> two;
  constexpr std::integral_constant<int, 3> three;
  constexpr std::integral_constant<int, 5> five;
  if (kernel == 3) {
    dilation == 1 ? f(three, one) : f(three, two);
  } else {
    dilation == 1 ? f(five, one) : f(five, two);
  }
}

// f(K, D, S) as constants.
template <class F>
inline void with_kernel(int kernel, int dilation, int stride, F f) {
  with_kernel(kernel, dilation, [&](auto k, auto d) {
    if (stride == 1) {
      f(k, d, std::integral_constant<int, 1>());
    } else {
      f(k, d, std::integral_constant<int, 2>());
    }
  });
}

constexpr int kRowGroup = 8;  // output rows held in registers

}  // namespace
}  // namespace ladarts
