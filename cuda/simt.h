// The one header of a kernel file. For nvcc it is the CUDA runtime; for any other compiler it is the host
// layer under cuda/host/, which runs the same kernel text on the CPU: see docs/cuda.md. Kernels use what both
// offer, and these names:
//   simt::launch(kernel, grid, block, shared_bytes, stream, args...)   checked; never synchronises
//   SIMT_DYNAMIC_SHARED(float, tile)                                  a pointer to the block's dynamic shared
//   memory
// A kernel and its helpers live in an anonymous namespace.
#pragma once

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#include <string>

#include "core/error.h"

// Arrays of two element types under one extern name would clash, hence bytes.
#define SIMT_DYNAMIC_SHARED(T, name)                               \
  extern __shared__ __align__(16) unsigned char dynamic_shared_[]; \
  T* const name = reinterpret_cast<T*>(dynamic_shared_)

namespace ladarts::simt {

inline constexpr size_t kSharedByDefault = 48 * 1024;  // bytes; beyond it a kernel has to ask

inline void require_success(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw Error(std::string("[cuda] ") + what + ": " + cudaGetErrorString(status) + " (" +
                cudaGetErrorName(status) + ")");  // nvcc does not compile fmt's checked format strings
}

// `stream` is a cudaStream_t; null is the default stream.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, void* stream, A... args) {
  if (shared_bytes > kSharedByDefault)
    require_success(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                         cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared_bytes)),
                    "dynamic shared memory");
  kernel<<<grid, block, shared_bytes, static_cast<cudaStream_t>(stream)>>>(static_cast<P>(args)...);
  require_success(cudaGetLastError(), "launch");
}

}  // namespace ladarts::simt

#else

#include "cuda/host/names.h"

#endif
