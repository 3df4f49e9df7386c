// What a kernel is given, and where kernels register. A kernel is found by the type of its op and the device;
// CPU kernels exist once per instruction set (their files are compiled once for each) and the best that the
// machine supports is taken.
#pragma once

#include <string>
#include <typeindex>
#include <vector>

#include "core/device.h"
#include "core/op.h"

namespace ladarts {

class ThreadPool;

struct KernelArgs {
  const Shape* input_shapes;
  const Shape* output_shapes;
  void* const* inputs;  // pointers of all operands, resolved at compile time
  void* const* outputs;
  const uint8_t* accumulates;  // per output
  std::byte* workspace;        // Op::workspace_bytes(), 64-byte aligned; null where none was asked for
  ThreadPool* pool;
  void* stream;  // where a device other than the CPU queues its work; null is its default
  int n_inputs;
  int n_outputs;

  template <class T = float>
  const T* in(int i) const {
    return static_cast<const T*>(inputs[i]);
  }
  template <class T = float>
  T* out(int i) const {
    return static_cast<T*>(outputs[i]);
  }
  // An input listed in Node::updates.
  template <class T = float>
  T* updated(int i) const {
    return static_cast<T*>(inputs[i]);
  }
  const Shape& in_shape(int i) const { return input_shapes[i]; }
  const Shape& out_shape(int i) const { return output_shapes[i]; }
  bool accumulate(int output) const { return accumulates[output] != 0; }
};

using Kernel = void (*)(const Op&, const KernelArgs&);

enum class CpuIsa : uint8_t { baseline, avx2, avx512 };

const char* to_string(CpuIsa isa);
CpuIsa best_cpu_isa();     // of this machine
CpuIsa current_cpu_isa();  // the best, or what LADARTS_ISA (baseline, avx2, avx512) names
void set_cpu_isa(
    CpuIsa isa);  // for tests; throws Error where the machine lacks it. Affects later compile() calls.

// Whether the machine has vectors of 64 bytes and executes them whole; Zen 4 and the mobile Zen 5 take it in
// two halves. LADARTS_WHOLE_VECTORS=0 or 1 says so instead; throws Error where that is something else.
bool whole_vectors();

void register_cpu_kernel(std::type_index op, CpuIsa isa, Kernel kernel);
// The kernel for `op` of the best instruction set up to `isa`. Throws Error naming the op where none is
// linked.
Kernel find_cpu_kernel(const Op& op, CpuIsa isa);

// A kernel of a device other than the CPU: the pointers in KernelArgs are device pointers, and it queues its
// work on the stream without waiting for it.
struct DeviceKernel {
  Kernel run = nullptr;
  // Bytes of KernelArgs::workspace, in the device's memory; null: none.
  size_t (*workspace)(const Op&, const NodeShapes&) = nullptr;
};

void register_device_kernel(std::type_index op, DeviceKind kind, DeviceKernel kernel);
// Throws Error naming the op where none is linked.
const DeviceKernel& find_device_kernel(const Op& op, DeviceKind kind);

// In a file under ops/cpu/, at namespace scope, after `void relu(const Relu& op, const KernelArgs& a)`:
//   LADARTS_CPU_KERNEL(Relu, relu)
template <class O, void (*kernel)(const O&, const KernelArgs&)>
struct CpuKernelRegistration {
  explicit CpuKernelRegistration(CpuIsa isa) {
    register_cpu_kernel(typeid(O), isa,
                        [](const Op& op, const KernelArgs& a) { kernel(static_cast<const O&>(op), a); });
  }
};
#define LADARTS_CPU_KERNEL(OpType, function)                                     \
  const ::ladarts::CpuKernelRegistration<OpType, &function> register_##function( \
      ::ladarts::CpuIsa::LADARTS_ISA);

}  // namespace ladarts
