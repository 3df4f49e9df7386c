// What a Program holds. Private to core/program*.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/program.h"

namespace ladarts {

// One node, ready to run.
struct Step {
  std::shared_ptr<const Op> op;
  ChosenKernel kernel;
  std::vector<Shape> input_shapes, output_shapes;
  std::vector<DType> input_types, output_types;
  std::vector<void*> inputs, outputs;
  std::vector<uint8_t> accumulates;  // per output
  std::vector<int> updates;          // positions in inputs that are written too
  std::string scope;
  size_t scratch_bytes = 0;  // of args.workspace
  KernelArgs args{};

  void run() const { kernel.run(*op, args); }
  // "conv2d cell3/node1/edge4/sep_conv_3x3": of a profiler's range.
  std::string label() const { return std::string(op->name()) + (scope.empty() ? "" : " " + scope); }
};

// A step's name in a profiler, while its work is queued.
class NamedRange {
 public:
  NamedRange(DeviceStream* stream, const Step& step) : stream_(stream) {
    if (stream_) stream_->begin_range(step.label());
  }
  ~NamedRange() {
    if (stream_) stream_->end_range();
  }
  NamedRange(const NamedRange&) = delete;
  NamedRange& operator=(const NamedRange&) = delete;

 private:
  DeviceStream* stream_;
};

struct Program::State {
  std::vector<Step> steps;
  std::vector<int> group_ends;  // steps of a group run at the same time, each on one thread (core/schedule.h)
  std::vector<Storage> kept_alive;
  std::shared_ptr<Buffer> arena;
  ProgramStats stats;
  ThreadPool* pool = nullptr;
  ThreadPool one_thread{1};  // of steps that run beside others
  bool debug = false;
  // A library loads kernels when they first run, which may be impossible while recording: the first run of a
  // program with such kernels goes node by node.
  bool loads_at_first_run = false;
  DeviceStream* stream = nullptr;              // null on the CPU
  std::unique_ptr<DeviceRecording> recording;  // of all steps, once made
  // The same with a mark before each step and one at the end, for run_timed().
  std::unique_ptr<DeviceRecording> timed_recording;
  std::vector<std::unique_ptr<DeviceMark>> marks;
  std::vector<int64_t> own_ns;  // of each step in run_timed()

  void run_steps() const {
    int begin = 0;
    for (const int end : group_ends) {
      if (end - begin == 1) {
        const NamedRange range(stream, steps[size_t(begin)]);
        steps[size_t(begin)].run();
      } else {
        pool->parallel_for(end - begin, [&](int64_t i, int) { steps[size_t(begin + i)].run(); });
      }
      begin = end;
    }
  }
  // Steps, with a mark before each and one at the end, queued now or, while recording, kept.
  void run_steps_with_marks();
  // What `queue` queues, kept.
  std::unique_ptr<DeviceRecording> record(const std::function<void()>& queue);
};

// Runs the steps in debug mode: see CompileOptions::debug.
void run_debug(Program::State& state);

}  // namespace ladarts
