#include "ops/softmax.h"

#include "core/gradients.h"
#include "ops/checks.h"

namespace ladarts {

Tensor softmax(Tensor x) {
  require_float("softmax", "x", x);
  require(x.rank() >= 1 && x.dim(x.rank() - 1) > 0,
          "[softmax] x has shape {}; its last dimension must not be 0", x.shape().str());
  return x.graph().add(std::make_shared<Softmax>(std::vector<int>{}), {x}, {{x.shape()}})[0];
}

Tensor segment_softmax(Tensor x, std::vector<int> segment_sizes) {
  require_float("segment_softmax", "x", x);
  int64_t total = 0;
  for (int size : segment_sizes) {
    require(size > 0, "[segment_softmax] a segment has {} elements; expected at least 1", size);
    total += size;
  }
  require(x.rank() == 1 && total == x.dim(0) && total > 0,
          "[segment_softmax] segments hold {} elements, x has shape {}", total, x.shape().str());
  return x.graph().add(std::make_shared<Softmax>(std::move(segment_sizes)), {x}, {{x.shape()}})[0];
}

void Softmax::backward(Backward& b) const {
  if (b.needs(0)) b.emit(SoftmaxGrad(segments), {b.output(0), b.grad(0)}, {0});
}

}  // namespace ladarts
