// A small image set that can be learnt, so that everything runs without a download: striped shapes at random
// places, in the layout of CIFAR-10.
#pragma once

#include <filesystem>
#include <functional>

#include "nas/data/dataset.h"

namespace ladarts {

// Ten classes: five shapes, each with stripes that rise or fall. Place, scale, colours, stripe phase and
// background vary and noise is added, so neither a pixel's brightness nor the mean colour tells the class.
struct SyntheticOptions {
  int64_t train = 4000, test = 1000;  // images; classes take turns
  int size = 32;                      // height and width, 8 to 256
  float noise = 0.1f;                 // standard deviation of each pixel, of 1 = white
  uint64_t seed = 0;
};

// Writes data_batch_1.bin .. data_batch_5.bin, test_batch.bin, batches.meta.txt and image_set.json into the
// folder (made where it is missing). The same options give the same bytes. A folder that holds other images
// is refused; one that was written with these options is left as it is; with others, or half-written, it is
// written anew. False where interrupted(): the folder is then half-written. `progress` is told of every
// image.
bool write_synthetic(const std::filesystem::path& folder, const SyntheticOptions& options,
                     const std::function<void(int64_t images)>& progress = {});

// One image (3, size, size); `stream` tells the images of one seed apart.
void draw_synthetic(int label, const SyntheticOptions& options, uint64_t stream, uint8_t* out);

}  // namespace ladarts
