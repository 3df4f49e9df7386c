#include "ops/norm_sum.h"

#include "cuda/batch_norm.cuh"
#include "cuda/gradient_sum.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

void norm_sum(const NormSum& op, const KernelArgs& a) {
  const Shape& s = a.out_shape(0);
  sum_terms(term_operands(op.terms, a, s[1]), s[0], s[1], s[2] * s[3], a.out(0), false, a.stream);
}

// Of d_out * y and d_out.
struct NormSumTerm {
  const float *d_out, *y;
  __device__ void operator()(int64_t, int64_t i, float& s, float& t) const {
    s += d_out[i] * y[i];
    t += d_out[i];
  }
};

struct FinishNormSum {
  int64_t channels;
  float* d_affine;  // (2, C)
  bool add;
  __device__ void operator()(int64_t c, double first, double second) const {
    d_affine[c] = float(first) + (add ? d_affine[c] : 0.f);
    d_affine[channels + c] = float(second) + (add ? d_affine[channels + c] : 0.f);
  }
};

NormLayout layout_of(const Shape& s) {
  return layout_of(s[0], s[1], s[2] * s[3]);
}

// One term after the other; their sums share the workspace.
void norm_sum_grad(const NormSumGrad&, const KernelArgs& a) {
  const NormLayout l = layout_of(a.in_shape(0));
  for (int t = 0; t < a.n_outputs; ++t)
    channel_sums(NormSumTerm{a.in(0), a.in(t + 1)}, FinishNormSum{l.channels, a.out(t), a.accumulate(t)}, l,
                 a.workspace, a.stream);
}
size_t workspace(const NormSumGrad&, const NodeShapes& s) {
  return sums_bytes(layout_of(s.inputs[0]));
}

LADARTS_CUDA_KERNEL(NormSum, norm_sum)
LADARTS_CUDA_KERNEL(NormSumGrad, norm_sum_grad, workspace)

}  // namespace
}  // namespace ladarts::cuda
