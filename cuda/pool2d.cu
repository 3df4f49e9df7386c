#include "cuda/pool2d.cuh"

#include <algorithm>

#include "cuda/gradient_sum.cuh"
#include "cuda/kernel.h"
#include "ops/pool2d.h"

namespace ladarts::cuda {
namespace {

PoolWindow window_of(const Pool2dDesc& d, const Shape& x, const Shape& y) {
  size32(x.elements());
  return {d.kernel,      d.stride,  d.padding, int(x[2]),
          int(x[3]),     int(y[2]), int(y[3]), uint32_t(d.channels ? d.channels : x[1]),
          uint32_t(x[1])};
}

void pool(const Pool2d& op, const KernelArgs& a) {
  const PoolWindow w = window_of(op.desc, a.in_shape(0), a.out_shape(0));
  const int64_t n = a.out_shape(0).elements();
  const bool max = op.kind != PoolKind::average;
  if (max) elementwise(MaxPooled{w, a.in(0)}, a.out(0), n, false, a.stream);
  if (op.kind != PoolKind::max)
    elementwise(AveragePooled{w, a.in(0)}, a.out(max ? 1 : 0), n, false, a.stream);
}

// Scratch: a gradient that is a sum, then the index of each maximum.
size_t gradient_bytes(const GradientSum& d_y, int64_t elements) {
  return d_y.empty() || (d_y.size() == 1 && d_y[0].factors < 0)
             ? 0
             : (size_t(elements) * sizeof(float) + 63) / 64 * 64;
}
size_t gathered_bytes(const Pool2dGrad& op, int64_t elements) {
  return std::max(gradient_bytes(op.d_max, elements), gradient_bytes(op.d_average, elements));
}

// Its parts one after the other; each adds to what is there.
void pool_grad(const Pool2dGrad& op, const KernelArgs& a) {
  const Shape &x = a.out_shape(0), y = op.pooled(x);
  const PoolWindow w = window_of(op.desc, x, y);
  float* const scratch = reinterpret_cast<float*>(a.workspace);
  bool add = a.accumulate(0);
  if (!op.late.empty()) {
    sum_terms(term_operands(op.late, a, x[1]), x[0], x[1], x[2] * x[3], a.out(0), add, a.stream);
    add = true;
  }
  if (!op.d_max.empty()) {
    const float* d_y = gathered(op.d_max, a, y[0], y[1], y[2] * y[3], scratch);
    int* const index = reinterpret_cast<int*>(a.workspace + gathered_bytes(op, y.elements()));
    for_each(MaximumIndex{w, a.in(op.x), index}, y.elements(), a.stream);
    elementwise(MaxPooledGrad{w, d_y, index}, a.out(0), x.elements(), add, a.stream);
    add = true;
  }
  if (!op.d_average.empty()) {
    const float* d_y = gathered(op.d_average, a, y[0], y[1], y[2] * y[3], scratch);
    elementwise(AveragePooledGrad{w, d_y}, a.out(0), x.elements(), add, a.stream);
  }
}
size_t pool_grad_workspace(const Pool2dGrad& op, const NodeShapes& s) {
  const int64_t n = op.pooled(s.outputs[0]).elements();
  return gathered_bytes(op, n) + (op.d_max.empty() ? 0 : size_t(n) * sizeof(int));
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
