#include "ops/deferred_pool.h"

#include "core/error.h"
#include "ops/checks.h"
#include "ops/deferred_norm.h"

namespace ladarts {

MaxAndAverage pool_statistics(Tensor x, int channels, float eps) {
  require_images("pool_statistics", x);
  require(channels >= 1 && channels <= x.dim(1),
          "[pool_statistics] {} channels asked for, x of shape {} has {}", channels, x.shape().str(),
          x.dim(1));
  require(
      x.shape().elements() >= 2 * x.dim(1),
      "[pool_statistics] x of shape {} has one value a channel: its variance is unknown; use a larger batch",
      x.shape().str());
  require(eps > 0, "[pool_statistics] eps {} must be positive", eps);
  const OutputSpec affine{{2, channels}};
  const auto y = x.graph().add(std::make_shared<PoolStatistics>(channels, eps), {x}, {affine, affine});
  return {y[0], y[1]};
}

// The gradient of x from all nodes that pool it, which waits until here, and from the statistics.
void PoolStatistics::backward(Backward& b) const {
  if (!b.needs(0)) return;
  const Shape& x = b.input(0).shape();
  Pool2dGrad op;
  op.desc = desc();
  std::vector<Tensor> operands{b.input(0)};
  op.x = 0;
  for (int i = 0; i < 2; ++i) {
    if (!b.has_grad(i)) continue;
    const Tensor coefficients =
        b.emit(BatchStatisticsGrad(x.elements() / x[1]), {b.output(i), b.grad(i)}, {}, {{{2, channels}}})[0];
    operands.push_back(coefficients);
    (i == 0 ? op.d_max : op.d_average)
        .push_back(
            {.source = Pool2dGrad::kPooled, .factors = int(operands.size()) - 1, .row = 0, .offset_row = 1});
  }
  op.take_late(b, operands);
  b.emit(std::move(op), operands, {0});
}

// Of each thread a pool's scratch; mean and squared deviations of each plane of both.
size_t PoolStatistics::workspace_bytes(const NodeShapes& s, int threads) const {
  const Shape& x = s.inputs[0];
  return size_t(4 * x[0] * channels + Pool2dScratch(x, x, desc(), 2).thread_floats * threads) * sizeof(float);
}

Cost PoolStatistics::cost(const NodeShapes& s) const {
  const Shape& x = s.inputs[0];
  Cost c = Op::cost(s);
  const double pooled = double(x.elements()) * channels / double(x[1]);
  c.flops = 2 * (9 + 4) * pooled;
  c.bytes_moved -= 4.0 * (double(x.elements()) - pooled);
  return c;
}

}  // namespace ladarts
