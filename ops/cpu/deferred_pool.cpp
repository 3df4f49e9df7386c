#include "ops/deferred_pool.h"

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/plane_pools.h"

namespace ladarts {
namespace {

void pool_statistics_kernel(const PoolStatistics& op, const KernelArgs& a) {
  const Shape& x = a.in_shape(0);
  const int64_t channels = op.channels, pixels = x[2] * x[3];
  const int64_t scratch = Pool2dScratch(x, x, op.desc(), 2).thread_floats;
  float* const memory = reinterpret_cast<float*>(a.workspace);  // of the threads, then the moments
  float* const moments = memory + a.pool->threads() * scratch;
  float* const of_averages = moments + 2 * x[0] * channels;
  constexpr int64_t kTaskElements = 16 * 1024;
  const int64_t grain = std::max<int64_t>(1, kTaskElements / pixels), planes = x[0] * channels;
  a.pool->parallel_for((planes + grain - 1) / grain, [&](int64_t task, int thread) {
    const PlanePools pools(x, memory + thread * scratch);
    for (int64_t p = task * grain; p < std::min(planes, (task + 1) * grain); ++p)
      pools.moments(a.in(0) + (p / channels * x[1] + p % channels) * pixels, moments + 2 * p,
                    of_averages + 2 * p);
  });
  for (int i = 0; i < 2; ++i)
    normalising_affine(i == 0 ? moments : of_averages, 2 * channels, x[0], pixels, op.eps, channels, a.out(i),
                       a.out(i) + channels);
}

LADARTS_CPU_KERNEL(PoolStatistics, pool_statistics_kernel)

}  // namespace
}  // namespace ladarts
