#include "ops/factorized_reduce.h"

#include <algorithm>

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

Tensor factorized_reduce(Tensor x, Tensor even, Tensor odd, FactorizedReduceDesc desc, Tensor even_bias,
                         Tensor odd_bias) {
  require_images("factorized_reduce", x);
  require(x.shape().elements() > 0, "[factorized_reduce] x of shape {} is empty", x.shape().str());
  const int64_t read = desc.channels ? desc.channels : x.dim(1);
  require(read > 0 && read <= x.dim(1), "[factorized_reduce] {} channels asked for, x of shape {} has {}",
          read, x.shape().str(), x.dim(1));
  for (const Tensor& w : {even, odd}) {
    require_float("factorized_reduce", "a weight", w);
    require(w.rank() == 4 && w.dim(0) > 0 && w.shape() == Shape{w.dim(0), read, 1, 1},
            "[factorized_reduce] weight {} must be (outputs, {}, 1, 1)", w.shape().str(), read);
  }
  require(bool(even_bias) == bool(odd_bias), "[factorized_reduce] give both biases, or neither");
  std::vector<Tensor> operands{x, even, odd};
  if (even_bias) {
    require(even_bias.shape() == Shape{even.dim(0)} && odd_bias.shape() == Shape{odd.dim(0)},
            "[factorized_reduce] biases {} and {} must be ({}) and ({})", even_bias.shape().str(),
            odd_bias.shape().str(), even.dim(0), odd.dim(0));
    operands.insert(operands.end(), {even_bias, odd_bias});
  }
  const Shape y{x.dim(0), even.dim(0) + odd.dim(0), (x.dim(2) + 1) / 2, (x.dim(3) + 1) / 2};
  return x.graph().add(std::make_shared<FactorizedReduce>(), operands, {{y}})[0];
}

FactorizedReduceGeometry::FactorizedReduceGeometry(const Shape& x, const Shape& even, const Shape& odd)
    : images(x[0]),
      channels(x[1]),
      read(even[1]),
      h(x[2]),
      w(x[3]),
      oh((h + 1) / 2),
      ow((w + 1) / 2),
      outputs{even[0], odd[0]} {}

FactorizedReducePlan::FactorizedReducePlan(const FactorizedReduceGeometry& g) {
  constexpr int64_t kPixels = 256, kChunks = 16;
  rows = std::clamp<int64_t>(kPixels / g.ow, 1, g.oh);
  blocks = (g.oh + rows - 1) / rows;
  stride = (rows * g.ow + 15) / 16 * 16;
  chunk_images = (g.images + kChunks - 1) / kChunks;
  chunks = (g.images + chunk_images - 1) / chunk_images;
  panel = g.read * stride;
  const int64_t most = std::max(g.outputs[0], g.outputs[1]);
  thread_floats = 2 * panel + most * stride + (g.pixels() + 15) / 16 * 16;
}

void FactorizedReduce::backward(Backward& b) const {
  require(b.inputs() == 3, "[factorized_reduce] the form with biases has no gradient: it is for inference");
  FactorizedReduceGrad op;
  std::vector<Tensor> operands{b.input(0), b.input(1), b.input(2)};
  op.d_y = gradient_sum(b, 0, operands);
  std::vector<int> grads_of;
  auto want = [&](int input) {
    if (!b.needs(input)) return -1;
    grads_of.push_back(input);
    return int(grads_of.size()) - 1;
  };
  op.x_out = want(0);
  op.weight_out[0] = want(1);
  op.weight_out[1] = want(2);
  b.emit(std::move(op), operands, grads_of);
}

size_t FactorizedReduce::workspace_bytes(const NodeShapes& s, int threads) const {
  const FactorizedReducePlan plan({s.inputs[0], s.inputs[1], s.inputs[2]});
  return size_t(threads * plan.panel) * sizeof(float);
}

size_t FactorizedReduceGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  const FactorizedReduceGeometry g(s.inputs[0], s.inputs[1], s.inputs[2]);
  const FactorizedReducePlan plan(g);
  return size_t(threads * plan.thread_floats + plan.chunks * g.weights()) * sizeof(float);
}

namespace {

// A quarter of the pixels each, even and odd.
double multiply_accumulates(const FactorizedReduceGeometry& g) {
  return double(g.images) * double(g.pixels()) * double(g.weights());
}

}  // namespace

Cost FactorizedReduce::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  const FactorizedReduceGeometry g(s.inputs[0], s.inputs[1], s.inputs[2]);
  cost.flops = 2 * multiply_accumulates(g);
  cost.bytes_moved -= 4.0 * double(s.inputs[0].elements()) * (1 - double(g.read) / double(g.channels));
  return cost;
}

Cost FactorizedReduceGrad::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  const double forward = 2 * multiply_accumulates({s.inputs[0], s.inputs[1], s.inputs[2]});
  cost.flops = (x_out >= 0 ? forward : 0) + (weight_out[0] >= 0 || weight_out[1] >= 0 ? forward : 0);
  return cost;
}

}  // namespace ladarts
