// Kernels of the ops that differentiation itself records (core/gradients.h).
#include "core/gradients.h"
#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

void fill(const Fill& op, const KernelArgs& a) {
  float* y = a.out(0);
  for_chunks(*a.pool, a.out_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = op.value;
  });
}

void accumulate(const Accumulate&, const KernelArgs& a) {
  const float* x = a.in(0);
  float* y = a.out(0);
  const bool add = a.accumulate(0);
  for_chunks(*a.pool, a.out_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    if (add) {
      for (int64_t i = begin; i < end; ++i) y[i] += x[i];
    } else {
      for (int64_t i = begin; i < end; ++i) y[i] = x[i];
    }
  });
}

LADARTS_CPU_KERNEL(Fill, fill)
LADARTS_CPU_KERNEL(Accumulate, accumulate)

}  // namespace
}  // namespace ladarts
