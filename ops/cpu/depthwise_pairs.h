// Depthwise convolutions at stride 1 of images of 8 x 8 that are read where they lie, two channels at a time:
// a row of both is one vector, and all rows stay in registers. Windows are shifts within the halves of a
// vector, with zeros from the sides.
#pragma once

#include <utility>

#include "ops/cpu/depthwise_direct.h"

namespace ladarts {
namespace {

constexpr int kPairSide = kLanes / 2;

// Whether images of a plan are. Shorter vectors would hold rows of 4; where vectors of 16 lanes are executed
// in halves it was not measured.
inline bool reads_pairs(const SeparablePlan& p) {
  return kLanes == 16 && p.stride == 1 && p.in_h == kPairSide && p.in_w == kPairSide && whole_vectors();
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
struct ChannelPair {
  ChannelPair(int c, int channels) : first(c), second(c + 1 < channels ? c + 1 : c) {}
  template <class T>
  Pair<T> of(T* data, ptrdiff_t channel) const {
    return {data + first * channel, data + second * channel};
  }
  int first, second;
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
  NormalisedPair(Pair<const float> scales, Pair<const float> shifts)
      : scale(splat_pair(scales)), shift(splat_pair(shifts)) {}
  template <int L>
  LADARTS_INLINE PairVec of(PairVec x) const {
    return relu<L>(x * scale + shift);
  }
  PairVec scale, shift;
};

// sum += what column q of a kernel adds: shifted windows of the rows.
template <int K, int D, int q>
LADARTS_INLINE void add_pair_column(const PairVec (&rows)[kPairSide], Pair<const float> w,
                                    PairVec (&sum)[kPairSide]) {
  PairVec taps[K];
  unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
    taps[p] = splat_pair({w.first + p * K + q, w.second + p * K + q});
    hold_in_register<kLanes>(taps[p]);
  });
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA {
    const PairVec window = shifted_halves<D*(q - K / 2)>(rows[i], kPairLanes);
    unrolled<K>([&](int p) LADARTS_INLINE_LAMBDA {
      const int to = i - D * (p - K / 2);
      if (to >= 0 && to < kPairSide) sum[to] += window * taps[p];
    });
  });
}

// y = the convolution of x by w, of K * K taps each.
template <int K, int D, class Pixels>
__attribute__((noinline)) void pair_plane(Pair<const float> x, Pixels pixels, Pair<const float> w,
                                          Pair<float> y) {
  PairVec rows[kPairSide], sum[kPairSide];
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA {
    rows[i] = pixels.template of<kLanes>(load_pair(x, i * kPairSide));
    hold_in_register<kLanes>(rows[i]);
    sum[i] = PairVec{};
  });
  [&]<int... q>(std::integer_sequence<int, q...>) LADARTS_INLINE_LAMBDA {
    (add_pair_column<K, D, q>(rows, w, sum), ...);
  }
  (std::make_integer_sequence<int, K>());
  unrolled<kPairSide>([&](int i) LADARTS_INLINE_LAMBDA { store_pair(y, i * kPairSide, sum[i]); });
}

}  // namespace
}  // namespace ladarts
