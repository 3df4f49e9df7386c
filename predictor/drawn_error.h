// How large a model's error is on architectures drawn at random, known from the rows that it is fitted on.
//
// Rows that were chosen because they tell most are no sample: what is predicted of them says little of
// others. So some rows are drawn at random, and only they are predicted, each by a model that was fitted
// without it (cross-validation), while chosen rows help to fit all of these models. What is estimated is the
// error of a model with a few rows less, which is a little larger.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "predictor/regressor.h"

namespace ladarts {

using FitModel = std::function<std::unique_ptr<Regressor>(const Dataset&)>;

struct LeftOut {
  std::vector<double> predicted, measured;
  std::vector<CostDistribution> distributions;  // of_rows(); empty where the model gives none
  std::vector<double> relative_noise = {};      // of the measured; empty where not known
};

inline constexpr int kDrawnFolds = 10;  // or one for each drawn row where there are fewer
inline constexpr int64_t kMinDrawnRows = 5;

// `drawn` (rows): 1 where a row was drawn at random. Deterministic for a seed. Throws Error for fewer than
// kMinDrawnRows of them.
LeftOut predict_left_out(const Dataset& data, std::span<const uint8_t> drawn, const FitModel& fit,
                         uint64_t seed);

struct ErrorEstimate {
  int64_t rows = 0;  // predicted
  double error = 0;  // mean of |predicted - measured| / measured
  // The real mean error is below this with 95% confidence. The 97.5% quantile of Student's t, corrected for
  // skewed errors (Johnson 1978) and with a spread of at least that of normal errors: the plain 95% quantile
  // holds in 85% to 90% of cases at 7 rows, this in 93% to 96% (errors of a normal distribution, and of
  // Student's t with 4 degrees of freedom).
  double upper = 0;
};
ErrorEstimate estimate_error(const LeftOut& rows);

// Rows for which `upper` may say that a goal is reached: it is looked at after each round, and with fewer a
// lucky draw would end the work too early.
inline constexpr int64_t kMinRowsToStop = 15;

}  // namespace ladarts
