// Channels that are sums of terms, formed as they are read (ops/sum_conv2d.h):
//   max(factor0 * first + factor1 * second + offset, 0)
#pragma once

#include <algorithm>

#include "ops/cpu/channel_parts.h"
#include "ops/cpu/simd.h"
#include "ops/sum_conv2d_plan.h"

namespace ladarts {
namespace {

// Before ReLU, of a channel's coefficients.
template <int terms>
struct TermSum {
  Vec<kLanes> first, second, offset;
  explicit TermSum(const float* coefficients)
      : first(splat<kLanes>(coefficients[0])),
        second(splat<kLanes>(coefficients[1])),
        offset(splat<kLanes>(coefficients[2])) {}
  Vec<kLanes> operator()(Vec<kLanes> a, Vec<kLanes> b) const {
    Vec<kLanes> v = offset + first * a;
    if (terms > 1) v += second * b;
    return v;
  }
};

struct ChannelSums {
  ChannelParts first, second;  // second's parts are null where there is one term
  const float* coefficients;   // of each channel of all parts

  // Null where there is none.
  const float* second_plane(int64_t n, int64_t c, int64_t pixels) const {
    return second.data[c / second.channels] ? second.plane(n, c, pixels) : nullptr;
  }
  const float* of_channel(int64_t c) const { return coefficients + c * kSumCoefficients; }
};

template <int terms>
inline void sum_row(const float* first, const float* second, const float* coefficients, int64_t n,
                    float* to) {
  const TermSum<terms> sum(coefficients);
  for (int64_t i = 0; i < n; i += kLanes)
    store<kLanes>(to + i, relu<kLanes>(sum(load<kLanes>(first + i),
                                           terms > 1 ? load<kLanes>(second + i) : Vec<kLanes>{})));
}

// Rows of `panel`: channels [c, c + rows) of image n, whole vectors [at, at + length) of each.
inline void sum_rows(const ChannelSums& x, int64_t n, int64_t c, int64_t rows, int64_t pixels, int64_t at,
                     int64_t length, float* panel, int64_t panel_stride) {
  for (int64_t r = 0; r < rows; ++r, panel += panel_stride) {
    const float* const first = x.first.plane(n, c + r, pixels) + at;
    if (const float* const second = x.second_plane(n, c + r, pixels))
      sum_row<2>(first, second + at, x.of_channel(c + r), length, panel);
    else
      sum_row<1>(first, nullptr, x.of_channel(c + r), length, panel);
  }
}

}  // namespace
}  // namespace ladarts
