// Batches of augmented images, made ahead on a thread.
#pragma once

#include <memory>
#include <span>

#include "nas/data/augment.h"
#include "nas/data/dataset.h"
#include "nas/data/prefetcher.h"

namespace ladarts {

// The label of a row that only fills up the last batch of an epoch; its image is all zeros.
constexpr int32_t kPaddingLabel = -1;

struct Batch {
  int64_t epoch = 0, index = 0;     // which batch of which epoch this is
  int64_t count = 0;                // rows that are samples; the rest is padding
  std::span<const float> images;    // (batch_size, 3, size, size)
  std::span<const int32_t> labels;  // (batch_size)
};

struct LoaderOptions {
  int64_t batch_size = 64;
  bool shuffle = true;    // a new order each epoch, by (seed, epoch); else as the indices are given
  bool drop_last = true;  // leaves an epoch's last samples out where they do not fill a batch; else pads
  Augmentation augmentation = {};
  uint64_t seed = 0;
  int batches_ahead = 2;
};

// An endless stream of batches, epoch after epoch. Every value is a function of dataset, options and position
// alone. Memory: (1 + batches_ahead) batches.
class BatchLoader {
 public:
  // Draws from images[i] for i in indices. Throws Error where an index does not exist, or no batch can be
  // made.
  BatchLoader(std::shared_ptr<const ImageSet> images, Normalisation normalisation,
              std::vector<int32_t> indices, LoaderOptions options);

  // Valid until the next call of next() or seek().
  Batch next();
  // next() returns this batch. A resumed run sees the bits it would have seen.
  void seek(int64_t epoch, int64_t index);

  int64_t batches_per_epoch() const { return batches_; }
  int64_t samples_per_epoch() const;  // those that next() hands out
  int64_t batch_size() const { return options_.batch_size; }

 private:
  struct Slot {
    std::vector<float> images;
    std::vector<int32_t> labels;
    int64_t epoch, index, count;
  };
  void fill(int64_t position, Slot& slot);
  void order_epoch(int64_t epoch);

  std::shared_ptr<const ImageSet> images_;
  Normalisation normalisation_;
  std::vector<int32_t> indices_;
  LoaderOptions options_;
  int64_t batches_;
  // The background thread's: the order of the epoch that it is in.
  std::vector<int32_t> order_;
  int64_t ordered_epoch_ = -1;
  Prefetcher<Slot> prefetcher_;  // last: its thread uses all of the above
};

}  // namespace ladarts
