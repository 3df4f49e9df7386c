#include "predictor/machine_peak.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "core/kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ladarts {

namespace {

template <int L>
struct FloatVector {
  typedef float type __attribute__((vector_size(L * 4)));
};

// Twelve independent chains of `rounds` multiply-adds of L lanes; the result keeps the compiler from removing
// them. FLOPs: 12 * L * 2 * rounds.
template <int L>
[[gnu::always_inline]] inline float multiply_add_chains(int64_t rounds) {
  using V = typename FloatVector<L>::type;
  V acc[12], factor = 0.999f - V{}, term = 0.001f - V{};
  for (int i = 0; i < 12; ++i) acc[i] = float(i) - V{};
  asm volatile("" : "+m"(factor), "+m"(term));
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) acc[i] = acc[i] * factor + term;
  V sum = acc[0];
  for (int i = 1; i < 12; ++i) sum += acc[i];
  float total = 0;
  for (int i = 0; i < L; ++i) total += sum[i];
  return total;
}

struct MultiplyAdds {
  float (*run)(int64_t rounds);
  double flops_per_round;
};

#if defined(__x86_64__)
[[gnu::target("avx512f,fma,prefer-vector-width=512")]] float multiply_adds_avx512(int64_t rounds) {
  return multiply_add_chains<16>(rounds);
}
[[gnu::target("avx2,fma")]] float multiply_adds_avx2(int64_t rounds) {
  return multiply_add_chains<8>(rounds);
}
#endif
float multiply_adds_baseline(int64_t rounds) {
  return multiply_add_chains<4>(rounds);
}

MultiplyAdds multiply_adds() {
#if defined(__x86_64__)
  if (current_cpu_isa() == CpuIsa::avx512) return {multiply_adds_avx512, 12 * 16 * 2};
  if (current_cpu_isa() == CpuIsa::avx2) return {multiply_adds_avx2, 12 * 8 * 2};
#endif
  return {multiply_adds_baseline, 12 * 4 * 2};
}

// The best of `repeats`, seconds.
template <class F>
double best_seconds(int repeats, F f) {
  using clock = std::chrono::steady_clock;
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const auto before = clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(clock::now() - before).count());
  }
  return best;
}

}  // namespace

MachinePeak measure_machine_peak(ThreadPool& pool) {
  const int threads = pool.threads();
  const MultiplyAdds fma = multiply_adds();
  constexpr int64_t kRounds = 400'000;
  std::vector<float> results(static_cast<size_t>(threads) * 16);
  MachinePeak peak;
  peak.gflops =
      1e-9 * fma.flops_per_round * double(kRounds) * threads / best_seconds(15, [&] {
        pool.parallel_for(threads, [&](int64_t i, int) { results[size_t(i) * 16] = fma.run(kRounds); });
      });
  constexpr size_t kFloats = size_t{16} << 20, kParts = 64;
  std::vector<float> from(kFloats, 1.f), to(kFloats);
  peak.copy_gbs =
      1e-9 * 2 * sizeof(float) * double(kFloats) / best_seconds(9, [&] {
        pool.parallel_for(kParts, [&](int64_t i, int) {
          constexpr size_t part = kFloats / kParts;
          std::memcpy(to.data() + size_t(i) * part, from.data() + size_t(i) * part, part * sizeof(float));
        });
      });
  return peak;
}

}  // namespace ladarts
