#include "nas/data/loader.h"

#include <algorithm>

#include "core/error.h"
#include "nas/data/random_streams.h"

namespace ladarts {

namespace {

int64_t count_batches(const ImageSet& images, const std::vector<int32_t>& indices,
                      const LoaderOptions& options) {
  const int64_t n = int64_t(indices.size()), size = options.batch_size;
  require(size > 0, "[loader] the batch size is {}; it should be positive", size);
  require(options.batches_ahead > 0, "[loader] {} batches ahead; at least one is needed",
          options.batches_ahead);
  require(options.augmentation.crop_padding >= 0 && options.augmentation.cutout >= 0,
          "[loader] crop padding {} and cutout {} should not be negative", options.augmentation.crop_padding,
          options.augmentation.cutout);
  for (int32_t i : indices)
    require(i >= 0 && i < images.count(), "[loader] image {} was asked for, the set has {}", i,
            images.count());
  require(n > 0, "[loader] there are no images to load");
  require(n >= size || !options.drop_last,
          "[loader] a batch of {} needs as many images, there are {}; use a smaller batch or more images",
          size, n);
  return options.drop_last ? n / size : (n + size - 1) / size;
}

}  // namespace

BatchLoader::BatchLoader(std::shared_ptr<const ImageSet> images, std::vector<int32_t> indices,
                         LoaderOptions options)
    : images_(std::move(images)),
      indices_(std::move(indices)),
      options_(options),
      layout_{options_.batch_size, images_->size},
      batches_(count_batches(*images_, indices_, options_)),
      order_(indices_),
      prefetcher_(1 + options_.batches_ahead,
                  [this](int64_t position, Slot& slot) { fill(position, slot); }) {}

int64_t BatchLoader::samples_per_epoch() const {
  return std::min(batches_ * options_.batch_size, int64_t(indices_.size()));
}

Batch BatchLoader::view(const Slot& slot) const {
  const std::byte* block = slot.memory->data();
  const auto rows = size_t(layout_.rows);
  return {slot.epoch,
          slot.index,
          slot.count,
          {reinterpret_cast<const uint8_t*>(block), rows * images_->image_bytes()},
          {reinterpret_cast<const AugmentChoice*>(block + layout_.choices_offset()), rows},
          {reinterpret_cast<const int32_t*>(block + layout_.labels_offset()), rows}};
}

Batch BatchLoader::next() {
  return view(prefetcher_.next());
}

Batch BatchLoader::next_into(const StepBatch& to) {
  Slot& slot = prefetcher_.next();
  slot.upload.queue(*slot.memory, to.buffer());
  return view(slot);
}

void BatchLoader::seek(int64_t epoch, int64_t index) {
  require(epoch >= 0 && index >= 0 && index < batches_,
          "[loader] epoch {}, batch {} does not exist; an epoch has {} batches", epoch, index, batches_);
  prefetcher_.seek(epoch * batches_ + index);
}

void BatchLoader::order_epoch(int64_t epoch) {
  if (!options_.shuffle || epoch == ordered_epoch_) return;
  std::copy(indices_.begin(), indices_.end(), order_.begin());
  shuffle_indices(order_, options_.seed, random_stream(RandomUse::order, uint64_t(epoch)));
  ordered_epoch_ = epoch;
}

void BatchLoader::fill(int64_t position, Slot& slot) {
  slot.epoch = position / batches_;
  slot.index = position % batches_;
  order_epoch(slot.epoch);
  const int64_t rows = layout_.rows, first = slot.index * rows;
  const size_t image_bytes = images_->image_bytes();
  slot.count = std::min(rows, int64_t(order_.size()) - first);
  if (!slot.memory) slot.memory = std::make_unique<HostBuffer>(options_.device, layout_.bytes());
  slot.upload.wait();  // the device may still be copying what was here before
  std::byte* block = slot.memory->data();
  auto* images = reinterpret_cast<uint8_t*>(block);
  auto* choices = reinterpret_cast<AugmentChoice*>(block + layout_.choices_offset());
  auto* labels = reinterpret_cast<int32_t*>(block + layout_.labels_offset());
  for (int64_t row = 0; row < slot.count; ++row) {
    const int32_t i = order_[size_t(first + row)];
    std::copy_n(images_->image(i), image_bytes, images + size_t(row) * image_bytes);
    choices[row] = choose_augmentation(options_.augmentation, images_->size, options_.seed, slot.epoch, i);
    labels[row] = images_->labels[size_t(i)];
  }
  std::fill(images + size_t(slot.count) * image_bytes, images + size_t(rows) * image_bytes, uint8_t(0));
  std::fill(choices + slot.count, choices + rows, AugmentChoice{});
  std::fill(labels + slot.count, labels + rows, kPaddingLabel);
}

}  // namespace ladarts
