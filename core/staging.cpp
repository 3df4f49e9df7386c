#include "core/staging.h"

#include <cstring>

#include "core/error.h"

namespace ladarts {

namespace {

DeviceStream* stream_of(Device device) {
  return device_backend(device.kind)->stream(device);
}

// The mark, made the first time.
void set_mark(DeviceStream& stream, std::unique_ptr<DeviceMark>& mark) {
  if (mark)
    stream.set(*mark);
  else
    mark = stream.mark();
}

// For destructors: a device that reports an error has stopped as well.
void wait_quietly(const std::unique_ptr<DeviceMark>& mark) noexcept {
  try {
    if (mark) mark->wait();
  } catch (const Error&) {
  }
}

}  // namespace

HostBuffer::HostBuffer(Device device, size_t bytes)
    : device_(device),
      bytes_(bytes),
      data_(static_cast<std::byte*>(device_backend(device.kind)->allocate_host(device, bytes))) {}

HostBuffer::~HostBuffer() {
  device_backend(device_.kind)->release_host(device_, data_);
}

StagedUpload::~StagedUpload() {
  wait_quietly(done_);
}

void StagedUpload::queue(const HostBuffer& from, Buffer& to) {
  LADARTS_CHECK(from.device() == to.device() && from.bytes() == to.bytes());
  if (DeviceStream* stream = stream_of(to.device())) {
    stream->queue_upload(to.data(), from.data(), from.bytes());
    set_mark(*stream, done_);
  } else {
    std::memcpy(to.data(), from.data(), from.bytes());
  }
}

void StagedUpload::wait() const {
  if (done_) done_->wait();
}

Readback::Readback(std::shared_ptr<Buffer> source, int ahead)
    : source_(std::move(source)),
      copies_(source_->device(), source_->bytes() * size_t(ahead)),
      done_(size_t(ahead)),
      ahead_(ahead) {}

Readback::~Readback() {
  for (const auto& mark : done_) wait_quietly(mark);
}

void Readback::queue() {
  LADARTS_CHECK(under_way() < ahead_);
  const size_t slot = size_t(queued_++ % ahead_);
  std::byte* to = copies_.data() + slot * source_->bytes();
  if (DeviceStream* stream = stream_of(source_->device())) {
    stream->queue_download(to, source_->data(), source_->bytes());
    set_mark(*stream, done_[slot]);
  } else {
    std::memcpy(to, source_->data(), source_->bytes());
  }
}

std::span<const float> Readback::take() {
  LADARTS_CHECK(under_way() > 0);
  const size_t slot = size_t(taken_++ % ahead_);
  if (done_[slot]) done_[slot]->wait();
  const std::byte* values = copies_.data() + slot * source_->bytes();
  return {reinterpret_cast<const float*>(values), source_->bytes() / sizeof(float)};
}

}  // namespace ladarts
