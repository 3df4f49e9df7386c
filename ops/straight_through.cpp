#include "ops/straight_through.h"

#include <algorithm>
#include <numeric>

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

Tensor keep_largest(Tensor x, std::vector<int> sizes, int keep) {
  require_float("keep_largest", "x", x);
  require(keep > 0, "[keep_largest] keep is {}; give 1 or more", keep);
  if (sizes.empty()) {
    require(x.rank() >= 1 && x.shape().elements() > 0, "[keep_largest] x of shape {} has no rows",
            x.shape().str());
  } else {
    const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t(0));
    require(x.rank() == 1 && x.dim(0) == total &&
                std::all_of(sizes.begin(), sizes.end(), [](int n) { return n > 0; }),
            "[keep_largest] groups of {} items in all, x has shape {}", total, x.shape().str());
  }
  return x.graph().add(std::make_shared<KeepLargest>(std::move(sizes), keep), {x}, {{x.shape()}})[0];
}

Tensor straight_through(Tensor hard, Tensor soft) {
  require_same_shape("straight_through", "hard", hard, "soft", soft);
  return hard.graph().add(std::make_shared<StraightThrough>(), {hard, soft}, {{hard.shape()}})[0];
}

void StraightThrough::backward(Backward& b) const {
  if (b.needs(1)) b.pass(1, b.grad(0));
}

// A copy of hard; soft is named for its gradient alone and not read.
Cost StraightThrough::cost(const NodeShapes& s) const {
  return {0, 8.0 * double(s.outputs[0].elements())};
}

}  // namespace ladarts
