// A batch normalisation that is not carried out: the value meant is affine[0][c] * y + affine[1][c], and
// whoever reads y applies it while loading. Without affine it is y itself.
#pragma once

#include "ops/batch_norm.h"

namespace ladarts {

struct DeferredNorm {
  Tensor y;       // (N, C, H, W)
  Tensor affine;  // (2, C): 1 / deviation and -mean / deviation over the batch; or empty
};

// The normalisation of any y (N, C, H, W) without affine parameters; two or more values a channel.
DeferredNorm defer_norm(Tensor y, float eps = 1e-5f);

// gamma * n + beta, gamma and beta (C) or both empty; keeps running statistics as batch_norm() does in
// training. `desc`: of the normalisation n.
DeferredNorm with_gamma_beta(DeferredNorm n, Tensor gamma, Tensor beta, const BatchNormState& state,
                             BatchNormDesc desc = {});

class BatchStatistics : public Op {  // (y) -> (affine: (2, C))
 public:
  explicit BatchStatistics(float e) : eps(e) {}
  std::string_view name() const override { return "batch_statistics"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  float eps;
};

// (affine, [gamma, beta], [running_mean, running_var]) -> (affine: (2, C)); updates running statistics in
// place.
class NormAffine : public Op {
 public:
  NormAffine(bool affine, bool running, int64_t n, float e, float m)
      : has_affine(affine), has_running(running), values(n), eps(e), momentum(m) {}
  std::string_view name() const override { return "norm_affine"; }
  void backward(Backward& b) const override;
  bool has_affine, has_running;
  int64_t values;  // of a channel
  float eps, momentum;
};

// (affine, d_out, [gamma]) -> the wanted ones of (d_affine, d_gamma, d_beta), in this order.
class NormAffineGrad : public Op {
 public:
  NormAffineGrad(bool a, bool g, bool b) : wants_affine(a), wants_gamma(g), wants_beta(b) {}
  std::string_view name() const override { return "norm_affine_grad"; }
  bool can_accumulate(int) const override { return true; }
  bool wants_affine, wants_gamma, wants_beta;
};

// (affine, d_affine) -> (2, C): slope and offset of what the statistics add to the gradient of y, slope * y +
// offset (see ScaledChannels).
class BatchStatisticsGrad : public Op {
 public:
  explicit BatchStatisticsGrad(int64_t n) : values(n) {}
  std::string_view name() const override { return "batch_statistics_grad"; }
  int64_t values;  // of a channel
};

}  // namespace ladarts
