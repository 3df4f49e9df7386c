// Choices among architecture parameters: groups are a dozen items at most, so one thread marks a whole group.
#include "ops/straight_through.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"
#include "cuda/segments.h"

namespace ladarts::cuda {
namespace {

// y[i] = 1 for the `keep` largest of x (n), the first among equals; 0 for the others.
__device__ inline void mark_largest(const float* x, float* y, int64_t n, int keep) {
  for (int64_t i = 0; i < n; ++i) y[i] = n <= keep ? 1.f : 0.f;
  if (n <= keep) return;
  for (int k = 0; k < keep; ++k) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i)
      if (y[i] == 0 && (best < 0 || x[i] > x[best])) best = i;
    y[best] = 1;
  }
}

struct LargestOfGroups {
  Segments groups;
  int keep;
  const float* x;
  float* y;
  __device__ void operator()(int64_t k) const {
    const int begin = groups.begin[k];
    mark_largest(x + begin, y + begin, groups.begin[k + 1] - begin, keep);
  }
};
struct LargestOfRows {
  int64_t length;
  int keep;
  const float* x;
  float* y;
  __device__ void operator()(int64_t row) const {
    mark_largest(x + row * length, y + row * length, length, keep);
  }
};
struct Copied {
  const float* x;
  __device__ float operator()(int64_t i) const { return x[i]; }
};

void keep_largest_kernel(const KeepLargest& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  if (op.group_sizes.empty()) {
    const int64_t length = shape[shape.rank() - 1];
    for_each(LargestOfRows{length, op.keep, a.in(0), a.out(0)}, shape.elements() / length, a.stream);
    return;
  }
  for_segments(op.group_sizes, [&](const Segments& s) {
    for_each(LargestOfGroups{s, op.keep, a.in(0), a.out(0)}, s.count, a.stream);
  });
}

void straight_through_kernel(const StraightThrough&, const KernelArgs& a) {
  elementwise(Copied{a.in(0)}, a.out(0), a.out_shape(0).elements(), false, a.stream);
}

LADARTS_CUDA_KERNEL(KeepLargest, keep_largest_kernel)
LADARTS_CUDA_KERNEL(StraightThrough, straight_through_kernel)

}  // namespace
}  // namespace ladarts::cuda
