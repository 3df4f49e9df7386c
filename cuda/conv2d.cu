#include "ops/conv2d.h"

#include "cuda/batch_norm.cuh"
#include "cuda/conv2d_launch.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

SourcePlanes source_of(const Conv2dGeometry& g, const float* x) {
  return {x, size32(g.c), size32(g.c), nullptr, g.relu_input};
}

// The convolutions of a joint op are launched one by one.
void conv2d_forward(const Conv2d& op, const KernelArgs& a) {
  for (int i = 0; i < op.outputs; ++i) {
    const int weight = op.parts + i, bias_at = weight + op.outputs;
    const Conv2dGeometry g = conv2d_geometry(op.desc, a.in_shape(0), a.in_shape(weight));
    check_sizes(g);
    const float* bias = a.n_inputs > bias_at ? a.in(bias_at) : nullptr;
    if (g.depthwise() && fits(output_tiles(g)))
      depthwise_forward(g, source_of(g, a.in(0)), a.in(weight), bias, a.out(i), a.stream);
    else
      with_parts(a, 0, op.parts,
                 [&](const auto& x) { dense_forward(g, x, a.in(weight), bias, a.out(i), a.stream); });
  }
}

// Of output `i`, added to what the outputs before it gave.
void grad_input_of(const Conv2dGradInput& op, const KernelArgs& a, int i) {
  const float *d_y = a.in(i), *w = a.in(op.outputs + i);
  const int first_x = 2 * op.outputs;
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.out_shape(0), a.in_shape(op.outputs + i));
  check_sizes(g);
  if (g.c != a.out_shape(0)[1]) {
    StoreParts store{ConvShape(g), size32(a.out_shape(0)[1]), {}, {}, {}};
    for (int k = 0; k < int(op.parts.size()); ++k) {
      const int part = op.parts[size_t(k)];
      store.d_x[part] = a.out(k);
      store.x[part] = op.desc.relu_input ? a.in(first_x + k) : nullptr;
      store.add[part] = i > 0 || a.accumulate(k);
    }
    return parts_grad_input(g, d_y, w, store, a.stream);
  }
  const float* x = op.desc.relu_input ? a.in(first_x) : nullptr;
  const bool add = i > 0 || a.accumulate(0);
  if (g.depthwise() && fits(input_tiles(g)))
    depthwise_grad_input(g, d_y, w, x, a.out(0), add, a.stream);
  else
    dense_grad_input(g, d_y, w, x, a.out(0), add, a.stream);
}
void conv2d_grad_input(const Conv2dGradInput& op, const KernelArgs& a) {
  for (int i = 0; i < op.outputs; ++i) grad_input_of(op, a, i);
}

void conv2d_grad_weight(const Conv2dGradWeight& op, const KernelArgs& a) {
  float* const partials = reinterpret_cast<float*>(a.workspace);
  for (int i = 0; i < op.outputs; ++i) {
    const Conv2dGeometry g = conv2d_geometry(op.desc, a.in_shape(op.outputs), a.out_shape(i));
    check_sizes(g);
    if (g.depthwise())
      depthwise_grad_weight(g, a.in(i), source_of(g, a.in(op.outputs)), partials, a.out(i), a.accumulate(i),
                            a.stream);
    else
      with_parts(a, op.outputs, a.n_inputs - op.outputs, [&](const auto& x) {
        dense_grad_weight(g, a.in(i), x, partials, a.out(i), a.accumulate(i), a.stream);
      });
  }
}
size_t grad_weight_workspace(const Conv2dGradWeight& op, const NodeShapes& s) {
  size_t bytes = 0;
  for (const Shape& d_w : s.outputs)
    bytes = std::max(bytes, partials_bytes(conv2d_geometry(op.desc, s.inputs[size_t(op.outputs)], d_w)));
  return bytes;
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
