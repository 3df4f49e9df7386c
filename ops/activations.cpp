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
Tensor exp(Tensor x) {
  return record(Activation::exp, x);
}
Tensor log(Tensor x) {
  return record(Activation::log, x);
}

std::string_view ActivationOp::name() const {
  switch (kind) {
    case Activation::relu:
      return "relu";
    case Activation::sigmoid:
      return "sigmoid";
    case Activation::tanh:
      return "tanh";
    case Activation::exp:
      return "exp";
    case Activation::log:
      break;
  }
  return "log";
}

std::string_view ActivationGrad::name() const {
  switch (kind) {
    case Activation::relu:
      return "relu_grad";
    case Activation::sigmoid:
      return "sigmoid_grad";
    case Activation::tanh:
      return "tanh_grad";
    case Activation::exp:
      return "exp_grad";
    case Activation::log:
      break;
  }
  return "log_grad";
}

void ActivationOp::backward(Backward& b) const {
  if (b.needs(0)) b.emit(ActivationGrad(kind), {b.output(0), b.grad(0)}, {0});
}

}  // namespace ladarts
