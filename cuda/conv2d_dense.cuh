// Dense, grouped and pointwise convolutions as matrix products (cuda/gemm.cuh) over patches that are gathered
// while tiles are loaded. Products of one group each; blockIdx.z is the group, in weight gradients group and
// chunk of images.
#pragma once

#include "cuda/channel_parts.cuh"
#include "cuda/conv2d_shape.h"
#include "cuda/gemm.cuh"

namespace ladarts::cuda {
namespace {

struct Tap {
  uint32_t channel, row, column;
  __device__ Tap(const ConvShape& s, uint32_t k)
      : channel(k / (s.kernel_height * s.kernel_width)),
        row(k / s.kernel_width % s.kernel_height),
        column(k % s.kernel_width) {}
};
struct Pixel {
  uint32_t image, row, column;
  __device__ Pixel(uint32_t n, uint32_t height, uint32_t width)
      : image(n / (height * width)), row(n / width % height), column(n % width) {}
};

// What output pixel p of channel-in-group, kernel row and column `tap` multiplies: x there, zero in the
// padding. X: OnePart or ManyParts.
template <class X>
__device__ inline float patch(const ConvShape& s, const X& x, uint32_t group, const Tap& tap,
                              const Pixel& p) {
  const int row = int(p.row) * s.stride - s.padding + int(tap.row) * s.dilation;
  const int column = int(p.column) * s.stride - s.padding + int(tap.column) * s.dilation;
  if (row < 0 || column < 0 || row >= int(s.height) || column >= int(s.width)) return 0.f;
  const uint32_t channel = group * s.group_channels + tap.channel;
  const float v = x.plane(p.image, channel, s.height * s.width)[uint32_t(row) * s.width + uint32_t(column)];
  return s.relu_input && v < 0.f ? 0.f : v;
}

// y: (outputs of a group) x (pixels of all images), depth the taps of an output.
struct WeightRows {
  static constexpr bool along_depth = true;
  const float* w;
  uint32_t group_outputs, taps;
  __device__ float operator()(uint32_t z, uint32_t m, uint32_t k) const {
    return w[int64_t(z * group_outputs + m) * taps + k];
  }
};
template <class X>
struct Patches {
  static constexpr bool along_depth = false;
  ConvShape s;
  X x;
  __device__ float operator()(uint32_t z, uint32_t k, uint32_t n) const {
    return patch(s, x, z, Tap(s, k), Pixel(n, s.out_height, s.out_width));
  }
};
struct StoreOutputs {
  ConvShape s;
  float* y;
  const float* bias;    // null: none
  const float* addend;  // laid out as y; null: none
  __device__ void operator()(uint32_t z, uint32_t m, uint32_t n, float v) const {
    const uint32_t pixels = s.out_height * s.out_width, o = z * s.group_outputs + m;
    const int64_t at = (int64_t(n / pixels) * s.outputs + o) * pixels + n % pixels;
    y[at] = v + (bias ? bias[o] : 0.f) + (addend ? addend[at] : 0.f);
  }
};

// d_x: (channels of a group) x (pixels of all images), depth the (output, kernel row, kernel column) that
// reach a pixel.
struct WeightColumns {
  static constexpr bool along_depth = true;
  ConvShape s;
  const float* w;
  __device__ float operator()(uint32_t z, uint32_t m, uint32_t k) const {
    const uint32_t kernel = s.kernel_height * s.kernel_width, o = z * s.group_outputs + k / kernel;
    return w[(int64_t(o) * s.group_channels + m) * kernel + k % kernel];
  }
};
struct OutputPatches {
  static constexpr bool along_depth = false;
  ConvShape s;
  const float* d_y;
  __device__ float operator()(uint32_t z, uint32_t k, uint32_t n) const {
    const Tap tap(s, k);
    const Pixel p(n, s.height, s.width);
    const int row = int(p.row) + s.padding - int(tap.row) * s.dilation;
    const int column = int(p.column) + s.padding - int(tap.column) * s.dilation;
    if (row < 0 || column < 0 || row % s.stride || column % s.stride) return 0.f;
    const uint32_t i = uint32_t(row / s.stride), j = uint32_t(column / s.stride);
    if (i >= s.out_height || j >= s.out_width) return 0.f;
    const uint32_t o = z * s.group_outputs + tap.channel;
    return d_y[((int64_t(p.image) * s.outputs + o) * s.out_height + i) * s.out_width + j];
  }
};
struct StoreInputs {
  ConvShape s;
  float* d_x;
  const float* x;  // null: no ReLU before the convolution
  bool add;
  __device__ void operator()(uint32_t z, uint32_t m, uint32_t n, float v) const {
    const uint32_t pixels = s.height * s.width, c = z * s.group_channels + m;
    const int64_t at = (int64_t(n / pixels) * s.channels + c) * pixels + n % pixels;
    if (x && !(x[at] > 0.f)) v = 0.f;
    d_x[at] = add ? d_x[at] + v : v;
  }
};

// The same of a pointwise convolution whose x has parts.
struct StoreParts {
  ConvShape s;
  uint32_t channels;           // of a part
  float* d_x[kMostParts];      // null: not wanted
  const float* x[kMostParts];  // null: no ReLU before the convolution
  bool add[kMostParts];
  __device__ void operator()(uint32_t, uint32_t m, uint32_t n, float v) const {
    const uint32_t pixels = s.height * s.width, part = m / channels;
    if (!d_x[part]) return;
    const int64_t at = (int64_t(n / pixels) * channels + m % channels) * pixels + n % pixels;
    if (x[part] && !(x[part][at] > 0.f)) v = 0.f;
    d_x[part][at] = add[part] ? d_x[part][at] + v : v;
  }
};

// d_w of one chunk of images: (outputs of a group) x (taps), depth the pixels of the chunk's images.
struct ChunkOutputs {
  static constexpr bool along_depth = true;
  ConvShape s;
  const float* d_y;
  uint32_t chunks, images_per_chunk;
  __device__ float operator()(uint32_t z, uint32_t m, uint32_t k) const {
    const uint32_t pixels = s.out_height * s.out_width, image = z % chunks * images_per_chunk + k / pixels;
    if (image >= s.images) return 0.f;
    const uint32_t o = z / chunks * s.group_outputs + m;
    return d_y[(int64_t(image) * s.outputs + o) * pixels + k % pixels];
  }
};
template <class X>
struct ChunkPatches {
  static constexpr bool along_depth = true;
  ConvShape s;
  X x;
  uint32_t chunks, images_per_chunk;
  __device__ float operator()(uint32_t z, uint32_t k, uint32_t n) const {
    Pixel p(k, s.out_height, s.out_width);
    p.image += z % chunks * images_per_chunk;
    return p.image < s.images ? patch(s, x, z / chunks, Tap(s, n), p) : 0.f;
  }
};
struct StorePartial {
  float* partials;  // (chunks, outputs, taps)
  uint32_t chunks, outputs, group_outputs, taps;
  __device__ void operator()(uint32_t z, uint32_t m, uint32_t n, float v) const {
    const uint32_t o = z / chunks * group_outputs + m;
    partials[(int64_t(z % chunks) * outputs + o) * taps + n] = v;
  }
};

// The partial sums of all chunks, in their order.
struct SumOfChunks {
  const float* partials;
  uint32_t chunks;
  int64_t count;
  __device__ float operator()(int64_t i) const {
    float sum = 0;
    for (uint32_t k = 0; k < chunks; ++k) sum += partials[k * count + i];
    return sum;
  }
};

}  // namespace
}  // namespace ladarts::cuda
