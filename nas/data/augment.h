// From bytes to what a network sees: random crop, flip, normalisation, cutout.
#pragma once

#include <cstdint>

#include "nas/data/dataset.h"

namespace ladarts {

struct Augmentation {
  int crop_padding = 0;  // pad with black by so many pixels on each side, then crop the old size at random
  bool flip = false;     // mirror left and right, with probability one half
  int cutout = 0;        // erase a square of this side around a random pixel, cut at the borders

  // The CIFAR protocol: pad 4, flip, and cutout where asked for.
  static Augmentation cifar(int cutout = 0) { return {4, true, cutout}; }
};

// One sample's random choices.
struct AugmentChoice {
  int dy = 0, dx = 0;        // output pixel (y, x) shows input pixel (y + dy, x + dx), black outside
  bool flip = false;         // applied after the crop
  int cut_y = 0, cut_x = 0;  // centre of the erased square
};

// A function of its arguments alone: the same for any thread, order or point of resumption.
AugmentChoice choose_augmentation(const Augmentation& augmentation, int size, uint64_t seed, int64_t epoch,
                                  int64_t sample);

// Crop, flip, normalise, cutout, in this order (an erased pixel is 0 after normalisation).
// in (3, size, size) -> out (3, size, size)
void augment_image(const uint8_t* in, int size, const Normalisation& normalisation,
                   const Augmentation& augmentation, const AugmentChoice& choice, float* out);

}  // namespace ladarts
