#include "ops/norm_sum.h"

#include <algorithm>

#include "ops/cpu/gradient_plane.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

void norm_sum_kernel(const NormSum& op, const KernelArgs& a) {
  const Shape& s = a.out_shape(0);
  const int64_t channels = s[1], pixels = s[2] * s[3];
  for_chunks(*a.pool, s[0] * channels, std::max<int64_t>(1, kElementGrain / pixels),
             [&](int64_t begin, int64_t end) {
               for (int64_t p = begin; p < end; ++p) {
                 float* const out = a.out(0) + p * pixels;
                 const float* const sum =
                     gradient_plane(op.terms, a, p / channels, p % channels, channels, pixels, out);
                 if (sum != out) std::copy(sum, sum + pixels, out);
               }
             });
}

// A plane of d_out stays in the nearest cache while the terms pass.
void norm_sum_grad(const NormSumGrad&, const KernelArgs& a) {
  const Shape& s = a.in_shape(0);
  const int64_t images = s[0], channels = s[1], pixels = s[2] * s[3], terms = a.n_inputs - 1;
  const int64_t chunks = NormSumGrad::chunks(images), stride = (terms + 1) * channels;
  auto* const sums = reinterpret_cast<double*>(a.workspace);  // (chunks, 1 + terms, C)
  a.pool->parallel_for(chunks, [&](int64_t chunk, int) {
    double* const part = sums + chunk * stride;
    std::fill(part, part + stride, 0.0);
    for (int64_t n = images * chunk / chunks; n < images * (chunk + 1) / chunks; ++n)
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t at = (n * channels + c) * pixels;
        const float* const d = a.in(0) + at;
        part[c] += double(sum(d, pixels));
        for (int64_t t = 0; t < terms; ++t)
          part[(t + 1) * channels + c] += double(dot(d, a.in(int(t) + 1) + at, pixels));
      }
  });
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t t = 0; t <= terms; ++t) {
      double total = 0;
      for (int64_t q = 0; q < chunks; ++q) total += sums[q * stride + t * channels + c];
      sums[t * channels + c] = total;
    }
  for (int t = 0; t < a.n_outputs; ++t)
    for (int64_t c = 0; c < channels; ++c) {
      float *scale = a.out(t) + c, *shift = scale + channels;
      const auto d_scale = float(sums[(t + 1) * channels + c]), d_shift = float(sums[c]);
      *scale = a.accumulate(t) ? *scale + d_scale : d_scale;
      *shift = a.accumulate(t) ? *shift + d_shift : d_shift;
    }
}

LADARTS_CPU_KERNEL(NormSum, norm_sum_kernel)
LADARTS_CPU_KERNEL(NormSumGrad, norm_sum_grad)

}  // namespace
}  // namespace ladarts
