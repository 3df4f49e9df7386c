#include "nas/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/fingerprint.h"
#include "core/philox.h"
#include "nas/data/random_streams.h"

namespace ladarts {

Normalisation measure_normalisation(const ImageSet& images) {
  const size_t plane = size_t(images.size) * size_t(images.size);
  const double pixels = double(plane) * double(images.count());
  Normalisation result;
  for (int c = 0; c < kImageChannels; ++c) {
    uint64_t sum = 0, squares = 0;  // exact: 2^64 holds 2^48 squares of a byte
    for (int64_t i = 0; i < images.count(); ++i) {
      const uint8_t* p = images.image(i) + size_t(c) * plane;
      for (size_t k = 0; k < plane; ++k) sum += p[k], squares += uint64_t(p[k]) * p[k];
    }
    const double mean = pixels > 0 ? double(sum) / pixels : 0;
    const double variance = pixels > 0 ? double(squares) / pixels - mean * mean : 0;
    result.mean[c] = float(mean / 255);
    // A channel that is (almost) constant is not blown up.
    result.deviation[c] = float(std::sqrt(std::max(variance, 1.0)) / 255);
  }
  return result;
}

std::string fingerprint(const ImageSet& images) {
  return Fingerprint()
      .add(std::as_bytes(std::span(images.images)))
      .add(std::as_bytes(std::span(images.labels)))
      .str();
}

std::vector<int32_t> first_images(int64_t count, int64_t limit) {
  require(limit <= count, "[data] {} images were asked for, the set has {}", limit, count);
  std::vector<int32_t> indices(size_t(limit > 0 ? limit : count));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

std::pair<std::vector<int32_t>, std::vector<int32_t>> split_indices(std::vector<int32_t> indices,
                                                                    double fraction, uint64_t seed) {
  require(fraction >= 0 && fraction <= 1, "[data] the share of a split is {}; it should be between 0 and 1",
          fraction);
  shuffle_indices(indices, seed, random_stream(RandomUse::split));
  const auto cut = indices.begin() + std::llround(fraction * double(indices.size()));
  return {std::vector<int32_t>(indices.begin(), cut), std::vector<int32_t>(cut, indices.end())};
}

void shuffle_indices(std::span<int32_t> indices, uint64_t seed, uint64_t stream) {
  Random random(seed, stream);
  for (size_t i = indices.size(); i > 1; --i) std::swap(indices[i - 1], indices[random.below(uint32_t(i))]);
}

}  // namespace ladarts
