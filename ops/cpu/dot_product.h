// Register-tiled matrix products that reduce along contiguous rows of both operands, vectorised along the
// reduction: gradients of weights. The other form: ops/cpu/gemm.h.
#pragma once

#include <algorithm>

#include "ops/cpu/lane_sums.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/tiles.h"

namespace ladarts {
namespace {

// c[r][s] (+)= sum over j < length of a[r*a_row + j] * b[s*b_row + j].
struct DotTile {
  int64_t length;
  const float* a;
  int64_t a_row;
  const float* b;
  int64_t b_row;
  float* c;
  int64_t c_row;
  bool add;
};

// acc[r][s] += a's row r times b's row s, lane by lane; only the first `lanes` where not all. relu_a: max(a,
// 0) in place of a.
template <int MR, int NR, bool relu_a, bool all>
__attribute__((always_inline)) inline void dot_step(const float* a, int64_t a_row, const float* b,
                                                    int64_t b_row, int64_t lanes,
                                                    Vec<kLanes> (&acc)[MR][NR]) {
  Vec<kLanes> av[MR];
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
    av[r] = all ? load<kLanes>(a + r * a_row) : load_first<kLanes>(a + r * a_row, lanes);
    if (relu_a) av[r] = relu<kLanes>(av[r]);
  }
#pragma GCC unroll 8
  for (int s = 0; s < NR; ++s) {
    const Vec<kLanes> bv = all ? load<kLanes>(b + s * b_row) : load_first<kLanes>(b + s * b_row, lanes);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) acc[r][s] += av[r] * bv;
  }
}

// Of `all`, at a, b and c: these come in registers, where a DotTile of each tile's own would have to be
// written and read back (a tile of 6 x 4 by 512 takes 100 ns, and took 119).
template <int MR, int NR, bool relu_a>
__attribute__((noinline)) void dot_tile(const float* a, const float* b, float* c, const DotTile& all) {
  Vec<kLanes> acc[MR][NR] = {};
  const int64_t a_row = all.a_row, b_row = all.b_row, c_row = all.c_row;
  int64_t left = all.length;
  for (; left >= kLanes; left -= kLanes, a += kLanes, b += kLanes)
    dot_step<MR, NR, relu_a, true>(a, a_row, b, b_row, kLanes, acc);
  if (left > 0) dot_step<MR, NR, relu_a, false>(a, a_row, b, b_row, left, acc);
  if (!all.add)
    for (int r = 0; r < MR; ++r) std::fill_n(c + r * c_row, NR, 0.f);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) add_lane_sums<kLanes>(acc[r], NR, c + r * c_row);
}

// c (rows, columns) of any size; a's rows stay in the nearest cache while b's pass. relu_a: as in dot_step.
template <bool relu_a = false>
inline void dot_product(int64_t rows, int64_t columns, const DotTile& all) {
  const Blocks row_blocks(rows, kDotRows), column_blocks(columns, kDotColumns);
  for (int64_t i = 0; i < row_blocks.count; ++i)
    for (int64_t j = 0; j < column_blocks.count; ++j) {
      const int64_t r = row_blocks.begin(i), s = column_blocks.begin(j);
      const float *a = all.a + r * all.a_row, *b = all.b + s * all.b_row;
      float* const c = all.c + r * all.c_row + s;
      with_count<kDotRows>(row_blocks.begin(i + 1) - r, [&](auto mr) {
        with_count<kDotColumns>(column_blocks.begin(j + 1) - s,
                                [&](auto nr) { dot_tile<mr(), nr(), relu_a>(a, b, c, all); });
      });
    }
}

}  // namespace
}  // namespace ladarts
