// Pools of 3x3 at stride 1, and their gradients, that read images of 8, 16 or 32 columns where they lie. Rows
// stay in registers from the first that reads them to the last, windows are shifts of these, and what a pool
// wrote is computed again where its gradient depends on it.
#pragma once

#include <algorithm>
#include <array>
#include <cfloat>
#include <type_traits>
#include <utility>

#include "core/kernel.h"
#include "ops/cpu/fetch_ahead.h"
#include "ops/cpu/simd.h"
#include "ops/pool2d.h"

namespace ladarts {
namespace {

// A row of an image: V vectors.
template <int L, int V>
struct PixelRow {
  Vec<L> v[V];
  static constexpr int kColumns = L * V;

  static PixelRow of(const float* p) {
    PixelRow r;
    for (int k = 0; k < V; ++k) r.v[k] = load<L>(p + k * L);
    return r;
  }
  static PixelRow filled(float s) {
    PixelRow r;
    for (int k = 0; k < V; ++k) r.v[k] = splat<L>(s);
    return r;
  }
  void store_to(float* p) const {
    for (int k = 0; k < V; ++k) store<L>(p + k * L, v[k]);
  }

  // At each column its left (right) neighbour; `fill` at the image's edge.
  PixelRow left(float fill) const { return neighbours<-1>(fill); }
  PixelRow right(float fill) const { return neighbours<1>(fill); }
  template <int s>
  PixelRow neighbours(float fill) const {
    constexpr std::make_index_sequence<size_t(L)> lanes;
    const Vec<L> edge = splat<L>(fill);
    PixelRow r;
    for (int k = 0; k < V; ++k)
      r.v[k] = shifted<L, s>(k > 0 ? v[k - 1] : edge, v[k], k + 1 < V ? v[k + 1] : edge, lanes);
    return r;
  }

  float total() const {
    Vec<L> sum = v[0];
    for (int k = 1; k < V; ++k) sum += v[k];
    return sum_lanes<L>(sum);
  }

  // f of vectors at the same place in each row.
  template <class F, class... Rows>
  static PixelRow each(F f, const Rows&... rows) {
    PixelRow r;
    for (int k = 0; k < V; ++k) r.v[k] = f(rows.v[k]...);
    return r;
  }
  PixelRow operator+(const PixelRow& o) const {
    return each([](Vec<L> a, Vec<L> b) { return a + b; }, *this, o);
  }
  PixelRow operator-(const PixelRow& o) const {
    return each([](Vec<L> a, Vec<L> b) { return a - b; }, *this, o);
  }
  PixelRow operator*(const PixelRow& o) const {
    return each([](Vec<L> a, Vec<L> b) { return a * b; }, *this, o);
  }
  PixelRow operator*(float s) const {
    return each([=](Vec<L> a) { return a * s; }, *this);
  }
};

template <class Row>
Row larger(const Row& a, const Row& b) {
  return Row::each([](auto x, auto y) { return maximum<sizeof(x) / 4>(x, y); }, a, b);
}
// g where a > b, or where a == b; else zero.
template <class Row>
Row where_larger(const Row& a, const Row& b, const Row& g) {
  return Row::each([](auto x, auto y, auto v) { return x > y ? v : decltype(v){}; }, a, b, g);
}
template <class Row>
Row where_equal(const Row& a, const Row& b, const Row& g) {
  return Row::each([](auto x, auto y, auto v) { return x == y ? v : decltype(v){}; }, a, b, g);
}

template <class Row>
Row window_maxima(const Row& x) {
  return larger(larger(x.left(-FLT_MAX), x), x.right(-FLT_MAX));
}
template <class Row>
Row window_sums(const Row& x) {
  return x.left(0) + x + x.right(0);
}

// 1 / (how many pixels each window has): along a row, and down the columns at row o of `height`.
template <class Row>
Row inverse_columns() {
  constexpr auto row = [] {
    std::array<float, Row::kColumns> r{};
    for (int i = 0; i < Row::kColumns; ++i)
      r[size_t(i)] = 1.f / (i == 0 || i + 1 == Row::kColumns ? 2.f : 3.f);
    return r;
  }();
  return Row::of(row.data());
}
inline float inverse_rows(int64_t o, int64_t height) {
  return 1.f / float(1 + (o > 0 ? 1 : 0) + (o + 1 < height ? 1 : 0));
}

template <class Row>
void direct_maxima(const float* x, int64_t height, float* y) {
  const Row none = Row::filled(-FLT_MAX);
  Row before = none, here = window_maxima(Row::of(x));
  for (int64_t o = 0; o < height; ++o, y += Row::kColumns) {
    x += Row::kColumns;
    const Row after = o + 1 < height ? window_maxima(Row::of(x)) : none;
    larger(larger(before, here), after).store_to(y);
    before = here, here = after;
  }
}

// y (+)= the averages.
template <class Row, bool add = false>
void direct_averages(const float* x, int64_t height, float* y) {
  const Row none = Row::filled(0), inverse = inverse_columns<Row>();
  Row before = none, here = window_sums(Row::of(x));
  for (int64_t o = 0; o < height; ++o, y += Row::kColumns) {
    x += Row::kColumns;
    const Row after = o + 1 < height ? window_sums(Row::of(x)) : none;
    Row averages = (before + here + after) * (inverse * inverse_rows(o, height));
    if constexpr (add) averages = averages + Row::of(y);
    averages.store_to(y);
    before = here, here = after;
  }
}

// The planes of one channel that a gradient is a sum of, each times a factor; what the pool itself wrote is
// no plane but has a factor.
constexpr int kDirectTerms = 4;
struct DirectSum {
  const float* planes[kDirectTerms];
  float factors[kDirectTerms];
  float offset = 0, factor_of_y = 0;

  // Row o of the sum; y: of what the pool wrote.
  template <int terms, class Row>
  Row row(int64_t o, const Row& y) const {
    Row sum = y * factor_of_y + Row::filled(offset);
    for (int t = 0; t < terms; ++t) sum = sum + Row::of(planes[t] + o * Row::kColumns) * factors[t];
    return sum;
  }
};

// A gradient sum of one image, whose channels follow.
class DirectTerms {
 public:
  DirectTerms(const GradientSum& sum, const KernelArgs& a, int64_t n, int64_t channels, int64_t pixels) {
    for (const GradientTerm& t : sum) {
      const float* factors = t.factors < 0 ? nullptr : a.in(t.factors) + t.row * channels;
      const float* offsets = t.offset_row < 0 ? nullptr : a.in(t.factors) + t.offset_row * channels;
      term_[count_++] = {t.source < 0 ? nullptr : a.in(t.source) + n * a.in_shape(t.source)[1] * pixels,
                         t.step * pixels, factors, offsets};
      if (t.source >= 0) ++planes_;
    }
  }
  // Whether a sum fits.
  static bool fit(const GradientSum& sum) {
    size_t planes = 0, of_y = 0;
    for (const GradientTerm& t : sum) ++(t.source < 0 ? of_y : planes);
    return planes <= kDirectTerms && of_y <= 1;
  }
  int planes() const { return planes_; }
  DirectSum channel(int64_t c) const {
    DirectSum sum;
    int at = 0;
    for (int i = 0; i < count_; ++i) {
      const Term& t = term_[i];
      const float factor = t.factors ? t.factors[c] : 1.f;
      if (t.offsets) sum.offset += t.offsets[c];
      if (t.image) {
        sum.planes[at] = t.image + c * t.step;
        sum.factors[at++] = factor;
      } else {
        sum.factor_of_y = factor;
      }
    }
    return sum;
  }

 private:
  struct Term {
    const float* image;  // null: what the pool wrote
    int64_t step;
    const float *factors, *offsets;  // (channels); null: 1 and 0
  };
  Term term_[kDirectTerms + 1];
  int count_ = 0, planes_ = 0;
};

// d_x (+)= the gradient d of the maxima where each is the first of its window, in row-major order. A row of d
// goes to that of three rows which has the largest value; what a row of x receives from three, to columns:
// the first maximum of a window's row depends on that row alone.
template <class Row, int terms, bool add>
void direct_maxima_gradient(const float* x, int64_t height, const DirectSum& d, float* d_x) {
  constexpr int W = Row::kColumns;
  const Row none = Row::filled(0);
  Row pixels_before = none, pixels = Row::of(x);
  Row maxima_before = Row::filled(-FLT_MAX), maxima = window_maxima(pixels);
  Row routed_before = none, routed = none;
  auto finish = [&](int64_t r, const Row& row, const Row& best, const Row& received) {
    const Row to_left = where_equal(row.left(-FLT_MAX), best, received), others = received - to_left;
    const Row to_middle = where_equal(row, best, others), to_right = others - to_middle;
    Row sum = to_left.right(0) + to_middle + to_right.left(0);
    if constexpr (add) sum = sum + Row::of(d_x + r * W);
    sum.store_to(d_x + r * W);
  };
  for (int64_t o = 0; o < height; ++o) {
    const bool last = o + 1 == height;
    const Row next = last ? pixels : Row::of(x + (o + 1) * W);
    const Row maxima_after = last ? Row::filled(-FLT_MAX) : window_maxima(next);
    const Row upper = larger(maxima_before, maxima);
    const Row g = d.row<terms>(o, larger(upper, maxima_after));
    const Row lowest = last ? none : where_larger(maxima_after, upper, g), others = g - lowest;
    const Row middle = o == 0 ? others : where_larger(maxima, maxima_before, others);
    if (o > 0) finish(o - 1, pixels_before, maxima_before, routed_before + (others - middle));
    pixels_before = pixels, pixels = next;
    maxima_before = maxima, maxima = maxima_after;
    routed_before = routed + middle, routed = lowest;
  }
  finish(height - 1, pixels_before, maxima_before, routed_before);
}

// d_x (+)= the gradient d of the averages.
template <class Row, int terms, bool add>
void direct_averages_gradient(const float* x, int64_t height, const DirectSum& d, float* d_x) {
  constexpr int W = Row::kColumns;
  const Row none = Row::filled(0), inverse = inverse_columns<Row>();
  const bool reads_x = d.factor_of_y != 0;
  Row sums_before = none, sums = reads_x ? window_sums(Row::of(x)) : none;
  Row before = none, here = none;  // of what each pixel of the windows of a row receives
  for (int64_t o = 0; o <= height; ++o) {
    Row g = none;
    if (o < height) {
      const Row sums_after = reads_x && o + 1 < height ? window_sums(Row::of(x + (o + 1) * W)) : none;
      const Row share = inverse * inverse_rows(o, height);
      g = d.row<terms>(o, (sums_before + sums + sums_after) * share) * share;
      sums_before = sums, sums = sums_after;
    }
    if (o > 0) {
      Row sum = window_sums(before + here + g);
      if constexpr (add) sum = sum + Row::of(d_x + (o - 1) * W);
      sum.store_to(d_x + (o - 1) * W);
    }
    before = here, here = g;
  }
}

// d_x (+)= the sum.
template <class Row, int terms, bool add>
void direct_sum(int64_t height, const DirectSum& d, float* d_x) {
  const Row none = Row::filled(0);
  for (int64_t o = 0; o < height; ++o) {
    Row sum = d.row<terms>(o, none);
    if constexpr (add) sum = sum + Row::of(d_x + o * Row::kColumns);
    sum.store_to(d_x + o * Row::kColumns);
  }
}

// What a plane, its maxima and its averages have in common: a factor or an inner product of each.
struct OfPlane {
  float identity = 0, maxima = 0, averages = 0;
};

// Planes as large as x that are read soon: they are fetched while x, which takes longer to compute with than
// to read, is gone through.
struct SoonRead {
  const float *first, *second;
  void fetch(int64_t at, int64_t floats) const {
    prefetch(first + at, floats);
    prefetch(second + at, floats);
  }
};

// out += identity * x + maxima * the maxima of x; averaged (+)= averages * x. Meanwhile the plane behind x is
// fetched.
template <class Row>
void direct_plane_sum(const float* x, int64_t height, OfPlane factors, float* out, float* averaged, bool add,
                      SoonRead soon) {
  constexpr int W = Row::kColumns;
  const Row none = Row::filled(-FLT_MAX);
  Row pixels = Row::of(x), before = none, here = window_maxima(pixels);
  for (int64_t o = 0; o < height; ++o, out += W) {
    soon.fetch(o * W, W);
    prefetch(x + (height + o) * W, W);
    const bool last = o + 1 == height;
    const Row next = last ? pixels : Row::of(x + (o + 1) * W);
    const Row after = last ? none : window_maxima(next);
    const Row maxima = larger(larger(before, here), after);
    (Row::of(out) + pixels * factors.identity + maxima * factors.maxima).store_to(out);
    Row sum = pixels * factors.averages;
    if (add) sum = sum + Row::of(averaged + o * W);
    sum.store_to(averaged + o * W);
    pixels = next, before = here, here = after;
  }
}

// Inner products of g with x and its maxima, and of `shares` with x. Meanwhile the plane behind x is fetched.
template <class Row>
OfPlane direct_plane_products(const float* x, int64_t height, const float* g, const float* shares) {
  constexpr int W = Row::kColumns;
  const Row none = Row::filled(-FLT_MAX), zero = Row::filled(0);
  Row pixels = Row::of(x), before = none, here = window_maxima(pixels);
  Row of_x = zero, of_maxima = zero, of_shares = zero;
  for (int64_t o = 0; o < height; ++o) {
    prefetch(x + (height + o) * W, W);
    const bool last = o + 1 == height;
    const Row next = last ? pixels : Row::of(x + (o + 1) * W);
    const Row after = last ? none : window_maxima(next);
    const Row d = Row::of(g + o * W);
    of_x = of_x + d * pixels;
    of_maxima = of_maxima + d * larger(larger(before, here), after);
    of_shares = of_shares + Row::of(shares + o * W) * pixels;
    pixels = next, before = here, here = after;
  }
  return {of_x.total(), of_maxima.total(), of_shares.total()};
}

// Deviations of values from a pivot, for their mean and squared deviations.
template <class Row>
struct Deviations {
  Row sum = Row::filled(0), squares = Row::filled(0);
  void add(const Row& values, const Row& pivot) {
    const Row d = values - pivot;
    sum = sum + d, squares = squares + d * d;
  }
};

// Moments (ops/cpu/channel_moments.h) of the maxima and of the averages of x.
template <class Row>
void direct_moments(const float* x, int64_t height, float* of_maxima, float* of_averages) {
  constexpr int W = Row::kColumns;
  const Row none = Row::filled(-FLT_MAX), zero = Row::filled(0), inverse = inverse_columns<Row>();
  Row pixels = Row::of(x);
  Row maxima_before = none, maxima = window_maxima(pixels), sums_before = zero, sums = window_sums(pixels);
  // Any value of the plane will do.
  const float pivot = x[0];
  const Row pivots = Row::filled(pivot);
  Deviations<Row> largest, average;
  for (int64_t o = 0; o < height; ++o) {
    const bool last = o + 1 == height;
    if (!last) pixels = Row::of(x + (o + 1) * W);
    const Row maxima_after = last ? none : window_maxima(pixels);
    const Row sums_after = last ? zero : window_sums(pixels);
    largest.add(larger(larger(maxima_before, maxima), maxima_after), pivots);
    average.add((sums_before + sums + sums_after) * (inverse * inverse_rows(o, height)), pivots);
    maxima_before = maxima, maxima = maxima_after;
    sums_before = sums, sums = sums_after;
  }
  const double n = double(height * W);
  auto finish = [&](const Deviations<Row>& d, float* moments) {
    const double sum = double(d.sum.total()), squares = double(d.squares.total());
    moments[0] = float(double(pivot) + sum / n);
    moments[1] = float(std::max(0., squares - sum * sum / n));
  };
  finish(largest, of_maxima);
  finish(average, of_averages);
}

inline bool pools_directly(const Pool2dDesc& d, const Shape& x) {
  return d.kernel == 3 && d.stride == 1 && d.padding == 1 && (x[3] == 8 || x[3] == 16 || x[3] == 32);
}

// f(a row of the image, which has 8, 16 or 32 columns).
template <class F>
void with_pixel_row(int64_t columns, F f) {
  constexpr int L = kLanes, L8 = kLanes < 8 ? kLanes : 8;
  if (columns == 8) return f(PixelRow<L8, 8 / L8>());
  columns == 16 ? f(PixelRow<L, 16 / L>()) : f(PixelRow<L, 32 / L>());
}

// f(terms, add as constants).
template <class F>
void with_terms(int terms, bool add, F f) {
  auto with = [&](auto n) { add ? f(n, std::true_type()) : f(n, std::false_type()); };
  switch (terms) {
    case 0:
      return with(std::integral_constant<int, 0>());
    case 1:
      return with(std::integral_constant<int, 1>());
    case 2:
      return with(std::integral_constant<int, 2>());
    case 3:
      return with(std::integral_constant<int, 3>());
    default:
      return with(std::integral_constant<int, 4>());
  }
}

}  // namespace
}  // namespace ladarts
