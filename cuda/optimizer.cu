#include "ops/optimizer.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"
#include "cuda/reduce.cuh"

namespace ladarts::cuda {
namespace {

// One pass over value, gradient and momentum: 20 bytes moved per element. The learning rate is read on the
// device.
struct Sgd {
  SgdDesc d;
  const float* lr;
  float* value;
  const float* grad;
  float* buf;
  __device__ void operator()(int64_t i) const {
    const float b = d.momentum * buf[i] + (grad[i] + d.weight_decay * value[i]);
    buf[i] = b;
    value[i] -= *lr * b;
  }
};

// Counts the step and computes, once for all elements, lr / (1 - beta1^t) and 1 / sqrt(1 - beta2^t).
struct AdamStep {
  AdamDesc d;
  const float* lr;
  float *step, *factors;
  __device__ void operator()(int64_t) const {
    *step += 1;
    const double t = double(*step);
    factors[0] = float(double(*lr) / (1 - pow(double(d.beta1), t)));
    factors[1] = float(1 / sqrt(1 - pow(double(d.beta2), t)));
  }
};
// One pass over value, gradient and both moments: 28 bytes moved per element.
struct Adam {
  AdamDesc d;
  const float* factors;
  float* value;
  const float* grad;
  float *m, *v;
  __device__ void operator()(int64_t i) const {
    const float g = grad[i] + d.weight_decay * value[i];
    m[i] = d.beta1 * m[i] + (1 - d.beta1) * g;
    v[i] = d.beta2 * v[i] + (1 - d.beta2) * (g * g);
    value[i] -= factors[0] * m[i] / (sqrtf(v[i]) * factors[1] + d.eps);
  }
};

struct Square {
  const float* x;
  __device__ double operator()(int64_t i) const { return double(x[i]) * double(x[i]); }
};
// The norm, and what the gradient is multiplied by: 1 where it is short enough.
struct StoreNorm {
  float max_norm;
  float *norm, *factor;
  __device__ void operator()(double sum) const {
    const double root = sqrt(sum), coefficient = double(max_norm) / (root + 1e-6);
    *norm = float(root);
    *factor = coefficient < 1 ? float(coefficient) : 1.f;
  }
};
struct ScaleInPlace {
  float* x;
  const float* factor;
  __device__ void operator()(int64_t i) const { x[i] *= *factor; }
};

void sgd(const SgdUpdate& op, const KernelArgs& a) {
  for_each(Sgd{op.desc, a.in(3), a.updated(0), a.in(1), a.updated(2)}, a.in_shape(0).elements(), a.stream);
}

void adam(const AdamUpdate& op, const KernelArgs& a) {
  float* const factors = reinterpret_cast<float*>(a.workspace);
  for_each(AdamStep{op.desc, a.in(5), a.updated(4), factors}, 1, a.stream);
  for_each(Adam{op.desc, factors, a.updated(0), a.in(1), a.updated(2), a.updated(3)},
           a.in_shape(0).elements(), a.stream);
}
size_t adam_workspace(const AdamUpdate&, const NodeShapes&) {
  return 2 * sizeof(float);
}

// The factor lies behind the partial sums.
void clip(const ClipNorm& op, const KernelArgs& a) {
  const int64_t n = a.in_shape(0).elements();
  float* const factor = reinterpret_cast<float*>(a.workspace + reduce_workspace_bytes(n));
  reduce(Square{a.in(0)}, n, a.workspace, StoreNorm{op.max_norm, a.out(0), factor}, a.stream);
  for_each(ScaleInPlace{a.updated(0), factor}, n, a.stream);
}
size_t clip_workspace(const ClipNorm&, const NodeShapes& s) {
  return reduce_workspace_bytes(s.inputs[0].elements()) + sizeof(float);
}

LADARTS_CUDA_KERNEL(SgdUpdate, sgd)
LADARTS_CUDA_KERNEL(AdamUpdate, adam, adam_workspace)
LADARTS_CUDA_KERNEL(ClipNorm, clip, clip_workspace)

}  // namespace
}  // namespace ladarts::cuda
