#include "ops/factorized_reduce.h"

#include "cuda/channel_parts.cuh"
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

FactorizedReduceGeometry reduce_geometry(const Shape* inputs, int parts) {
  return {inputs[0], inputs[parts], inputs[parts + 1]};
}

void factorized_reduce(const FactorizedReduce& op, const KernelArgs& a) {
  const FactorizedReduceGeometry g = reduce_geometry(a.input_shapes, op.parts);
  const int biases = op.parts + 2 * op.pairs;
  const bool bias = a.n_inputs > biases;
  for (int pair = 0; pair < op.pairs; ++pair)
    with_parts(a, 0, op.parts, [&](const auto& x) {
      const int weights = op.parts + 2 * pair;
      const ReducedValue<std::decay_t<decltype(x)>> value{
          shape_of(g),
          x,
          {a.in(weights), a.in(weights + 1)},
          {bias ? a.in(biases) : nullptr, bias ? a.in(biases + 1) : nullptr}};
      elementwise(value, a.out(pair), a.out_shape(pair).elements(), false, a.stream);
    });
}

// One pair after the other; d_x adds up over them.
void factorized_reduce_grad(const FactorizedReduceGrad& op, const KernelArgs& a) {
  const int parts = op.parts();
  const FactorizedReduceGeometry g = reduce_geometry(a.input_shapes, parts);
  for (size_t pair = 0; pair < op.pairs.size(); ++pair) {
    const FactorizedReduceGrad::Pair& of = op.pairs[pair];
    const int weights = parts + 2 * int(pair);
    const float* d_y =
        gathered(of.d_y, a, g.images, g.all_outputs(), g.pixels(), reinterpret_cast<float*>(a.workspace));
    for (int part = 0; part < parts; ++part) {
      const int out = op.x_out[size_t(part)];
      if (out < 0) continue;
      const ReducedInputGrad value{
          shape_of(g), uint32_t(part * g.channels), a.in(part), {a.in(weights), a.in(weights + 1)}, d_y};
      elementwise(value, a.out(out), a.in_shape(part).elements(), a.accumulate(out) || pair > 0, a.stream);
    }
    for (int parity = 0; parity < 2; ++parity) {
      const int out = of.weight_out[parity];
      if (out < 0) continue;
      with_parts(a, 0, parts, [&](const auto& x) {
        simt::launch(reduced_weight_grad_kernel<std::decay_t<decltype(x)>>,
                     dim3(unsigned(g.read), unsigned(g.outputs[parity])), dim3(kReduceThreads),
                     kReduceThreads * sizeof(double), a.stream, shape_of(g), x, d_y, g.images, parity,
                     a.out(out), a.accumulate(out));
      });
    }
  }
}
size_t gradient_workspace(const FactorizedReduceGrad& op, const NodeShapes& s) {
  const FactorizedReduceGeometry g = reduce_geometry(s.inputs.data(), op.parts());
  for (const FactorizedReduceGrad::Pair& pair : op.pairs)
    if (pair.d_y.size() != 1 || pair.d_y[0].factors >= 0)
      return size_t(g.images * g.all_outputs() * g.pixels()) * sizeof(float);
  return 0;
}

LADARTS_CUDA_KERNEL(FactorizedReduce, factorized_reduce)
LADARTS_CUDA_KERNEL(FactorizedReduceGrad, factorized_reduce_grad, gradient_workspace)

}  // namespace
}  // namespace ladarts::cuda
