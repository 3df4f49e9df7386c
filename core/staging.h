// Copies between host and device that nobody waits for, so that a device always has work: batches on their
// way in, losses on their way out. On the CPU they are plain copies, done at once.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/storage.h"

namespace ladarts {

// Memory of the host that a device copies from and to by itself (page-locked, for a GPU).
class HostBuffer {
 public:
  HostBuffer(Device device, size_t bytes);
  ~HostBuffer();
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  Device device_;
  size_t bytes_;
  std::byte* data_;
};

// Whole buffers, one into the other, again and again. Between queue() and wait() `from` must stay as it is.
class StagedUpload {
 public:
  StagedUpload() = default;
  ~StagedUpload();  // waits: the host's memory may go next
  StagedUpload(const StagedUpload&) = delete;
  StagedUpload& operator=(const StagedUpload&) = delete;

  // Queues the copy behind everything queued so far. Both buffers are of one device and size.
  void queue(const HostBuffer& from, Buffer& to);
  // Until the latest copy is done; returns at once where there is none. Any thread may call it.
  void wait() const;

 private:
  std::unique_ptr<DeviceMark> done_;
};

// Values that programs leave in a buffer of floats, read in order while later programs run already.
class Readback {
 public:
  // At most `ahead` sets of values may be under way.
  Readback(std::shared_ptr<Buffer> source, int ahead);
  ~Readback();  // waits for what is under way
  Readback(const Readback&) = delete;
  Readback& operator=(const Readback&) = delete;

  // Queues a copy of what the programs queued so far leave there.
  void queue();
  int under_way() const { return int(queued_ - taken_); }
  // The oldest one that was queued and not taken yet; waits for it, and for nothing queued after it. Valid
  // until `ahead` further calls of queue().
  std::span<const float> take();

 private:
  std::shared_ptr<Buffer> source_;
  HostBuffer copies_;
  std::vector<std::unique_ptr<DeviceMark>> done_;  // of each copy
  int ahead_;
  int64_t queued_ = 0, taken_ = 0;
};

}  // namespace ladarts
