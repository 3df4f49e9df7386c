// Activations and their gradients, elementwise over x, y, d_y, d_x of one shape. Each reads what its struct
// holds once and writes 4 bytes per element: 8 bytes moved forward, 12 backward (16 accumulating).
#pragma once

#include "cuda/elementwise.cuh"

namespace ladarts::cuda {
namespace {

struct ReluOf {
  const float* x;
  __device__ float operator()(int64_t i) const { return x[i] > 0.f ? x[i] : 0.f; }
};
struct SigmoidOf {
  const float* x;
  __device__ float operator()(int64_t i) const { return 1.f / (1.f + expf(-x[i])); }
};
struct TanhOf {
  const float* x;
  __device__ float operator()(int64_t i) const { return tanhf(x[i]); }
};
struct ExpOf {
  const float* x;
  __device__ float operator()(int64_t i) const { return expf(x[i]); }
};
struct LogOf {
  const float* x;
  __device__ float operator()(int64_t i) const { return logf(x[i]); }
};

// From the output alone, so that x need not be kept.
struct ReluGradOf {
  const float *y, *d_y;
  __device__ float operator()(int64_t i) const { return y[i] > 0.f ? d_y[i] : 0.f; }
};
struct SigmoidGradOf {
  const float *y, *d_y;
  __device__ float operator()(int64_t i) const { return d_y[i] * y[i] * (1.f - y[i]); }
};
struct TanhGradOf {
  const float *y, *d_y;
  __device__ float operator()(int64_t i) const { return d_y[i] * (1.f - y[i] * y[i]); }
};
struct ExpGradOf {
  const float *y, *d_y;
  __device__ float operator()(int64_t i) const { return d_y[i] * y[i]; }
};
struct LogGradOf {  // 1 / x
  const float *y, *d_y;
  __device__ float operator()(int64_t i) const { return d_y[i] * expf(-y[i]); }
};

}  // namespace
}  // namespace ladarts::cuda
