// Separable convolutions side by side, each with the statistics of its batch normalisation:
//   y = pointwise(depthwise(max(affine(x), 0)))
// One pass reads each input once for all branches that leave it and never stores the depthwise result;
// the backward pass computes it again. The normalisation of y is left to whoever reads y.
//
// MobileNet's depthwise separable block (Howard et al., 2017), in the order ReLU-depthwise-pointwise-norm.
#pragma once

#include <vector>

#include "ops/deferred_norm.h"
#include "ops/scaled_channels.h"

namespace ladarts {

struct SeparableBranch {
  int input = 0;     // which of the inputs it reads
  Tensor depthwise;  // (c, 1, K, K), K = 3 or 5; padded so that the image keeps its size at stride 1
  Tensor pointwise;  // (O, c, 1, 1)
  int dilation = 1;  // 1 or 2
};

struct SeparableStageDesc {
  int channels = 0;  // the first c channels of each input are read; 0: all
  int stride = 1;    // 1 or 2, of every branch
  float eps = 1e-5f;
};

// Inputs (N, C, H, W) of one shape, all with or all without affine. One result for each branch:
// y (N, O, ceil(H/stride), ceil(W/stride)) and the affine of its normalisation.
std::vector<DeferredNorm> separable_stage(const std::vector<DeferredNorm>& inputs,
                                          const std::vector<SeparableBranch>& branches,
                                          SeparableStageDesc desc = {});

// (x..., [affine...], (depthwise, pointwise)...) -> ((y, affine: (2, O))...)
class SeparableStage : public Op {
 public:
  struct Branch {
    int input, kernel, dilation;
  };
  std::string_view name() const override { return "separable_stage"; }
  void backward(Backward& b) const override;
  std::shared_ptr<const Op> reading_affine(const std::vector<int>& inputs, int affine) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;

  bool reads_affine() const { return has_affine || deferred_affine >= 0; }
  int affine_at(int input) const { return deferred_affine >= 0 ? deferred_affine : n_inputs + input; }
  int weights_at(int branch) const { return n_inputs * (has_affine ? 2 : 1) + 2 * branch; }
  int operands() const { return weights_at(int(branches.size())); }

  int n_inputs = 0;
  bool has_affine = false;
  int deferred_affine = -1;  // operand: of a deferred x (core/deferral.h), the only input, without has_affine
  int channels = 0;          // c
  int stride = 1;
  float eps = 0;
  std::vector<Branch> branches;
};

// (operands of the forward op, its outputs, the gradients that `branches` names) -> the wanted ones of
// (d_x..., d_affine..., d_depthwise and d_pointwise...); the *_out members give their positions, or -1.
// d_x of a deferred x is the gradient of its affine: of what was to be read.
class SeparableStageGrad : public Op {
 public:
  std::string_view name() const override { return "separable_stage_grad"; }
  bool can_accumulate(int) const override { return true; }
  std::shared_ptr<const Op> reading_affine(const std::vector<int>& inputs, int affine) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;

  int y_at(int branch) const { return forward.operands() + 2 * branch; }

  struct Input {
    int x_out = -1, affine_out = -1;
  };
  struct Branch {
    GradientSum d_y;
    int d_affine = -1;  // operand; -1: zero
    int depthwise_out = -1, pointwise_out = -1;
  };
  SeparableStage forward;
  std::vector<Input> inputs;
  std::vector<Branch> branches;
};

}  // namespace ladarts
