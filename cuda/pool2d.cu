#include "cuda/pool2d.cuh"

#include "cuda/kernel.h"
#include "ops/pool2d.h"

namespace ladarts::cuda {
namespace {

PoolWindow window_of(const Pool2dDesc& d, const Shape& x, const Shape& y) {
  size32(x.elements());
  return {d.kernel, d.stride, d.padding, int(x[2]), int(x[3]), int(y[2]), int(y[3])};
}

void pool(const Pool2d& op, const KernelArgs& a) {
  const PoolWindow w = window_of(op.desc, a.in_shape(0), a.out_shape(0));
  const int64_t n = a.out_shape(0).elements();
  if (op.kind == PoolKind::max)
    elementwise(MaxPooled{w, a.in(0)}, a.out(0), n, false, a.stream);
  else
    elementwise(AveragePooled{w, a.in(0)}, a.out(0), n, false, a.stream);
}

void max_pool_grad(const MaxPool2dGrad& op, const KernelArgs& a) {
  const Shape &x = a.in_shape(0), &y = a.in_shape(1);
  const PoolWindow w = window_of(op.desc, x, y);
  int* const index = reinterpret_cast<int*>(a.workspace);
  for_each(MaximumIndex{w, a.in(0), index}, y.elements(), a.stream);
  elementwise(MaxPooledGrad{w, a.in(1), index}, a.out(0), x.elements(), a.accumulate(0), a.stream);
}
size_t max_pool_grad_workspace(const MaxPool2dGrad&, const NodeShapes& s) {
  return size_t(s.inputs[1].elements()) * sizeof(int);
}

void avg_pool_grad(const AvgPool2dGrad& op, const KernelArgs& a) {
  const Shape& x = a.out_shape(0);
  elementwise(AveragePooledGrad{window_of(op.desc, x, a.in_shape(0)), a.in(0)}, a.out(0), x.elements(),
              a.accumulate(0), a.stream);
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
LADARTS_CUDA_KERNEL(AvgPool2dGrad, avg_pool_grad)
LADARTS_CUDA_KERNEL(GlobalAvgPool, global_pool)
LADARTS_CUDA_KERNEL(GlobalAvgPoolGrad, global_pool_grad)

}  // namespace
}  // namespace ladarts::cuda
