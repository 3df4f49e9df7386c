#include "predictor/stack.h"

#include <algorithm>

#include "core/error.h"

namespace ladarts {

namespace {

constexpr double kFloor = 0.1;  // of the least cost fitted: a prediction below is none
constexpr double kBetter = 0.98;

}  // namespace

FittedStack fit_stack(const Dataset& data, const FittedMlp& mlp, const GpOptions& options, Device device) {
  data.check();
  require(int64_t(mlp.left_out.size()) == data.size(),
          "[stack] an MLP left out {} rows of {}; it needs several members, fitted to the same rows",
          mlp.left_out.size(), data.size());
  const double floor = kFloor * *std::min_element(data.costs.begin(), data.costs.end());
  Dataset more = data;
  more.features = with_predictions(data.features, {mlp.left_out}, {floor});
  GpOptions gp = options;
  if (gp.expansion.inputs == 0) gp.expansion = FeatureExpansion::identity(data.features.columns);
  gp.expansion = gp.expansion.with_more_inputs(1);
  FittedGp fitted = fit_gp_leaving_out(more, gp, device);
  auto model = std::make_unique<StackRegressor>(std::vector<std::shared_ptr<const Regressor>>{mlp.model},
                                                std::vector<double>{floor}, std::move(fitted.model));
  return {std::move(model), fitted.left_out_error};
}

bool is_better(const FittedStack& stack, const FittedGp& gp) {
  return stack.left_out_error < kBetter * gp.left_out_error;
}

std::unique_ptr<Regressor> fit_default(const Dataset& data, const GpOptions& gp_options,
                                       const MlpOptions& mlp_options, Device device) {
  FittedGp gp = fit_gp_leaving_out(data, gp_options, device);
  if (data.size() < kMinStackRows) return std::move(gp.model);
  FittedStack stack = fit_stack(data, fit_mlp_leaving_out(data, mlp_options, device), gp_options, device);
  if (is_better(stack, gp)) return std::move(stack.model);
  return std::move(gp.model);
}

}  // namespace ladarts
