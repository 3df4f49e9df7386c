// Loops over one image's tiles (ops/separable_plan.h). K kernel side, D dilation, S stride, R output rows
// held in registers: R rows share the loads of their overlapping windows, so a 5x5 kernel costs
// 40 loads instead of 100 for four rows.
#pragma once

#include <type_traits>

#include "ops/cpu/gemm.h"
#include "ops/cpu/lane_sums.h"
#include "ops/cpu/transpose.h"
#include "ops/separable_plan.h"

namespace ladarts {
namespace {

constexpr int kHalo = SeparablePlan::kHalo;
// Eight lanes also where sixteen exist: windows start anywhere, and every misaligned load of 16 lanes crosses
// a cache line. On Zen 4, one core, 32 x 32 planes: 3x3 96 GFLOP/s against 66, dilated 5x5 80 against 67,
// their weight gradients 70 against 49 (GCC 12, 2026-11).
constexpr int kTileLanes = kLanes < 8 ? kLanes : 8;
using Floats = Vec<kTileLanes>;

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

// Taps of a depthwise kernel for loops that use one column of it after the other. With 32 registers all of
// them stay there: read from memory, they would take the loads that the windows need. With 16 a column of
// them does, beside twice as many rows of sums: eight rows by 5x5 taps are 60 loads of windows and 25 of taps
// for 200 multiply-adds.
#if defined(__AVX512VL__)
constexpr bool kManyRegisters = true;
#else
constexpr bool kManyRegisters = false;
#endif
template <int K>
struct Taps {
  explicit Taps(const float* weights) : memory(weights) {
    if constexpr (kManyRegisters) {
#pragma GCC unroll 32
      for (int t = 0; t < K * K; ++t) all[t] = splat<kTileLanes>(weights[t]);
    }
  }
  Floats operator[](int t) const {
    if constexpr (kManyRegisters) {
      return all[t];
    } else {
      return splat<kTileLanes>(memory[t]);
    }
  }
  const float* memory;
  Floats all[kManyRegisters ? K * K : 1];
};

// y[i][j] = sum over p, q of w[p][q] * x[i*S + p*D][j*S + q*D], rows row, row + D, ... of which there are R:
// with a dilation these share their windows, and rows next to each other do not. `turned`: w rotated by half
// a turn.
template <int K, int D, int S, int R, bool turned, bool add>
inline void depthwise_rows(Plane x, const Taps<K>& w, float* y, ptrdiff_t y_pitch, int row, int columns) {
  constexpr int reach = (R - 1) * S + K;  // rows of x, D apart
  const float* top = x.data + (kFirst<K, D> + row * S) * x.pitch;
  float* out = y + row * y_pitch;
  for (int j = 0; j < columns; j += kTileLanes) {
    Floats sum[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) sum[i] = add ? load<kTileLanes>(out + i * D * y_pitch + j) : Floats{};
#pragma GCC unroll 8
    for (int q = 0; q < K; ++q) {
      const float* at = top + tap_column<K, D, S>(q, x.half) + j;
      Floats tap[K];
#pragma GCC unroll 8
      for (int p = 0; p < K; ++p) tap[p] = w[turned ? K * K - 1 - (p * K + q) : p * K + q];
#pragma GCC unroll 32
      for (int r = 0; r < reach; ++r) {
        Floats v = load<kTileLanes>(at + r * D * x.pitch);
        if constexpr (K == 3 && !kManyRegisters) hold_in_register<kTileLanes>(v);
#pragma GCC unroll 8
        for (int i = 0; i < R; ++i) {
          const int p = r - i * S;
          if (p < 0 || p >= K) continue;
          sum[i] += v * tap[p];
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) store<kTileLanes>(out + i * D * y_pitch + j, sum[i]);
  }
}

// The last rows, where there are not enough for a group. Apart, so that the loop over groups has all
// registers.
template <int K, int D, int S, bool turned, bool add>
__attribute__((noinline)) void depthwise_rest(Plane x, const float* weights, float* y, ptrdiff_t y_pitch,
                                              int row, int rows, int columns) {
  const Taps<K> w(weights);
  for (; row + 2 * D <= rows; row += 2 * D)
    for (int phase = 0; phase < D; ++phase)
      depthwise_rows<K, D, S, 2, turned, add>(x, w, y, y_pitch, row + phase, columns);
  for (; row < rows; ++row) depthwise_rows<K, D, S, 1, turned, add>(x, w, y, y_pitch, row, columns);
}

template <int K, int D, int S, bool turned, bool add>
void depthwise_plane(Plane x, const float* weights, float* y, ptrdiff_t y_pitch, int rows, int columns) {
  const Taps<K> w(weights);
  int row = 0;
  if constexpr (!kManyRegisters)
    for (; row + 8 * D <= rows; row += 8 * D)
      for (int phase = 0; phase < D; ++phase)
        depthwise_rows<K, D, S, 8, turned, add>(x, w, y, y_pitch, row + phase, columns);
  for (; row + 4 * D <= rows; row += 4 * D)
    for (int phase = 0; phase < D; ++phase)
      depthwise_rows<K, D, S, 4, turned, add>(x, w, y, y_pitch, row + phase, columns);
  if (row < rows) depthwise_rest<K, D, S, turned, add>(x, weights, y, y_pitch, row, rows, columns);
}

// Of any kernel that separable ops offer.
inline void depthwise_plane(int kernel, int dilation, int stride, Plane x, const float* weights, float* y,
                            ptrdiff_t y_pitch, int rows, int columns) {
  auto run = [&](auto k, auto d) {
    if (stride == 1) {
      depthwise_plane<k(), d(), 1, false, false>(x, weights, y, y_pitch, rows, columns);
    } else {
      depthwise_plane<k(), d(), 2, false, false>(x, weights, y, y_pitch, rows, columns);
    }
  };
  constexpr std::integral_constant<int, 1> one;
  constexpr std::integral_constant<int, 2> two;
  constexpr std::integral_constant<int, 3> three;
  constexpr std::integral_constant<int, 5> five;
  if (kernel == 3) {
    dilation == 1 ? run(three, one) : run(three, two);
  } else {
    dilation == 1 ? run(five, one) : run(five, two);
  }
}

// sum[p][q - first] += sum over j of g[i][j] * x[i*S + p*D][j*S + q*D] for R rows i = row, row + D, ... and
// the Q columns q of the kernel from `first` on.
template <int K, int D, int S, int R, int first, int Q>
inline void depthwise_weight_rows(Plane x, Plane g, Floats (&sum)[K * Q], int row, int columns) {
  constexpr int reach = (R - 1) * S + K;
  const float* top = x.data + (kFirst<K, D> + row * S) * x.pitch;
  const float* grad = g.data + row * g.pitch;
  for (int j = 0; j < columns; j += kTileLanes) {
    Floats d[R];
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) d[i] = load<kTileLanes>(grad + i * D * g.pitch + j);
#pragma GCC unroll 8
    for (int q = 0; q < Q; ++q) {
      const float* at = top + tap_column<K, D, S>(first + q, x.half) + j;
#pragma GCC unroll 32
      for (int r = 0; r < reach; ++r) {
        const Floats v = load<kTileLanes>(at + r * D * x.pitch);
#pragma GCC unroll 8
        for (int i = 0; i < R; ++i) {
          const int p = r - i * S;
          if (p < 0 || p >= K) continue;
          sum[p * Q + q] += v * d[i];
        }
      }
    }
  }
}

template <int K, int D, int S, int first, int Q>
__attribute__((noinline)) void depthwise_weight_rest(Plane x, Plane g, Floats (&sums)[K * Q], int row,
                                                     int rows, int columns) {
  for (; row < rows; ++row) depthwise_weight_rows<K, D, S, 1, first, Q>(x, g, sums, row, columns);
}

// `all` (K, K): the sums of the kernel's columns first, ..., first + Q - 1 over a plane.
template <int K, int D, int S, int R, int first, int Q>
inline void depthwise_weight_columns(Plane x, Plane g, Floats* all, int rows, int columns) {
  Floats sums[K * Q] = {};
  int row = 0;
  for (; row + R * D <= rows; row += R * D)
    for (int phase = 0; phase < D; ++phase)
      depthwise_weight_rows<K, D, S, R, first, Q>(x, g, sums, row + phase, columns);
  Floats found[K * Q];
#pragma GCC unroll 32
  for (int t = 0; t < K * Q; ++t) found[t] = sums[t];
  if (row < rows) depthwise_weight_rest<K, D, S, first, Q>(x, g, found, row, rows, columns);
  for (int p = 0; p < K; ++p)
    for (int q = 0; q < Q; ++q) all[p * K + first + q] = found[p * Q + q];
}

// d_w[p][q] += sum over i, j of g[i][j] * x[i*S + p*D][j*S + q*D]. The sums of a 5x5 kernel fill 32
// registers; with 16 its columns take turns.
template <int K, int D, int S>
void depthwise_weight_plane(Plane x, Plane g, float* d_w, int rows, int columns) {
  Floats all[K * K];
  if constexpr (K == 3) {
    depthwise_weight_columns<K, D, S, 4, 0, K>(x, g, all, rows, columns);
  } else if constexpr (kManyRegisters) {
    depthwise_weight_columns<K, D, S, 2, 0, K>(x, g, all, rows, columns);
  } else {
    depthwise_weight_columns<K, D, S, 4, 0, 2>(x, g, all, rows, columns);
    depthwise_weight_columns<K, D, S, 4, 2, 2>(x, g, all, rows, columns);
    depthwise_weight_columns<K, D, S, 4, 4, 1>(x, g, all, rows, columns);
  }
  add_lane_sums<kTileLanes>(all, K * K, d_w);
}

// Gradient of a stride-2 depthwise convolution's input, in the layout of the input plane. Only taps of the
// same parity as a pixel reach it: for row r and column 2m+b, those with u_p = r and u_q = b modulo 2. R rows
// of one parity, two apart, share the loads of their windows.
template <int K, int D, bool add, int row_parity, int column_parity, int R>
inline void gather_rows_stride2(Plane g, const Taps<K>& w, float* d_x, ptrdiff_t pitch, int row,
                                int columns) {
  // Row row + 2i receives row (row - row_parity) / 2 + i - shift of g through the taps p of that shift.
  const float* top = g.data + ptrdiff_t((row - row_parity) / 2) * g.pitch + kHalo / 2;
  constexpr int most = (kFirst<K, D> + (K - 1) * D) / 2;
  for (int j = 0; j < columns; j += kTileLanes) {
    Floats sum[R];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) sum[i] = add ? load<kTileLanes>(d_x + 2 * i * pitch + j) : Floats{};
#pragma GCC unroll 8
    for (int q = 0; q < K; ++q) {
      const int uq = kFirst<K, D> + q * D;
      if ((uq & 1) != column_parity) continue;
#pragma GCC unroll 16
      for (int o = -most; o < R; ++o) {
        Floats v{};
        bool read = false;
#pragma GCC unroll 8
        for (int p = 0; p < K; ++p) {
          const int up = kFirst<K, D> + p * D, i = o + (up - row_parity) / 2;
          if ((up & 1) != row_parity || i < 0 || i >= R) continue;
          if (!read) v = load<kTileLanes>(top + o * g.pitch - (uq >> 1) + j);
          read = true;
          sum[i] += v * w[p * K + q];
        }
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) store<kTileLanes>(d_x + 2 * i * pitch + j, sum[i]);
  }
}

template <int K, int D, bool add, int row_parity, int column_parity>
inline void gather_plane_stride2(Plane g, const Taps<K>& w, float* d_x, ptrdiff_t pitch, int rows,
                                 int columns) {
  int row = kHalo + row_parity;  // kHalo is even
  for (; row + 6 < kHalo + rows; row += 8)
    gather_rows_stride2<K, D, add, row_parity, column_parity, 4>(g, w, d_x + row * pitch, pitch, row,
                                                                 columns);
  for (; row < kHalo + rows; row += 2)
    gather_rows_stride2<K, D, add, row_parity, column_parity, 1>(g, w, d_x + row * pitch, pitch, row,
                                                                 columns);
}

// `g` points at the interior of its padded plane, `d_x` at the start of its plane.
template <int K, int D, bool add>
void depthwise_input_stride2(Plane g, const float* weights, float* d_x, ptrdiff_t pitch, ptrdiff_t half,
                             int rows, int columns) {
  const Taps<K> w(weights);
  float* const even = d_x + kHalo / 2;
  float* const odd = even + half;
  gather_plane_stride2<K, D, add, 0, 0>(g, w, even, pitch, rows, columns);
  gather_plane_stride2<K, D, add, 0, 1>(g, w, odd, pitch, rows, columns);
  gather_plane_stride2<K, D, add, 1, 0>(g, w, even, pitch, rows, columns);
  gather_plane_stride2<K, D, add, 1, 1>(g, w, odd, pitch, rows, columns);
}

// y[o] = sum over i of w[o][i] * x[i] for O outputs and V vectors of pixels at a time. Strides of w are free,
// so the transposed product is the same loop.
struct Matrix {
  const float* data;
  int out_stride, in_stride;
};

// Vector k of the result goes to y + to[k].
template <int O, int V>
inline void pointwise_pixels(const float* x, ptrdiff_t x_plane, Matrix w, int inputs, float* y,
                             ptrdiff_t y_plane, const ptrdiff_t* to) {
  Floats sum[O][V] = {};
  for (int i = 0; i < inputs; ++i) {
    Floats v[V];
#pragma GCC unroll 4
    for (int k = 0; k < V; ++k) v[k] = load<kTileLanes>(x + i * x_plane + k * kTileLanes);
#pragma GCC unroll 4
    for (int o = 0; o < O; ++o) {
      const float weight = w.data[o * w.out_stride + i * w.in_stride];
#pragma GCC unroll 4
      for (int k = 0; k < V; ++k) sum[o][k] += v[k] * weight;
    }
  }
#pragma GCC unroll 4
  for (int o = 0; o < O; ++o)
#pragma GCC unroll 4
    for (int k = 0; k < V; ++k) store<kTileLanes>(y + o * y_plane + to[k], sum[o][k]);
}

struct Tile {
  float* data;
  ptrdiff_t plane, pitch;
};

// Of so many outputs by vectors the sums stay in registers.
constexpr int kPointwiseVectors = kManyRegisters ? 4 : 2;

// x: rows without gaps, x.pitch floats each, whole vectors. Several vectors at a time wherever rows of y
// begin.
inline void pointwise_tile(Tile x, Matrix w, int inputs, int outputs, Tile y, int rows) {
  constexpr int V = kPointwiseVectors;
  const int per_row = int(x.pitch) / kTileLanes, vectors = rows * per_row;
  const bool gaps = y.pitch != x.pitch;
  for (int o = 0; o < outputs;) {
    const int count = outputs - o >= 4 ? 4 : 1;
    const Matrix m{w.data + o * w.out_stride, w.out_stride, w.in_stride};
    float* const out = y.data + o * y.plane;
    for (int v = 0; v < vectors;) {
      const int together = vectors - v >= V ? V : 1;
      const float* from = x.data + ptrdiff_t(v) * kTileLanes;
      ptrdiff_t to[V];
      for (int k = 0; k < together; ++k)
        to[k] = gaps ? (v + k) / per_row * y.pitch + (v + k) % per_row * kTileLanes
                     : ptrdiff_t(v + k) * kTileLanes;
      if (count == 4 && together == V) {
        pointwise_pixels<4, V>(from, x.plane, m, inputs, out, y.plane, to);
      } else if (count == 4) {
        pointwise_pixels<4, 1>(from, x.plane, m, inputs, out, y.plane, to);
      } else if (together == V) {
        pointwise_pixels<1, V>(from, x.plane, m, inputs, out, y.plane, to);
      } else {
        pointwise_pixels<1, 1>(from, x.plane, m, inputs, out, y.plane, to);
      }
      v += together;
    }
    o += count;
  }
}

// d_w (outputs, inputs) += g x^T. With many channels and few pixels sums over lanes would cost more than the
// products: x is transposed to `scratch` (pixels, inputs) instead.
inline void pointwise_weight_tile(const float* g, const float* x, ptrdiff_t row, int pixels, int inputs,
                                  int outputs, float* scratch, float* d_w) {
  if (!scratch) {
    DotTile t{};
    t.length = pixels;
    t.a = g, t.a_row = row;
    t.b = x, t.b_row = row;
    t.c = d_w, t.c_row = inputs, t.add = true;
    return dot_product(outputs, inputs, t);
  }
  const int64_t scratch_row = round_up(inputs, 16);
  transpose(x, row, inputs, pixels, scratch, scratch_row);
  GemmTile t{};
  t.k = pixels;
  t.a = g, t.a_row = row, t.a_k = 1;
  t.b = scratch, t.b_row = scratch_row;
  t.c = d_w, t.c_row = inputs, t.columns = inputs;
  t.addend = d_w;
  gemm(outputs, t);
}

}  // namespace
}  // namespace ladarts
