#include "predictor/metrics.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "core/philox.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

// Tau-b by its definition, over all pairs.
double kendall_by_definition(const std::vector<double>& a, const std::vector<double>& b) {
  double score = 0, pairs_a = 0, pairs_b = 0;
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      const int x = (a[i] > a[j]) - (a[i] < a[j]), y = (b[i] > b[j]) - (b[i] < b[j]);
      score += x * y;
      pairs_a += x != 0;
      pairs_b += y != 0;
    }
  return score / std::sqrt(pairs_a * pairs_b);
}

}  // namespace

TEST_CASE("metrics: relative errors and shares of a small example", "[predictor][metrics]") {
  const std::vector<double> measured = {100, 200, 50, 10}, predicted = {104, 184, 50, 12};
  const ErrorReport r = error_report(predicted, measured);  // errors .04 .08 0 .2
  CHECK(r.n == 4);
  CHECK(r.mean_relative_error == Approx(0.08));
  CHECK(r.median_relative_error == Approx(0.06));
  CHECK(r.within_5_percent == 0.5);
  CHECK(r.within_10_percent == 0.75);
  CHECK(r.rmse == Approx(std::sqrt((16.0 + 256 + 0 + 4) / 4)));
  CHECK(r.spearman == Approx(1.0));
  CHECK(r.kendall == Approx(1.0));
}

TEST_CASE("metrics: rank correlations with ties have the textbook values", "[predictor][metrics]") {
  const std::vector<double> a = {12, 2, 1, 12, 2}, b = {1, 4, 7, 1, 0};
  CHECK(kendall(a, b) == Approx(-std::sqrt(2.0) / 3));  // the example in SciPy's documentation
  // ranks 4.5 2.5 1 4.5 2.5 and 2.5 4 5 2.5 1: covariance -5, variances 9 and 9.5
  CHECK(spearman(a, b) == Approx(-5 / std::sqrt(9 * 9.5)));
  const std::vector<double> up = {1, 2, 3, 4}, down = {9, 7, 5, 1}, flat = {3, 3, 3, 3};
  CHECK(spearman(up, down) == Approx(-1));
  CHECK(kendall(up, down) == Approx(-1));
  CHECK(spearman(up, flat) == 0);
  CHECK(kendall(up, flat) == 0);
}

TEST_CASE("metrics: kendall equals its definition for random data with ties", "[predictor][metrics]") {
  Random random(7);
  for (int n : {2, 3, 10, 101, 256}) {
    std::vector<double> a, b;
    a.push_back(-1), b.push_back(-2);
    for (int i = 1; i < n; ++i) {
      a.push_back(random.below(20));
      b.push_back(0.3 * a.back() + random.below(9));
    }
    CHECK(kendall(a, b) == Approx(kendall_by_definition(a, b)));
  }
}

TEST_CASE("metrics: a wrong length or a cost of zero is refused", "[predictor][metrics]") {
  const std::vector<double> two = {1, 2}, one = {1}, zero = {1, 0};
  CHECK_THROWS_WITH(error_report(two, one), ContainsSubstring("2 and 1"));
  CHECK_THROWS_WITH(error_report(two, zero), ContainsSubstring("not positive"));
}

TEST_CASE("metrics: a report survives JSON", "[predictor][metrics]") {
  const std::vector<double> measured = {3, 1, 2}, predicted = {2.5, 1.5, 2};
  const ErrorReport r = error_report(predicted, measured);
  const auto back = nlohmann::json::parse(nlohmann::json(r).dump()).get<ErrorReport>();
  CHECK(back.kendall == r.kendall);
  CHECK(back.rmse == r.rmse);
  CHECK(back.n == 3);
}
