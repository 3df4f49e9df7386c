// A gradient that is some channels of another gradient, each times a factor:
//   y[n][j] = factors[row][j] * g[n][j * step]
// Summing many branches into one value gives each branch such a gradient. An op that reads a gradient as a
// GradientSum applies the factors while it loads, and the scaled copies are never made.
#pragma once

#include <vector>

#include "core/gradients.h"

namespace ladarts {

class ScaledChannels : public Op {  // (g (N, C, H, W), factors (T, c)) -> (N, c, H, W)
 public:
  ScaledChannels(int r, int s) : row(r), step(s) {}
  std::string_view name() const override { return "scaled_channels"; }
  bool can_accumulate(int) const override { return true; }
  int row;
  int step;
};

// One addend of a gradient, by positions among the operands of the op that reads it.
struct GradientTerm {
  int source = 0;
  int factors = -1;  // -1: the source itself, all channels, factor 1
  int row = 0;
  int step = 1;
};
using GradientSum = std::vector<GradientTerm>;  // empty: zero

// The gradient of output `i` as a sum of terms. Its operands are appended to `operands`. Where every writer
// of the gradient is a ScaledChannels, their sources and factors take its place, and the writers, no longer
// read, are removed as dead by compile().
GradientSum gradient_sum(const Backward& b, int output, std::vector<Tensor>& operands);

}  // namespace ladarts
