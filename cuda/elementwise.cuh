// One value per element, for every op whose output depends on single elements of its inputs.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "cuda/simt.h"

namespace ladarts::cuda {
namespace {

constexpr int kElementThreads = 256;
constexpr int64_t kElementBlocks = 4096;  // at most; beyond that a thread takes several elements

// y[i] = f(i), or += f(i) where `add` is set; y (n). Thread t of block b takes elements b * 256 + t and every
// (256 * blocks)-th after it, so that a warp's accesses are consecutive. Moves 4 bytes per element written, 4
// more where it adds, and what f reads. No shared memory. Run on the host only.
template <class F>
__global__ void elementwise_kernel(F f, float* y, int64_t n, bool add) {
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride)
    y[i] = add ? y[i] + f(i) : f(i);
}

// F is a small struct of pointers and numbers with `__device__ float operator()(int64_t i) const`.
template <class F>
void elementwise(F f, float* y, int64_t n, bool add, void* stream) {
  if (n == 0) return;
  const int64_t wanted = (n + kElementThreads - 1) / kElementThreads;
  const int64_t blocks = wanted < kElementBlocks ? wanted : kElementBlocks;
  simt::launch(elementwise_kernel<F>, dim3(unsigned(blocks)), dim3(kElementThreads), 0, stream, f, y, n, add);
}

// f(i) for every i in [0, n): for ops that write more than one array. Mapping as above. Run on the host only.
template <class F>
__global__ void each_kernel(F f, int64_t n) {
  const int64_t stride = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) f(i);
}

template <class F>
void for_each(F f, int64_t n, void* stream) {
  if (n == 0) return;
  const int64_t wanted = (n + kElementThreads - 1) / kElementThreads;
  const int64_t blocks = wanted < kElementBlocks ? wanted : kElementBlocks;
  simt::launch(each_kernel<F>, dim3(unsigned(blocks)), dim3(kElementThreads), 0, stream, f, n);
}

// A size that kernels divide by or index within, in the 32 bits in which GPUs divide fast. Throws Error for
// more.
inline uint32_t size32(int64_t n) {
  if (n > 0xffffffffll) throw Error("[cuda] a tensor has more than 2^32 elements; reduce the batch size");
  return uint32_t(n);
}

}  // namespace
}  // namespace ladarts::cuda
