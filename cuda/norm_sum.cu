#include "ops/norm_sum.h"

#include "cuda/gradient_sum.cuh"
#include "cuda/kernel.h"
#include "cuda/norm_sum.cuh"

namespace ladarts::cuda {
namespace {

void norm_sum(const NormSum& op, const KernelArgs& a) {
  const Shape& s = a.out_shape(0);
  sum_terms(term_operands(op.terms, a, s[1]), s[0], s[1], s[2] * s[3], a.out(0), false, a.stream);
}

// One term after the other; their sums share the workspace.
void norm_sum_grad(const NormSumGrad&, const KernelArgs& a) {
  for (int t = 0; t < a.n_outputs; ++t)
    affine_gradient(a.in_shape(0), a.in(0), a.in(t + 1), a.out(t), a.accumulate(t), a.workspace, a.stream);
}
size_t workspace(const NormSumGrad&, const NodeShapes& s) {
  return affine_gradient_bytes(s.inputs[0]);
}

LADARTS_CUDA_KERNEL(NormSum, norm_sum)
LADARTS_CUDA_KERNEL(NormSumGrad, norm_sum_grad, workspace)

}  // namespace
}  // namespace ladarts::cuda
