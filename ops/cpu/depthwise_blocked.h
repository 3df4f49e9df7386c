// Depthwise convolutions with channels in blocks of kLanes: a pixel of a block is one aligned vector, so no
// window lies across cache lines, no sum crosses lanes, and small images cost what large ones do. Planes of a
// block: row to row `pitch` floats, pixel to pixel kLanes. K kernel side, D dilation, S stride.
#pragma once

#include "ops/cpu/depthwise_loops.h"
#include "ops/cpu/fetch_ahead.h"

namespace ladarts {
namespace {

constexpr int kBlock = kLanes;
using BlockVec = Vec<kBlock>;

struct BlockPlane {
  const float* data;
  ptrdiff_t pitch;
};

// P pixels of a row of y, from the padded planes x: row `x` is the first that taps read.
template <int K, int D, int S, bool turned, bool add, int P>
LADARTS_INLINE void block_pixels(const float* x, ptrdiff_t x_pitch, const float* taps, float* y) {
  constexpr int reach = (P - 1) * S + (K - 1) * D + 1;
  BlockVec sum[P];
  unrolled<P>([&](int k) LADARTS_INLINE_LAMBDA { sum[k] = add ? load<kBlock>(y + k * kBlock) : BlockVec{}; });
  unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
    BlockVec tap[K];
    unrolled<K>([&](int q) LADARTS_INLINE_LAMBDA {
      const int at = p * K + q;
      tap[q] = load<kBlock>(taps + (turned ? K * K - 1 - at : at) * kBlock);
      hold_in_register<kBlock>(tap[q]);
    });
    const float* row = x + p * D * x_pitch + kFirst<K, D> * kBlock;
    asm("" : "+r"(row));
    unrolled<reach>([&](int u) LADARTS_INLINE_LAMBDA {
      BlockVec v = load<kBlock>(row + u * kBlock);
      hold_in_register<kBlock>(v);
      unrolled<K>([&](int q) LADARTS_INLINE_LAMBDA {
        const int k = u - q * D;
        if (k >= 0 && k % S == 0 && k / S < P) sum[k / S] += v * tap[q];
      });
    });
  });
  unrolled<P>([&](int k) LADARTS_INLINE_LAMBDA { store<kBlock>(y + k * kBlock, sum[k]); });
}

// Pixels of a row that are computed at once.
constexpr int kBlockPixels = 8;

// y (rows, columns; unpadded or the inside of a plane) = the convolution of one block's padded plane, or the
// sum of both. Meanwhile ahead.some() for each row.
template <int K, int D, int S, bool turned, bool add>
__attribute__((noinline)) void block_plane(BlockPlane x, const float* taps, float* y, ptrdiff_t y_pitch,
                                           int rows, int columns, FetchAhead& ahead) {
  constexpr int P = kBlockPixels;
  for (int i = 0; i < rows; ++i) {
    ahead.some();
    const float* from = x.data + (kFirst<K, D> + i * S) * x.pitch;
    float* to = y + i * y_pitch;
    int j = 0;
    for (; j + P <= columns; j += P)
      block_pixels<K, D, S, turned, add, P>(from + j * S * kBlock, x.pitch, taps, to + j * kBlock);
    for (; j < columns; ++j)
      block_pixels<K, D, S, turned, add, 1>(from + j * S * kBlock, x.pitch, taps, to + j * kBlock);
  }
}

// sum[p * Q + q - first] += g * x for J pixels of a row and the Q columns q of the kernel from `first` on.
template <int K, int D, int S, int first, int Q, int J>
LADARTS_INLINE void block_weight_pixels(const float* x, ptrdiff_t x_pitch, const float* g,
                                        BlockVec (&sum)[K * Q]) {
  constexpr int reach = (J - 1) * S + (Q - 1) * D + 1;
  BlockVec d[J];
  unrolled<J>([&](int j) LADARTS_INLINE_LAMBDA {
    d[j] = load<kBlock>(g + j * kBlock);
    hold_in_register<kBlock>(d[j]);
  });
  unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
    const float* row = x + p * D * x_pitch + (kFirst<K, D> + first * D) * kBlock;
    asm("" : "+r"(row));
    unrolled<reach>([&](int u) LADARTS_INLINE_LAMBDA {
      BlockVec v = load<kBlock>(row + u * kBlock);
      if constexpr (kManyRegisters) hold_in_register<kBlock>(v);
      unrolled<J>([&](int j) LADARTS_INLINE_LAMBDA {
        const int q = u - j * S;
        if (q >= 0 && q % D == 0 && q / D < Q) sum[p * Q + q / D] += v * d[j];
      });
    });
  });
}

template <int K, int D, int S, int first, int Q>
LADARTS_INLINE void block_weight_columns(BlockPlane x, BlockPlane g, float* d_taps, int rows, int columns,
                                         bool add) {
  constexpr int J = K == 3 ? 4 : 2;
  BlockVec sum[K * Q];
  unrolled<K * Q>([&](int t) LADARTS_INLINE_LAMBDA {
    sum[t] = add ? load<kBlock>(d_taps + (t / Q * K + first + t % Q) * kBlock) : BlockVec{};
  });
  for (int i = 0; i < rows; ++i) {
    const float* from = x.data + (kFirst<K, D> + i * S) * x.pitch;
    const float* d = g.data + i * g.pitch;
    int j = 0;
    for (; j + J <= columns; j += J)
      block_weight_pixels<K, D, S, first, Q, J>(from + j * S * kBlock, x.pitch, d + j * kBlock, sum);
    for (; j < columns; ++j)
      block_weight_pixels<K, D, S, first, Q, 1>(from + j * S * kBlock, x.pitch, d + j * kBlock, sum);
  }
  unrolled<K * Q>([&](int t) LADARTS_INLINE_LAMBDA {
    store<kBlock>(d_taps + (t / Q * K + first + t % Q) * kBlock, sum[t]);
  });
}

// d_taps (K * K, kBlock) (+)= sum over i, j of g[i][j] * x[i*S + p*D][j*S + q*D]; `g` points at the interior
// of its plane. The sums of a 5x5 kernel fill 32 registers; with 16 its columns take turns.
template <int K, int D, int S>
__attribute__((noinline)) void block_weight_plane(BlockPlane x, BlockPlane g, float* d_taps, int rows,
                                                  int columns, bool add) {
  if constexpr (K == 3 || kManyRegisters) {
    block_weight_columns<K, D, S, 0, K>(x, g, d_taps, rows, columns, add);
  } else {
    block_weight_columns<K, D, S, 0, 2>(x, g, d_taps, rows, columns, add);
    block_weight_columns<K, D, S, 2, 2>(x, g, d_taps, rows, columns, add);
    block_weight_columns<K, D, S, 4, 1>(x, g, d_taps, rows, columns, add);
  }
}

// What P pixels of a row of x receive at stride 2, two apart from one of parity `column` on: from rows of
// gradients that lie `g_pitch` apart upwards, through taps of rows p of parity `row` and as many columns.
template <int K, int D, bool add, int row_parity, int column_parity, int P>
LADARTS_INLINE void block_gather_stride2(const float* g, ptrdiff_t g_pitch, const float* taps, float* d_x) {
  constexpr int pad = D * (K - 1) / 2;
  BlockVec sum[P];
  unrolled<P>([&](int k)
                  LADARTS_INLINE_LAMBDA { sum[k] = add ? load<kBlock>(d_x + 2 * k * kBlock) : BlockVec{}; });
  unrolled<K * K>([&](int t) LADARTS_INLINE_LAMBDA {
    const int row = row_parity + pad - t / K * D, column = column_parity + pad - t % K * D;
    if (row % 2 == 0 && column % 2 == 0) {
      const BlockVec tap = load<kBlock>(taps + t * kBlock);
      const float* from = g + row / 2 * g_pitch + column / 2 * kBlock;
      unrolled<P>([&](int k) LADARTS_INLINE_LAMBDA { sum[k] += load<kBlock>(from + k * kBlock) * tap; });
    }
  });
  unrolled<P>([&](int k) LADARTS_INLINE_LAMBDA { store<kBlock>(d_x + 2 * k * kBlock, sum[k]); });
}

template <int K, int D, bool add, int row_parity>
LADARTS_INLINE void block_input_row_stride2(const float* g, ptrdiff_t g_pitch, const float* taps, float* d_x,
                                            int columns) {
  constexpr int P = kBlockPixels;
  int m = 0;  // pixels 2m and 2m + 1
  for (; 2 * (m + P) <= columns; m += P) {
    block_gather_stride2<K, D, add, row_parity, 0, P>(g + m * kBlock, g_pitch, taps, d_x + 2 * m * kBlock);
    block_gather_stride2<K, D, add, row_parity, 1, P>(g + m * kBlock, g_pitch, taps,
                                                      d_x + (2 * m + 1) * kBlock);
  }
  for (; 2 * m < columns; ++m) {
    block_gather_stride2<K, D, add, row_parity, 0, 1>(g + m * kBlock, g_pitch, taps, d_x + 2 * m * kBlock);
    if (2 * m + 1 < columns)
      block_gather_stride2<K, D, add, row_parity, 1, 1>(g + m * kBlock, g_pitch, taps,
                                                        d_x + (2 * m + 1) * kBlock);
  }
}

// Gradient of a stride-2 depthwise convolution's input, d_x (rows, columns) without padding; `g` points at
// the interior of its plane. Meanwhile ahead.some() for each row.
template <int K, int D, bool add>
__attribute__((noinline)) void block_input_stride2(BlockPlane g, const float* taps, float* d_x, int rows,
                                                   int columns, FetchAhead& ahead) {
  for (int i = 0; i < rows; ++i, d_x += columns * kBlock) {
    ahead.some();
    const float* from = g.data + i / 2 * g.pitch;
    if (i % 2 == 0) {
      block_input_row_stride2<K, D, add, 0>(from, g.pitch, taps, d_x, columns);
    } else {
      block_input_row_stride2<K, D, add, 1>(from, g.pitch, taps, d_x, columns);
    }
  }
}

}  // namespace
}  // namespace ladarts
