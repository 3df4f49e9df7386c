// From loaded batches to the memory that programs read.
#pragma once

#include <memory>

#include "core/storage.h"
#include "nas/data/loader.h"

namespace ladarts {

// Images together with how they are normalised.
struct ImageSource {
  std::shared_ptr<const ImageSet> dataset;
  Normalisation normalisation;
};

// Images (N, 3, H, W) and labels (N) i32 of one step, in the device's memory; written before the step runs.
struct StepBatch {
  Storage images, labels;

  static StepBatch create(int64_t batch, int64_t size, Device device);
};

inline StepBatch StepBatch::create(int64_t batch, int64_t size, Device device) {
  return {Storage::create({batch, kImageChannels, size, size}, DType::f32, device),
          Storage::create({batch}, DType::i32, device)};
}

inline void upload(const Batch& from, const StepBatch& to) {
  to.images.upload(from.images);
  to.labels.upload(from.labels);
}

}  // namespace ladarts
