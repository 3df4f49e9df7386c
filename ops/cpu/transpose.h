// Transposition by whole vectors: log2(L) rounds of shuffles for L x L elements.
#pragma once

#include <utility>

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

// Lanes whose index has bit s from the one, the others from the other of two rows.
template <int s, size_t... j>
inline Vec<kLanes> even_blocks(Vec<kLanes> a, Vec<kLanes> b, std::index_sequence<j...>) {
  return __builtin_shufflevector(a, b, (int(j) & s ? kLanes + int(j) - s : int(j))...);
}
template <int s, size_t... j>
inline Vec<kLanes> odd_blocks(Vec<kLanes> a, Vec<kLanes> b, std::index_sequence<j...>) {
  return __builtin_shufflevector(a, b, (int(j) & s ? kLanes + int(j) : int(j) + s)...);
}

template <int s>
inline void exchange_blocks(Vec<kLanes> (&rows)[kLanes]) {
  constexpr std::make_index_sequence<size_t(kLanes)> lanes;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    if (i & s) continue;
    const Vec<kLanes> a = rows[i], b = rows[i + s];
    rows[i] = even_blocks<s>(a, b, lanes);
    rows[i + s] = odd_blocks<s>(a, b, lanes);
  }
  if constexpr (2 * s < kLanes) exchange_blocks<2 * s>(rows);
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
      exchange_blocks<1>(block);
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
