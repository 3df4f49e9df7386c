// Optimiser steps as nodes of a program: single passes over flat leaves, changed in place. PyTorch's
// formulas. Learning rates and step counts are one-element leaves, so that they vary without recording again.
#pragma once

#include "core/graph.h"

namespace ladarts {

struct SgdDesc {
  float momentum = 0.9f;
  float weight_decay = 0;  // L2: added to the gradient
};

// d = grad + weight_decay * value;  momentum_buf = momentum * momentum_buf + d;  value -= lr * momentum_buf.
// momentum_buf starts at zero. All of one shape; lr (1).
void sgd_update(Tensor value, Tensor grad, Tensor momentum_buf, Tensor lr, SgdDesc desc = {});

struct AdamDesc {
  float beta1 = 0.9f;
  float beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;  // L2: added to the gradient
};

// step (1) counts finished updates: it starts at zero and the node adds one. With t = step after that and
// d = grad + weight_decay * value:  m = beta1 m + (1 - beta1) d;  v = beta2 v + (1 - beta2) d^2;
// value -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps).
void adam_update(Tensor value, Tensor grad, Tensor m, Tensor v, Tensor step, Tensor lr, AdamDesc desc = {});

// Scales the leaf `grad` in place by min(1, max_norm / (norm + 1e-6)); returns its norm before -> (1).
Tensor clip_norm(Tensor grad, float max_norm);

class SgdUpdate : public Op {  // (value, grad, momentum_buf, lr): updates value and momentum_buf
 public:
  explicit SgdUpdate(SgdDesc d) : desc(d) {}
  std::string_view name() const override { return "sgd_update"; }
  Cost cost(const NodeShapes& s) const override;
  SgdDesc desc;
};

class AdamUpdate : public Op {  // (value, grad, m, v, step, lr): updates value, m, v and step
 public:
  explicit AdamUpdate(AdamDesc d) : desc(d) {}
  std::string_view name() const override { return "adam_update"; }
  Cost cost(const NodeShapes& s) const override;
  AdamDesc desc;
};

class ClipNorm : public Op {  // (grad) -> (norm: (1)): updates grad
 public:
  explicit ClipNorm(float m) : max_norm(m) {}
  std::string_view name() const override { return "clip_norm"; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  float max_norm;
};

}  // namespace ladarts
