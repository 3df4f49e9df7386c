// Depthwise convolutions at stride 1 of images of 8 x 8, their input's and their weights' gradient, that read
// images where they lie, two channels at a time: a row of both is one vector, and all rows stay in registers.
// Windows are shifts within the halves of a vector, with zeros from the sides.
#pragma once

#include <type_traits>
#include <utility>

#include "ops/cpu/depthwise_direct.h"
#include "ops/cpu/lane_sums.h"

namespace ladarts {
namespace {

constexpr int kPairSide = kLanes / 2;

// Whether images of a plan are. Shorter vectors would hold rows of 4; where vectors of 16 lanes are executed
// in halves it was not measured.
inline bool reads_pairs(const SeparablePlan& p) {
  return kLanes == 16 && p.stride == 1 && p.in_h == kPairSide && p.in_w == kPairSide && whole_vectors();
}

// Or read directly, in rows of 16 or 32.
inline bool reads_images(const SeparablePlan& p) {
  return reads_directly(p) || reads_pairs(p);
}

// f(K, D as constants), compiled for such vectors alone.
template <class F>
inline void with_pair_kernel(int kernel, int dilation, F f) {
  if constexpr (kLanes == 16) with_kernel(kernel, dilation, f);
}

// Of two channels.
template <class T>
struct Pair {
  T *first, *second;
};
// Channels c and c + 1 of `channels`; behind the last comes the last again.
class ChannelPair {
 public:
  ChannelPair(int c, int channels) : first_(c), second_(c + 1 < channels ? c + 1 : c) {}
  int first() const { return first_; }
  int count() const { return second_ - first_ + 1; }
  template <class T>
  Pair<T> of(T* data, ptrdiff_t channel) const {
    return {data + first_ * channel, data + second_ * channel};
  }

 private:
  int first_, second_;
};

using PairVec = Vec<kLanes>;
constexpr std::make_index_sequence<size_t(kLanes)> kPairLanes;

template <size_t... i>
inline PairVec joined(Vec<kPairSide> low, Vec<kPairSide> high, std::index_sequence<i...>) {
  return __builtin_shufflevector(low, high, int(i)...);
}
inline PairVec load_pair(Pair<const float> at, int offset) {
  return joined(load<kPairSide>(at.first + offset), load<kPairSide>(at.second + offset), kPairLanes);
}
inline void store_pair(Pair<float> at, int offset, PairVec v) {
  store<kPairSide>(at.first + offset, lower_half<kLanes>(v));
  store<kPairSide>(at.second + offset, upper_half<kLanes>(v));
}
inline PairVec splat_pair(Pair<const float> at) {
#if defined(__AVX512F__)
  return PairVec(_mm512_mask_broadcastss_ps(__m512(splat<16>(*at.first)), 0xff00, _mm_load_ss(at.second)));
#else
  return joined(splat<kPairSide>(*at.first), splat<kPairSide>(*at.second), kPairLanes);
#endif
}

// Lanes `s` on from those of v in its halves, with zeros behind their ends.
template <int s, size_t... i>
inline PairVec shifted_halves(PairVec v, std::index_sequence<i...>) {
  constexpr auto index = [](int k) {
    const int column = k % kPairSide + s;
    return column >= 0 && column < kPairSide ? k / kPairSide * kPairSide + column : kLanes;
  };
  return s == 0 ? v : __builtin_shufflevector(v, PairVec{}, index(int(i))...);
}

struct NormalisedPair {
  NormalisedPair() : scale(PairVec{} + 1.f), shift{} {}
  NormalisedPair(Pair<const float> scales, Pair<const float> shifts)
      : scale(splat_pair(scales)), shift(splat_pair(shifts)) {}
  template <int L>
  LADARTS_INLINE PairVec of(PairVec x) const {
    return relu<L>(x * scale + shift);
  }

  PairVec scale, shift;
};

template <class Pixels>
LADARTS_INLINE void load_rows(Pair<const float> x, Pixels pixels, PairVec (&rows)[kPairSide]) {
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA {
    rows[i] = pixels.template of<kLanes>(load_pair(x, i * kPairSide));
    hold_in_register<kLanes>(rows[i]);
  });
}

// f(q, i, window of rows[i]) for each column q of a kernel and each row.
template <int K, int D, class F, class Begin, class End>
LADARTS_INLINE void for_pair_windows(const PairVec (&rows)[kPairSide], Begin begin, F f, End end) {
  [&]<int... q>(std::integer_sequence<int, q...>) LADARTS_INLINE_LAMBDA {
    ((begin(q), unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA {
        f(i, shifted_halves<D*(q - K / 2)>(rows[i], kPairLanes));
      }),
      end(q)),
     ...);
  }
  (std::make_integer_sequence<int, K>());
}

// sum += the convolution of rows by w, of K * K taps; `turned`: rotated by half a turn.
template <int K, int D, bool turned>
LADARTS_INLINE void convolve_pair(const PairVec (&rows)[kPairSide], Pair<const float> w,
                                  PairVec (&sum)[kPairSide]) {
  PairVec taps[K];  // a column of the kernel
  for_pair_windows<K, D>(
      rows,
      [&](int q) LADARTS_INLINE_LAMBDA {
        unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
          const int t = turned ? K * K - 1 - (p * K + q) : p * K + q;
          taps[p] = splat_pair({w.first + t, w.second + t});
          hold_in_register<kLanes>(taps[p]);
        });
      },
      [&](int i, PairVec window) LADARTS_INLINE_LAMBDA {
        unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
          const int to = i - D * (p - K / 2);
          if (to >= 0 && to < kPairSide) sum[to] += window * taps[p];
        });
      },
      [](int) {});
}

// y (+)= the convolution of x.
template <int K, int D, bool turned, bool add, class Pixels>
__attribute__((noinline)) void pair_plane(Pair<const float> x, Pixels pixels, Pair<const float> w,
                                          Pair<float> y) {
  PairVec rows[kPairSide], sum[kPairSide];
  load_rows(x, pixels, rows);
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA {
    sum[i] = add ? load_pair({y.first, y.second}, i * kPairSide) : PairVec{};
  });
  convolve_pair<K, D, turned>(rows, w, sum);
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA { store_pair(y, i * kPairSide, sum[i]); });
}

// Sums of the lanes of v[0] to v[3], of their lower halves and of their upper ones.
struct HalfSums {
  explicit HalfSums(const PairVec* v) {
    const PairVec sums = sums_of_fours<kLanes>(v);
    if constexpr (kLanes > 4)
      lower = fold<kPairSide>(lower_half<kLanes>(sums)), upper = fold<kPairSide>(upper_half<kLanes>(sums));
  }
  Vec<4> lower, upper;
};

// As direct_gradient_plane() (ops/cpu/depthwise_direct.h), but *products and *all receive the sums of d * x
// and d, lane by lane, where `sums`.
template <int K, int D, bool add, bool sums>
__attribute__((noinline)) void pair_gradient_plane(Pair<const float> h, Pair<const float> w,
                                                   Pair<const float> x, NormalisedPair pixels,
                                                   Pair<float> d_x, PairVec* products, PairVec* all) {
  PairVec rows[kPairSide], d_u[kPairSide] = {};
  load_rows(h, PlainPixels(), rows);
  convolve_pair<K, D, true>(rows, w, d_u);
  PairVec d_times_x = {}, d_alone = {};
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA {
    const PairVec v = load_pair(x, i * kPairSide);
    const PairVec d = pixels.of<kLanes>(v) > 0.f ? d_u[i] : PairVec{};
    if (sums) d_times_x += d * v, d_alone += d;
    store_pair(d_x, i * kPairSide,
               d * pixels.scale + (add ? load_pair({d_x.first, d_x.second}, i * kPairSide) : PairVec{}));
  });
  if (sums) *products = d_times_x, *all = d_alone;
}

// d_w[p][q] += the sum over all pixels of g times the windows of x.
template <int K, int D, class Pixels>
__attribute__((noinline)) void pair_weight_plane(Pair<const float> x, Pixels pixels, Pair<const float> g,
                                                 Pair<float> d_w, int channels) {
  PairVec rows[kPairSide], of[kPairSide], found[K], sum[K * K];
  load_rows(x, pixels, rows);
  load_rows(g, PlainPixels(), of);
  for_pair_windows<K, D>(
      rows,
      [&](int)
          LADARTS_INLINE_LAMBDA { unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA { found[p] = PairVec{}; }); },
      [&](int i, PairVec window) LADARTS_INLINE_LAMBDA {
        unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
          const int from = i - D * (p - K / 2);
          if (from >= 0 && from < kPairSide) found[p] += window * of[from];
        });
      },
      [&](int q) LADARTS_INLINE_LAMBDA {
        unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA { sum[p * K + q] = found[p]; });
      });
  auto add = [](float* to, Vec<4> more) { store<4>(to, load<4>(to) + more); };
  int t = 0;
  for (; t + 4 <= K * K; t += 4) {
    const HalfSums of_four(sum + t);
    add(d_w.first + t, of_four.lower);
    if (channels == 2) add(d_w.second + t, of_four.upper);
  }
  for (; t < K * K; ++t) {
    d_w.first[t] += sum_lanes<kPairSide>(lower_half<kLanes>(sum[t]));
    if (channels == 2) d_w.second[t] += sum_lanes<kPairSide>(upper_half<kLanes>(sum[t]));
  }
}

}  // namespace
}  // namespace ladarts
