// Depthwise convolutions of one image's padded planes (ops/separable_plan.h) and their gradients. K kernel
// side, D dilation, S stride, R output rows held in registers: R rows share the loads of their overlapping
// windows, so a 5x5 kernel costs 60 loads instead of 200 for eight rows.
#pragma once

#include <type_traits>

#include "ops/cpu/depthwise_loops.h"
#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/lane_sums.h"

namespace ladarts {
namespace {

// y[i][j] = sum over p, q of w[p][q] * x[i*S + p*D][j*S + q*D] for R rows of each of P phases: row, row + D,
// ..., and the same from row + 1 on. With a dilation rows D apart share their windows, and rows next to each
// other do not. R * P sums are as many independent chains of multiply-adds: eight keep two units of a latency
// of four cycles busy, four reach two thirds of that. `turned`: w rotated by half a turn.
template <int L, int K, int D, int S, int R, int P, bool turned, bool add>
LADARTS_INLINE void depthwise_rows(Plane x, const float* w, float* y, ptrdiff_t y_pitch, int row, int columns,
                                   FetchAhead& ahead) {
  constexpr int reach = (R - 1) * S + K;  // rows of x, D apart
  const float* top = x.data + (kFirst<K, D> + row * S) * x.pitch;
  const RowStep step(D * x.pitch), y_step(D * y_pitch);
  float* out = y + row * y_pitch;
  for (int j = 0; j < columns; j += L) {
    ahead.some();
    Vec<L> sum[P * R];
    unrolled<P>([&](int f) LADARTS_INLINE_LAMBDA {
      walk_rows<R>(out + f * y_pitch + j, y_step, [&](int i, const float* at) LADARTS_INLINE_LAMBDA {
        sum[f * R + i] = add ? load<L>(at) : Vec<L>{};
      });
    });
    unrolled<K>([&](int q) LADARTS_INLINE_LAMBDA {
      Vec<L> tap[K];  // of a column: 25 taps and eight sums would not fit into 32 registers
      unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
        tap[p] = splat<L>(w[turned ? K * K - 1 - (p * K + q) : p * K + q]);
        hold_in_register<L>(tap[p]);
      });
      unrolled<P>([&](int f) LADARTS_INLINE_LAMBDA {
        const float* first = top + f * S * x.pitch + tap_column<K, D, S>(q, x.half) + j;
        walk_rows<reach>(first, step, [&](int r, const float* at) LADARTS_INLINE_LAMBDA {
          Vec<L> v = load<L>(at);
          hold_in_register<L>(v);
          unrolled<R>([&](int i) LADARTS_INLINE_LAMBDA {
            const int p = r - i * S;
            if (p >= 0 && p < K) sum[f * R + i] += v * tap[p];
          });
        });
      });
    });
    unrolled<P>([&](int f) LADARTS_INLINE_LAMBDA {
      walk_rows<R>(out + f * y_pitch + j, y_step,
                   [&](int i, float* at) LADARTS_INLINE_LAMBDA { store<L>(at, sum[f * R + i]); });
    });
  }
}

// The last rows, where there are not enough for a group of eight.
template <int L, int K, int D, int S, bool turned, bool add>
__attribute__((noinline)) void depthwise_rest(Plane x, const float* w, float* y, ptrdiff_t y_pitch, int row,
                                              int rows, int columns, FetchAhead& ahead) {
  for (; row + 4 <= rows; row += 4)
    depthwise_rows<L, K, D, S, 4 / D, D, turned, add>(x, w, y, y_pitch, row, columns, ahead);
  for (; row + 2 <= rows; row += 2)
    depthwise_rows<L, K, D, S, 2 / D, D, turned, add>(x, w, y, y_pitch, row, columns, ahead);
  for (; row < rows; ++row)
    depthwise_rows<L, K, D, S, 1, 1, turned, add>(x, w, y, y_pitch, row, columns, ahead);
}

// How often ahead.some() is called meanwhile, at least.
inline int depthwise_calls(int rows, int columns) {
  return (rows + kRowGroup - 1) / kRowGroup * (columns / tile_lanes(columns));
}

template <int L, int K, int D, int S, bool turned, bool add>
__attribute__((noinline)) void depthwise_plane(Plane x, const float* w, float* y, ptrdiff_t y_pitch, int rows,
                                               int columns, FetchAhead& ahead) {
  int row = 0;
  for (; row + kRowGroup <= rows; row += kRowGroup) {
    depthwise_rows<L, K, D, S, kRowGroup / D, D, turned, add>(x, w, y, y_pitch, row, columns, ahead);
  }
  if (row < rows) depthwise_rest<L, K, D, S, turned, add>(x, w, y, y_pitch, row, rows, columns, ahead);
}

// Of any kernel that separable ops offer.
inline void depthwise_plane(int kernel, int dilation, int stride, Plane x, const float* weights, float* y,
                            ptrdiff_t y_pitch, int rows, int columns, FetchAhead& ahead) {
  with_kernel(kernel, dilation, stride, [&](auto k, auto d, auto s) {
    with_tile_lanes(columns, [&](auto l) {
      depthwise_plane<l(), k(), d(), s(), false, false>(x, weights, y, y_pitch, rows, columns, ahead);
    });
  });
}

// sum[p][q - first] += sum over j of g[i][j] * x[i*S + p*D][j*S + q*D] for R rows i = row, row + D, ... and
// the Q columns q of the kernel from `first` on.
template <int L, int K, int D, int S, int R, int first, int Q>
LADARTS_INLINE void depthwise_weight_rows(Plane x, Plane g, Vec<L> (&sum)[K * Q], int row, int columns) {
  constexpr int reach = (R - 1) * S + K;
  const float* top = x.data + (kFirst<K, D> + row * S) * x.pitch;
  const float* grad = g.data + row * g.pitch;
  const RowStep step(D * x.pitch), g_step(D * g.pitch);
  for (int j = 0; j < columns; j += L) {
    Vec<L> d[R];
    walk_rows<R>(grad + j, g_step, [&](int i, const float* at) LADARTS_INLINE_LAMBDA {
      d[i] = load<L>(at);
      hold_in_register<L>(d[i]);
    });
    unrolled<Q>([&](int q) LADARTS_INLINE_LAMBDA {
      const float* left = top + tap_column<K, D, S>(first + q, x.half) + j;
      walk_rows<reach>(left, step, [&](int r, const float* at) LADARTS_INLINE_LAMBDA {
        Vec<L> v = load<L>(at);
        hold_in_register<L>(v);
        unrolled<R>([&](int i) LADARTS_INLINE_LAMBDA {
          const int p = r - i * S;
          if (p >= 0 && p < K) sum[p * Q + q] += v * d[i];
        });
      });
    });
  }
}

template <int L, int K, int D, int S, int first, int Q>
__attribute__((noinline)) void depthwise_weight_rest(Plane x, Plane g, Vec<L> (&sums)[K * Q], int row,
                                                     int rows, int columns) {
  for (; row < rows; ++row) depthwise_weight_rows<L, K, D, S, 1, first, Q>(x, g, sums, row, columns);
}

// `all` (K, K): the sums of the kernel's columns first, ..., first + Q - 1 over a plane.
template <int L, int K, int D, int S, int R, int first, int Q>
inline void depthwise_weight_columns(Plane x, Plane g, Vec<L>* all, int rows, int columns) {
  Vec<L> sums[K * Q];
  unrolled<K * Q>([&](int t) LADARTS_INLINE_LAMBDA { sums[t] = Vec<L>{}; });
  int row = 0;
  for (; row + R * D <= rows; row += R * D)
    for (int phase = 0; phase < D; ++phase)
      depthwise_weight_rows<L, K, D, S, R, first, Q>(x, g, sums, row + phase, columns);
  Vec<L> found[K * Q];
  unrolled<K * Q>([&](int t) LADARTS_INLINE_LAMBDA { found[t] = sums[t]; });
  if (row < rows) depthwise_weight_rest<L, K, D, S, first, Q>(x, g, found, row, rows, columns);
  for (int p = 0; p < K; ++p)
    for (int q = 0; q < Q; ++q) all[p * K + first + q] = found[p * Q + q];
}

// d_w[p][q] += sum over i, j of g[i][j] * x[i*S + p*D][j*S + q*D]. The sums of a 5x5 kernel fill 32
// registers; with 16 its columns take turns.
template <int L, int K, int D, int S>
void depthwise_weight_plane(Plane x, Plane g, float* d_w, int rows, int columns) {
  Vec<L> all[K * K];
  if constexpr (K == 3) {
    depthwise_weight_columns<L, K, D, S, 8 / D, 0, K>(x, g, all, rows, columns);
  } else if constexpr (kManyRegisters) {
    depthwise_weight_columns<L, K, D, S, 4, 0, K>(x, g, all, rows, columns);
  } else {
    depthwise_weight_columns<L, K, D, S, 4, 0, 2>(x, g, all, rows, columns);
    depthwise_weight_columns<L, K, D, S, 4, 2, 2>(x, g, all, rows, columns);
    depthwise_weight_columns<L, K, D, S, 4, 4, 1>(x, g, all, rows, columns);
  }
  add_lane_sums<L>(all, K * K, d_w);
}

// Gradient of a stride-2 depthwise convolution's input, in the layout of the input plane. Only taps of the
// same parity as a pixel reach it: for row r and column 2m+b, those with u_p = r and u_q = b modulo 2. R rows
// of one parity, two apart, share the loads of their windows.
template <int L, int K, int D, bool add, int row_parity, int column_parity, int R>
LADARTS_INLINE void gather_rows_stride2(Plane g, const float* w, float* d_x, ptrdiff_t pitch, int row,
                                        int columns) {
  // Row row + 2i receives row (row - row_parity) / 2 + i - shift of g through the taps p of that shift.
  constexpr int most = (kFirst<K, D> + (K - 1) * D) / 2;
  const float* top = g.data + ptrdiff_t((row - row_parity) / 2 - most) * g.pitch + kHalo / 2;
  const RowStep step(g.pitch), out_step(2 * pitch);
  for (int j = 0; j < columns; j += L) {
    Vec<L> sum[R];
    walk_rows<R>(d_x + j, out_step, [&](int i, const float* at) LADARTS_INLINE_LAMBDA {
      sum[i] = add ? load<L>(at) : Vec<L>{};
    });
    unrolled<K>([&](int q) LADARTS_INLINE_LAMBDA {
      const int uq = kFirst<K, D> + q * D;
      if ((uq & 1) == column_parity)
        walk_rows<most + R>(top - (uq >> 1) + j, step, [&](int r, const float* at) LADARTS_INLINE_LAMBDA {
          Vec<L> v = load<L>(at);  // dropped where no tap uses it
          unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
            const int up = kFirst<K, D> + p * D, i = r - most + (up - row_parity) / 2;
            if ((up & 1) == row_parity && i >= 0 && i < R) sum[i] += v * splat<L>(w[p * K + q]);
          });
        });
    });
    walk_rows<R>(d_x + j, out_step, [&](int i, float* at) LADARTS_INLINE_LAMBDA { store<L>(at, sum[i]); });
  }
}

template <int L, int K, int D, bool add, int row_parity, int column_parity>
void gather_plane_stride2(Plane g, const float* w, float* d_x, ptrdiff_t pitch, int rows, int columns) {
  int row = kHalo + row_parity;  // kHalo is even
  auto groups = [&](auto r) {
    for (; row + 2 * (r - 1) < kHalo + rows; row += 2 * r)
      gather_rows_stride2<L, K, D, add, row_parity, column_parity, r>(g, w, d_x + row * pitch, pitch, row,
                                                                      columns);
  };
  groups(std::integral_constant<int, 8>());
  groups(std::integral_constant<int, 4>());
  groups(std::integral_constant<int, 1>());
}

// `g` points at the interior of its padded plane, `d_x` at the start of its plane. Meanwhile ahead.some()
// four times.
template <int L, int K, int D, bool add>
void depthwise_input_stride2(Plane g, const float* w, float* d_x, ptrdiff_t pitch, ptrdiff_t half, int rows,
                             int columns, FetchAhead& ahead) {
  float* const even = d_x + kHalo / 2;
  float* const odd = even + half;
  ahead.some();
  gather_plane_stride2<L, K, D, add, 0, 0>(g, w, even, pitch, rows, columns);
  ahead.some();
  gather_plane_stride2<L, K, D, add, 0, 1>(g, w, odd, pitch, rows, columns);
  ahead.some();
  gather_plane_stride2<L, K, D, add, 1, 0>(g, w, even, pitch, rows, columns);
  ahead.some();
  gather_plane_stride2<L, K, D, add, 1, 1>(g, w, odd, pitch, rows, columns);
}

}  // namespace
}  // namespace ladarts
