#include "ops/inclusion.h"

#include <numeric>

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

Tensor inclusion_probability(Tensor s, std::vector<int> sizes, int keep) {
  require_float("inclusion_probability", "s", s);
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t(0));
  require(s.rank() == 1 && s.dim(0) == total,
          "[inclusion_probability] groups of {} items in all, strengths {}", total, s.shape().str());
  require(keep == 1 || keep == 2, "[inclusion_probability] keep is {}; 1 and 2 are supported", keep);
  return s.graph().add(std::make_shared<InclusionProbability>(std::move(sizes), keep), {s}, {{s.shape()}})[0];
}

void InclusionProbability::backward(Backward& b) const {
  if (b.needs(0)) b.emit(InclusionProbabilityGrad(group_sizes, keep), {b.input(0), b.grad(0)}, {0});
}

}  // namespace ladarts
