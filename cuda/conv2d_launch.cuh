// Launches of the convolution kernels, for conv2d and for the fused ops that hold convolutions. All arguments
// are device memory; nothing here reads it.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/conv2d_dense.cuh"
#include "cuda/conv2d_depthwise.cuh"
#include "cuda/elementwise.cuh"

namespace ladarts::cuda {
namespace {

constexpr size_t kMostShared = 48 * 1024;  // bytes; parts that need more go through matrix products

// Chunks of images whose weight gradients are summed apart, by shape alone: enough to give every
// multiprocessor work.
struct Chunks {
  int64_t count, images;
};
inline Chunks chunks_of(const Conv2dGeometry& g) {
  const int64_t blocks = g.depthwise() ? g.c : g.groups * ((g.og + 63) / 64) * ((g.taps() + 63) / 64);
  const int64_t wanted = std::clamp<int64_t>(512 / blocks, 1, g.n), images = (g.n + wanted - 1) / wanted;
  return {(g.n + images - 1) / images, images};
}

// Tiles over planes of height x width, each reading a source part of source_side.
inline PlaneTiles tiles_of(int64_t planes, int64_t height, int64_t width, int64_t stride_in, int64_t reach,
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

inline size_t shared_bytes(const PlaneTiles& t) {
  return size_t(t.planes) * size_t(t.source_side) * size_t(t.source_side) * sizeof(float);
}

inline dim3 grid_of(const PlaneTiles& t) {
  return dim3(unsigned((t.all_planes + unsigned(t.planes) - 1) / unsigned(t.planes)),
              unsigned(t.across * t.down));
}

// f(size of the kernel, known at compile time where it is 3 x 3 or 5 x 5).
template <class F>
void with_kernel_size(const Conv2dGeometry& g, F f) {
  if (g.kh == 3 && g.kw == 3) return f(std::integral_constant<int, 3>{});
  if (g.kh == 5 && g.kw == 5) return f(std::integral_constant<int, 5>{});
  f(std::integral_constant<int, 0>{});
}

inline int64_t reach_of(const Conv2dGeometry& g) {
  return g.dilation * (std::max(g.kh, g.kw) - 1);
}

inline void check_sizes(const Conv2dGeometry& g) {
  size32(g.n * g.c * g.h * g.w);
  size32(g.n * g.o * g.oh * g.ow);
}

inline bool fits(const PlaneTiles& t) {
  return shared_bytes(t) <= kMostShared;
}

// Whether the kernels of cuda/conv2d_depthwise.cuh take it: one filter per channel, tiles that fit into
// shared memory.
inline PlaneTiles output_tiles(const Conv2dGeometry& g) {
  return tiles_of(g.n * g.c, g.oh, g.ow, g.stride, reach_of(g), false);
}
inline PlaneTiles input_tiles(const Conv2dGeometry& g) {
  return tiles_of(g.n * g.c, g.h, g.w, g.stride, reach_of(g), true);
}

inline void depthwise_forward(const Conv2dGeometry& g, SourcePlanes x, const float* w, const float* bias,
                              float* y, void* stream) {
  const PlaneTiles t = output_tiles(g);
  with_kernel_size(g, [&](auto k) {
    simt::launch(depthwise_kernel<decltype(k)::value>, grid_of(t), dim3(kPlaneThreads), shared_bytes(t),
                 stream, ConvShape(g), t, x, w, bias, y);
  });
}

// Zero where `x` (null: none) is not above 0.
inline void depthwise_grad_input(const Conv2dGeometry& g, const float* d_y, const float* w, const float* x,
                                 float* d_x, bool add, void* stream) {
  const PlaneTiles t = input_tiles(g);
  with_kernel_size(g, [&](auto k) {
    simt::launch(depthwise_grad_input_kernel<decltype(k)::value>, grid_of(t), dim3(kPlaneThreads),
                 shared_bytes(t), stream, ConvShape(g), t, d_y, w, x, d_x, add);
  });
}

// Bytes of `partials` for either weight gradient.
inline size_t partials_bytes(const Conv2dGeometry& g) {
  return size_t(chunks_of(g).count * g.weights()) * sizeof(float);
}

inline void sum_chunks(const Conv2dGeometry& g, const float* partials, float* d_w, bool add, void* stream) {
  elementwise(SumOfChunks{partials, size32(chunks_of(g).count), g.weights()}, d_w, g.weights(), add, stream);
}

inline void depthwise_grad_weight(const Conv2dGeometry& g, const float* d_y, SourcePlanes x, float* partials,
                                  float* d_w, bool add, void* stream) {
  const Chunks chunks = chunks_of(g);
  with_kernel_size(g, [&](auto k) {
    constexpr int K = decltype(k)::value, T = grad_weight_taps(K);
    const dim3 grid(unsigned(chunks.count), unsigned(g.c), unsigned((g.kh * g.kw + T - 1) / T));
    simt::launch(depthwise_grad_weight_kernel<K>, grid, dim3(kPlaneThreads), grad_weight_shared_bytes(T),
                 stream, ConvShape(g), size32(chunks.images), d_y, x, partials);
  });
  sum_chunks(g, partials, d_w, add, stream);
}

template <class X>
void dense_forward(const Conv2dGeometry& g, const X& x, const float* w, const float* bias, float* y,
                   void* stream, const float* addend = nullptr) {
  const ConvShape s(g);
  gemm(WeightRows{w, s.group_outputs, size32(g.taps())}, Patches<X>{s, x}, StoreOutputs{s, y, bias, addend},
       g.og, g.n * g.pixels(), g.taps(), g.groups, stream);
}

inline void dense_grad_input(const Conv2dGeometry& g, const float* d_y, const float* w, const float* x,
                             float* d_x, bool add, void* stream) {
  const ConvShape s(g);
  gemm(WeightColumns{s, w}, OutputPatches{s, d_y}, StoreInputs{s, d_x, x, add}, g.cg, g.n * g.h * g.w,
       g.og * g.kh * g.kw, g.groups, stream);
}

// Pointwise, of x in parts. Store: StoreParts, or what takes their place.
template <class Store>
void parts_grad_input(const Conv2dGeometry& g, const float* d_y, const float* w, const Store& store,
                      void* stream) {
  const ConvShape s(g);
  gemm(WeightColumns{s, w}, OutputPatches{s, d_y}, store, g.cg, g.n * g.h * g.w, g.og, 1, stream);
}

template <class X>
void dense_grad_weight(const Conv2dGeometry& g, const float* d_y, const X& x, float* partials, float* d_w,
                       bool add, void* stream) {
  const ConvShape s(g);
  const Chunks chunks = chunks_of(g);
  const uint32_t count = size32(chunks.count), images = size32(chunks.images);
  gemm(ChunkOutputs{s, d_y, count, images}, ChunkPatches<X>{s, x, count, images},
       StorePartial{partials, count, s.outputs, s.group_outputs, size32(g.taps())}, g.og, g.taps(),
       chunks.images * g.pixels(), g.groups * chunks.count, stream);
  sum_chunks(g, partials, d_w, add, stream);
}

}  // namespace
}  // namespace ladarts::cuda
