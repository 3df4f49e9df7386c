#include "ops/batch_norm.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

Tensor batch_norm(Tensor x, Tensor gamma, Tensor beta, const BatchNormState& state, BatchNormDesc desc) {
  require_float("batch_norm", "x", x);
  require(x.rank() == 4 || x.rank() == 2, "[batch_norm] x has shape {}; expected (N, C, H, W) or (N, C)",
          x.shape().str());
  require(x.shape().elements() > 0, "[batch_norm] x of shape {} is empty", x.shape().str());
  require(bool(gamma) == bool(beta), "[batch_norm] give both gamma and beta, or neither");
  require(bool(state.running_mean) == bool(state.running_var),
          "[batch_norm] give both running statistics, or neither");
  const int64_t channels = x.dim(1);
  const bool running = bool(state.running_mean), batch = desc.training || !running;
  require(!batch || x.shape().elements() >= 2 * channels,
          "[batch_norm] x of shape {} has one value a channel: its variance is unknown; use a larger batch",
          x.shape().str());
  require(desc.eps > 0 && desc.momentum >= 0 && desc.momentum <= 1,
          "[batch_norm] eps {} and momentum {}: eps is positive, momentum lies in [0, 1]", desc.eps,
          desc.momentum);
  std::vector<Tensor> inputs{x};
  if (gamma) {
    require_per_channel("batch_norm", "gamma", gamma.shape(), channels);
    require_per_channel("batch_norm", "beta", beta.shape(), channels);
    inputs.insert(inputs.end(), {gamma, beta});
  }
  std::vector<int> updates;
  if (running) {
    require_per_channel("batch_norm", "running_mean", state.running_mean.shape(), channels);
    require_per_channel("batch_norm", "running_var", state.running_var.shape(), channels);
    const int at = int(inputs.size());
    inputs.push_back(x.graph().leaf(state.running_mean, "running_mean"));
    inputs.push_back(x.graph().leaf(state.running_var, "running_var"));
    if (batch) updates = {at, at + 1};
  }
  auto op = std::make_shared<BatchNorm>(batch, bool(gamma), running, desc.eps, desc.momentum);
  const Shape per_channel{channels};
  return x.graph().add(op, inputs, {{x.shape()}, {per_channel}, {per_channel}}, updates)[0];
}

void BatchNorm::backward(Backward& b) const {
  const bool gamma = has_affine && b.needs(1), beta = has_affine && b.needs(2);
  std::vector<int> grads_of;
  if (b.needs(0)) grads_of.push_back(0);
  if (gamma) grads_of.push_back(1);
  if (beta) grads_of.push_back(2);
  std::vector<Tensor> operands{b.input(0), b.grad(0), b.output(1), b.output(2)};
  if (has_affine) operands.push_back(b.input(1));
  b.emit(BatchNormGrad(batch_statistics, has_affine, b.needs(0), gamma, beta), operands, grads_of);
}

std::optional<Recomputation> BatchNorm::recomputation() const {
  return Recomputation{std::make_shared<BatchNormAgain>(has_affine),
                       has_affine ? std::vector{0, 1, 2} : std::vector{0},
                       {1, 2}};
}

std::shared_ptr<const Op> BatchNorm::deferred() const {
  if (!batch_statistics) return {};
  return std::make_shared<DeferredBatchNorm>(*this);
}

Cost DeferredBatchNorm::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.inputs[0].elements()) * 4;
  return c;
}

Cost BatchNormAgain::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.inputs[0].elements()) * 2;
  return c;
}

Cost BatchNorm::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.inputs[0].elements()) * (batch_statistics ? 6 : 2);
  return c;
}

Cost BatchNormGrad::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.inputs[0].elements()) * 8;
  return c;
}

}  // namespace ladarts
