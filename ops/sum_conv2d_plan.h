// Sizes and scratch memory on which the sum_conv2d ops and their CPU kernels agree.
#pragma once

#include "ops/conv2d_plan.h"
#include "ops/sum_conv2d.h"

namespace ladarts {

// As of one convolution whose outputs are all those of `y`; part: (N, C, H, W).
inline Conv2dGeometry sum_conv2d_geometry(const std::vector<GradientSum>& parts, const Shape& part,
                                          std::span<const Shape> y) {
  const int64_t channels = int64_t(parts.size()) * part[1];
  int64_t outputs = 0;
  for (const Shape& s : y) outputs += s[1];
  return conv2d_geometry({.relu_input = true}, {part[0], channels, part[2], part[3]},
                         Shape{outputs, channels, 1, 1});
}

// Of each channel of x: factors of its two terms and the offset. At the beginning of each op's workspace.
constexpr int64_t kSumCoefficients = 3;
inline int64_t coefficient_floats(const Conv2dGeometry& g) {
  return (kSumCoefficients * g.c + 15) / 16 * 16;
}

// The workspace of the gradient, in floats, in this order.
struct SumGradPlan {
  static constexpr int64_t kLanes = 16;
  int64_t chunks;        // of images; their weight gradients are summed apart, then in order
  int64_t coefficients;  // see above
  int64_t weights;       // of all outputs, below each other
  int64_t thread;        // scratch of a convolution's gradients, one at a time
  int64_t lanes;         // each thread's sums of d, d * first term and d * second term of a channel, by lanes
  int64_t sums;          // of them: (images, channels of x, kSumCoefficients)
  int64_t partials;      // (chunks, weights)

  explicit SumGradPlan(const Conv2dGeometry& g);
  int64_t floats(int threads) const {
    return coefficients + weights + threads * (thread + lanes) + sums + partials;
  }
};

}  // namespace ladarts
