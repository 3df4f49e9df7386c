// Elementwise arithmetic on tensors of one shape (nothing broadcasts), sums of many tensors, reductions to a
// scalar.
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

Tensor add(Tensor a, Tensor b);
Tensor sub(Tensor a, Tensor b);
Tensor mul(Tensor a, Tensor b);
Tensor scale(Tensor x, float factor);
Tensor scale_by(Tensor x, Tensor s);                                 // s has one element
Tensor add_n(const std::vector<Tensor>& xs);                         // one pass
Tensor weighted_sum(const std::vector<Tensor>& xs, Tensor weights);  // sum_k weights[k] * xs[k]; weights (K)
Tensor sum_all(Tensor x);                                            // -> (1)
Tensor mean_all(Tensor x);                                           // -> (1)
Tensor reshape(Tensor x, Shape shape);  // same elements in the same order, copied

enum class BinaryKind : uint8_t { add, sub, mul };

class Binary : public Op {  // (a, b) -> (y)
 public:
  explicit Binary(BinaryKind k) : kind(k) {}
  std::string_view name() const override;
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
  BinaryKind kind;
};

class Scale : public Op {  // (x) -> (y) = factor * x; the shapes hold the same number of elements
 public:
  explicit Scale(float f) : factor(f) {}
  std::string_view name() const override { return "scale"; }
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
  float factor;
};

class ScaleBy : public Op {  // (x, s: one element) -> (y) = s * x
 public:
  std::string_view name() const override { return "scale_by"; }
  void backward(Backward& b) const override;
  bool can_accumulate(int) const override { return true; }
};

class Dot : public Op {  // (a, b) -> (1): sum of a * b
 public:
  std::string_view name() const override { return "dot"; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  bool can_accumulate(int) const override { return true; }
};

class SumAll : public Op {  // (x) -> (1): factor * sum of x
 public:
  explicit SumAll(float f) : factor(f) {}
  std::string_view name() const override { return "sum_all"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  float factor;
};

class Spread : public Op {  // (s: one element) -> (y): every element is factor * s
 public:
  explicit Spread(float f) : factor(f) {}
  std::string_view name() const override { return "spread"; }
  bool can_accumulate(int) const override { return true; }
  float factor;
};

class AddN : public Op {  // (x_0 .. x_K-1) -> (y)
 public:
  std::string_view name() const override { return "add_n"; }
  void backward(Backward& b) const override;
  std::optional<Recomputation> recomputation() const override { return Recomputation{}; }
};

class WeightedSum : public Op {  // (x_0 .. x_K-1, weights: (K)) -> (y)
 public:
  std::string_view name() const override { return "weighted_sum"; }
  void backward(Backward& b) const override;
  Cost cost(const NodeShapes& s) const override;
};

// (d_y, weights: (K), x_0 .. x_K-1) -> (d_x of every k in wanted, then d_weights: (K) if wants_weights).
// Without wants_weights the operands x are absent.
class WeightedSumGrad : public Op {
 public:
  WeightedSumGrad(std::vector<int> inputs, bool weights)
      : wanted(std::move(inputs)), wants_weights(weights) {}
  std::string_view name() const override { return "weighted_sum_grad"; }
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  bool can_accumulate(int) const override { return true; }
  std::vector<int> wanted;
  bool wants_weights;
};

class Reshape : public Op {  // (x) -> (y)
 public:
  std::string_view name() const override { return "reshape"; }
  void backward(Backward& b) const override;
};

// Elements of one task of a reduction. The sums of tasks are added in order, in double.
inline constexpr int64_t kReduceChunk = 16 * 1024;

}  // namespace ladarts
