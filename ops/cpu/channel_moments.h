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

// scale and shift (channels) that normalise values whose `parts` planes of n values have the `moments`, a
// pair for each channel, part after part `stride` floats apart.
inline void normalising_affine(const float* moments, int64_t stride, int64_t parts, int64_t n, float eps,
                               int64_t channels, float* scale, float* shift) {
  constexpr int L = kLanes, together = L / 2;
  typedef double Doubles __attribute__((vector_size(together * 8)));
  auto doubles = [](Vec<L> v) { return __builtin_convertvector(lower_half<L>(v), Doubles); };
  for (int64_t c = 0; c < channels; c += together) {
    const int64_t count = channels - c < together ? channels - c : together;
    auto pairs = [&](int64_t part) { return load_first<L>(moments + 2 * c + part * stride, 2 * count); };
    Doubles mean = {}, squares = {};
    for (int64_t k = 0; k < parts; ++k) mean += doubles(even_lanes<L>(pairs(k), pairs(k)));
    mean *= 1 / double(parts);
    for (int64_t k = 0; k < parts; ++k) {
      const Vec<L> of_part = pairs(k);
      const Doubles off = doubles(even_lanes<L>(of_part, of_part)) - mean;
      squares += doubles(odd_lanes<L>(of_part, of_part)) + double(n) * off * off;
    }
    const Doubles variance = squares * (1 / double(parts * n));
    for (int j = 0; j < count; ++j) {
      const double inverse = 1 / std::sqrt(variance[j] + double(eps));
      scale[c + j] = float(inverse);
      shift[c + j] = float(-mean[j] * inverse);
    }
  }
}

struct BatchMoments {
  double mean, variance;
};

// What normalising_affine() was made from.
inline BatchMoments moments_of(float scale, float shift, float eps) {
  const double s = scale, variance = 1 / (s * s) - double(eps);
  return {-double(shift) / s, variance > 0 ? variance : 0};
}

// What the statistics add to the gradient of y, slope * y + offset of each channel, from the affine (2,
// channels), scale = (var + eps)^(-1/2) and shift = -mean * scale, and its gradient.
inline void statistics_gradient(const float* affine, const float* d_affine, int64_t channels, int64_t values,
                                float* slope, float* offset) {
  const double per_value = 1 / double(values);
  for (int64_t c = 0; c < channels; ++c) {
    const double s = affine[c], mean = -double(affine[channels + c]) / s;
    const double d_scale = d_affine[c], d_shift = d_affine[channels + c];
    const double b = -s * s * s * (d_scale - mean * d_shift) * per_value;
    slope[c] = float(b);
    offset[c] = float(-s * d_shift * per_value - b * mean);
  }
}

}  // namespace
}  // namespace ladarts
