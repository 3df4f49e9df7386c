// Fully connected layers as products of matrices in memory.
#include "ops/linear.h"

#include "cuda/elementwise.cuh"
#include "cuda/gemm.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// y[n, o] = sum over i of x[n, i] w[o, i] + bias[o]
void linear_forward(const Linear&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  gemm(Rows{a.in(0), size32(features)}, Right<Rows>{{a.in(1), size32(features)}},
       StoreMatrix{a.out(0), size32(outputs), a.n_inputs > 2 ? a.in(2) : nullptr, false}, batch, outputs,
       features, 1, a.stream);
}

// d_x[n, i] = sum over o of d_y[n, o] w[o, i]
void linear_grad_input(const LinearGradInput&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  gemm(Rows{a.in(0), size32(outputs)}, Right<TransposedRows>{{a.in(1), size32(features)}},
       StoreMatrix{a.out(0), size32(features), nullptr, a.accumulate(0)}, batch, features, outputs, 1,
       a.stream);
}

// d_w[o, i] = sum over n of d_y[n, o] x[n, i]
void linear_grad_weight(const LinearGradWeight&, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  gemm(TransposedRows{a.in(0), size32(outputs)}, Right<TransposedRows>{{a.in(1), size32(features)}},
       StoreMatrix{a.out(0), size32(features), nullptr, a.accumulate(0)}, outputs, features, batch, 1,
       a.stream);
}

LADARTS_CUDA_KERNEL(Linear, linear_forward)
LADARTS_CUDA_KERNEL(LinearGradInput, linear_grad_input)
LADARTS_CUDA_KERNEL(LinearGradWeight, linear_grad_weight)

}  // namespace
}  // namespace ladarts::cuda
