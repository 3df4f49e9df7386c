#include "ops/sum_conv2d.h"

#include <algorithm>

#include "ops/channels.h"
#include "ops/checks.h"
#include "ops/conv2d_plan.h"
#include "ops/sum_conv2d_plan.h"

namespace ladarts {

SumGradPlan::SumGradPlan(const Conv2dGeometry& g) {
  auto whole = [](int64_t n) { return (n + 15) / 16 * 16; };  // cache lines
  chunks = weight_gradient_chunks(g);
  coefficients = coefficient_floats(g);
  weights = whole(g.weights());
  thread = std::max(grad_input_workspace(g).per_thread, grad_weight_workspace(g).per_thread);
  lanes = g.c * kSumCoefficients * kLanes;
  sums = whole(g.n * g.c * kSumCoefficients);
  partials = chunks * g.weights();
}

namespace {

constexpr int64_t kWholeVector = 16;  // floats

// Operands counted from `first` on.
std::vector<GradientSum> moved(std::vector<GradientSum> parts, int first) {
  for (GradientSum& part : parts)
    for (GradientTerm& t : part) {
      t.source += first;
      if (t.factors >= 0) t.factors += first;
    }
  return parts;
}

// A multiply-accumulate for each term.
double terms_flops(const std::vector<GradientSum>& parts, const Shape& part) {
  size_t terms = 0;
  for (const GradientSum& sum : parts) terms += sum.size();
  return 2.0 * double(terms) * double(part.elements());
}
// One for each weight and pixel of y.
double convolution_flops(const std::vector<GradientSum>& parts, const Shape& part, std::span<const Shape> y) {
  double flops = 0;
  for (const Shape& shape : y)
    flops += 2.0 * double(shape.elements()) * double(part[1]) * double(parts.size());
  return flops;
}

}  // namespace

bool readable_as_sums(const SumParts& parts) {
  std::vector<Tensor> firsts;
  for (const std::vector<DeferredNorm>& terms : parts) {
    if (terms.empty() || terms.size() > size_t(kMostSumTerms)) return false;
    firsts.push_back(terms[0].y);
  }
  if (!readable_as_parts(firsts)) return false;
  const int64_t pixels = firsts[0].dim(2) * firsts[0].dim(3);
  return pixels % kWholeVector == 0 && pixels >= kSharedColumns / 2;
}

std::vector<Tensor> sum_conv2d(const SumParts& parts, const std::vector<Tensor>& w) {
  require(
      readable_as_sums(parts),
      "[sum_conv2d] takes 1 to {} parts of one shape, 1 to {} terms each, of images of {} pixels or more, "
      "a multiple of {}; add the terms by norm_sum() and use conv2d()",
      kMostParts, kMostSumTerms, kSharedColumns / 2, kWholeVector);
  require(!w.empty() && w.size() <= size_t(kMostParts), "[sum_conv2d] takes 1 to {} weights, not {}",
          kMostParts, w.size());
  const Tensor first = parts[0][0].y;
  const Shape& x = first.shape();
  auto op = std::make_shared<SumConv2d>();
  std::vector<Tensor> operands;
  for (const std::vector<DeferredNorm>& terms : parts) {
    GradientSum sum;
    for (const DeferredNorm& t : terms) {
      require_same_shape("sum_conv2d", "the first term", first, "another term", t.y);
      sum.push_back({.source = int(operands.size())});
      operands.push_back(t.y);
    }
    op->parts.push_back(std::move(sum));
  }
  for (size_t p = 0; p < parts.size(); ++p)
    for (size_t k = 0; k < parts[p].size(); ++k) {
      const Tensor affine = parts[p][k].affine;
      if (!affine) continue;
      require_float("sum_conv2d", "affine", affine);
      require(affine.shape() == Shape{2, x[1]}, "[sum_conv2d] affine {} must be (2, {})",
              affine.shape().str(), x[1]);
      op->parts[p][k].factors = int(operands.size());
      op->parts[p][k].offset_row = 1;
      operands.push_back(affine);
    }
  op->weights_at = int(operands.size());
  op->outputs = int(w.size());
  const int64_t channels = int64_t(parts.size()) * x[1];
  std::vector<OutputSpec> outputs;
  for (const Tensor& weight : w) {
    require_float("sum_conv2d", "weight", weight);
    require(weight.rank() == 4 && weight.dim(0) > 0 && weight.shape() == Shape{weight.dim(0), channels, 1, 1},
            "[sum_conv2d] weight {} must be (O, {}, 1, 1): {} parts of {} channels", weight.shape().str(),
            channels, parts.size(), x[1]);
    operands.push_back(weight);
    outputs.push_back({{x[0], weight.dim(0), x[2], x[3]}});
  }
  return first.graph().add(op, operands, outputs);
}

void SumConv2d::backward(Backward& b) const {
  SumConv2dGrad op;
  std::vector<Tensor> operands, weights;
  std::vector<int> grads_of, trained;
  for (int i = 0; i < outputs; ++i) {
    if (!b.has_grad(i)) continue;
    if (b.needs(weights_at + i)) {
      op.trained.push_back(int(operands.size()));
      trained.push_back(weights_at + i);
    }
    operands.push_back(b.grad(i));
    weights.push_back(b.input(weights_at + i));
  }
  op.outputs = int(operands.size());
  operands.insert(operands.end(), weights.begin(), weights.end());
  op.parts = moved(parts, int(operands.size()));
  for (int i = 0; i < weights_at; ++i) operands.push_back(b.input(i));
  for (int p = 0; p < int(parts.size()); ++p)
    for (int k = 0; k < int(parts[size_t(p)].size()); ++k) {
      const GradientTerm& t = parts[size_t(p)][size_t(k)];
      if (t.factors < 0 || !b.needs(t.factors)) continue;
      op.affines.push_back({p, k});
      grads_of.push_back(t.factors);
    }
  grads_of.insert(grads_of.end(), trained.begin(), trained.end());
  const std::vector<OutputSpec> sums(parts.size(), {b.input(0).shape()});
  const std::vector<Tensor> d_sum = b.emit(std::move(op), operands, grads_of, sums);
  for (size_t p = 0; p < parts.size(); ++p)
    for (const GradientTerm& t : parts[p]) {
      if (!b.needs(t.source)) continue;
      if (t.factors < 0) {
        b.pass(t.source, d_sum[p]);
      } else {
        b.emit(ScaledChannels(0, 1), {d_sum[p], b.input(t.factors)}, {t.source});
      }
    }
}

namespace {

// As Op::reading_affine().
template <class O>
std::shared_ptr<const Op> with_affine(const O& op, const std::vector<int>& inputs, int affine) {
  auto result = std::make_shared<O>(op);
  for (GradientSum& part : result->parts)
    if (!apply_affine(part, inputs, affine)) return {};
  return result;
}

}  // namespace

std::shared_ptr<const Op> SumConv2d::reading_affine(const std::vector<int>& inputs, int affine) const {
  return with_affine(*this, inputs, affine);
}
std::shared_ptr<const Op> SumConv2dGrad::reading_affine(const std::vector<int>& inputs, int affine) const {
  return with_affine(*this, inputs, affine);
}

size_t SumConv2d::workspace_bytes(const NodeShapes& s, int threads) const {
  const Conv2dGeometry g = sum_conv2d_geometry(parts, s.inputs[0], s.outputs);
  return sizeof(float) * size_t(coefficient_floats(g) + forward_workspace(g).floats(threads));
}
size_t SumConv2dGrad::workspace_bytes(const NodeShapes& s, int threads) const {
  const SumGradPlan plan(
      sum_conv2d_geometry(parts, s.inputs[size_t(2 * outputs)], s.inputs.first(size_t(outputs))));
  return sizeof(float) * size_t(plan.floats(threads));
}

Cost SumConv2d::cost(const NodeShapes& s) const {
  Cost cost = Op::cost(s);
  cost.flops = terms_flops(parts, s.inputs[0]) + convolution_flops(parts, s.inputs[0], s.outputs);
  return cost;
}
// Terms make the mask, and are multiplied by the gradient.
Cost SumConv2dGrad::cost(const NodeShapes& s) const {
  const Shape& part = s.inputs[size_t(2 * outputs)];
  Cost cost = Op::cost(s);
  cost.flops =
      2 * terms_flops(parts, part) + 2 * convolution_flops(parts, part, s.inputs.first(size_t(outputs)));
  return cost;
}

}  // namespace ladarts
