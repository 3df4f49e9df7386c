#include "ops/factorized_reduce.h"

#include <algorithm>

#include "core/gradients.h"
#include "ops/channels.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

std::vector<Tensor> record(const std::vector<Tensor>& parts, int64_t read,
                           const std::vector<FactorizedReduceWeights>& pairs, Tensor even_bias,
                           Tensor odd_bias) {
  require(!pairs.empty(), "[factorized_reduce] no weights given");
  std::vector<Tensor> operands = parts;
  for (const FactorizedReduceWeights& pair : pairs) {
    for (const Tensor& w : {pair.even, pair.odd}) {
      require_float("factorized_reduce", "a weight", w);
      require(w.rank() == 4 && w.dim(0) > 0 && w.shape() == Shape{w.dim(0), read, 1, 1},
              "[factorized_reduce] weight {} must be (outputs, {}, 1, 1)", w.shape().str(), read);
    }
    require(pair.even.shape() == pairs[0].even.shape() && pair.odd.shape() == pairs[0].odd.shape(),
            "[factorized_reduce] weights {} and {} differ from the first, {} and {}", pair.even.shape().str(),
            pair.odd.shape().str(), pairs[0].even.shape().str(), pairs[0].odd.shape().str());
    operands.insert(operands.end(), {pair.even, pair.odd});
  }
  const int64_t even = pairs[0].even.dim(0), odd = pairs[0].odd.dim(0);
  require(bool(even_bias) == bool(odd_bias), "[factorized_reduce] give both biases, or neither");
  if (even_bias) {
    require(even_bias.shape() == Shape{even} && odd_bias.shape() == Shape{odd},
            "[factorized_reduce] biases {} and {} must be ({}) and ({})", even_bias.shape().str(),
            odd_bias.shape().str(), even, odd);
    operands.insert(operands.end(), {even_bias, odd_bias});
  }
  const Tensor x = parts[0];
  const OutputSpec y{{x.dim(0), even + odd, (x.dim(2) + 1) / 2, (x.dim(3) + 1) / 2}};
  return x.graph().add(std::make_shared<FactorizedReduce>(int(parts.size()), int(pairs.size())), operands,
                       std::vector<OutputSpec>(pairs.size(), y));
}

int64_t channels_read(Tensor x, FactorizedReduceDesc desc) {
  require_images("factorized_reduce", x);
  require(x.shape().elements() > 0, "[factorized_reduce] x of shape {} is empty", x.shape().str());
  const int64_t read = desc.channels ? desc.channels : x.dim(1);
  require(read > 0 && read <= x.dim(1), "[factorized_reduce] {} channels asked for, x of shape {} has {}",
          read, x.shape().str(), x.dim(1));
  return read;
}

}  // namespace

Tensor factorized_reduce(Tensor x, Tensor even, Tensor odd, FactorizedReduceDesc desc, Tensor even_bias,
                         Tensor odd_bias) {
  return record({x}, channels_read(x, desc), {{even, odd}}, even_bias, odd_bias)[0];
}

Tensor factorized_reduce(const std::vector<Tensor>& x, Tensor even, Tensor odd, Tensor even_bias,
                         Tensor odd_bias) {
  if (!readable_as_parts(x)) return factorized_reduce(concat_channels(x), even, odd, {}, even_bias, odd_bias);
  return record(x, int64_t(x.size()) * x[0].dim(1), {{even, odd}}, even_bias, odd_bias)[0];
}

std::vector<Tensor> factorized_reduce(Tensor x, const std::vector<FactorizedReduceWeights>& weights,
                                      FactorizedReduceDesc desc) {
  return record({x}, channels_read(x, desc), weights, {}, {});
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
}

int64_t FactorizedReducePlan::grad_floats(const FactorizedReduceGeometry& g, int64_t pairs) const {
  return 3 * panel + pairs * std::max(g.outputs[0], g.outputs[1]) * stride + (g.pixels() + 15) / 16 * 16;
}

void FactorizedReduce::backward(Backward& b) const {
  require(b.inputs() == parts + 2 * pairs,
          "[factorized_reduce] the form with biases has no gradient: it is for inference");
  FactorizedReduceGrad op;
  std::vector<Tensor> operands;
  for (int i = 0; i < b.inputs(); ++i) operands.push_back(b.input(i));
  std::vector<int> grads_of;
  auto want = [&](int input) {
    if (!b.needs(input)) return -1;
    grads_of.push_back(input);
    return int(grads_of.size()) - 1;
  };
  for (int i = 0; i < parts; ++i) op.x_out.push_back(want(i));
  for (int i = 0; i < pairs; ++i) {
    FactorizedReduceGrad::Pair pair;
    pair.d_y = gradient_sum(b, i, operands);
    for (int parity = 0; parity < 2; ++parity) pair.weight_out[parity] = want(parts + 2 * i + parity);
    op.pairs.push_back(std::move(pair));
  }
  b.emit(std::move(op), operands, grads_of);
}

bool FactorizedReduceGrad::wants_x() const {
  return std::any_of(x_out.begin(), x_out.end(), [](int out) { return out >= 0; });
}

bool FactorizedReduceGrad::wants_weights() const {
  return std::any_of(pairs.begin(), pairs.end(),
                     [](const Pair& p) { return p.weight_out[0] >= 0 || p.weight_out[1] >= 0; });
}

namespace {

FactorizedReduceGeometry geometry(const NodeShapes& s, int parts) {
  return {s.inputs[0], s.inputs[size_t(parts)], s.inputs[size_t(parts) + 1]};
}

// A quarter of the pixels each, even and odd.
double multiply_accumulates(const FactorizedReduceGeometry& g) {
  return double(g.images) * double(g.pixels()) * double(g.weights());
}

}  // namespace

size_t FactorizedReduce::workspace_bytes(const NodeShapes& s, int threads) const {
  const FactorizedReducePlan plan(geometry(s, parts));
  return size_t(threads * plan.panel) * sizeof(float);
}

size_t FactorizedReduceGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  const FactorizedReduceGeometry g = geometry(s, parts());
  const FactorizedReducePlan plan(g);
  const auto n = int64_t(pairs.size());
  return size_t(threads * plan.grad_floats(g, n) + (plan.chunks + 1) * g.weights() * n) * sizeof(float);
}

Cost FactorizedReduce::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  const FactorizedReduceGeometry g = geometry(s, parts);
  cost.flops = 2 * multiply_accumulates(g) * pairs;
  cost.bytes_moved -= 4.0 * double(s.inputs[0].elements()) * (parts - double(g.read) / double(g.channels));
  return cost;
}

Cost FactorizedReduceGrad::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  const double forward = 2 * multiply_accumulates(geometry(s, parts())) * double(pairs.size());
  for (const int out : x_out) cost.flops += out >= 0 ? forward / parts() : 0;
  cost.flops += wants_weights() ? forward : 0;
  return cost;
}

}  // namespace ladarts
