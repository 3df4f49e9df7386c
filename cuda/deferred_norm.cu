#include "ops/deferred_norm.h"

#include "cuda/batch_norm.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

NormLayout layout_of(const Shape& y) {
  return layout_of(y[0], y[1], y[2] * y[3]);
}

void batch_statistics(const BatchStatistics& op, const KernelArgs& a) {
  const NormLayout l = layout_of(a.in_shape(0));
  channel_sums(CenteredTerm{a.in(0), l.plane},
               FinishAffine{a.in(0), l.plane, l.channels, double(l.images * l.plane), op.eps, a.out(0)}, l,
               a.workspace, a.stream);
}
size_t statistics_workspace(const BatchStatistics&, const NodeShapes& s) {
  return sums_bytes(layout_of(s.inputs[0]));
}

void batch_statistics_grad(const BatchStatisticsGrad& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  for_each(StatisticsGradient{a.in(0), a.in(1), channels, double(op.values), a.out(0)}, channels, a.stream);
}

LADARTS_CUDA_KERNEL(BatchStatistics, batch_statistics, statistics_workspace)
LADARTS_CUDA_KERNEL(BatchStatisticsGrad, batch_statistics_grad)

}  // namespace
}  // namespace ladarts::cuda
