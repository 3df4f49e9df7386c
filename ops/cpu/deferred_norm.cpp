#include "ops/deferred_norm.h"

#include "ops/cpu/channel_moments.h"
#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

void batch_statistics(const BatchStatistics& op, const KernelArgs& a) {
  const Shape& s = a.in_shape(0);
  const int64_t planes = s[0] * s[1], channels = s[1], pixels = s[2] * s[3];
  auto* moments = reinterpret_cast<float*>(a.workspace);
  for_chunks(*a.pool, planes, std::max<int64_t>(1, kElementGrain / pixels), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) plane_moments(a.in(0) + p * pixels, pixels, moments + 2 * p);
  });
  float* affine = a.out(0);
  normalising_affine(moments, 2 * channels, s[0], pixels, op.eps, channels, affine, affine + channels);
}

void batch_statistics_grad(const BatchStatisticsGrad& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  statistics_gradient(a.in(0), a.in(1), channels, op.values, a.out(0), a.out(0) + channels);
}

void norm_affine(const NormAffine& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  const float *scale = a.in(0), *shift = scale + channels;
  const float* gamma = op.has_affine ? a.in(1) : nullptr;
  const float* beta = op.has_affine ? a.in(2) : nullptr;
  const int running = op.has_affine ? 3 : 1;
  for (int64_t c = 0; c < channels; ++c) {
    if (op.has_running) {
      const BatchMoments m = moments_of(scale[c], shift[c], op.eps);
      const double unbiased = m.variance * double(op.values) / double(op.values - 1);
      float *mean = a.updated(running) + c, *variance = a.updated(running + 1) + c;
      *mean += op.momentum * float(m.mean - double(*mean));
      *variance += op.momentum * float(unbiased - double(*variance));
    }
    a.out(0)[c] = gamma ? gamma[c] * scale[c] : scale[c];
    a.out(0)[channels + c] = gamma ? gamma[c] * shift[c] + beta[c] : shift[c];
  }
}

void norm_affine_grad(const NormAffineGrad& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  const float *affine = a.in(0), *d = a.in(1), *gamma = a.n_inputs > 2 ? a.in(2) : nullptr;
  const int gamma_at = op.wants_affine ? 1 : 0, beta_at = gamma_at + (op.wants_gamma ? 1 : 0);
  auto put = [&](int output, int64_t i, float v) {
    float& to = a.out(output)[i];
    to = a.accumulate(output) ? to + v : v;
  };
  for (int64_t c = 0; c < channels; ++c) {
    const float d_scale = d[c], d_shift = d[channels + c], g = gamma ? gamma[c] : 1.f;
    if (op.wants_affine) {
      put(0, c, g * d_scale);
      put(0, channels + c, g * d_shift);
    }
    if (op.wants_gamma) put(gamma_at, c, affine[c] * d_scale + affine[channels + c] * d_shift);
    if (op.wants_beta) put(beta_at, c, d_shift);
  }
}

LADARTS_CPU_KERNEL(NormAffine, norm_affine)
LADARTS_CPU_KERNEL(NormAffineGrad, norm_affine_grad)
LADARTS_CPU_KERNEL(BatchStatistics, batch_statistics)
LADARTS_CPU_KERNEL(BatchStatisticsGrad, batch_statistics_grad)

}  // namespace
}  // namespace ladarts
