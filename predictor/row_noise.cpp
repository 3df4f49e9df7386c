#include "predictor/row_noise.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "predictor/conditions.h"

namespace ladarts {

namespace {

constexpr double kMedianDeviation = 1.2533;  // of a median of n normal values, times sqrt(n)
constexpr double kMedianOfNormal = 0.6745;   // half of a normal distribution's values are within

}  // namespace

double relative_noise(const Measurement& row) {
  if (row.status != "ok" || !(row.relative_spread >= 0)) return 0;
  if (row.noisy) {
    const double slowdown = conditions_of(row.details).slowdown;
    return std::hypot(row.relative_spread, std::max(slowdown - 1, 0.0), kLeastDisturbed);
  }
  if (row.repeats < 2) return 0;
  return kMedianDeviation * row.relative_spread / std::sqrt(std::min(double(row.repeats), kIndependentRuns));
}

double slowdown_against(const Measurement& row, double best_probe_ms) {
  const Conditions c = conditions_of(row.details);
  return c.probe_ms > 0 && c.slowdown > 0 && best_probe_ms > 0 ? c.probe_ms * c.slowdown / best_probe_ms : 1;
}

NoisyCost combined_cost(std::span<const Measurement> rows) {
  require(!rows.empty(), "[row noise] no measurement of an architecture");
  if (rows.size() == 1) return {rows[0].median, relative_noise(rows[0])};
  double total = 0, cost = 0, variance = 0;
  bool known = false;
  for (const Measurement& row : rows) {
    const double noise = relative_noise(row);
    const double weight = 1 / (noise * noise + kBetweenMeasurements * kBetweenMeasurements);
    known = known || noise > 0;
    total += weight;
    cost += weight * row.median;
    variance += weight * weight * noise * noise;
  }
  if (!known) return {rows[0].median, 0};
  return {cost / total, std::sqrt(variance) / total};
}

double common_deviation(std::span<const double> residuals, std::span<const double> noise) {
  require(!residuals.empty() && residuals.size() == noise.size(),
          "[row noise] {} residuals with the noise of {} rows", residuals.size(), noise.size());
  const auto share_within = [&](double s) {
    size_t within = 0;
    for (size_t i = 0; i < residuals.size(); ++i)
      within += std::abs(residuals[i]) <= kMedianOfNormal * std::hypot(s, noise[i]);
    return double(within) / double(residuals.size());
  };
  double low = 0, high = 0;
  for (const double r : residuals) high = std::max(high, std::abs(r) / kMedianOfNormal);
  for (int step = 0; step < 50; ++step) {
    const double middle = 0.5 * (low + high);
    (share_within(middle) >= 0.5 ? high : low) = middle;
  }
  return high;
}

}  // namespace ladarts
