#include "predictor/fit.h"

#include <chrono>
#include <nlohmann/json.hpp>

namespace ladarts {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void to_json(nlohmann::json& j, const FitReport& r) {
  j = {{"n_train", r.n_train},   {"n_test", r.n_test},           {"mlp", r.mlp},
       {"additive", r.additive}, {"mlp_seconds", r.mlp_seconds}, {"additive_seconds", r.additive_seconds}};
}

void from_json(const nlohmann::json& j, FitReport& r) {
  j.at("n_train").get_to(r.n_train);
  j.at("n_test").get_to(r.n_test);
  j.at("mlp").get_to(r.mlp);
  j.at("additive").get_to(r.additive);
  j.at("mlp_seconds").get_to(r.mlp_seconds);
  j.at("additive_seconds").get_to(r.additive_seconds);
}

FitResult fit_predictors(const Dataset& data, const FitOptions& options, Device device) {
  data.check();
  const Split split = split_rows(data, options.test_fraction, options.seed);
  const Dataset train = data.subset(split.train), test = data.subset(split.test);
  MlpOptions mlp = options.mlp;
  AdditiveOptions additive = options.additive;
  mlp.seed = additive.seed = options.seed;

  FitResult result;
  result.report.n_train = train.size();
  result.report.n_test = test.size();
  auto start = std::chrono::steady_clock::now();
  result.additive = fit_additive(train, additive, device);
  result.report.additive_seconds = seconds_since(start);
  start = std::chrono::steady_clock::now();
  result.mlp = fit_mlp(train, mlp, device);
  result.report.mlp_seconds = seconds_since(start);
  result.report.additive = error_report(result.additive->predict(test.features), test.costs);
  result.report.mlp = error_report(result.mlp->predict(test.features), test.costs);
  return result;
}

}  // namespace ladarts
