// Libraries whose kernels stand beside the project's own on devices other than the CPU, such as cuDNN on an
// NVIDIA GPU. Which kernel a node gets is decided when its program is compiled: core/kernel_choice.h.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/kernel.h"

namespace ladarts {

// What a kernel is prepared for.
struct KernelNode {
  const Op& op;
  NodeShapes shapes;
  std::span<const uint8_t> accumulates;  // per output
  Device device;
  bool tf32 = false;  // products may round their factors to 11 significant bits (TF32)
};

// A library's kernel with all that it needs for one node: descriptors, an algorithm, a size of scratch
// memory.
class PreparedKernel {
 public:
  virtual ~PreparedKernel() = default;
  virtual std::string name() const = 0;  // library and algorithm: "cudnn implicit_precomp_gemm"
  virtual size_t workspace_bytes() const = 0;
  // Queues its work on args.stream. It allocates nothing and waits for nothing, so that it can be recorded.
  virtual void run(const Op& op, const KernelArgs& args) = 0;
};

// Kernels that compute one node, the one that the library expects to be fastest first; none where the library
// does not compute exactly what the op does.
struct PreparedKernels {
  std::string parameters;  // of the op, beside its shapes: "stride=2 padding=1"
  std::vector<std::shared_ptr<PreparedKernel>> kernels;
};

class KernelLibrary {
 public:
  virtual ~KernelLibrary() = default;
  virtual std::string name() const = 0;  // "cudnn"
  // Of the library that was found, which the first call loads: "9.19.0". Throws Error that says what is
  // missing and how to mend it.
  virtual std::string version() = 0;
  virtual std::string file() = 0;                    // that was loaded; throws like version()
  virtual std::vector<std::string> ops() const = 0;  // that it has kernels for, by Op::name()
  // Not while a program is recorded: it may allocate and wait. Throws like version(), and where the library
  // fails.
  virtual PreparedKernels prepare(const KernelNode& node) = 0;
};

void register_kernel_library(DeviceKind kind, std::unique_ptr<KernelLibrary> library);
// By name.
std::vector<KernelLibrary*> kernel_libraries(DeviceKind kind);

}  // namespace ladarts
