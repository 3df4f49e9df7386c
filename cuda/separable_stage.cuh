// What separable stages need besides convolutions (cuda/conv2d_launch.cuh) and channel sums
// (cuda/batch_norm.cuh).
#pragma once

#include "cuda/batch_norm.cuh"
#include "cuda/elementwise.cuh"

namespace ladarts::cuda {
namespace {

// The normalisation of y as scale and shift (2, O).
struct FinishAffine {
  const float* y;
  int64_t plane, channels;
  double count;
  float eps;
  float* affine;
  __device__ void operator()(int64_t o, double first, double second) const {
    const double shift = first / count, spread = second / count - shift * shift;
    const double mean = double(y[o * plane]) + shift;
    const double inverse = 1 / sqrt((spread > 0 ? spread : 0) + double(eps));
    affine[o] = float(inverse);
    affine[channels + o] = float(-mean * inverse);
  }
};

// What the statistics add to the gradient of y: slope * y + offset, from the gradients of scale and shift,
// where scale = (variance + eps)^(-1/2), shift = -mean * scale. d_affine null: none of these.
struct StatisticsGradient {
  const float *affine, *d_affine;  // (2, O)
  int64_t channels;
  double count;
  float* coefficients;  // (2, O): slope, offset
  __device__ void operator()(int64_t o) const {
    double slope = 0, offset = 0;
    if (d_affine) {
      const double s = affine[o], mean = -double(affine[channels + o]) / s;
      const double d_scale = d_affine[o], d_shift = d_affine[channels + o];
      slope = -s * s * s * (d_scale - mean * d_shift) / count;
      offset = -s * d_shift / count - slope * mean;
    }
    coefficients[o] = float(slope);
    coefficients[channels + o] = float(offset);
  }
};

// The gradient of y (N, O, P): slope * y + offset + the sum of its terms, each some channels of another
// gradient times a factor (ops/scaled_channels.h). Longer sums take several launches. 4 bytes read for each
// term and y, 4 written.
constexpr int kGradientTerms = 16;
struct GradientTermOperand {
  const float* d;
  const float* factors;  // (O), or null: 1
  uint32_t channels, step;
};
struct OutputGradient {
  GradientTermOperand term[kGradientTerms];
  int terms;
  const float *y, *coefficients;  // y null: a later launch of the same sum
  uint32_t channels, pixels;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % pixels, o = i / pixels % channels;
    const int64_t n = i / pixels / channels;
    float sum = y ? coefficients[o] * y[at] + coefficients[channels + o] : 0.f;
    for (int t = 0; t < terms; ++t) {
      const GradientTermOperand& k = term[t];
      sum += (k.factors ? k.factors[o] : 1.f) * k.d[(n * k.channels + o * k.step) * pixels + p];
    }
    return sum;
  }
};

// d_x (N, C, P) from d_u (N, c, P) of u = max(affine(x), 0): scale * d_u where u > 0; zero for the channels
// from c on.
struct InputGradient {
  const float *x, *d_u, *affine;  // affine null: scale 1, shift 0
  uint32_t all_channels, channels, pixels;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % pixels, c = i / pixels % all_channels;
    if (c >= channels) return 0.f;
    const int64_t n = i / pixels / all_channels;
    const float scale = affine ? affine[c] : 1.f, shift = affine ? affine[channels + c] : 0.f;
    return x[at] * scale + shift > 0.f ? scale * d_u[(n * channels + c) * pixels + p] : 0.f;
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
