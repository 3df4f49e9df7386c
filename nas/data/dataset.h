// Labelled images in memory, as they are on disk: one byte per channel and pixel.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ladarts {

constexpr int kImageChannels = 3;

struct ImageSet {
  int size = 32;                // height and width
  std::vector<uint8_t> images;  // (N, 3, size, size)
  std::vector<uint8_t> labels;  // (N), each below classes.size()
  std::vector<std::string> classes;

  int64_t count() const { return int64_t(labels.size()); }
  size_t image_bytes() const { return size_t(kImageChannels) * size_t(size) * size_t(size); }
  const uint8_t* image(int64_t i) const {
    return images.data() + size_t(i) * image_bytes();
  }  // (3, size, size)
};

// Differs where any pixel or label does.
std::string fingerprint(const ImageSet& images);

// What a network sees is (pixel / 255 - mean) / deviation, per channel.
struct Normalisation {
  std::array<float, kImageChannels> mean{0, 0, 0};
  std::array<float, kImageChannels> deviation{1, 1, 1};
};

// The constants of the DARTS programs for CIFAR-10.
constexpr Normalisation kCifar10Normalisation{{.49139968f, .48215827f, .44653124f},
                                              {.24703233f, .24348505f, .26158768f}};
// Mean and deviation of all pixels, each channel's.
Normalisation measure_normalisation(const ImageSet& images);

struct ImageSets {
  ImageSet train, test;
  Normalisation normalisation;
};

// Indices 0 .. count-1, or the first `limit` of them where limit > 0.
std::vector<int32_t> first_images(int64_t count, int64_t limit = 0);
// Shuffles by the seed and cuts: round(fraction * size) indices, then the rest.
std::pair<std::vector<int32_t>, std::vector<int32_t>> split_indices(std::vector<int32_t> indices,
                                                                    double fraction, uint64_t seed);

// Fisher-Yates by (seed, stream).
void shuffle_indices(std::span<int32_t> indices, uint64_t seed, uint64_t stream);

}  // namespace ladarts
