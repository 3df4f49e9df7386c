// From a batch of bytes to what a network sees, on the device that trains it: crop, flip, normalisation and
// cutout (DeVries and Taylor 2017), as DARTS trains on CIFAR.
#pragma once

#include <array>

#include "core/graph.h"

namespace ladarts {

// One image's random choices, a row of the op's input.
struct AugmentChoice {
  int32_t dy = 0, dx = 0;        // output pixel (y, x) shows input pixel (y + dy, x + dx), black outside
  int32_t flip = 0;              // not 0: mirrored left and right, after the crop
  int32_t cut_y = 0, cut_x = 0;  // centre of the erased square
};
constexpr int64_t kAugmentChoiceWords = sizeof(AugmentChoice) / sizeof(int32_t);

struct AugmentDesc {
  // A network sees (pixel / 255 - mean) / deviation, per channel.
  std::array<float, 3> mean{0, 0, 0}, deviation{1, 1, 1};
  int cutout = 0;  // side of the square that is erased (0 after normalisation), cut at the borders
};

// images (N, 3, H, W) u8, choices (N, 5) i32 -> (N, 3, H, W). It has no gradient.
Tensor augment(Tensor images, Tensor choices, const AugmentDesc& desc);

class Augment : public Op {  // (images u8, choices i32) -> (y)
 public:
  explicit Augment(const AugmentDesc& desc);
  std::string_view name() const override { return "augment"; }
  Cost cost(const NodeShapes& s) const override;

  // y = pixel * factor + black, in each channel.
  std::array<float, 3> factor, black;
  int half_cut;  // rows and columns [cut - half_cut, cut + half_cut) are erased
};

}  // namespace ladarts
