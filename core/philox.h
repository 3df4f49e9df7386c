// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): a counter-based
// generator. The same (key, counter) gives the same numbers on every device and for every thread count: CUDA
// kernels call these functions too.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace ladarts {

using Philox4 = std::array<uint32_t, 4>;

constexpr Philox4 philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo) {
  uint32_t c0 = uint32_t(counter_lo), c1 = uint32_t(counter_lo >> 32);
  uint32_t c2 = uint32_t(counter_hi), c3 = uint32_t(counter_hi >> 32);
  uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c1 = uint32_t(p1);
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c3 = uint32_t(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

constexpr float uniform01(uint32_t bits) {
  return float(bits >> 8) * 0x1p-24f;
}  // [0, 1)

// A sequential stream over one (seed, stream) pair, for host code: sampling, shuffling, initialisation.
class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  uint32_t bits() {
    const uint64_t index = drawn_++;
    if (index / 4 != block_index_) block_ = philox(seed_, stream_, block_index_ = index / 4);
    return block_[index % 4];
  }
  float uniform() { return uniform01(bits()); }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  uint32_t below(uint32_t n) { return uint32_t((uint64_t(bits()) * n) >> 32); }  // [0, n)
  float
  normal() {  // Box-Muller; the second value is dropped, so that a draw is a function of the position alone
    const float u = 1.f - uniform(), v = uniform();
    return std::sqrt(-2.f * std::log(u)) * std::cos(6.28318530718f * v);
  }
  // How many values were drawn; seek() continues from there.
  uint64_t position() const { return drawn_; }
  void seek(uint64_t position) { drawn_ = position; }

 private:
  uint64_t seed_, stream_;
  uint64_t drawn_ = 0;
  uint64_t block_index_ = ~uint64_t(0);
  Philox4 block_{};
};

}  // namespace ladarts
