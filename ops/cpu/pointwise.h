// Pointwise convolutions of one image's tiles (ops/separable_plan.h) and the gradient of their weights.
#pragma once

#include <algorithm>
#include <type_traits>

#include "ops/cpu/depthwise_loops.h"
#include "ops/cpu/dot_product.h"
#include "ops/cpu/gemm.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/transpose.h"
#include "ops/separable_plan.h"

namespace ladarts {
namespace {

// y[o] = sum over i of w[o][i] * x[i] for O outputs and V vectors of pixels at a time. Strides of w are free,
// so the transposed product is the same loop.
struct Matrix {
  const float* data;
  int out_stride, in_stride;
};

// Where V vectors of the result begin behind each other's start: vector k at y + to[k], or its halves at
// y + to[2k] and y + to[2k + 1].
template <int V>
struct PixelRuns {
  ptrdiff_t to[2 * V];
};

// Mean and sum of squared deviations of outputs, gathered while they are still in registers. Deviations are
// taken from an output's first value, so that a large mean takes no digits from them.
class OutputMoments {
 public:
  // memory: kMomentFloats for each output, at a cache line.
  static_assert(SeparablePlan::kMomentFloats > 2 * kLanes);
  OutputMoments(float* memory, int outputs) : sums_(memory), first_(memory + int64_t(outputs) * 2 * kLanes) {}
  // Of outputs from `o` on, O by V vectors. Outputs must see the same pixels before any sees others.
  template <int O, int V>
  void add(int o, const Vec<kLanes> (&values)[O][V]) {
#pragma GCC unroll 8
    for (int i = 0; i < O; ++i) {
      float* const sums = sums_ + ptrdiff_t(o + i) * 2 * kLanes;
      if (empty_) first_[o + i] = values[i][0][0];
      const Vec<kLanes> first = splat<kLanes>(first_[o + i]);
      Vec<kLanes> sum = empty_ ? Vec<kLanes>{} : load<kLanes>(sums),
                  squares = empty_ ? Vec<kLanes>{} : load<kLanes>(sums + kLanes);
#pragma GCC unroll 8
      for (int k = 0; k < V; ++k) {
        const Vec<kLanes> d = values[i][k] - first;
        sum += d;
        squares += d * d;
      }
      store<kLanes>(sums, sum);
      store<kLanes>(sums + kLanes, squares);
    }
  }
  void added_to_all() {
    empty_ = false;
  }
  // moments[o] = {mean, squared deviations} of n values of output o.
  void finish(int outputs, int64_t n, float* moments) const {
    const double per_value = 1 / double(n);
    for (int o = 0; o < outputs; o += 2) {
      alignas(16) float found[4] = {};
      const int together = std::min(2, outputs - o);
      add_lane_sums<kLanes>(reinterpret_cast<const Vec<kLanes>*>(sums_ + ptrdiff_t(o) * 2 * kLanes),
                            2 * together, found);
      for (int i = 0; i < together; ++i) {
        const double sum = double(found[2 * i]), squares = double(found[2 * i + 1]);
        moments[2 * (o + i)] = float(double(first_[o + i]) + sum * per_value);
        moments[2 * (o + i) + 1] = float(std::max(0., squares - sum * sum * per_value));
      }
    }
  }

 private:
  float *sums_, *first_;
  bool empty_ = true;
};

// lines: asked for meanwhile, one at each input; null: none.
template <int L, int O, int V, bool halves, bool asks>
__attribute__((noinline)) void pointwise_pixels(const float* x, ptrdiff_t x_plane, Matrix w, int inputs,
                                                float* y, ptrdiff_t y_plane, const PixelRuns<V>& runs,
                                                OutputMoments* moments, int first_output,
                                                const float* lines) {
  Vec<L> sum[O][V] = {};
  for (int i = 0; i < inputs; ++i, x += x_plane) {
    if (asks) prefetch_line(lines + i * kLineFloats);
    Vec<L> v[V];
#pragma GCC unroll 8
    for (int k = 0; k < V; ++k) v[k] = load<L>(x + k * L);
#pragma GCC unroll 8
    for (int o = 0; o < O; ++o) {
      const float weight = w.data[o * w.out_stride + i * w.in_stride];
#pragma GCC unroll 8
      for (int k = 0; k < V; ++k) sum[o][k] += v[k] * weight;
    }
  }
  if constexpr (L == kLanes)
    if (moments) moments->add<O, V>(first_output, sum);
#pragma GCC unroll 8
  for (int o = 0; o < O; ++o, y += y_plane)
#pragma GCC unroll 8
    for (int k = 0; k < V; ++k) {
      if constexpr (halves) {
        store<L / 2>(y + runs.to[2 * k], lower_half<L>(sum[o][k]));
        store<L / 2>(y + runs.to[2 * k + 1], upper_half<L>(sum[o][k]));
      } else {
        store<L>(y + runs.to[k], sum[o][k]);
      }
    }
}

struct Tile {
  float* data;
  ptrdiff_t plane, pitch;
};

// V vectors of pixels of all channels stay in the nearest cache while the outputs pass, six at a time.
template <int L, int V, bool halves, bool asks>
inline void pointwise_outputs(const float* x, ptrdiff_t x_plane, Matrix w, int inputs, int outputs, float* y,
                              ptrdiff_t y_plane, const PixelRuns<V>& runs, OutputMoments* moments,
                              FetchAhead* ahead) {
  const Blocks blocks(outputs, kTileRows);
  for (int64_t b = 0; b < blocks.count; ++b) {
    const int64_t o = blocks.begin(b);
    const Matrix m{w.data + o * w.out_stride, w.out_stride, w.in_stride};
    auto run = [&](auto rows) {
      float* const to = y + o * y_plane;
      if constexpr (asks)
        if (const float* const lines = ahead->take(inputs))
          return pointwise_pixels<L, rows(), V, halves, true>(x, x_plane, m, inputs, to, y_plane, runs,
                                                              moments, int(o), lines);
      pointwise_pixels<L, rows(), V, halves, false>(x, x_plane, m, inputs, to, y_plane, runs, moments, int(o),
                                                    nullptr);
    };
    with_count<kTileRows>(blocks.begin(b + 1) - o, run);
  }
  if (moments) moments->added_to_all();
}

// Rows of y may lie apart: a whole number of runs of L floats to each, or of half as many.
template <int L, bool halves, bool asks>
inline void pointwise_rows(Tile x, Matrix w, int inputs, int outputs, Tile y, int rows,
                           OutputMoments* moments, FetchAhead* ahead) {
  constexpr int V = kTileVectors, run = halves ? L / 2 : L;
  const int per_row = int(x.pitch) / run, vectors = int(rows * x.pitch) / L;
  const bool gaps = y.pitch != x.pitch;
  auto begin = [&](int r) -> ptrdiff_t {
    return gaps ? r / per_row * y.pitch + r % per_row * run : ptrdiff_t(r) * run;
  };
  auto columns = [&](int v, auto together) {
    PixelRuns<together()> runs;
    constexpr int each = halves ? 2 : 1;
    for (int k = 0; k < each * together(); ++k) runs.to[k] = begin(each * v + k);
    pointwise_outputs<L, together(), halves, asks>(x.data + ptrdiff_t(v) * L, x.plane, w, inputs, outputs,
                                                   y.data, y.plane, runs, moments, ahead);
  };
  int v = 0;
  for (; v + V <= vectors; v += V) columns(v, std::integral_constant<int, V>());
  for (; v < vectors; ++v) columns(v, std::integral_constant<int, 1>());
}

// x: rows without gaps, x.pitch floats each, whole vectors of kTileLanes. Several vectors at a time wherever
// rows of y begin; nothing lies across a cache line here, so as wide as there are. Moments of
// the outputs are gathered where y has no gaps and x whole vectors of kLanes alone.
template <bool asks = false>
inline void pointwise_tile(Tile x, Matrix w, int inputs, int outputs, Tile y, int rows,
                           OutputMoments* moments = nullptr, FetchAhead* ahead = nullptr) {
  const ptrdiff_t run = y.pitch == x.pitch ? rows * x.pitch : x.pitch;
  if (run % kLanes == 0)
    return pointwise_rows<kLanes, false, asks>(x, w, inputs, outputs, y, rows, moments, ahead);
  if constexpr (kLanes > kTileLanes)
    if (rows * x.pitch % kLanes == 0)
      return pointwise_rows<kLanes, true, asks>(x, w, inputs, outputs, y, rows, moments, ahead);
  pointwise_rows<kTileLanes, false, asks>(x, w, inputs, outputs, y, rows, nullptr, ahead);
}

// The same; `ahead` is asked for a line at each step of a sum, pointwise_lines() in all.
inline void pointwise_tile_asking(FetchAhead& ahead, Tile x, Matrix w, int inputs, int outputs, Tile y,
                                  int rows, OutputMoments* moments = nullptr) {
  pointwise_tile<true>(x, w, inputs, outputs, y, rows, moments, &ahead);
}
inline int64_t pointwise_lines(int inputs, int outputs, int64_t pixels) {
  return inputs * Blocks(outputs, kTileRows).count * (pixels / kTileColumns);
}

// d_w (outputs, inputs) += g x^T, its rows d_w_row apart. With many channels and few pixels sums over lanes
// would cost more than the products: x is transposed to `scratch` (pixels, inputs) instead.
inline void pointwise_weight_tile(const float* g, const float* x, ptrdiff_t row, int pixels, int inputs,
                                  int outputs, float* scratch, float* d_w, ptrdiff_t d_w_row) {
  if (!scratch) {
    DotTile t{};
    t.length = pixels;
    t.a = g, t.a_row = row;
    t.b = x, t.b_row = row;
    t.c = d_w, t.c_row = d_w_row, t.add = true;
    return dot_product(outputs, inputs, t);
  }
  const int64_t scratch_row = round_up(inputs, 16);
  transpose(x, row, inputs, pixels, scratch, scratch_row);
  GemmTile t{};
  t.k = pixels;
  t.a = g, t.a_row = row, t.a_k = 1;
  t.b = scratch, t.b_row = scratch_row;
  t.c = d_w, t.c_row = d_w_row, t.columns = inputs;
  t.addend = d_w;
  gemm(outputs, t);
}

}  // namespace
}  // namespace ladarts
