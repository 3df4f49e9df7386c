// Register-tiled matrix products. Callers cut matrices into tiles, bring operands into cache and pad them to
// whole vectors; what is here keeps one tile of the result in registers.
//
// Two forms: `gemm_tile` for a long-in-columns result, vectorised along columns, A broadcast; `dot_tile` for
// a reduction along contiguous rows of both operands (weight gradients), vectorised along the reduction. A 6
// x 4 tile of 16-lane vectors does 24 multiply-adds for 4 loads and 6 broadcasts.
#pragma once

#include "ops/cpu/channel_parts.h"
#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 6, kTileVectors = 4;  // 24 of 32 registers
constexpr int kDotRows = 4, kDotColumns = 6;
#else
constexpr int kTileRows = 6, kTileVectors = 2;  // 12 of 16 registers
constexpr int kDotRows = 3, kDotColumns = 4;
#endif
constexpr int kTileColumns = kTileVectors * kLanes;

// Balanced cut of `size` into blocks of at most `most`: sizes differ by one at most, so no tile is a sliver.
struct Blocks {
  int64_t size, count;
  Blocks(int64_t n, int64_t most) : size(n), count((n + most - 1) / most) {}
  int64_t begin(int64_t i) const { return size * i / count; }
};

// Cache lines to ask for while a tile is computed, a few at each step of its sum: all at once would hold it
// up.
class LineList {
 public:
  void add(const float* from, int64_t floats) {
    for (int64_t i = 0; i < floats; i += kLineFloats) {
      if (count_ < kMost)
        lines_[count_++] = from + i;
      else
        prefetch_line(from + i);
    }
  }
  // How many lines there are at each of `steps` steps, from data() on: the last one again where they run out.
  int64_t spread(int64_t steps) {
    if (count_ == 0) return 0;
    if (steps > kMost) {
      for (int64_t i = 0; i < count_; ++i) prefetch_line(lines_[i]);
      return 0;
    }
    const int64_t each = (count_ - 1) / steps + 1;
    for (int64_t i = count_; i < each * steps; ++i) lines_[i] = lines_[count_ - 1];
    return each;
  }
  const float* const* data() const { return lines_; }
  void clear() { count_ = 0; }

 private:
  static constexpr int64_t kMost = 256;
  const float* lines_[2 * kMost];
  int64_t count_ = 0;
};

// Rows that the next product reads: asked for while the present one is computed. They are channels of planes
// of `row` floats, from `first` on, each read from `at` on.
struct RowsAhead {
  ChannelParts planes{};  // data null: none
  int64_t image = 0, first = 0, rows = 0;
  int64_t row = 0, at = 0, floats = 0;

  // The share of step `i` of `steps`.
  void add_share(int64_t i, int64_t steps, LineList& lines) const {
    if (!planes.data) return;
    for (int64_t r = rows * i / steps; r < rows * (i + 1) / steps; ++r)
      lines.add(planes.plane(image, first + r, row) + at, floats);
  }
};

// c[r][j] (+)= sum over k of a[r*a_row + k*a_k] * b[k*b_row + j], j < NV * kLanes.
struct GemmTile {
  int64_t k;
  const float* a;
  int64_t a_row, a_k;
  const float* b;  // each row readable to the end of its last vector
  int64_t b_row;
  float* c;  // rows of c_row floats
  int64_t c_row;
  int64_t columns;    // columns to write, <= NV * kLanes
  const float* bias;  // per row, or null
  const float* mask;  // laid out as c: results where it is <= 0 become 0; or null
  // Laid out as c: added to the results; c itself to accumulate; or null.
  const float* addend;
  bool far = false;  // c and what is laid out as it are not in the cache yet: asked for a block ahead
  RowsAhead ahead;
  const float* const* lines = nullptr;  // to ask for, `lines_each` at each step of the sum
  int64_t lines_each = 0;
};

template <int MR, int NV>
__attribute__((noinline)) void gemm_tile(const GemmTile& t) {
  using V = Vec<kLanes>;
  V acc[MR][NV] = {};
  const float *a = t.a, *b = t.b;
  const float* const* lines = t.lines;
  const int64_t a_row = t.a_row, a_k = t.a_k, b_row = t.b_row;
  for (int64_t k = t.k; k > 0; --k, a += a_k, b += b_row) {
    V bv[NV];
    for (int64_t i = t.lines_each; i > 0; --i) prefetch_line(*lines++);
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) bv[v] = load<kLanes>(b + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      const V av = splat<kLanes>(a[r * a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] += av * bv[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
    float* c = t.c + r * t.c_row;
    const float* addend = t.addend ? t.addend + r * t.c_row : nullptr;
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      V value = acc[r][v];
      if (t.bias) value += splat<kLanes>(t.bias[r]);
      const int64_t n = t.columns - v * kLanes;
      if (n >= kLanes) {
        if (t.mask) value = load<kLanes>(t.mask + r * t.c_row + v * kLanes) > 0.f ? value : V{};
        if (addend) value += load<kLanes>(addend + v * kLanes);
        store<kLanes>(c + v * kLanes, value);
      } else if (n > 0) {
        if (t.mask) value = load_first<kLanes>(t.mask + r * t.c_row + v * kLanes, n) > 0.f ? value : V{};
        if (addend) value += load_first<kLanes>(addend + v * kLanes, n);
        store_first<kLanes>(c + v * kLanes, value, n);
      }
    }
  }
}

template <int MR>
inline void gemm_tile_columns(const GemmTile& t) {
  switch ((t.columns + kLanes - 1) / kLanes) {
    case 1:
      return gemm_tile<MR, 1>(t);
    case 2:
      return gemm_tile<MR, 2>(t);
#if defined(__AVX512F__)
    case 3:
      return gemm_tile<MR, 3>(t);
    default:
      return gemm_tile<MR, 4>(t);
#endif
  }
}

// `rows` <= kTileRows.
inline void gemm_tile(int64_t rows, const GemmTile& t) {
  switch (rows) {
    case 1:
      return gemm_tile_columns<1>(t);
    case 2:
      return gemm_tile_columns<2>(t);
    case 3:
      return gemm_tile_columns<3>(t);
    case 4:
      return gemm_tile_columns<4>(t);
    case 5:
      return gemm_tile_columns<5>(t);
    default:
      return gemm_tile_columns<6>(t);
  }
}

// Rows of a product that lie in one value: what GemmTile holds of them.
struct GemmRows {
  int64_t count;
  const float* a;
  float* c;
  const float *bias, *mask, *addend;
};

// A product of any number of columns, and of rows in `n` parts. Where all of b fits into the nearest cache,
// blocks of rows pass along it and write long runs; else b's columns of one tile stay there while the rows
// pass.
inline void gemm(const GemmRows* parts, int n, const GemmTile& all) {
  constexpr int64_t kNearFloats = 4096;
  const Blocks across((all.columns + kLanes - 1) / kLanes, kTileVectors);
  const int64_t tiles = across.count;
  const bool along = all.k * all.columns <= kNearFloats;
  int64_t step = 0, steps = 0;
  for (int p = 0; p < n; ++p) steps += tiles * Blocks(parts[p].count, kTileRows).count;
  // A block is computed when the one after it is known. They take turns in two places: a copy would wait for
  // the stores of the last one.
  GemmTile turns[2] = {all, all};
  int turn = 0;
  int64_t pending = 0;  // rows of the block before
  LineList lines;
  auto finish = [&] {
    GemmTile& t = turns[1 - turn];
    all.ahead.add_share(step++, steps, lines);
    t.lines = lines.data(), t.lines_each = lines.spread(all.k);
    gemm_tile(pending, t);
    lines.clear();
  };
  auto block = [&](int p, int64_t i, int64_t tile) {
    const GemmRows& rows = parts[p];
    const Blocks blocks(rows.count, kTileRows);
    const int64_t begin = blocks.begin(i), count = blocks.begin(i + 1) - begin;
    const int64_t j = across.begin(tile) * kLanes, at = begin * all.c_row + j;
    GemmTile& t = turns[turn];
    t.a = rows.a + begin * all.a_row;
    t.b = all.b + j;
    t.c = rows.c + at;
    t.columns = std::min(across.begin(tile + 1) * kLanes, all.columns) - j;
    t.bias = rows.bias ? rows.bias + begin : nullptr;
    t.mask = rows.mask ? rows.mask + at : nullptr;
    t.addend = rows.addend ? rows.addend + at : nullptr;
    if (all.far)
      for (int64_t r = 0; r < count; ++r) {
        lines.add(t.c + r * t.c_row, t.columns);
        if (t.mask) lines.add(t.mask + r * t.c_row, t.columns);
      }
    if (pending > 0) finish();
    pending = count;
    turn = 1 - turn;
  };
  for (int64_t outer = 0; outer < (along ? 1 : tiles); ++outer)
    for (int p = 0; p < n; ++p)
      for (int64_t i = 0; i < Blocks(parts[p].count, kTileRows).count; ++i)
        for (int64_t inner = 0; inner < (along ? tiles : 1); ++inner) block(p, i, along ? inner : outer);
  if (pending > 0) finish();
}

inline void gemm(int64_t rows, const GemmTile& all) {
  const GemmRows one{rows, all.a, all.c, all.bias, all.mask, all.addend};
  gemm(&one, 1, all);
}

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

template <int MR, int NR, bool relu_a>
__attribute__((noinline)) void dot_tile(const DotTile& t) {
  Vec<kLanes> acc[MR][NR] = {};
  const float *a = t.a, *b = t.b;
  const int64_t a_row = t.a_row, b_row = t.b_row;
  int64_t left = t.length;
  for (; left >= kLanes; left -= kLanes, a += kLanes, b += kLanes)
    dot_step<MR, NR, relu_a, true>(a, a_row, b, b_row, kLanes, acc);
  if (left > 0) dot_step<MR, NR, relu_a, false>(a, a_row, b, b_row, left, acc);
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int s = 0; s < NR; ++s) {
      float* c = t.c + r * t.c_row + s;
      const float sum = sum_lanes<kLanes>(acc[r][s]);
      *c = t.add ? *c + sum : sum;
    }
}

template <int MR, bool relu_a>
inline void dot_tile_columns(int64_t columns, const DotTile& t) {
  switch (columns) {
    case 1:
      return dot_tile<MR, 1, relu_a>(t);
    case 2:
      return dot_tile<MR, 2, relu_a>(t);
    case 3:
      return dot_tile<MR, 3, relu_a>(t);
    case 4:
      return dot_tile<MR, 4, relu_a>(t);
#if defined(__AVX512F__)
    case 5:
      return dot_tile<MR, 5, relu_a>(t);
    default:
      return dot_tile<MR, 6, relu_a>(t);
#endif
  }
}

// c (rows, columns) of any size; a's rows stay in the nearest cache while b's pass. relu_a: as in dot_step.
template <bool relu_a = false>
inline void dot_product(int64_t rows, int64_t columns, const DotTile& all) {
  const Blocks row_blocks(rows, kDotRows), column_blocks(columns, kDotColumns);
  for (int64_t i = 0; i < row_blocks.count; ++i)
    for (int64_t j = 0; j < column_blocks.count; ++j) {
      const int64_t r = row_blocks.begin(i), s = column_blocks.begin(j);
      DotTile t = all;
      t.a += r * t.a_row;
      t.b += s * t.b_row;
      t.c += r * t.c_row + s;
      const int64_t width = column_blocks.begin(j + 1) - s;
      switch (row_blocks.begin(i + 1) - r) {
        case 1:
          dot_tile_columns<1, relu_a>(width, t);
          break;
        case 2:
          dot_tile_columns<2, relu_a>(width, t);
          break;
#if defined(__AVX512F__)
        case 3:
          dot_tile_columns<3, relu_a>(width, t);
          break;
        default:
          dot_tile_columns<4, relu_a>(width, t);
          break;
#else
        default:
          dot_tile_columns<3, relu_a>(width, t);
          break;
#endif
      }
    }
}

}  // namespace
}  // namespace ladarts
