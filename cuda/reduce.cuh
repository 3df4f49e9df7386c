// Sums over whole tensors, in double and in an order that depends on the number of elements alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/simt.h"

namespace ladarts::cuda {
namespace {

constexpr int kReduceThreads = 256;

// The sum of all threads' values, in thread 0; the block has kReduceThreads threads, `part` as many doubles
// (2 KiB), which may be used again afterwards. A tree: log2(256) = 8 steps, a barrier after each.
__device__ inline double block_sum(double value, double* part) {
  const int t = int(threadIdx.x);
  part[t] = value;
  __syncthreads();
  for (int half = kReduceThreads / 2; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();
  }
  const double sum = part[0];
  __syncthreads();
  return sum;
}

// partial[b] = sum of f(i) over the b-th chunk of i in [0, n). One block per chunk; thread t takes elements
// t, t + 256, ... of it, so that a warp's accesses are consecutive. Reads what f reads once, writes 8 bytes
// per chunk. 2 KiB of dynamic shared memory. Run on the host only.
template <class F>
__global__ void chunk_sums_kernel(F f, int64_t n, int64_t chunk, double* partial) {
  SIMT_DYNAMIC_SHARED(double, part);
  const int64_t begin = int64_t(blockIdx.x) * chunk;
  const int64_t end = begin + chunk < n ? begin + chunk : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kReduceThreads) sum += double(f(i));
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// The sum of partial (chunks) goes to finish(sum), called once. One block: chunks are few. 2 KiB of dynamic
// shared memory. Run on the host only.
template <class G>
__global__ void finish_sum_kernel(const double* partial, int64_t chunks, G finish) {
  SIMT_DYNAMIC_SHARED(double, part);
  double sum = 0;
  for (int64_t c = threadIdx.x; c < chunks; c += kReduceThreads) sum += partial[c];
  sum = block_sum(sum, part);
  if (threadIdx.x == 0) finish(sum);
}

constexpr int64_t kSumChunk = 16384;

// What reduce() needs of KernelArgs::workspace for n elements.
inline size_t reduce_workspace_bytes(int64_t n) {
  return size_t((n + kSumChunk - 1) / kSumChunk) * sizeof(double);
}

// finish(sum of f(i) for i in [0, n)); workspace: reduce_workspace_bytes(n).
template <class F, class G>
void reduce(F f, int64_t n, std::byte* workspace, G finish, void* stream) {
  double* const partial = reinterpret_cast<double*>(workspace);
  const int64_t chunk = kSumChunk, chunks = (n + chunk - 1) / chunk;
  const size_t shared = kReduceThreads * sizeof(double);
  if (chunks > 0)
    simt::launch(chunk_sums_kernel<F>, dim3(unsigned(chunks)), dim3(kReduceThreads), shared, stream, f, n,
                 chunk, partial);
  simt::launch(finish_sum_kernel<G>, dim3(1), dim3(kReduceThreads), shared, stream, partial, chunks, finish);
}

}  // namespace
}  // namespace ladarts::cuda
