// The tiles of one image in the backward pass of a separable stage whose images are read where they lie
// (ops/cpu/depthwise_direct.h): the steps of PlaneGradTiles, in the same memory, without borders.
#pragma once

#include "ops/cpu/depthwise_direct.h"
#include "ops/cpu/separable_grad_planes.h"

namespace ladarts {
namespace {

// d_x (+)= scale * d where d_x is wanted, d = d_u where u > 0, over whole vectors; the sums of d * x and d are
// added to d_scale and d_shift.
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
  void load(const SeparableStage& op, const KernelArgs& a, int64_t n, int input) {
    x = a.in(input) + (n * a.in_shape(input)[1] + first) * p.tile;
    affine = op.has_affine ? a.in(op.affine_at(input)) + first : nullptr;
  }
  void depthwise(const GradBranch& b, FetchAhead& ahead) {
    with_direct_size(p.in_w, b.kernel, b.dilation, [&](auto l, auto v, auto k, auto d) {
      for (int c = 0; c < count; ++c)
        with_pixels(c, [&](auto u) {
          direct_plane<l(), v(), k(), d(), false, false>(image(x, c, p.tile), u, taps<k()>(b, c),
                                                         planes.t + ptrdiff_t(c) * p.tile_stride, ahead);
        });
    });
  }
  void pointwise_weight(const GradBranch& b, float* d_w, bool add) { planes.pointwise_weight(b, d_w, add); }
  void pointwise(const GradBranch& b, FetchAhead&) {
    pointwise_tile({g, p.tile_stride, p.width}, {b.pointwise + first, 1, p.c}, b.outputs, count,
                   {planes.h, p.tile_stride, p.width}, p.out_h);
  }
  void depthwise_gradients(const GradBranch& b, float* d_w, bool add, InputGradient mode, FetchAhead& ahead) {
    const int all_taps = b.kernel * b.kernel;
    if (d_w) d_w += first * all_taps;
    if (d_w && !add) std::memset(d_w, 0, size_t(count * all_taps) * sizeof(float));
    with_direct_size(p.in_w, b.kernel, b.dilation, [&](auto l, auto v, auto k, auto d) {
      for (int c = 0; c < count; ++c) {
        const DirectImage h = image(planes.h, c, p.tile_stride);
        if (d_w)
          with_pixels(c, [&](auto u) {
            direct_weight_plane<l(), v(), k(), d()>(image(x, c, p.tile), u, h.x, d_w + c * k * k);
          });
        float* const to = d_u + ptrdiff_t(c) * p.tile_stride;
        if (mode == InputGradient::overwrite)
          direct_plane<l(), v(), k(), d(), true, false>(h, PlainPixels(), taps<k()>(b, c), to, ahead);
        if (mode == InputGradient::add)
          direct_plane<l(), v(), k(), d(), true, true>(h, PlainPixels(), taps<k()>(b, c), to, ahead);
      }
    });
  }
  void store(const GradInput& in, float* d_scale, float* d_shift) {
    for (int i = 0; i < count; ++i) {
      const int c = first + i;
      const float* const from = d_u + ptrdiff_t(i) * p.tile_stride;
      float* const d_x = in.d_x ? in.d_x + c * p.tile : nullptr;
      with_pixels(i, [&](auto u) {
        const float scale = affine ? affine[i] : 1.f;
        if (in.add) {
          finish_image<true>(in.x + c * p.tile, u, p.tile, from, scale, d_x, d_scale + c, d_shift + c);
        } else {
          finish_image<false>(in.x + c * p.tile, u, p.tile, from, scale, d_x, d_scale + c, d_shift + c);
        }
      });
    }
  }

  const SeparablePlan& p;
  const int first, count;  // channels of x
  PlaneGradTiles planes;   // whose t and h are taken, rows without gaps
  float *d_u, *g;          // tiles
  const float* x = nullptr;
  const float* affine = nullptr;  // (2, channels of x), from `first` on; null: none

 private:
  DirectImage image(const float* from, int c, ptrdiff_t stride) const {
    return {from + ptrdiff_t(c) * stride, p.in_h};
  }
  template <int K>
  const float* taps(const GradBranch& b, int c) const {
    return b.depthwise + (first + c) * K * K;
  }
  template <class F>
  void with_pixels(int c, F f) const {
    affine ? f(NormalisedPixels{affine[c], affine[p.c + c]}) : f(RectifiedPixels());
  }
};

}  // namespace
}  // namespace ladarts
