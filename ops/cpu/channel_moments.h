// Batch statistics from parts: mean and squared deviations of each image's plane, joined in a fixed order.
#pragma once

#include <cmath>

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

// moments = {mean, sum of (y - mean)^2} of y[0 .. n). Two passes: y was just written and lies in the cache.
inline void plane_moments(const float* y, int64_t n, float* moments) {
  constexpr int L = kLanes;
  Vec<L> a = {}, b = {};
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    a += load<L>(y + i);
    b += load<L>(y + i + L);
  }
  float sum = sum_lanes<L>(a + b);
  for (int64_t k = i; k < n; ++k) sum += y[k];
  const float mean = sum / float(n);
  a = b = Vec<L>{};
  i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    const Vec<L> u = load<L>(y + i) - mean, v = load<L>(y + i + L) - mean;
    a += u * u;
    b += v * v;
  }
  float squares = sum_lanes<L>(a + b);
  for (int64_t k = i; k < n; ++k) squares += (y[k] - mean) * (y[k] - mean);
  moments[0] = mean;
  moments[1] = squares;
}

// Joins the moments of `parts` planes, each `stride` floats after the other, of `n` values each.
inline void normalising_affine(const float* moments, int64_t stride, int64_t parts, int64_t n, float eps,
                               float* scale, float* shift) {
  double mean = 0, squares = 0;
  for (int64_t k = 0; k < parts; ++k) mean += double(moments[k * stride]);
  mean /= double(parts);
  for (int64_t k = 0; k < parts; ++k) {
    const double off = double(moments[k * stride]) - mean;
    squares += double(moments[k * stride + 1]) + double(n) * off * off;
  }
  const double inverse = 1 / std::sqrt(squares / double(parts * n) + double(eps));
  *scale = float(inverse);
  *shift = float(-mean * inverse);
}

struct BatchMoments {
  double mean, variance;
};

// What normalising_affine() was made from.
inline BatchMoments moments_of(float scale, float shift, float eps) {
  const double s = scale, variance = 1 / (s * s) - double(eps);
  return {-double(shift) / s, variance > 0 ? variance : 0};
}

// What the statistics add to the gradient of y: slope * y + offset, from the gradients of scale and shift,
// where scale = (var + eps)^(-1/2), shift = -mean * scale.
inline void statistics_gradient(float scale, float shift, float d_scale, float d_shift, int64_t values,
                                float* slope, float* offset) {
  const double s = scale, mean = -double(shift) / s;
  const double b = -s * s * s * (double(d_scale) - mean * double(d_shift)) / double(values);
  *slope = float(b);
  *offset = float(-s * double(d_shift) / double(values) - b * mean);
}

}  // namespace
}  // namespace ladarts
