// Two-dimensional convolution (cross-correlation, as the field means it) over NCHW images:
//   y[n][o][i][j] = bias[o] + sum over c, p, q of w[o][c][p][q] * x[n][g + c][i*s - pad + p*d][j*s - pad +
//   q*d]
// with zeros outside of the image; g is the first channel of o's group.
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

struct Conv2dDesc {
  int stride = 1;
  int padding = 0;  // zeros on each of the four sides
  int dilation = 1;
  int groups = 1;           // == channels: depthwise
  bool relu_input = false;  // max(x, 0) as x is read, in forward and backward; saves ReLU's own pass
  // So few taps that the result is computed again rather than kept, where memory is short
  // (GradientOptions::recompute).
  bool few_taps = false;
};

// x (N, C, H, W), w (O, C/groups, KH, KW), bias (O) or empty. Returns (N, O, OH, OW),
// OH = (H + 2*padding - dilation*(KH-1) - 1) / stride + 1. Throws Error where shapes or desc do not fit.
Tensor conv2d(Tensor x, Tensor w, Conv2dDesc desc = {}, Tensor bias = {});
// The same with x in parts, as if by concat_channels. Pointwise ones without groups read the parts where they
// lie (readable_as_parts), others a concatenation that is recorded.
Tensor conv2d(const std::vector<Tensor>& x, Tensor w, Conv2dDesc desc = {}, Tensor bias = {});

struct ConvWeights {
  Tensor weight, bias;  // bias may be empty
};
// One result for each of `w`: convolutions of the same x. Up to kMostParts pointwise ones without groups, all
// with a bias or all without, are one op, which reads x once, and whose backward ops read x and write its
// gradient once.
std::vector<Tensor> conv2d(const std::vector<Tensor>& x, const std::vector<ConvWeights>& w,
                           Conv2dDesc desc = {});

// In all of these `outputs` counts the convolutions: y, its weight, bias and gradients come so often.

class Conv2d : public Op {  // (x in parts, w...[, bias...]) -> (y...)
 public:
  explicit Conv2d(Conv2dDesc d, int p = 1, int n = 1) : desc(d), parts(p), outputs(n) {}
  std::string_view name() const override { return "conv2d"; }
  void backward(Backward& b) const override;
  std::optional<Recomputation> recomputation() const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  Conv2dDesc desc;
  int parts, outputs;
};

// (d_y..., w...[, the wanted parts of x where relu_input]) -> (d_x of each of them)
class Conv2dGradInput : public Op {
 public:
  explicit Conv2dGradInput(Conv2dDesc d, std::vector<int> p = {0}, int n = 1)
      : desc(d), parts(std::move(p)), outputs(n) {}
  std::string_view name() const override { return "conv2d_grad_input"; }
  bool can_accumulate(int) const override { return true; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  Conv2dDesc desc;
  std::vector<int> parts;  // which part of x each d_x is the gradient of
  int outputs;
};

class Conv2dGradWeight : public Op {  // (d_y..., x in parts) -> (d_w...)
 public:
  explicit Conv2dGradWeight(Conv2dDesc d, int n = 1) : desc(d), outputs(n) {}
  std::string_view name() const override { return "conv2d_grad_weight"; }
  bool can_accumulate(int) const override { return true; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  Conv2dDesc desc;
  int outputs;
};

class BiasGrad : public Op {  // (d_y (N, O, ...)) -> (d_bias (O)): the sum over all but dimension 1
 public:
  std::string_view name() const override { return "bias_grad"; }
  bool can_accumulate(int) const override { return true; }
};

}  // namespace ladarts
