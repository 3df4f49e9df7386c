// ReLU and pointwise convolutions of sums that are never stored: where a network in training reads a cell.
//   y_i = w_i * max(x, 0),  x = the parts one after the other,
//   a part = sum over its terms of (scale_t * y_t + shift_t), for each channel
// The convolutions and their gradients form the sums as they read the terms, so that sums are neither
// written, nor read back, nor computed again for the backward pass by ops of their own. One op computes all
// gradients image by image: it reads terms and d_y from memory once, writes the sums' gradient once, and sums
// up those of the normalisations while it is at hand.
#pragma once

#include <vector>

#include "ops/deferred_norm.h"
#include "ops/scaled_channels.h"

namespace ladarts {

// What norm_sum() takes, for each part.
using SumParts = std::vector<std::vector<DeferredNorm>>;

// Up to kMostParts parts of up to so many terms, all of one shape, images of whole vectors.
constexpr int kMostSumTerms = 2;
bool readable_as_sums(const SumParts& parts);

// Terms (N, C, H, W), w (O_i, parts * C, 1, 1), up to kMostParts of them. Returns (N, O_i, H, W) of each.
// Throws Error where shapes do not fit or the parts are not readable_as_sums().
std::vector<Tensor> sum_conv2d(const SumParts& parts, const std::vector<Tensor>& w);

// In these ops `parts` counts operands of the op itself.

// (the terms of all parts, the affine (2, C) of each that has one, w...) -> (y...)
class SumConv2d : public Op {
 public:
  std::string_view name() const override { return "sum_conv2d"; }
  void backward(Backward& b) const override;
  std::shared_ptr<const Op> reading_affine(const std::vector<int>& inputs, int affine) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  std::vector<GradientSum> parts;
  int weights_at = 0, outputs = 0;
};

// (d_y..., w..., terms and affines as above) -> (d_affine (2, C) of each of `affines`, d_w of each of
// `trained`, the gradient (N, C, H, W) of each part's sum)
class SumConv2dGrad : public Op {
 public:
  std::string_view name() const override { return "sum_conv2d_grad"; }
  bool can_accumulate(int output) const override { return output < first_sum(); }
  std::shared_ptr<const Op> reading_affine(const std::vector<int>& inputs, int affine) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  int first_sum() const { return int(affines.size() + trained.size()); }
  struct Term {
    int part, term;
  };
  std::vector<GradientSum> parts;
  std::vector<Term> affines;
  std::vector<int> trained;  // which d_y's
  int outputs = 0;           // how many d_y
};

}  // namespace ladarts
