#include "cuda/softmax.cuh"

#include "cuda/kernel.h"
#include "ops/softmax.h"

namespace ladarts::cuda {
namespace {

// launch(rows) for the rows of the last dimension, or for segments.
template <class F>
void for_rows(const KernelArgs& a, const std::vector<int>& segments, F launch) {
  if (!segments.empty()) {
    for_segments(segments, [&](const Segments& s) { launch(UnequalRows{s, s.count}); });
    return;
  }
  const Shape& shape = a.in_shape(0);
  const int64_t length = shape[shape.rank() - 1];
  launch(EqualRows{length, shape.elements() / length});
}

template <class Rows>
dim3 grid_of(const Rows& rows) {
  return dim3(unsigned((rows.count + kRowsPerBlock - 1) / kRowsPerBlock));
}

void softmax_forward(const Softmax& op, const KernelArgs& a) {
  for_rows(a, op.segments, [&](const auto& rows) {
    simt::launch(softmax_kernel<std::decay_t<decltype(rows)>>, grid_of(rows), dim3(kRowsPerBlock * kWarp), 0,
                 a.stream, rows, a.in(0), a.out(0));
  });
}

void softmax_backward(const SoftmaxGrad& op, const KernelArgs& a) {
  for_rows(a, op.segments, [&](const auto& rows) {
    simt::launch(softmax_grad_kernel<std::decay_t<decltype(rows)>>, grid_of(rows),
                 dim3(kRowsPerBlock * kWarp), 0, a.stream, rows, a.in(0), a.in(1), a.out(0), a.accumulate(0));
  });
}

LADARTS_CUDA_KERNEL(Softmax, softmax_forward)
LADARTS_CUDA_KERNEL(SoftmaxGrad, softmax_backward)

}  // namespace
}  // namespace ladarts::cuda
