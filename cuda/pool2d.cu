#include "cuda/pool2d.cuh"

#include "cuda/gradient_sum.cuh"
#include "cuda/kernel.h"
#include "ops/pool2d.h"

namespace ladarts::cuda {
namespace {

void pool(const Pool2d& op, const KernelArgs& a) {
  const PoolWindow w = window_of(op.desc, a.in_shape(0), a.out_shape(0));
  const int64_t n = a.out_shape(0).elements();
  const bool max = op.kind != PoolKind::average;
  if (max) elementwise(Pooled{w, a.in(0), true}, a.out(0), n, false, a.stream);
  if (op.kind != PoolKind::max)
    elementwise(Pooled{w, a.in(0), false}, a.out(max ? 1 : 0), n, false, a.stream);
}

// Scratch: a gradient that is a sum, what the pool wrote, the index of each maximum.
struct PoolGradScratch {
  size_t gradient = 0, pooled = 0, index = 0;  // bytes
  PoolGradScratch(const Pool2dGrad& op, int64_t elements) {
    const size_t bytes = (size_t(elements) * sizeof(float) + 63) / 64 * 64;
    for (const GradientSum* sum : {&op.d_max, &op.d_average}) {
      if (sum->size() > 1 || (sum->size() == 1 && (*sum)[0].factors >= 0)) gradient = bytes;
      if (Pool2dGrad::has_pooled(*sum)) pooled = bytes;
    }
    if (!op.d_max.empty()) index = size_t(elements) * sizeof(int);
  }
};

// Its parts one after the other; each adds to what is there.
void pool_grad(const Pool2dGrad& op, const KernelArgs& a) {
  const Shape &x = a.out_shape(0), y = op.pooled(x);
  const PoolWindow w = window_of(op.desc, x, y);
  const PoolGradScratch bytes(op, y.elements());
  float* const own = reinterpret_cast<float*>(a.workspace + bytes.gradient);
  bool add = a.accumulate(0);
  auto gradient = [&](const GradientSum& sum) {
    return gathered(sum, a, y[0], y[1], y[2] * y[3], reinterpret_cast<float*>(a.workspace), own);
  };
  if (!op.late.empty()) {
    sum_terms(term_operands(op.late, a, x[1]), x[0], x[1], x[2] * x[3], a.out(0), add, a.stream);
    add = true;
  }
  if (!op.d_max.empty()) {
    if (Pool2dGrad::has_pooled(op.d_max))
      elementwise(Pooled{w, a.in(op.x), true}, own, y.elements(), false, a.stream);
    const float* d_y = gradient(op.d_max);
    int* const index = reinterpret_cast<int*>(a.workspace + bytes.gradient + bytes.pooled);
    for_each(MaximumIndex{w, a.in(op.x), index}, y.elements(), a.stream);
    elementwise(MaxPooledGrad{w, d_y, index}, a.out(0), x.elements(), add, a.stream);
    add = true;
  }
  if (!op.d_average.empty()) {
    if (Pool2dGrad::has_pooled(op.d_average))
      elementwise(Pooled{w, a.in(op.x), false}, own, y.elements(), false, a.stream);
    elementwise(AveragePooledGrad{w, gradient(op.d_average)}, a.out(0), x.elements(), add, a.stream);
  }
}
size_t pool_grad_workspace(const Pool2dGrad& op, const NodeShapes& s) {
  const PoolGradScratch bytes(op, op.pooled(s.outputs[0]).elements());
  return bytes.gradient + bytes.pooled + bytes.index;
}

void global_pool(const GlobalAvgPool&, const KernelArgs& a) {
  const Shape& x = a.in_shape(0);
  const int64_t planes = x[0] * x[1];
  if (planes == 0) return;
  simt::launch(plane_means_kernel, dim3(unsigned((planes + 7) / 8)), dim3(256), 0, a.stream, a.in(0), planes,
               x[2] * x[3], a.out(0));
}

void global_pool_grad(const GlobalAvgPoolGrad&, const KernelArgs& a) {
  const Shape& x = a.out_shape(0);
  elementwise(SpreadMean{a.in(0), size32(x[2] * x[3])}, a.out(0), size32(x.elements()), a.accumulate(0),
              a.stream);
}

LADARTS_CUDA_KERNEL(Pool2d, pool)
LADARTS_CUDA_KERNEL(Pool2dGrad, pool_grad, pool_grad_workspace)
LADARTS_CUDA_KERNEL(GlobalAvgPool, global_pool)
LADARTS_CUDA_KERNEL(GlobalAvgPoolGrad, global_pool_grad)

}  // namespace
}  // namespace ladarts::cuda
