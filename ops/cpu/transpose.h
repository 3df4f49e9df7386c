// Transposition by whole vectors.
#pragma once

#include <utility>

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

// Of a, then of b: every second four lanes.
template <bool odd, size_t... j>
inline Vec<kLanes> every_second_four(Vec<kLanes> a, Vec<kLanes> b, std::index_sequence<j...>) {
  constexpr auto index = [](int k) { return (2 * (k / 4) + odd) * 4 + k % 4; };
  return __builtin_shufflevector(a, b, index(int(j))...);
}

// Rows become columns. By shuffles within four lanes and of whole fours, which need no indices in registers.
inline void transpose(Vec<kLanes> (&rows)[kLanes]) {
  using V = Vec<kLanes>;
  constexpr std::make_index_sequence<size_t(kLanes)> lanes;
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; i += 4) {
    const V a = unpacked<kLanes, 1, false>(rows[i], rows[i + 1]),
            b = unpacked<kLanes, 1, true>(rows[i], rows[i + 1]),
            c = unpacked<kLanes, 1, false>(rows[i + 2], rows[i + 3]),
            d = unpacked<kLanes, 1, true>(rows[i + 2], rows[i + 3]);
    rows[i] = unpacked<kLanes, 2, false>(a, c);
    rows[i + 1] = unpacked<kLanes, 2, true>(a, c);
    rows[i + 2] = unpacked<kLanes, 2, false>(b, d);
    rows[i + 3] = unpacked<kLanes, 2, true>(b, d);
  }
  // Now four lanes of rows[4i + j], from 4k on, are column 4k + j of rows 4i to 4i + 3.
  if constexpr (kLanes == 8) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const V a = rows[j], b = rows[4 + j];
      rows[j] = every_second_four<false>(a, b, lanes);
      rows[4 + j] = every_second_four<true>(a, b, lanes);
    }
  } else if constexpr (kLanes == 16) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const V even_low = every_second_four<false>(rows[j], rows[4 + j], lanes),
              odd_low = every_second_four<true>(rows[j], rows[4 + j], lanes),
              even_high = every_second_four<false>(rows[8 + j], rows[12 + j], lanes),
              odd_high = every_second_four<true>(rows[8 + j], rows[12 + j], lanes);
      rows[j] = every_second_four<false>(even_low, even_high, lanes);
      rows[4 + j] = every_second_four<false>(odd_low, odd_high, lanes);
      rows[8 + j] = every_second_four<true>(even_low, even_high, lanes);
      rows[12 + j] = every_second_four<true>(odd_low, odd_high, lanes);
    }
  }
}

// to (columns, rows) = x (rows, columns) with `row` floats from row to row; rows of `to` lie to_row floats
// apart, rows rounded up to whole vectors at least, and end in zeros. exact: nothing beyond `rows` is
// written.
template <bool exact = false>
inline void transpose(const float* x, int64_t row, int64_t rows, int64_t columns, float* to, int64_t to_row) {
  for (int64_t i = 0; i < rows; i += kLanes)
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t height = rows - i < kLanes ? rows - i : kLanes,
                    width = columns - j < kLanes ? columns - j : kLanes;
      Vec<kLanes> block[kLanes];
#pragma GCC unroll 16
      for (int k = 0; k < kLanes; ++k) {
        const float* from = x + (i + k) * row + j;
        block[k] = k >= height       ? Vec<kLanes>{}
                   : width == kLanes ? load<kLanes>(from)
                                     : load_first<kLanes>(from, width);
      }
      transpose(block);
#pragma GCC unroll 16
      for (int k = 0; k < kLanes; ++k)
        if (k < width) {
          float* row_to = to + (j + k) * to_row + i;
          if (exact && height < kLanes) {
            store_first<kLanes>(row_to, block[k], height);
          } else {
            store<kLanes>(row_to, block[k]);
          }
        }
    }
}

}  // namespace
}  // namespace ladarts
