// A CUDA device in host memory, for kernels that the host layer under cuda/host/ runs. Linking this file
// registers it. Each allocation has exactly the size asked for, so that address sanitizer sees what lies
// beyond.
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "core/device.h"
#include "core/error.h"
#include "cuda/simt.h"
#include "tests/cuda/emulated_device.h"
#include "tests/support/op_case.h"

namespace ladarts::testing {
namespace {

class EmulatedRecording : public DeviceRecording {
 public:
  explicit EmulatedRecording(std::vector<std::function<void()>> launches) : launches_(std::move(launches)) {}
  void replay() override {
    for (auto& launch : launches_) launch();
  }

 private:
  std::vector<std::function<void()>> launches_;
};

class EmulatedMark : public DeviceMark {
 public:
  using Clock = std::chrono::steady_clock;
  double milliseconds_since(const DeviceMark& earlier) const override {
    const auto& other = dynamic_cast<const EmulatedMark&>(earlier);
    return std::chrono::duration<double, std::milli>(*passed - *other.passed).count();
  }
  std::shared_ptr<Clock::time_point> passed = std::make_shared<Clock::time_point>();
};

class EmulatedStream : public DeviceStream {
 public:
  void* handle() override { return &recorder_; }
  void begin_recording() override { recorder_.recording = true; }
  std::unique_ptr<DeviceRecording> end_recording() override {
    recorder_.recording = false;
    return std::make_unique<EmulatedRecording>(std::exchange(recorder_.launches, {}));
  }
  std::unique_ptr<DeviceMark> mark() override {
    auto mark = std::make_unique<EmulatedMark>();
    auto pass = [passed = mark->passed] { *passed = EmulatedMark::Clock::now(); };
    if (recorder_.recording)
      recorder_.launches.emplace_back(pass);
    else
      pass();
    return mark;
  }
  void wait() override {}
  void begin_range(const std::string& name) override { emulated_ranges().push_back(name); }
  void end_range() override { emulated_ranges().push_back("end"); }

 private:
  simt::LaunchRecorder recorder_;
};

class EmulatedBackend : public DeviceBackend {
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
  DeviceStream* stream(Device) override { return &stream_; }

 private:
  EmulatedStream stream_;
};

using Kind = simt::ThreadOrder::Kind;

const bool registered = [] {
  register_device_backend(DeviceKind::cuda, std::make_unique<EmulatedBackend>());
  emulated_device = Device{DeviceKind::cuda, 0};
  set_run_variant = [](int variant) {
    const simt::ThreadOrder orders[] = {{Kind::forward}, {Kind::reverse}, {Kind::random, 7}};
    simt::set_thread_order(orders[variant]);
  };
  return true;
}();

}  // namespace

std::vector<std::string>& emulated_ranges() {
  static std::vector<std::string> ranges;
  return ranges;
}

}  // namespace ladarts::testing
