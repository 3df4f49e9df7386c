// A gradient given as a sum of terms (ops/scaled_channels.h), gathered into memory.
#pragma once

#include <algorithm>
#include <vector>

#include "core/kernel.h"
#include "cuda/elementwise.cuh"
#include "ops/scaled_channels.h"

namespace ladarts::cuda {
namespace {

// Element (n, o, p) of a sum: factors[o] * d[n, o * step, p] + offsets[o] over its terms. Longer sums take
// several launches. 4 bytes read for each term, 4 written.
constexpr int kGradientTerms = 16;
struct GradientTermOperand {
  const float* d;
  const float *factors, *offsets;  // (O), or null: 1 and 0
  uint32_t channels, step;
};
struct SummedTerms {
  GradientTermOperand term[kGradientTerms];
  int terms;
  uint32_t channels, pixels;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % pixels, o = i / pixels % channels;
    const int64_t n = i / pixels / channels;
    float sum = 0;
    for (int t = 0; t < terms; ++t) {
      const GradientTermOperand& k = term[t];
      sum += (k.factors ? k.factors[o] : 1.f) * k.d[(n * k.channels + o * k.step) * pixels + p] +
             (k.offsets ? k.offsets[o] : 0.f);
    }
    return sum;
  }
};

// `own` (N, channels, pixels): what terms of negative source mean.
inline std::vector<GradientTermOperand> term_operands(const GradientSum& sum, const KernelArgs& a,
                                                      int64_t channels, const float* own = nullptr) {
  std::vector<GradientTermOperand> terms;
  for (const GradientTerm& t : sum)
    terms.push_back({t.source < 0 ? own : a.in(t.source),
                     t.factors >= 0 ? a.in(t.factors) + t.row * channels : nullptr,
                     t.offset_row >= 0 ? a.in(t.factors) + t.offset_row * channels : nullptr,
                     size32(t.source < 0 ? channels : a.in_shape(t.source)[1]), uint32_t(t.step)});
  return terms;
}

// to (images, channels, pixels) (+)= the sum of the terms.
inline void sum_terms(const std::vector<GradientTermOperand>& terms, int64_t images, int64_t channels,
                      int64_t pixels, float* to, bool add, void* stream) {
  size_t first = 0;
  do {
    SummedTerms sum{};
    sum.channels = size32(channels);
    sum.pixels = size32(pixels);
    for (; sum.terms < kGradientTerms && first + size_t(sum.terms) < terms.size(); ++sum.terms)
      sum.term[sum.terms] = terms[first + size_t(sum.terms)];
    elementwise(sum, to, size32(images * channels * pixels), add || first > 0, stream);
    first += kGradientTerms;
  } while (first < terms.size());
}

// The gradient (images, channels, pixels): where it lies, or gathered to `scratch`.
inline const float* gathered(const GradientSum& sum, const KernelArgs& a, int64_t images, int64_t channels,
                             int64_t pixels, float* scratch, const float* own = nullptr) {
  if (sum.size() == 1 && sum[0].factors < 0) return a.in(sum[0].source);
  sum_terms(term_operands(sum, a, channels, own), images, channels, pixels, scratch, false, a.stream);
  return scratch;
}

}  // namespace
}  // namespace ladarts::cuda
