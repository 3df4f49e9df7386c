#include "ops/rows.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

void require_matrix(const char* op, Tensor x) {
  require_float(op, "x", x);
  require(x.rank() == 2, "[{}] x has shape {}; expected (rows, columns)", op, x.shape().str());
}

}  // namespace

Tensor slice_columns(Tensor x, int64_t begin, int64_t count) {
  require_matrix("slice_columns", x);
  require(begin >= 0 && count > 0 && begin + count <= x.dim(1),
          "[slice_columns] columns {} to {} are not in x of {}", begin, begin + count, x.shape().str());
  return x.graph().add(std::make_shared<ShiftColumns>(begin), {x}, {{Shape{x.dim(0), count}}})[0];
}

Tensor pad_columns(Tensor x, int64_t before, int64_t after) {
  require_matrix("pad_columns", x);
  require(before >= 0 && after >= 0, "[pad_columns] pads by {} and {}; give numbers of 0 or more", before,
          after);
  return x.graph().add(std::make_shared<ShiftColumns>(-before), {x},
                       {{Shape{x.dim(0), before + x.dim(1) + after}}})[0];
}

Tensor scale_rows(Tensor x, Tensor s) {
  require_matrix("scale_rows", x);
  require_float("scale_rows", "s", s);
  require(s.shape() == Shape{x.dim(0)}, "[scale_rows] x {} needs a scale of shape ({}), given {}",
          x.shape().str(), x.dim(0), s.shape().str());
  return x.graph().add(std::make_shared<ScaleRows>(), {x, s}, {{x.shape()}})[0];
}

Tensor row_max(Tensor x) {
  require_matrix("row_max", x);
  require(x.dim(1) > 0, "[row_max] x of shape {} has no columns", x.shape().str());
  return x.graph().add(std::make_shared<RowMax>(), {x}, {{Shape{x.dim(0)}}})[0];
}

void ShiftColumns::backward(Backward& b) const {
  if (b.needs(0)) b.emit(ShiftColumns(-shift), {b.grad(0)}, {0});
}

void ScaleRows::backward(Backward& b) const {
  if (b.needs(0)) b.emit(ScaleRows(), {b.grad(0), b.input(1)}, {0});
  if (b.needs(1)) b.emit(RowDot(), {b.grad(0), b.input(0)}, {1});
}

void RowMax::backward(Backward& b) const {
  if (b.needs(0)) b.emit(RowMaxGrad(), {b.input(0), b.grad(0)}, {0});
}

}  // namespace ladarts
