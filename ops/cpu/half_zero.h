// Products a * b of which a good part of a is zero, as what ReLU gives and what its gradient lets through:
// only the other entries are multiplied.
//
// Each row of a takes those entries one by one and adds them times b's rows to a register-wide strip of c.
// Where a tile of gemm.h loads b once for six rows, here every multiply-add loads its operand, so the part of
// b in use, a panel, is copied to where the nearest cache holds it. On Zen 4 (64 x 512 x 512, one thread, of
// 118 GFLOP/s) the dense product takes 288 us and this one 58 with 7% of a's entries, 208 with half, 274 with
// 70%; 64 columns a panel in place of 128 take 231 with half, 256 take 251.
#pragma once

#include <algorithm>
#include <array>

#include "ops/cpu/gemm.h"

namespace ladarts {
namespace {

#if defined(__AVX512F__)
constexpr int kPanelVectors = 8;  // 128 columns
#else
constexpr int kPanelVectors = 12;  // as many sums as 16 registers hold beside a factor
#endif
constexpr int kPanelDepth = 64;  // a panel has 32 KiB at most

// Whether an entry counts: it is not zero, or, of an operand that is read through ReLU, it is positive.
template <bool relu_input>
inline bool is_other(float x) {
  return relu_input ? x > 0.f : x != 0.f;
}

// The share of x that counts, judged by a seventh of it where it is large.
template <bool relu_input>
inline double share_of_others(const float* x, int64_t n) {
  constexpr int64_t kBlock = 512, kAll = 8192;
  const int64_t step = n <= kAll ? kBlock : 7 * kBlock;  // 7: meets all columns of wide rows
  int64_t others = 0, seen = 0;
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t end = std::min(n, begin + kBlock);
    int32_t count = 0;
#pragma omp simd reduction(+ : count)
    for (int64_t i = begin; i < end; ++i) count += is_other<relu_input>(x[i]);
    others += count;
    seen += end - begin;
  }
  return double(others) / double(seen);
}
inline double share_of_others(const float* x, int64_t n, bool relu_input) {
  return relu_input ? share_of_others<true>(x, n) : share_of_others<false>(x, n);
}

// Bit i: x[i] counts; n <= 64.
template <bool relu_input>
inline uint64_t bits_of_others(const float* x, int64_t n) {
  uint64_t bits = 0;
#if defined(__AVX2__)
  constexpr int kCompare = relu_input ? _CMP_GT_OQ : _CMP_NEQ_UQ;
#endif
#if defined(__AVX512F__)
  for (int64_t i = 0; i < n; i += kLanes) {
    const Vec<kLanes> v = n - i < kLanes ? load_first<kLanes>(x + i, n - i) : load<kLanes>(x + i);
    bits |= uint64_t(_mm512_cmp_ps_mask(v, Vec<kLanes>{}, kCompare)) << i;
  }
#else
  int64_t i = 0;
#if defined(__AVX2__)
  for (; i + kLanes <= n; i += kLanes) {
    const Vec<kLanes> others = _mm256_cmp_ps(load<kLanes>(x + i), Vec<kLanes>{}, kCompare);
    bits |= uint64_t(uint32_t(_mm256_movemask_ps(others))) << i;
  }
#endif
  for (; i < n; ++i) bits |= uint64_t(is_other<relu_input>(x[i])) << i;
#endif
  return bits;
}
inline uint64_t bits_of_others(const float* x, int64_t n, bool relu_input) {
  return relu_input ? bits_of_others<true>(x, n) : bits_of_others<false>(x, n);
}

// c (rows, columns) = start + a * b.
struct HalfZeroProduct {
  int64_t rows, depth;
  const float* a;  // rows of a_row floats
  int64_t a_row;
  float* c;  // rows of c_row floats; columns are whole vectors, kPanelVectors at most
  int64_t c_row;
  const float* start;  // rows of start_row floats; null: zeros
  int64_t start_row;
  bool relu_a = false;          // a is read as max(a, 0)
  const float* mask = nullptr;  // laid out as c: results where it is <= 0 become 0; only without a start
};

// The same for depth <= kPanelDepth; panel: b's rows, NV vectors each.
template <int NV>
__attribute__((noinline)) void half_zero_tile(const HalfZeroProduct& p, const float* panel) {
  // A row's bits are found while the row before is multiplied, not after the mispredicted end of its loop: 64
  // x 512 x 512 with half of a's entries on Zen 5, one thread, 114 to 105 us.
  uint64_t next = p.rows > 0 ? bits_of_others(p.a, p.depth, p.relu_a) : 0;
  for (int64_t r = 0; r < p.rows; ++r) {
    const float *a = p.a + r * p.a_row, *start = p.start ? p.start + r * p.start_row : nullptr;
    float* c = p.c + r * p.c_row;
    uint64_t others = next;
    if (r + 1 < p.rows) next = bits_of_others(a + p.a_row, p.depth, p.relu_a);
    Vec<kLanes> acc[NV];
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) acc[v] = start ? load<kLanes>(start + v * kLanes) : Vec<kLanes>{};
    for (; others != 0; others &= others - 1) {
      const int k = __builtin_ctzll(others);
      const Vec<kLanes> factor = splat<kLanes>(a[k]);
      const float* b = panel + k * NV * kLanes;
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) acc[v] += factor * load<kLanes>(b + v * kLanes);
    }
    if (p.mask) {
      const float* mask = p.mask + r * p.c_row;
#pragma GCC unroll 16
      for (int v = 0; v < NV; ++v) acc[v] = load<kLanes>(mask + v * kLanes) > 0.f ? acc[v] : Vec<kLanes>{};
    }
#pragma GCC unroll 16
    for (int v = 0; v < NV; ++v) store<kLanes>(c + v * kLanes, acc[v]);
  }
}

inline void half_zero_tile(int64_t vectors, const HalfZeroProduct& p, const float* panel) {
  using Tile = void (*)(const HalfZeroProduct&, const float*);
  constexpr auto tiles = []<int... v>(std::integer_sequence<int, v...>) {
    return std::array<Tile, kPanelVectors>{half_zero_tile<v + 1>...};
  }
  (std::make_integer_sequence<int, kPanelVectors>());
  tiles[size_t(vectors - 1)](p, panel);
}

// pack(k, depth, panel) puts b's rows k ... into the panel, `vectors` whole vectors each.
template <class Pack>
inline void half_zero_product(int64_t vectors, const HalfZeroProduct& all, Pack pack) {
  alignas(64) float panel[kPanelDepth * kPanelVectors * kLanes];
  HalfZeroProduct p = all;
  for (int64_t k = 0; k < all.depth; k += kPanelDepth) {
    p.depth = std::min<int64_t>(kPanelDepth, all.depth - k);
    p.a = all.a + k;
    p.mask = k + p.depth == all.depth ? all.mask : nullptr;
    pack(k, p.depth, panel);
    half_zero_tile(vectors, p, panel);
    p.start = p.c, p.start_row = p.c_row;
  }
}

// A product's rows and vectors of columns cut into tasks, twice as many as threads where rows allow. The sum
// of an element does not depend on the cut.
struct HalfZeroTasks {
  Blocks panels, rows;
  HalfZeroTasks(int64_t n_rows, int64_t columns, int threads, int64_t most_rows)
      : panels(columns / kLanes, kPanelVectors),
        rows(n_rows, std::clamp<int64_t>(n_rows * panels.count / (2 * threads), 16, most_rows)) {}
  int64_t count() const { return panels.count * rows.count; }
};

}  // namespace
}  // namespace ladarts
