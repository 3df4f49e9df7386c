#include "predictor/agreement.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "core/error.h"
#include "predictor/conditions.h"
#include "predictor/metrics.h"

namespace ladarts {

namespace {

// Of values in ascending order.
double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * double(sorted.size() - 1);
  const auto low = size_t(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - double(low)) * (sorted[high] - sorted[low]);
}

// A row's place among those of its architecture: the least stands for all.
std::tuple<bool, int> preference(const Measurement& row) {
  return {row.noisy, row.replica};
}

std::string identity(const Measurement& row) {
  return row.context.str() + "\n" + row.architecture;
}

}  // namespace

double cost_in_form(const Measurement& row, CostForm form) {
  const std::string& metric = row.context.metric;
  if (form == CostForm::measured || (metric != "latency" && metric != "cold_latency")) return row.median;
  const Conditions c = conditions_of(row.details);
  if (form == CostForm::every_run) return c.every_run_ms > 0 ? c.every_run_ms : row.median;
  return c.slowdown > 0 ? row.median / c.slowdown : row.median;
}

std::vector<Measurement> representative_rows(std::span<const Measurement> rows) {
  std::map<std::string, size_t> place;
  std::vector<Measurement> kept;
  for (const Measurement& row : rows) {
    if (row.status != "ok") continue;
    const auto [at, added] = place.emplace(identity(row), kept.size());
    if (added) {
      kept.push_back(row);
    } else if (preference(row) < preference(kept[at->second])) {
      kept[at->second] = row;
    }
  }
  return kept;
}

Agreement agreement(std::span<const Measurement> a, std::span<const Measurement> b, CostForm form) {
  std::map<std::string, double> costs;
  const auto cost = [&](const Measurement& row) { return cost_in_form(row, form); };
  for (const Measurement& row : representative_rows(b)) costs[identity(row)] = cost(row);
  std::vector<double> of_a, of_b, differences, sizes;
  for (const Measurement& row : representative_rows(a)) {
    const auto other = costs.find(identity(row));
    if (other == costs.end()) continue;
    of_a.push_back(cost(row));
    of_b.push_back(other->second);
    require(of_a.back() > 0 && of_b.back() > 0, "[agreement] '{}' costs {} and {}; costs must be positive",
            row.architecture, of_a.back(), of_b.back());
    differences.push_back(of_a.back() / of_b.back() - 1);
    sizes.push_back(std::abs(differences.back()));
  }
  require(of_a.size() >= 3, "[agreement] {} architectures in common, measured for the same; it takes 3",
          of_a.size());
  std::sort(differences.begin(), differences.end());
  std::sort(sizes.begin(), sizes.end());
  Agreement result;
  result.n = int64_t(of_a.size());
  result.spearman = spearman(of_a, of_b);
  result.bias = quantile(differences, 0.5);
  result.median_difference = quantile(sizes, 0.5);
  result.p95_difference = quantile(sizes, 0.95);
  for (const double s : sizes) {
    result.mean_difference += s / double(sizes.size());
    result.within_5_percent += (s <= 0.05) / double(sizes.size());
  }
  return result;
}

}  // namespace ladarts
