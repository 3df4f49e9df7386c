// One step of fitting an MlpRegressor as a Program: each member takes an Adam step on a batch of its own.
#pragma once

#include <optional>
#include <vector>

#include "core/program.h"
#include "predictor/mlp.h"

namespace ladarts {

class MlpFitStep {
 public:
  struct Batch {
    Storage features, costs;  // (B, F), (B, 1)
  };
  // Keeps the model's weights, which its steps change. pool: null: the global one.
  MlpFitStep(MlpRegressor& model, const MlpOptions& options, int64_t batch, ThreadPool* pool = nullptr);

  std::vector<Batch> batches;  // of each member
  Storage learning_rate;       // (1)
  Program& program() { return *program_; }

 private:
  std::optional<Program> program_;
};

}  // namespace ladarts
