#include "ops/deferred_norm.h"

#include "cuda/batch_norm.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

NormLayout layout_of(const Shape& y) {
  return layout_of(y[0], y[1], y[2] * y[3]);
}

void batch_statistics(const BatchStatistics& op, const KernelArgs& a) {
  const NormLayout l = layout_of(a.in_shape(0));
  channel_sums(CenteredTerm{a.in(0), l.plane},
               FinishAffine{a.in(0), l.plane, l.channels, double(l.images * l.plane), op.eps, a.out(0)}, l,
               a.workspace, a.stream);
}
size_t statistics_workspace(const BatchStatistics&, const NodeShapes& s) {
  return sums_bytes(layout_of(s.inputs[0]));
}

void batch_statistics_grad(const BatchStatisticsGrad& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  for_each(StatisticsGradient{a.in(0), a.in(1), channels, double(op.values), a.out(0)}, channels, a.stream);
}

void norm_affine(const NormAffine& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  const int running = op.has_affine ? 3 : 1;
  for_each(AffineWithGamma{a.in(0), op.has_affine ? a.in(1) : nullptr, op.has_affine ? a.in(2) : nullptr,
                           op.has_running ? a.updated(running) : nullptr,
                           op.has_running ? a.updated(running + 1) : nullptr, channels, double(op.values),
                           op.eps, op.momentum, a.out(0)},
           channels, a.stream);
}

void norm_affine_grad(const NormAffineGrad& op, const KernelArgs& a) {
  const int64_t channels = a.in_shape(0)[1];
  const int gamma_at = op.wants_affine ? 1 : 0, beta_at = gamma_at + (op.wants_gamma ? 1 : 0);
  for_each(
      AffineWithGammaGrad{a.in(0), a.in(1), a.n_inputs > 2 ? a.in(2) : nullptr, channels,
                          op.wants_affine ? a.out(0) : nullptr, op.wants_gamma ? a.out(gamma_at) : nullptr,
                          op.wants_beta ? a.out(beta_at) : nullptr, op.wants_affine && a.accumulate(0),
                          op.wants_gamma && a.accumulate(gamma_at), op.wants_beta && a.accumulate(beta_at)},
      channels, a.stream);
}

LADARTS_CUDA_KERNEL(NormAffine, norm_affine)
LADARTS_CUDA_KERNEL(NormAffineGrad, norm_affine_grad)
LADARTS_CUDA_KERNEL(BatchStatistics, batch_statistics, statistics_workspace)
LADARTS_CUDA_KERNEL(BatchStatisticsGrad, batch_statistics_grad)

}  // namespace
}  // namespace ladarts::cuda
