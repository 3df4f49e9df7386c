#include "ops/deferred_norm.h"

#include "core/gradients.h"
#include "ops/checks.h"
#include "ops/scaled_channels.h"

namespace ladarts {

DeferredNorm defer_norm(Tensor y, float eps) {
  require_images("defer_norm", y);
  require(y.shape().elements() >= 2 * y.dim(1),
          "[defer_norm] y of shape {} has one value a channel: its variance is unknown; use a larger batch",
          y.shape().str());
  require(eps > 0, "[defer_norm] eps {} must be positive", eps);
  return {y, y.graph().add(std::make_shared<BatchStatistics>(eps), {y}, {{{2, y.dim(1)}}})[0]};
}

void BatchStatistics::backward(Backward& b) const {
  if (!b.needs(0)) return;
  const Shape& y = b.input(0).shape();
  const Tensor coefficients =
      b.emit(BatchStatisticsGrad(y.elements() / y[1]), {b.output(0), b.grad(0)}, {}, {{{2, y[1]}}})[0];
  b.emit(ScaledChannels(0, 1, 1), {b.input(0), coefficients}, {0});
}

// Mean and squared deviations of each plane.
size_t BatchStatistics::workspace_bytes(const NodeShapes& s, int) const {
  return size_t(2 * s.inputs[0][0] * s.inputs[0][1]) * sizeof(float);
}

Cost BatchStatistics::cost(const NodeShapes& s) const {
  Cost c = Op::cost(s);
  c.flops = double(s.inputs[0].elements()) * 4;
  return c;
}

}  // namespace ladarts
