// Values of the arithmetic ops, per element (cuda/elementwise.cuh) or summed (cuda/reduce.cuh).
#pragma once

#include "cuda/elementwise.cuh"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

// Two inputs of the output's shape: 12 bytes moved per element.
struct SumOf {
  const float *a, *b;
  __device__ float operator()(int64_t i) const { return a[i] + b[i]; }
};
struct DifferenceOf {
  const float *a, *b;
  __device__ float operator()(int64_t i) const { return a[i] - b[i]; }
};
struct ProductOf {
  const float *a, *b;
  __device__ float operator()(int64_t i) const { return a[i] * b[i]; }
};

// factor * x: 8 bytes moved per element.
struct ScaledBy {
  const float* x;
  float factor;
  __device__ float operator()(int64_t i) const { return factor * x[i]; }
};
// s[at] * x, s in device memory.
struct ScaledByValue {
  const float *x, *s;
  int at;
  __device__ float operator()(int64_t i) const { return s[at] * x[i]; }
};
// factor * s[0] everywhere: 4 bytes moved per element.
struct SpreadOf {
  const float* s;
  float factor;
  __device__ float operator()(int64_t) const { return factor * s[0]; }
};

// A sum of up to kTerms tensors, each times its weight (weights null: ones; otherwise terms first, first + 1,
// ... of it). Longer sums take several launches, each adding to the last: 4 * (terms + 1) bytes moved per
// element in the first, 4 more in the others.
constexpr int kTerms = 16;
struct TermsOf {
  const float* x[kTerms];
  const float* weights;
  int count, first;
  __device__ float operator()(int64_t i) const {
    float sum = 0;
    for (int k = 0; k < count; ++k) sum += (weights ? weights[first + k] : 1.f) * x[k][i];
    return sum;
  }
};

// What becomes of a double sum: *y = factor * sum, or += where `add`.
struct StoreSum {
  float* y;
  double factor;
  bool add;
  __device__ void operator()(double sum) const {
    const float value = float(factor * sum);
    *y = add ? *y + value : value;
  }
};

struct ValueOf {
  const float* x;
  __device__ double operator()(int64_t i) const { return double(x[i]); }
};
struct DotTerm {
  const float *a, *b;
  __device__ double operator()(int64_t i) const { return double(a[i]) * double(b[i]); }
};

// The bits of either type. Launched as an elementwise kernel is: 256 threads per block, 8 bytes moved per
// element. Run on the host only.
__global__ void copy_bits_kernel(const uint32_t* x, uint32_t* y, int64_t n) {
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) y[i] = x[i];
}

}  // namespace
}  // namespace ladarts::cuda
