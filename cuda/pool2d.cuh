// Pooling over square windows; x (N, C, H, W), y (N, c, H', W'), c <= C. One thread per value written;
// neighbouring threads read neighbouring windows, so that all but the first read of a pixel come from the
// cache: 4 bytes moved for each element of x and of y.
#pragma once

#include "cuda/pool_window.cuh"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

// Where the maximum of each window lies, for the gradient: 4 bytes written per output.
struct MaximumIndex {
  PoolWindow w;
  const float* x;
  int* index;
  __device__ void operator()(int64_t i) const {
    const PlanePosition p(i, w.out_height, w.out_width);
    index[i] = window_maximum(w, x + w.source(p.plane) * w.height * w.width, p.row, p.column);
  }
};

// Sums over the windows that hold a pixel, in their order: no two threads write one value.
struct MaxPooledGrad {
  PoolWindow w;
  const float* d_y;
  const int* index;
  __device__ float operator()(int64_t i) const {
    const PlanePosition p(i, w.height, w.width);
    const int me = p.row * w.width + p.column;
    const int64_t base = w.pooled(p.plane) * w.out_height * w.out_width;
    if (base < 0) return 0.f;
    float sum = 0;
    for (int r = w.first_output(p.row); r < w.end_output(p.row, w.out_height); ++r)
      for (int c = w.first_output(p.column); c < w.end_output(p.column, w.out_width); ++c)
        if (index[base + r * w.out_width + c] == me) sum += d_y[base + r * w.out_width + c];
    return sum;
  }
};

struct AveragePooledGrad {
  PoolWindow w;
  const float* d_y;
  __device__ float operator()(int64_t i) const {
    const PlanePosition p(i, w.height, w.width);
    const int64_t base = w.pooled(p.plane) * w.out_height * w.out_width;
    if (base < 0) return 0.f;
    float sum = 0;
    for (int r = w.first_output(p.row); r < w.end_output(p.row, w.out_height); ++r)
      for (int c = w.first_output(p.column); c < w.end_output(p.column, w.out_width); ++c)
        sum += d_y[base + r * w.out_width + c] /
               float((w.end(r, w.height) - w.begin(r)) * (w.end(c, w.width) - w.begin(c)));
    return sum;
  }
};

// y[p] = mean of plane p. One warp per plane, 8 planes per block; lanes take every 32nd pixel. Reads 4 bytes
// per pixel. No shared memory. Run on the host only.
__global__ void plane_means_kernel(const float* x, int64_t planes, int64_t pixels, float* y) {
  const int64_t p = int64_t(blockIdx.x) * 8 + threadIdx.x / 32;
  if (p >= planes) return;
  const int lane = int(threadIdx.x % 32);
  float sum = 0;
  for (int64_t i = lane; i < pixels; i += 32) sum += x[p * pixels + i];
  for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, bits);
  if (lane == 0) y[p] = sum / float(pixels);
}

struct SpreadMean {
  const float* d_y;
  uint32_t pixels;
  __device__ float operator()(int64_t i) const { return d_y[uint32_t(i) / pixels] / float(pixels); }
};

}  // namespace
}  // namespace ladarts::cuda
