// Halving an image by two 1x1 convolutions, of the pixels at even and at odd rows and columns: x (N, C, H,
// W), of which the first c channels are read, y (N, E + O, H', W').
#pragma once

#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

struct ReduceShape {
  uint32_t channels, read, h, w, oh, ow;  // channels of one part; read: of all
  uint32_t outputs[2];                    // from even and odd pixels
  __device__ uint32_t all_outputs() const { return outputs[0] + outputs[1]; }
};

// One thread per value of y: c multiply-adds; neighbouring threads read every second pixel of a row.
template <class X>
struct ReducedValue {
  ReduceShape s;
  X x;
  const float *weight[2], *bias[2];  // bias null: none
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), j = i % s.ow, r = i / s.ow % s.oh, o = i / s.ow / s.oh % s.all_outputs();
    const int64_t n = i / s.ow / s.oh / s.all_outputs();
    const uint32_t parity = o < s.outputs[0] ? 0 : 1, row = 2 * r + parity, column = 2 * j + parity;
    const uint32_t k = o - (parity ? s.outputs[0] : 0);
    float sum = bias[parity] ? bias[parity][k] : 0.f;
    if (row >= s.h || column >= s.w) return sum;
    const float* w = weight[parity] + k * s.read;
    for (uint32_t c = 0; c < s.read; ++c) {
      const float v = x.plane(n, c, s.h * s.w)[row * s.w + column];
      sum += v > 0.f ? w[c] * v : 0.f;
    }
    return sum;
  }
};

// One thread per value of d_x, of a part whose channels are those from `first` on: E or O multiply-adds where
// row and column are both even or both odd, else zero.
struct ReducedInputGrad {
  ReduceShape s;
  uint32_t first;
  const float *x, *weight[2], *d_y;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), column = i % s.w, row = i / s.w % s.h, c = i / s.w / s.h % s.channels;
    const uint32_t parity = row % 2;
    if (first + c >= s.read || column % 2 != parity || !(x[at] > 0.f)) return 0.f;
    const int64_t n = i / s.w / s.h / s.channels, plane = int64_t(s.oh) * s.ow;
    const float* g =
        d_y + (n * s.all_outputs() + (parity ? s.outputs[0] : 0)) * plane + row / 2 * s.ow + column / 2;
    float sum = 0;
    for (uint32_t o = 0; o < s.outputs[parity]; ++o)
      sum += weight[parity][o * s.read + first + c] * g[o * plane];
    return sum;
  }
};

// d_w[o, c] (+)= sum over images and pixels of d_y[n, first + o] * max(x, 0). Grid (c, outputs), 256 threads
// that take every 256th pixel of the batch, in double: one order for all GPUs. Reads 8 bytes per
// multiply-add, most of it from the cache. 2 KiB of dynamic shared memory. Run on the host only.
template <class X>
__global__ void reduced_weight_grad_kernel(ReduceShape s, X x, const float* d_y, int64_t images, int parity,
                                           float* d_w, bool add) {
  SIMT_DYNAMIC_SHARED(double, part);
  const uint32_t c = blockIdx.x, o = blockIdx.y, plane = s.oh * s.ow, first = parity ? s.outputs[0] : 0;
  const uint32_t n_pixels = uint32_t(images) * plane;
  double sum = 0;
  for (uint32_t i = threadIdx.x; i < n_pixels; i += kReduceThreads) {
    const uint32_t j = i % s.ow, r = i / s.ow % s.oh, row = 2 * r + uint32_t(parity),
                   column = 2 * j + uint32_t(parity);
    const int64_t n = i / plane;
    if (row >= s.h || column >= s.w) continue;
    const float v = x.plane(n, c, s.h * s.w)[row * s.w + column];
    if (v > 0.f) sum += double(v * d_y[(n * s.all_outputs() + first + o) * plane + i % plane]);
  }
  sum = block_sum(sum, part);
  float* const to = d_w + o * s.read + c;
  if (threadIdx.x == 0) *to = float(sum) + (add ? *to : 0.f);
}

}  // namespace
}  // namespace ladarts::cuda
