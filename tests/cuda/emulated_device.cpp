// A CUDA device in host memory, for kernels that the host layer under cuda/host/ runs. Linking this file
// registers it. Each allocation has exactly the size asked for, so that address sanitizer sees what lies
// beyond.
#include <cstdlib>
#include <cstring>

#include "core/device.h"
#include "core/error.h"
#include "cuda/host/block.h"
#include "tests/support/op_case.h"

namespace ladarts::testing {
namespace {

class EmulatedMemory : public DeviceMemory {
 public:
  int device_count() const override { return 1; }
  void* allocate(Device, size_t bytes) override {
    void* data = nullptr;
    require(posix_memalign(&data, 256, bytes) == 0, "[emulated cuda] out of memory: {} bytes", bytes);
    return data;
  }
  void release(Device, void* data) noexcept override { std::free(data); }
  void upload(Device, void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void download(Device, void* to, const void* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  void fill_zero(Device, void* to, size_t bytes) override { std::memset(to, 0, bytes); }
};

using Kind = simt::ThreadOrder::Kind;

const bool registered = [] {
  register_device_memory(DeviceKind::cuda, std::make_unique<EmulatedMemory>());
  set_run_variant = [](int variant) {
    const simt::ThreadOrder orders[] = {{Kind::forward}, {Kind::reverse}, {Kind::random, 7}};
    simt::set_thread_order(orders[variant]);
  };
  return true;
}();

}  // namespace
}  // namespace ladarts::testing
