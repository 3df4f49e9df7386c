// Fits the predictors on one part of the data and reports their errors on the other.
#pragma once

#include <memory>
#include <optional>

#include "predictor/additive.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "predictor/mlp.h"

namespace ladarts {

struct FitOptions {
  double test_fraction = 0.2;
  uint64_t seed = 0;  // of the split and of the training
  MlpOptions mlp;     // its seed is replaced by the one above
  AdditiveOptions additive;
  GpOptions gp;  // its seed too
};

// How often a cost lies within so many of its predicted deviations; of a normal distribution .683 and .954.
struct Calibration {
  double within_one = 0, within_two = 0;  // shares of the held-out rows
};
Calibration calibration(std::span<const CostDistribution> predicted, std::span<const double> measured);

struct FitReport {
  int64_t n_train = 0, n_test = 0;
  ErrorReport mlp, additive;      // on the held-out rows
  std::optional<ErrorReport> gp;  // absent beyond kMostGpRows and in files of before there was one
  std::optional<Calibration> gp_calibration;
  double mlp_seconds = 0, additive_seconds = 0, gp_seconds = 0;
};

void to_json(nlohmann::json& j, const FitReport& r);
void from_json(const nlohmann::json& j, FitReport& r);

struct FitResult {
  std::unique_ptr<MlpRegressor> mlp;
  std::unique_ptr<AdditiveRegressor> additive;
  // Fitted again on all rows after the report: it needs no held-out rows to know where to stop. Null where
  // there are more than it takes.
  std::unique_ptr<GpRegressor> gp;
  FitReport report;

  // "auto" (the Gaussian process, unless 200 or more held-out rows say that the MLP is better or there are
  // too many for it), "gp", "mlp", "paper" or "additive". Throws Error for gp where there is none.
  const Regressor& model(std::string_view name) const;
};

FitResult fit_predictors(const Dataset& data, const FitOptions& options = {}, Device device = {});

}  // namespace ladarts
