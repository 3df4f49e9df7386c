#include "nas/data/augment.h"

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
  choice.flip = augmentation.flip && (bits[0] & 1) != 0 ? 1 : 0;  // dy took the upper bits
  if (augmentation.cutout > 0) {
    choice.cut_y = below(bits[2], size);
    choice.cut_x = below(bits[3], size);
  }
  return choice;
}

}  // namespace ladarts
