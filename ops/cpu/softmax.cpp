#include "ops/softmax.h"

#include <cmath>

#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

constexpr int64_t kSoftmaxGrain = 4096;  // elements of one task

void softmax_row(const float* x, float* y, int64_t n) {
  float top = x[0];
  for (int64_t i = 1; i < n; ++i) top = x[i] > top ? x[i] : top;
  double total = 0;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = std::exp(x[i] - top);
    total += double(y[i]);
  }
  const float scale = float(1 / total);
  for (int64_t i = 0; i < n; ++i) y[i] *= scale;
}

void softmax_row_grad(const float* y, const float* d_y, float* d_x, int64_t n, bool add) {
  double inner = 0;
  for (int64_t i = 0; i < n; ++i) inner += double(y[i]) * double(d_y[i]);
  const float mean = float(inner);
  for (int64_t i = 0; i < n; ++i) {
    const float v = y[i] * (d_y[i] - mean);
    d_x[i] = add ? d_x[i] + v : v;
  }
}

// f(first element, length) for every segment, or for every row of the last dimension where `segments` is
// empty.
template <class F>
void for_segments(const KernelArgs& a, const std::vector<int>& segments, F f) {
  const Shape& shape = a.in_shape(0);
  if (!segments.empty()) {  // some dozens of edges: one task
    const int* sizes = segments.data();
    int64_t at = 0;
    for (const int* size = sizes; at < shape[0]; at += *size++) f(at, int64_t(*size));
    return;
  }
  const int64_t length = shape[shape.rank() - 1], rows = shape.elements() / length;
  for_chunks(*a.pool, rows, std::max<int64_t>(1, kSoftmaxGrain / length), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) f(r * length, length);
  });
}

void softmax_kernel(const Softmax& op, const KernelArgs& a) {
  const float* x = a.in(0);
  float* y = a.out(0);
  for_segments(a, op.segments, [=](int64_t at, int64_t n) { softmax_row(x + at, y + at, n); });
}

void softmax_grad(const SoftmaxGrad& op, const KernelArgs& a) {
  const float *y = a.in(0), *d_y = a.in(1);
  float* d_x = a.out(0);
  const bool add = a.accumulate(0);
  for_segments(a, op.segments,
               [=](int64_t at, int64_t n) { softmax_row_grad(y + at, d_y + at, d_x + at, n, add); });
}

LADARTS_CPU_KERNEL(Softmax, softmax_kernel)
LADARTS_CPU_KERNEL(SoftmaxGrad, softmax_grad)

}  // namespace
}  // namespace ladarts
