// Matrix products in shared-memory tiles, over operands that need not lie in memory as matrices: A, B and C
// are small structs that read or write one element. Convolutions gather their patches this way, without
// writing them out.
#pragma once

#include <cstdint>

#include "cuda/simt.h"

namespace ladarts::cuda {
namespace {

constexpr int kGemmThreads = 256;
constexpr int kGemmDepth = 16;      // of a tile
constexpr int kGemmPadding = 4;     // floats after each row of a tile: other banks, still 16-byte aligned
constexpr int kGemmOutputs = 4096;  // of a block: 4 x 4 for each thread

// The element of a tile of `width` columns and kGemmDepth deep that a thread loads: next to each other where
// memory is.
template <int width, bool along_depth>
__device__ inline void tile_position(int e, int* k, int* i) {
  *k = along_depth ? e % kGemmDepth : e / width;
  *i = along_depth ? e / kGemmDepth : e % width;
}

// c(z, m, n, sum over k < depth of a(z, m, k) * b(z, k, n)) for m < rows, n < columns; z is blockIdx.z.
// A block computes TM x TN outputs, each thread 4 x 4 of them in registers. Per step of 16 it loads (TM + TN)
// * 16 floats for TM * TN * 16 multiply-adds: with 64 x 64, 32 of these for each float read. `along_depth` of
// A and B says that elements of neighbouring k are neighbours in memory, so that a warp's loads are. Grid
// (columns / TN, rows / TM, z). Shared memory: 16 * (TM + TN + 8) * 4 bytes, 8.5 KiB for 64 x 64. Run on the
// host only.
template <int TM, int TN, class A, class B, class C>
__global__ void __launch_bounds__(kGemmThreads)
    gemm_kernel(A a, B b, C c, uint32_t rows, uint32_t columns, uint32_t depth) {
  SIMT_DYNAMIC_SHARED(float, tile_a);
  float* const tile_b = tile_a + kGemmDepth * (TM + kGemmPadding);
  const int t = int(threadIdx.x);
  const uint32_t z = blockIdx.z, m0 = blockIdx.y * TM, n0 = blockIdx.x * TN;
  const int my_m = t / (TN / 4) * 4, my_n = t % (TN / 4) * 4;
  float sum[4][4] = {};
  for (uint32_t k0 = 0; k0 < depth; k0 += kGemmDepth) {
    for (int e = t; e < TM * kGemmDepth; e += kGemmThreads) {
      int k, m;
      tile_position<TM, A::along_depth>(e, &k, &m);
      const bool inside = m0 + uint32_t(m) < rows && k0 + uint32_t(k) < depth;
      tile_a[k * (TM + kGemmPadding) + m] = inside ? a(z, m0 + uint32_t(m), k0 + uint32_t(k)) : 0.f;
    }
    for (int e = t; e < TN * kGemmDepth; e += kGemmThreads) {
      int k, n;
      tile_position<TN, B::along_depth>(e, &k, &n);
      const bool inside = n0 + uint32_t(n) < columns && k0 + uint32_t(k) < depth;
      tile_b[k * (TN + kGemmPadding) + n] = inside ? b(z, k0 + uint32_t(k), n0 + uint32_t(n)) : 0.f;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kGemmDepth; ++k) {
      const float* const pa = tile_a + k * (TM + kGemmPadding) + my_m;
      const float* const pb = tile_b + k * (TN + kGemmPadding) + my_n;
      const float4 va = *reinterpret_cast<const float4*>(pa), vb = *reinterpret_cast<const float4*>(pb);
      const float x[4] = {va.x, va.y, va.z, va.w}, y[4] = {vb.x, vb.y, vb.z, vb.w};
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sum[i][j] += x[i] * y[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t m = m0 + uint32_t(my_m + i), n = n0 + uint32_t(my_n + j);
      if (m < rows && n < columns) c(z, m, n, sum[i][j]);
    }
}

template <int TM, class A, class B, class C>
void gemm_tiled(A a, B b, C c, uint32_t rows, uint32_t columns, uint32_t depth, uint32_t batches,
                void* stream) {
  constexpr int TN = kGemmOutputs / TM;
  const dim3 grid((columns + TN - 1) / TN, (rows + TM - 1) / TM, batches);
  const size_t shared = size_t(kGemmDepth) * (TM + TN + 2 * kGemmPadding) * sizeof(float);
  simt::launch(gemm_kernel<TM, TN, A, B, C>, grid, dim3(kGemmThreads), shared, stream, a, b, c, rows, columns,
               depth);
}

// As gemm_kernel, `batches` times; few rows (channels) take flat tiles.
template <class A, class B, class C>
void gemm(A a, B b, C c, int64_t rows, int64_t columns, int64_t depth, int64_t batches, void* stream) {
  if (rows == 0 || columns == 0 || batches == 0) return;
  const auto m = uint32_t(rows), n = uint32_t(columns), k = uint32_t(depth), z = uint32_t(batches);
  if (rows <= 16)
    gemm_tiled<16>(a, b, c, m, n, k, z, stream);
  else if (rows <= 32)
    gemm_tiled<32>(a, b, c, m, n, k, z, stream);
  else
    gemm_tiled<64>(a, b, c, m, n, k, z, stream);
}

// What becomes of a product in a matrix of `columns` columns.
struct StoreMatrix {
  float* y;
  uint32_t columns;
  const float* bias;  // one per column; null: none
  bool add;
  __device__ void operator()(uint32_t, uint32_t m, uint32_t n, float v) const {
    float& to = y[int64_t(m) * columns + n];
    to = (add ? to + v : v) + (bias ? bias[n] : 0.f);
  }
};

// x[i, k] of a matrix with rows of `stride`; Transposed: x[k, i].
struct Rows {
  static constexpr bool along_depth = true;
  const float* x;
  uint32_t stride;
  __device__ float operator()(uint32_t, uint32_t i, uint32_t k) const { return x[int64_t(i) * stride + k]; }
};
struct TransposedRows {
  static constexpr bool along_depth = false;
  const float* x;
  uint32_t stride;
  __device__ float operator()(uint32_t, uint32_t i, uint32_t k) const { return x[int64_t(k) * stride + i]; }
};
// The same as the right operand, whose arguments come as (k, n).
template <class M>
struct Right {
  static constexpr bool along_depth = M::along_depth;
  M matrix;
  __device__ float operator()(uint32_t z, uint32_t k, uint32_t n) const { return matrix(z, n, k); }
};

}  // namespace
}  // namespace ladarts::cuda
