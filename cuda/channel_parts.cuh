// Where the channels of an x lie that is given in parts (ops/channels.h), as kernels take it: by value.
#pragma once

#include "core/kernel.h"
#include "cuda/elementwise.cuh"
#include "ops/channels.h"

namespace ladarts::cuda {
namespace {

struct OnePart {  // (N, channels, H, W)
  const float* x;
  uint32_t channels;
  __device__ const float* plane(int64_t n, uint32_t c, uint32_t pixels) const {
    return x + (n * channels + c) * pixels;
  }
};

struct ManyParts {  // (N, channels, H, W) each
  const float* part[kMostParts];
  uint32_t channels;
  __device__ const float* plane(int64_t n, uint32_t c, uint32_t pixels) const {
    return part[c / channels] + (n * channels + c % channels) * pixels;
  }
};

// f(OnePart or ManyParts), of operands [first, first + parts).
template <class F>
void with_parts(const KernelArgs& a, int first, int parts, F f) {
  const uint32_t channels = size32(a.in_shape(first)[1]);
  if (parts == 1) return f(OnePart{a.in(first), channels});
  ManyParts x{{}, channels};
  for (int i = 0; i < parts; ++i) x.part[i] = a.in(first + i);
  f(x);
}

}  // namespace
}  // namespace ladarts::cuda
