// The training step of a derived network as a Program, with the state that it carries from step to step.
#pragma once

#include <optional>

#include "core/program.h"
#include "core/safetensors.h"
#include "nas/train.h"

namespace ladarts {

class TrainSteps {
 public:
  explicit TrainSteps(const TrainConfig& config);  // which must outlive it

  // Sets what varies between epochs.
  void set(double lr, double drop_rate) {
    lr_.set(float(lr));
    drop_rate_.set(float(drop_rate));
  }
  // One step on what `batch` holds. `step` counts all steps of the training: it fixes the masks.
  void run(int64_t step) {
    random_.set_step(uint64_t(step));
    program_->run();
  }
  double loss() const { return loss_.item(); }
  int correct() const { return int(correct_.item()); }

  // Everything that a checkpoint must hold, under unique names.
  NamedStorages state();
  Program& program() { return *program_; }

 private:
  Storage scratch(Shape shape) const { return Storage::create(shape, DType::f32, config_.device); }

  const TrainConfig& config_;

 public:
  StepBatch batch;
  ParameterSet params, buffers;

 private:
  RandomState random_;
  Storage lr_ = scratch({1}), drop_rate_ = scratch({1});
  Storage momentum_, loss_, correct_;
  std::optional<Program> program_;
};

}  // namespace ladarts
