// The training step of a derived network as a Program, with the state that it carries from step to step.
#pragma once

#include <optional>

#include "core/program.h"
#include "core/safetensors.h"
#include "nas/data/step_batch.h"
#include "nas/step_output.h"
#include "nas/train.h"

namespace ladarts {

class TrainSteps {
 public:
  explicit TrainSteps(const TrainConfig& config, const AugmentDesc& augmentation = {});

  // Sets what varies between epochs.
  void set(double lr, double drop_rate) {
    lr_.set(float(lr));
    drop_rate_.set(float(drop_rate));
  }
  // Queues one step on what `batch` holds. `step` counts all steps of the training: it fixes the masks. At
  // most kStepsAhead may be under way; their results are taken in order.
  static constexpr int kStepsAhead = 2;
  void queue(int64_t step) {
    random_.set_step(uint64_t(step));
    program_->run();
    output_.queue();
  }
  StepResult take_result() { return output_.take(); }

  // Everything that a checkpoint must hold, under unique names.
  NamedStorages state();
  Program& program() { return *program_; }

 private:
  Storage scratch(Shape shape) const { return Storage::create(shape, DType::f32, params.device()); }

 public:
  StepBatch batch;
  ParameterSet params, buffers;

 private:
  RandomState random_;
  Storage lr_ = scratch({1}), drop_rate_ = scratch({1});
  Storage momentum_;
  StepOutput output_;
  std::optional<Program> program_;
};

}  // namespace ladarts
