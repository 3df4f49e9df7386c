#include "core/storage.h"

#include "core/error.h"

namespace ladarts {

Buffer::~Buffer() {
  if (data_) device_backend(device_.kind)->release(device_, data_);
}

size_t Buffer::reserve(size_t bytes) {
  LADARTS_CHECK(!fixed());
  const size_t offset = bytes_;
  bytes_ += (bytes + 63) / 64 * 64;
  return offset;
}

std::byte* Buffer::data() {
  if (!data_) {
    DeviceBackend* memory = device_backend(device_.kind);
    LADARTS_CHECK(memory != nullptr);
    data_ = static_cast<std::byte*>(memory->allocate(device_, bytes_ + 64));
    memory->fill_zero(device_, data_, bytes_ + 64);
  }
  return data_;
}

Storage Storage::create(Shape shape, DType dtype, Device device) {
  auto buffer = std::make_shared<Buffer>(device);
  buffer->reserve(size_t(shape.elements()) * bytes_of(dtype));
  return Storage(buffer, 0, shape, dtype);
}

Storage Storage::all_of(std::shared_ptr<Buffer> buffer) {
  const int64_t n = int64_t(buffer->bytes() / sizeof(float));
  return Storage(std::move(buffer), 0, Shape{n});
}

namespace {

template <class T>
void check_span(const Storage& s, std::span<T> values, DType dtype) {
  require(s.dtype() == dtype, "[storage] holds {}, asked for {}", to_string(s.dtype()), to_string(dtype));
  require(int64_t(values.size()) == s.shape().elements(), "[storage] {} holds {} values, {} given",
          s.shape().str(), s.shape().elements(), values.size());
}

void copy_in(const Storage& s, const void* from) {
  const Device d = s.buffer()->device();
  device_backend(d.kind)->upload(d, s.data(), from, s.bytes());
}

void copy_out(const Storage& s, void* to) {
  const Device d = s.buffer()->device();
  device_backend(d.kind)->download(d, to, s.data(), s.bytes());
}

}  // namespace

void Storage::upload(std::span<const float> values) const {
  check_span(*this, values, DType::f32);
  copy_in(*this, values.data());
}

void Storage::upload(std::span<const int32_t> values) const {
  check_span(*this, values, DType::i32);
  copy_in(*this, values.data());
}

void Storage::upload(std::span<const uint8_t> values) const {
  check_span(*this, values, DType::u8);
  copy_in(*this, values.data());
}

void Storage::download(std::span<float> values) const {
  check_span(*this, values, DType::f32);
  copy_out(*this, values.data());
}

void Storage::download(std::span<int32_t> values) const {
  check_span(*this, values, DType::i32);
  copy_out(*this, values.data());
}

std::vector<float> Storage::to_vector() const {
  std::vector<float> values(size_t(shape_.elements()));
  download(std::span<float>(values));
  return values;
}

void Storage::set(float value) const {
  upload(std::span<const float>(&value, 1));
}

float Storage::item() const {
  float value = 0;
  download(std::span<float>(&value, 1));
  return value;
}

void Storage::zero() const {
  const Device d = buffer_->device();
  device_backend(d.kind)->fill_zero(d, data(), bytes());
}

}  // namespace ladarts
