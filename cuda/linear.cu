// Fully connected layers as products of matrices in memory; ReLU is applied as x is loaded, its mask as the
// gradient of x is stored.
#include "ops/linear.h"

#include "cuda/elementwise.cuh"
#include "cuda/gemm.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// x, or max(x, 0), as Rows or TransposedRows have it.
template <class M>
struct Input {
  static constexpr bool along_depth = M::along_depth;
  M matrix;
  bool relu;
  __device__ float operator()(uint32_t z, uint32_t i, uint32_t k) const {
    const float v = matrix(z, i, k);
    return relu && v < 0.f ? 0.f : v;
  }
};

struct StoreInput {
  float* d_x;
  const float* x;  // laid out as d_x; null: no ReLU before the layer
  uint32_t features;
  bool add;
  __device__ void operator()(uint32_t, uint32_t n, uint32_t i, float v) const {
    const int64_t at = int64_t(n) * features + i;
    if (x && !(x[at] > 0.f)) v = 0.f;
    d_x[at] = add ? d_x[at] + v : v;
  }
};

// y[n, o] = sum over i of x[n, i] w[o, i] + bias[o]
void linear_forward(const Linear& op, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], features = a.in_shape(0)[1], outputs = a.in_shape(1)[0];
  gemm(Input<Rows>{{a.in(0), size32(features)}, op.desc.relu_input}, Right<Rows>{{a.in(1), size32(features)}},
       StoreMatrix{a.out(0), size32(outputs), a.n_inputs > 2 ? a.in(2) : nullptr, false}, batch, outputs,
       features, 1, a.stream);
}

// d_x[n, i] = sum over o of d_y[n, o] w[o, i]
void linear_grad_input(const LinearGradInput& op, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  gemm(Rows{a.in(0), size32(outputs)}, Right<TransposedRows>{{a.in(1), size32(features)}},
       StoreInput{a.out(0), op.desc.relu_input ? a.in(2) : nullptr, size32(features), a.accumulate(0)}, batch,
       features, outputs, 1, a.stream);
}

// d_w[o, i] = sum over n of d_y[n, o] x[n, i]
void linear_grad_weight(const LinearGradWeight& op, const KernelArgs& a) {
  const int64_t batch = a.in_shape(0)[0], outputs = a.in_shape(0)[1], features = a.in_shape(1)[1];
  using X = Input<TransposedRows>;
  gemm(TransposedRows{a.in(0), size32(outputs)}, Right<X>{X{{a.in(1), size32(features)}, op.desc.relu_input}},
       StoreMatrix{a.out(0), size32(features), nullptr, a.accumulate(0)}, outputs, features, batch, 1,
       a.stream);
}

LADARTS_CUDA_KERNEL(Linear, linear_forward)
LADARTS_CUDA_KERNEL(LinearGradInput, linear_grad_input)
LADARTS_CUDA_KERNEL(LinearGradWeight, linear_grad_weight)

}  // namespace
}  // namespace ladarts::cuda
