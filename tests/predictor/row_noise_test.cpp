#include "predictor/row_noise.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "predictor/additive.h"
#include "predictor/conditions.h"
#include "predictor/drawn_error.h"
#include "predictor/fit.h"
#include "predictor/stack.h"
#include "tests/predictor/regressor_support.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

Measurement measured(double median, double spread, int repeats, bool noisy = false, double slowdown = 1) {
  Measurement m;
  m.median = median;
  m.relative_spread = spread;
  m.repeats = repeats;
  m.noisy = noisy;
  Conditions conditions;
  conditions.slowdown = slowdown;
  m.details = with_conditions("{}", conditions);
  return m;
}

// Every third row is measured so badly as `bad` says, the others to 1%; fits learn of it where `told`.
Dataset unequal(int rows, uint64_t seed, bool told, double bad = 0.4) {
  Dataset data = table_costs(rows, seed);
  Random random(seed, 19);
  for (size_t i = 0; i < data.costs.size(); ++i) {
    const double noise = i % 3 == 0 ? bad : 0.01;
    data.costs[i] *= std::exp(noise * double(random.normal()));
    if (told) data.relative_noise.push_back(noise);
  }
  return data;
}

double mean_error(const Regressor& model) {
  const Dataset test = table_costs(300, 99);
  return error_report(model.predict(test.features), test.costs).mean_relative_error;
}

}  // namespace

TEST_CASE("row noise: a median of independent runs, and what a noisy row's runs went through",
          "[predictor][row_noise]") {
  CHECK(relative_noise(measured(5, 0.02, 4)) == Approx(1.2533 * 0.02 / 2));
  // Many runs one after the other tell no more than some independent ones.
  CHECK(relative_noise(measured(5, 0.02, 1000)) == Approx(relative_noise(measured(5, 0.02, 5))));
  CHECK(relative_noise(measured(5, 0, 1)) == 0);
  CHECK(relative_noise(measured(5, 0, 31)) == 0);
  CHECK(relative_noise(measured(5, 0.3, 31, true)) == Approx(std::hypot(0.3, kLeastDisturbed)));
  CHECK(relative_noise(measured(5, 0.3, 31, true, 1.5)) == Approx(std::hypot(0.3, 0.5, kLeastDisturbed)));
  CHECK(relative_noise(measured(5, 0.3, 31, true, 0.9)) == Approx(std::hypot(0.3, kLeastDisturbed)));
  Measurement failed = measured(5, 0.3, 31, true);
  failed.status = "out of memory";
  CHECK(relative_noise(failed) == 0);
}

TEST_CASE("row noise: replicas are averaged, noisy ones hardly count", "[predictor][row_noise]") {
  const std::vector<Measurement> same = {measured(10, 0.02, 31), measured(12, 0.02, 31)};
  CHECK(combined_cost(same).cost == Approx(11));
  CHECK(combined_cost(same).relative_noise == Approx(relative_noise(same[0]) / std::sqrt(2)));
  const std::vector<Measurement> one_noisy = {measured(10, 0.02, 31), measured(20, 0.5, 31, true, 2)};
  CHECK(combined_cost(one_noisy).cost == Approx(10).epsilon(0.01));
  // Nothing known: the row that stands for the architecture.
  const std::vector<Measurement> unknown = {measured(10, 0, 1), measured(12, 0, 1)};
  CHECK(combined_cost(unknown).cost == 10);
  CHECK(combined_cost(unknown).relative_noise == 0);
  CHECK_THROWS_WITH(combined_cost({}), ContainsSubstring("no measurement"));
}

TEST_CASE("row noise: what is left beside the known noise", "[predictor][row_noise]") {
  Random random(3);
  std::vector<double> residuals, noise;
  for (int i = 0; i < 4000; ++i) {
    noise.push_back(i % 2 ? 0.3 : 0.02);
    residuals.push_back(std::hypot(0.05, noise.back()) * double(random.normal()));
  }
  CHECK(common_deviation(residuals, noise) == Approx(0.05).epsilon(0.1));
  CHECK(common_deviation(std::vector<double>{0, 0, 0}, std::vector<double>{0.1, 0.1, 0.1}) == 0);
}

TEST_CASE("dataset: noise goes with its rows and must be possible", "[predictor][row_noise]") {
  Dataset data = unequal(12, 1, true);
  CHECK(data.usual_noise() == 0.01);
  CHECK(data.subset(std::vector<int64_t>{3, 4}).relative_noise == std::vector<double>{0.4, 0.01});
  data.relative_noise[5] = -1;
  CHECK_THROWS_WITH(data.check(), ContainsSubstring("row 5 has the relative noise -1"));
  data.relative_noise.pop_back();
  CHECK_THROWS_WITH(data.check(), ContainsSubstring("12 rows, but the noise of 11"));
}

TEST_CASE("gp: rows known to be noisy count less", "[predictor][gp][row_noise]") {
  double even = 0, weighed = 0;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    even += mean_error(*fit_gp(unequal(60, seed, false))) / 3;
    weighed += mean_error(*fit_gp(unequal(60, seed, true))) / 3;
  }
  CHECK(weighed < 0.7 * even);
  // The deviation is that of a measurement as most are, not of the noisy ones.
  const Dataset data = unequal(90, 5, true), test = unequal(300, 6, true);
  const auto model = fit_gp(data);
  const auto predicted = model->distribution(test.features);
  double usual = 0;
  for (const CostDistribution& d : predicted) usual += d.deviation / d.mean / double(predicted.size());
  CHECK(usual < 0.06);
  const Calibration all = calibration(of_rows(predicted, test, data.usual_noise()), test.costs);
  CHECK(all.within_one == Approx(0.68).margin(0.12));
  CHECK(all.within_two == Approx(0.95).margin(0.06));
}

TEST_CASE("gp: noise that is known of no row changes not a bit", "[predictor][gp][row_noise]") {
  Dataset data = unequal(40, 2, false);
  const auto without = flat(*fit_gp(data)), additive = flat(*fit_additive(data)),
             mlp = flat(*fit_mlp(data, quick()));
  data.relative_noise.assign(40, 0.0);
  CHECK(flat(*fit_gp(data)) == without);
  CHECK(flat(*fit_additive(data)) == additive);
  CHECK(flat(*fit_mlp(data, quick())) == mlp);
}

TEST_CASE("additive and mlp: rows known to be noisy count less", "[predictor][row_noise]") {
  double even = 0, weighed = 0, mlp_even = 0, mlp_weighed = 0;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const Dataset untold = unequal(90, seed, false), told = unequal(90, seed, true);
    even += mean_error(*fit_additive(untold));
    weighed += mean_error(*fit_additive(told));
    // Without the linear path, which starts at the additive fit: what the training itself makes of weights.
    MlpOptions plain = quick();
    plain.linear_skip = false;
    mlp_even += mean_error(*fit_mlp(untold, plain));
    mlp_weighed += mean_error(*fit_mlp(told, plain));
  }
  CHECK(weighed < 0.7 * even);
  CHECK(mlp_weighed < 0.95 * mlp_even);
  const std::vector<double> weights = noise_weights(unequal(90, 1, true));
  CHECK(weights[0] < 0.1);
  CHECK(weights[1] > 0.5);
  CHECK(noise_weights(unequal(90, 1, false)).empty());
}

TEST_CASE("stack and transfer: rows known to be noisy count less", "[predictor][row_noise]") {
  const Dataset untold = unequal(60, 4, false), told = unequal(60, 4, true);
  CHECK(mean_error(*fit_stack(told, fit_mlp_leaving_out(told, quick())).model) <
        0.9 * mean_error(*fit_stack(untold, fit_mlp_leaving_out(untold, quick())).model));
  const std::shared_ptr<const Regressor> source = fit_gp(table_costs(60, 8, 3.0));
  CHECK(mean_error(*fit_transfer(told, {source})) < 0.9 * mean_error(*fit_transfer(untold, {source})));
}

TEST_CASE("fit: the held-out rows' own noise stands beside the error on them", "[predictor][row_noise]") {
  FitOptions options;
  options.mlp = quick();
  options.mlp.epochs = 5;
  const FitReport report = fit_predictors(unequal(60, 1, true), options).report;
  CHECK(report.held_out_noise > 0.01);
  CHECK(report.held_out_noise < 0.4);
  const auto j = nlohmann::json(report);
  CHECK(j.get<FitReport>().held_out_noise == report.held_out_noise);
  CHECK(fit_predictors(unequal(60, 1, false), options).report.held_out_noise == 0);
  CHECK(mean_noise(std::vector<double>{0.1, 0.3}) == Approx(0.2 * std::sqrt(2 / 3.14159265)));
  CHECK(mean_noise({}) == 0);

  const Dataset data = unequal(30, 2, true);
  const std::vector<uint8_t> drawn(30, 1);
  const LeftOut left_out = predict_left_out(
      data, drawn, [](const Dataset& d) { return fit_gp(d); }, 0);
  CHECK(left_out.relative_noise.size() == 30);
}
