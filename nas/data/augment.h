// Which augmentation each image of an epoch gets: random crop, flip, cutout. ops/augment.h applies it.
#pragma once

#include <cstdint>

#include "ops/augment.h"

namespace ladarts {

struct Augmentation {
  int crop_padding = 0;  // pad with black by so many pixels on each side, then crop the old size at random
  bool flip = false;     // mirror left and right, with probability one half
  int cutout = 0;        // erase a square of this side around a random pixel, cut at the borders

  // The CIFAR protocol: pad 4, flip, and cutout where asked for.
  static Augmentation cifar(int cutout = 0) { return {4, true, cutout}; }
};

// A function of its arguments alone: the same for any thread, order or point of resumption.
AugmentChoice choose_augmentation(const Augmentation& augmentation, int size, uint64_t seed, int64_t epoch,
                                  int64_t sample);

}  // namespace ladarts
