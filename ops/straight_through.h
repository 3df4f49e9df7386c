// Discrete choices on the way forward with the gradient of something soft on the way back (the
// straight-through estimator: Bengio, Leonard and Courville, 2013).
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

// 1 for the `keep` largest items of each group, the first among equals; 0 for the others. Groups are
// consecutive items of x (E), or without sizes the rows of x's last dimension; one of at most `keep` items
// keeps all. It has no gradient.
Tensor keep_largest(Tensor x, std::vector<int> group_sizes, int keep);

// hard, of the same shape as soft; the gradient goes to soft as if that had been the result, and none to
// hard.
Tensor straight_through(Tensor hard, Tensor soft);

class KeepLargest : public Op {  // (x) -> (y)
 public:
  KeepLargest(std::vector<int> sizes, int k) : group_sizes(std::move(sizes)), keep(k) {}
  std::string_view name() const override { return "keep_largest"; }
  std::vector<int> group_sizes;  // empty: rows of the last dimension
  int keep;
};

class StraightThrough : public Op {  // (hard, soft) -> (y)
 public:
  std::string_view name() const override { return "straight_through"; }
  void backward(Backward& b) const override;
  Cost cost(const NodeShapes& s) const override;
};

}  // namespace ladarts
