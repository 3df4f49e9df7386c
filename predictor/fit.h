// Fits the predictors on one part of the data and reports their errors on the other.
#pragma once

#include <memory>

#include "predictor/additive.h"
#include "predictor/metrics.h"
#include "predictor/mlp.h"

namespace ladarts {

struct FitOptions {
  double test_fraction = 0.2;
  uint64_t seed = 0;  // of the split and of the training
  MlpOptions mlp;     // its seed is replaced by the one above
  AdditiveOptions additive;
};

struct FitReport {
  int64_t n_train = 0, n_test = 0;
  ErrorReport mlp, additive;  // on the held-out rows
  double mlp_seconds = 0, additive_seconds = 0;
};

void to_json(nlohmann::json& j, const FitReport& r);
void from_json(const nlohmann::json& j, FitReport& r);

struct FitResult {
  std::unique_ptr<MlpRegressor> mlp;
  std::unique_ptr<AdditiveRegressor> additive;
  FitReport report;
};

FitResult fit_predictors(const Dataset& data, const FitOptions& options = {}, Device device = {});

}  // namespace ladarts
