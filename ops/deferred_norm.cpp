#include "ops/deferred_norm.h"

#include "core/gradients.h"
#include "ops/checks.h"
#include "ops/scaled_channels.h"

namespace ladarts {

DeferredNorm defer_norm(Tensor y, float eps) {
  require_images("defer_norm", y);
  require(y.shape().elements() >= 2 * y.dim(1),
          "[defer_norm] y of shape {} has one value a channel: its variance is unknown; use a larger batch",
          y.shape().str());
  require(eps > 0, "[defer_norm] eps {} must be positive", eps);
  return {y, y.graph().add(std::make_shared<BatchStatistics>(eps), {y}, {{{2, y.dim(1)}}})[0]};
}

DeferredNorm with_gamma_beta(DeferredNorm n, Tensor gamma, Tensor beta, const BatchNormState& state,
                             BatchNormDesc desc) {
  require_float("with_gamma_beta", "affine", n.affine);
  require(bool(gamma) == bool(beta), "[with_gamma_beta] give both gamma and beta, or neither");
  require(bool(state.running_mean) == bool(state.running_var),
          "[with_gamma_beta] give both running statistics, or neither");
  const int64_t channels = n.affine.dim(1), values = n.y.shape().elements() / n.y.dim(1);
  Graph& graph = n.affine.graph();
  std::vector<Tensor> inputs{n.affine};
  if (gamma) {
    require_per_channel("with_gamma_beta", "gamma", gamma.shape(), channels);
    require_per_channel("with_gamma_beta", "beta", beta.shape(), channels);
    inputs.insert(inputs.end(), {gamma, beta});
  }
  std::vector<int> updates;
  if (state.running_mean) {
    require_per_channel("with_gamma_beta", "running_mean", state.running_mean.shape(), channels);
    require_per_channel("with_gamma_beta", "running_var", state.running_var.shape(), channels);
    const int at = int(inputs.size());
    updates = {at, at + 1};
    inputs.push_back(graph.leaf(state.running_mean, "running_mean"));
    inputs.push_back(graph.leaf(state.running_var, "running_var"));
  }
  auto op = std::make_shared<NormAffine>(bool(gamma), !updates.empty(), values, desc.eps, desc.momentum);
  return {n.y, graph.add(op, inputs, {{{2, channels}}}, updates)[0]};
}

void NormAffine::backward(Backward& b) const {
  const bool gamma = has_affine && b.needs(1), beta = has_affine && b.needs(2);
  std::vector<int> grads_of;
  if (b.needs(0)) grads_of.push_back(0);
  if (gamma) grads_of.push_back(1);
  if (beta) grads_of.push_back(2);
  std::vector<Tensor> operands{b.input(0), b.grad(0)};
  if (has_affine) operands.push_back(b.input(1));
  b.emit(NormAffineGrad(b.needs(0), gamma, beta), operands, grads_of);
}

void BatchStatistics::backward(Backward& b) const {
  if (!b.needs(0)) return;
  const Shape& y = b.input(0).shape();
  const Tensor coefficients =
      b.emit(BatchStatisticsGrad(y.elements() / y[1]), {b.output(0), b.grad(0)}, {}, {{{2, y[1]}}})[0];
  b.emit(ScaledChannels(0, 1, 1), {b.input(0), coefficients}, {0});
}

// Mean and squared deviations of each plane.
size_t BatchStatistics::workspace_bytes(const NodeShapes& s, int) const {
  return size_t(2 * s.inputs[0][0] * s.inputs[0][1]) * sizeof(float);
}

Cost BatchStatistics::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.inputs[0].elements()) * 4;
  return c;
}

}  // namespace ladarts
