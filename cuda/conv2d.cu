#include "ops/conv2d.h"

#include "cuda/batch_norm.cuh"
#include "cuda/conv2d_launch.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

SourcePlanes source_of(const Conv2dGeometry& g, const float* x) {
  return {x, size32(g.c), size32(g.c), nullptr, g.relu_input};
}

void conv2d_forward(const Conv2d& op, const KernelArgs& a) {
  const int weight = op.parts;
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.in_shape(0), a.in_shape(weight));
  check_sizes(g);
  const float* bias = a.n_inputs > weight + 1 ? a.in(weight + 1) : nullptr;
  if (g.depthwise() && fits(output_tiles(g)))
    return depthwise_forward(g, source_of(g, a.in(0)), a.in(weight), bias, a.out(0), a.stream);
  with_parts(a, 0, op.parts,
             [&](const auto& x) { dense_forward(g, x, a.in(weight), bias, a.out(0), a.stream); });
}

void conv2d_grad_input(const Conv2dGradInput& op, const KernelArgs& a) {
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.out_shape(0), a.in_shape(1));
  check_sizes(g);
  if (g.c != a.out_shape(0)[1]) {
    StoreParts store{ConvShape(g), size32(a.out_shape(0)[1]), {}, {}, {}};
    for (int i = 0; i < int(op.parts.size()); ++i) {
      const int part = op.parts[size_t(i)];
      store.d_x[part] = a.out(i);
      store.x[part] = op.desc.relu_input ? a.in(2 + i) : nullptr;
      store.add[part] = a.accumulate(i);
    }
    return parts_grad_input(g, a.in(0), a.in(1), store, a.stream);
  }
  const float* x = op.desc.relu_input ? a.in(2) : nullptr;
  if (g.depthwise() && fits(input_tiles(g)))
    depthwise_grad_input(g, a.in(0), a.in(1), x, a.out(0), a.accumulate(0), a.stream);
  else
    dense_grad_input(g, a.in(0), a.in(1), x, a.out(0), a.accumulate(0), a.stream);
}

void conv2d_grad_weight(const Conv2dGradWeight& op, const KernelArgs& a) {
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.in_shape(1), a.out_shape(0));
  check_sizes(g);
  float* const partials = reinterpret_cast<float*>(a.workspace);
  if (g.depthwise())
    return depthwise_grad_weight(g, a.in(0), source_of(g, a.in(1)), partials, a.out(0), a.accumulate(0),
                                 a.stream);
  with_parts(a, 1, a.n_inputs - 1, [&](const auto& x) {
    dense_grad_weight(g, a.in(0), x, partials, a.out(0), a.accumulate(0), a.stream);
  });
}
size_t grad_weight_workspace(const Conv2dGradWeight& op, const NodeShapes& s) {
  return partials_bytes(conv2d_geometry(op.desc, s.inputs[1], s.outputs[0]));
}

// d_bias[o] = sum of d_y over images and pixels.
struct SumTerm {
  const float* d_y;
  __device__ void operator()(int64_t, int64_t i, float& s, float&) const { s += d_y[i]; }
};
struct StoreBias {
  float* d;
  bool add;
  __device__ void operator()(int64_t c, double sum, double) const { d[c] = float(sum) + (add ? d[c] : 0.f); }
};
NormLayout bias_layout(const Shape& s) {
  const int64_t plane = s.elements() / (s[0] * s[1]),
                per_chunk = std::max({int64_t{1}, 4096 / plane, (s[0] + 127) / 128});
  return {s[0], s[1], plane, (s[0] + per_chunk - 1) / per_chunk, per_chunk};
}
void bias_grad(const BiasGrad&, const KernelArgs& a) {
  const NormLayout l = bias_layout(a.in_shape(0));
  auto* sums = reinterpret_cast<Two*>(a.workspace);
  simt::launch(channel_sums_kernel<SumTerm>, dim3(unsigned(l.chunks), unsigned(l.channels)),
               dim3(kReduceThreads), 2 * kReduceThreads * sizeof(double), a.stream, SumTerm{a.in(0)}, l,
               sums);
  for_each(FinishChannels<StoreBias>{{a.out(0), a.accumulate(0)}, sums, l.chunks}, l.channels, a.stream);
}
size_t bias_workspace(const BiasGrad&, const NodeShapes& s) {
  const NormLayout l = bias_layout(s.inputs[0]);
  return size_t(l.channels * l.chunks) * sizeof(Two);
}

LADARTS_CUDA_KERNEL(Conv2d, conv2d_forward)
LADARTS_CUDA_KERNEL(Conv2dGradInput, conv2d_grad_input)
LADARTS_CUDA_KERNEL(Conv2dGradWeight, conv2d_grad_weight, grad_weight_workspace)
LADARTS_CUDA_KERNEL(BiasGrad, bias_grad, bias_workspace)

}  // namespace
}  // namespace ladarts::cuda
