#include "ops/flat.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

struct Value {
  const float* x;
  __device__ float operator()(int64_t i) const { return x[i]; }
};
struct Scaled {
  const float *x, *coefficient;
  __device__ float operator()(int64_t i) const { return coefficient[0] * x[i]; }
};
struct Step {
  const float *x, *norm, *length;
  __device__ float operator()(int64_t i) const { return norm[0] > 0 ? length[0] / norm[0] * x[i] : 0.f; }
};
struct Square {
  const float* x;
  __device__ double operator()(int64_t i) const { return double(x[i]) * double(x[i]); }
};
struct StoreRoot {
  float* y;
  __device__ void operator()(double sum) const { *y = float(sqrt(sum)); }
};

void copy(const FlatCopy&, const KernelArgs& a) {
  elementwise(Value{a.in(1)}, a.updated(0), a.in_shape(0).elements(), false, a.stream);
}
void axpy(const FlatAxpy&, const KernelArgs& a) {
  elementwise(Scaled{a.in(1), a.in(2)}, a.updated(0), a.in_shape(0).elements(), true, a.stream);
}
void step(const FlatStep&, const KernelArgs& a) {
  elementwise(Step{a.in(1), a.in(2), a.in(3)}, a.updated(0), a.in_shape(0).elements(), true, a.stream);
}
void norm(const FlatNorm&, const KernelArgs& a) {
  reduce(Square{a.in(0)}, a.in_shape(0).elements(), a.workspace, StoreRoot{a.out(0)}, a.stream);
}
size_t norm_workspace(const FlatNorm&, const NodeShapes& s) {
  return reduce_workspace_bytes(s.inputs[0].elements());
}

LADARTS_CUDA_KERNEL(FlatCopy, copy)
LADARTS_CUDA_KERNEL(FlatAxpy, axpy)
LADARTS_CUDA_KERNEL(FlatStep, step)
LADARTS_CUDA_KERNEL(FlatNorm, norm, norm_workspace)

}  // namespace
}  // namespace ladarts::cuda
