// Register-tiled matrix products of a result that is long in columns: vectorised along these, A broadcast.
// Callers cut matrices into tiles, bring operands into cache and pad them to whole vectors; what is here
// keeps one tile of the result in registers. A 6 x 4 tile of 16-lane vectors does 24 multiply-adds for 4
// loads and 6 broadcasts. Reductions along contiguous rows of both operands: ops/cpu/dot_product.h.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/cpu/channel_parts.h"
#include "ops/cpu/channel_sums.h"
#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/simd.h"
#include "ops/cpu/tiles.h"

namespace ladarts {
namespace {

// Cache lines to ask for while a tile is computed, a few at each step of its sum: all at once would hold it
// up.
class LineList {
 public:
  void add(const float* from, int64_t floats) {
    const int64_t lines = (floats + kLineFloats - 1) / kLineFloats, kept = std::min(lines, kMost - count_);
    for (int64_t i = 0; i < kept; ++i) lines_[count_ + i] = from + i * kLineFloats;
    for (int64_t i = kept; i < lines; ++i) prefetch_line(from + i * kLineFloats);
    count_ += kept;
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
// of `row` floats, from `first` on, each read from `at` on; of sums where there are any, then `planes` are
// their first terms.
struct RowsAhead {
  ChannelParts planes{};  // data null: none
  int64_t image = 0, first = 0, rows = 0;
  int64_t row = 0, at = 0, floats = 0;
  const ChannelSums* sums = nullptr;

  // Rows [begin, end).
  void add(int64_t begin, int64_t end, LineList& lines) const {
    if (!planes.data) return;
    for (int64_t r = begin; r < end; ++r) {
      lines.add(planes.plane(image, first + r, row) + at, floats);
      if (!sums) continue;
      if (const float* const second = sums->second_plane(image, first + r, row))
        lines.add(second + at, floats);
    }
  }
};

// Where rows of b lie before the first block of a product's rows copies them, as it multiplies: channels of
// planes of `row` floats, from `first` on, each read from `at` on.
struct RowSource {
  ChannelParts planes;
  int64_t image, first;
  int64_t row, at;
  bool relu;                          // max(b, 0) in place of b
  const ChannelSums* sums = nullptr;  // b is these in place of planes
};

// A mask that is the sign of sums of terms, and what is summed up of the masked results meanwhile. Terms are
// laid out as c.
struct SumMask {
  const float *first = nullptr, *second = nullptr;  // second null: one term
  const float* coefficients = nullptr;              // kSumCoefficients a row
  // kSumCoefficients vectors of SumGradPlan::kLanes floats a row: += results, results * first, results *
  // second.
  float* totals = nullptr;
};

// c[r][j] (+)= sum over k of a[r*a_row + k*a_k] * b[k*b_row + j], j < NV * kLanes.
struct GemmTile {
  int64_t k;
  const float* a;
  int64_t a_row, a_k;
  const float* b;  // each row readable to the end of its last vector
  int64_t b_row;
  const RowSource* source = nullptr;  // whole vectors, to be copied to b; null: b holds them
  float* c;                           // rows of c_row floats
  int64_t c_row;
  int64_t columns;    // columns to write, <= NV * kLanes
  const float* bias;  // per row, or null
  const float* mask;  // laid out as c: results where it is <= 0 become 0; or null
  SumMask sum_mask;   // of products that are asked for it
  // Laid out as c: added to the results; c itself to accumulate; or null.
  const float* addend;
  bool far = false;    // c and what is laid out as it are not in the cache yet: asked for a block ahead
  bool a_far = false;  // the same of a, where a_k is 1
  RowsAhead ahead;
  const float* const* lines = nullptr;  // to ask for, `lines_each` at each step of the sum
  int64_t lines_each = 0;
  bool first_cache = false;  // into which they are asked for; else the second
};

// What of b a step of the sum multiplies, from `b` on.
template <int NV>
struct PlainRows {
  const float* b;
  int64_t b_row;
  void next(Vec<kLanes> (&bv)[NV]) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) bv[v] = load<kLanes>(b + v * kLanes);
    b += b_row;
  }
};
// The same of rows that lie `row` apart at `from`, copied to b.
template <int NV, bool relu_b>
struct CopiedRows {
  const float* from;
  int64_t row;
  float* b;
  int64_t b_row;
  void next(Vec<kLanes> (&bv)[NV]) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      bv[v] = load<kLanes>(from + v * kLanes);
      if (relu_b) bv[v] = relu<kLanes>(bv[v]);
      store<kLanes>(b + v * kLanes, bv[v]);
    }
    from += row, b += b_row;
  }
};

// The same of sums of terms.
template <int NV, int terms>
struct SummedRows {
  const float *first, *second;
  int64_t row;
  const float* coefficients;
  float* b;
  int64_t b_row;
  void next(Vec<kLanes> (&bv)[NV]) {
    const TermSum<terms> sum(coefficients);
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      const int at = v * kLanes;
      bv[v] =
          relu<kLanes>(sum(load<kLanes>(first + at), terms > 1 ? load<kLanes>(second + at) : Vec<kLanes>{}));
      store<kLanes>(b + at, bv[v]);
    }
    first += row, b += b_row, coefficients += kSumCoefficients;
    if (terms > 1) second += row;
  }
};

// acc += the products of steps [k0, k1) of the sum. relu_a: max(a, 0) in place of a, which costs nothing
// where other units than those of multiply-adds compare (Zen 5).
template <int MR, int NV, bool relu_a, class Rows>
__attribute__((always_inline)) inline void gemm_steps(const GemmTile& t, int64_t k0, int64_t k1, Rows rows,
                                                      Vec<kLanes> (&acc)[MR][NV]) {
  using V = Vec<kLanes>;
  const int64_t a_row = t.a_row, a_k = t.a_k;
  const float* a = t.a + k0 * a_k;
  const float* const* lines = t.lines + k0 * t.lines_each;
  for (int64_t k = k1 - k0; k > 0; --k, a += a_k) {
    for (int64_t i = t.lines_each; i > 0; --i, ++lines)
      t.first_cache ? prefetch_near(*lines, kLineFloats) : prefetch_line(*lines);
    V bv[NV];
    rows.next(bv);
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r) {
      V av = splat<kLanes>(a[r * a_row]);
      if (relu_a) av = relu<kLanes>(av);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[r][v] += av * bv[v];
    }
  }
}

// Adds up acc and writes c: whole vectors, or as many columns as there are.
template <int MR, int NV>
__attribute__((always_inline)) inline void gemm_finish(const GemmTile& t, Vec<kLanes> (&acc)[MR][NV]) {
  using V = Vec<kLanes>;
  auto each = [&](auto f) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) f(acc[r][v], r, r * t.c_row + v * kLanes, t.columns - v * kLanes);
  };
  auto finish = [&](auto read, auto write) __attribute__((always_inline)) {
    if (t.bias) each([&](V& value, int r, int64_t, int64_t) { value += splat<kLanes>(t.bias[r]); });
    if (t.mask)
      each([&](V& value, int, int64_t at, int64_t n) { value = read(t.mask + at, n) > 0.f ? value : V{}; });
    if (t.addend) each([&](V& value, int, int64_t at, int64_t n) { value += read(t.addend + at, n); });
    each([&](V& value, int, int64_t at, int64_t n) { write(t.c + at, value, n); });
  };
  if (t.columns == NV * kLanes) {
    finish([](const float* p, int64_t) { return load<kLanes>(p); },
           [](float* p, V value, int64_t) { store<kLanes>(p, value); });
  } else {
    finish([](const float* p,
              int64_t n) { return n > 0 ? load_first<kLanes>(p, std::min<int64_t>(n, kLanes)) : V{}; },
           [](float* p, V value, int64_t n) {
             if (n > 0) store_first<kLanes>(p, value, std::min<int64_t>(n, kLanes));
           });
  }
}

// The same of whole vectors by t.sum_mask, summing up.
template <int MR, int NV, int terms>
__attribute__((always_inline)) inline void gemm_finish_sums(const GemmTile& t,
                                                            const Vec<kLanes> (&acc)[MR][NV]) {
  using V = Vec<kLanes>;
  const SumMask& m = t.sum_mask;
#pragma GCC unroll 8
  for (int r = 0; r < MR; ++r) {
    const TermSum<terms> sum(m.coefficients + r * kSumCoefficients);
    float* const c = t.c + r * t.c_row;
    float* const totals = m.totals + r * kSumCoefficients * SumGradPlan::kLanes;
    V s = load<kLanes>(totals), s_first = load<kLanes>(totals + SumGradPlan::kLanes);
    V s_second = terms > 1 ? load<kLanes>(totals + 2 * SumGradPlan::kLanes) : V{};
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      const int64_t at = r * t.c_row + v * kLanes;
      const V first = load<kLanes>(m.first + at), second = terms > 1 ? load<kLanes>(m.second + at) : V{};
      V value = sum(first, second) > 0.f ? acc[r][v] : V{};
      s += value;
      s_first += value * first;
      if (terms > 1) s_second += value * second;
      if (t.addend) value += load<kLanes>(t.addend + at);
      store<kLanes>(c + v * kLanes, value);
    }
    store<kLanes>(totals, s);
    store<kLanes>(totals + SumGradPlan::kLanes, s_first);
    if (terms > 1) store<kLanes>(totals + 2 * SumGradPlan::kLanes, s_second);
  }
}

template <int MR, int NV, bool relu_a, bool sums>
__attribute__((noinline)) void gemm_tile(const GemmTile& t) {
  Vec<kLanes> acc[MR][NV] = {};
  gemm_steps<MR, NV, relu_a>(t, 0, t.k, PlainRows<NV>{t.b, t.b_row}, acc);
  if constexpr (sums) {
    if (t.sum_mask.second) {
      gemm_finish_sums<MR, NV, 2>(t, acc);
    } else {
      gemm_finish_sums<MR, NV, 1>(t, acc);
    }
  } else {
    gemm_finish<MR, NV>(t, acc);
  }
}

template <int MR, int NV, bool relu_b>
__attribute__((noinline)) void copying_gemm_tile(const GemmTile& t) {
  const RowSource& s = *t.source;
  Vec<kLanes> acc[MR][NV] = {};
  for (int64_t k = 0, run = 0; k < t.k; k += run) {
    run = s.planes.run(s.first + k, t.k - k);
    const float* from = s.planes.plane(s.image, s.first + k, s.row) + s.at;
    gemm_steps<MR, NV, false>(
        t, k, k + run, CopiedRows<NV, relu_b>{from, s.row, const_cast<float*>(t.b) + k * t.b_row, t.b_row},
        acc);
  }
  gemm_finish<MR, NV>(t, acc);
}

template <int MR, int NV>
__attribute__((noinline)) void summing_gemm_tile(const GemmTile& t) {
  const RowSource& s = *t.source;
  const ChannelSums& x = *s.sums;
  Vec<kLanes> acc[MR][NV] = {};
  for (int64_t k = 0, run = 0; k < t.k; k += run) {
    const int64_t c = s.first + k;
    run = x.first.run(c, t.k - k);
    const float* const first = x.first.plane(s.image, c, s.row) + s.at;
    const float* const second = x.second_plane(s.image, c, s.row);
    float* const b = const_cast<float*>(t.b) + k * t.b_row;
    if (second) {
      gemm_steps<MR, NV, false>(
          t, k, k + run, SummedRows<NV, 2>{first, second + s.at, s.row, x.of_channel(c), b, t.b_row}, acc);
    } else {
      gemm_steps<MR, NV, false>(t, k, k + run,
                                SummedRows<NV, 1>{first, nullptr, s.row, x.of_channel(c), b, t.b_row}, acc);
    }
  }
  gemm_finish<MR, NV>(t, acc);
}

// f(the number of vectors, of rows as constants) for a tile of `rows` <= kTileRows.
template <int MR, class F>
inline void with_tile_columns(const GemmTile& t, F f) {
  constexpr std::integral_constant<int, MR> rows;
  switch ((t.columns + kLanes - 1) / kLanes) {
    case 1:
      return f(rows, std::integral_constant<int, 1>());
    case 2:
      return f(rows, std::integral_constant<int, 2>());
#if defined(__AVX512F__)
    case 3:
      return f(rows, std::integral_constant<int, 3>());
    default:
      return f(rows, std::integral_constant<int, 4>());
#endif
  }
}
template <class F>
inline void with_tile_size(int64_t rows, const GemmTile& t, F f) {
  switch (rows) {
    case 1:
      return with_tile_columns<1>(t, f);
    case 2:
      return with_tile_columns<2>(t, f);
    case 3:
      return with_tile_columns<3>(t, f);
    case 4:
      return with_tile_columns<4>(t, f);
    case 5:
      return with_tile_columns<5>(t, f);
    default:
      return with_tile_columns<6>(t, f);
  }
}

template <bool relu_a, bool sums>
inline void gemm_tile(int64_t rows, const GemmTile& t) {
  with_tile_size(rows, t, [&](auto mr, auto nv) { gemm_tile<mr(), nv(), relu_a, sums>(t); });
}
// The same with t.source, whole vectors.
inline void copying_gemm_tile(int64_t rows, const GemmTile& t) {
  with_tile_size(rows, t, [&](auto mr, auto nv) {
    if (t.source->sums) {
      summing_gemm_tile<mr(), nv()>(t);
    } else if (t.source->relu) {
      copying_gemm_tile<mr(), nv(), true>(t);
    } else {
      copying_gemm_tile<mr(), nv(), false>(t);
    }
  });
}

// Rows of a product that lie in one value: what GemmTile holds of them.
struct GemmRows {
  int64_t count;
  const float* a;
  float* c;
  const float *bias, *mask, *addend;
  SumMask sum_mask{};
};

// A product of any number of columns, and of rows in `n` parts. Where all of b fits into the nearest cache,
// blocks of rows pass along it and write long runs; else b's columns of one tile stay there while the rows
// pass. copies: all.source holds b, whose columns of one tile are copied to all.b, rows of all.b_row floats.
// relu_a: as in gemm_steps. sums: by the sum_mask of each part.
template <bool copies = false, bool relu_a = false, bool sums = false>
inline void gemm(const GemmRows* parts, int n, const GemmTile& all) {
  constexpr int64_t kNearFloats = 4096;
  const Blocks across((all.columns + kLanes - 1) / kLanes, kTileVectors);
  const int64_t tiles = across.count;
  const bool along = !copies && all.k * all.columns <= kNearFloats;
  int64_t steps = 0;
  for (int p = 0; p < n; ++p) steps += tiles * Blocks(parts[p].count, kTileRows).count;
  // A block is computed when the one after it is known. They take turns in two places: a copy would wait for
  // the stores of the last one.
  GemmTile turns[2] = {all, all};
  turns[0].first_cache = turns[1].first_cache = whole_vectors();
  RowSource sources[2];
  int turn = 0;
  int64_t pending = 0;  // rows of the block before
  LineList lines;
  int64_t asked = 0, share = 0;  // rows ahead, and `steps` parts of one
  auto finish = [&] {
    GemmTile& t = turns[1 - turn];
    const int64_t from = asked;
    for (share += all.ahead.rows; share >= steps; share -= steps) ++asked;
    all.ahead.add(from, asked, lines);
    t.lines = lines.data(), t.lines_each = lines.spread(all.k);
    if (copies && t.source) {
      copying_gemm_tile(pending, t);
    } else {
      gemm_tile<relu_a, sums>(pending, t);
    }
    lines.clear();
  };
  auto block = [&](int p, const Blocks& blocks, int64_t i, int64_t tile) {
    const GemmRows& rows = parts[p];
    const int64_t begin = blocks.begin(i), count = blocks.begin(i + 1) - begin;
    const int64_t j = across.begin(tile) * kLanes, at = begin * all.c_row + j;
    GemmTile& t = turns[turn];
    t.a = rows.a + begin * all.a_row;
    if constexpr (copies) {
      t.source = nullptr;
      if (p == 0 && i == 0) {
        sources[turn] = *all.source;
        sources[turn].at += j;
        t.source = &sources[turn];
      }
    } else {
      t.b = all.b + j;
    }
    t.c = rows.c + at;
    t.columns = std::min(across.begin(tile + 1) * kLanes, all.columns) - j;
    t.bias = rows.bias ? rows.bias + begin : nullptr;
    t.mask = rows.mask ? rows.mask + at : nullptr;
    t.addend = rows.addend ? rows.addend + at : nullptr;
    if constexpr (sums) {
      const SumMask& m = rows.sum_mask;
      t.sum_mask = {m.first + at, m.second ? m.second + at : nullptr,
                    m.coefficients + begin * kSumCoefficients,
                    m.totals + begin * kSumCoefficients * SumGradPlan::kLanes};
    }
    if (all.far)
      for (int64_t r = 0; r < count; ++r) {
        lines.add(t.c + r * t.c_row, t.columns);
        if (t.mask) lines.add(t.mask + r * t.c_row, t.columns);
        if constexpr (sums) {
          lines.add(t.sum_mask.first + r * t.c_row, t.columns);
          if (t.sum_mask.second) lines.add(t.sum_mask.second + r * t.c_row, t.columns);
        }
      }
    if (all.a_far && tile == 0)
      for (int64_t r = 0; r < count; ++r) lines.add(t.a + r * t.a_row, t.k);
    if (pending > 0) finish();
    pending = count;
    turn = 1 - turn;
  };
  for (int64_t outer = 0; outer < (along ? 1 : tiles); ++outer)
    for (int p = 0; p < n; ++p) {
      const Blocks blocks(parts[p].count, kTileRows);
      for (int64_t i = 0; i < blocks.count; ++i)
        for (int64_t inner = 0; inner < (along ? tiles : 1); ++inner)
          block(p, blocks, i, along ? inner : outer);
    }
  if (pending > 0) finish();
}

inline void gemm(int64_t rows, const GemmTile& all) {
  const GemmRows one{rows, all.a, all.c, all.bias, all.mask, all.addend};
  gemm(&one, 1, all);
}

}  // namespace
}  // namespace ladarts
