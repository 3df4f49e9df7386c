#include "predictor/active_choice.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "predictor/drawn_error.h"
#include "predictor/gp.h"
#include "predictor/metrics.h"
#include "tests/predictor/regressor_support.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

const FeatureExpansion kPlain = FeatureExpansion::identity(kEdges * kOps);

// One-hot rows whose last operation of the first edge is rare (1 in 50) and makes the cost three times as
// high.
Dataset rare_costs(int rows, uint64_t seed) {
  Dataset data = table_costs(rows, seed);
  Random random(seed, 9);
  for (int64_t i = 0; i < data.size(); ++i) {
    float* row = data.features.values.data() + i * kEdges * kOps;
    double& cost = data.costs[size_t(i)];
    if (row[kOps - 1] > 0) std::swap(row[kOps - 1], row[0]);
    if (random.below(50) == 0) {
      std::fill_n(row, kOps, 0.f);
      row[kOps - 1] = 1;
      cost *= 3;
    }
  }
  return data;
}

std::unique_ptr<GpRegressor> fit(const Dataset& data) {
  return fit_gp(data, {.expansion = kPlain});
}

// Rows of `pool` measured by the rule in rounds of five, up to `count`.
std::vector<int64_t> measured_by(Choice choice, const Dataset& pool, int64_t count) {
  std::vector<int64_t> rows;
  std::unique_ptr<Regressor> model;
  while (int64_t(rows.size()) < count) {
    std::vector<int64_t> left;
    for (int64_t i = 0; i < pool.size(); ++i)
      if (std::find(rows.begin(), rows.end(), i) == rows.end()) left.push_back(i);
    const Dataset candidates = pool.subset(left);
    const Known known{rows.empty() ? FeatureMatrix{} : pool.subset(rows).features, {}, model.get()};
    for (const int64_t c : choose(choice, candidates.features, known, kPlain, 5))
      rows.push_back(left[size_t(c)]);
    model = fit(pool.subset(rows));
  }
  return rows;
}

}  // namespace

TEST_CASE("choice: the joint covariance agrees with each prediction's deviation", "[predictor][choice]") {
  for (const double interaction : {0.0, 1.5}) {
    const auto model = fit(table_costs(40, 1, interaction));
    const Dataset test = table_costs(30, 2, interaction);
    const auto each = model->distribution(test.features);
    const RelativeCovariance all = model->covariance(test.features);
    REQUIRE(all.covariance.size() == 900);
    for (size_t i = 0; i < 30; ++i) {
      const double relative = each[i].deviation / each[i].mean;
      CHECK(all.covariance[i * 30 + i] + all.noise[i] == Approx(relative * relative).epsilon(1e-6));
      for (size_t j = 0; j < i; ++j)
        CHECK(all.covariance[i * 30 + j] == Approx(all.covariance[j * 30 + i]).margin(1e-12));
    }
  }
}

TEST_CASE("choice: telling takes the row with the largest sum of squared covariances over its variance",
          "[predictor][choice]") {
  // Row 0 is the least certain, but alone; 1 and 2 tell of each other.
  const std::vector<double> covariance = {1, 0, 0, 0, 0.9, 0.8, 0, 0.8, 0.9};
  RelativeCovariance c{covariance, {0.1, 0.1, 0.1}};
  CHECK(choose_by_variance(Choice::telling, c, 0, 2) == std::vector<int64_t>{1, 0});
  CHECK(c.covariance[4] == Approx(0.9 - 0.81));  // all but the noise is known of 1
  CHECK(c.covariance[8] == Approx(0.9 - 0.64));
  c = {covariance, {0.1, 0.1, 0.1}};
  CHECK(choose_by_variance(Choice::disagreement, c, 0, 3) == std::vector<int64_t>{0, 1, 2});
  c = {covariance, {0.1, 0.1, 0.1}};  // row 1 will be measured in any case
  std::swap(c.covariance[0], c.covariance[4]);
  c.covariance = {0.9, 0, 0.8, 0, 1, 0, 0.8, 0, 0.9};
  CHECK(choose_by_variance(Choice::telling, c, 1, 2) == std::vector<int64_t>{0, 1});
}

TEST_CASE("choice: a batch holds no twins", "[predictor][choice]") {
  const Dataset once = table_costs(30, 3);
  FeatureMatrix twice = once.features;
  for (int64_t i = 0; i < once.size(); ++i) twice.append(once.features.row(i));
  const auto model = fit(table_costs(20, 4));
  for (const Choice choice : {Choice::telling, Choice::disagreement, Choice::space_filling})
    for (const Regressor* of :
         {static_cast<const Regressor*>(model.get()), static_cast<const Regressor*>(nullptr)}) {
      std::set<std::vector<float>> distinct;
      const auto chosen = choose(choice, twice, {table_costs(20, 4).features, {}, of}, kPlain, 8);
      REQUIRE(chosen.size() == 8);
      for (const int64_t i : chosen)
        distinct.insert(std::vector<float>(twice.row(i).begin(), twice.row(i).end()));
      CHECK(distinct.size() == 8);
    }
}

TEST_CASE("choice: what will be measured anyway is not chosen again", "[predictor][choice]") {
  const Dataset pool = table_costs(40, 3);
  const auto model = fit(table_costs(20, 4));
  for (const Choice choice : {Choice::telling, Choice::disagreement, Choice::space_filling}) {
    const Known nothing{table_costs(20, 4).features, {}, model.get()};
    const int64_t first = choose(choice, pool.features, nothing, kPlain, 1)[0];
    Known pending = nothing;
    pending.pending = pool.subset(std::vector<int64_t>{first}).features;
    CHECK(choose(choice, pool.features, pending, kPlain, 1)[0] != first);
  }
}

TEST_CASE("choice: a rare expensive operation is found sooner than by chance", "[predictor][choice]") {
  double chosen = 0, random = 0;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const Dataset pool = rare_costs(400, 10 + seed), test = rare_costs(1000, 50 + seed);
    auto error = [&](Choice choice) {
      const auto model = fit(pool.subset(measured_by(choice, pool, 25)));
      return error_report(model->predict(test.features), test.costs).mean_relative_error / 4;
    };
    chosen += error(Choice::telling);
    random += error(Choice::random);
  }
  INFO(chosen << " " << random);
  CHECK(chosen < 0.8 * random);
}

TEST_CASE("choice: the same data give the same rows, and all of them where few are left",
          "[predictor][choice]") {
  const Dataset pool = rare_costs(120, 1);
  for (const std::string& name : choice_names()) {
    const Choice choice = parse_choice(name);
    CHECK(measured_by(choice, pool, 20) == measured_by(choice, pool, 20));
    std::vector<int64_t> all = choose(choice, pool.features, {}, kPlain, 500), expected(120);
    std::sort(all.begin(), all.end());
    std::iota(expected.begin(), expected.end(), int64_t(0));
    CHECK(all == expected);
  }
  CHECK_THROWS_WITH(parse_choice("best"), ContainsSubstring("known are random"));
}

TEST_CASE("choice: space-filling goes to the ends first", "[predictor][choice]") {
  FeatureMatrix line, middle;
  for (int i = 0; i <= 10; ++i) line.append(std::vector<float>{float(i)});
  middle.append(std::vector<float>{6});
  const auto chosen =
      choose(Choice::space_filling, line, {middle, {}, nullptr}, FeatureExpansion::identity(1), 3);
  CHECK(chosen == std::vector<int64_t>{0, 10, 3});
}

TEST_CASE("choice: half of each round is drawn, and rounds grow with what is there", "[predictor][choice]") {
  auto check = [](int64_t measured, int64_t drawn, int64_t left, int64_t random, int64_t chosen) {
    const Round r = next_round(measured, drawn, left);
    INFO(measured << " " << drawn << " " << left);
    CHECK(r.drawn == random);
    CHECK(r.chosen == chosen);
  };
  check(0, 0, 100, 5, 5);
  check(10, 5, 90, 3, 2);
  check(60, 30, 40, 5, 5);
  check(60, 30, 4, 2, 2);
  check(600, 300, 1000, 50, 50);
  check(500, 500, 100, 0, 83);  // a campaign of random ones before
  check(50, 0, 50, 5, 3);       // rows of unknown origin: an estimate comes first
  check(12, 5, 0, 0, 0);
}
