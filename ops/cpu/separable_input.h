// The input planes of a separable stage: relu(affine(x)) of one image with a border of zeros.
#pragma once

#include <cstring>

#include "core/kernel.h"
#include "core/thread_pool.h"
#include "ops/separable_plan.h"

namespace ladarts {
namespace {

// f(offset in the plane, offset in x, columns, distance in x) for each run of consecutive floats of a row.
template <class F>
inline void for_row_runs(const SeparableStage& op, const SeparablePlan& p, int row, F&& f) {
  const ptrdiff_t to = ptrdiff_t(row + SeparablePlan::kHalo) * p.pitch, from = ptrdiff_t(row) * p.in_w;
  if (op.stride == 1) {
    f(to + SeparablePlan::kHalo, from, p.in_w, 1);
  } else {
    f(to + SeparablePlan::kHalo / 2, from, (p.in_w + 1) / 2, 2);
    f(to + p.half + SeparablePlan::kHalo / 2, from + 1, p.in_w / 2, 2);
  }
}

template <int step>
inline void load_run(const float* x, float* to, int columns, float scale, float shift) {
  for (int j = 0; j < columns; ++j) {
    const float v = x[j * step] * scale + shift;
    to[j] = v > 0.f ? v : 0.f;
  }
}

// Writes the images' pixels; the border must be zero already, and stays so.
inline void load_planes(const SeparableStage& op, const KernelArgs& a, const SeparablePlan& p, int64_t n,
                        int input, float* planes) {
  const float* affine = op.has_affine ? a.in(op.affine_at(input)) : nullptr;
  for (int c = 0; c < p.c; ++c) {
    const float* x = a.in(input) + (n * a.in_shape(input)[1] + c) * int64_t(p.in_h) * p.in_w;
    float* plane = planes + ptrdiff_t(c) * p.plane;
    const float scale = affine ? affine[c] : 1.f, shift = affine ? affine[p.c + c] : 0.f;
    for (int row = 0; row < p.in_h; ++row)
      for_row_runs(op, p, row, [&](ptrdiff_t to, ptrdiff_t from, int columns, int step) {
        if (step == 1) {
          load_run<1>(x + from, plane + to, columns, scale, shift);
        } else {
          load_run<2>(x + from, plane + to, columns, scale, shift);
        }
      });
  }
}

}  // namespace
}  // namespace ladarts
