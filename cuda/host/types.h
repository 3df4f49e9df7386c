// CUDA's vector types, as far as kernels here use them, and the variables that tell a thread who it is.
#pragma once

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}

// Rewritten whenever another thread of the block goes on.
inline uint3 threadIdx{0, 0, 0};
inline uint3 blockIdx{0, 0, 0};
inline uint3 blockDim{1, 1, 1};
inline uint3 gridDim{1, 1, 1};
inline constexpr int warpSize = 32;
