// Graph-to-graph reverse differentiation: the backward nodes are appended to the graph that holds the forward
// ones.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/graph.h"

namespace ladarts {

class GradientBuilder;

// Handed to Op::backward for one node. Only gradients for which needs() is true may be recorded.
class Backward {
 public:
  Tensor input(int i) const;
  Tensor output(int i) const;
  int inputs() const;
  int outputs() const;
  // The gradient that reached output i. Zeros of its shape are recorded when nothing reached it, so ask only
  // for what is read; has_grad() tells beforehand.
  Tensor grad(int i) const;
  bool has_grad(int output) const;
  bool needs(int input) const;

  // Records `op` over `operands`. Its output k is a contribution to the gradient of forward input grads_of[k]
  // (same shape as that input; must be needed, and listed once). Outputs beyond grads_of.size() are given by
  // `extra` and returned.
  std::vector<Tensor> emit(std::shared_ptr<const Op> op, const std::vector<Tensor>& operands,
                           const std::vector<int>& grads_of, const std::vector<OutputSpec>& extra = {});
  template <class O>
  std::vector<Tensor> emit(O op, const std::vector<Tensor>& operands, const std::vector<int>& grads_of,
                           const std::vector<OutputSpec>& extra = {}) {
    return emit(std::shared_ptr<const Op>(std::make_shared<O>(std::move(op))), operands, grads_of, extra);
  }
  // The gradient of forward input i is, or has as a term, the existing value t (no copy). Shapes may differ
  // as long as they hold the same number of elements.
  void pass(int input, Tensor t);

  // A contribution to the gradient of forward input i that can wait: `op`, whose one output it is. Recorded
  // when every reader of that input has been asked, unless one of them takes it over.
  struct Late {
    std::shared_ptr<const Op> op;
    std::vector<Tensor> operands;
    std::string scope;
  };
  void emit_late(int input, std::shared_ptr<const Op> op, const std::vector<Tensor>& operands);
  // Those that wait for the gradient of forward input i and that `wanted` accepts. The caller adds them to
  // what it emits for that input; they wait no longer.
  std::vector<Late> take_late(int input, const std::function<bool(const Late&)>& wanted);

  Graph& graph() const;

 private:
  friend class GradientBuilder;
  Backward(GradientBuilder& builder, int node) : builder_(builder), node_(node) {}
  GradientBuilder& builder_;
  int node_;
};

struct GradientOptions {
  // Where not empty: memory for the gradient of each `wrt` (an empty Storage leaves that one in the arena).
  std::vector<Storage> into;
  // Computes values again whose ops say how (Op::recomputation) rather than keep them for the backward nodes:
  // less memory, more time, the same bits.
  bool recompute = false;
};

// Gradients of the sum of `losses` (one-element tensors of one graph) with respect to each of `wrt` (any
// values). Only what these need is recorded. A value that no loss depends on gets a gradient of zeros.
std::vector<Tensor> gradients(std::span<const Tensor> losses, std::span<const Tensor> wrt,
                              const GradientOptions& options = {});
std::vector<Tensor> gradients(Tensor loss, std::span<const Tensor> wrt, const GradientOptions& options = {});

// Vector-Jacobian product: as gradients(), for outputs of any shape with given gradients `seeds`.
std::vector<Tensor> vector_jacobian(std::span<const Tensor> outputs, std::span<const Tensor> seeds,
                                    std::span<const Tensor> wrt, const GradientOptions& options = {});

// Built-in ops that differentiation itself needs. Inputs and outputs: see each.
class Fill : public Op {  // () -> (shape): every element is `value`
 public:
  explicit Fill(float v) : value(v) {}
  std::string_view name() const override { return "fill"; }
  float value;
};
class Accumulate : public Op {  // (x) -> (shape of x's size), accumulating: out += x
 public:
  std::string_view name() const override { return "accumulate"; }
  bool can_accumulate(int) const override { return true; }
};

}  // namespace ladarts
