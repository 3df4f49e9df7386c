#include "ops/deferred_norm.h"

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

void batch_statistics(const BatchStatistics& op, const KernelArgs& a) {
  const Shape& s = a.in_shape(0);
  const int64_t planes = s[0] * s[1], channels = s[1], pixels = s[2] * s[3];
  auto* moments = reinterpret_cast<float*>(a.workspace);
  for_chunks(*a.pool, planes, std::max<int64_t>(1, kElementGrain / pixels), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) plane_moments(a.in(0) + p * pixels, pixels, moments + 2 * p);
  });
  float* affine = a.out(0);
  for (int64_t c = 0; c < channels; ++c)
    normalising_affine(moments + 2 * c, 2 * channels, s[0], pixels, op.eps, affine + c,
                       affine + channels + c);
}

void batch_statistics_grad(const BatchStatisticsGrad& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  const float *affine = a.in(0), *d_affine = a.in(1);
  float* to = a.out(0);
  for (int64_t c = 0; c < channels; ++c)
    statistics_gradient(affine[c], affine[channels + c], d_affine[c], d_affine[channels + c], op.values,
                        to + c, to + channels + c);
}

LADARTS_CPU_KERNEL(BatchStatistics, batch_statistics)
LADARTS_CPU_KERNEL(BatchStatisticsGrad, batch_statistics_grad)

}  // namespace
}  // namespace ladarts
