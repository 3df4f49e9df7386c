#include "core/kernel_timing.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "core/philox.h"
#include "core/storage.h"
#include "core/thread_pool.h"

namespace ladarts {

namespace {

constexpr int kTries = 5;
constexpr double kTryUs = 1000;  // of runs in one try, as far as kRunsAtMost allows
constexpr int kRunsAtMost = 20;

// Operands of a node, and scratch memory for the kernel that needs most.
class TimedOperands {
 public:
  TimedOperands(const KernelNode& node, size_t workspace_bytes, DeviceStream* stream)
      : node_(node), buffer_(node.device), stream_(stream) {
    std::vector<size_t> in, out;
    for (const Shape& s : node.shapes.inputs) in.push_back(reserve(s));
    for (const Shape& s : node.shapes.outputs) out.push_back(reserve(s));
    const size_t workspace = buffer_.reserve(std::max<size_t>(workspace_bytes, 64));
    for (size_t offset : in) inputs_.push_back(buffer_.data() + offset);
    for (size_t offset : out) outputs_.push_back(buffer_.data() + offset);
    workspace_ = buffer_.data() + workspace;
    for (size_t i = 0; i < in.size(); ++i) fill(inputs_[i], node.shapes.inputs[i], i);
  }

  KernelArgs args() const {
    return {.input_shapes = node_.shapes.inputs.data(),
            .output_shapes = node_.shapes.outputs.data(),
            .inputs = inputs_.data(),
            .outputs = outputs_.data(),
            .accumulates = node_.accumulates.data(),
            .workspace = workspace_,
            .pool = &ThreadPool::global(),
            .stream = stream_ ? stream_->handle() : nullptr,
            .n_inputs = int(inputs_.size()),
            .n_outputs = int(outputs_.size())};
  }

 private:
  size_t reserve(const Shape& s) { return buffer_.reserve(std::max<size_t>(size_t(s.elements()) * 4, 64)); }

  // Positive numbers: some operands are variances. Zeros would cost less power, and a GPU would clock higher.
  void fill(void* to, const Shape& shape, size_t i) {
    Random random(3, i);
    std::vector<float> values(size_t(shape.elements()));
    for (float& v : values) v = random.uniform(0.1f, 1.f);
    if (!values.empty())
      device_backend(node_.device.kind)
          ->upload(node_.device, to, values.data(), values.size() * sizeof(float));
  }

  const KernelNode& node_;
  Buffer buffer_;
  DeviceStream* stream_;
  std::vector<void*> inputs_, outputs_;
  std::byte* workspace_ = nullptr;
};

// `runs` runs of a kernel between two points in time.
class TimedRuns {
 public:
  TimedRuns(const KernelNode& node, const ChosenKernel& kernel, const KernelArgs& args, DeviceStream* stream,
            int runs)
      : runs_(runs) {
    const auto run_all = [&node, &kernel, args, runs] {
      for (int i = 0; i < runs; ++i) kernel.run(node.op, args);
    };
    if (!stream) {
      run_ = [run_all] {
        const auto start = std::chrono::steady_clock::now();
        run_all();
        return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      };
      return;
    }
    stream->begin_recording();
    try {
      begin_ = stream->mark();
      run_all();
      end_ = stream->mark();
    } catch (...) {
      stream->end_recording();
      throw;
    }
    recording_ = stream->end_recording();
    run_ = [this] {
      recording_->replay();
      return 1e3 * end_->milliseconds_since(*begin_);
    };
  }
  TimedRuns(const TimedRuns&) = delete;
  TimedRuns& operator=(const TimedRuns&) = delete;

  double us() { return run_() / runs_; }  // of one run

 private:
  int runs_;
  std::unique_ptr<DeviceMark> begin_, end_;
  std::unique_ptr<DeviceRecording> recording_;
  std::function<double()> run_;
};

}  // namespace

std::vector<double> time_kernels(const KernelNode& node, const std::vector<ChosenKernel>& kernels,
                                 DeviceStream* stream) {
  size_t workspace = 0;
  for (const ChosenKernel& k : kernels) workspace = std::max(workspace, k.workspace_bytes);
  const TimedOperands operands(node, workspace, stream);
  std::vector<std::unique_ptr<TimedRuns>> timed;
  for (const ChosenKernel& k : kernels) {
    k.run(node.op, operands.args());  // which may load it, and that cannot be recorded
    TimedRuns first(node, k, operands.args(), stream, 1);
    first.us();
    const int runs = std::clamp(int(kTryUs / std::max(first.us(), 1.0)), 1, kRunsAtMost);
    timed.push_back(std::make_unique<TimedRuns>(node, k, operands.args(), stream, runs));
  }
  std::vector<double> best(kernels.size(), std::numeric_limits<double>::infinity());
  for (int t = 0; t < kTries; ++t)
    for (size_t i = 0; i < timed.size(); ++i) best[i] = std::min(best[i], timed[i]->us());
  return best;
}

}  // namespace ladarts
