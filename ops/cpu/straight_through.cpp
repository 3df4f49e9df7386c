#include "ops/straight_through.h"

#include "core/kernel.h"
#include "core/thread_pool.h"

// These run on architecture parameters, some thousand numbers: one thread, plain loops.
namespace ladarts {
namespace {

void mark_largest(const float* x, float* y, int64_t n, int keep) {
  for (int64_t i = 0; i < n; ++i) y[i] = n <= keep ? 1.f : 0.f;
  if (n <= keep) return;
  for (int k = 0; k < keep; ++k) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i)
      if (y[i] == 0 && (best < 0 || x[i] > x[best])) best = i;
    y[best] = 1;
  }
}

void keep_largest_kernel(const KeepLargest& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const float* x = a.in(0);
  float* y = a.out(0);
  if (op.group_sizes.empty()) {
    const int64_t length = shape[shape.rank() - 1];
    for (int64_t at = 0; at < shape.elements(); at += length) mark_largest(x + at, y + at, length, op.keep);
    return;
  }
  for (const int size : op.group_sizes) {
    mark_largest(x, y, size, op.keep);
    x += size;
    y += size;
  }
}

void straight_through_kernel(const StraightThrough&, const KernelArgs& a) {
  const int64_t n = a.out_shape(0).elements();
  for (int64_t i = 0; i < n; ++i) a.out(0)[i] = a.in(0)[i];
}

LADARTS_CPU_KERNEL(KeepLargest, keep_largest_kernel)
LADARTS_CPU_KERNEL(StraightThrough, straight_through_kernel)

}  // namespace
}  // namespace ladarts
