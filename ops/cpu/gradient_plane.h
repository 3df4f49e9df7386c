// One plane of a gradient given as a sum of terms (ops/scaled_channels.h).
#pragma once

#include <algorithm>

#include "core/kernel.h"
#include "ops/cpu/simd.h"
#include "ops/scaled_channels.h"

namespace ladarts {
namespace {

// Channel c of image n, of `channels` planes of `pixels` each: to (+)= the sum. `own`: the plane of terms
// whose source is negative.
inline void sum_gradient_plane(const GradientSum& sum, const KernelArgs& a, int64_t n, int64_t c,
                               int64_t channels, int64_t pixels, float* to, bool add,
                               const float* own = nullptr) {
  constexpr int kTogether = 4;
  const float* planes[kTogether];
  float factors[kTogether];
  for (size_t first = 0; first == 0 || first < sum.size(); first += kTogether) {
    const int count = int(std::min<size_t>(kTogether, sum.size() - first));
    float offset = 0;
    for (int k = 0; k < count; ++k) {
      const GradientTerm& t = sum[first + size_t(k)];
      planes[k] = t.source < 0 ? own : a.in(t.source) + (n * a.in_shape(t.source)[1] + c * t.step) * pixels;
      factors[k] = t.factors < 0 ? 1.f : a.in(t.factors)[t.row * channels + c];
      if (t.offset_row >= 0) offset += a.in(t.factors)[t.offset_row * channels + c];
    }
    for (int64_t i = 0; i < pixels; i += kLanes) {
      const int64_t left = std::min<int64_t>(kLanes, pixels - i);
      const bool whole = left == kLanes;
      Vec<kLanes> v = Vec<kLanes>{} + offset;
      if (add || first > 0) v += whole ? load<kLanes>(to + i) : load_first<kLanes>(to + i, left);
      for (int k = 0; k < count; ++k)
        v += factors[k] * (whole ? load<kLanes>(planes[k] + i) : load_first<kLanes>(planes[k] + i, left));
      if (whole) {
        store<kLanes>(to + i, v);
      } else {
        store_first<kLanes>(to + i, v, left);
      }
    }
  }
}

// The same: where it lies, or written to `scratch`.
inline const float* gradient_plane(const GradientSum& sum, const KernelArgs& a, int64_t n, int64_t c,
                                   int64_t channels, int64_t pixels, float* scratch,
                                   const float* own = nullptr) {
  if (sum.size() == 1 && sum[0].factors < 0)
    return a.in(sum[0].source) + (n * a.in_shape(sum[0].source)[1] + c * sum[0].step) * pixels;
  sum_gradient_plane(sum, a, n, c, channels, pixels, scratch, false, own);
  return scratch;
}

}  // namespace
}  // namespace ladarts
