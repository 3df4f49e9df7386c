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
    Storage weights;          // (B, 1): of each row's relative error; none: all count the same
  };
  // Keeps the model's weights, which its steps change. pool: null: the global one.
  MlpFitStep(MlpRegressor& model, const MlpOptions& options, int64_t batch, ThreadPool* pool = nullptr,
             bool weighted = false);

  std::vector<Batch> batches;  // of each member
  Storage learning_rate;       // (1)
  Program& program() { return *program_; }

  // mean w |y - costs| / costs over the rows; without weights w is 1.
  static Tensor loss(Tensor y, const Batch& rows);

 private:
  std::optional<Program> program_;
};

}  // namespace ladarts
