// What separable stages need besides convolutions (cuda/conv2d_launch.cuh) and channel sums
// (cuda/batch_norm.cuh).
#pragma once

#include "cuda/batch_norm.cuh"
#include "cuda/elementwise.cuh"

namespace ladarts::cuda {
namespace {

// d_x (N, C, P) from d_u (N, c, P) of u = max(affine(x), 0): factor * d_u where u > 0; zero for the channels
// from c on.
struct InputGradient {
  const float *x, *d_u, *affine;  // affine null: scale 1, shift 0
  const float* factors;           // (c): the affine's scale; null: 1
  uint32_t all_channels, channels, pixels;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % pixels, c = i / pixels % all_channels;
    if (c >= channels) return 0.f;
    const int64_t n = i / pixels / all_channels;
    const float scale = affine ? affine[c] : 1.f, shift = affine ? affine[channels + c] : 0.f;
    const float factor = factors ? factors[c] : 1.f;
    return x[at] * scale + shift > 0.f ? factor * d_u[(n * channels + c) * pixels + p] : 0.f;
  }
};

// Sums for the gradient of an input's affine: of d * x and d, d = d_u where u > 0. Indices of
// channel_sums_kernel are of d_u (N, c, P).
struct AffineTerm {
  const float *x, *d_u, *affine;
  int64_t all_channels, channels, pixels;
  __device__ void operator()(int64_t c, int64_t i, float& s, float& t) const {
    const int64_t n = i / pixels / channels;
    const float v = x[(n * all_channels + c) * pixels + i % pixels];
    const float d = v * affine[c] + affine[channels + c] > 0.f ? d_u[i] : 0.f;
    s += d * v;
    t += d;
  }
};
struct StoreAffine {
  float* d;
  int64_t channels;
  bool add;
  __device__ void operator()(int64_t c, double first, double second) const {
    d[c] = float(first) + (add ? d[c] : 0.f);
    d[channels + c] = float(second) + (add ? d[channels + c] : 0.f);
  }
};

}  // namespace
}  // namespace ladarts::cuda
