// One plane of a gradient given as a sum of terms (ops/scaled_channels.h).
#pragma once

#include <algorithm>

#include "core/kernel.h"
#include "ops/cpu/simd.h"
#include "ops/scaled_channels.h"

namespace ladarts {
namespace {

// Channel c of image n, of `channels` planes of `pixels` each: where it lies, or written to `scratch`.
inline const float* gradient_plane(const GradientSum& sum, const KernelArgs& a, int64_t n, int64_t c,
                                   int64_t channels, int64_t pixels, float* scratch) {
  constexpr int kTogether = 4;
  const float* planes[kTogether];
  float factors[kTogether];
  auto source = [&](const GradientTerm& t) {
    return a.in(t.source) + (n * a.in_shape(t.source)[1] + c * t.step) * pixels;
  };
  if (sum.size() == 1 && sum[0].factors < 0) return source(sum[0]);
  for (size_t first = 0; first == 0 || first < sum.size(); first += kTogether) {
    const int count = int(std::min<size_t>(kTogether, sum.size() - first));
    float offset = 0;
    for (int k = 0; k < count; ++k) {
      const GradientTerm& t = sum[first + size_t(k)];
      planes[k] = source(t);
      factors[k] = t.factors < 0 ? 1.f : a.in(t.factors)[t.row * channels + c];
      if (t.offset_row >= 0) offset += a.in(t.factors)[t.offset_row * channels + c];
    }
    for (int64_t i = 0; i < pixels; i += kLanes) {
      const int64_t left = std::min<int64_t>(kLanes, pixels - i);
      const bool whole = left == kLanes;
      Vec<kLanes> v = Vec<kLanes>{} + offset;
      if (first > 0) v += whole ? load<kLanes>(scratch + i) : load_first<kLanes>(scratch + i, left);
      for (int k = 0; k < count; ++k)
        v += factors[k] * (whole ? load<kLanes>(planes[k] + i) : load_first<kLanes>(planes[k] + i, left));
      if (whole) {
        store<kLanes>(scratch + i, v);
      } else {
        store_first<kLanes>(scratch + i, v, left);
      }
    }
  }
  return scratch;
}

}  // namespace
}  // namespace ladarts
