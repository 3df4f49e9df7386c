#include "predictor/drawn_error.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/philox.h"

namespace ladarts {

namespace {

constexpr uint64_t kStream = 83;

constexpr double kNormalSpread = 0.756;  // deviation / mean of |x| for a normal x

// 97.5% quantile of Student's t, by its expansion around the normal one: within 1% from 4 degrees on.
double student(double freedom) {
  const double z = 1.9599640;
  return z + (std::pow(z, 3) + z) / (4 * freedom) +
         (5 * std::pow(z, 5) + 16 * std::pow(z, 3) + 3 * z) / (96 * freedom * freedom) +
         (3 * std::pow(z, 7) + 19 * std::pow(z, 5) + 17 * std::pow(z, 3) - 15 * z) /
             (384 * std::pow(freedom, 3));
}

}  // namespace

LeftOut predict_left_out(const Dataset& data, std::span<const uint8_t> drawn, const FitModel& fit,
                         uint64_t seed) {
  require(int64_t(drawn.size()) == data.size(), "[left out] {} marks for {} rows", drawn.size(), data.size());
  std::vector<int64_t> rows;
  for (size_t i = 0; i < drawn.size(); ++i)
    if (drawn[i]) rows.push_back(int64_t(i));
  require(int64_t(rows.size()) >= kMinDrawnRows,
          "[left out] {} rows drawn at random; an error is known from {} or more", rows.size(),
          kMinDrawnRows);
  Random random(seed, kStream);
  for (size_t i = rows.size(); i > 1; --i) std::swap(rows[i - 1], rows[random.below(uint32_t(i))]);
  const size_t folds = std::min(rows.size(), size_t(kDrawnFolds));
  LeftOut result;
  for (size_t fold = 0; fold < folds; ++fold) {
    std::vector<int64_t> test, train;
    for (size_t i = fold; i < rows.size(); i += folds) test.push_back(rows[i]);
    for (int64_t i = 0; i < data.size(); ++i)
      if (std::find(test.begin(), test.end(), i) == test.end()) train.push_back(i);
    const auto model = fit(data.subset(train));
    const Dataset left = data.subset(test);
    for (const double cost : model->predict(left.features)) result.predicted.push_back(cost);
    result.measured.insert(result.measured.end(), left.costs.begin(), left.costs.end());
    result.relative_noise.insert(result.relative_noise.end(), left.relative_noise.begin(),
                                 left.relative_noise.end());
    if (model->gives_deviation())
      for (const CostDistribution& d : of_rows(model->distribution(left.features), left, data.usual_noise()))
        result.distributions.push_back(d);
  }
  return result;
}

ErrorEstimate estimate_error(const LeftOut& rows) {
  const auto n = double(rows.predicted.size());
  require(n >= 2, "[left out] an error with its bound takes two rows or more");
  double mean = 0, square = 0, cube = 0;
  std::vector<double> errors;
  for (size_t i = 0; i < rows.predicted.size(); ++i) {
    errors.push_back(std::abs(rows.predicted[i] / rows.measured[i] - 1));
    mean += errors.back() / n;
  }
  for (const double e : errors) {
    square += std::pow(e - mean, 2) / (n - 1);
    cube += std::pow(e - mean, 3) / n;
  }
  const double t = student(n - 1), spread = std::max(std::sqrt(square), kNormalSpread * mean);
  const double skew = square > 0 ? cube / (6 * square * n) * (1 + 2 * t * t) : 0;
  return {int64_t(n), mean, mean + std::max(skew, 0.0) + t * spread / std::sqrt(n)};
}

}  // namespace ladarts
