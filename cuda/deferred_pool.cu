#include "ops/deferred_pool.h"

#include "cuda/batch_norm.cuh"
#include "cuda/kernel.h"
#include "cuda/pool_window.cuh"

namespace ladarts::cuda {
namespace {

NormLayout layout_of(const PoolStatistics& op, const Shape& x) {
  return layout_of(x[0], op.channels, x[2] * x[3]);
}
size_t pooled_bytes(const PoolStatistics& op, const Shape& x) {
  return (size_t(x[0] * op.channels * x[2] * x[3]) * sizeof(float) + 63) / 64 * 64;
}

// One pool after the other, each written to scratch for its statistics.
void pool_statistics(const PoolStatistics& op, const KernelArgs& a) {
  const Shape& x = a.in_shape(0);
  const NormLayout l = layout_of(op, x);
  const PoolWindow w = window_of(op.desc(), x, x);
  const int64_t n = x[0] * op.channels * x[2] * x[3];
  float* const y = reinterpret_cast<float*>(a.workspace);
  auto statistics = [&](int output) {
    channel_sums(CenteredTerm{y, l.plane},
                 FinishAffine{y, l.plane, l.channels, double(l.images * l.plane), op.eps, a.out(output)}, l,
                 a.workspace + pooled_bytes(op, x), a.stream);
  };
  elementwise(Pooled{w, a.in(0), true}, y, n, false, a.stream);
  statistics(0);
  elementwise(Pooled{w, a.in(0), false}, y, n, false, a.stream);
  statistics(1);
}
size_t statistics_workspace(const PoolStatistics& op, const NodeShapes& s) {
  return pooled_bytes(op, s.inputs[0]) + sums_bytes(layout_of(op, s.inputs[0]));
}

LADARTS_CUDA_KERNEL(PoolStatistics, pool_statistics, statistics_workspace)

}  // namespace
}  // namespace ladarts::cuda
