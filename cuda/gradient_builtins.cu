// Kernels of the ops that differentiation itself records (core/gradients.h).
#include "core/gradients.h"
#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

struct Constant {
  float value;
  __device__ float operator()(int64_t) const { return value; }
};
struct Copy {
  const float* x;
  __device__ float operator()(int64_t i) const { return x[i]; }
};

void fill(const Fill& op, const KernelArgs& a) {
  elementwise(Constant{op.value}, a.out(0), a.out_shape(0).elements(), false, a.stream);
}

void accumulate(const Accumulate&, const KernelArgs& a) {
  elementwise(Copy{a.in(0)}, a.out(0), a.out_shape(0).elements(), a.accumulate(0), a.stream);
}

LADARTS_CUDA_KERNEL(Fill, fill)
LADARTS_CUDA_KERNEL(Accumulate, accumulate)

}  // namespace
}  // namespace ladarts::cuda
