// Pooling over square windows; x (N, C, H, W), y (N, c, H', W'), c <= C. One thread per value written;
// neighbouring threads read neighbouring windows, so that all but the first read of a pixel come from the
// cache: 4 bytes moved for each element of x and of y.
#pragma once

#include "cuda/elementwise.cuh"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

struct PoolWindow {
  int kernel, stride, padding;
  int height, width, out_height, out_width;
  uint32_t channels, all_channels;  // of y and of x

  // The plane of x that plane p of y comes from.
  __device__ int64_t source(int64_t p) const { return p / channels * all_channels + p % channels; }

  // The plane of y that plane p of x was pooled to; negative: none.
  __device__ int64_t pooled(int64_t p) const {
    return p % all_channels < channels ? p / all_channels * channels + p % all_channels : -1;
  }

  // Of output o along a side of `size` pixels: the part of the window inside of the image.
  __device__ int begin(int o) const {
    const int first = o * stride - padding;
    return first > 0 ? first : 0;
  }
  __device__ int end(int o, int size) const {
    const int last = o * stride - padding + kernel;
    return last < size ? last : size;
  }
  // Outputs whose window holds pixel i along a side with `outputs` windows.
  __device__ int first_output(int i) const {
    const int below = i + padding - kernel;
    return below < 0 ? 0 : below / stride + 1;
  }
  __device__ int end_output(int i, int outputs) const {
    const int last = (i + padding) / stride + 1;
    return last < outputs ? last : outputs;
  }
};

// Where in its plane an element of y or x lies.
struct PlanePosition {
  int row, column;
  int64_t plane;
  __device__ PlanePosition(int64_t at, int height, int width) {
    const uint32_t i = uint32_t(at), w = uint32_t(width), h = uint32_t(height);
    column = int(i % w);
    row = int(i / w % h);
    plane = i / w / h;
  }
};

// The first maximum of the window of output (row, column), in row-major order: its index within the plane.
__device__ inline int window_maximum(const PoolWindow& w, const float* plane, int row, int column) {
  int best = w.begin(row) * w.width + w.begin(column);
  for (int r = w.begin(row); r < w.end(row, w.height); ++r)
    for (int c = w.begin(column); c < w.end(column, w.width); ++c)
      if (plane[r * w.width + c] > plane[best]) best = r * w.width + c;
  return best;
}

struct MaxPooled {
  PoolWindow w;
  const float* x;
  __device__ float operator()(int64_t i) const {
    const PlanePosition p(i, w.out_height, w.out_width);
    const float* plane = x + w.source(p.plane) * w.height * w.width;
    return plane[window_maximum(w, plane, p.row, p.column)];
  }
};

struct AveragePooled {
  PoolWindow w;
  const float* x;
  __device__ float operator()(int64_t i) const {
    const PlanePosition p(i, w.out_height, w.out_width);
    const float* plane = x + w.source(p.plane) * w.height * w.width;
    const int r0 = w.begin(p.row), r1 = w.end(p.row, w.height);
    const int c0 = w.begin(p.column), c1 = w.end(p.column, w.width);
    float sum = 0;
    for (int r = r0; r < r1; ++r)
      for (int c = c0; c < c1; ++c) sum += plane[r * w.width + c];
    return sum / float((r1 - r0) * (c1 - c0));
  }
};

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
