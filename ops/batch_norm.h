// Batch normalisation (Ioffe and Szegedy, 2015) with the conventions of PyTorch: over (N, H, W) for each
// channel,
//   y = gamma * (x - mean) / sqrt(variance + eps) + beta.
#pragma once

#include "core/graph.h"

namespace ladarts {

// Running statistics (C). Both empty: none are kept, as in a supernet, and evaluation uses batch statistics.
struct BatchNormState {
  Storage running_mean;
  Storage running_var;
};

struct BatchNormDesc {
  bool training = true;  // false: normalise by the running statistics where there are any
  float eps = 1e-5f;
  float momentum = 0.1f;  // running = (1 - momentum) * running + momentum * batch
};

// x (N, C, H, W) or (N, C); gamma and beta (C), or both empty. Batch variance is biased in the normalisation
// and unbiased in running_var; the statistics need two or more values a channel.
Tensor batch_norm(Tensor x, Tensor gamma, Tensor beta, const BatchNormState& state, BatchNormDesc desc = {});

// (x, [gamma, beta], [running_mean, running_var]) -> (y, mean: (C), inv_std: (C))
// Training updates the running statistics in place. Evaluation copies them to mean and inv_std.
class BatchNorm : public Op {
 public:
  BatchNorm(bool batch, bool affine, bool running, float eps_, float momentum_)
      : batch_statistics(batch), has_affine(affine), has_running(running), eps(eps_), momentum(momentum_) {}
  std::string_view name() const override { return "batch_norm"; }
  void backward(Backward& b) const override;
  std::optional<Recomputation> recomputation() const override;
  std::shared_ptr<const Op> deferred() const override;
  Cost cost(const NodeShapes& s) const override;
  bool batch_statistics;
  bool has_affine;
  bool has_running;
  float eps;
  float momentum;
};

// The same of a batch whose normalisation is deferred (core/deferral.h): (affine: (2, C), mean: (C), inv_std:
// (C)), y = affine[0] * x + affine[1].
class DeferredBatchNorm : public Op {
 public:
  explicit DeferredBatchNorm(BatchNorm n) : norm(std::move(n)) {}
  std::string_view name() const override { return "deferred_batch_norm"; }
  Cost cost(const NodeShapes& s) const override;
  BatchNorm norm;
};

// (x, [gamma, beta], mean, inv_std) -> (y): BatchNorm's y again, from its other outputs.
class BatchNormAgain : public Op {
 public:
  explicit BatchNormAgain(bool affine) : has_affine(affine) {}
  std::string_view name() const override { return "batch_norm_again"; }
  Cost cost(const NodeShapes& s) const override;
  bool has_affine;
};

// (x, d_y, mean, inv_std, [gamma]) -> those wanted of (d_x, d_gamma: (C), d_beta: (C)), in this order.
class BatchNormGrad : public Op {
 public:
  BatchNormGrad(bool batch, bool affine, bool x, bool gamma, bool beta)
      : batch_statistics(batch), has_affine(affine), wants_x(x), wants_gamma(gamma), wants_beta(beta) {}
  std::string_view name() const override { return "batch_norm_grad"; }
  bool can_accumulate(int) const override { return true; }
  Cost cost(const NodeShapes& s) const override;
  bool batch_statistics;
  bool has_affine;
  bool wants_x, wants_gamma, wants_beta;
};

}  // namespace ladarts
