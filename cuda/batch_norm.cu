#include "cuda/batch_norm.cuh"

#include "cuda/kernel.h"
#include "ops/batch_norm.h"

namespace ladarts::cuda {
namespace {

NormLayout layout_of(const Shape& shape) {
  return layout_of(shape[0], shape[1], shape.rank() == 4 ? shape[2] * shape[3] : 1);
}

void take_statistics(const BatchNorm& op, const NormLayout& l, const KernelArgs& a) {
  const int running = op.has_affine ? 3 : 1;
  channel_sums(CenteredTerm{a.in(0), l.plane},
               FinishMoments{a.in(0), l.plane, double(l.images * l.plane), op.eps, op.momentum, a.out(1),
                             a.out(2), op.has_running ? a.updated(running) : nullptr,
                             op.has_running ? a.updated(running + 1) : nullptr},
               l, a.workspace, a.stream);
}

void batch_norm_forward(const BatchNorm& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const NormLayout l = layout_of(shape);
  const float* gamma = op.has_affine ? a.in(1) : nullptr;
  const float* beta = op.has_affine ? a.in(2) : nullptr;
  const int running = op.has_affine ? 3 : 1;
  if (op.batch_statistics)
    take_statistics(op, l, a);
  else
    for_each(CopyMoments{a.in(running), a.in(running + 1), op.eps, a.out(1), a.out(2)}, l.channels, a.stream);
  elementwise(Normalised{a.in(0), a.out(1), a.out(2), gamma, beta, size32(l.channels), size32(l.plane)},
              a.out(0), size32(shape.elements()), false, a.stream);
}
void batch_norm_again(const BatchNormAgain& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const NormLayout l = layout_of(shape);
  const int mean = op.has_affine ? 3 : 1;
  elementwise(Normalised{a.in(0), a.in(mean), a.in(mean + 1), op.has_affine ? a.in(1) : nullptr,
                         op.has_affine ? a.in(2) : nullptr, size32(l.channels), size32(l.plane)},
              a.out(0), size32(shape.elements()), false, a.stream);
}
size_t forward_workspace(const BatchNorm& op, const NodeShapes& s) {
  return op.batch_statistics ? sums_bytes(layout_of(s.inputs[0])) : 0;
}

// Scale and shift of each channel.
struct AffineOfMoments {
  const float *mean, *inv_std, *gamma, *beta;  // gamma and beta null: 1 and 0
  int64_t channels;
  float* affine;  // (2, C)
  __device__ void operator()(int64_t c) const {
    const float scale = gamma ? gamma[c] * inv_std[c] : inv_std[c];
    affine[c] = scale;
    affine[channels + c] = (beta ? beta[c] : 0.f) - mean[c] * scale;
  }
};
void deferred_batch_norm(const DeferredBatchNorm& op, const KernelArgs& a) {
  const NormLayout l = layout_of(a.in_shape(0));
  const bool affine = op.norm.has_affine;
  take_statistics(op.norm, l, a);
  for_each(AffineOfMoments{a.out(1), a.out(2), affine ? a.in(1) : nullptr, affine ? a.in(2) : nullptr,
                           l.channels, a.out(0)},
           l.channels, a.stream);
}
size_t deferred_workspace(const DeferredBatchNorm&, const NodeShapes& s) {
  return sums_bytes(layout_of(s.inputs[0]));
}

// The coefficients lie behind the sums.
void batch_norm_backward(const BatchNormGrad& op, const KernelArgs& a) {
  const Shape& shape = a.in_shape(0);
  const NormLayout l = layout_of(shape);
  const int gamma_at = op.wants_x ? 1 : 0, beta_at = gamma_at + (op.wants_gamma ? 1 : 0);
  float* const coefficients = op.wants_x ? reinterpret_cast<float*>(a.workspace + sums_bytes(l)) : nullptr;
  channel_sums(
      NormGradientTerm{a.in(0), a.in(1), a.in(2)},
      FinishGradient{a.in(3), op.has_affine ? a.in(4) : nullptr, double(l.images * l.plane),
                     op.batch_statistics, coefficients, op.wants_gamma ? a.out(gamma_at) : nullptr,
                     op.wants_beta ? a.out(beta_at) : nullptr, op.wants_gamma && a.accumulate(gamma_at),
                     op.wants_beta && a.accumulate(beta_at)},
      l, a.workspace, a.stream);
  if (op.wants_x)
    elementwise(NormalisedGrad{a.in(0), a.in(1), a.in(2), coefficients, size32(l.channels), size32(l.plane)},
                a.out(0), size32(shape.elements()), a.accumulate(0), a.stream);
}
size_t backward_workspace(const BatchNormGrad&, const NodeShapes& s) {
  const NormLayout l = layout_of(s.inputs[0]);
  return sums_bytes(l) + size_t(3 * l.channels) * sizeof(float);
}

LADARTS_CUDA_KERNEL(BatchNorm, batch_norm_forward, forward_workspace)
LADARTS_CUDA_KERNEL(DeferredBatchNorm, deferred_batch_norm, deferred_workspace)
LADARTS_CUDA_KERNEL(BatchNormAgain, batch_norm_again)
LADARTS_CUDA_KERNEL(BatchNormGrad, batch_norm_backward, backward_workspace)

}  // namespace
}  // namespace ladarts::cuda
