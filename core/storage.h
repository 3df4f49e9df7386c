// Memory that outlives a Program: weights, their gradients, optimiser state, batches, scalars.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/shape.h"

namespace ladarts {

// A flat block on one device. It grows by reserve() until data() is first asked for; from then on its size is
// fixed. New memory is zero. Not thread-safe.
class Buffer {
 public:
  explicit Buffer(Device device = {}) : device_(device) {}
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t reserve(size_t bytes);  // returns the offset of the new part, 64-byte aligned; throws once fixed
  std::byte* data();             // device pointer; allocates on the first call
  size_t bytes() const { return bytes_; }
  bool fixed() const { return data_ != nullptr; }
  Device device() const { return device_; }

 private:
  Device device_;
  size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

// A typed slice of a Buffer: cheap to copy, shares ownership.
class Storage {
 public:
  Storage() = default;
  Storage(std::shared_ptr<Buffer> buffer, size_t offset, Shape shape, DType dtype = DType::f32)
      : buffer_(std::move(buffer)), offset_(offset), shape_(shape), dtype_(dtype) {}

  // A slice in a buffer of its own.
  static Storage create(Shape shape, DType dtype = DType::f32, Device device = {});
  // The whole of a float buffer as one vector.
  static Storage all_of(std::shared_ptr<Buffer> buffer);

  explicit operator bool() const { return buffer_ != nullptr; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  size_t bytes() const { return size_t(shape_.elements()) * bytes_of(dtype_); }
  size_t offset() const { return offset_; }
  const std::shared_ptr<Buffer>& buffer() const { return buffer_; }
  std::byte* data() const { return buffer_->data() + offset_; }  // device pointer

  // Copies between host and device; the spans must have exactly shape().elements() entries.
  void upload(std::span<const float> values) const;
  void upload(std::span<const int32_t> values) const;
  void upload(std::span<const uint8_t> values) const;
  void download(std::span<float> values) const;
  void download(std::span<int32_t> values) const;
  std::vector<float> to_vector() const;
  void set(float value) const;  // a one-element float storage
  float item() const;           // likewise
  void zero() const;

 private:
  std::shared_ptr<Buffer> buffer_;
  size_t offset_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
};

}  // namespace ladarts
