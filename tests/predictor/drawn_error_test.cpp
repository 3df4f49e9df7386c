#include "predictor/drawn_error.h"

#include <algorithm>

#include "predictor/additive.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "tests/predictor/regressor_support.h"

using namespace ladarts;
using namespace ladarts::testing;

TEST_CASE("left out: drawn rows are predicted once each, by models that never saw them",
          "[predictor][left_out]") {
  Dataset data = table_costs(30, 1);
  std::vector<uint8_t> drawn(30);
  for (size_t i = 0; i < 30; i += 2) drawn[i] = 1;
  for (size_t i = 0; i < 30; ++i) data.costs[i] = 1 + double(i);  // a cost names its row
  std::vector<std::vector<double>> seen;
  const LeftOut left = predict_left_out(
      data, drawn,
      [&](const Dataset& d) {
        seen.push_back(d.costs);
        return fit_gp(d);
      },
      3);
  REQUIRE(left.measured.size() == 15);
  CHECK(left.predicted.size() == 15);
  CHECK(left.distributions.size() == 15);
  std::vector<double> costs = left.measured;
  std::sort(costs.begin(), costs.end());
  for (size_t i = 0; i < 15; ++i) CHECK(costs[i] == 1 + 2 * double(i));
  REQUIRE(seen.size() == 10);
  std::vector<size_t> missing(30);
  for (const auto& rows : seen)
    for (size_t i = 0; i < 30; ++i)
      missing[i] += std::find(rows.begin(), rows.end(), 1 + double(i)) == rows.end();
  for (size_t i = 0; i < 30; ++i) CHECK(missing[i] == drawn[i]);
  const FitModel additive = [](const Dataset& d) -> std::unique_ptr<Regressor> { return fit_additive(d); };
  CHECK(predict_left_out(data, drawn, additive, 3).distributions.empty());
  std::fill(drawn.begin() + 8, drawn.end(), uint8_t(0));
  CHECK_THROWS_WITH(predict_left_out(data, drawn, additive, 3), ContainsSubstring("4 rows drawn at random"));
}

TEST_CASE("left out: the bound is the mean, Student's t and what skewed errors take",
          "[predictor][left_out]") {
  // Errors of 1% to 5%: their spread 1.581% is below .756 of their mean, and they are not skewed. t(4)
  // is 2.776.
  const LeftOut even{{1.01, 0.98, 1.03, 0.96, 1.05}, {1, 1, 1, 1, 1}, {}};
  const ErrorEstimate e = estimate_error(even);
  CHECK(e.rows == 5);
  CHECK(e.error == Approx(0.03));
  CHECK(e.upper == Approx(0.03 + 2.776 * 0.756 * 0.03 / std::sqrt(5.0)).epsilon(0.01));
  // 1%, 1%, 1%, 1%, 6%: mean 2%, variance 5e-4, third moment (4 * -1 + 64) / 5 e-6
  const LeftOut skewed{{1.01, 0.99, 1.01, 0.99, 1.06}, {1, 1, 1, 1, 1}, {}};
  const double variance = 5e-4, third = 12e-6, t = 2.776;
  CHECK(estimate_error(skewed).upper ==
        Approx(0.02 + third / (30 * variance) * (1 + 2 * t * t) + t * std::sqrt(variance / 5)).epsilon(0.01));
  CHECK_THROWS_AS(estimate_error({{1}, {1}, {}}), Error);
}

TEST_CASE("left out: the bound holds for normal and for heavier errors", "[predictor][left_out]") {
  Random random(1);
  for (const int freedom : {0, 4}) {  // of Student's t; 0: normal
    const auto error = [&] {
      double x = double(random.normal()), chi = 0;
      for (int i = 0; i < freedom; ++i) chi += std::pow(double(random.normal()), 2) / freedom;
      return 0.03 * (freedom ? x / std::sqrt(chi) : x);
    };
    double real = 0;
    for (int i = 0; i < 100'000; ++i) real += std::abs(error()) / 100'000;
    int below = 0;
    for (int trial = 0; trial < 2000; ++trial) {
      LeftOut rows;
      for (int64_t i = 0; i < kMinRowsToStop; ++i) {
        rows.predicted.push_back(1 + error());
        rows.measured.push_back(1);
      }
      below += real <= estimate_error(rows).upper;
    }
    INFO(freedom << ": " << below << " of 2000");
    CHECK(below >= (freedom ? 1860 : 1900));
  }
}

TEST_CASE("left out: the real error is below the bound as often as it says", "[predictor][left_out]") {
  int below = 0;
  constexpr int kTrials = 60;
  for (uint64_t seed = 0; seed < kTrials; ++seed) {
    // Half drawn, half chosen: here the costliest of more, as unlike a random sample as can be.
    Dataset data = table_costs(20, seed, 1.0), more = table_costs(100, 1000 + seed, 1.0);
    std::vector<int64_t> order(100);
    for (size_t i = 0; i < 100; ++i) order[i] = int64_t(i);
    std::sort(order.begin(), order.end(),
              [&](int64_t a, int64_t b) { return more.costs[size_t(a)] > more.costs[size_t(b)]; });
    for (size_t i = 0; i < 20; ++i) {
      data.features.append(more.features.row(order[i]));
      data.costs.push_back(more.costs[size_t(order[i])]);
    }
    std::vector<uint8_t> drawn(40);
    std::fill_n(drawn.begin(), 20, uint8_t(1));
    const FitModel fit = [](const Dataset& d) -> std::unique_ptr<Regressor> { return fit_additive(d); };
    const ErrorEstimate e = estimate_error(predict_left_out(data, drawn, fit, seed));
    const Dataset test = table_costs(500, 5000 + seed, 1.0);
    below += error_report(fit(data)->predict(test.features), test.costs).mean_relative_error <= e.upper;
  }
  INFO(below << " of " << kTrials);
  CHECK(below >= int(0.9 * kTrials));
}
