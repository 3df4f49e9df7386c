// A batch normalisation that is not carried out: the value meant is affine[0][c] * y + affine[1][c], and
// whoever reads y applies it while loading. Without affine it is y itself.
#pragma once

#include "core/graph.h"

namespace ladarts {

struct DeferredNorm {
  Tensor y;       // (N, C, H, W)
  Tensor affine;  // (2, C): 1 / deviation and -mean / deviation over the batch; or empty
};

// The normalisation of any y (N, C, H, W) without affine parameters; two or more values a channel.
DeferredNorm defer_norm(Tensor y, float eps = 1e-5f);

class BatchStatistics : public Op {  // (y) -> (affine: (2, C))
 public:
  explicit BatchStatistics(float e) : eps(e) {}
  std::string_view name() const override { return "batch_statistics"; }
  void backward(Backward& b) const override;
  size_t workspace_bytes(const NodeShapes& s, int threads) const override;
  Cost cost(const NodeShapes& s) const override;
  float eps;
};

// (affine, d_affine) -> (2, C): slope and offset of what the statistics add to the gradient of y, slope * y +
// offset (see ScaledChannels).
class BatchStatisticsGrad : public Op {
 public:
  explicit BatchStatisticsGrad(int64_t n) : values(n) {}
  std::string_view name() const override { return "batch_statistics_grad"; }
  int64_t values;  // of a channel
};

}  // namespace ladarts
