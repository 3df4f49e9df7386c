// How a kernel under cuda/ registers for its op, at namespace scope of NAME.cu:
//   void relu(const Relu& op, const KernelArgs& a) { simt::launch(..., a.stream, ...); }
//   LADARTS_CUDA_KERNEL(Relu, relu)
// or, where it needs scratch memory (KernelArgs::workspace):
//   size_t norm_workspace(const Norm& op, const NodeShapes& shapes);   // bytes
//   LADARTS_CUDA_KERNEL(Norm, norm, norm_workspace)
#pragma once

#include "core/kernel.h"

namespace ladarts::cuda {

template <class O, void (*run)(const O&, const KernelArgs&),
          size_t (*workspace)(const O&, const NodeShapes&) = nullptr>
struct KernelRegistration {
  KernelRegistration() {
    DeviceKernel kernel;
    kernel.run = [](const Op& op, const KernelArgs& a) { run(static_cast<const O&>(op), a); };
    if constexpr (workspace != nullptr)
      kernel.workspace = [](const Op& op, const NodeShapes& s) {
        return workspace(static_cast<const O&>(op), s);
      };
    register_device_kernel(typeid(O), DeviceKind::cuda, kernel);
  }
};

}  // namespace ladarts::cuda

#define LADARTS_CUDA_KERNEL(OpType, function, ...) \
  const ::ladarts::cuda::KernelRegistration<OpType, function __VA_OPT__(, ) __VA_ARGS__> register_##function;
