// Losses: one element, the mean over the batch.
#pragma once

#include "core/graph.h"

namespace ladarts {

struct CrossEntropyDesc {
  float label_smoothing = 0;  // s: the target is (1 - s) on the label plus s / K on each class
};

// logits (N, K), labels (N) i32 in [0, K) -> (1). A label out of range throws Error when the program runs.
Tensor cross_entropy(Tensor logits, Tensor labels, CrossEntropyDesc desc = {});
// How many rows have their (first) largest logit at the label -> (1), a whole number. No gradient.
Tensor count_correct(Tensor logits, Tensor labels);

// p and t have one shape.
Tensor mse_loss(Tensor p, Tensor t);  // mean (p - t)^2
// Targets t > 0 are constants: no gradient reaches them.
Tensor relative_error_loss(Tensor p, Tensor t);    // mean |p - t| / t
Tensor relative_squared_loss(Tensor p, Tensor t);  // mean ((p - t) / t)^2

class CrossEntropy
    : public Op {  // (logits, labels) -> (loss: (1), log_sum: (N), log of the sum of exponentials)
 public:
  explicit CrossEntropy(float s) : label_smoothing(s) {}
  std::string_view name() const override { return "cross_entropy"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  float label_smoothing;
};

class CrossEntropyGrad : public Op {  // (logits, labels, log_sum, d_loss: (1)) -> (d_logits)
 public:
  explicit CrossEntropyGrad(float s) : label_smoothing(s) {}
  std::string_view name() const override { return "cross_entropy_grad"; }
  bool can_accumulate(int) const override { return true; }
  float label_smoothing;
};

class CountCorrect : public Op {  // (logits, labels) -> (1)
 public:
  std::string_view name() const override { return "count_correct"; }
};

enum class RegressionLoss : uint8_t { squared, relative, relative_squared };

class Regression : public Op {  // (p, t) -> (1)
 public:
  explicit Regression(RegressionLoss k) : kind(k) {}
  std::string_view name() const override;
  void backward(Backward& b) const override;
  RegressionLoss kind;
};

class RegressionGrad : public Op {  // (p, t, d_loss: (1)) -> (d) of p times sign; sign -1 gives that of t
 public:
  RegressionGrad(RegressionLoss k, float s) : kind(k), sign(s) {}
  std::string_view name() const override { return "regression_grad"; }
  bool can_accumulate(int) const override { return true; }
  RegressionLoss kind;
  float sign;
};

// Called by kernels: throws Error for a label outside of [0, classes).
[[noreturn]] void fail_label(std::string_view op, int64_t row, int label, int64_t classes);

}  // namespace ladarts
