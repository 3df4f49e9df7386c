#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "predictor/mlp_fit_step.h"
#include "predictor/predictor_file.h"
#include "tests/predictor/regressor_support.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
using namespace ladarts::testing;

TEST_CASE("additive: recovers a table of additive costs", "[predictor][additive]") {
  const Dataset train = table_costs(300, 1), test = table_costs(200, 2);
  const auto model = fit_additive(train, {.ridges = {1e-9}});
  const ErrorReport r = error_report(model->predict(test.features), test.costs);
  CHECK(r.mean_relative_error < 1e-6);
  CHECK(r.kendall > 0.9999);
}

TEST_CASE("additive: cross-validation picks the ridge that noise asks for", "[predictor][additive]") {
  Dataset train = table_costs(30, 1);  // hardly more rows than unknowns
  Random random(5);
  for (double& c : train.costs) c *= 1 + 0.2 * random.normal();
  const Dataset test = table_costs(500, 2);
  const auto error = [&](const std::vector<double>& ridges) {
    const auto model = fit_additive(train, {.ridges = ridges});
    return error_report(model->predict(test.features), test.costs).mean_relative_error;
  };
  CHECK(error({1e-6, 1e-2, 1e-1, 1}) < 0.8 * error({1e-6}));
}

TEST_CASE("additive: Cholesky solves, and refuses what is not positive definite", "[predictor][additive]") {
  const std::vector<double> x = solve_cholesky({4, 2, 0, 2, 5, 3, 0, 3, 6}, {8, 21, 24});
  REQUIRE(x.size() == 3);
  CHECK(x[0] == Approx(1));
  CHECK(x[1] == Approx(2));
  CHECK(x[2] == Approx(3));
  CHECK_THROWS_WITH(solve_cholesky({1, 2, 2, 1}, {1, 1}), ContainsSubstring("larger ridge"));
}

TEST_CASE("mlp: gradients with respect to features match finite differences", "[predictor][mlp]") {
  const Dataset data = table_costs(200, 3, 4.0);
  check_feature_gradient(*fit_mlp(data, quick()), 1);
  MlpOptions plain = quick();
  plain.linear_skip = false;
  plain.members = 1;
  check_feature_gradient(*fit_mlp(data, plain), 2);
  check_feature_gradient(*fit_additive(data), 3);
}

TEST_CASE("mlp: learns what is not additive", "[predictor][mlp]") {
  const Dataset train = table_costs(600, 4, 4.0), test = table_costs(400, 5, 4.0);
  const double additive =
      error_report(fit_additive(train)->predict(test.features), test.costs).mean_relative_error;
  MlpOptions options = quick();
  options.hidden = {32, 32};
  options.epochs = 100;
  const double mlp =
      error_report(fit_mlp(train, options)->predict(test.features), test.costs).mean_relative_error;
  CHECK(additive > 0.08);
  CHECK(mlp < 0.25 * additive);
}

TEST_CASE("mlp: is no worse than the additive fit where costs are additive", "[predictor][mlp]") {
  const Dataset train = table_costs(120, 6), test = table_costs(400, 7);
  CHECK(error_report(fit_mlp(train, quick())->predict(test.features), test.costs).mean_relative_error < 1e-3);
}

TEST_CASE("mlp: the paper's plain network beats a constant by far", "[predictor][mlp]") {
  const Dataset train = table_costs(300, 8, 1.0), test = table_costs(300, 9, 1.0);
  MlpOptions options = MlpOptions::paper();
  CHECK(options.hidden == std::vector{512, 512});
  options.hidden = {64, 64};  // a quicker one of the same form
  options.epochs = 80;
  const auto model = fit_mlp(train, options);
  std::vector<double> sorted = train.costs;
  std::sort(sorted.begin(), sorted.end());
  const std::vector<double> constant(test.costs.size(), sorted[sorted.size() / 2]);
  const ErrorReport r = error_report(model->predict(test.features), test.costs);
  CHECK(r.mean_relative_error < 0.4 * error_report(constant, test.costs).mean_relative_error);
  CHECK(r.spearman > 0.9);
}

TEST_CASE("mlp: a step of its fit has no passes for ReLU", "[predictor][mlp]") {
  const MlpOptions options = MlpOptions::paper();
  MlpRegressor model(224, options);
  MlpFitStep step(model, options, 64);
  const std::vector<NodeInfo> nodes = step.program().nodes();
  CHECK(nodes.size() == 16);
  for (const NodeInfo& node : nodes) CHECK_THAT(node.op, !ContainsSubstring("relu"));
}

TEST_CASE("mlp: same seed, same bits; another seed, others", "[predictor][mlp]") {
  const Dataset data = table_costs(100, 10, 1.0);
  MlpOptions options = quick();
  options.epochs = 5;
  const std::vector<float> a = flat(*fit_mlp(data, options)), b = flat(*fit_mlp(data, options));
  options.seed = 1;
  const std::vector<float> c = flat(*fit_mlp(data, options));
  CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
  CHECK(a != c);
}

TEST_CASE("mlp: data that cannot be fitted is refused", "[predictor][mlp]") {
  Dataset data = table_costs(30, 1);
  data.costs[7] = 0;
  CHECK_THROWS_WITH(fit_mlp(data), ContainsSubstring("row 7 has cost 0"));
  data.costs[7] = 1;
  data.features.values[3] = NAN;
  CHECK_THROWS_WITH(fit_additive(data), ContainsSubstring("row 0 has a feature that is not finite"));
  CHECK_THROWS_WITH(fit_mlp(table_costs(9, 1)), ContainsSubstring("9 rows are too few"));
  MlpOptions options;
  options.hidden.clear();
  CHECK_THROWS_WITH(fit_mlp(table_costs(30, 1), options), ContainsSubstring("no hidden layer"));
  CHECK_THROWS_WITH(fit_additive(table_costs(30, 1))->predict(FeatureMatrix{1, 2, {0, 1}}),
                    ContainsSubstring("expects 24 features"));
}

TEST_CASE("mlp: costs that are all the same are predicted", "[predictor][mlp]") {
  Dataset data = table_costs(40, 1);
  std::fill(data.costs.begin(), data.costs.end(), 5.0);
  for (const double y : fit_mlp(data, quick())->predict(data.features)) CHECK(y == Approx(5).epsilon(1e-3));
}

TEST_CASE("dataset: splits and folds keep groups together and lose no row", "[predictor][dataset]") {
  Dataset data = table_costs(100, 1);
  for (int64_t i = 0; i < 100; ++i) data.groups.push_back(i / 4);
  const auto groups_of = [&](const std::vector<int64_t>& rows) {
    std::set<int64_t> groups;
    for (const int64_t i : rows) groups.insert(data.groups[size_t(i)]);
    return groups;
  };
  const Split split = split_rows(data, 0.2, 3);
  CHECK(split.test.size() == 20);
  CHECK(split.train.size() == 80);
  CHECK(groups_of(split.test).size() + groups_of(split.train).size() == 25);
  CHECK(split_rows(data, 0.2, 4).test != split.test);
  std::multiset<int64_t> tested;
  for (const Split& fold : fold_rows(data, 5, 3)) {
    CHECK(groups_of(fold.test).size() + groups_of(fold.train).size() == 25);
    tested.insert(fold.test.begin(), fold.test.end());
  }
  CHECK(tested.size() == 100);
  CHECK(std::set<int64_t>(tested.begin(), tested.end()).size() == 100);
  CHECK_THROWS_WITH(split_rows(data, 1.0, 0), ContainsSubstring("between 0 and 1"));
  CHECK_THROWS_WITH(fold_rows(data, 26, 0), ContainsSubstring("there are 25"));
}

TEST_CASE("fit: the report is of rows that were not fitted on", "[predictor][fit]") {
  Dataset data = table_costs(200, 11);
  // The costs of the held-out rows are nonsense: a fit that saw them would not be exact on the rest.
  FitOptions options;
  options.mlp = quick();
  options.seed = 5;
  for (const int64_t i : split_rows(data, options.test_fraction, options.seed).test)
    data.costs[size_t(i)] *= 3;
  const FitResult result = fit_predictors(data, options);
  CHECK(result.report.n_train == 160);
  CHECK(result.report.n_test == 40);
  CHECK(result.report.additive.mean_relative_error == Approx(2.0 / 3).margin(0.01));
  CHECK(result.report.mlp.mean_relative_error == Approx(2.0 / 3).margin(0.01));
  const auto back = nlohmann::json::parse(nlohmann::json(result.report).dump()).get<FitReport>();
  CHECK(back.mlp.kendall == result.report.mlp.kendall);
}

TEST_CASE("predictor file: predictions come back bit for bit", "[predictor][file]") {
  const TempFolder folder;
  const Dataset data = table_costs(60, 12, 1.0);
  MlpOptions options = quick();
  options.epochs = 3;
  const std::unique_ptr<Regressor> models[] = {fit_mlp(data, options), fit_additive(data)};
  for (const auto& model : models) {
    save_predictor(folder / "p.safetensors", *model, example_info());
    const Predictor p = load_predictor(
        folder / "p.safetensors",
        PredictorExpectation{.context = example_info().context, .feature_names = feature_names()});
    CHECK(p.regressor->kind() == model->kind());
    CHECK(p.regressor->predict(data.features) == model->predict(data.features));
    CHECK(p.context == example_info().context);
    CHECK(p.report.mlp.spearman == 0.987);
    CHECK(p.report.n_test == 17);
    CHECK(p.probe_ms == 0.125);
  }
}

TEST_CASE("predictor file: a predictor of something else is refused by name", "[predictor][file]") {
  const TempFolder folder;
  const auto path = folder / "p.safetensors";
  save_predictor(path, *fit_additive(table_costs(60, 1)), example_info());
  const PredictorExpectation right{.context = example_info().context, .feature_names = feature_names()};
  PredictorExpectation other = right;
  other.context.space = "nasbench201";
  CHECK_THROWS_WITH(load_predictor(path, other), ContainsSubstring("space is 'darts', but 'nasbench201'"));
  other = right;
  other.feature_names[3] = "edge0.renamed";
  CHECK_THROWS_WITH(load_predictor(path, other), ContainsSubstring("other features"));
  other.feature_names.pop_back();
  CHECK_THROWS_WITH(load_predictor(path, other), ContainsSubstring("number of features is '24'"));
  other = right;
  other.context.device = "b cpu";
  other.context.threads = 8;
  CHECK_THROWS_WITH(load_predictor(path, other), ContainsSubstring("device is 'a cpu', but 'b cpu'") &&
                                                     ContainsSubstring("threads is '2', but '8'"));
  other.allow_other_device = true;
  CHECK_NOTHROW(load_predictor(path, other));
}

TEST_CASE("predictor file: broken files are refused, a full disk keeps the old one", "[predictor][file]") {
  const TempFolder folder;
  const auto path = folder / "p.safetensors";
  CHECK_THROWS_AS(load_predictor(folder / "none"), Error);
  save_storages(folder / "weights", {{"w", Storage::create(Shape{2})}});
  CHECK_THROWS_WITH(load_predictor(folder / "weights"), ContainsSubstring("no predictor"));
  save_storages(folder / "bad", {{"w", Storage::create(Shape{2})}},
                {{"format", "ladarts predictor 1"}, {"predictor", "{}"}});
  CHECK_THROWS_WITH(load_predictor(folder / "bad"), ContainsSubstring("damaged description"));

  const auto model = fit_additive(table_costs(60, 1));
  save_predictor(path, *model, example_info());
  const auto size = std::filesystem::file_size(path);
  std::filesystem::copy_file(path, folder / "short");
  std::filesystem::resize_file(folder / "short", size - 5);
  CHECK_THROWS_AS(load_predictor(folder / "short"), Error);
  {
    const FileSizeLimit limit(100);
    CHECK_THROWS_AS(save_predictor(path, *fit_additive(table_costs(60, 2)), example_info()), Error);
  }
  const Dataset data = table_costs(60, 1);
  CHECK(load_predictor(path).regressor->predict(data.features) == model->predict(data.features));
}
