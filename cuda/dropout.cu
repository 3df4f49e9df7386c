#include "ops/dropout.h"

#include "core/philox.h"
#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// The number in [0, 1) of position i; `state` is that of RandomState, in device memory.
__device__ inline float number_at(const int32_t* state, uint32_t stream, uint64_t i) {
  const uint64_t seed = uint64_t(uint32_t(state[1])) << 32 | uint32_t(state[0]);
  const uint64_t step = uint64_t(uint32_t(state[3])) << 32 | uint32_t(state[2]);
  const Philox4 words = philox(seed, step, uint64_t(stream | 0x80000000u) << 32 | i / 4);
  return uniform01(words[i % 4]);
}

// Ten rounds of two multiplications for each element, of which a block of four numbers gives one: 8 bytes
// moved and some 80 integer operations per element.
struct Dropped {
  const float* x;
  const int32_t* state;
  float rate;
  uint32_t stream;
  __device__ float operator()(int64_t i) const {
    return number_at(state, stream, uint64_t(i)) >= rate ? x[i] * (1.f / (1.f - rate)) : 0.f;
  }
};

// The same for whole samples of `size` elements; the rate is read on the device.
struct DroppedSamples {
  const float *x, *rate;
  const int32_t* state;
  uint32_t stream, size;
  __device__ float operator()(int64_t i) const {
    const float r = *rate;
    const float factor = number_at(state, stream, uint32_t(i) / size) >= r ? 1.f / (1.f - r) : 0.f;
    return factor * x[i];
  }
};

void dropout_kernel(const Dropout& op, const KernelArgs& a) {
  elementwise(Dropped{a.in(0), a.in<int32_t>(1), op.rate, op.stream}, a.out(0), a.out_shape(0).elements(),
              a.accumulate(0), a.stream);
}

void drop_path_kernel(const DropPath& op, const KernelArgs& a) {
  const int64_t n = a.in_shape(0).elements();
  if (n == 0) return;
  size32(n);
  elementwise(DroppedSamples{a.in(0), a.in(1), a.in<int32_t>(2), op.stream, size32(n / a.in_shape(0)[0])},
              a.out(0), n, a.accumulate(0), a.stream);
}

LADARTS_CUDA_KERNEL(Dropout, dropout_kernel)
LADARTS_CUDA_KERNEL(DropPath, drop_path_kernel)

}  // namespace
}  // namespace ladarts::cuda
