// An op: what one node of a graph computes. Each op is a small class in ops/NAME.h with its shape rule,
// checks and gradient; its kernels live in ops/cpu/NAME.cpp and cuda/NAME.cu and register themselves for the
// op's type.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/shape.h"

namespace ladarts {

class Backward;

// Shapes of one node's operands, as seen by an op.
struct NodeShapes {
  std::span<const Shape> inputs;
  std::span<const Shape> outputs;
};

// What a node costs by the arithmetic of its definition; a fused op counts what it really moves.
struct Cost {
  double flops = 0;        // a multiply-accumulate is two
  double bytes_moved = 0;  // compulsory reads and writes
};

class Op;

// How the backward pass gets an op's first output again that it does not keep: by `op` over these operands of
// the node, or by the op itself over all of its inputs where `op` is null. The bits must be the same.
struct Recomputation {
  std::shared_ptr<const Op> op;
  std::vector<int> inputs, outputs;  // positions; inputs come first
};

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string_view name() const = 0;  // "conv2d"

  // Appends the nodes that compute the gradients asked for by `b.needs(i)`. The default refuses: an op
  // without a gradient throws Error naming itself.
  virtual void backward(Backward& b) const;

  // For ops whose result costs little more to compute than to read (GradientOptions::recompute); it must not
  // depend on values that the node or a later one changes. The default keeps the result.
  virtual std::optional<Recomputation> recomputation() const { return {}; }

  // Deferral of a normalisation (core/deferral.h), by three kinds of ops:
  // one whose first output is scale * x + shift, x its first operand and both of each channel: the op of the
  // same operands whose first output is (2, C), scale and shift; null: it is none, or cannot be deferred;
  virtual std::shared_ptr<const Op> deferred() const { return {}; }
  // one that reads such a result: the op that reads x at operands `inputs` and scale and shift at operand
  // `affine`, behind all others; null: it cannot;
  virtual std::shared_ptr<const Op> reading_affine(const std::vector<int>& inputs, int affine) const {
    (void)inputs, (void)affine;
    return {};
  }
  // one of a single operand that gives the same whether scale and shift are applied before or after it.
  virtual bool commutes_with_affine() const { return false; }

  // Scratch memory for one execution on `threads` CPU threads; planned into the arena.
  virtual size_t workspace_bytes(const NodeShapes&, int threads) const {
    (void)threads;
    return 0;
  }

  // True where output `i` can be added to what is there already (KernelArgs::accumulate). Gradient ops on hot
  // paths support it; for the others the differentiation adds a separate accumulation node.
  virtual bool can_accumulate(int output) const {
    (void)output;
    return false;
  }

  virtual Cost cost(const NodeShapes& s) const;  // default: no FLOPs, all operands moved once
};

}  // namespace ladarts
