#include "ops/scaled_channels.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// factors[c] * g[n, c * step] + offsets[c]: 8 bytes moved per element.
struct ScaledChannel {
  const float *g, *factors, *offsets;  // offsets null: 0
  uint32_t from_channels, channels, pixels, step;
  __device__ float operator()(int64_t at) const {
    const uint32_t i = uint32_t(at), p = i % pixels, c = i / pixels % channels, n = i / pixels / channels;
    return factors[c] * g[(int64_t(n) * from_channels + c * step) * pixels + p] +
           (offsets ? offsets[c] : 0.f);
  }
};

void scaled_channels(const ScaledChannels& op, const KernelArgs& a) {
  const Shape &from = a.in_shape(0), &to = a.out_shape(0);
  const float* offsets = op.offset_row >= 0 ? a.in(1) + op.offset_row * to[1] : nullptr;
  elementwise(ScaledChannel{a.in(0), a.in(1) + op.row * to[1], offsets, size32(from[1]), size32(to[1]),
                            size32(to[2] * to[3]), uint32_t(op.step)},
              a.out(0), size32(to.elements()), a.accumulate(0), a.stream);
}

LADARTS_CUDA_KERNEL(ScaledChannels, scaled_channels)

}  // namespace
}  // namespace ladarts::cuda
