#include "ops/optimizer.h"

#include <cmath>

#include "ops/arithmetic.h"
#include "ops/cpu/parallel.h"
#include "ops/cpu/vector_sums.h"

namespace ladarts {
namespace {

void sgd_range(const SgdDesc& d, float lr, float* __restrict value, const float* __restrict grad,
               float* __restrict buf, int64_t n) {
  const float momentum = d.momentum, decay = d.weight_decay;
  for (int64_t i = 0; i < n; ++i) {
    const float b = momentum * buf[i] + (grad[i] + decay * value[i]);
    buf[i] = b;
    value[i] -= lr * b;
  }
}

void sgd(const SgdUpdate& op, const KernelArgs& a) {
  float *value = a.updated(0), *buf = a.updated(2);
  const float *grad = a.in(1), lr = a.in(3)[0];
  for_chunks(*a.pool, a.in_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    sgd_range(op.desc, lr, value + begin, grad + begin, buf + begin, end - begin);
  });
}

struct AdamFactors {
  float step_size;  // lr / (1 - beta1^t)
  float inv_root2;  // 1 / sqrt(1 - beta2^t)
};

void adam_range(const AdamDesc& d, AdamFactors f, float* __restrict value, const float* __restrict grad,
                float* __restrict m, float* __restrict v, int64_t n) {
  const float b1 = d.beta1, b2 = d.beta2, eps = d.eps, decay = d.weight_decay;
  for (int64_t i = 0; i < n; ++i) {
    const float g = grad[i] + decay * value[i];
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * (g * g);
    value[i] -= f.step_size * m[i] / (std::sqrt(v[i]) * f.inv_root2 + eps);
  }
}

void adam(const AdamUpdate& op, const KernelArgs& a) {
  float *value = a.updated(0), *m = a.updated(2), *v = a.updated(3), *step = a.updated(4);
  const float *grad = a.in(1), lr = a.in(5)[0];
  step[0] += 1;
  const double t = step[0];
  const AdamFactors f{float(double(lr) / (1 - std::pow(double(op.desc.beta1), t))),
                      float(1 / std::sqrt(1 - std::pow(double(op.desc.beta2), t)))};
  for_chunks(*a.pool, a.in_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    adam_range(op.desc, f, value + begin, grad + begin, m + begin, v + begin, end - begin);
  });
}

void clip(const ClipNorm& op, const KernelArgs& a) {
  float* grad = a.updated(0);
  const int64_t n = a.in_shape(0).elements();
  auto* partial = reinterpret_cast<double*>(a.workspace);
  for_chunks(*a.pool, n, kReduceChunk, [=](int64_t begin, int64_t end) {
    partial[begin / kReduceChunk] = double(dot(grad + begin, grad + begin, end - begin));
  });
  double total = 0;
  for (int64_t c = 0; c * kReduceChunk < n; ++c) total += partial[c];
  const double norm = std::sqrt(total);
  a.out(0)[0] = float(norm);
  const double coefficient = double(op.max_norm) / (norm + 1e-6);
  if (!(coefficient < 1)) return;
  const float factor = float(coefficient);
  for_chunks(*a.pool, n, kElementGrain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) grad[i] *= factor;
  });
}

LADARTS_CPU_KERNEL(SgdUpdate, sgd)
LADARTS_CPU_KERNEL(AdamUpdate, adam)
LADARTS_CPU_KERNEL(ClipNorm, clip)

}  // namespace
}  // namespace ladarts
