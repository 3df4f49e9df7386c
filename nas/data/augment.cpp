#include "nas/data/augment.h"

#include <algorithm>

#include "core/philox.h"
#include "nas/data/random_streams.h"

namespace ladarts {

namespace {

// [0, n) from the upper bits of 32 random ones.
int below(uint32_t bits, int n) {
  return int((uint64_t(bits) * uint64_t(n)) >> 32);
}

}  // namespace

AugmentChoice choose_augmentation(const Augmentation& augmentation, int size, uint64_t seed, int64_t epoch,
                                  int64_t sample) {
  const Philox4 bits = philox(seed, random_stream(RandomUse::augment, uint64_t(epoch)), uint64_t(sample));
  AugmentChoice choice;
  const int pad = augmentation.crop_padding;
  choice.dy = below(bits[0], 2 * pad + 1) - pad;
  choice.dx = below(bits[1], 2 * pad + 1) - pad;
  choice.flip = augmentation.flip && (bits[0] & 1) != 0;  // dy took the upper bits
  if (augmentation.cutout > 0) {
    choice.cut_y = below(bits[2], size);
    choice.cut_x = below(bits[3], size);
  }
  return choice;
}

void augment_image(const uint8_t* in, int size, const Normalisation& normalisation,
                   const Augmentation& augmentation, const AugmentChoice& choice, float* out) {
  const int half = augmentation.cutout / 2;
  const int cut_y0 = std::max(choice.cut_y - half, 0), cut_y1 = std::min(choice.cut_y + half, size);
  const int cut_x0 = std::max(choice.cut_x - half, 0), cut_x1 = std::min(choice.cut_x + half, size);
  // Columns of the cropped image that show the input.
  const int x0 = std::clamp(-choice.dx, 0, size), x1 = std::clamp(size - choice.dx, x0, size);
  for (int c = 0; c < kImageChannels; ++c) {
    const float factor = 1.f / (255.f * normalisation.deviation[c]);
    const float black = -normalisation.mean[c] / normalisation.deviation[c];
    for (int y = 0; y < size; ++y) {
      float* row = out + (int64_t(c) * size + y) * size;
      const int from = y + choice.dy;
      std::fill(row, row + size, black);
      if (from >= 0 && from < size) {
        const uint8_t* source = in + (int64_t(c) * size + from) * size + choice.dx;
        for (int x = x0; x < x1; ++x) row[x] = float(source[x]) * factor + black;
      }
      if (choice.flip) std::reverse(row, row + size);
      if (y >= cut_y0 && y < cut_y1 && cut_x1 > cut_x0) std::fill(row + cut_x0, row + cut_x1, 0.f);
    }
  }
}

}  // namespace ladarts
