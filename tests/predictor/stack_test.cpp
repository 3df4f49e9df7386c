#include "predictor/stack.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "predictor/fit.h"
#include "tests/predictor/regressor_support.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// Far from additive, in a way that no feature names: what three edges cost depends on all of them.
Dataset entangled(int rows, uint64_t seed) {
  Dataset data = table_costs(rows, seed);
  Random values(99);
  std::vector<double> table(kOps * kOps * kOps);
  for (double& v : table) v = values.uniform(0, 12);
  for (int64_t i = 0; i < data.size(); ++i) {
    size_t at = 0;
    for (size_t e = 0; e < 3; ++e)
      for (size_t op = 0; op < kOps; ++op)
        if (data.features.row(i)[e * kOps + op] > 0) at = at * kOps + op;
    data.costs[size_t(i)] += table[at];
  }
  return data;
}

double error_of(const Regressor& model, const Dataset& test) {
  return error_report(model.predict(test.features), test.costs).mean_relative_error;
}

MlpOptions brisk() {
  MlpOptions o = quick();
  o.hidden = {32, 32};
  o.epochs = 100;
  return o;
}

}  // namespace

TEST_CASE("mlp: what it says of left-out rows is about as good as of new ones", "[predictor][mlp][stack]") {
  const Dataset train = entangled(600, 1), test = entangled(600, 2);
  const FittedMlp fitted = fit_mlp_leaving_out(train, brisk());
  REQUIRE(int64_t(fitted.left_out.size()) == train.size());
  const double left_out = error_report(fitted.left_out, train.costs).mean_relative_error,
               seen = error_of(*fitted.model, train), unseen = error_of(*fitted.model, test);
  INFO(left_out << " seen " << seen << " unseen " << unseen);
  CHECK(left_out > 1.2 * seen);
  CHECK(left_out > 0.9 * unseen);  // of fewer members
  CHECK(left_out < 2 * unseen);
  // The plain fit is the same model.
  CHECK(flat(*fit_mlp(train, brisk())) == flat(*fitted.model));
  MlpOptions single = brisk();
  single.members = 1;
  CHECK(fit_mlp_leaving_out(train, single).left_out.empty());
  CHECK_THROWS_WITH(fit_stack(train, fit_mlp_leaving_out(train, single)),
                    ContainsSubstring("several members"));
}

TEST_CASE("mlp: many rows take fewer epochs, unless told otherwise", "[predictor][mlp]") {
  const Dataset data = table_costs(200, 1);
  MlpOptions o = quick();
  int epochs = 0;
  o.progress = [&](int, int all, double) { epochs = all; };
  o.most_row_visits = 200 * 12;
  fit_mlp(data, o);
  CHECK(epochs == 12);
  o.most_row_visits = 200 * 2;
  fit_mlp(data, o);
  CHECK(epochs == 10);
  o.most_row_visits = 0;
  fit_mlp(data, o);
  CHECK(epochs == o.epochs);
}

TEST_CASE("stack: takes from the MLP what the process does not see", "[predictor][stack]") {
  const Dataset train = entangled(900, 1), test = entangled(600, 2);
  const FittedMlp mlp = fit_mlp_leaving_out(train, brisk());
  GpOptions options;
  options.tuning_rows = 200;
  options.most_rows = 300;
  const FittedGp gp = fit_gp_leaving_out(train, options);
  const FittedStack stack = fit_stack(train, mlp, options);
  const double with = error_of(*stack.model, test), without = error_of(*gp.model, test);
  INFO(with << " without " << without << " left out " << stack.left_out_error << " " << gp.left_out_error);
  CHECK(with < 0.8 * without);
  CHECK(is_better(stack, gp));
  // What left-out rows say of both is what new ones say.
  CHECK(gp.left_out_error == Approx(without).epsilon(0.25));
  CHECK(stack.left_out_error == Approx(with).epsilon(0.4));

  const auto distribution = stack.model->distribution(test.features);
  const auto predicted = stack.model->predict(test.features);
  for (size_t i = 0; i < predicted.size(); ++i)
    CHECK(predicted[i] == Approx(distribution[i].mean).epsilon(1e-3));
  CHECK(calibration(distribution, test.costs).within_two > 0.8);  // of 0.95; what is left is not normal
  check_feature_gradient(*stack.model, 5);
}

TEST_CASE("stack: a file gives the same model again", "[predictor][stack]") {
  const TempFolder folder;
  const Dataset data = entangled(kMinStackRows, 1);
  GpOptions options;
  options.tuning_rows = options.most_rows = 60;
  const auto model = fit_stack(data, fit_mlp_leaving_out(data, quick()), options).model;
  save_predictor(folder / "p", *model, example_info());
  const Predictor read = load_predictor(folder / "p");
  CHECK(read.regressor->kind() == "stack");
  CHECK(flat(*read.regressor) == flat(*model));
  CHECK(read.regressor->predict(data.features) == model->predict(data.features));
  const auto a = read.regressor->distribution(data.features), b = model->distribution(data.features);
  for (size_t i = 0; i < a.size(); ++i) CHECK(a[i].deviation == b[i].deviation);
}

TEST_CASE("stack: the default takes it only where it is better", "[predictor][stack]") {
  GpOptions options;
  options.tuning_rows = 150;
  options.most_rows = 300;
  CHECK(fit_default(entangled(kMinStackRows - 1, 1), options, brisk())->kind() == "gp");
  CHECK(fit_default(entangled(900, 1), options, brisk())->kind() == "stack");
  CHECK(fit_default(table_costs(kMinStackRows, 1), options, quick())->kind() == "gp");  // additive
}

TEST_CASE("fit: a stack that is asked for is kept where it is not better, too", "[predictor][fit][stack]") {
  FitOptions options;
  options.mlp = quick();
  options.mlp.epochs = 10;
  options.gp.tuning_rows = 60;
  options.gp.most_rows = 100;
  options.test_fraction = 0.05;
  const Dataset data = table_costs(320, 1);  // additive
  const FitResult without = fit_predictors(data, options);
  CHECK_FALSE(without.stack);
  CHECK_THROWS_WITH(without.model("stack"), ContainsSubstring("takes 300 architectures"));
  options.keep_stack = true;
  const FitResult with = fit_predictors(data, options);
  CHECK(with.model("stack").kind() == "stack");
  CHECK(with.model("auto").kind() == "gp");
  CHECK(with.report.of("stack").n == with.report.n_test);
}

TEST_CASE("fit: auto is the stack where it is better, and its report survives JSON",
          "[predictor][fit][stack]") {
  FitOptions options;
  options.mlp = brisk();
  options.gp.tuning_rows = 150;
  options.gp.most_rows = 300;
  const FitResult fitted = fit_predictors(entangled(900, 1), options);
  REQUIRE(fitted.stack);
  CHECK(&fitted.model("auto") == fitted.stack.get());
  CHECK(&fitted.model("gp") == fitted.gp.get());
  CHECK(fitted.report.of("stack").mean_relative_error < fitted.report.of("gp").mean_relative_error);
  const nlohmann::json j = fitted.report;
  const auto again = j.get<FitReport>();
  CHECK(again.stack->mean_relative_error == fitted.report.stack->mean_relative_error);
  CHECK(again.stack_calibration->within_one == fitted.report.stack_calibration->within_one);
}
