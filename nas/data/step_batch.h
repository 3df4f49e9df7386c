// The memory that a step's program reads its images and labels from.
#pragma once

#include "core/staging.h"
#include "nas/data/dataset.h"
#include "ops/augment.h"

namespace ladarts {

// A batch of `rows` square images, their augmentation and labels, in one block of bytes: on the device, or on
// its way there.
struct BatchLayout {
  int64_t rows = 0;
  int size = 0;  // height and width

  Shape images() const { return {rows, kImageChannels, size, size}; }
  Shape choices() const { return {rows, kAugmentChoiceWords}; }
  size_t choices_offset() const { return aligned(size_t(images().elements())); }
  size_t labels_offset() const {
    return choices_offset() + aligned(size_t(choices().elements()) * sizeof(int32_t));
  }
  size_t bytes() const { return labels_offset() + aligned(size_t(rows) * sizeof(int32_t)); }

 private:
  static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }
};

class StepBatch {
 public:
  StepBatch() = default;
  StepBatch(int64_t rows, int64_t size, Device device)
      : layout_{rows, int(size)}, buffer_(std::make_shared<Buffer>(device)) {
    buffer_->reserve(layout_.bytes());
  }

  Storage images() const { return {buffer_, 0, layout_.images(), DType::u8}; }
  Storage choices() const {  // (rows, 5) i32, see AugmentChoice; zeros leave an image as it is
    return {buffer_, layout_.choices_offset(), layout_.choices(), DType::i32};
  }
  Storage labels() const { return {buffer_, layout_.labels_offset(), Shape{layout_.rows}, DType::i32}; }
  Buffer& buffer() const { return *buffer_; }

  // What a network sees: (rows, 3, size, size).
  Tensor record_images(Graph& graph, const AugmentDesc& desc) const {
    return augment(graph.leaf(images(), "images"), graph.leaf(choices(), "augmentation"), desc);
  }
  Tensor record_labels(Graph& graph) const { return graph.leaf(labels(), "labels"); }

 private:
  BatchLayout layout_;
  std::shared_ptr<Buffer> buffer_;
};

}  // namespace ladarts
