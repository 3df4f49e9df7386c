#include "cuda/arithmetic.cuh"

#include "cuda/kernel.h"
#include "ops/arithmetic.h"

namespace ladarts::cuda {
namespace {

template <class F>
void store(F f, const KernelArgs& a) {
  elementwise(f, a.out(0), a.out_shape(0).elements(), a.accumulate(0), a.stream);
}

// Scratch of the reductions over the first input.
template <class O>
size_t sum_workspace(const O&, const NodeShapes& s) {
  return reduce_workspace_bytes(s.inputs[0].elements());
}

void binary(const Binary& op, const KernelArgs& a) {
  switch (op.kind) {
    case BinaryKind::add:
      return store(SumOf{a.in(0), a.in(1)}, a);
    case BinaryKind::sub:
      return store(DifferenceOf{a.in(0), a.in(1)}, a);
    case BinaryKind::mul:
      return store(ProductOf{a.in(0), a.in(1)}, a);
  }
}

void scale_kernel(const Scale& op, const KernelArgs& a) {
  store(ScaledBy{a.in(0), op.factor}, a);
}

void scale_by_kernel(const ScaleBy&, const KernelArgs& a) {
  store(ScaledByValue{a.in(0), a.in(1), 0}, a);
}

void spread(const Spread& op, const KernelArgs& a) {
  store(SpreadOf{a.in(0), op.factor}, a);
}

void reshape_kernel(const Reshape&, const KernelArgs& a) {
  const int64_t n = a.out_shape(0).elements();
  if (n == 0) return;
  const int64_t wanted = (n + kElementThreads - 1) / kElementThreads;
  const int64_t blocks = wanted < kElementBlocks ? wanted : kElementBlocks;
  simt::launch(copy_bits_kernel, dim3(unsigned(blocks)), dim3(kElementThreads), 0, a.stream,
               a.in<uint32_t>(0), a.out<uint32_t>(0), n);
}

void sum_all_kernel(const SumAll& op, const KernelArgs& a) {
  reduce(ValueOf{a.in(0)}, a.in_shape(0).elements(), a.workspace,
         StoreSum{a.out(0), double(op.factor), a.accumulate(0)}, a.stream);
}

void dot_kernel(const Dot&, const KernelArgs& a) {
  reduce(DotTerm{a.in(0), a.in(1)}, a.in_shape(0).elements(), a.workspace,
         StoreSum{a.out(0), 1, a.accumulate(0)}, a.stream);
}

void sum_terms(const KernelArgs& a, int terms, const float* weights) {
  const int64_t n = a.out_shape(0).elements();
  for (int first = 0; first < terms; first += kTerms) {
    TermsOf part{};
    part.weights = weights;
    part.first = first;
    part.count = terms - first < kTerms ? terms - first : kTerms;
    for (int k = 0; k < part.count; ++k) part.x[k] = a.in(first + k);
    elementwise(part, a.out(0), n, first > 0 || a.accumulate(0), a.stream);
  }
}

void add_n_kernel(const AddN&, const KernelArgs& a) {
  sum_terms(a, a.n_inputs, nullptr);
}

void weighted_sum_kernel(const WeightedSum&, const KernelArgs& a) {
  sum_terms(a, a.n_inputs - 1, a.in(a.n_inputs - 1));
}

// One launch per gradient. The workspace holds the chunks of one dot product at a time.
void weighted_sum_grad(const WeightedSumGrad& op, const KernelArgs& a) {
  const int64_t n = a.in_shape(0).elements();
  const int wanted = int(op.wanted.size());
  for (int i = 0; i < wanted; ++i)
    elementwise(ScaledByValue{a.in(0), a.in(1), op.wanted[size_t(i)]}, a.out(i), n, a.accumulate(i),
                a.stream);
  if (!op.wants_weights) return;
  const int terms = int(a.in_shape(1).elements());
  for (int k = 0; k < terms; ++k)
    reduce(DotTerm{a.in(0), a.in(2 + k)}, n, a.workspace,
           StoreSum{a.out(wanted) + k, 1, a.accumulate(wanted)}, a.stream);
}

LADARTS_CUDA_KERNEL(Binary, binary)
LADARTS_CUDA_KERNEL(Scale, scale_kernel)
LADARTS_CUDA_KERNEL(ScaleBy, scale_by_kernel)
LADARTS_CUDA_KERNEL(Spread, spread)
LADARTS_CUDA_KERNEL(Reshape, reshape_kernel)
LADARTS_CUDA_KERNEL(SumAll, sum_all_kernel, sum_workspace<SumAll>)
LADARTS_CUDA_KERNEL(Dot, dot_kernel, sum_workspace<Dot>)
LADARTS_CUDA_KERNEL(AddN, add_n_kernel)
LADARTS_CUDA_KERNEL(WeightedSum, weighted_sum_kernel)
LADARTS_CUDA_KERNEL(WeightedSumGrad, weighted_sum_grad, sum_workspace<WeightedSumGrad>)

}  // namespace
}  // namespace ladarts::cuda
