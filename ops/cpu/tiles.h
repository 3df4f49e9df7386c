// Sizes of the tiles that products keep in registers, and how a matrix is cut into them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "ops/cpu/simd.h"

namespace ladarts {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 6, kTileVectors = 4;  // 24 of 32 registers
constexpr int kDotRows = 6, kDotColumns = 4;
#else
constexpr int kTileRows = 6, kTileVectors = 2;  // 12 of 16 registers
constexpr int kDotRows = 3, kDotColumns = 4;
#endif
constexpr int kTileColumns = kTileVectors * kLanes;

// Balanced cut of `size` into blocks of at most `most`: sizes differ by one at most, so no tile is a sliver.
// Divides once: begin() is asked for at every tile.
struct Blocks {
  int64_t count;
  Blocks(int64_t n, int64_t most)
      : count((n + most - 1) / most), each_(count > 0 ? n / count : 0), longer_(n - count * each_) {}
  int64_t begin(int64_t i) const { return i * each_ + std::min(i, longer_); }
  // Of the block that begins at `begin`.
  int64_t end_of(int64_t begin) const { return begin + each_ + int64_t(begin < longer_ * (each_ + 1)); }

 private:
  int64_t each_, longer_;  // the first ones are one longer
};

// f(n as a constant), 1 <= n <= most.
template <int most, class F>
inline void with_count(int64_t n, F f) {
  if constexpr (most > 1)
    if (n < most) return with_count<most - 1>(n, f);
  f(std::integral_constant<int, most>());
}

}  // namespace
}  // namespace ladarts
