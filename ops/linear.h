// Fully connected layer: y[n][o] = bias[o] + sum over i of w[o][i] * x[n][i].
#pragma once

#include "core/graph.h"

namespace ladarts {

struct LinearDesc {
  bool relu_input = false;  // max(x, 0) as x is read, in forward and backward; saves ReLU's own passes
};

// x (N, I), w (O, I), bias (O) or empty. Returns (N, O). Throws Error where shapes do not fit.
Tensor linear(Tensor x, Tensor w, Tensor bias = {}, LinearDesc desc = {});

class Linear : public Op {  // (x, w[, bias]) -> (y)
 public:
  explicit Linear(LinearDesc d) : desc(d) {}
  std::string_view name() const override { return "linear"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  LinearDesc desc;
};

class LinearGradInput : public Op {  // (d_y, w[, x where relu_input]) -> (d_x)
 public:
  explicit LinearGradInput(LinearDesc d) : desc(d) {}
  std::string_view name() const override { return "linear_grad_input"; }
  bool can_accumulate(int) const override { return true; }
  Cost cost(const NodeShapes& s) const override;
  LinearDesc desc;
};

class LinearGradWeight : public Op {  // (d_y, x) -> (d_w)
 public:
  explicit LinearGradWeight(LinearDesc d) : desc(d) {}
  std::string_view name() const override { return "linear_grad_weight"; }
  bool can_accumulate(int) const override { return true; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  LinearDesc desc;
};

}  // namespace ladarts
