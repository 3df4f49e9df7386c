// The input planes of a separable stage: relu(affine(x)) of one image with a border of zeros.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/cpu/simd.h"
#include "ops/separable_plan.h"

namespace ladarts {
namespace {

// f(width of an image's rows), as a constant for those of CIFAR networks, else 0.
template <class F>
inline void with_row_width(int width, F f) {
  switch (width) {
    case 8:
      return f(std::integral_constant<int, 8>());
    case 16:
      return f(std::integral_constant<int, 16>());
    case 32:
      return f(std::integral_constant<int, 32>());
    default:
      return f(std::integral_constant<int, 0>());
  }
}

// Vectors for rows of W floats: as wide as possible without masks.
template <int W>
constexpr int kRowLanes = W > 0 && W < kLanes ? W : kLanes;
// And for the even or odd half of a row.
template <int W>
constexpr int kHalfRowLanes = kRowLanes<W / 2>;

// f(offset in the plane, offset in x, columns, distance in x) for each run of consecutive floats of a row.
template <class F>
inline void for_row_runs(const SeparablePlan& p, int row, F&& f) {
  const ptrdiff_t to = ptrdiff_t(row + SeparablePlan::kHalo) * p.pitch, from = ptrdiff_t(row) * p.in_w;
  if (p.stride == 1) {
    f(to + SeparablePlan::kHalo, from, p.in_w, 1);
  } else {
    f(to + SeparablePlan::kHalo / 2, from, (p.in_w + 1) / 2, 2);
    f(to + p.half + SeparablePlan::kHalo / 2, from + 1, p.in_w / 2, 2);
  }
}

// Rows of a plane without stride; W: their width, or 0.
template <int W>
inline void load_rows(const SeparablePlan& p, const float* x, float* plane, float scale, float shift) {
  constexpr int L = kRowLanes<W>;
  const int width = W > 0 ? W : p.in_w;
  float* to = plane + SeparablePlan::kHalo * p.pitch + SeparablePlan::kHalo;
  for (int row = 0; row < p.in_h; ++row, x += width, to += p.pitch)
    for (int j = 0; j < width; j += L) {
      if (W > 0 || j + L <= width) {
        store<L>(to + j, relu<L>(load<L>(x + j) * scale + shift));
      } else {
        store_first<L>(to + j, relu<L>(load_first<L>(x + j, width - j) * scale + shift), width - j);
      }
    }
}

// The same for even and odd columns apart, W > 0.
template <int W>
inline void load_split_rows(const SeparablePlan& p, const float* x, float* plane, float scale, float shift) {
  constexpr int L = kHalfRowLanes<W>;
  float* even = plane + SeparablePlan::kHalo * p.pitch + SeparablePlan::kHalo / 2;
  for (int row = 0; row < p.in_h; ++row, x += W, even += p.pitch)
    for (int j = 0; j < W / 2; j += L) {
      const Vec<L> low = relu<L>(load<L>(x + 2 * j) * scale + shift),
                   high = relu<L>(load<L>(x + 2 * j + L) * scale + shift);
      store<L>(even + j, even_lanes<L>(low, high));
      store<L>(even + p.half + j, odd_lanes<L>(low, high));
    }
}

inline void load_strided_run(const float* x, float* to, int columns, float scale, float shift) {
  for (int j = 0; j < columns; ++j) {
    const float v = x[2 * j] * scale + shift;
    to[j] = v > 0.f ? v : 0.f;
  }
}

// Rows [first, last) of the image x to a plane whose inside begins with row `top`. Only pixels are written:
// the border must be zero already, and stays so.
inline void load_plane(const SeparablePlan& p, const float* x, float* plane, float scale, float shift,
                       int top, int first, int last) {
  SeparablePlan rows = p;
  rows.in_h = last - first;
  x += ptrdiff_t(first) * p.in_w;
  plane += ptrdiff_t(first - top) * p.pitch;
  with_row_width(p.in_w, [&](auto w) {
    if (p.stride == 1) {
      load_rows<w()>(rows, x, plane, scale, shift);
    } else if constexpr (w() > 0) {
      load_split_rows<w()>(rows, x, plane, scale, shift);
    } else {
      for (int row = 0; row < rows.in_h; ++row)
        for_row_runs(p, row, [&](ptrdiff_t to, ptrdiff_t from, int columns, int) {
          load_strided_run(x + from, plane + to, columns, scale, shift);
        });
    }
  });
}

// `count` channels of image n from `first` on.
inline void load_planes(const SeparableStage& op, const KernelArgs& a, const SeparablePlan& p, int64_t n,
                        int input, int first, int count, float* planes) {
  const float* affine = op.reads_affine() ? a.in(op.affine_at(input)) : nullptr;
  for (int c = first; c < first + count; ++c, planes += p.plane) {
    const float* x = a.in(input) + (n * a.in_shape(input)[1] + c) * int64_t(p.in_h) * p.in_w;
    load_plane(p, x, planes, affine ? affine[c] : 1.f, affine ? affine[p.c + c] : 0.f, 0, 0, p.in_h);
  }
}

// An image of an input: tasks go through those of one chunk and one input, chunk by chunk.
struct TaskImage {
  int input;
  int64_t n;
};
inline const float* image_of(const KernelArgs& a, const SeparablePlan& p, TaskImage i) {
  return a.in(i.input) + i.n * a.in_shape(i.input)[1] * int64_t(p.in_h) * p.in_w;
}

// What follows an image of the chunk that begins at image `begin`; behind its last the first of the next
// task, which the same thread most likely has. n = p.images: none.
inline TaskImage image_after(const SeparablePlan& p, int n_inputs, TaskImage i, int64_t begin) {
  if (++i.n < std::min(begin + p.images_per_chunk, p.images)) return i;
  if (++i.input < n_inputs) return {i.input, begin};
  return {0, i.n};
}

// Clears what borders of zeros surround, before the first task of each thread: tasks leave borders as they
// are.
class FirstTask {
 public:
  // `flags`: kFlagFloats for each thread, so that no two share a cache line.
  FirstTask(float* flags, int threads) : flags_(flags) {
    for (int t = 0; t < threads; ++t) flags_[SeparablePlan::kFlagFloats * t] = 1;
  }
  void clear(int thread, float* memory, int64_t floats) const {
    if (flags_[SeparablePlan::kFlagFloats * thread] != 0)
      std::memset(memory, 0, size_t(floats) * sizeof(float));
  }
  void done(int thread) const { flags_[SeparablePlan::kFlagFloats * thread] = 0; }

 private:
  float* flags_;
};

}  // namespace
}  // namespace ladarts
