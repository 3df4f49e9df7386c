// How uncertain a measured cost is, by what was recorded beside it: which rows a fit may trust.
#pragma once

#include <span>
#include <vector>

#include "predictor/measurement_store.h"

namespace ladarts {

// Runs one after the other meet the same disturbances, so that a median of many is not known better than that
// of so many independent ones (docs/predictor.md, "Noisy rows").
inline constexpr double kIndependentRuns = 5;
// Beside what a row's own runs tell: so much two undisturbed measurements of one network differ, relative.
inline constexpr double kBetweenMeasurements = 0.01;
inline constexpr double kLeastDisturbed = 0.1;  // relative noise of a row marked noisy, at least

// Standard deviation of the row's cost, relative to it; 0: nothing is known, as of a table's or a count's.
// Of undisturbed runs it is that of their median. A row marked noisy is as wrong as its single runs scatter
// and as the machine was slowed.
double relative_noise(const Measurement& row);

inline constexpr double kSlowed = 1.12;  // a machine this many times slower than at its best is slowed

// How many times slower the machine was while the row was measured than where SpeedProbe takes
// `best_probe_ms`, which may be known only since then; 1 where that cannot be told.
double slowdown_against(const Measurement& row, double best_probe_ms);

struct NoisyCost {
  double cost = 0;            // in the rows' unit
  double relative_noise = 0;  // as of a row
};
// Of several measurements of one architecture: their mean, each weighted by 1 / variance. Where nothing is
// known of any row's noise, the first's cost. Throws Error for no rows.
NoisyCost combined_cost(std::span<const Measurement> rows);

// The standard deviation s that `residuals` have beside the `noise` known of each: half of them are within
// 0.6745 sqrt(s^2 + noise^2).
double common_deviation(std::span<const double> residuals, std::span<const double> noise);

}  // namespace ladarts
