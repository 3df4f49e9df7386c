// Row by row: what the crop shows of a row is converted in one loop over neighbouring pixels, then turned.
#include "ops/augment.h"

#include "ops/cpu/parallel.h"

namespace ladarts {
namespace {

// in (H, W) -> out (H, W), one channel.
void augment_plane(const uint8_t* in, int height, int width, float factor, float black, int half_cut,
                   const AugmentChoice& choice, float* out) {
  const int cut_y0 = std::max(choice.cut_y - half_cut, 0), cut_y1 = std::min(choice.cut_y + half_cut, height);
  const int cut_x0 = std::max(choice.cut_x - half_cut, 0), cut_x1 = std::min(choice.cut_x + half_cut, width);
  // Columns of the cropped image that show the input.
  const int x0 = std::clamp(-choice.dx, 0, width), x1 = std::clamp(width - choice.dx, x0, width);
  for (int y = 0; y < height; ++y) {
    float* row = out + int64_t(y) * width;
    const int from = y + choice.dy;
    std::fill(row, row + width, black);
    if (from >= 0 && from < height) {
      const uint8_t* source = in + int64_t(from) * width + choice.dx;
      for (int x = x0; x < x1; ++x) row[x] = float(source[x]) * factor + black;
    }
    if (choice.flip) std::reverse(row, row + width);
    if (y >= cut_y0 && y < cut_y1 && cut_x1 > cut_x0) std::fill(row + cut_x0, row + cut_x1, 0.f);
  }
}

void augment_kernel(const Augment& op, const KernelArgs& a) {
  const Shape& shape = a.out_shape(0);
  const int64_t planes = shape[0] * shape[1], size = shape[2] * shape[3];
  const auto* images = a.in<uint8_t>(0);
  const auto* choices = a.in<AugmentChoice>(1);
  float* y = a.out(0);
  const int64_t grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, size));
  for_chunks(*a.pool, planes, grain, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const auto c = size_t(p % shape[1]);
      augment_plane(images + p * size, int(shape[2]), int(shape[3]), op.factor[c], op.black[c], op.half_cut,
                    choices[p / shape[1]], y + p * size);
    }
  });
}

LADARTS_CPU_KERNEL(Augment, augment_kernel)

}  // namespace
}  // namespace ladarts
