// A gradient that is some channels of another value, each times a factor, plus an offset where there is one:
//   y[n][j] = factors[row][j] * g[n][j * step] + factors[offset_row][j]
// Summing many branches into one value gives each branch such a gradient, and so do batch statistics. An op
// that reads a gradient as a GradientSum applies the factors while it loads, and the scaled copies are never
// made.
#pragma once

#include <vector>

#include "core/gradients.h"

namespace ladarts {

class ScaledChannels : public Op {  // (g (N, C, H, W), factors (T, c)) -> (N, c, H, W)
 public:
  ScaledChannels(int r, int s, int o = -1) : row(r), step(s), offset_row(o) {}
  std::string_view name() const override { return "scaled_channels"; }
  bool can_accumulate(int) const override { return true; }
  int row;
  int step;
  int offset_row;  // -1: none
};

// One addend of a gradient, by positions among the operands of the op that reads it.
struct GradientTerm {
  int source = 0;
  int factors = -1;  // -1: the source itself, all channels, factor 1
  int row = 0;
  int step = 1;
  int offset_row = -1;
};
using GradientSum = std::vector<GradientTerm>;  // empty: zero

// As Op::reading_affine(): the sum with the affine for terms of these sources. False: a term has factors of
// its own.
bool apply_affine(GradientSum& sum, const std::vector<int>& sources, int affine);

// The gradient of output `i` as a sum of terms. Its operands are appended to `operands`. Where every writer
// of the gradient is a ScaledChannels, their sources and factors take its place, and the writers, no longer
// read, are removed as dead by compile().
GradientSum gradient_sum(const Backward& b, int output, std::vector<Tensor>& operands);

}  // namespace ladarts
