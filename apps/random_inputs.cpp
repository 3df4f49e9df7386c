#include "apps/random_inputs.h"

#include <vector>

#include "core/philox.h"

namespace ladarts {

void fill_images(const Storage& images, uint64_t seed) {
  Random random(seed, 0x62656e6368);  // stream "bench"
  std::vector<float> pixels(size_t(images.shape().elements()));
  for (float& v : pixels) v = random.uniform(-1.7f, 1.7f);
  images.upload(std::span<const float>(pixels));
}

void fill_batch(const StepBatch& batch, int classes, uint64_t seed) {
  Random bytes(seed, 0x6279746573);  // stream "bytes"
  std::vector<uint8_t> pixels(size_t(batch.images().shape().elements()));
  for (uint8_t& p : pixels) p = uint8_t(bytes.bits());
  batch.images().upload(std::span<const uint8_t>(pixels));
  Random random(seed, 0x6c6162656c);  // stream "label"
  std::vector<int32_t> labels(size_t(batch.labels().shape().elements()));
  for (int32_t& v : labels) v = int32_t(random.below(uint32_t(classes)));
  batch.labels().upload(std::span<const int32_t>(labels));
}

}  // namespace ladarts
