// Passes over flat buffers (weights, gradients) between training steps. Each changes its first argument, a
// leaf, in place; the coefficient is a one-element leaf, so that it can vary from run to run.
#pragma once

#include "core/graph.h"

namespace ladarts {

void flat_copy(Tensor to, Tensor from);                  // to = from
void flat_axpy(Tensor y, Tensor x, Tensor coefficient);  // y += coefficient * x
// y += length / norm * x, a step along x whose norm is given; none where that is 0.
void flat_step(Tensor y, Tensor x, Tensor norm, Tensor length);
Tensor flat_norm(Tensor x);  // (n) -> (1): Euclidean norm

class FlatCopy : public Op {  // (to, from) -> (): updates `to`
 public:
  std::string_view name() const override { return "flat_copy"; }
};

class FlatAxpy : public Op {  // (y, x, coefficient: (1)) -> (): updates y
 public:
  std::string_view name() const override { return "flat_axpy"; }
};

class FlatStep : public Op {  // (y, x, norm: (1), length: (1)) -> (): updates y
 public:
  std::string_view name() const override { return "flat_step"; }
};

class FlatNorm : public Op {  // (x: (n)) -> (1)
 public:
  std::string_view name() const override { return "flat_norm"; }
  size_t workspace_bytes(const NodeShapes&, int threads) const override;
};

inline constexpr int64_t kFlatNormChunk = 64 * 1024;  // elements summed by one task

}  // namespace ladarts
