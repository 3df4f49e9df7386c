#include "ops/conv2d.h"

#include <algorithm>

#include "cuda/batch_norm.cuh"
#include "cuda/conv2d_dense.cuh"
#include "cuda/conv2d_depthwise.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

constexpr size_t kMostShared = 48 * 1024;  // bytes; parts that need more go through matrix products

// Chunks of images whose weight gradients are summed apart, by shape alone: enough to give every
// multiprocessor work.
struct Chunks {
  int64_t count, images;
};
Chunks chunks_of(const Conv2dGeometry& g) {
  const int64_t blocks = g.depthwise() ? g.c : g.groups * ((g.og + 63) / 64) * ((g.taps() + 63) / 64);
  const int64_t wanted = std::clamp<int64_t>(512 / blocks, 1, g.n), images = (g.n + wanted - 1) / wanted;
  return {(g.n + images - 1) / images, images};
}

// Tiles over planes of height x width, each reading a source part of source_side.
PlaneTiles tiles_of(int64_t planes, int64_t height, int64_t width, int64_t stride_in, int64_t reach,
                    bool gradient) {
  const int64_t longer = std::max(height, width);
  PlaneTiles t{};
  t.side = longer <= 8 ? 8 : longer <= 16 ? 16 : 32;
  t.planes = t.side == 8 ? 4 : 1;
  t.across = int((width + t.side - 1) / t.side);
  t.down = int((height + t.side - 1) / t.side);
  t.source_side = int(gradient ? (t.side - 1 + reach) / stride_in + 2 : (t.side - 1) * stride_in + reach + 1);
  t.all_planes = size32(planes);
  return t;
}

size_t shared_bytes(const PlaneTiles& t) {
  return size_t(t.planes) * size_t(t.source_side) * size_t(t.source_side) * sizeof(float);
}

dim3 grid_of(const PlaneTiles& t) {
  return dim3(unsigned(t.across * t.down),
              unsigned((t.all_planes + unsigned(t.planes) - 1) / unsigned(t.planes)));
}

// f(size of the kernel, known at compile time where it is 3 x 3 or 5 x 5).
template <class F>
void with_kernel_size(const Conv2dGeometry& g, F f) {
  if (g.kh == 3 && g.kw == 3) return f(std::integral_constant<int, 3>{});
  if (g.kh == 5 && g.kw == 5) return f(std::integral_constant<int, 5>{});
  f(std::integral_constant<int, 0>{});
}

int64_t reach_of(const Conv2dGeometry& g) {
  return g.dilation * (std::max(g.kh, g.kw) - 1);
}

void check_sizes(const Conv2dGeometry& g) {
  size32(g.n * g.c * g.h * g.w);
  size32(g.n * g.o * g.oh * g.ow);
}

// Grids have at most 65535 blocks in y.
bool fits(const PlaneTiles& t) {
  return shared_bytes(t) <= kMostShared && grid_of(t).y <= 65535;
}

void conv2d_forward(const Conv2d& op, const KernelArgs& a) {
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.in_shape(0), a.in_shape(1));
  check_sizes(g);
  const ConvShape s(g);
  const float* bias = a.n_inputs > 2 ? a.in(2) : nullptr;
  const PlaneTiles t = tiles_of(g.n * g.c, g.oh, g.ow, g.stride, reach_of(g), false);
  if (g.depthwise() && fits(t)) {
    with_kernel_size(g, [&](auto k) {
      simt::launch(depthwise_kernel<decltype(k)::value>, grid_of(t), dim3(kPlaneThreads), shared_bytes(t),
                   a.stream, s, t, a.in(0), a.in(1), bias, a.out(0));
    });
    return;
  }
  gemm(WeightRows{a.in(1), s.group_outputs, size32(g.taps())}, Patches{s, a.in(0)},
       StoreOutputs{s, a.out(0), bias}, g.og, g.n * g.pixels(), g.taps(), g.groups, a.stream);
}

void conv2d_grad_input(const Conv2dGradInput& op, const KernelArgs& a) {
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.out_shape(0), a.in_shape(1));
  check_sizes(g);
  const ConvShape s(g);
  const float* x = op.desc.relu_input ? a.in(2) : nullptr;
  const PlaneTiles t = tiles_of(g.n * g.c, g.h, g.w, g.stride, reach_of(g), true);
  if (g.depthwise() && fits(t)) {
    with_kernel_size(g, [&](auto k) {
      simt::launch(depthwise_grad_input_kernel<decltype(k)::value>, grid_of(t), dim3(kPlaneThreads),
                   shared_bytes(t), a.stream, s, t, a.in(0), a.in(1), x, a.out(0), a.accumulate(0));
    });
    return;
  }
  gemm(WeightColumns{s, a.in(1)}, OutputPatches{s, a.in(0)}, StoreInputs{s, a.out(0), x, a.accumulate(0)},
       g.cg, g.n * g.h * g.w, g.og * g.kh * g.kw, g.groups, a.stream);
}

void conv2d_grad_weight(const Conv2dGradWeight& op, const KernelArgs& a) {
  const Conv2dGeometry g = conv2d_geometry(op.desc, a.in_shape(1), a.out_shape(0));
  check_sizes(g);
  const ConvShape s(g);
  const Chunks chunks = chunks_of(g);
  const uint32_t count = size32(chunks.count), images = size32(chunks.images);
  float* const partials = reinterpret_cast<float*>(a.workspace);
  if (g.depthwise()) {
    with_kernel_size(g, [&](auto k) {
      constexpr int K = decltype(k)::value, T = grad_weight_taps(K);
      const dim3 grid(count, unsigned(g.c), unsigned((g.kh * g.kw + T - 1) / T));
      simt::launch(depthwise_grad_weight_kernel<K>, grid, dim3(kPlaneThreads), grad_weight_shared_bytes(T),
                   a.stream, s, images, a.in(0), a.in(1), partials);
    });
  } else {
    gemm(ChunkOutputs{s, a.in(0), count, images}, ChunkPatches{s, a.in(1), count, images},
         StorePartial{partials, count, s.outputs, s.group_outputs, size32(g.taps())}, g.og, g.taps(),
         chunks.images * g.pixels(), g.groups * chunks.count, a.stream);
  }
  elementwise(SumOfChunks{partials, count, g.weights()}, a.out(0), g.weights(), a.accumulate(0), a.stream);
}
size_t grad_weight_workspace(const Conv2dGradWeight& op, const NodeShapes& s) {
  const Conv2dGeometry g = conv2d_geometry(op.desc, s.inputs[1], s.outputs[0]);
  return size_t(chunks_of(g).count * g.weights()) * sizeof(float);
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
