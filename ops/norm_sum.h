// A sum of values whose normalisations are deferred: a node of a network in training, in one pass.
//   out = sum over terms of (scale_t * y_t + shift_t), for each channel; a term without affine is y_t itself.
// The gradient of each y is d_out times a factor for each channel and is never stored where its reader takes
// a GradientSum (ops/scaled_channels.h).
#pragma once

#include <vector>

#include "ops/deferred_norm.h"
#include "ops/scaled_channels.h"

namespace ladarts {

// Terms (N, C, H, W) of one shape. Throws Error where shapes differ.
Tensor norm_sum(const std::vector<DeferredNorm>& terms);
// What x is the norm_sum() of, where it is one and nothing has read it yet; else x alone. Who reads these in
// its place leaves the sum to nobody, and compile() leaves it out.
std::vector<DeferredNorm> unread_terms(Tensor x);

// (y..., then the affine (2, C) of each term that has one) -> (out)
class NormSum : public Op {
 public:
  std::string_view name() const override { return "norm_sum"; }
  void backward(Backward& b) const override;
  std::optional<Recomputation> recomputation() const override { return Recomputation{}; }
  std::shared_ptr<const Op> reading_affine(const std::vector<int>& inputs, int affine) const override;
  Cost cost(const NodeShapes& s) const override;
  GradientSum terms;  // by operands of this op
};

// (d_out, y...) -> d_affine (2, C) of each y
class NormSumGrad : public Op {
 public:
  std::string_view name() const override { return "norm_sum_grad"; }
  bool can_accumulate(int) const override { return true; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  // Partial sums; fixed, so that results do not depend on the number of threads.
  static int64_t chunks(int64_t images) { return images < 16 ? images : 16; }
};

}  // namespace ladarts
