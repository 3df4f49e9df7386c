#include "cuda/activations.cuh"

#include "cuda/kernel.h"
#include "ops/activations.h"

namespace ladarts::cuda {
namespace {

template <class F>
void store(F f, const KernelArgs& a) {
  elementwise(f, a.out(0), a.out_shape(0).elements(), a.accumulate(0), a.stream);
}

void activation(const ActivationOp& op, const KernelArgs& a) {
  switch (op.kind) {
    case Activation::relu:
      return store(ReluOf{a.in(0)}, a);
    case Activation::sigmoid:
      return store(SigmoidOf{a.in(0)}, a);
    case Activation::tanh:
      return store(TanhOf{a.in(0)}, a);
    case Activation::exp:
      return store(ExpOf{a.in(0)}, a);
    case Activation::log:
      return store(LogOf{a.in(0)}, a);
  }
}

void activation_grad(const ActivationGrad& op, const KernelArgs& a) {
  switch (op.kind) {
    case Activation::relu:
      return store(ReluGradOf{a.in(0), a.in(1)}, a);
    case Activation::sigmoid:
      return store(SigmoidGradOf{a.in(0), a.in(1)}, a);
    case Activation::tanh:
      return store(TanhGradOf{a.in(0), a.in(1)}, a);
    case Activation::exp:
      return store(ExpGradOf{a.in(0), a.in(1)}, a);
    case Activation::log:
      return store(LogGradOf{a.in(0), a.in(1)}, a);
  }
}

LADARTS_CUDA_KERNEL(ActivationOp, activation)
LADARTS_CUDA_KERNEL(ActivationGrad, activation_grad)

}  // namespace
}  // namespace ladarts::cuda
