#include "ops/augment.h"

#include "ops/checks.h"

namespace ladarts {

Tensor augment(Tensor images, Tensor choices, const AugmentDesc& desc) {
  require(bool(images) && images.dtype() == DType::u8 && images.rank() == 4 && images.dim(1) == 3,
          "[augment] images should be bytes of shape (N, 3, H, W)");
  require(bool(choices) && choices.dtype() == DType::i32 &&
              choices.shape() == Shape{images.dim(0), kAugmentChoiceWords},
          "[augment] choices should be i32 of shape ({}, {})", images.dim(0), kAugmentChoiceWords);
  require(desc.cutout >= 0, "[augment] cutout is {}; it should not be negative", desc.cutout);
  for (const float d : desc.deviation)
    require(d > 0, "[augment] a deviation is {}; it should be positive", d);
  return images.graph().add(std::make_shared<Augment>(desc), {images, choices}, {{images.shape()}})[0];
}

Augment::Augment(const AugmentDesc& desc) : half_cut(desc.cutout / 2) {
  for (size_t c = 0; c < 3; ++c) {
    factor[c] = 1.f / (255.f * desc.deviation[c]);
    black[c] = -desc.mean[c] / desc.deviation[c];
  }
}

Cost Augment::cost(const NodeShapes& s) const {
  const auto pixels = double(s.outputs[0].elements());
  return {.flops = 2 * pixels, .bytes_moved = (1 + sizeof(float)) * pixels};
}

}  // namespace ladarts
