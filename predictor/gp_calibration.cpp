#include "predictor/gp_calibration.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace ladarts {

namespace {

// Of `off` and one more of its kind, which might be the largest: so that as large a share of new ones is
// below.
double quantile_for_new(std::vector<double>& off, double share) {
  const double rank = std::ceil(share * double(off.size() + 1));
  const size_t k = std::min(off.size() - 1, size_t(rank) - 1);
  std::nth_element(off.begin(), off.begin() + std::ptrdiff_t(k), off.end());
  return off[k];
}

}  // namespace

double held_out_stretch(const Dataset& data, const GpOptions& options) {
  const int folds = options.calibration_folds;
  if (folds < 2 || data.size() > options.calibration_rows) return 1;
  const std::set<int64_t> groups(data.groups.begin(), data.groups.end());
  if (!groups.empty() && int64_t(groups.size()) < 2 * folds) return 1;
  if (data.size() < 2 * folds) return 1;
  GpOptions inner = options;
  inner.calibration_folds = 0;
  inner.progress = {};
  std::vector<double> off;
  for (const Split& split : fold_rows(data, folds, options.seed)) {
    const Dataset test = data.subset(split.test);
    if (int64_t(split.train.size()) < kMinGpRows) return 1;
    const auto model = fit_gp(data.subset(split.train), inner);
    const auto predicted = of_rows(model->distribution(test.features), test, data.usual_noise());
    for (size_t i = 0; i < predicted.size(); ++i)
      off.push_back(std::abs(test.costs[i] - predicted[i].mean) / std::max(predicted[i].deviation, 1e-30));
  }
  return std::clamp(quantile_for_new(off, 0.683), 0.5, 5.0);
}

}  // namespace ladarts
