// A separable convolution with everything around it, for inference:
//   y = bias + pointwise(depthwise(max(x, 0))) [+ addend]
// The depthwise result never leaves the cache of the core that reads it. It has no gradient: training
// uses conv2d() or separable_stage().
#pragma once

#include "core/graph.h"

namespace ladarts {

struct SeparableConvDesc {
  int stride = 1;    // 1 or 2
  int dilation = 1;  // 1 or 2
};

// x (N, C, H, W), depthwise (C, 1, K, K) with K = 3 or 5, padded so that the image keeps its size at stride
// 1, pointwise (O, C, 1, 1), bias (O), addend of y's shape or empty. Returns (N, O, ceil(H/stride),
// ceil(W/stride)). Throws Error where shapes do not fit.
Tensor separable_conv(Tensor x, Tensor depthwise, Tensor pointwise, Tensor bias, SeparableConvDesc desc = {},
                      Tensor addend = {});

// Kernels that separable_conv() offers.
inline bool has_separable_conv(int kernel) {
  return kernel == 3 || kernel == 5;
}

class SeparableConv : public Op {  // (x, depthwise, pointwise, bias[, addend]) -> (y)
 public:
  explicit SeparableConv(SeparableConvDesc d) : desc(d) {}
  std::string_view name() const override { return "separable_conv"; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  SeparableConvDesc desc;
};

}  // namespace ladarts
