// Elementwise activations; output has the input's shape.
#pragma once

#include "core/graph.h"

namespace ladarts {

Tensor relu(Tensor x);     // max(x, 0)
Tensor sigmoid(Tensor x);  // 1 / (1 + exp(-x))
Tensor tanh(Tensor x);
Tensor exp(Tensor x);
Tensor log(Tensor x);  // natural; of positive values

enum class Activation : uint8_t { relu, sigmoid, tanh, exp, log };

class ActivationOp : public Op {  // (x) -> (y)
 public:
  explicit ActivationOp(Activation k) : kind(k) {}
  std::string_view name() const override;
  void backward(Backward& b) const override;
  Activation kind;
};

class ActivationGrad : public Op {  // (y, d_y) -> (d_x), from the output alone
 public:
  explicit ActivationGrad(Activation k) : kind(k) {}
  std::string_view name() const override;
  bool can_accumulate(int) const override { return true; }
  Activation kind;
};

}  // namespace ladarts
