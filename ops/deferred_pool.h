// Pools of 3x3 at stride 1 that are not carried out: whoever reads x pools it in passing
// (MixtureEdge::pools), so that the pooled values are never stored.
#pragma once

#include "ops/pool2d.h"

namespace ladarts {

// The normalisations over the batch, without affine parameters, of the pools of x's first `channels`
// channels, c: (2, c) each, as DeferredNorm::affine. Two or more values a channel.
MaxAndAverage pool_statistics(Tensor x, int channels, float eps = 1e-5f);

class PoolStatistics : public Op {  // (x) -> (affine of the maxima, of the averages: (2, c))
 public:
  PoolStatistics(int c, float e) : channels(c), eps(e) {}
  std::string_view name() const override { return "pool_statistics"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  Pool2dDesc desc() const { return {.kernel = 3, .stride = 1, .padding = 1, .channels = channels}; }
  int channels;
  float eps;
};

}  // namespace ladarts
