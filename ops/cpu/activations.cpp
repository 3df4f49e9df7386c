#include "ops/activations.h"

#include <cmath>

#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

void activation(const ActivationOp& op, const KernelArgs& a) {
  const float* x = a.in(0);
  float* y = a.out(0);
  for_chunks(*a.pool, a.in_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    switch (op.kind) {
      case Activation::relu:
        for (int64_t i = begin; i < end; ++i) y[i] = x[i] > 0.f ? x[i] : 0.f;
        break;
      case Activation::sigmoid:
        for (int64_t i = begin; i < end; ++i) y[i] = 1.f / (1.f + std::exp(-x[i]));
        break;
      case Activation::tanh:
        for (int64_t i = begin; i < end; ++i) y[i] = std::tanh(x[i]);
        break;
      case Activation::exp:
        for (int64_t i = begin; i < end; ++i) y[i] = std::exp(x[i]);
        break;
      case Activation::log:
        for (int64_t i = begin; i < end; ++i) y[i] = std::log(x[i]);
        break;
    }
  });
}

template <bool add>
void gradient(Activation kind, const float* y, const float* d_y, float* d_x, int64_t begin, int64_t end) {
  auto store = [&](int64_t i, float v) { d_x[i] = add ? d_x[i] + v : v; };
  switch (kind) {
    case Activation::relu:
      for (int64_t i = begin; i < end; ++i) store(i, y[i] > 0.f ? d_y[i] : 0.f);
      break;
    case Activation::sigmoid:
      for (int64_t i = begin; i < end; ++i) store(i, d_y[i] * y[i] * (1.f - y[i]));
      break;
    case Activation::tanh:
      for (int64_t i = begin; i < end; ++i) store(i, d_y[i] * (1.f - y[i] * y[i]));
      break;
    case Activation::exp:
      for (int64_t i = begin; i < end; ++i) store(i, d_y[i] * y[i]);
      break;
    case Activation::log:  // 1 / x
      for (int64_t i = begin; i < end; ++i) store(i, d_y[i] * std::exp(-y[i]));
      break;
  }
}

void activation_grad(const ActivationGrad& op, const KernelArgs& a) {
  for_chunks(*a.pool, a.in_shape(0).elements(), kElementGrain, [&](int64_t begin, int64_t end) {
    if (a.accumulate(0)) {
      gradient<true>(op.kind, a.in(0), a.in(1), a.out(0), begin, end);
    } else {
      gradient<false>(op.kind, a.in(0), a.in(1), a.out(0), begin, end);
    }
  });
}

LADARTS_CPU_KERNEL(ActivationOp, activation)
LADARTS_CPU_KERNEL(ActivationGrad, activation_grad)

}  // namespace
}  // namespace ladarts
