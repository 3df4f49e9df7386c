#include "predictor/fit.h"

#include <fmt/ranges.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace ladarts {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void to_json(nlohmann::json& j, const FitReport& r) {
  j = {{"n_train", r.n_train},   {"n_test", r.n_test},           {"mlp", r.mlp},
       {"additive", r.additive}, {"mlp_seconds", r.mlp_seconds}, {"additive_seconds", r.additive_seconds}};
  if (r.held_out_noise > 0) j["held_out_noise"] = r.held_out_noise;
  if (r.transfer) {
    j["transfer"] = *r.transfer;
    j["transfer_within_one_deviation"] = r.transfer_calibration->within_one;
    j["transfer_within_two_deviations"] = r.transfer_calibration->within_two;
  }
  if (r.stack) {
    j["stack"] = *r.stack;
    j["stack_seconds"] = r.stack_seconds;
    j["stack_within_one_deviation"] = r.stack_calibration->within_one;
    j["stack_within_two_deviations"] = r.stack_calibration->within_two;
  }
  if (!r.gp) return;
  j["gp"] = *r.gp;
  j["gp_seconds"] = r.gp_seconds;
  j["gp_within_one_deviation"] = r.gp_calibration->within_one;
  j["gp_within_two_deviations"] = r.gp_calibration->within_two;
}

void from_json(const nlohmann::json& j, FitReport& r) {
  r = {};
  j.at("n_train").get_to(r.n_train);
  j.at("n_test").get_to(r.n_test);
  j.at("mlp").get_to(r.mlp);
  j.at("additive").get_to(r.additive);
  j.at("mlp_seconds").get_to(r.mlp_seconds);
  j.at("additive_seconds").get_to(r.additive_seconds);
  r.held_out_noise = j.value("held_out_noise", 0.0);
  if (j.contains("transfer")) {
    r.transfer = j.at("transfer").get<ErrorReport>();
    r.transfer_calibration = {j.at("transfer_within_one_deviation").get<double>(),
                              j.at("transfer_within_two_deviations").get<double>()};
  }
  if (j.contains("stack")) {
    r.stack = j.at("stack").get<ErrorReport>();
    j.at("stack_seconds").get_to(r.stack_seconds);
    r.stack_calibration = {j.at("stack_within_one_deviation").get<double>(),
                           j.at("stack_within_two_deviations").get<double>()};
  }
  if (!j.contains("gp")) return;
  r.gp = j.at("gp").get<ErrorReport>();
  j.at("gp_seconds").get_to(r.gp_seconds);
  r.gp_calibration = {j.at("gp_within_one_deviation").get<double>(),
                      j.at("gp_within_two_deviations").get<double>()};
}

double mean_noise(std::span<const double> relative_noise) {
  constexpr double kMeanOfNormal = 0.797885;  // of |x|
  double sum = 0;
  for (const double noise : relative_noise) sum += noise;
  return relative_noise.empty() ? 0 : kMeanOfNormal * sum / double(relative_noise.size());
}

const ErrorReport& FitReport::of(std::string_view kind) const {
  if (kind == "mlp") return mlp;
  if (kind == "additive") return additive;
  if (kind == "gp" && gp) return *gp;
  if (kind == "stack" && stack) return *stack;
  if (kind == "transfer" && transfer) return *transfer;
  fail("[predictor] its report has no errors of a model '{}'", kind);
}

Calibration calibration(std::span<const CostDistribution> predicted, std::span<const double> measured) {
  require(predicted.size() == measured.size() && !measured.empty(),
          "[calibration] {} predictions of {} costs", predicted.size(), measured.size());
  Calibration c;
  for (size_t i = 0; i < measured.size(); ++i) {
    const double off = std::abs(predicted[i].mean - measured[i]);
    c.within_one += off <= predicted[i].deviation ? 1 : 0;
    c.within_two += off <= 2 * predicted[i].deviation ? 1 : 0;
  }
  c.within_one /= double(measured.size());
  c.within_two /= double(measured.size());
  return c;
}

const std::vector<std::string>& predictor_models() {
  static const std::vector<std::string> names = {"auto", "gp", "stack", "mlp", "paper", "additive"};
  return names;
}

const Regressor& FitResult::model(std::string_view name) const {
  if (name == "additive") return *additive;
  if (name == "mlp" || name == "paper") return *mlp;
  if (name == "auto") return stack_is_better ? static_cast<const Regressor&>(*stack) : *gp;
  if (name == "stack") {
    require(stack != nullptr, "[fit] no stack: it takes {} architectures beside those held out, there are {}",
            kMinStackRows, report.n_train);
    return *stack;
  }
  require(name == "gp", "[fit] unknown model '{}'; known are {}", name, fmt::join(predictor_models(), ", "));
  return *gp;
}

FitResult fit_predictors(const Dataset& data, const FitOptions& options, Device device) {
  data.check();
  const Split split = split_rows(data, options.test_fraction, options.seed);
  const Dataset train = data.subset(split.train), test = data.subset(split.test);
  MlpOptions mlp = options.mlp;
  AdditiveOptions additive = options.additive;
  GpOptions gp = options.gp;
  mlp.seed = additive.seed = gp.seed = options.seed;

  FitResult result;
  result.report.n_train = train.size();
  result.report.n_test = test.size();
  result.report.held_out_noise = mean_noise(test.relative_noise);
  const auto certainty = [&](const Regressor& model) {
    return calibration(of_rows(model.distribution(test.features), test, train.usual_noise()), test.costs);
  };
  auto start = std::chrono::steady_clock::now();
  result.additive = fit_additive(train, additive, device);
  result.report.additive_seconds = seconds_since(start);
  start = std::chrono::steady_clock::now();
  FittedMlp fitted_mlp = fit_mlp_leaving_out(train, mlp, device);
  result.mlp = fitted_mlp.model;
  result.report.mlp_seconds = seconds_since(start);
  result.report.additive = error_report(result.additive->predict(test.features), test.costs);
  result.report.mlp = error_report(result.mlp->predict(test.features), test.costs);
  start = std::chrono::steady_clock::now();
  FittedGp fitted_gp = fit_gp_leaving_out(train, gp, device);
  result.report.gp_seconds = seconds_since(start);
  result.report.gp = error_report(fitted_gp.model->predict(test.features), test.costs);
  result.report.gp_calibration = certainty(*fitted_gp.model);
  result.gp = fit_gp(data, gp, device);
  if (mlp.members < 2 || train.size() < kMinStackRows) return result;

  start = std::chrono::steady_clock::now();
  const FittedStack stack = fit_stack(train, fitted_mlp, gp, device);
  result.stack_is_better = is_better(stack, fitted_gp);
  if (!result.stack_is_better && !options.keep_stack) return result;
  result.report.stack_seconds = seconds_since(start);
  result.report.stack = error_report(stack.model->predict(test.features), test.costs);
  result.report.stack_calibration = certainty(*stack.model);
  if (options.mlp.progress)  // told of one fit from beginning to end, it can still interrupt this one
    mlp.progress = [&](int, int epochs, double error) { options.mlp.progress(epochs, epochs, error); };
  result.stack = fit_stack(data, fit_mlp_leaving_out(data, mlp, device), gp, device).model;
  return result;
}

TransferResult fit_from(const Dataset& data, const std::vector<std::shared_ptr<const Regressor>>& sources,
                        const FitOptions& options, Device device) {
  constexpr int kFolds = 5;
  data.check();
  require(data.size() >= kMinTransferRows, "[transfer] {} measured architectures; it takes {} or more",
          data.size(), kMinTransferRows);
  GpOptions gp = options.gp;
  AdditiveOptions additive = options.additive;
  gp.seed = additive.seed = options.seed;
  std::vector<double> by_transfer, by_gp, by_additive, costs;
  std::vector<CostDistribution> transfer_distribution, gp_distribution;
  for (const Split& split : fold_rows(data, kFolds, options.seed)) {
    const Dataset train = data.subset(split.train), test = data.subset(split.test);
    const auto with = fit_transfer(train, sources, gp, device);
    const auto without = fit_gp(train, gp, device);
    const auto append = [&](std::vector<double>& all, const Regressor& r) {
      for (const double cost : r.predict(test.features)) all.push_back(cost);
    };
    append(by_transfer, *with);
    append(by_gp, *without);
    append(by_additive, *fit_additive(train, additive, device));
    const auto distribution = [&](std::vector<CostDistribution>& all, const Regressor& r) {
      const auto part = of_rows(r.distribution(test.features), test, train.usual_noise());
      all.insert(all.end(), part.begin(), part.end());
    };
    distribution(transfer_distribution, *with);
    distribution(gp_distribution, *without);
    costs.insert(costs.end(), test.costs.begin(), test.costs.end());
  }
  TransferResult result;
  result.report.n_train = result.report.n_test = data.size();
  result.report.held_out_noise = mean_noise(data.relative_noise);
  result.report.transfer = error_report(by_transfer, costs);
  result.report.transfer_calibration = calibration(transfer_distribution, costs);
  result.report.gp = error_report(by_gp, costs);
  result.report.gp_calibration = calibration(gp_distribution, costs);
  result.report.additive = error_report(by_additive, costs);
  result.model = fit_transfer(data, sources, gp, device);
  return result;
}

}  // namespace ladarts
