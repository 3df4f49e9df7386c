// Windows are separable: rows are combined first, then columns, so a 3x3 window costs 3 + 3 steps instead of
// 9, and all loops run along image rows. The steps between lie in scratch planes whose rows have neutral
// elements at both ends, so the column step never looks at borders; a whole plane is finished before the next
// step reads it, since a load that straddles two recent stores stalls. Compiled for the windows and widths of
// CIFAR networks, and for any.
#pragma once

#include <cfloat>
#include <type_traits>

#include "ops/cpu/pool2d_window.h"

namespace ladarts {
namespace {

struct Max {
  static constexpr float neutral = -FLT_MAX;
  static float combine(float a, float b) { return b > a ? b : a; }
};

struct Sum {
  static constexpr float neutral = 0;
  static float combine(float a, float b) { return a + b; }
};

void fill_floats(float* to, int64_t n, float value) {
  for (int64_t i = 0; i < n; ++i) to[i] = value;
}

// 1 / (how many columns of x each window holds).
template <class W>
void fill_inv_columns(const W& w, float* inv_columns) {
  for (int64_t o = 0; o < w.out_width(); ++o) {
    const Range columns = w.input_columns(o);
    inv_columns[o] = 1.f / float(columns.end - columns.begin);
  }
}

// 1 / (how many rows of x the windows of output row o hold).
template <class W>
float inv_rows(const W& w, int64_t o) {
  const Range rows = w.input_rows(o);
  return 1.f / float(rows.end - rows.begin);
}

template <class Kind, class W>
void combine_rows(const W& w, const float* x, float* __restrict to, Range rows) {
  const int64_t width = w.width();
  const float* __restrict x0 = x + rows.begin * width;
  if (rows.end - rows.begin == 3) {
    const float* __restrict x1 = x0 + width, * __restrict x2 = x1 + width;
    for (int64_t i = 0; i < width; ++i) to[i] = Kind::combine(Kind::combine(x0[i], x1[i]), x2[i]);
    return;
  }
  for (int64_t i = 0; i < width; ++i) to[i] = x0[i];
  for (int64_t r = rows.begin + 1; r < rows.end; ++r)
    for (int64_t i = 0; i < width; ++i) to[i] = Kind::combine(to[i], x[r * width + i]);
}

template <class Kind, class W>
void combine_columns(const W& w, const float* __restrict row, float* __restrict y) {
  const int64_t s = w.stride();
  for (int64_t i = 0; i < w.out_width(); ++i) {
    float v = row[i * s];
    for (int k = 1; k < w.kernel(); ++k) v = Kind::combine(v, row[i * s + k]);
    y[i] = v;
  }
}

// `plane` (H', W) between neutral columns holds x after the row step.
template <class Kind, class W>
void pool_plane(const W& w, const float* x, float* y, const float* __restrict inv_columns, float* plane) {
  float* data = plane + w.lead();
  for (int64_t o = 0; o < w.out_height; ++o) combine_rows<Kind>(w, x, data + o * w.row(), w.input_rows(o));
  for (int64_t o = 0; o < w.out_height; ++o, y += w.out_width()) {
    combine_columns<Kind>(w, data + o * w.row() - w.padding(), y);
    if constexpr (std::is_same_v<Kind, Sum>) {
      const float factor = inv_rows(w, o);
      for (int64_t i = 0; i < w.out_width(); ++i) y[i] *= factor * inv_columns[i];
    }
  }
}

// What takes part in the column step backward: all of a row of gradients.
struct All {
  const float* gradient;
  float at(int64_t o, int) const { return gradient[o]; }
};

// What column i = stride * j + b of x receives: the sum over window columns k, and the windows o = (i +
// padding - k) / stride, where that is whole. Unrolled by recursion, so that the loop over j is one that
// vectorises.
template <class W, int b, int k, class From>
inline float gather_column(const From& from, int64_t j) {
  if constexpr (k == W::fixed.kernel) {
    return 0;
  } else {
    constexpr int at = b + W::fixed.padding - k, s = W::fixed.stride;
    const float rest = gather_column<W, b, k + 1>(from, j);
    if constexpr (at % s == 0) {
      return from.at(j + at / s, k) + rest;
    } else {
      return rest;
    }
  }
}

template <bool add>
inline void put(float* to, float v) {
  *to = add ? *to + v : v;
}

// The column step backward: row d_x[i] (+)= sum over windows o and their columns k with o * stride + k = i +
// padding. `from` is zero for o outside of the image.
template <bool add, class W, class From>
void scatter_columns(const W& w, From from, float* __restrict d_x) {
  const int64_t width = w.width();
  if constexpr (W::is_fixed && W::fixed.stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) put<add>(d_x + i, gather_column<W, 0, 0>(from, i));
  } else if constexpr (W::is_fixed) {
    static_assert(W::fixed.stride == 2);
#pragma omp simd
    for (int64_t j = 0; j < width / 2; ++j) {
      put<add>(d_x + 2 * j, gather_column<W, 0, 0>(from, j));
      put<add>(d_x + 2 * j + 1, gather_column<W, 1, 0>(from, j));
    }
    if (width % 2 != 0) put<add>(d_x + width - 1, gather_column<W, 0, 0>(from, width / 2));
  } else {
    for (int64_t i = 0; i < width; ++i) {
      float v = 0;
      for (int k = 0; k < w.kernel(); ++k) {
        const int64_t at = i + w.padding() - k;
        if (at >= 0 && at % w.stride() == 0 && at / w.stride() < w.out_width())
          v += from.at(at / w.stride(), k);
      }
      put<add>(d_x + i, v);
    }
  }
}

// All rows of a plane; from(r) is what row r of x receives.
template <class W, class From>
void scatter_plane(const W& w, From from, float* d_x, bool add) {
  for (int64_t r = 0; r < w.height; ++r, d_x += w.width()) {
    if (add) {
      scatter_columns<true>(w, from(r), d_x);
    } else {
      scatter_columns<false>(w, from(r), d_x);
    }
  }
}

// (d_y: (H', W')) -> (d_x: (H, W)). `plane` (H, W') between zeros holds the gradient after the row step.
template <class W>
void avg_grad_plane(const W& w, const float* d_y, float* d_x, const float* __restrict inv_columns,
                    float* plane, bool add) {
  const int64_t width = w.out_width();
  for (int64_t r = 0; r < w.height; ++r) {
    float* __restrict to = plane + w.lead() + r * w.row();
    const Range outputs = w.output_rows(r);
    if (outputs.end - outputs.begin == 3) {
      const float* __restrict g0 = d_y + outputs.begin * width, * __restrict g1 = g0 + width;
      const float* __restrict g2 = g1 + width;
      const float f0 = inv_rows(w, outputs.begin), f1 = inv_rows(w, outputs.begin + 1);
      const float f2 = inv_rows(w, outputs.begin + 2);
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) to[i] = (g0[i] * f0 + g1[i] * f1 + g2[i] * f2) * inv_columns[i];
      continue;
    }
#pragma omp simd
    for (int64_t i = 0; i < width; ++i) to[i] = 0;
    for (int64_t o = outputs.begin; o < outputs.end; ++o) {
      const float* __restrict g = d_y + o * width;
      const float factor = inv_rows(w, o);
#pragma omp simd
      for (int64_t i = 0; i < width; ++i) to[i] += g[i] * (factor * inv_columns[i]);
    }
  }
  scatter_plane(
      w, [&](int64_t r) { return All{plane + w.lead() + r * w.row()}; }, d_x, add);
}

}  // namespace
}  // namespace ladarts
