#include "ops/channels.h"

#include "cuda/channels.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// Elements below one index of dimension `axis`.
int64_t inner_size(const Shape& shape, int axis) {
  int64_t n = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) n *= shape[i];
  return n;
}

int64_t outer_size(const Shape& shape, int axis) {
  return axis == 0 ? 1 : shape[0];
}

void concat(const Concat& op, const KernelArgs& a) {
  const Shape& shape = a.out_shape(0);
  const int64_t rows = outer_size(shape, op.axis), inner = inner_size(shape, op.axis);
  int64_t before = 0;
  for (int k = 0; k < a.n_inputs; ++k) {
    const int64_t length = a.in_shape(k)[op.axis] * inner;
    move_rows(a.in(k), length, a.out(0) + before, shape[op.axis] * inner, rows, length, false, a.stream);
    before += length;
  }
}

void concat_grad(const ConcatGrad& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const int64_t rows = outer_size(shape, op.axis), inner = inner_size(shape, op.axis);
  for (int i = 0; i < a.n_outputs; ++i) {
    const int64_t length = a.out_shape(i)[op.axis] * inner;
    move_rows(a.in(0) + op.begins[size_t(i)] * inner, shape[op.axis] * inner, a.out(i), length, rows, length,
              a.accumulate(i), a.stream);
  }
}

void slice(const Slice& op, const KernelArgs& a) {
  const Shape &from = a.in_shape(0), &to = a.out_shape(0);
  const int64_t inner = inner_size(from, op.axis), length = to[op.axis] * inner;
  move_rows(a.in(0) + op.begin * inner, from[op.axis] * inner, a.out(0), length, outer_size(from, op.axis),
            length, false, a.stream);
}

void slice_grad(const SliceGrad& op, const KernelArgs& a) {
  const Shape &from = a.in_shape(0), &to = a.out_shape(0);
  const int64_t rows = outer_size(to, op.axis), inner = inner_size(to, op.axis);
  const int64_t length = from[op.axis] * inner, stride = to[op.axis] * inner, before = op.begin * inner;
  if (a.accumulate(0))
    move_rows(a.in(0), length, a.out(0) + before, stride, rows, length, true, a.stream);
  else
    elementwise(RowsBetweenZeros{a.in(0), size32(length), size32(stride), size32(before)}, a.out(0),
                to.elements(), false, a.stream);
}

void shuffle(const ChannelShuffle& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  size32(shape.elements());
  const uint32_t channels = size32(shape[1]), groups = uint32_t(op.groups);
  elementwise(Shuffled{a.in(0), channels, groups, size32(inner_size(shape, 1))}, a.out(0), shape.elements(),
              a.accumulate(0), a.stream);
}

LADARTS_CUDA_KERNEL(Concat, concat)
LADARTS_CUDA_KERNEL(ConcatGrad, concat_grad)
LADARTS_CUDA_KERNEL(Slice, slice)
LADARTS_CUDA_KERNEL(SliceGrad, slice_grad)
LADARTS_CUDA_KERNEL(ChannelShuffle, shuffle)

}  // namespace
}  // namespace ladarts::cuda
