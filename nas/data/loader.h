// Batches of images and of what augments them, gathered ahead on a thread.
#pragma once

#include <memory>
#include <span>

#include "nas/data/augment.h"
#include "nas/data/prefetcher.h"
#include "nas/data/step_batch.h"

namespace ladarts {

// The label of a row that only fills up the last batch of an epoch; its image is black.
constexpr int32_t kPaddingLabel = -1;

struct Batch {
  int64_t epoch = 0, index = 0;            // which batch of which epoch this is
  int64_t count = 0;                       // rows that are samples; the rest is padding
  std::span<const uint8_t> images;         // (batch_size, 3, size, size)
  std::span<const AugmentChoice> choices;  // (batch_size)
  std::span<const int32_t> labels;         // (batch_size)
};

struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;    // a new order each epoch, by (seed, epoch); else as the indices are given
  bool drop_last = true;  // leaves an epoch's last samples out where they do not fill a batch; else pads
  Augmentation augmentation = {};
  uint64_t seed = 0;
  int batches_ahead = 2;
  Device device{};  // where batches go: they wait in memory that it copies from by itself
};

// An endless stream of batches, epoch after epoch. Every value is a function of dataset, options and position
// alone. Memory: (1 + batches_ahead) batches.
class BatchLoader {
 public:
  // Draws from images[i] for i in indices. Throws Error where an index does not exist, or no batch can be
  // made.
  BatchLoader(std::shared_ptr<const ImageSet> images, std::vector<int32_t> indices, LoaderOptions options);

  // Valid until the next call of next() or seek().
  Batch next();
  // The same, and its copy into `to`, of the same device and shape, is queued there; nothing waits for it.
  Batch next_into(const StepBatch& to);
  // next() returns this batch. A resumed run sees the bits it would have seen.
  void seek(int64_t epoch, int64_t index);

  int64_t batches_per_epoch() const { return batches_; }
  int64_t samples_per_epoch() const;  // those that next() hands out
  int64_t batch_size() const { return options_.batch_size; }

 private:
  struct Slot {
    std::unique_ptr<HostBuffer> memory;  // laid out by BatchLayout
    StagedUpload upload;                 // out of it
    int64_t epoch, index, count;
  };
  void fill(int64_t position, Slot& slot);
  void order_epoch(int64_t epoch);
  Batch view(const Slot& slot) const;

  std::shared_ptr<const ImageSet> images_;
  std::vector<int32_t> indices_;
  LoaderOptions options_;
  BatchLayout layout_;
  int64_t batches_;
  // The background thread's: the order of the epoch that it is in.
  std::vector<int32_t> order_;
  int64_t ordered_epoch_ = -1;
  Prefetcher<Slot> prefetcher_;  // last: its thread uses all of the above
};

}  // namespace ladarts
