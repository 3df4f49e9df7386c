// Depthwise convolutions at stride 1, and their weights' gradient, that read images of 8, 16 or 32 columns
// where they lie: with no plane that has a border. A row is one or two vectors, and its windows are cut out
// of these by shifts, so that no load crosses a cache line.
#pragma once

#include <type_traits>
#include <utility>

#include "ops/cpu/depthwise_loops.h"
#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/lane_sums.h"

namespace ladarts {
namespace {

constexpr int kLeastRows = 16;  // of images of 16 and 32 columns

// What is convolved, as it is read.
struct PlainPixels {
  template <int L>
  LADARTS_INLINE Vec<L> of(Vec<L> x) const {
    return x;
  }
};
struct RectifiedPixels {
  template <int L>
  LADARTS_INLINE Vec<L> of(Vec<L> x) const {
    return relu<L>(x);
  }
};
struct NormalisedPixels {
  float scale, shift;
  template <int L>
  LADARTS_INLINE Vec<L> of(Vec<L> x) const {
    return relu<L>(x * splat<L>(scale) + splat<L>(shift));
  }
};

// An image (height, columns) of one channel.
struct DirectImage {
  const float* x;
  int height;
};

// f(row, vector of the row, column of the kernel, window) for the rows that R rows of results see, from x's
// row on, top to bottom; the image begins (ends) with these where top (bottom).
template <int L, int V, int K, int D, int R, bool top, bool bottom, class Pixels, class F>
LADARTS_INLINE void for_windows(const float* x, Pixels pixels, F&& f) {
  constexpr int reach = D * (K - 1) / 2;
  constexpr std::make_index_sequence<size_t(L)> lanes;
  unrolled<R + 2 * reach>([&](int i) LADARTS_INLINE_LAMBDA {
    const int row = i - reach;
    if ((top && row < 0) || (bottom && row >= R)) return;
    Vec<L> v[V + 2] = {};  // with zeros left and right of the image
    unrolled<V>([&](int k) LADARTS_INLINE_LAMBDA {
      v[k + 1] = pixels.template of<L>(load<L>(x + (row * V + k) * L));
    });
    [&]<int... q>(std::integer_sequence<int, q...>) LADARTS_INLINE_LAMBDA {
      (unrolled<V>([&](int k) LADARTS_INLINE_LAMBDA {
         f(row, k, q, shifted<L, q * D - reach>(v[k], v[k + 1], v[k + 2], lanes));
       }),
       ...);
    }
    (std::make_integer_sequence<int, K>());
  });
}

// R rows of y, of V * L floats each. The order of a pixel's sum does not depend on R. `turned`: w rotated by
// half a turn.
template <int L, int V, int K, int D, int R, bool turned, bool add, bool top, bool bottom, class Pixels>
__attribute__((noinline)) void direct_rows(const float* x, Pixels pixels, const float* w, float* y) {
  constexpr int reach = D * (K - 1) / 2;
  Vec<L> sum[R * V];
  unrolled<R * V>([&](int i) LADARTS_INLINE_LAMBDA { sum[i] = add ? load<L>(y + i * L) : Vec<L>{}; });
  for_windows<L, V, K, D, R, top, bottom>(
      x, pixels, [&](int row, int k, int q, Vec<L> window) LADARTS_INLINE_LAMBDA {
        unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
          const int to = row + reach - p * D, tap = p * K + q;
          if (to >= 0 && to < R) sum[to * V + k] += window * splat<L>(w[turned ? K * K - 1 - tap : tap]);
        });
      });
  unrolled<R * V>([&](int i) LADARTS_INLINE_LAMBDA { store<L>(y + i * L, sum[i]); });
}

// f(top, bottom as constants) for R rows from `row` on. Images of 16 and 32 columns have at least 16 rows.
template <int L, int V, int R, class F>
inline void with_edges(int height, int row, F f) {
  constexpr std::true_type yes;
  constexpr std::false_type no;
  const bool top = row == 0, bottom = row + R == height;
  if constexpr (L * V < kLeastRows)
    if (top && bottom) return f(yes, yes);
  if (top) return f(yes, no);
  bottom ? f(no, yes) : f(no, no);
}

template <int L, int V, int K, int D, int R, bool turned, bool add, class Pixels>
inline void direct_group(DirectImage image, Pixels pixels, const float* w, float* y, int row) {
  with_edges<L, V, R>(image.height, row, [&](auto top, auto bottom) {
    direct_rows<L, V, K, D, R, turned, add, top(), bottom()>(image.x + row * V * L, pixels, w, y);
  });
}

// Rows [begin, end) of y, multiples of half a group.
template <int L, int V, int K, int D, class Pixels>
void direct_band(DirectImage image, Pixels pixels, const float* w, float* y, int begin, int end) {
  constexpr int R = kRowGroup;
  for (int row = begin, rows; row < end; row += rows, y += rows * V * L) {
    rows = row % R == 0 && row + R <= end ? R : R / 2;
    if (rows == R) {
      direct_group<L, V, K, D, R, false, false>(image, pixels, w, y, row);
    } else {
      direct_group<L, V, K, D, R / 2, false, false>(image, pixels, w, y, row);
    }
  }
}

// All rows of y, whole groups. Meanwhile ahead.some() as often as depthwise_plane() (ops/cpu/depthwise.h).
template <int L, int V, int K, int D, bool turned, bool add, class Pixels>
void direct_plane(DirectImage image, Pixels pixels, const float* w, float* y, FetchAhead& ahead) {
  for (int row = 0; row < image.height; row += kRowGroup, y += kRowGroup * V * L) {
    ahead.some(V);
    direct_group<L, V, K, D, kRowGroup, turned, add>(image, pixels, w, y, row);
  }
}

// d_u is the convolution of h by w, turned, and d = d_u where u > 0, u = pixels.of(x): d_x (+)= scale * d;
// the sums of d * x and of d, lane by lane, are added to sums[0] and sums[1]. R rows of d_x, from x's on.
template <int L, int V, int K, int D, int R, bool add, bool top, bool bottom, class Pixels>
__attribute__((noinline)) void direct_gradient_rows(const float* h, const float* w, const float* x,
                                                    Pixels pixels, float scale, float* d_x, Vec<L>* sums) {
  constexpr int reach = D * (K - 1) / 2;
  Vec<L> d_u[R * V];
  unrolled<R * V>([&](int i) LADARTS_INLINE_LAMBDA { d_u[i] = Vec<L>{}; });
  for_windows<L, V, K, D, R, top, bottom>(
      h, PlainPixels(), [&](int row, int k, int q, Vec<L> window) LADARTS_INLINE_LAMBDA {
        unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
          const int to = row + reach - p * D;
          if (to >= 0 && to < R) d_u[to * V + k] += window * splat<L>(w[K * K - 1 - (p * K + q)]);
        });
      });
  Vec<L> products = sums[0], all = sums[1];
  unrolled<R * V>([&](int i) LADARTS_INLINE_LAMBDA {
    const Vec<L> v = load<L>(x + i * L);
    const Vec<L> d = pixels.template of<L>(v) > 0.f ? d_u[i] : Vec<L>{};
    products += d * v;
    all += d;
    store<L>(d_x + i * L, d * scale + (add ? load<L>(d_x + i * L) : Vec<L>{}));
  });
  sums[0] = products, sums[1] = all;
}

// All rows of d_x; the sums are added to *d_scale and *d_shift. Meanwhile ahead.some() as often as in
// direct_plane().
template <int L, int V, int K, int D, bool add, class Pixels>
void direct_gradient_plane(DirectImage h, const float* w, const float* x, Pixels pixels, float scale,
                           float* d_x, float* d_scale, float* d_shift, FetchAhead& ahead) {
  constexpr int R = kRowGroup, floats = R * V * L;
  Vec<L> sums[2] = {};
  for (int row = 0; row < h.height; row += R, h.x += floats, x += floats, d_x += floats) {
    ahead.some(V);
    with_edges<L, V, R>(h.height, row, [&](auto top, auto bottom) {
      direct_gradient_rows<L, V, K, D, R, add, top(), bottom()>(h.x, w, x, pixels, scale, d_x, sums);
    });
  }
  *d_scale += sum_lanes<L>(sums[0]);
  *d_shift += sum_lanes<L>(sums[1]);
}

// sum[p][q] += the sum over R rows of g, of V * L floats each, times the windows of x.
template <int L, int V, int K, int D, int R, bool top, bool bottom, class Pixels>
LADARTS_INLINE void direct_weight_rows(const float* x, Pixels pixels, const float* g, Vec<L> (&sum)[K * K]) {
  constexpr int reach = D * (K - 1) / 2;
  for_windows<L, V, K, D, R, top, bottom>(x, pixels,
                                          [&](int row, int k, int q, Vec<L> window) LADARTS_INLINE_LAMBDA {
                                            unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
                                              const int from = row + reach - p * D;
                                              if (from >= 0 && from < R)
                                                sum[p * K + q] += window * load<L>(g + (from * V + k) * L);
                                            });
                                          });
}

// d_w[p][q] += sum over i, j of g[i][j] * x[i + p*D][j + q*D], g (height, V * L), whole groups of rows.
template <int L, int V, int K, int D, class Pixels>
__attribute__((noinline)) void direct_weight_plane(DirectImage image, Pixels pixels, const float* g,
                                                   float* d_w) {
  constexpr int R = 4, floats = R * V * L;
  Vec<L> sum[K * K];
  unrolled<K * K>([&](int t) LADARTS_INLINE_LAMBDA { sum[t] = Vec<L>{}; });
  const float* x = image.x;
  direct_weight_rows<L, V, K, D, R, true, false>(x, pixels, g, sum);
  x += floats, g += floats;
  for (int row = R; row + R < image.height; row += R, x += floats, g += floats)
    direct_weight_rows<L, V, K, D, R, false, false>(x, pixels, g, sum);
  direct_weight_rows<L, V, K, D, R, false, true>(x, pixels, g, sum);
  Vec<L> found[K * K];
  unrolled<K * K>([&](int t) LADARTS_INLINE_LAMBDA { found[t] = sum[t]; });
  add_lane_sums<L>(found, K * K, d_w);
}

// Whether images of a plan, of 16 or 32 columns, are read directly. Where vectors of 16 lanes are executed in
// halves it was not measured.
inline bool reads_directly(const SeparablePlan& p) {
  return kLanes == 16 && p.stride == 1 && p.in_h % kRowGroup == 0 && p.in_h >= kLeastRows &&
         (p.in_w == 16 || p.in_w == 32) && whole_vectors();
}
// The same of 8 columns and any number of groups of rows.
inline bool reads_small_directly(const SeparablePlan& p) {
  return kLanes == 16 && p.stride == 1 && p.in_h % kRowGroup == 0 && p.in_w == 8 && whole_vectors();
}

// f(L, V, K, D as constants) for images that are read directly.
template <class F>
inline void with_direct_size(int width, int kernel, int dilation, F f) {
  constexpr std::integral_constant<int, 16> lanes;
  if constexpr (kLanes == 16)
    with_kernel(kernel, dilation, [&](auto k, auto d) {
      width == 16 ? f(lanes, std::integral_constant<int, 1>(), k, d)
                  : f(lanes, std::integral_constant<int, 2>(), k, d);
    });
}
template <class F>
inline void with_small_direct_size(int kernel, int dilation, F f) {
  if constexpr (kLanes == 16)
    with_kernel(kernel, dilation, [&](auto k, auto d) {
      f(std::integral_constant<int, 8>(), std::integral_constant<int, 1>(), k, d);
    });
}

}  // namespace
}  // namespace ladarts
