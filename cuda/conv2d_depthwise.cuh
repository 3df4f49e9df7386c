// Depthwise convolutions: one kernel plane per channel, 2 K^2 operations for 8 bytes moved, so memory sets
// their time as long as each value is read from it once. A block keeps a tile of one plane with its border in
// shared memory, zeros where the image ends, so that the taps need no checks. Template K: 3 and 5 are
// unrolled, 0 is any size.
#pragma once

#include "cuda/conv2d_shape.h"
#include "cuda/simt.h"

namespace ladarts::cuda {
namespace {

constexpr int kPlaneThreads = 256;
constexpr int kSumParts = 8;  // threads that add up one tap's sums

// Taps whose sums a thread keeps: all of a 3 x 3 or 5 x 5 kernel, 16 at a time of others.
constexpr int grad_weight_taps(int k) {
  return k ? k * k : 16;
}
constexpr size_t grad_weight_shared_bytes(int taps) {
  return size_t(taps) * ((kPlaneThreads + kSumParts) * sizeof(float) + kSumParts * sizeof(double));
}

// A block's tiles: `planes` tiles of `side` x `side` values of their planes, one after the other in shared
// memory.
struct PlaneTiles {
  int side, planes;  // 8 x 8 of 4 planes, 16 x 16 or 32 x 32 of one
  int across, down;  // tiles of a plane
  int source_side;   // of the part of the source plane that a tile reads
  uint32_t all_planes;

  __device__ int values() const { return planes * side * side; }
};

// Planes as a kernel reads them: the first `channels` of `all_channels` of each image, each times its scale
// plus its shift, then max(., 0).
struct SourcePlanes {
  const float* x;
  uint32_t channels, all_channels;
  const float* affine;  // (2, channels): scale, shift; null: none
  bool relu;

  // Plane p counts channels first, then images.
  __device__ const float* plane(uint32_t p, int64_t pixels) const {
    return x + (int64_t(p / channels) * all_channels + p % channels) * pixels;
  }
  __device__ float value(float v, uint32_t channel) const {
    if (affine) v = v * affine[channel] + affine[channels + channel];
    return relu && v < 0.f ? 0.f : v;
  }
};

// Loads the part of plane p whose first row and column are (row, column), zeros outside of the plane.
__device__ inline void load_part(float* part, int side, const SourcePlanes& source, uint32_t p, int height,
                                 int width, int row, int column) {
  const float* const plane = source.plane(p, int64_t(height) * width);
  const uint32_t channel = p % source.channels;
  for (int e = int(threadIdx.x); e < side * side; e += kPlaneThreads) {
    const int r = row + e / side, c = column + e % side;
    part[e] = r >= 0 && c >= 0 && r < height && c < width ? source.value(plane[r * width + c], channel) : 0.f;
  }
}

// Where the block's tile `slot` lies: its plane, and the row and column of its first value.
struct TilePosition {
  uint32_t plane;
  int row, column;
  bool exists;
  __device__ TilePosition(const PlaneTiles& t, int slot)
      : plane(blockIdx.x * uint32_t(t.planes) + uint32_t(slot)),
        row(int(blockIdx.y) / t.across * t.side),
        column(int(blockIdx.y) % t.across * t.side),
        exists(plane < t.all_planes) {}
};

// y[n, c, i, j] = bias[c] + sum over p, q of w[c, p, q] x[n, c, i s - pad + p d, j s - pad + q d].
// Grid (planes / t.planes, tiles of a plane), 256 threads. Reads x once (and the border of each tile again),
// writes y once. Shared memory: planes * source_side^2 floats: 5.1 KiB for 32 x 32 and 5 x 5. Run on the host
// only.
template <int K>
__global__ void __launch_bounds__(kPlaneThreads)
    depthwise_kernel(ConvShape s, PlaneTiles t, SourcePlanes x, const float* w, const float* bias, float* y) {
  SIMT_DYNAMIC_SHARED(float, shared);
  const int part = t.source_side * t.source_side, me = int(threadIdx.x);
  for (int slot = 0; slot < t.planes; ++slot) {
    const TilePosition at(t, slot);
    if (at.exists)
      load_part(shared + slot * part, t.source_side, x, at.plane, int(s.height), int(s.width),
                at.row * s.stride - s.padding, at.column * s.stride - s.padding);
  }
  __syncthreads();
  const int kh = K ? K : int(s.kernel_height), kw = K ? K : int(s.kernel_width);
  for (int e = me; e < t.values(); e += kPlaneThreads) {
    const int slot = e / (t.side * t.side), i = e / t.side % t.side, j = e % t.side;
    const TilePosition at(t, slot);
    const int row = at.row + i, column = at.column + j;
    if (!at.exists || row >= int(s.out_height) || column >= int(s.out_width)) continue;
    const uint32_t c = at.plane % s.channels;
    const float* weights = w + int64_t(c) * (kh * kw);
    const float* from = shared + slot * part + i * s.stride * t.source_side + j * s.stride;
    float sum = 0;
#pragma unroll
    for (int p = 0; p < kh; ++p)
#pragma unroll
      for (int q = 0; q < kw; ++q) sum += weights[p * kw + q] * from[(p * t.source_side + q) * s.dilation];
    y[(int64_t(at.plane) * s.out_height + uint32_t(row)) * s.out_width + uint32_t(column)] =
        sum + (bias ? bias[c] : 0.f);
  }
}

// d_x[n, c, r, v] = sum over p, q of w[c, p, q] d_y[n, c, (r + pad - p d) / s, (v + pad - q d) / s] where
// those are whole; zero where x is not above 0, if x is given. The source part starts at the first output
// that reaches the tile. Grid, threads, bytes and shared memory as above, with the parts of d_y. Run on the
// host only.
template <int K>
__global__ void __launch_bounds__(kPlaneThreads)
    depthwise_grad_input_kernel(ConvShape s, PlaneTiles t, const float* d_y, const float* w, const float* x,
                                float* d_x, bool add) {
  SIMT_DYNAMIC_SHARED(float, shared);
  const int part = t.source_side * t.source_side, me = int(threadIdx.x);
  const int kh = K ? K : int(s.kernel_height), kw = K ? K : int(s.kernel_width);
  // The first output row that may reach row `first` of x, rounded down also below zero.
  auto first_output = [&](int first, int taps) {
    const int v = first + s.padding - (taps - 1) * s.dilation;
    return v >= 0 ? v / s.stride : -((-v + s.stride - 1) / s.stride);
  };
  for (int slot = 0; slot < t.planes; ++slot) {
    const TilePosition at(t, slot);
    if (at.exists)
      load_part(shared + slot * part, t.source_side,
                SourcePlanes{d_y, s.channels, s.channels, nullptr, false}, at.plane, int(s.out_height),
                int(s.out_width), first_output(at.row, kh), first_output(at.column, kw));
  }
  __syncthreads();
  for (int e = me; e < t.values(); e += kPlaneThreads) {
    const int slot = e / (t.side * t.side), i = e / t.side % t.side, j = e % t.side;
    const TilePosition at(t, slot);
    const int row = at.row + i, column = at.column + j;
    if (!at.exists || row >= int(s.height) || column >= int(s.width)) continue;
    const float* weights = w + int64_t(at.plane % s.channels) * (kh * kw);
    const float* from = shared + slot * part;
    // In steps of one row of x from the part's first row, never negative.
    const int r0 = row + s.padding - first_output(at.row, kh) * s.stride;
    const int c0 = column + s.padding - first_output(at.column, kw) * s.stride;
    float sum = 0;
#pragma unroll
    for (int p = 0; p < kh; ++p)
#pragma unroll
      for (int q = 0; q < kw; ++q) {
        const int r = r0 - p * s.dilation, c = c0 - q * s.dilation;
        if (r % s.stride || c % s.stride) continue;
        sum += weights[p * kw + q] * from[r / s.stride * t.source_side + c / s.stride];
      }
    const int64_t to = (int64_t(at.plane) * s.height + uint32_t(row)) * s.width + uint32_t(column);
    if (x && !(x[to] > 0.f)) sum = 0.f;
    d_x[to] = add ? d_x[to] + sum : sum;
  }
}

// partials[k, c, tap] = sum over the images of chunk k and all pixels of d_y * x at that tap, for T taps from
// blockIdx.z * T on. Grid (chunks, C, taps / T), 256 threads; a thread takes every 256th pixel and keeps T
// sums in registers, which the block then adds up in double. x is read T times, all but the first from the
// cache; 8 bytes moved per pixel and group of taps. Shared
// memory: T rows of 264 floats (so that the 8 threads of neighbouring taps read other banks) and 8 doubles
// per tap, 27.4 KiB for 25 taps. Run on the host only.
template <int K>
__global__ void __launch_bounds__(kPlaneThreads, 1)  // one block at least: registers for 25 sums
    depthwise_grad_weight_kernel(ConvShape s, uint32_t images_per_chunk, const float* d_y, SourcePlanes x,
                                 float* partials) {
  SIMT_DYNAMIC_SHARED(float, sums);
  constexpr int T = grad_weight_taps(K);
  const uint32_t kernel_width = K ? K : s.kernel_width, taps = K ? K * K : s.kernel_height * kernel_width;
  const uint32_t c = blockIdx.y, first_tap = K ? 0 : blockIdx.z * T;
  const uint32_t first = blockIdx.x * images_per_chunk;
  const uint32_t last = first + images_per_chunk < s.images ? first + images_per_chunk : s.images;
  const uint32_t pixels = s.out_height * s.out_width;
  float sum[T] = {};
  for (uint32_t e = threadIdx.x; e < (last - first) * pixels; e += kPlaneThreads) {
    const uint32_t image = first + e / pixels, i = e % pixels / s.out_width, j = e % s.out_width;
    const int64_t plane = int64_t(image) * s.channels + c;
    const float g = d_y[plane * pixels + e % pixels];
    const float* const from = x.plane(uint32_t(plane), int64_t(s.height) * s.width);
#pragma unroll
    for (uint32_t k = 0; k < T; ++k) {
      const uint32_t tap = first_tap + k;
      const int row = int(i) * s.stride - s.padding + int(tap / kernel_width) * s.dilation;
      const int column = int(j) * s.stride - s.padding + int(tap % kernel_width) * s.dilation;
      if (tap >= taps || row < 0 || column < 0 || row >= int(s.height) || column >= int(s.width)) continue;
      sum[k] += g * x.value(from[row * int(s.width) + column], c);
    }
  }
  // 8 threads per tap add up 32 sums each, then one the 8.
  constexpr int kRow = kPlaneThreads + kSumParts;
  const int me = int(threadIdx.x), tap = me / kSumParts, part = me % kSumParts;
#pragma unroll
  for (int k = 0; k < T; ++k) sums[k * kRow + me] = sum[k];
  __syncthreads();
  double* const parts = reinterpret_cast<double*>(sums + T * kRow);
  if (tap < T) {
    double total = 0;
    for (int i = part; i < kPlaneThreads; i += kSumParts) total += double(sums[tap * kRow + i]);
    parts[me] = total;
  }
  __syncthreads();
  if (me < T && first_tap + uint32_t(me) < taps) {
    double total = 0;
    for (int i = 0; i < kSumParts; ++i) total += parts[me * kSumParts + i];
    partials[(int64_t(blockIdx.x) * s.channels + c) * taps + first_tap + uint32_t(me)] = float(total);
  }
}

}  // namespace
}  // namespace ladarts::cuda
