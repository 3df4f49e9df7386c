// A device owns memory and runs kernels. The CPU is built in; another backend registers its DeviceBackend.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ladarts {

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  bool operator==(const Device&) const = default;
  std::string str() const;  // "cpu", "cuda:1"

  // "auto", "cpu", "cuda", "cuda:1". "auto" is a GPU where a usable one is present, else the CPU.
  // Throws Error for an unknown name or a device that this machine or build does not have.
  static Device parse(std::string_view name);
};

// Kernels that were recorded on a stream.
class DeviceRecording {
 public:
  virtual ~DeviceRecording() = default;
  virtual void replay() = 0;  // queues them, in their order, on the stream that recorded them
};

// A point in a stream: passed when all that was queued before it has run.
class DeviceMark {
 public:
  virtual ~DeviceMark() = default;
  // By the device's clock, from `earlier`, a mark of the same stream. Waits until this one is passed.
  virtual double milliseconds_since(const DeviceMark& earlier) const = 0;
  virtual void wait() const = 0;  // until it is passed; any thread may
};

// One kernel as a device's tracer saw it. Times are nanoseconds by the device's clock.
struct KernelRecord {
  std::string name;
  int64_t begin_ns = 0, end_ns = 0;
  std::array<int, 3> grid{}, block{};  // blocks, and threads of a block
  int registers = 0;                   // of a thread
  int shared_bytes = 0;                // of a block
  int local_bytes = 0;                 // of a thread: spilled registers and arrays
};

// The in-order queue of a device: kernels (KernelArgs::stream) and copies run one after the other while the
// caller goes on. Throws Error where the device reports one, which may be that of earlier work.
class DeviceStream {
 public:
  virtual ~DeviceStream() = default;
  virtual void* handle() = 0;
  virtual void begin_recording() = 0;  // kernels queued from now on are kept and do not run
  virtual std::unique_ptr<DeviceRecording> end_recording() = 0;
  // While recording, the mark belongs to the recording, and tells of the latest replay.
  virtual std::unique_ptr<DeviceMark> mark() = 0;
  virtual void set(
      DeviceMark& mark) = 0;  // makes a mark of this stream one of this moment; not while recording
  virtual void wait() = 0;    // until all that was queued has run
  // Copies that nobody waits for, between the device and memory of DeviceBackend::allocate_host(), which must
  // stay as it is until a mark set after them is passed.
  virtual void queue_upload(void* to, const void* from_host, size_t bytes) = 0;
  virtual void queue_download(void* to_host, const void* from, size_t bytes) = 0;
  // While recording: the kernels kept so far.
  virtual int recorded_kernels() = 0;
  // Calls `work`, which queues kernels and recordings and waits for them; each kernel that ran, in order.
  // What is replayed must have been recorded within `work`. Throws Error where there is no tracer: what is
  // missing.
  virtual std::vector<KernelRecord> trace(const std::function<void()>& work) = 0;
  // Names, for profilers, what is queued between the two calls. Ranges nest.
  virtual void begin_range(const std::string& /*name*/) {}
  virtual void end_range() {}
};

// Memory and queues of one kind of device. Pointers are device pointers; copies come after what was queued
// before them. When they return, a download is done, and the host's side of an upload may be changed.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  virtual int device_count() const = 0;
  // What a machine lacks whose device_count() is 0: "no NVIDIA driver".
  virtual std::string what_is_missing() const { return "no device"; }
  // Facts of a device for people, in order: {"memory", "80.0 GiB"}.
  virtual std::vector<std::pair<std::string, std::string>> describe(Device) const { return {}; }

  // 64-byte aligned; throws Error when out of memory.
  virtual void* allocate(Device device, size_t bytes) = 0;
  virtual void release(Device device, void* data) noexcept = 0;
  // Of the host, such that the device copies without the host's help. On the CPU: plain memory.
  virtual void* allocate_host(Device device, size_t bytes);
  virtual void release_host(Device device, void* data) noexcept;
  virtual void upload(Device device, void* to, const void* from_host, size_t bytes) = 0;
  virtual void download(Device device, void* to_host, const void* from, size_t bytes) = 0;
  virtual void fill_zero(Device device, void* to, size_t bytes) = 0;
  // One for each device; null where kernels have finished when they return.
  virtual DeviceStream* stream(Device) { return nullptr; }
};

// Null where the build has no such devices.
DeviceBackend* device_backend(DeviceKind kind);
void register_device_backend(DeviceKind kind, std::unique_ptr<DeviceBackend> backend);

}  // namespace ladarts
