// The tiles of one image in the backward pass of a separable stage with channels in blocks of kLanes: the
// steps of PlaneGradTiles, in the same memory.
#pragma once

#include "ops/cpu/blocked_tile.h"
#include "ops/cpu/separable_grad_planes.h"

namespace ladarts {
namespace {

class BlockedGradTiles {
 public:
  explicit BlockedGradTiles(const PlaneGradTiles& at)
      : p(at.p),
        first(at.first),
        count(at.count),
        blocked(p, at.count),
        u(at.u),
        d_u(at.d_u),
        t(at.t),
        g(at.g),
        h(at.h) {}

  int64_t calls(bool again, bool gradients) const {
    return int64_t(blocked.blocks) * ((again ? 3 : 2) * p.out_h + (gradients ? p.in_h : 0));
  }

  int64_t product_lines(const GradBranch&) const { return 0; }
  static constexpr bool kAtOnce = false;
  void load(const SeparableStage& op, const KernelArgs& a, int64_t n, int input, const GradInput&) {
    load_blocks(op, a, p, blocked, n, input, first, u);
  }
  void depthwise(const GradBranch& branch, FetchAhead& ahead) {
    with_kernel(branch.kernel, branch.dilation, p.stride, [&](auto k, auto d, auto s) {
      for (int b = 0; b < blocked.blocks; ++b)
        block_plane<k(), d(), s(), false, false>(plane(b), taps(branch, b), t + b * blocked.t_block,
                                                 ptrdiff_t(p.out_w) * kBlock, p.out_h, p.out_w, ahead);
    });
  }
  void pointwise_weight(const GradBranch& branch, float* d_w, bool add) {
    block_pointwise_weight({g, p.tile_stride, p.width}, t, branch.outputs, p.out_h, p.out_w, blocked,
                           d_w + first, p.c, add);
  }
  void pointwise(const GradBranch& branch, FetchAhead& ahead) {
    block_pointwise({g, p.tile_stride, p.width}, branch.pointwise + first, p.c, branch.outputs, p.out_h,
                    p.out_w, blocked, h + kHalo * (blocked.h_pitch + kBlock), ahead);
  }
  // d_w in blocks, (blocks of all channels, K * K, kBlock).
  void depthwise_gradients(const GradBranch& branch, float* d_w, bool add, InputGradient mode,
                           FetchAhead& ahead) {
    with_kernel(branch.kernel, branch.dilation, p.stride, [&](auto k, auto d, auto s) {
      for (int b = 0; b < blocked.blocks; ++b) {
        if (d_w)
          block_weight_plane<k(), d(), s()>(plane(b), inner(b), d_w + (first + b * kBlock) * k * k, p.out_h,
                                            p.out_w, add);
        if (mode == InputGradient::overwrite) input_gradient<k(), d(), s(), false>(branch, b, ahead);
        if (mode == InputGradient::add) input_gradient<k(), d(), s(), true>(branch, b, ahead);
      }
    });
  }
  void store(const GradInput& in) {
    const int64_t pixels = int64_t(p.in_h) * p.in_w;
    for (int b = 0; b < blocked.blocks; ++b) {
      const int c = first + b * kBlock;
      const BlockInputGradient at{blocked.inside_u(u, b),
                                  blocked.u_pitch,
                                  d_u + b * blocked.d_u_block,
                                  in.x + c * pixels,
                                  in.d_x ? in.d_x + c * pixels : nullptr,
                                  pixels,
                                  p.in_w,
                                  in.factors ? in.factors + c : nullptr,
                                  in.factors ? in.affine + p.c + c : nullptr};
      if (in.add) {
        finish_block<true>(at, in.d_scale + c, in.d_shift + c);
      } else {
        finish_block<false>(at, in.d_scale + c, in.d_shift + c);
      }
    }
  }

  const SeparablePlan& p;
  const int first, count;  // channels of x
  const BlockedPlan blocked;
  float *u, *d_u;  // padded, and without padding
  float *t, *g;    // t in blocks, g channel by channel
  float* h;        // padded, of output size

 private:
  BlockPlane plane(int b) const { return {u + b * blocked.u_block, blocked.u_pitch}; }
  BlockPlane inner(int b) const {
    return {h + b * blocked.h_block + kHalo * (blocked.h_pitch + kBlock), blocked.h_pitch};
  }
  const float* taps(const GradBranch& branch, int b) const {
    return branch.depthwise + (first + b * kBlock) * branch.kernel * branch.kernel;
  }
  template <int K, int D, int S, bool add>
  void input_gradient(const GradBranch& branch, int b, FetchAhead& ahead) {
    float* to = d_u + b * blocked.d_u_block;
    if constexpr (S == 1) {
      block_plane<K, D, 1, true, add>({h + b * blocked.h_block, blocked.h_pitch}, taps(branch, b), to,
                                      ptrdiff_t(p.in_w) * kBlock, p.in_h, p.in_w, ahead);
    } else {
      block_input_stride2<K, D, add>(inner(b), taps(branch, b), to, p.in_h, p.in_w, ahead);
    }
  }
};

}  // namespace
}  // namespace ladarts
