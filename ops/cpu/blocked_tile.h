// One image's tiles with channels in blocks of kLanes (ops/cpu/depthwise_blocked.h): what brings them there
// and back, and pointwise convolutions between them and tiles of whole channels.
#pragma once

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/cpu/depthwise_blocked.h"
#include "ops/cpu/transpose.h"
#include "ops/separable_plan.h"

namespace ladarts {
namespace {

// Floats from block to block and row to row of a stage's tiles, all in the memory planned for whole channels.
struct BlockedPlan {
  BlockedPlan(const SeparablePlan& p, int channels)
      : blocks(channels / kBlock),
        u_pitch(ptrdiff_t(p.in_w + 2 * kHalo) * kBlock),
        u_block((p.in_h + 2 * kHalo) * u_pitch),
        d_u_block(ptrdiff_t(p.in_h) * p.in_w * kBlock),
        t_block(ptrdiff_t(p.out_h) * p.out_w * kBlock),
        h_pitch(ptrdiff_t(p.out_w + 2 * kHalo) * kBlock),
        h_block((p.out_h + 2 * kHalo) * h_pitch) {}
  float* inside_u(float* u, int block) const { return u + block * u_block + kHalo * (u_pitch + kBlock); }

  int blocks;
  ptrdiff_t u_pitch, u_block, d_u_block, t_block, h_pitch, h_block;
};

// f(j, n, offset of pixel j + k as a function of k < n) for n = kBlock pixels at a time, the last time maybe
// fewer, of a padded plane's inside in rows of `width` pixels. Compiled for the widths of CIFAR networks too.
template <class F>
inline void for_pixel_groups(int64_t pixels, int width, ptrdiff_t pitch, F f) {
  auto walk = [&](auto run) {  // pixels of a group that lie in one row, or 0: any
    int64_t j = 0;
    ptrdiff_t row = 0, column = 0;
    for (; j + kBlock <= pixels && run() > 0; j += kBlock) {
      const ptrdiff_t at = row * pitch + column * kBlock;
      f(j, std::integral_constant<int, kBlock>(), [=](int k) {
        constexpr int in_row = run() > 0 ? run() : 1;
        return at + k / in_row * pitch + k % in_row * kBlock;
      });
      column += kBlock;
      if (column >= width) row += column / width, column = 0;
    }
    for (; j < pixels; j += kBlock)
      f(j, int(std::min<int64_t>(kBlock, pixels - j)),
        [j, width, pitch](int k) { return (j + k) / width * pitch + (j + k) % width * kBlock; });
  };
  if (width % kBlock == 0) {
    walk(std::integral_constant<int, kBlock>());
  } else if (width == 8 && pixels % kBlock == 0) {
    walk(std::integral_constant<int, 8>());
  } else {
    walk(std::integral_constant<int, 0>());
  }
}

// The inside of a block's padded plane = relu(scale * x + shift); x: kBlock channels of `pixels` floats, in
// rows of `width`.
inline void load_block(const float* x, int64_t pixels, int width, BlockVec scale, BlockVec shift,
                       float* inside, ptrdiff_t pitch) {
  for_pixel_groups(pixels, width, pitch, [&](int64_t j, int n, auto offset) {
    BlockVec block[kBlock];
#pragma GCC unroll 16
    for (int k = 0; k < kBlock; ++k) {
      const float* from = x + k * pixels + j;
      __builtin_prefetch(from + kBlock, 0, 3);
      block[k] = n == kBlock ? load<kBlock>(from) : load_first<kBlock>(from, n);
    }
    transpose(block);
#pragma GCC unroll 16
    for (int k = 0; k < kBlock; ++k)
      if (k < n) store<kBlock>(inside + offset(k), relu<kBlock>(block[k] * scale + shift));
  });
}

// All blocks of image n, from channel `first` on.
inline void load_blocks(const SeparableStage& op, const KernelArgs& a, const SeparablePlan& p,
                        const BlockedPlan& blocked, int64_t n, int input, int first, float* u) {
  const int64_t pixels = int64_t(p.in_h) * p.in_w;
  const float* x = a.in(input) + n * a.in_shape(input)[1] * pixels;
  const float* affine = op.reads_affine() ? a.in(op.affine_at(input)) : nullptr;
  for (int b = 0; b < blocked.blocks; ++b) {
    const int c = first + b * kBlock;
    const BlockVec scale = affine ? load<kBlock>(affine + c) : BlockVec{} + 1.f;
    const BlockVec shift = affine ? load<kBlock>(affine + p.c + c) : BlockVec{};
    load_block(x + c * pixels, pixels, p.in_w, scale, shift, blocked.inside_u(u, b), blocked.u_pitch);
  }
}

// Tiles of whole channels, `stride` floats apart, from a block's without padding.
inline void unblock(const float* block, int64_t pixels, float* to, ptrdiff_t stride) {
  for (int64_t j = 0; j < pixels; j += kBlock) {
    BlockVec rows[kBlock];
#pragma GCC unroll 16
    for (int k = 0; k < kBlock; ++k) rows[k] = load<kBlock>(block + (j + k) * kBlock);
    transpose(rows);
#pragma GCC unroll 16
    for (int k = 0; k < kBlock; ++k) store<kBlock>(to + k * stride + j, rows[k]);
  }
}

// What a block's channels of x receive.
struct BlockInputGradient {
  const float* u;  // inside of its padded plane
  ptrdiff_t pitch;
  const float* d_u;  // without padding
  const float* x;    // kBlock channels of `pixels` floats
  float* d_x;        // null: sums alone
  int64_t pixels;
  int width;
  const float *scale, *shift;  // of each channel; null: none, and no sums are wanted
};

// d_scale += sums of d * x. As u = scale * x + shift where d is not zero, sums of d * u give them, unless the
// shift would drown the rest.
inline void add_scale_sums(const BlockInputGradient& b, BlockVec u_sums, BlockVec shift_sums,
                           float* d_scale) {
  for (int k = 0; k < kBlock; ++k) {
    if (std::abs(b.shift[k]) < 64 * std::abs(b.scale[k])) {
      d_scale[k] += (u_sums[k] - b.shift[k] * shift_sums[k]) / b.scale[k];
      continue;
    }
    for (int64_t i = 0; i < b.pixels; ++i) {
      const float u = b.u[i / b.width * b.pitch + i % b.width * kBlock + k];
      if (u > 0.f) d_scale[k] += b.d_u[i * kBlock + k] * b.x[k * b.pixels + i];
    }
  }
}

// d_x (+)= scale * d, d = d_u where u > 0; d_scale += sums of d * x, d_shift += sums of d.
template <bool add>
inline void finish_block(const BlockInputGradient& b, float* d_scale, float* d_shift) {
  const BlockVec scale = b.scale ? load<kBlock>(b.scale) : BlockVec{} + 1.f;
  BlockVec u_sums = {}, shift_sums = {};
  for_pixel_groups(b.pixels, b.width, b.pitch, [&](int64_t j, int n, auto offset) {
    BlockVec block[kBlock];
#pragma GCC unroll 16
    for (int k = 0; k < kBlock; ++k) {
      block[k] = BlockVec{};
      if (k >= n) continue;
      const BlockVec u = load<kBlock>(b.u + offset(k)), d_u = load<kBlock>(b.d_u + (j + k) * kBlock),
                     d = u > 0.f ? d_u : BlockVec{};
      u_sums += d * u;
      shift_sums += d;
      block[k] = d * scale;
    }
    if (!b.d_x) return;
    transpose(block);
#pragma GCC unroll 16
    for (int k = 0; k < kBlock; ++k) {
      float* const d_x = b.d_x + k * b.pixels + j;
      __builtin_prefetch(d_x + kBlock, 0, 3);
      if (n == kBlock) {
        store<kBlock>(d_x, add ? block[k] + load<kBlock>(d_x) : block[k]);
      } else {
        store_first<kBlock>(d_x, add ? block[k] + load_first<kBlock>(d_x, n) : block[k], n);
      }
    }
  });
  if (!b.scale) return;
  add_scale_sums(b, u_sums, shift_sums, d_scale);
  store<kBlock>(d_shift, load<kBlock>(d_shift) + shift_sums);
}

// Taps of all blocks, (K * K, kBlock) each, from weights (channels, K, K) of `taps` = K * K floats; and back.
inline void block_taps(const float* w, int blocks, int taps, float* to) {
  for (int b = 0; b < blocks; ++b)
    transpose(w + b * kBlock * taps, taps, kBlock, taps, to + b * kBlock * taps, kBlock);
}

inline void unblock_taps(const float* blocked, int blocks, int taps, float* to, bool add) {
  for (int b = 0; b < blocks; ++b, blocked += kBlock * taps, to += kBlock * taps)
    for (int t = 0; t < taps; ++t)
      for (int c = 0; c < kBlock; ++c)
        to[c * taps + t] = blocked[t * kBlock + c] + (add ? to[c * taps + t] : 0.f);
}

// Depthwise weights of a stage's branches as its tiles want them: as they are or, in `memory`, with the first
// `blocked` channels in blocks.
class TileWeights {
 public:
  TileWeights(const SeparableStage& op, const KernelArgs& a, int blocked, float* memory)
      : op_(op), a_(a), blocks_(blocked > 0 ? memory : nullptr) {
    if (blocked == 0) return;
    a.pool->parallel_for(int64_t(op.branches.size()), [&](int64_t b, int) {
      const int at = op.weights_at(int(b)), taps = int(a.in_shape(at)[2] * a.in_shape(at)[3]);
      float* const to = memory + before(int(b));
      block_taps(a.in(at), blocked / kBlock, taps, to);
      std::copy(a.in(at) + blocked * taps, a.in(at) + a.in_shape(at).elements(), to + blocked * taps);
    });
  }
  const float* depthwise(int branch) const {
    return blocks_ ? blocks_ + before(branch) : a_.in(op_.weights_at(branch));
  }

 private:
  // Floats of the branches before it.
  int64_t before(int branch) const {
    int64_t floats = 0;
    for (int b = 0; b < branch; ++b) floats += a_.in_shape(op_.weights_at(b)).elements();
    return floats;
  }
  const SeparableStage& op_;
  const KernelArgs& a_;
  const float* blocks_;
};

// f(first block, B as a constant) for all blocks, in groups as large as registers allow.
template <class F>
inline void for_block_groups(int blocks, F f) {
  int b = 0;
  if constexpr (kManyRegisters)
    for (; b + 4 <= blocks; b += 4) f(b, std::integral_constant<int, 4>());
  for (; b + 2 <= blocks; b += 2) f(b, std::integral_constant<int, 2>());
  if (b < blocks) f(b, std::integral_constant<int, 1>());
}
// Sums that stay in registers.
constexpr int kBlockSums = kManyRegisters ? 16 : 8;

// h[b][pixel] = sum over o of g[o][pixel] * w[o][channels of b] for P pixels and B blocks.
template <int P, int B>
LADARTS_INLINE void block_pointwise_pixels(const float* g, ptrdiff_t g_channel, const float* w,
                                           ptrdiff_t w_row, int outputs, float* h, ptrdiff_t h_block) {
  BlockVec sum[P][B] = {};
  for (int o = 0; o < outputs; ++o, g += g_channel, w += w_row) {
    BlockVec weight[B];
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) weight[b] = load<kBlock>(w + b * kBlock);
#pragma GCC unroll 16
    for (int k = 0; k < P; ++k)
#pragma GCC unroll 16
      for (int b = 0; b < B; ++b) sum[k][b] += weight[b] * g[k];
  }
#pragma GCC unroll 16
  for (int k = 0; k < P; ++k)
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) store<kBlock>(h + b * h_block + k * kBlock, sum[k][b]);
}

// Tiles of whole channels, (channels, rows, columns).
struct ChannelTile {
  const float* data;
  ptrdiff_t channel, pitch;
};

// The same for a row of pixels: P at a time, the rest in halves of that.
template <int P, int B>
__attribute__((noinline)) void block_pointwise_row(const float* g, ptrdiff_t g_channel, const float* w,
                                                   ptrdiff_t w_row, int outputs, float* h, ptrdiff_t h_block,
                                                   int columns) {
  int j = 0;
  for (; j + P <= columns; j += P)
    block_pointwise_pixels<P, B>(g + j, g_channel, w, w_row, outputs, h + j * kBlock, h_block);
  if constexpr (P > 1)
    if (j < columns)
      block_pointwise_row<P / 2, B>(g + j, g_channel, w, w_row, outputs, h + j * kBlock, h_block,
                                    columns - j);
}

// h = w' g: g (outputs, rows, columns), w (outputs, channels of all blocks) in rows of w_row floats, h the
// inside of padded planes of all blocks. Meanwhile ahead.some() twice for each row of a block.
inline void block_pointwise(ChannelTile g, const float* w, ptrdiff_t w_row, int outputs, int rows,
                            int columns, const BlockedPlan& plan, float* h, FetchAhead& ahead) {
  for (int r = 0; r < rows; ++r) {
    ahead.some(2 * plan.blocks);
    for_block_groups(plan.blocks, [&](int b, auto B) {
      block_pointwise_row<kBlockSums / B(), B()>(g.data + r * g.pitch, g.channel, w + b * kBlock, w_row,
                                                 outputs, h + b * plan.h_block + r * plan.h_pitch,
                                                 plan.h_block, columns);
    });
  }
}

// d_w[o][channels of b] (+)= sum over pixels of g[o] * t[b] for O outputs and B blocks.
template <int O, int B>
__attribute__((noinline)) void block_pointwise_weights(ChannelTile g, const float* t, ptrdiff_t t_block,
                                                       int rows, int columns, float* d_w, ptrdiff_t d_w_row,
                                                       bool add) {
  const RowStep step(g.channel);
  BlockVec sum[O][B];
#pragma GCC unroll 16
  for (int o = 0; o < O; ++o)
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) sum[o][b] = add ? load<kBlock>(d_w + o * d_w_row + b * kBlock) : BlockVec{};
  for (int r = 0; r < rows; ++r) {
    const float* from = g.data + r * g.pitch;
    for (int j = 0; j < columns; ++j, t += kBlock) {
      BlockVec v[B];
#pragma GCC unroll 16
      for (int b = 0; b < B; ++b) v[b] = load<kBlock>(t + b * t_block);
      walk_rows<O>(from + j, step, [&](int o, const float* at) LADARTS_INLINE_LAMBDA {
        unrolled<B>([&](int b) LADARTS_INLINE_LAMBDA { sum[o][b] += v[b] * *at; });
      });
    }
  }
#pragma GCC unroll 16
  for (int o = 0; o < O; ++o)
#pragma GCC unroll 16
    for (int b = 0; b < B; ++b) store<kBlock>(d_w + o * d_w_row + b * kBlock, sum[o][b]);
}

// d_w (outputs, channels of all blocks) (+)= g t', its rows d_w_row apart: g (outputs, rows, columns), t the
// tiles of all blocks without padding.
inline void block_pointwise_weight(ChannelTile g, const float* t, int outputs, int rows, int columns,
                                   const BlockedPlan& plan, float* d_w, ptrdiff_t d_w_row, bool add) {
  for_block_groups(plan.blocks, [&](int b, auto B) {
    constexpr int O = kBlockSums / B();
    int o = 0;
    auto run = [&](auto count) {
      block_pointwise_weights<count(), B()>({g.data + o * g.channel, g.channel, g.pitch},
                                            t + b * plan.t_block, plan.t_block, rows, columns,
                                            d_w + o * d_w_row + b * kBlock, d_w_row, add);
    };
    for (; o + O <= outputs; o += O) run(std::integral_constant<int, O>());
    for (; o < outputs; ++o) run(std::integral_constant<int, 1>());
  });
}

}  // namespace
}  // namespace ladarts
