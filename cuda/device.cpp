// NVIDIA GPUs as devices. Compiled by the host compiler; kernels are in the .cu files beside it.
#include <cuda_runtime.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/error.h"
#include "cuda/ranges/ranges.h"
#include "cuda/tracing/kernel_trace.h"

namespace ladarts::cuda {
namespace {

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  fail("[cuda] {}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status));
}

double mib(size_t bytes) {
  return double(bytes) / (1 << 20);
}

// A captured graph, ready to launch.
class Recording : public DeviceRecording {
 public:
  Recording(cudaGraph_t graph, cudaStream_t stream, int device) : stream_(stream), device_(device) {
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "preparing a recorded program");
  }
  ~Recording() override {
    cudaSetDevice(device_);
    cudaGraphExecDestroy(executable_);
  }
  void replay() override {
    check(cudaSetDevice(device_), "choosing the device");
    check(cudaGraphLaunch(executable_, stream_), "running a program");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
  cudaStream_t stream_;
  int device_;
};

class Event : public DeviceMark {
 public:
  explicit Event(int device) : device_(device) { check(cudaEventCreate(&event_), "making an event"); }
  ~Event() override {
    cudaSetDevice(device_);
    cudaEventDestroy(event_);
  }
  double milliseconds_since(const DeviceMark& earlier) const override {
    float ms = 0;
    check(cudaEventSynchronize(event_), "running a program");
    check(cudaEventElapsedTime(&ms, dynamic_cast<const Event&>(earlier).event_, event_), "timing");
    return ms;
  }
  void wait() const override { check(cudaEventSynchronize(event_), "running a program"); }
  void record(cudaStream_t stream, bool capturing) {
    // An external event becomes a node of the captured graph; a plain one would only order the capture.
    check(cudaEventRecordWithFlags(event_, stream,
                                   capturing ? cudaEventRecordExternal : cudaEventRecordDefault),
          "marking a point in time");
  }

 private:
  cudaEvent_t event_ = nullptr;
  int device_;
};

// Page-locked memory that small uploads (learning rates, random states) pass through, so that their caller
// need not wait for the device: a ring of slots, each free again once its copy has run.
class StagingRing {
 public:
  static constexpr size_t kSlotBytes = 16 << 10;

  explicit StagingRing(int device) {
    check(cudaHostAlloc(&memory_, kSlots * kSlotBytes, cudaHostAllocDefault),
          "allocating page-locked memory");
    for (auto& e : copied_) e = std::make_unique<Event>(device);
  }
  // Lives as long as its stream: nothing is released.

  void upload(cudaStream_t stream, void* to, const void* from, size_t bytes) {
    const size_t slot = next_++ % kSlots;
    copied_[slot]->wait();  // passed long ago, unless the host is kSlots uploads ahead
    void* staged = static_cast<std::byte*>(memory_) + slot * kSlotBytes;
    std::memcpy(staged, from, bytes);
    check(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, stream), "copying memory");
    copied_[slot]->record(stream, false);
  }

 private:
  static constexpr size_t kSlots = 64;
  void* memory_ = nullptr;
  std::unique_ptr<Event> copied_[kSlots];
  size_t next_ = 0;
};

class Stream : public DeviceStream {
 public:
  explicit Stream(int device) : device_(device) {
    check(cudaSetDevice(device), "choosing the device");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
  }
  // Lives until the program ends, when the driver may be gone already: nothing is released.

  void* handle() override { return stream_; }
  void begin_recording() override {
    check(cudaSetDevice(device_), "choosing the device");
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a program");
  }
  std::unique_ptr<DeviceRecording> end_recording() override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "recording a program");
    return std::make_unique<Recording>(graph, stream_, device_);
  }
  std::unique_ptr<DeviceMark> mark() override {
    check(cudaSetDevice(device_), "choosing the device");
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_, &status), "marking a point in time");
    auto event = std::make_unique<Event>(device_);
    event->record(stream_, status == cudaStreamCaptureStatusActive);
    return event;
  }
  void set(DeviceMark& mark) override {
    check(cudaSetDevice(device_), "choosing the device");
    dynamic_cast<Event&>(mark).record(stream_, false);
  }
  void wait() override { check(cudaStreamSynchronize(stream_), "running a program"); }
  void queue_upload(void* to, const void* from, size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copying memory");
  }
  void queue_download(void* to, const void* from, size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying memory");
  }
  // `from` may be changed on return.
  void upload(void* to, const void* from, size_t bytes) {
    if (bytes > StagingRing::kSlotBytes) {
      queue_upload(to, from, bytes);
      return wait();
    }
    if (!ring_) ring_ = std::make_unique<StagingRing>(device_);
    ring_->upload(stream_, to, from, bytes);
  }
  int recorded_kernels() override {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    cudaGraph_t graph = nullptr;
#if CUDART_VERSION >= 13000
    check(cudaStreamGetCaptureInfo(stream_, &status, nullptr, &graph), "recording a program");
#else
    check(cudaStreamGetCaptureInfo_v2(stream_, &status, nullptr, &graph), "recording a program");
#endif
    size_t count = 0;
    check(cudaGraphGetNodes(graph, nullptr, &count), "recording a program");
    std::vector<cudaGraphNode_t> nodes(count);
    check(cudaGraphGetNodes(graph, nodes.data(), &count), "recording a program");
    int kernels = 0;
    for (cudaGraphNode_t node : nodes) {
      cudaGraphNodeType type{};
      check(cudaGraphNodeGetType(node, &type), "recording a program");
      kernels += type == cudaGraphNodeTypeKernel;
    }
    return kernels;
  }
  std::vector<KernelRecord> trace(const std::function<void()>& work) override {
    return trace_kernels(work);
  }
  void begin_range(const std::string& name) override {
    push_range(name);
  }
  void end_range() override {
    pop_range();
  }

 private:
  cudaStream_t stream_ = nullptr;
  int device_;
  std::unique_ptr<StagingRing> ring_;
};

class Backend : public DeviceBackend {
 public:
  int device_count() const override {
    // Any error means that there is no usable GPU; the count is unwritten then.
    static const int count = [] {
      int n = 0;
      return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;
    }();
    return count;
  }

  std::string what_is_missing() const override {
    int n = 0, driver = 0;
    const cudaError_t status = cudaGetDeviceCount(&n);
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) return "no NVIDIA driver";
    return status == cudaErrorInsufficientDriver
               ? "an NVIDIA driver that is too old for this build"
               : fmt::format("no usable NVIDIA GPU ({})", cudaGetErrorString(status));
  }

  std::vector<std::pair<std::string, std::string>> describe(Device device) const override {
    cudaDeviceProp p{};
    check(cudaGetDeviceProperties(&p, device.index), "describing a device");
    check(cudaSetDevice(device.index), "choosing the device");
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for its memory");
    int driver = 0, runtime = 0, clock = 0, memory_clock = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, device.index);
    cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, device.index);
    char pci[32] = {};  // "0000:3b:00.0"
    check(cudaDeviceGetPCIBusId(pci, sizeof pci, device.index), "asking for its PCI bus");
    auto version = [](int v) { return fmt::format("{}.{}", v / 1000, v % 1000 / 10); };
    return {{"name", p.name},
            {"compute capability", fmt::format("{}.{}", p.major, p.minor)},
            {"multiprocessors", fmt::format("{}", p.multiProcessorCount)},
            {"memory", fmt::format("{:.0f} MiB, {:.0f} MiB free", mib(total), mib(free))},
            {"clocks at most", fmt::format("{} MHz, memory {} MHz", clock / 1000, memory_clock / 1000)},
            {"PCI bus", pci},
            {"driver", "CUDA " + version(driver)},
            {"runtime", "CUDA " + version(runtime)}};
  }

  void* allocate(Device device, size_t bytes) override {
    check(cudaSetDevice(device.index), "choosing the device");
    void* data = nullptr;
    const cudaError_t status = cudaMalloc(&data, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      fail(
          "[cuda] out of memory: {:.1f} MiB asked for, {:.1f} of {:.1f} MiB free on {}; reduce the batch "
          "size or the "
          "network's channels",
          mib(bytes), mib(free), mib(total), device.str());
    }
    check(status, "allocating memory");
    return data;
  }
  void release(Device device, void* data) noexcept override {
    cudaSetDevice(device.index);
    cudaFree(data);
  }
  void* allocate_host(Device device, size_t bytes) override {
    check(cudaSetDevice(device.index), "choosing the device");
    void* data = nullptr;
    check(cudaHostAlloc(&data, bytes, cudaHostAllocDefault), "allocating page-locked memory");
    return data;
  }
  void release_host(Device device, void* data) noexcept override {
    cudaSetDevice(device.index);
    cudaFreeHost(data);
  }
  void upload(Device device, void* to, const void* from, size_t bytes) override {
    cuda_stream(device).upload(to, from, bytes);
  }
  void download(Device device, void* to, const void* from, size_t bytes) override {
    Stream& s = cuda_stream(device);
    s.queue_download(to, from, bytes);
    s.wait();
  }
  void fill_zero(Device device, void* to, size_t bytes) override {
    DeviceStream* s = stream(device);
    check(cudaMemsetAsync(to, 0, bytes, static_cast<cudaStream_t>(s->handle())), "clearing memory");
    s->wait();
  }

  DeviceStream* stream(Device device) override { return &cuda_stream(device); }

 private:
  Stream& cuda_stream(Device device) {
    auto& s = streams_[device.index];
    if (!s) s = std::make_unique<Stream>(device.index);
    check(cudaSetDevice(device.index), "choosing the device");
    return *s;
  }

  std::map<int, std::unique_ptr<Stream>> streams_;
};

const bool registered = [] {
  register_device_backend(DeviceKind::cuda, std::make_unique<Backend>());
  return true;
}();

}  // namespace
}  // namespace ladarts::cuda
