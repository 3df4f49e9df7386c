#include "ops/optimizer.h"

#include "ops/arithmetic.h"
#include "ops/checks.h"

namespace ladarts {

namespace {

void require_leaf(std::string_view op, std::string_view what, Tensor x) {
  require_float(op, what, x);
  require(
      x.graph().value(x).storage.has_value(),
      "[{}] {} is changed in place, so it must be bound to storage (Graph::leaf, or gradients into storage)",
      op, what);
}

}  // namespace

void sgd_update(Tensor value, Tensor grad, Tensor momentum_buf, Tensor lr, SgdDesc desc) {
  require_leaf("sgd_update", "value", value);
  require_leaf("sgd_update", "momentum_buf", momentum_buf);
  require_same_shape("sgd_update", "value", value, "grad", grad);
  require_same_shape("sgd_update", "value", value, "momentum_buf", momentum_buf);
  require_scalar("sgd_update", "lr", lr);
  require(desc.momentum >= 0 && desc.weight_decay >= 0,
          "[sgd_update] momentum {} and weight decay {} must not be negative", desc.momentum,
          desc.weight_decay);
  value.graph().add(std::make_shared<SgdUpdate>(desc), {value, grad, momentum_buf, lr}, {}, {0, 2});
}

void adam_update(Tensor value, Tensor grad, Tensor m, Tensor v, Tensor step, Tensor lr, AdamDesc desc) {
  require_leaf("adam_update", "value", value);
  require_leaf("adam_update", "m", m);
  require_leaf("adam_update", "v", v);
  require_leaf("adam_update", "step", step);
  require_same_shape("adam_update", "value", value, "grad", grad);
  require_same_shape("adam_update", "value", value, "m", m);
  require_same_shape("adam_update", "value", value, "v", v);
  require_scalar("adam_update", "step", step);
  require_scalar("adam_update", "lr", lr);
  require(desc.beta1 >= 0 && desc.beta1 < 1 && desc.beta2 >= 0 && desc.beta2 < 1,
          "[adam_update] beta1 {} and beta2 {} must lie in [0, 1)", desc.beta1, desc.beta2);
  require(desc.eps > 0 && desc.weight_decay >= 0,
          "[adam_update] eps {} must be positive, weight decay {} not negative", desc.eps, desc.weight_decay);
  value.graph().add(std::make_shared<AdamUpdate>(desc), {value, grad, m, v, step, lr}, {}, {0, 2, 3, 4});
}

Tensor clip_norm(Tensor grad, float max_norm) {
  require_leaf("clip_norm", "grad", grad);
  require(max_norm > 0, "[clip_norm] max_norm {} must be positive", max_norm);
  return grad.graph().add(std::make_shared<ClipNorm>(max_norm), {grad}, {{Shape{1}}}, {0})[0];
}

size_t ClipNorm::workspace_bytes(const NodeShapes& s, int) const {
  return size_t((s.inputs[0].elements() + kReduceChunk - 1) / kReduceChunk) * sizeof(double);
}

Cost SgdUpdate::cost(const NodeShapes& s) const {
  const double n = double(s.inputs[0].elements());
  return {.flops = 6 * n, .bytes_moved = 5 * 4 * n};  // three read, two written
}

Cost AdamUpdate::cost(const NodeShapes& s) const {
  const double n = double(s.inputs[0].elements());
  return {.flops = 12 * n, .bytes_moved = 7 * 4 * n};  // four read, three written
}

}  // namespace ladarts
