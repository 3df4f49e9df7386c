#include "predictor/transfer.h"

#include "predictor/fit.h"
#include "tests/predictor/regressor_support.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// Another device: 1.7 times the cost to the power 0.8, and operation 3 of edge 5 is slow there.
Dataset elsewhere(int rows, uint64_t seed) {
  Dataset data = table_costs(rows, seed, 1.5);
  for (int64_t i = 0; i < data.size(); ++i) {
    double& cost = data.costs[size_t(i)];
    cost = 1.7 * std::pow(cost, 0.8) * (data.features.row(i)[5 * kOps + 3] > 0 ? 1.2 : 1);
  }
  return data;
}

std::shared_ptr<const Regressor> source(int rows = 300) {
  return fit_gp(table_costs(rows, 1, 1.5));
}

}  // namespace

TEST_CASE("transfer: few measurements of a device like another are enough", "[predictor][transfer]") {
  const Dataset few = elsewhere(12, 2), test = elsewhere(400, 3);
  const double with =
      error_report(fit_transfer(few, {source()})->predict(test.features), test.costs).mean_relative_error;
  const double without = error_report(fit_gp(few)->predict(test.features), test.costs).mean_relative_error;
  INFO(with << " " << without);
  CHECK(with < 0.06);
  CHECK(with < 0.7 * without);
}

TEST_CASE("transfer: predictions, their gradient and the host's distribution agree",
          "[predictor][transfer]") {
  const auto model = fit_transfer(elsewhere(20, 2), {source(40), fit_additive(table_costs(100, 7))});
  check_feature_gradient(*model, 5);
  const Dataset test = elsewhere(30, 4);
  const auto predicted = model->predict(test.features);
  const auto distribution = model->distribution(test.features);
  for (size_t i = 0; i < predicted.size(); ++i) {
    CHECK(predicted[i] == Approx(distribution[i].mean).epsilon(1e-3));
    CHECK(distribution[i].deviation > 0);
  }
}

TEST_CASE("transfer: a file holds the sources too", "[predictor][transfer]") {
  const TempFolder folder;
  const auto model = fit_transfer(elsewhere(20, 2), {source(), fit_additive(table_costs(100, 7))});
  save_predictor(folder / "p.safetensors", *model, example_info());
  const Predictor read = load_predictor(folder / "p.safetensors");
  CHECK(read.regressor->kind() == "transfer");
  CHECK(flat(*read.regressor) == flat(*model));
  const Dataset test = elsewhere(30, 4);
  CHECK(read.regressor->predict(test.features) == model->predict(test.features));
}

TEST_CASE("transfer: what cannot be a source is refused", "[predictor][transfer]") {
  const Dataset few = elsewhere(12, 2);
  CHECK_THROWS_WITH(fit_transfer(few, {}), ContainsSubstring("no predictor of another device"));
  Dataset wide = few;
  wide.features = {};
  for (int64_t i = 0; i < few.size(); ++i) {
    std::vector<float> row(few.features.row(i).begin(), few.features.row(i).end());
    row.push_back(1);
    wide.features.append(row);
  }
  CHECK_THROWS_WITH(fit_transfer(wide, {source()}), ContainsSubstring("24 features"));
  CHECK_THROWS_WITH(
      fit_transfer(few, {std::make_shared<AdditiveRegressor>(std::vector<double>(24, 0.0), -1.0)}),
      ContainsSubstring("cannot be trusted"));
}
