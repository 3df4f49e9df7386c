#include "ops/augment.h"

#include "cuda/elementwise.cuh"
#include "cuda/kernel.h"

namespace ladarts::cuda {
namespace {

// 5 bytes moved per element, and some ten integer divisions and comparisons; the choices of an image stay in
// the cache.
struct Augmented {
  const uint8_t* images;
  const AugmentChoice* choices;
  float factor[3], black[3];
  uint32_t height, width;
  int half_cut;
  __device__ float operator()(int64_t i) const {
    const uint32_t x = uint32_t(i) % width, row = uint32_t(i) / width, y = row % height, plane = row / height;
    const uint32_t c = plane % 3;
    const AugmentChoice& choice = choices[plane / 3];
    const int cy = int(y) - choice.cut_y, cx = int(x) - choice.cut_x;
    if (cy >= -half_cut && cy < half_cut && cx >= -half_cut && cx < half_cut) return 0.f;
    const int from_y = int(y) + choice.dy, from_x = int(choice.flip ? width - 1 - x : x) + choice.dx;
    if (from_y < 0 || from_y >= int(height) || from_x < 0 || from_x >= int(width)) return black[c];
    return float(images[(plane * height + uint32_t(from_y)) * width + uint32_t(from_x)]) * factor[c] +
           black[c];
  }
};

void augment_kernel(const Augment& op, const KernelArgs& a) {
  const Shape& shape = a.out_shape(0);
  size32(shape.elements());
  const auto& f = op.factor;
  const auto& b = op.black;
  elementwise(Augmented{a.in<uint8_t>(0),
                        a.in<AugmentChoice>(1),
                        {f[0], f[1], f[2]},
                        {b[0], b[1], b[2]},
                        uint32_t(shape[2]),
                        uint32_t(shape[3]),
                        op.half_cut},
              a.out(0), shape.elements(), a.accumulate(0), a.stream);
}

LADARTS_CUDA_KERNEL(Augment, augment_kernel)

}  // namespace
}  // namespace ladarts::cuda
