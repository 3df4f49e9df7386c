// Softmax of short rows: one warp per row, whose lanes take every 32nd element.
#pragma once

#include <cstdint>

#include "cuda/segments.h"
#include "cuda/simt.h"

namespace ladarts::cuda {
namespace {

constexpr int kWarp = 32;
constexpr int kRowsPerBlock = 4;
constexpr unsigned kAllLanes = 0xffffffffu;

// Of all lanes, in every lane; the tree of sums is the same for each row.
__device__ inline float warp_max(float v) {
  for (int bits = kWarp / 2; bits > 0; bits /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, v, bits);
    v = other > v ? other : v;
  }
  return v;
}
__device__ inline double warp_sum(double v) {
  for (int bits = kWarp / 2; bits > 0; bits /= 2) v += __shfl_xor_sync(kAllLanes, v, bits);
  return v;
}

// Rows of one length, one after the other.
struct EqualRows {
  int64_t length, count;
  __device__ int64_t begin(int64_t r) const { return r * length; }
};
struct UnequalRows {
  Segments s;
  int64_t count;
  __device__ int64_t begin(int64_t r) const { return s.begin[r]; }
};

// y = exp(x - max) / sum of those, within each row. 128 threads per block, a warp per row: consecutive
// accesses. Reads x three times, the last two from the cache, writes y once. No shared memory. Run on the
// host only.
template <class Rows>
__global__ void softmax_kernel(Rows rows, const float* x, float* y) {
  const int64_t r = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  if (r >= rows.count) return;
  const int lane = int(threadIdx.x % kWarp);
  const int64_t begin = rows.begin(r), end = rows.begin(r + 1);
  float top = x[begin];
  for (int64_t i = begin + lane; i < end; i += kWarp) top = x[i] > top ? x[i] : top;
  top = warp_max(top);
  double total = 0;
  for (int64_t i = begin + lane; i < end; i += kWarp) total += double(expf(x[i] - top));
  const float scale = float(1 / warp_sum(total));
  for (int64_t i = begin + lane; i < end; i += kWarp) y[i] = expf(x[i] - top) * scale;
}

// d_x = y (d_y - sum(y d_y)) within each row, or += that. Mapping as above; 12 bytes moved per element.
template <class Rows>
__global__ void softmax_grad_kernel(Rows rows, const float* y, const float* d_y, float* d_x, bool add) {
  const int64_t r = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.x / kWarp;
  if (r >= rows.count) return;
  const int lane = int(threadIdx.x % kWarp);
  const int64_t begin = rows.begin(r), end = rows.begin(r + 1);
  double inner = 0;
  for (int64_t i = begin + lane; i < end; i += kWarp) inner += double(y[i]) * double(d_y[i]);
  const float mean = float(warp_sum(inner));
  for (int64_t i = begin + lane; i < end; i += kWarp) {
    const float v = y[i] * (d_y[i] - mean);
    d_x[i] = add ? d_x[i] + v : v;
  }
}

}  // namespace
}  // namespace ladarts::cuda
