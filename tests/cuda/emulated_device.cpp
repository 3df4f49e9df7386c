// A CUDA device in host memory, for kernels that the host layer under cuda/host/ runs. Linking this file
// registers it. Each allocation has exactly the size asked for, so that address sanitizer sees what lies
// beyond. Copies that nobody waits for are made by a thread of their own, late: who reads or writes too early
// sees it, and so does the thread sanitizer.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "core/device.h"
#include "core/error.h"
#include "cuda/simt.h"
#include "cuda/tracing/kernel_trace.h"
#include "tests/cuda/emulated_device.h"
#include "tests/support/op_case.h"

namespace ladarts::testing {
namespace {

// Copies in order, each begun a while after it was queued.
class LateCopies {
 public:
  LateCopies() : thread_([this] { work(); }) {}
  ~LateCopies() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  void queue(void* to, const void* from, size_t bytes) {
    std::lock_guard lock(mutex_);
    copies_.push_back({to, from, bytes});
    ++queued_;
    changed_.notify_all();
  }
  int64_t queued() {
    std::lock_guard lock(mutex_);
    return queued_;
  }
  void wait(int64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_ >= count; });
  }
  void wait() { wait(queued()); }

 private:
  struct Copy {
    void* to;
    const void* from;
    size_t bytes;
  };
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return stop_ || !copies_.empty(); });
      if (copies_.empty()) return;
      const Copy copy = copies_.front();
      copies_.pop_front();
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::microseconds(500));
      std::memcpy(copy.to, copy.from, copy.bytes);
      lock.lock();
      ++done_;
      changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Copy> copies_;
  int64_t queued_ = 0, done_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

class EmulatedRecording : public DeviceRecording {
 public:
  // `marks`: which of the launches are no kernels.
  EmulatedRecording(std::vector<std::function<void()>> launches, std::vector<size_t> marks,
                    LateCopies& copies)
      : launches_(std::move(launches)), marks_(std::move(marks)), copies_(copies) {}
  void replay() override {
    copies_.wait();
    for (size_t i = 0; i < launches_.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      launches_[i]();
      if (emulated_kernel_ran && !std::binary_search(marks_.begin(), marks_.end(), i))
        emulated_kernel_ran(begin.time_since_epoch().count(),
                            std::chrono::steady_clock::now().time_since_epoch().count());
    }
  }

 private:
  std::vector<std::function<void()>> launches_;
  std::vector<size_t> marks_;
  LateCopies& copies_;
};

class EmulatedMark : public DeviceMark {
 public:
  using Clock = std::chrono::steady_clock;
  double milliseconds_since(const DeviceMark& earlier) const override {
    const auto& other = dynamic_cast<const EmulatedMark&>(earlier);
    return std::chrono::duration<double, std::milli>(*passed - *other.passed).count();
  }
  void wait() const override {
    if (copies) copies->wait(after_copies);
  }
  std::shared_ptr<Clock::time_point> passed = std::make_shared<Clock::time_point>();
  LateCopies* copies = nullptr;
  int64_t after_copies = 0;
};

class EmulatedStream : public DeviceStream {
 public:
  void* handle() override { return &recorder_; }
  void begin_recording() override { recorder_.recording = true; }
  std::unique_ptr<DeviceRecording> end_recording() override {
    recorder_.recording = false;
    return std::make_unique<EmulatedRecording>(std::exchange(recorder_.launches, {}),
                                               std::exchange(marks_, {}), copies_);
  }
  std::unique_ptr<DeviceMark> mark() override {
    auto mark = std::make_unique<EmulatedMark>();
    if (recorder_.recording) {
      marks_.push_back(recorder_.launches.size());
      recorder_.launches.emplace_back([passed = mark->passed] { *passed = EmulatedMark::Clock::now(); });
    } else {
      set(*mark);
    }
    return mark;
  }
  void set(DeviceMark& mark) override {
    auto& m = dynamic_cast<EmulatedMark&>(mark);
    *m.passed = EmulatedMark::Clock::now();
    m.copies = &copies_;
    m.after_copies = copies_.queued();
  }
  void wait() override { copies_.wait(); }
  void queue_upload(void* to, const void* from, size_t bytes) override { copies_.queue(to, from, bytes); }
  void queue_download(void* to, const void* from, size_t bytes) override { copies_.queue(to, from, bytes); }
  int recorded_kernels() override { return int(recorder_.launches.size() - marks_.size()); }
  std::vector<KernelRecord> trace(const std::function<void()>& work) override {
    return cuda::trace_kernels(work);
  }
  void begin_range(const std::string& name) override {
    copies_.wait();  // kernels that are not recorded run at once, each in a range
    emulated_ranges().push_back(name);
  }
  void end_range() override { emulated_ranges().push_back("end"); }

 private:
  simt::LaunchRecorder recorder_;
  std::vector<size_t> marks_;  // positions in its launches
  LateCopies copies_;
};

class EmulatedBackend : public DeviceBackend {
 public:
  int device_count() const override { return 1; }
  void* allocate(Device, size_t bytes) override {
    void* data = nullptr;
    require(posix_memalign(&data, 256, bytes) == 0, "[emulated cuda] out of memory: {} bytes", bytes);
    return data;
  }
  void release(Device, void* data) noexcept override {
    stream_.wait();
    std::free(data);
  }
  void upload(Device, void* to, const void* from, size_t bytes) override {
    stream_.wait();
    std::memcpy(to, from, bytes);
  }
  void download(Device, void* to, const void* from, size_t bytes) override {
    stream_.wait();
    std::memcpy(to, from, bytes);
  }
  void fill_zero(Device, void* to, size_t bytes) override {
    stream_.wait();
    std::memset(to, 0, bytes);
  }
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

void (*emulated_kernel_ran)(int64_t begin_ns, int64_t end_ns) = nullptr;

std::vector<std::string>& emulated_ranges() {
  static std::vector<std::string> ranges;
  return ranges;
}

}  // namespace ladarts::testing
