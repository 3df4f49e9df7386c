#include "ops/factorized_reduce.h"

#include "cuda/elementwise.cuh"
#include "cuda/factorized_reduce.cuh"
#include "cuda/gradient_sum.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

ReduceShape shape_of(const FactorizedReduceGeometry& g) {
  size32(g.images * g.channels * g.h * g.w);
  size32(g.images * g.all_outputs() * g.pixels());
  return {uint32_t(g.channels),
          uint32_t(g.read),
          uint32_t(g.h),
          uint32_t(g.w),
          uint32_t(g.oh),
          uint32_t(g.ow),
          {uint32_t(g.outputs[0]), uint32_t(g.outputs[1])}};
}

void factorized_reduce(const FactorizedReduce&, const KernelArgs& a) {
  const FactorizedReduceGeometry g(a.in_shape(0), a.in_shape(1), a.in_shape(2));
  const bool bias = a.n_inputs > 3;
  elementwise(
      ReducedValue{
          shape_of(g), a.in(0), {a.in(1), a.in(2)}, {bias ? a.in(3) : nullptr, bias ? a.in(4) : nullptr}},
      a.out(0), a.out_shape(0).elements(), false, a.stream);
}

void factorized_reduce_grad(const FactorizedReduceGrad& op, const KernelArgs& a) {
  const FactorizedReduceGeometry g(a.in_shape(0), a.in_shape(1), a.in_shape(2));
  const float* d_y =
      gathered(op.d_y, a, g.images, g.all_outputs(), g.pixels(), reinterpret_cast<float*>(a.workspace));
  if (op.x_out >= 0)
    elementwise(ReducedInputGrad{shape_of(g), a.in(0), {a.in(1), a.in(2)}, d_y}, a.out(op.x_out),
                a.in_shape(0).elements(), a.accumulate(op.x_out), a.stream);
  for (int parity = 0; parity < 2; ++parity) {
    const int out = op.weight_out[parity];
    if (out < 0) continue;
    simt::launch(reduced_weight_grad_kernel, dim3(unsigned(g.read), unsigned(g.outputs[parity])),
                 dim3(kReduceThreads), kReduceThreads * sizeof(double), a.stream, shape_of(g), a.in(0), d_y,
                 g.images, parity, a.out(out), a.accumulate(out));
  }
}
size_t gradient_workspace(const FactorizedReduceGrad& op, const NodeShapes& s) {
  const FactorizedReduceGeometry g(s.inputs[0], s.inputs[1], s.inputs[2]);
  const bool plain = op.d_y.size() == 1 && op.d_y[0].factors < 0;
  return plain ? 0 : size_t(g.images * g.all_outputs() * g.pixels()) * sizeof(float);
}

LADARTS_CUDA_KERNEL(FactorizedReduce, factorized_reduce)
LADARTS_CUDA_KERNEL(FactorizedReduceGrad, factorized_reduce_grad, gradient_workspace)

}  // namespace
}  // namespace ladarts::cuda
