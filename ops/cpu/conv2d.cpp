#include "ops/conv2d.h"

#include "ops/conv2d_plan.h"
#include "ops/cpu/conv2d_kernels.h"
#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

namespace isa = LADARTS_ISA;

void conv2d_forward(const Conv2d& op, const KernelArgs& a) {
  const Conv2dGeometry g =
      conv2d_geometry(op.desc, a.in_shape(0), std::span(&a.in_shape(op.parts), size_t(op.outputs)));
  if (g.depthwise()) return isa::depthwise_forward(g, a);
  if (g.spatial()) return isa::spatial_forward(g, a);
  isa::dense_forward(g, op.parts, op.outputs, a);
}

void conv2d_grad_input(const Conv2dGradInput& op, const KernelArgs& a) {
  const Conv2dGeometry g =
      conv2d_geometry(op.desc, a.out_shape(0), std::span(&a.in_shape(op.outputs), size_t(op.outputs)));
  if (g.depthwise()) return isa::depthwise_grad_input(g, a);
  if (g.spatial() && g.stride == 1) return isa::spatial_grad_input(g, a);
  isa::dense_grad_input(g, op.parts, op.outputs, a);
}

void conv2d_grad_weight(const Conv2dGradWeight& op, const KernelArgs& a) {
  const Conv2dGeometry g =
      conv2d_geometry(op.desc, a.in_shape(op.outputs), std::span(&a.out_shape(0), size_t(op.outputs)));
  if (g.depthwise()) return isa::depthwise_grad_weight(g, a);
  if (g.spatial()) return isa::spatial_grad_weight(g, a);
  isa::dense_grad_weight(g, op.outputs, a);
}

constexpr int64_t kRowGrain = 256;  // columns of a matrix that one task sums

void bias_grad(const BiasGrad&, const KernelArgs& a) {
  const Shape& s = a.in_shape(0);
  const int64_t channels = s[1], pixels = s.elements() / (s[0] * s[1]);
  float* const d_bias = a.out(0);
  if (pixels == 1) {  // rows of a matrix
    if (!a.accumulate(0)) std::fill(d_bias, d_bias + channels, 0.f);
    for_chunks(*a.pool, channels, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t n = 0; n < s[0]; ++n) {
        const float* d_y = a.in(0) + n * channels;
#pragma omp simd
        for (int64_t c = begin; c < end; ++c) d_bias[c] += d_y[c];
      }
    });
    return;
  }
  a.pool->parallel_for(channels, [&](int64_t c, int) {
    float sum = 0;
    for (int64_t n = 0; n < s[0]; ++n) {
      const float* d_y = a.in(0) + (n * channels + c) * pixels;
      float part = 0;
#pragma omp simd reduction(+ : part)
      for (int64_t i = 0; i < pixels; ++i) part += d_y[i];
      sum += part;
    }
    float& d = d_bias[c];
    d = a.accumulate(0) ? d + sum : sum;
  });
}

LADARTS_CPU_KERNEL(Conv2d, conv2d_forward)
LADARTS_CPU_KERNEL(Conv2dGradInput, conv2d_grad_input)
LADARTS_CPU_KERNEL(Conv2dGradWeight, conv2d_grad_weight)
LADARTS_CPU_KERNEL(BiasGrad, bias_grad)

}  // namespace
}  // namespace ladarts
