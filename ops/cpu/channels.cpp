#include "ops/channels.h"

#include <cstring>

#include "ops/cpu/parallel.h"

namespace ladarts {
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

void copy_or_add(const float* __restrict from, float* __restrict to, int64_t n, bool add) {
  if (add) {
    for (int64_t i = 0; i < n; ++i) to[i] += from[i];
  } else {
    std::memcpy(to, from, size_t(n) * sizeof(float));
  }
}

// Runs f(item) for each of `items` items of about `size` elements, several to a task.
template <class F>
void for_items(const KernelArgs& a, int64_t items, int64_t size, F f) {
  const int64_t grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, size));
  for_chunks(*a.pool, items, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

// A block of rows, `rows` of `length` elements, between arrays with their own distance between rows.
void move_rows(const KernelArgs& a, const float* from, int64_t from_stride, float* to, int64_t to_stride,
               int64_t rows, int64_t length, bool add) {
  if (rows == 1) {
    for_chunks(*a.pool, length, kElementGrain,
               [=](int64_t begin, int64_t end) { copy_or_add(from + begin, to + begin, end - begin, add); });
    return;
  }
  for_items(a, rows, length,
            [=](int64_t r) { copy_or_add(from + r * from_stride, to + r * to_stride, length, add); });
}

// A few rows are cut across their planes, so that a thread copies the pixels that it will read and wrote.
void concat(const Concat& op, const KernelArgs& a) {
  constexpr int64_t kLine = 16;
  const Shape& shape = a.out_shape(0);
  const int64_t rows = outer_size(shape, op.axis), inner = inner_size(shape, op.axis);
  const int64_t pieces =
      std::clamp<int64_t>(kEnoughTasks / rows, 1, std::max<int64_t>(1, inner / (8 * kLine)));
  a.pool->parallel_for(rows * pieces, [&](int64_t task, int) {
    const int64_t row = task / pieces, piece = task % pieces;
    const int64_t begin = inner / kLine * piece / pieces * kLine,
                  end = piece + 1 == pieces ? inner : inner / kLine * (piece + 1) / pieces * kLine;
    float* to = a.out(0) + row * shape[op.axis] * inner + begin;
    for (int k = 0; k < a.n_inputs; ++k) {
      const int64_t channels = a.in_shape(k)[op.axis];
      const float* from = a.in(k) + row * channels * inner + begin;
      if (pieces == 1) {
        std::memcpy(to, from, size_t(channels * inner) * sizeof(float));
      } else {
        for (int64_t c = 0; c < channels; ++c)
          std::memcpy(to + c * inner, from + c * inner, size_t(end - begin) * sizeof(float));
      }
      to += channels * inner;
    }
  });
}

void concat_grad(const ConcatGrad& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const int64_t rows = outer_size(shape, op.axis), inner = inner_size(shape, op.axis);
  const int64_t stride = shape[op.axis] * inner;
  for (int i = 0; i < a.n_outputs; ++i) {
    const int64_t length = a.out_shape(i)[op.axis] * inner;
    move_rows(a, a.in(0) + op.begins.data()[i] * inner, stride, a.out(i), length, rows, length,
              a.accumulate(i));
  }
}

void slice(const Slice& op, const KernelArgs& a) {
  const Shape &from = a.in_shape(0), &to = a.out_shape(0);
  const int64_t inner = inner_size(from, op.axis), length = to[op.axis] * inner;
  move_rows(a, a.in(0) + op.begin * inner, from[op.axis] * inner, a.out(0), length, outer_size(from, op.axis),
            length, false);
}

void slice_grad(const SliceGrad& op, const KernelArgs& a) {
  const Shape &from = a.in_shape(0), &to = a.out_shape(0);
  const int64_t rows = outer_size(to, op.axis), inner = inner_size(to, op.axis);
  const int64_t length = from[op.axis] * inner, stride = to[op.axis] * inner, before = op.begin * inner;
  const float* d_y = a.in(0);
  float* d_x = a.out(0);
  if (a.accumulate(0)) {
    move_rows(a, d_y, length, d_x + before, stride, rows, length, true);
    return;
  }
  for_items(a, rows, stride, [=](int64_t r) {
    float* row = d_x + r * stride;
    std::memset(row, 0, size_t(before) * sizeof(float));
    std::memcpy(row + before, d_y + r * length, size_t(length) * sizeof(float));
    std::memset(row + before + length, 0, size_t(stride - before - length) * sizeof(float));
  });
}

void shuffle(const ChannelShuffle& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const int64_t channels = shape[1], plane = inner_size(shape, 1), groups = op.groups;
  const int64_t per_group = channels / groups;
  const float* x = a.in(0);
  float* y = a.out(0);
  const bool add = a.accumulate(0);
  for_items(a, shape[0], channels * plane, [=](int64_t n) {
    const float* from = x + n * channels * plane;
    float* to = y + n * channels * plane;
    for (int64_t j = 0; j < per_group; ++j)
      for (int64_t g = 0; g < groups; ++g, to += plane)
        copy_or_add(from + (g * per_group + j) * plane, to, plane, add);
  });
}

LADARTS_CPU_KERNEL(Concat, concat)
LADARTS_CPU_KERNEL(ConcatGrad, concat_grad)
LADARTS_CPU_KERNEL(Slice, slice)
LADARTS_CPU_KERNEL(SliceGrad, slice_grad)
LADARTS_CPU_KERNEL(ChannelShuffle, shuffle)

}  // namespace
}  // namespace ladarts
