// Probability that an item is among those kept when `keep` items of each group are drawn one after the other
// without replacement, with chances proportional to their strengths (Plackett-Luce). Sums to `keep` over each
// group, becomes 0 or 1 as strengths part, and is differentiable: the soft form of "keep the strongest".
#pragma once

#include <vector>

#include "core/graph.h"

namespace ladarts {

// strengths (E), positive; group sizes that sum to E; keep 1 or 2 -> (E). A group of at most `keep` items
// keeps all.
Tensor inclusion_probability(Tensor strengths, std::vector<int> group_sizes, int keep);

class InclusionProbability : public Op {  // (s: (E)) -> (E)
 public:
  InclusionProbability(std::vector<int> sizes, int k) : group_sizes(std::move(sizes)), keep(k) {}
  std::string_view name() const override { return "inclusion_probability"; }
  void backward(Backward& b) const override;
  std::vector<int> group_sizes;
  int keep;
};

class InclusionProbabilityGrad : public Op {  // (s: (E), d_q: (E)) -> d_s: (E)
 public:
  InclusionProbabilityGrad(std::vector<int> sizes, int k) : group_sizes(std::move(sizes)), keep(k) {}
  std::string_view name() const override { return "inclusion_probability_grad"; }
  std::vector<int> group_sizes;
  int keep;
};

}  // namespace ladarts
