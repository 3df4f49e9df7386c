// The windows of square pools, and what is pooled; x (N, C, H, W), y (N, c, H', W'), c <= C.
#pragma once

#include <cstdint>

#include "cuda/elementwise.cuh"
#include "ops/pool2d.h"

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

// The mean of the window's pixels inside of the image.
__device__ inline float window_mean(const PoolWindow& w, const float* plane, int row, int column) {
  const int r0 = w.begin(row), r1 = w.end(row, w.height);
  const int c0 = w.begin(column), c1 = w.end(column, w.width);
  float sum = 0;
  for (int r = r0; r < r1; ++r)
    for (int c = c0; c < c1; ++c) sum += plane[r * w.width + c];
  return sum / float((r1 - r0) * (c1 - c0));
}

inline PoolWindow window_of(const Pool2dDesc& d, const Shape& x, const Shape& y) {
  size32(x.elements());
  return {d.kernel,      d.stride,  d.padding, int(x[2]),
          int(x[3]),     int(y[2]), int(y[3]), uint32_t(d.channels ? d.channels : x[1]),
          uint32_t(x[1])};
}

// The maximum or the mean of a window.
__device__ inline float window_value(const PoolWindow& w, const float* plane, int row, int column, bool max) {
  return max ? plane[window_maximum(w, plane, row, column)] : window_mean(w, plane, row, column);
}

struct Pooled {
  PoolWindow w;
  const float* x;
  bool max;
  __device__ float operator()(int64_t i) const {
    const PlanePosition p(i, w.out_height, w.out_width);
    return window_value(w, x + w.source(p.plane) * w.height * w.width, p.row, p.column, max);
  }
};

}  // namespace
}  // namespace ladarts::cuda
