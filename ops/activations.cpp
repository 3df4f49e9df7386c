#include "ops/activations.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

Tensor record(Activation kind, Tensor x) {
  auto op = std::make_shared<ActivationOp>(kind);
  require_float(op->name(), "x", x);
  return x.graph().add(op, {x}, {{x.shape()}})[0];
}

}  // namespace

Tensor relu(Tensor x) {
  return record(Activation::relu, x);
}
Tensor sigmoid(Tensor x) {
  return record(Activation::sigmoid, x);
}
Tensor tanh(Tensor x) {
  return record(Activation::tanh, x);
}

std::string_view ActivationOp::name() const {
  return kind == Activation::relu ? "relu" : kind == Activation::sigmoid ? "sigmoid" : "tanh";
}

std::string_view ActivationGrad::name() const {
  return kind == Activation::relu ? "relu_grad" : kind == Activation::sigmoid ? "sigmoid_grad" : "tanh_grad";
}

void ActivationOp::backward(Backward& b) const {
  if (b.needs(0)) b.emit(ActivationGrad(kind), {b.output(0), b.grad(0)}, {0});
}

}  // namespace ladarts
