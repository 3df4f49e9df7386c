#include "ops/linear.h"

#include <algorithm>

#include "core/error.h"
#include "core/gradients.h"
#include "ops/conv2d.h"

namespace ladarts {

namespace {

// A multiply-accumulate per element of d_y (N, O) and input feature, operands moved once.
Cost linear_cost(const NodeShapes& s, const Shape& y, int64_t features) {
  Cost cost;
  cost.flops = 2.0 * double(y.elements()) * double(features);
  for (const Shape& shape : s.inputs) cost.bytes_moved += 4.0 * double(shape.elements());
  for (const Shape& shape : s.outputs) cost.bytes_moved += 4.0 * double(shape.elements());
  return cost;
}

}  // namespace

Tensor linear(Tensor x, Tensor w, Tensor bias, LinearDesc desc) {
  require(bool(x) && bool(w), "[linear] x and weight must be tensors of a graph; one of them is empty");
  require(x.dtype() == DType::f32 && w.dtype() == DType::f32,
          "[linear] x and weight must hold f32, got {} and {}", to_string(x.dtype()), to_string(w.dtype()));
  require(x.rank() == 2, "[linear] x {} must be (N, I); reshape() flattens images", x.shape().str());
  require(w.rank() == 2, "[linear] weight {} must be (O, I)", w.shape().str());
  require(w.dim(1) == x.dim(1), "[linear] weight {} expects {} features, x {} has {}", w.shape().str(),
          w.dim(1), x.shape().str(), x.dim(1));
  require(x.shape().elements() > 0 && w.dim(0) > 0, "[linear] x {} and weight {} must not be empty",
          x.shape().str(), w.shape().str());
  std::vector<Tensor> operands{x, w};
  if (bias) {
    require(bias.dtype() == DType::f32 && bias.shape() == Shape{w.dim(0)},
            "[linear] bias {} must be ({}): one value per row of weight {}", bias.shape().str(), w.dim(0),
            w.shape().str());
    operands.push_back(bias);
  }
  return x.graph().add(std::make_shared<Linear>(desc), operands, {{{x.dim(0), w.dim(0)}}})[0];
}

void Linear::backward(Backward& b) const {
  if (b.needs(0)) {
    std::vector<Tensor> operands{b.grad(0), b.input(1)};
    if (desc.relu_input) operands.push_back(b.input(0));
    b.emit(LinearGradInput(desc), operands, {0});
  }
  if (b.needs(1)) b.emit(LinearGradWeight(desc), {b.grad(0), b.input(0)}, {1});
  if (b.inputs() > 2 && b.needs(2)) b.emit(BiasGrad(), {b.grad(0)}, {2});
}

// The narrowest vectors have four lanes: what does not fill them takes kernels without scratch.
constexpr int64_t kFewest = 4;

// x transposed in blocks of 64 rows at most; or w transposed.
size_t Linear::workspace_bytes(const NodeShapes& s, int) const {
  if (s.inputs[0][0] < kFewest || s.inputs[1][0] % kFewest != 0) return 0;
  const int64_t rows = (s.inputs[0][0] + 63) / 64 * 64;
  return size_t(std::max(rows, s.inputs[1][0]) * s.inputs[0][1]) * sizeof(float);
}

// d_w transposed; or d_y or x, their columns filled up to the widest vector, of 16.
size_t LinearGradWeight::workspace_bytes(const NodeShapes& s, int) const {
  if (s.outputs[0][0] < kFewest) return 0;
  const int64_t rows = (s.inputs[0][0] + 15) / 16 * 16;
  const int64_t outputs = s.outputs[0][0], features = s.outputs[0][1];
  return size_t(std::max(rows * std::max(outputs, features), outputs * features)) * sizeof(float);
}

Cost Linear::cost(const NodeShapes& s) const {
  return linear_cost(s, s.outputs[0], s.inputs[0][1]);
}
Cost LinearGradInput::cost(const NodeShapes& s) const {
  return linear_cost(s, s.inputs[0], s.inputs[1][1]);
}
Cost LinearGradWeight::cost(const NodeShapes& s) const {
  return linear_cost(s, s.inputs[0], s.inputs[1][1]);
}

}  // namespace ladarts
