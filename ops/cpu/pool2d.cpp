// Pools over planes (ops/cpu/pool2d_planes.h), or over rows in registers where images have 8, 16 or 32
// columns (ops/cpu/pool2d_direct.h).
#include "ops/pool2d.h"

#include <type_traits>
#include <utility>

#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/gradient_plane.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/pool2d_direct.h"
#include "ops/cpu/pool2d_planes.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

// The same for images of 8, 16 and 32 columns.
void pool_directly(const Pool2d& op, const KernelArgs& a) {
  const Shape &in = a.in_shape(0), &out = a.out_shape(0);
  const bool max = op.kind != PoolKind::average;
  const int64_t pixels = in[2] * in[3];
  with_pixel_row(in[3], [&](auto row) {
    using Row = decltype(row);
    for_images(a, in, out[1], [&](int64_t n, int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const float* x = a.in(0) + (n * in[1] + c) * pixels;
        const int64_t to = (n * out[1] + c) * pixels;
        if (max) direct_maxima<Row>(x, in[2], a.out(0) + to);
        if (op.kind != PoolKind::max) direct_averages<Row>(x, in[2], a.out(max ? 1 : 0) + to);
      }
    });
  });
}

void pool2d(const Pool2d& op, const KernelArgs& a) {
  if (pools_directly(op.desc, a.in_shape(0))) return pool_directly(op, a);
  const Shape &in = a.in_shape(0), &out = a.out_shape(0);
  const bool max = op.kind != PoolKind::average, average = op.kind != PoolKind::max;
  const Pool2dScratch scratch(in, out, op.desc, max && average ? 2 : 1);
  const int64_t sums = scratch.row_floats + (max ? scratch.plane_floats : 0);  // in front of it: maxima
  with_window(op.desc, in, out, [&](const auto& w) {
    for_planes(
        a, in, out[1], scratch,
        [&](float* memory) {
          fill_inv_columns(w, memory);
          if (max) fill_floats(memory + scratch.row_floats, scratch.plane_floats, Max::neutral);
          if (average) fill_floats(memory + sums, scratch.plane_floats, Sum::neutral);
        },
        [&](int64_t n, int64_t c, float* memory) {
          const float* x = a.in(0) + (n * in[1] + c) * w.height * w.width();
          const int64_t to = (n * out[1] + c) * w.out_height * w.out_width();
          if (max) pool_plane<Max>(w, x, a.out(0) + to, memory, memory + scratch.row_floats);
          if (average) pool_plane<Sum>(w, x, a.out(max ? 1 : 0) + to, memory, memory + sums);
        });
  });
}

// Channels of d_x beyond the pooled ones receive nothing.
void clear_other_channels(const KernelArgs& a, int64_t n, int64_t channels) {
  const Shape& x = a.out_shape(0);
  const int64_t plane = x[2] * x[3];
  if (!a.accumulate(0)) fill_floats(a.out(0) + (n * x[1] + channels) * plane, (x[1] - channels) * plane, 0);
}

// What takes part in the column step backward: the gradients whose window column is k.
struct Chosen {
  const float *gradient, *column;
  float at(int64_t o, int k) const {
    const float g = gradient[o];  // read in any case, so that loops need no branch
    return column[o] == float(k) ? g : 0.f;
  }
};

// Scratch planes of the backward pass of max pooling. The first maximum of a window in row-major order lies
// in the first row that holds the maximum, at that row's first such column. The column depends on the row and
// the window's column alone, not on which window asks, so the gradients that reach a row through several
// windows are added before they are placed.
struct MaxGradPlanes {
  float* split;   // (H, W) x between neutral columns, see split_columns
  float* best;    // (H, W') maximum over the columns of each window
  float* column;  // (H, W') the first window column that has it
  float* routed;  // (H, W') the gradient that this row receives, between zeros
};

// The window columns of a fixed stride in rows of their own, column c of the padded row at c % stride, c /
// stride: reads of neighbouring windows are then neighbours in memory.
template <class W>
void split_columns(const W& w, const float* __restrict x, float* row) {
  constexpr int p = W::fixed.padding, s = W::fixed.stride;
  static_assert(s == 1 || s == 2);
  const int64_t width = w.width();
  if constexpr (s == 1) {
    for (int64_t i = 0; i < width; ++i) row[p + i] = x[i];
  } else {
    float* __restrict even = row + p % 2 * (w.row() / 2) + p / 2;  // of x, not of the padded row
    float* __restrict odd = row + (p + 1) % 2 * (w.row() / 2) + (p + 1) / 2;
#pragma omp simd
    for (int64_t i = 0; i < width / 2; ++i) {
      even[i] = x[2 * i];
      odd[i] = x[2 * i + 1];
    }
    if (width % 2 != 0) even[width / 2] = x[width - 1];
  }
}

// The first maximum of columns k .. kernel - 1 of window o and of `best` before them.
template <class W, int k>
inline void first_maximum(const W& w, const float* row, int64_t o, float& best, float& column) {
  if constexpr (k < W::fixed.kernel) {
    constexpr int s = W::fixed.stride;
    const float candidate = row[k % s * (w.row() / s) + o + k / s];
    column = candidate > best ? float(k) : column;
    best = candidate > best ? candidate : best;
    first_maximum<W, k + 1>(w, row, o, best, column);
  }
}

template <class W>
void find_row_maxima(const W& w, const float* x, const MaxGradPlanes& m) {
  if constexpr (W::is_fixed) {
    for (int64_t r = 0; r < w.height; ++r) split_columns(w, x + r * w.width(), m.split + r * w.row());
    for (int64_t r = 0; r < w.height; ++r) {
      const float* __restrict row = m.split + r * w.row();
      float* __restrict best = m.best + r * w.row(), * __restrict column = m.column + r * w.row();
#pragma omp simd
      for (int64_t o = 0; o < w.out_width(); ++o) {
        float v = row[o], at = 0;
        first_maximum<W, 1>(w, row, o, v, at);
        best[o] = v;
        column[o] = at;
      }
    }
  } else {
    for (int64_t r = 0; r < w.height; ++r)
      for (int64_t o = 0; o < w.out_width(); ++o) {
        const Range columns = w.input_columns(o);
        const float* row = x + r * w.width();
        int64_t at = columns.begin;
        for (int64_t c = at + 1; c < columns.end; ++c) at = row[c] > row[at] ? c : at;
        m.best[r * w.row() + o] = row[at];
        m.column[r * w.row() + o] = float(at + w.padding() - o * w.stride());
      }
  }
}

// The gradients of one output row go to the first of three rows of x that has the largest value.
template <class W>
void route_three_rows(const W& w, const float* __restrict g, const float* best, float* routed) {
  const float* __restrict b0 = best, * __restrict b1 = best + w.row(), * __restrict b2 = best + 2 * w.row();
  float* __restrict t0 = routed, * __restrict t1 = routed + w.row(), * __restrict t2 = routed + 2 * w.row();
#pragma omp simd
  for (int64_t i = 0; i < w.out_width(); ++i) {
    const float v0 = b0[i], v1 = b1[i], v2 = b2[i], grad = g[i];
    const float upper = v1 > v0 ? v1 : v0;
    const float g2 = v2 > upper ? grad : 0.f, rest = grad - g2;
    const float g1 = v1 > v0 ? rest : 0.f;
    t0[i] += rest - g1;
    t1[i] += g1;
    t2[i] += g2;
  }
}

template <class W>
void route_two_rows(const W& w, const float* __restrict g, const float* best, float* routed) {
  const float* __restrict b0 = best, * __restrict b1 = best + w.row();
  float* __restrict t0 = routed, * __restrict t1 = routed + w.row();
#pragma omp simd
  for (int64_t i = 0; i < w.out_width(); ++i) {
    const float grad = g[i], g1 = b1[i] > b0[i] ? grad : 0.f;
    t0[i] += grad - g1;
    t1[i] += g1;
  }
}

template <class W>
void route_to_rows(const W& w, const float* d_y, const MaxGradPlanes& m) {
  const int64_t width = w.out_width();
  for (int64_t r = 0; r < w.height; ++r) fill_floats(m.routed + r * w.row(), width, 0);
  for (int64_t o = 0; o < w.out_height; ++o) {
    const float* g = d_y + o * width;
    const Range rows = w.input_rows(o);
    const float* best = m.best + rows.begin * w.row();
    float* routed = m.routed + rows.begin * w.row();
    if (rows.end - rows.begin == 3) {
      route_three_rows(w, g, best, routed);
      continue;
    }
    if (rows.end - rows.begin == 2) {
      route_two_rows(w, g, best, routed);
      continue;
    }
    for (int64_t i = 0; i < width; ++i) {
      int64_t chosen = 0;
      for (int64_t r = 1; r < rows.end - rows.begin; ++r)
        if (best[r * w.row() + i] > best[chosen * w.row() + i]) chosen = r;
      routed[chosen * w.row() + i] += g[i];
    }
  }
}

// What the pool wrote, from the maxima of the columns.
template <class W>
void maxima_of_rows(const W& w, const MaxGradPlanes& m, float* y) {
  for (int64_t o = 0; o < w.out_height; ++o, y += w.out_width()) {
    const Range rows = w.input_rows(o);
    for (int64_t i = 0; i < w.out_width(); ++i) y[i] = m.best[rows.begin * w.row() + i];
    for (int64_t r = rows.begin + 1; r < rows.end; ++r)
      for (int64_t i = 0; i < w.out_width(); ++i) y[i] = Max::combine(y[i], m.best[r * w.row() + i]);
  }
}

// The same for images of 8, 16 and 32 columns and sums of few terms.
void pool_grad_directly(const Pool2dGrad& op, const KernelArgs& a) {
  const Shape& in = a.out_shape(0);
  const int64_t channels = op.pooled(in)[1], pixels = in[2] * in[3];
  with_pixel_row(in[3], [&](auto row) {
    using Row = decltype(row);
    for_images(a, in, channels, [&](int64_t n, int64_t begin, int64_t end) {
      const DirectTerms d_max(op.d_max, a, n, channels, pixels);
      const DirectTerms d_average(op.d_average, a, n, channels, pixels);
      const DirectTerms late(op.late, a, n, channels, pixels);
      for (int64_t c = begin; c < end; ++c) {
        const int64_t plane = (n * in[1] + c) * pixels;
        // Averages of plain gradients do not depend on x.
        const float* const x = op.x >= 0 ? a.in(op.x) + plane : nullptr;
        float* const d_x = a.out(0) + plane;
        if (x) prefetch(x + pixels, pixels);
        prefetch(d_x + pixels, pixels);
        bool add = a.accumulate(0);
        if (!op.late.empty())
          with_terms(late.planes(), std::exchange(add, true), [&](auto terms, auto adds) {
            direct_sum<Row, terms(), adds()>(in[2], late.channel(c), d_x);
          });
        if (!op.d_max.empty())
          with_terms(d_max.planes(), std::exchange(add, true), [&](auto terms, auto adds) {
            direct_maxima_gradient<Row, terms(), adds()>(x, in[2], d_max.channel(c), d_x);
          });
        if (!op.d_average.empty())
          with_terms(d_average.planes(), add, [&](auto terms, auto adds) {
            direct_averages_gradient<Row, terms(), adds()>(x, in[2], d_average.channel(c), d_x);
          });
      }
      if (begin == 0) clear_other_channels(a, n, channels);
    });
  });
}

bool grad_directly(const Pool2dGrad& op, const Shape& x) {
  return pools_directly(op.desc, x) && DirectTerms::fit(op.d_max) && DirectTerms::fit(op.d_average) &&
         DirectTerms::fit(op.late);
}

void pool2d_grad(const Pool2dGrad& op, const KernelArgs& a) {
  if (grad_directly(op, a.out_shape(0))) return pool_grad_directly(op, a);
  const Shape in = a.out_shape(0), out = op.pooled(in);
  const bool max = !op.d_max.empty(), average = !op.d_average.empty();
  const Pool2dScratch scratch(in, out, op.desc, op.scratch_planes());
  const int64_t pixels = out[2] * out[3], size = scratch.plane_floats;
  const int64_t sums = scratch.row_floats + (max ? 4 * size : 0);
  const bool again = Pool2dGrad::has_pooled(op.d_average);
  with_window(op.desc, in, out, [&](const auto& w) {
    for_planes(
        a, in, out[1], scratch,
        [&](float* memory) {
          fill_inv_columns(w, memory);
          if (max) fill_floats(memory + scratch.row_floats, size, Max::neutral);
          if (max) fill_floats(memory + scratch.row_floats + size, 3 * size, 0);
          if (average) fill_floats(memory + sums, (again ? 2 : 1) * size, 0);
        },
        [&](int64_t n, int64_t c, float* memory) {
          const int64_t floats = w.height * w.width(), plane = (n * in[1] + c) * floats;
          float* const d_x = a.out(0) + plane;
          prefetch(d_x + floats, floats);
          bool add = a.accumulate(0);
          if (!op.late.empty()) sum_gradient_plane(op.late, a, n, c, in[1], floats, d_x, add);
          add = add || !op.late.empty();
          if (max) {
            prefetch(a.in(op.x) + plane + floats, floats);
            float* const at = memory + scratch.row_floats;
            const MaxGradPlanes m{at, at + size + w.lead(), at + 2 * size + w.lead(),
                                  at + 3 * size + w.lead()};
            find_row_maxima(w, a.in(op.x) + plane, m);
            float* const y = scratch.pooled(memory);
            if (Pool2dGrad::has_pooled(op.d_max)) maxima_of_rows(w, m, y);
            route_to_rows(w, gradient_plane(op.d_max, a, n, c, out[1], pixels, scratch.gradient(memory), y),
                          m);
            auto row = [&](int64_t r) { return Chosen{m.routed + r * w.row(), m.column + r * w.row()}; };
            scatter_plane(w, row, d_x, add);
            add = true;
          }
          if (average) {
            float* const y = scratch.pooled(memory);
            if (again) pool_plane<Sum>(w, a.in(op.x) + plane, y, memory, memory + sums + size);
            const float* d_y =
                gradient_plane(op.d_average, a, n, c, out[1], pixels, scratch.gradient(memory), y);
            avg_grad_plane(w, d_y, d_x, memory, memory + sums, add);
          }
          if (c == 0) clear_other_channels(a, n, out[1]);
        });
  });
}

void global_avg_pool_kernel(const GlobalAvgPool&, const KernelArgs& a) {
  const Shape& in = a.in_shape(0);
  const int64_t plane = in[2] * in[3];
  const float* x = a.in(0);
  float* y = a.out(0);
  for_chunks(*a.pool, in[0] * in[1], std::max<int64_t>(1, kElementGrain / plane),
             [=](int64_t begin, int64_t end) {
               for (int64_t p = begin; p < end; ++p) y[p] = sum(x + p * plane, plane) / float(plane);
             });
}

void global_avg_pool_grad(const GlobalAvgPoolGrad&, const KernelArgs& a) {
  const Shape& out = a.out_shape(0);
  const int64_t plane = out[2] * out[3];
  const float* d_y = a.in(0);
  float* d_x = a.out(0);
  const bool add = a.accumulate(0);
  for_chunks(*a.pool, out[0] * out[1], std::max<int64_t>(1, kElementGrain / plane),
             [=](int64_t begin, int64_t end) {
               for (int64_t p = begin; p < end; ++p) {
                 const float v = d_y[p] / float(plane);
                 float* to = d_x + p * plane;
                 for (int64_t i = 0; i < plane; ++i) to[i] = add ? to[i] + v : v;
               }
             });
}

LADARTS_CPU_KERNEL(Pool2d, pool2d)
LADARTS_CPU_KERNEL(Pool2dGrad, pool2d_grad)
LADARTS_CPU_KERNEL(GlobalAvgPool, global_avg_pool_kernel)
LADARTS_CPU_KERNEL(GlobalAvgPoolGrad, global_avg_pool_grad)

}  // namespace
}  // namespace ladarts
