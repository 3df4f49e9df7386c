// What a Program holds. Private to core/program*.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/program.h"

namespace ladarts {

// One node, ready to run.
struct Step {
  std::shared_ptr<const Op> op;
  Kernel kernel = nullptr;
  std::vector<Shape> input_shapes, output_shapes;
  std::vector<DType> input_types, output_types;
  std::vector<void*> inputs, outputs;
  std::vector<uint8_t> accumulates;  // per output
  std::vector<int> updates;          // positions in inputs that are written too
  std::string scope;
  size_t scratch_bytes = 0;  // of args.workspace
  KernelArgs args{};

  void run() const { kernel(*op, args); }
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
  DeviceStream* stream = nullptr;              // null on the CPU
  std::unique_ptr<DeviceRecording> recording;  // of all steps, once made
  // The same with a mark before each step and one at the end, for run_timed().
  std::unique_ptr<DeviceRecording> timed_recording;
  std::vector<std::unique_ptr<DeviceMark>> marks;
  std::vector<int64_t> own_ns;  // of each step in run_timed()

  void run_steps() const {
    int begin = 0;
    for (const int end : group_ends) {
      if (end - begin == 1)
        steps[size_t(begin)].run();
      else
        pool->parallel_for(end - begin, [&](int64_t i, int) { steps[size_t(begin + i)].run(); });
      begin = end;
    }
  }
  std::unique_ptr<DeviceRecording> record(bool with_marks);
};

// Runs the steps in debug mode: see CompileOptions::debug.
void run_debug(Program::State& state);

}  // namespace ladarts
