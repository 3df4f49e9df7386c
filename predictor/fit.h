// Fits the predictors on one part of the data and reports their errors on the other.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "predictor/additive.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "predictor/mlp.h"
#include "predictor/stack.h"

namespace ladarts {

struct FitOptions {
  double test_fraction = 0.2;
  uint64_t seed = 0;  // of the split and of the training
  MlpOptions mlp;     // its seed is replaced by the one above
  AdditiveOptions additive;
  GpOptions gp;             // its seed too
  bool keep_stack = false;  // of kMinStackRows rows, where the Gaussian process is as good, too
};

// What a user may ask for: "auto", "gp", "stack", "mlp", "paper", "additive".
const std::vector<std::string>& predictor_models();

// How often a cost lies within so many of its predicted deviations; of a normal distribution .683 and .954.
struct Calibration {
  double within_one = 0, within_two = 0;  // shares of the held-out rows
};
Calibration calibration(std::span<const CostDistribution> predicted, std::span<const double> measured);

// Mean of |cost - real cost| / cost for costs of this relative noise, which is taken for normal; 0 for none.
double mean_noise(std::span<const double> relative_noise);

struct FitReport {
  int64_t n_train = 0, n_test = 0;
  ErrorReport mlp, additive;      // on the held-out rows
  std::optional<ErrorReport> gp;  // absent in files of before there was one
  std::optional<Calibration> gp_calibration;
  std::optional<ErrorReport> stack;  // where the default for the rows fitted is a stack
  std::optional<Calibration> stack_calibration;
  std::optional<ErrorReport>
      transfer;  // of fit_from(); then all errors are of cross-validation, and mlp is empty
  std::optional<Calibration> transfer_calibration;
  // What the held-out measurements are off by themselves, mean relative, as known from how they were
  // measured: no model's error on them can be below. 0: not known.
  double held_out_noise = 0;
  double mlp_seconds = 0, additive_seconds = 0, gp_seconds = 0;
  double stack_seconds = 0;  // beside the MLP's; of the choice too

  // Of this kind of regressor. Throws Error for one that has no errors here.
  const ErrorReport& of(std::string_view kind) const;
};

void to_json(nlohmann::json& j, const FitReport& r);
void from_json(const nlohmann::json& j, FitReport& r);

struct FitResult {
  std::shared_ptr<MlpRegressor> mlp;
  std::unique_ptr<AdditiveRegressor> additive;
  // Fitted again on all rows after the report: they need no held-out rows to know where to stop.
  std::unique_ptr<GpRegressor> gp;
  // Null for few rows and, unless options.keep_stack, where the Gaussian process is as good.
  std::unique_ptr<StackRegressor> stack;
  bool stack_is_better = false;
  FitReport report;

  // One of predictor_models(); "auto" is fit_default()'s: the stack where it is better, else the Gaussian
  // process. Throws Error for a stack where there is none.
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
