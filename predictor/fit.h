// Fits the predictors on one part of the data and reports their errors on the other.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "predictor/additive.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "predictor/mlp.h"
#include "predictor/transfer.h"

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
  std::optional<ErrorReport>
      transfer;  // of fit_from(); then all errors are of cross-validation, and mlp is empty
  std::optional<Calibration> transfer_calibration;
  double mlp_seconds = 0, additive_seconds = 0, gp_seconds = 0;

  // Of this kind of regressor. Throws Error for one that has no errors here.
  const ErrorReport& of(std::string_view kind) const;
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

struct TransferResult {
  std::unique_ptr<TransferRegressor> model;  // fitted on all rows
  FitReport report;  // by cross-validation: each row is predicted once, by what the other folds give
};

inline constexpr int64_t kMinTransferRows = 8;

// A predictor for few measurements from those of other devices, and what the same measurements give without
// these. Throws Error for fewer than kMinTransferRows rows and what fit_transfer() refuses.
TransferResult fit_from(const Dataset& data, const std::vector<std::shared_ptr<const Regressor>>& sources,
                        const FitOptions& options = {}, Device device = {});

FitResult fit_predictors(const Dataset& data, const FitOptions& options = {}, Device device = {});

}  // namespace ladarts
