#include "ops/scaled_channels.h"

#include "core/kernel.h"
#include "core/thread_pool.h"

namespace ladarts {
namespace {

void scaled_channels(const ScaledChannels& op, const KernelArgs& a) {
  const Shape &from = a.in_shape(0), &to = a.out_shape(0);
  const int64_t pixels = to[2] * to[3];
  const float* factors = a.in(1) + op.row * to[1];
  const float* offsets = op.offset_row >= 0 ? a.in(1) + op.offset_row * to[1] : nullptr;
  const bool add = a.accumulate(0);
  a.pool->parallel_for(to[0] * to[1], [&](int64_t task, int) {
    const int64_t n = task / to[1], c = task % to[1];
    const float* g = a.in(0) + (n * from[1] + c * op.step) * pixels;
    float* y = a.out(0) + task * pixels;
    const float f = factors[c], offset = offsets ? offsets[c] : 0.f;
    if (add) {
      for (int64_t i = 0; i < pixels; ++i) y[i] += f * g[i] + offset;
    } else {
      for (int64_t i = 0; i < pixels; ++i) y[i] = f * g[i] + offset;
    }
  });
}

LADARTS_CPU_KERNEL(ScaledChannels, scaled_channels)

}  // namespace
}  // namespace ladarts
