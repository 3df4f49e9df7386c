// The programs of one search iteration: a weight step and an architecture step of first or second order, over
// shared weights, architecture parameters and optimiser state.
#pragma once

#include <vector>

#include "core/program.h"
#include "core/safetensors.h"
#include "nas/data/step_batch.h"
#include "nas/latency_term.h"
#include "nas/step_output.h"
#include "predictor/regressor.h"

namespace ladarts {

struct SearchStepConfig {
  SupernetConfig supernet;
  int batch = 64;
  uint64_t seed = 0;
  Device device{};
  // Weights: SGD.
  float momentum = 0.9f;
  float weight_decay = 3e-4f;
  float clip_norm = 5.f;
  // Architecture: Adam.
  float architecture_lr = 3e-4f;
  float architecture_beta1 = 0.5f;
  float architecture_beta2 = 0.999f;
  float architecture_weight_decay = 1e-3f;
  bool second_order = false;  // DARTS' unrolled step with finite differences
  float lambda = 0;           // loss per unit of predicted cost
  // Where the predictor is asked, and how its uncertainty counts; docs/soft-input.md says why so.
  LatencyTermOptions term{.relaxation = {.kind = RelaxationKind::derived}};
};

class SearchSteps {
 public:
  // `predictor` may be null; then lambda must be 0. It is not kept. `augmentation` is that of both batches.
  SearchSteps(const SearchStepConfig& config, const Regressor* predictor,
              const AugmentDesc& augmentation = {});
  ~SearchSteps();

  const StepBatch& training_batch() const;
  const StepBatch& validation_batch() const;

  // Updates the weights on the training batch.
  StepResult weight_step(float learning_rate);
  // Updates alpha and beta on the validation batch; second order also reads the training batch and needs the
  // learning rate of the weights. The result is of the validation batch.
  StepResult architecture_step(float learning_rate);

  // The same, queued: a GPU is never waited for. Of each kind at most kStepsAhead may be under way; their
  // results are taken in order, which waits for the step in question alone.
  static constexpr int kStepsAhead = 2;
  void queue_weight_step(float learning_rate);
  void queue_architecture_step(float learning_rate);
  StepResult take_weight_result();
  StepResult take_architecture_result();
  // The gradient that the last architecture step gave to Adam, in the layout of the architecture's flat set.
  std::vector<float> architecture_gradient() const;
  // The latency term, as the next architecture step will see it; NaN without a predictor.
  double relaxed_cost();

  ParameterSet& weights();
  ArchitectureParameters& architecture();
  // Everything that a checkpoint must hold, under unique names.
  NamedStorages state();

  // For measuring. Second order: of the architecture step's programs, the one with both gradients at w'.
  Program& weight_program();
  Program& architecture_program();

 private:
  struct Programs;
  std::unique_ptr<Programs> programs_;
};

}  // namespace ladarts
