// Softmax over the last dimension, or over consecutive segments of a vector.
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

Tensor softmax(Tensor x);  // rank 1 or more
// x (E), sizes positive with sum E: each segment sums to one. For the edges that enter each node of a cell.
Tensor segment_softmax(Tensor x, std::vector<int> segment_sizes);

class Softmax : public Op {  // (x) -> (y); segments empty: rows of the last dimension
 public:
  explicit Softmax(std::vector<int> s) : segments(std::move(s)) {}
  std::string_view name() const override { return segments.empty() ? "softmax" : "segment_softmax"; }
  void backward(Backward& b) const override;
  std::vector<int> segments;
};

class SoftmaxGrad : public Op {  // (y, d_y) -> (d_x) = y * (d_y - sum(y * d_y)) within each segment
 public:
  explicit SoftmaxGrad(std::vector<int> s) : segments(std::move(s)) {}
  std::string_view name() const override { return "softmax_grad"; }
  bool can_accumulate(int) const override { return true; }
  std::vector<int> segments;
};

}  // namespace ladarts
