#include "core/device.h"

#include <sys/mman.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>

#include "core/error.h"

namespace ladarts {

namespace {

constexpr size_t kHugePage = size_t(2) << 20;

class CpuBackend : public DeviceBackend {
 public:
  int device_count() const override { return 1; }

  void* allocate(Device, size_t bytes) override {
    // Large blocks on huge pages where the system offers them: kernels walk many planes at once, more than
    // there are entries for small pages. A search step is 8% faster (Zen 4, 2026-11).
    const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : 64;
    void* data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
#if defined(MADV_HUGEPAGE)
    if (data && alignment == kHugePage)
      madvise(data, bytes, MADV_HUGEPAGE);  // a hint; refusal costs speed alone
#endif
    require(data != nullptr || bytes == 0,
            "[cpu] out of memory: {:.1f} MiB asked for; reduce the batch size or the network's channels",
            double(bytes) / (1 << 20));
    return data;
  }
  void release(Device, void* data) noexcept override {
    std::free(data);
  }
  void upload(Device, void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void download(Device, void* to, const void* from, size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void fill_zero(Device, void* to, size_t bytes) override {
    std::memset(to, 0, bytes);
  }
};

std::map<DeviceKind, std::unique_ptr<DeviceBackend>>& registry() {
  static auto* map = [] {
    auto* m = new std::map<DeviceKind, std::unique_ptr<DeviceBackend>>;
    (*m)[DeviceKind::cpu] = std::make_unique<CpuBackend>();
    return m;
  }();
  return *map;
}

}  // namespace

std::string Device::str() const {
  return kind == DeviceKind::cpu ? "cpu" : fmt::format("cuda:{}", index);
}

Device Device::parse(std::string_view name) {
  if (name == "cpu") return {};
  DeviceBackend* cuda = device_backend(DeviceKind::cuda);
  const int gpus = cuda ? cuda->device_count() : 0;
  if (name == "auto") return gpus > 0 ? Device{DeviceKind::cuda, 0} : Device{};
  if (name.substr(0, 4) == "cuda") {
    int index = 0;
    if (name.size() > 4) {
      auto digits = name.substr(5);
      auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
      require(name[4] == ':' && ec == std::errc() && end == digits.data() + digits.size(),
              "[device] '{}' is not a device; use auto, cpu, cuda or cuda:INDEX", name);
    }
    require(cuda != nullptr, "[device] this build has no CUDA backend; use --device cpu");
    require(gpus > 0, "[device] {} asked for, but this machine has {}; use --device cpu", name,
            cuda->what_is_missing());
    require(index < gpus, "[device] {} asked for, but this machine has {} GPU(s), numbered from 0", name,
            gpus);
    return {DeviceKind::cuda, index};
  }
  fail("[device] '{}' is not a device; use auto, cpu, cuda or cuda:INDEX", name);
}

DeviceBackend* device_backend(DeviceKind kind) {
  auto it = registry().find(kind);
  return it == registry().end() ? nullptr : it->second.get();
}

void register_device_backend(DeviceKind kind, std::unique_ptr<DeviceBackend> memory) {
  registry()[kind] = std::move(memory);
}

}  // namespace ladarts
