// How well predictions agree with measurements. Relative errors and shares are fractions: 0.05 is 5%.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>

namespace ladarts {

struct ErrorReport {
  int64_t n = 0;
  double mean_relative_error = 0;  // mean of |predicted - measured| / measured
  double median_relative_error = 0;
  double within_5_percent = 0;  // share of predictions
  double within_10_percent = 0;
  double rmse = 0;  // in the unit of the costs
  double spearman = 0;
  double kendall = 0;
};

// Both spans have the same length; every measured value must be positive. Throws Error otherwise.
ErrorReport error_report(std::span<const double> predicted, std::span<const double> measured);

// Spearman's rank correlation; tied values share their mean rank. 0 where one side is constant.
double spearman(std::span<const double> a, std::span<const double> b);
// Kendall's tau-b by Knight's algorithm, O(n log n). 0 where one side is constant.
double kendall(std::span<const double> a, std::span<const double> b);
double rmse(std::span<const double> a, std::span<const double> b);

void to_json(nlohmann::json& j, const ErrorReport& r);
void from_json(const nlohmann::json& j, ErrorReport& r);

}  // namespace ladarts
