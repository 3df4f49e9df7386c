#include "ops/losses.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

void require_labels(std::string_view op, Tensor logits, Tensor labels) {
  require_float(op, "logits", logits);
  require(logits.rank() == 2 && logits.dim(0) > 0 && logits.dim(1) > 0,
          "[{}] logits have shape {}; expected (N, classes)", op, logits.shape().str());
  require(bool(labels) && labels.dtype() == DType::i32, "[{}] labels hold floats; expected i32 class numbers",
          op);
  require(labels.shape() == Shape{logits.dim(0)}, "[{}] logits have {} rows, labels shape {}", op,
          logits.dim(0), labels.shape().str());
}

Tensor record_regression(RegressionLoss kind, Tensor p, Tensor t) {
  auto op = std::make_shared<Regression>(kind);
  require_same_shape(op->name(), "p", p, "t", t);
  require(p.shape().elements() > 0, "[{}] p of shape {} is empty", op->name(), p.shape().str());
  return p.graph().add(op, {p, t}, {{Shape{1}}})[0];
}

}  // namespace

Tensor cross_entropy(Tensor logits, Tensor labels, CrossEntropyDesc desc) {
  require_labels("cross_entropy", logits, labels);
  require(desc.label_smoothing >= 0 && desc.label_smoothing < 1,
          "[cross_entropy] label smoothing {} is not in [0, 1)", desc.label_smoothing);
  auto op = std::make_shared<CrossEntropy>(desc.label_smoothing);
  return logits.graph().add(op, {logits, labels}, {{Shape{1}}, {Shape{logits.dim(0)}}})[0];
}

Tensor count_correct(Tensor logits, Tensor labels) {
  require_labels("count_correct", logits, labels);
  return logits.graph().add(std::make_shared<CountCorrect>(), {logits, labels}, {{Shape{1}}})[0];
}

Tensor mse_loss(Tensor p, Tensor t) {
  return record_regression(RegressionLoss::squared, p, t);
}

Tensor relative_error_loss(Tensor p, Tensor t) {
  return record_regression(RegressionLoss::relative, p, t);
}

Tensor relative_squared_loss(Tensor p, Tensor t) {
  return record_regression(RegressionLoss::relative_squared, p, t);
}

void CrossEntropy::backward(Backward& b) const {
  if (b.needs(0))
    b.emit(CrossEntropyGrad(label_smoothing), {b.input(0), b.input(1), b.output(1), b.grad(0)}, {0});
}

size_t CrossEntropy::workspace_bytes(const NodeShapes& s, int) const {
  return size_t(s.inputs[0][0]) * sizeof(double);  // the loss of each row
}

std::string_view Regression::name() const {
  switch (kind) {
    case RegressionLoss::squared:
      return "mse_loss";
    case RegressionLoss::relative:
      return "relative_error_loss";
    default:
      return "relative_squared_loss";
  }
}

void Regression::backward(Backward& b) const {
  if (b.needs(0)) b.emit(RegressionGrad(kind, 1.f), {b.input(0), b.input(1), b.grad(0)}, {0});
  if (!b.needs(1)) return;
  require(kind == RegressionLoss::squared, "[{}] has no gradient for its targets", name());
  b.emit(RegressionGrad(kind, -1.f), {b.input(0), b.input(1), b.grad(0)}, {1});
}

void fail_label(std::string_view op, int64_t row, int label, int64_t classes) {
  fail("[{}] label {} of row {} is not in [0, {}): the data and the network disagree on the classes", op,
       label, row, classes);
}

}  // namespace ladarts
