#include "cuda/pool2d.cuh"

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

// Of the gradient of a pooled y with the sides of `y`.
int64_t pooled_elements(const PoolWindow& w, const Shape& y) {
  return y[0] * w.channels * y[2] * y[3];
}

void pool(const Pool2d& op, const KernelArgs& a) {
  const PoolWindow w = window_of(op.desc, a.in_shape(0), a.out_shape(0));
  const int64_t n = a.out_shape(0).elements();
  if (op.kind == PoolKind::max)
    elementwise(MaxPooled{w, a.in(0)}, a.out(0), n, false, a.stream);
  else
    elementwise(AveragePooled{w, a.in(0)}, a.out(0), n, false, a.stream);
}

// Scratch: the gradient of y where it is a sum, then the index of each maximum.
size_t gradient_bytes(const GradientSum& d_y, int64_t elements) {
  return d_y.size() == 1 && d_y[0].factors < 0 ? 0 : (size_t(elements) * sizeof(float) + 63) / 64 * 64;
}

void max_pool_grad(const MaxPool2dGrad& op, const KernelArgs& a) {
  const Shape &x = a.in_shape(0), &y = a.in_shape(op.d_y[0].source);
  const PoolWindow w = window_of(op.desc, x, y);
  const int64_t n = pooled_elements(w, y);
  const float* d_y =
      gathered(op.d_y, a, x[0], w.channels, y[2] * y[3], reinterpret_cast<float*>(a.workspace));
  int* const index = reinterpret_cast<int*>(a.workspace + gradient_bytes(op.d_y, n));
  for_each(MaximumIndex{w, a.in(0), index}, n, a.stream);
  elementwise(MaxPooledGrad{w, d_y, index}, a.out(0), x.elements(), a.accumulate(0), a.stream);
}
size_t max_pool_grad_workspace(const MaxPool2dGrad& op, const NodeShapes& s) {
  const Shape &x = s.inputs[0], &y = s.inputs[size_t(op.d_y[0].source)];
  const int64_t n = pooled_elements(window_of(op.desc, x, y), y);
  return gradient_bytes(op.d_y, n) + size_t(n) * sizeof(int);
}

void avg_pool_grad(const AvgPool2dGrad& op, const KernelArgs& a) {
  const Shape &x = a.out_shape(0), &y = a.in_shape(op.d_y[0].source);
  const PoolWindow w = window_of(op.desc, x, y);
  const float* d_y =
      gathered(op.d_y, a, x[0], w.channels, y[2] * y[3], reinterpret_cast<float*>(a.workspace));
  elementwise(AveragePooledGrad{w, d_y}, a.out(0), x.elements(), a.accumulate(0), a.stream);
}
size_t avg_pool_grad_workspace(const AvgPool2dGrad& op, const NodeShapes& s) {
  const Shape &x = s.outputs[0], &y = s.inputs[size_t(op.d_y[0].source)];
  return gradient_bytes(op.d_y, pooled_elements(window_of(op.desc, x, y), y));
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
LADARTS_CUDA_KERNEL(MaxPool2dGrad, max_pool_grad, max_pool_grad_workspace)
LADARTS_CUDA_KERNEL(AvgPool2dGrad, avg_pool_grad, avg_pool_grad_workspace)
LADARTS_CUDA_KERNEL(GlobalAvgPool, global_pool)
LADARTS_CUDA_KERNEL(GlobalAvgPoolGrad, global_pool_grad)

}  // namespace
}  // namespace ladarts::cuda
