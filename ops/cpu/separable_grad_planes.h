// The tiles of one image in the backward pass of a separable stage, channel by channel in padded planes
// (ops/separable_plan.h). BlockedGradTiles (ops/cpu/separable_grad_blocks.h) serve the same steps.
#pragma once

#include <cstring>
#include <type_traits>

#include "ops/cpu/depthwise.h"
#include "ops/cpu/pointwise.h"
#include "ops/cpu/separable_groups.h"
#include "ops/cpu/separable_input.h"

namespace ladarts {
namespace {

// What depthwise_gradients() does about d_u: it is written or added to, for store() to turn it into d_x, or,
// of an input's only branch, d_x is written at once.
enum class InputGradient { none, overwrite, add, at_once };

struct GradBranch {
  int kernel, dilation, outputs;
  const float *depthwise, *pointwise;  // weights, the former as the tiles want them
};

// An image of an input and what it receives.
struct GradInput {
  const float* x;
  float* d_x;                // null: not wanted
  const float* affine;       // (2, channels); null: none
  const float* factors;      // of d_x (channels): affine's, or null: 1
  bool add;                  // to d_x
  float *d_scale, *d_shift;  // (channels): receive the sums of d * x and of d, d = d_u where u > 0
};

// Sums over a plane of d * x and d.
template <int L>
struct AffineSums {
  Vec<L> scale = {}, shift = {};
};

struct InputPlane {
  const float *u, *d_u;  // padded
  const float* x;
  float* d_x;  // null: sums alone
  float scale;
};

// d_x (+)= scale * d over rows without stride; W: their width, or 0.
template <int W, bool add>
inline void finish_rows(const SeparablePlan& p, InputPlane plane, float* d_scale, float* d_shift) {
  constexpr int L = kRowLanes<W>;
  const int width = W > 0 ? W : p.in_w;
  AffineSums<L> sums;
  const ptrdiff_t origin = kHalo * p.pitch + kHalo;
  for (int row = 0; row < p.in_h; ++row)
    for (int j = 0; j < width; j += L) {
      const int n = W > 0 || j + L <= width ? L : width - j;
      const ptrdiff_t padded = origin + ptrdiff_t(row) * p.pitch + j, at = ptrdiff_t(row) * width + j;
      auto read = [&](const float* from) { return n == L ? load<L>(from) : load_first<L>(from, n); };
      const Vec<L> d = read(plane.u + padded) > 0.f ? read(plane.d_u + padded) : Vec<L>{};
      sums.scale += d * read(plane.x + at);
      sums.shift += d;
      if (!plane.d_x) continue;
      Vec<L> d_x = d * plane.scale;
      if (add) d_x += read(plane.d_x + at);
      if (n == L) {
        store<L>(plane.d_x + at, d_x);
      } else {
        store_first<L>(plane.d_x + at, d_x, n);
      }
    }
  *d_scale += sum_lanes<L>(sums.scale);
  *d_shift += sum_lanes<L>(sums.shift);
}

// The same at stride 2, where even and odd columns lie apart; W > 0.
template <int W, bool add>
inline void finish_split_rows(const SeparablePlan& p, InputPlane plane, float* d_scale, float* d_shift) {
  constexpr int L = kHalfRowLanes<W>;
  AffineSums<L> sums;
  const ptrdiff_t origin = kHalo * p.pitch + kHalo / 2;
  for (int row = 0; row < p.in_h; ++row)
    for (int j = 0; j < W / 2; j += L) {
      const ptrdiff_t padded = origin + ptrdiff_t(row) * p.pitch + j, at = ptrdiff_t(row) * W + 2 * j;
      const float *u = plane.u + padded, *d_u = plane.d_u + padded, *x = plane.x + at;
      const Vec<L> even = load<L>(u) > 0.f ? load<L>(d_u) : Vec<L>{};
      const Vec<L> odd = load<L>(u + p.half) > 0.f ? load<L>(d_u + p.half) : Vec<L>{};
      const Vec<L> low = interleaved_low<L>(even, odd), high = interleaved_high<L>(even, odd);
      sums.scale += low * load<L>(x) + high * load<L>(x + L);
      sums.shift += even + odd;
      if (!plane.d_x) continue;
      float* d_x = plane.d_x + at;
      store<L>(d_x, low * plane.scale + (add ? load<L>(d_x) : Vec<L>{}));
      store<L>(d_x + L, high * plane.scale + (add ? load<L>(d_x + L) : Vec<L>{}));
    }
  *d_scale += sum_lanes<L>(sums.scale);
  *d_shift += sum_lanes<L>(sums.shift);
}

// The same for any width.
inline void finish_strided_rows(const SeparablePlan& p, InputPlane plane, bool add, float* d_scale,
                                float* d_shift) {
  float scale_sum = 0, shift_sum = 0;
  for (int row = 0; row < p.in_h; ++row)
    for_row_runs(p, row, [&](ptrdiff_t padded, ptrdiff_t at, int columns, int step) {
      for (int j = 0; j < columns; ++j) {
        const float d = plane.u[padded + j] > 0.f ? plane.d_u[padded + j] : 0.f;
        const ptrdiff_t i = at + j * step;
        scale_sum += d * plane.x[i];
        shift_sum += d;
        if (plane.d_x) plane.d_x[i] = add ? plane.d_x[i] + d * plane.scale : d * plane.scale;
      }
    });
  *d_scale += scale_sum;
  *d_shift += shift_sum;
}

class PlaneGradTiles {
 public:
  PlaneGradTiles(const SeparablePlan& plan, float* memory, ChannelGroup group)
      : p(plan),
        first(group.first),
        count(group.count),
        u(memory + ptrdiff_t(group.place) * p.plane),
        d_u(u + round_up(int64_t(p.c) * p.plane, 16)),
        t(memory + 2 * round_up(int64_t(p.c) * p.plane, 16) + ptrdiff_t(group.place) * p.tile_stride),
        g(t + ptrdiff_t(p.c - group.place) * p.tile_stride),
        h(g + int64_t(p.o) * p.tile_stride + ptrdiff_t(group.place) * p.g_plane),
        transposed(p.transposes && count >= kLanes
                       ? h - ptrdiff_t(group.place) * p.g_plane + round_up(int64_t(p.c) * p.g_plane, 16)
                       : nullptr) {}

  // How often ahead.some() is called, at least: by depthwise() if t is computed `again` and by input
  // gradients if they are; BlockedGradTiles call it in pointwise(), too.
  int64_t calls(bool again, bool gradients) const {
    const int64_t plane = depthwise_calls(p.out_h, p.width);
    return count * ((again ? plane : 0) + (!gradients ? 0 : p.stride == 2 ? 4 : plane));
  }
  // How many lines pointwise() takes at most.
  int64_t product_lines(const GradBranch&) const { return 0; }
  static constexpr bool kAtOnce = false;  // whether InputGradient::at_once is taken
  void load(const SeparableStage& op, const KernelArgs& a, int64_t n, int input, const GradInput&) {
    load_planes(op, a, p, n, input, first, count, u);
  }
  // t = depthwise(u).
  void depthwise(const GradBranch& b, FetchAhead& ahead) {
    for (int c = 0; c < count; ++c)
      depthwise_plane(b.kernel, b.dilation, p.stride, plane(c),
                      b.depthwise + (first + c) * b.kernel * b.kernel, t + ptrdiff_t(c) * p.tile_stride,
                      p.width, p.out_h, p.width, ahead);
  }
  // d_w (+)= g t'.
  void pointwise_weight(const GradBranch& b, float* d_w, bool add) {
    d_w += first;
    for (int o = 0; o < b.outputs && !add; ++o)
      std::memset(d_w + ptrdiff_t(o) * p.c, 0, size_t(count) * sizeof(float));
    pointwise_weight_tile(g, t, p.tile_stride, p.tile, count, b.outputs, transposed, d_w, p.c);
  }
  // h = pointwise' g.
  void pointwise(const GradBranch& b, FetchAhead&) {
    pointwise_tile({g, p.tile_stride, p.width}, {b.pointwise + first, 1, p.c}, b.outputs, count,
                   {h + kHalo * p.g_pitch + kHalo, p.g_plane, p.g_pitch}, p.out_h);
  }
  // d_w (+)= correlation of h and u, unless null; d_u (+)= turned depthwise of h.
  void depthwise_gradients(const GradBranch& b, float* d_w, bool add, InputGradient mode, FetchAhead& ahead) {
    const int all_taps = b.kernel * b.kernel;
    if (d_w) d_w += first * all_taps;
    if (d_w && !add) std::memset(d_w, 0, size_t(count * all_taps) * sizeof(float));
    with_kernel(b.kernel, b.dilation, [&](auto k, auto d) {
      with_tile_lanes(p.width, [&](auto l) {
        for (int c = 0; c < count; ++c) {
          if (d_w) weight_gradient<l(), k(), d()>(c, d_w + c * k * k);
          const float* taps = b.depthwise + (first + c) * k * k;
          if (mode == InputGradient::overwrite) input_gradient<l(), k(), d(), false>(c, taps, ahead);
          if (mode == InputGradient::add) input_gradient<l(), k(), d(), true>(c, taps, ahead);
        }
      });
    });
  }
  // d_x (+)= scale * d_u where u > 0.
  void store(const GradInput& in) {
    const int64_t pixels = int64_t(p.in_h) * p.in_w;
    for (int i = 0; i < count; ++i) {
      const int c = first + i;
      const InputPlane at{u + ptrdiff_t(i) * p.plane, d_u + ptrdiff_t(i) * p.plane, in.x + c * pixels,
                          in.d_x ? in.d_x + c * pixels : nullptr, in.factors ? in.factors[c] : 1.f};
      if (in.add) {
        finish_plane<true>(at, in.d_scale + c, in.d_shift + c);
      } else {
        finish_plane<false>(at, in.d_scale + c, in.d_shift + c);
      }
    }
  }

  const SeparablePlan& p;
  const int first, count;  // channels of x
  float *u, *d_u;          // padded planes
  float *t, *g;            // tiles
  float* h;                // padded planes of output size
  float* transposed;

 private:
  Plane plane(int c) const { return {u + ptrdiff_t(c) * p.plane, p.pitch, p.half}; }
  Plane inner(int c) const { return {h + ptrdiff_t(c) * p.g_plane + kHalo * p.g_pitch + kHalo, p.g_pitch}; }

  template <int L, int K, int D>
  void weight_gradient(int c, float* d_w) {
    if (p.stride == 1) {
      depthwise_weight_plane<L, K, D, 1>(plane(c), inner(c), d_w, p.out_h, p.width);
    } else {
      depthwise_weight_plane<L, K, D, 2>(plane(c), inner(c), d_w, p.out_h, p.width);
    }
  }
  template <int L, int K, int D, bool add>
  void input_gradient(int c, const float* taps, FetchAhead& ahead) {
    float* to = d_u + ptrdiff_t(c) * p.plane;
    if (p.stride == 1) {
      depthwise_plane<L, K, D, 1, true, add>({h + ptrdiff_t(c) * p.g_plane, p.g_pitch}, taps,
                                             to + kHalo * p.pitch + kHalo, p.pitch, p.out_h, p.width, ahead);
    } else {
      depthwise_input_stride2<L, K, D, add>(inner(c), taps, to, p.pitch, p.half, p.in_h, p.width, ahead);
    }
  }
  template <bool add>
  void finish_plane(const InputPlane& at, float* d_scale, float* d_shift) {
    with_row_width(p.in_w, [&](auto w) {
      if (p.stride == 1) {
        finish_rows<w(), add>(p, at, d_scale, d_shift);
      } else if constexpr (w() > 0) {
        finish_split_rows<w(), add>(p, at, d_scale, d_shift);
      } else {
        finish_strided_rows(p, at, add, d_scale, d_shift);
      }
    });
  }
};

}  // namespace
}  // namespace ladarts
