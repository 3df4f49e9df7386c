// The tiles of one image in the backward pass of a separable stage whose images are read where they lie
// (ops/cpu/depthwise_direct.h): the steps of PlaneGradTiles, in the same memory, without borders.
#pragma once

#include "ops/cpu/depthwise_direct.h"
#include "ops/cpu/separable_grad_planes.h"

namespace ladarts {
namespace {

// d_x (+)= scale * d where d_x is wanted, d = d_u where u > 0, over whole vectors; the sums of d * x and d
// are added to d_scale and d_shift.
template <bool add, class Pixels>
inline void finish_image(const float* x, Pixels u, int64_t floats, const float* d_u, float scale, float* d_x,
                         float* d_scale, float* d_shift) {
  AffineSums<kLanes> sums;
  for (int64_t j = 0; j < floats; j += kLanes) {
    const Vec<kLanes> v = load<kLanes>(x + j);
    const Vec<kLanes> d = u.template of<kLanes>(v) > 0.f ? load<kLanes>(d_u + j) : Vec<kLanes>{};
    sums.scale += d * v;
    sums.shift += d;
    if (d_x) store<kLanes>(d_x + j, d * scale + (add ? load<kLanes>(d_x + j) : Vec<kLanes>{}));
  }
  *d_scale += sum_lanes<kLanes>(sums.scale);
  *d_shift += sum_lanes<kLanes>(sums.shift);
}

class DirectGradTiles {
 public:
  explicit DirectGradTiles(const PlaneGradTiles& at)
      : p(at.p), first(at.first), count(at.count), planes(at), d_u(at.d_u), g(at.g) {}

  int64_t calls(bool again, bool gradients) const { return planes.calls(again, gradients); }
  int64_t product_lines(const GradBranch& b) const { return pointwise_lines(b.outputs, count, p.tile); }
  static constexpr bool kAtOnce = true;
  void load(const SeparableStage&, const KernelArgs&, int64_t, int, const GradInput& input) { in = input; }
  void depthwise(const GradBranch& b, FetchAhead& ahead) {
    with_direct_size(p.in_w, b.kernel, b.dilation, [&](auto l, auto v, auto k, auto d) {
      for (int c = 0; c < count; ++c)
        with_pixels(c, [&](auto u) {
          direct_plane<l(), v(), k(), d(), false, false>(image(c), u, taps<k()>(b, c),
                                                         planes.t + ptrdiff_t(c) * p.tile_stride, ahead);
        });
    });
  }
  void pointwise_weight(const GradBranch& b, float* d_w, bool add) { planes.pointwise_weight(b, d_w, add); }
  void pointwise(const GradBranch& b, FetchAhead& ahead) {
    pointwise_tile_asking(ahead, {g, p.tile_stride, p.width}, {b.pointwise + first, 1, p.c}, b.outputs, count,
                          {planes.h, p.tile_stride, p.width}, p.out_h);
  }
  void depthwise_gradients(const GradBranch& b, float* d_w, bool add, InputGradient mode, FetchAhead& ahead) {
    const int all_taps = b.kernel * b.kernel;
    if (d_w) d_w += first * all_taps;
    if (d_w && !add) std::memset(d_w, 0, size_t(count * all_taps) * sizeof(float));
    with_direct_size(p.in_w, b.kernel, b.dilation, [&](auto l, auto v, auto k, auto d) {
      for (int c = 0; c < count; ++c) {
        const DirectImage h{planes.h + ptrdiff_t(c) * p.tile_stride, p.in_h};
        if (d_w)
          with_pixels(
              c, [&](auto u) { direct_weight_plane<l(), v(), k(), d()>(image(c), u, h.x, d_w + c * k * k); });
        if (mode == InputGradient::at_once && in.d_x)
          input_gradient<l(), v(), k(), d()>(h, taps<k()>(b, c), c, ahead);
        float* const to = d_u + ptrdiff_t(c) * p.tile_stride;
        if (mode == InputGradient::overwrite)
          direct_plane<l(), v(), k(), d(), true, false>(h, PlainPixels(), taps<k()>(b, c), to, ahead);
        if (mode == InputGradient::add)
          direct_plane<l(), v(), k(), d(), true, true>(h, PlainPixels(), taps<k()>(b, c), to, ahead);
      }
    });
  }
  void store(const GradInput&) {
    for (int i = 0; i < count; ++i) {
      const int c = first + i;
      const float* const from = d_u + ptrdiff_t(i) * p.tile_stride;
      with_pixels(i, [&](auto u) {
        if (in.add) {
          finish_image<true>(x(i), u, p.tile, from, factor(i), d_x(i), in.d_scale + c, in.d_shift + c);
        } else {
          finish_image<false>(x(i), u, p.tile, from, factor(i), d_x(i), in.d_scale + c, in.d_shift + c);
        }
      });
    }
  }

  const SeparablePlan& p;
  const int first, count;  // channels of x
  PlaneGradTiles planes;   // whose t and h are taken, rows without gaps
  float *d_u, *g;          // tiles
  GradInput in{};

 private:
  // Of channel c of the group.
  const float* x(int c) const { return in.x + (first + c) * p.tile; }
  float* d_x(int c) const { return in.d_x ? in.d_x + (first + c) * p.tile : nullptr; }
  float factor(int c) const { return in.factors ? in.factors[first + c] : 1.f; }
  DirectImage image(int c) const { return {x(c), p.in_h}; }
  template <int K>
  const float* taps(const GradBranch& b, int c) const {
    return b.depthwise + (first + c) * K * K;
  }
  NormalisedPixels normalised(int c) const {
    return in.affine ? NormalisedPixels{in.affine[first + c], in.affine[p.c + first + c]}
                     : NormalisedPixels{1.f, 0.f};
  }
  template <class F>
  void with_pixels(int c, F f) const {
    in.affine ? f(normalised(c)) : f(RectifiedPixels());
  }
  // d_x at once.
  template <int L, int V, int K, int D>
  void input_gradient(DirectImage h, const float* w, int c, FetchAhead& ahead) const {
    float *const d_scale = in.d_scale + first + c, *const d_shift = in.d_shift + first + c;
    if (in.add) {
      direct_gradient_plane<L, V, K, D, true>(h, w, x(c), normalised(c), factor(c), d_x(c), d_scale, d_shift,
                                              ahead);
    } else {
      direct_gradient_plane<L, V, K, D, false>(h, w, x(c), normalised(c), factor(c), d_x(c), d_scale, d_shift,
                                               ahead);
    }
  }
};

}  // namespace
}  // namespace ladarts
