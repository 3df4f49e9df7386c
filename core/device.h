// A device owns memory and runs kernels. The CPU is built in; another backend registers its DeviceMemory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

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

// Raw memory of one kind of device. Pointers are device pointers; copies are synchronous.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;
  virtual int device_count() const = 0;
  virtual void* allocate(Device device,
                         size_t bytes) = 0;  // 64-byte aligned; throws Error when out of memory
  virtual void release(Device device, void* data) noexcept = 0;
  virtual void upload(Device device, void* to, const void* from_host, size_t bytes) = 0;
  virtual void download(Device device, void* to_host, const void* from, size_t bytes) = 0;
  virtual void fill_zero(Device device, void* to, size_t bytes) = 0;
};

// Null where the build or machine has no such device.
DeviceMemory* device_memory(DeviceKind kind);
void register_device_memory(DeviceKind kind, std::unique_ptr<DeviceMemory> memory);

}  // namespace ladarts
