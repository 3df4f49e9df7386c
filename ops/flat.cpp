#include "ops/flat.h"

#include "ops/checks.h"

namespace ladarts {

namespace {

void require_same_size(const char* op, Tensor a, Tensor b) {
  require_float(op, "the target", a);
  require_float(op, "the source", b);
  require(a.shape().elements() == b.shape().elements(), "[{}] sizes differ: {} and {}", op, a.shape().str(),
          b.shape().str());
}

}  // namespace

void flat_copy(Tensor to, Tensor from) {
  require_same_size("flat_copy", to, from);
  to.graph().add(std::make_shared<FlatCopy>(), {to, from}, {}, {0});
}

void flat_axpy(Tensor y, Tensor x, Tensor coefficient) {
  require_same_size("flat_axpy", y, x);
  require_scalar("flat_axpy", "coefficient", coefficient);
  y.graph().add(std::make_shared<FlatAxpy>(), {y, x, coefficient}, {}, {0});
}

void flat_step(Tensor y, Tensor x, Tensor norm, Tensor length) {
  require_same_size("flat_step", y, x);
  require_scalar("flat_step", "norm", norm);
  require_scalar("flat_step", "length", length);
  y.graph().add(std::make_shared<FlatStep>(), {y, x, norm, length}, {}, {0});
}

Tensor flat_norm(Tensor x) {
  require_float("flat_norm", "x", x);
  return x.graph().add(std::make_shared<FlatNorm>(), {x}, {{Shape{1}}})[0];
}

size_t FlatNorm::workspace_bytes(const NodeShapes& s, int) const {
  return size_t((s.inputs[0].elements() + kFlatNormChunk - 1) / kFlatNormChunk) * sizeof(double);
}

}  // namespace ladarts
