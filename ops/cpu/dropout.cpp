#include "ops/dropout.h"

#include "core/philox.h"
#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

struct Key {
  uint64_t seed, step;
};

Key key_of(const int32_t* state) {
  return {uint64_t(uint32_t(state[1])) << 32 | uint32_t(state[0]),
          uint64_t(uint32_t(state[3])) << 32 | uint32_t(state[2])};
}

// Philox4x32-10 of core/philox.h for kBlocks neighbouring counters at once: one vector lane each.
constexpr int kBlocks = 16;

void philox_blocks(Key key, uint32_t stream, uint64_t first, float* numbers /* (kBlocks * 4) */) {
  uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
  for (int b = 0; b < kBlocks; ++b) {
    c0[b] = uint32_t(first + uint64_t(b));
    c1[b] = stream | 0x80000000u;
    c2[b] = uint32_t(key.step);
    c3[b] = uint32_t(key.step >> 32);
  }
  uint32_t k0 = uint32_t(key.seed), k1 = uint32_t(key.seed >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (int b = 0; b < kBlocks; ++b) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * c0[b], p1 = uint64_t(0xCD9E8D57u) * c2[b];
      c0[b] = uint32_t(p1 >> 32) ^ c1[b] ^ k0;
      c1[b] = uint32_t(p1);
      c2[b] = uint32_t(p0 >> 32) ^ c3[b] ^ k1;
      c3[b] = uint32_t(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int b = 0; b < kBlocks; ++b) {
    numbers[4 * b] = uniform01(c0[b]);
    numbers[4 * b + 1] = uniform01(c1[b]);
    numbers[4 * b + 2] = uniform01(c2[b]);
    numbers[4 * b + 3] = uniform01(c3[b]);
  }
}

void dropout_kernel(const Dropout& op, const KernelArgs& a) {
  const float* x = a.in(0);
  float* y = a.out(0);
  const Key key = key_of(a.in<int32_t>(1));
  const float rate = op.rate, scale = 1.f / (1.f - rate);
  const bool add = a.accumulate(0);
  for_chunks(*a.pool, a.out_shape(0).elements(), kElementGrain, [=](int64_t begin, int64_t end) {
    float u[4 * kBlocks];
    for (int64_t at = begin; at < end; at += 4 * kBlocks) {  // kElementGrain is a multiple of 4 * kBlocks
      philox_blocks(key, op.stream, uint64_t(at) / 4, u);
      const int64_t n = std::min<int64_t>(4 * kBlocks, end - at);
      for (int64_t i = 0; i < n; ++i) {
        const float v = u[i] >= rate ? x[at + i] * scale : 0.f;
        y[at + i] = add ? y[at + i] + v : v;
      }
    }
  });
}
static_assert(kElementGrain % (4 * kBlocks) == 0);

// What sample n is multiplied by.
float sample_factor(Key key, uint32_t stream, int64_t n, float rate) {
  const Philox4 words = philox(key.seed, key.step, uint64_t(stream | 0x80000000u) << 32 | uint64_t(n) / 4);
  return uniform01(words.data()[n % 4]) >= rate ? 1.f / (1.f - rate) : 0.f;
}

void drop_path_kernel(const DropPath& op, const KernelArgs& a) {
  const int64_t samples = a.in_shape(0)[0];
  if (samples == 0) return;
  const int64_t size = a.in_shape(0).elements() / samples;
  const float* x = a.in(0);
  float* y = a.out(0);
  const float rate = a.in(1)[0];
  const Key key = key_of(a.in<int32_t>(2));
  const bool add = a.accumulate(0);
  const int64_t grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, size));
  for_chunks(*a.pool, samples, grain, [=](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const float factor = sample_factor(key, op.stream, n, rate);
      const float* from = x + n * size;
      float* to = y + n * size;
      if (add) {
        for (int64_t i = 0; i < size; ++i) to[i] += factor * from[i];
      } else {
        for (int64_t i = 0; i < size; ++i) to[i] = factor * from[i];
      }
    }
  });
}

LADARTS_CPU_KERNEL(Dropout, dropout_kernel)
LADARTS_CPU_KERNEL(DropPath, drop_path_kernel)

}  // namespace
}  // namespace ladarts
