#include "predictor/regressor.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/program.h"
#include "predictor/additive.h"
#include "predictor/gp.h"
#include "predictor/mlp.h"
#include "predictor/transfer.h"

namespace ladarts {

namespace {

constexpr int64_t kPredictBatch = 256;

}  // namespace

std::vector<CostDistribution> of_rows(std::vector<CostDistribution> predicted, const Dataset& rows,
                                      double usual) {
  for (size_t i = 0; i < rows.relative_noise.size(); ++i) {
    const double noise = rows.relative_noise[i];
    if (noise > usual)
      predicted[i].deviation =
          std::hypot(predicted[i].deviation, predicted[i].mean * std::sqrt(noise * noise - usual * usual));
  }
  return predicted;
}

std::vector<double> Regressor::predict(const FeatureMatrix& x) const {
  if (x.rows == 0) return {};
  require(x.columns == features(), "[{}] expects {} features, the rows have {}", kind(), features(),
          x.columns);
  const int64_t batch = std::min(x.rows, kPredictBatch);
  const Device device = weights().front().second.buffer()->device();
  const Storage input = Storage::create(Shape{batch, x.columns}, DType::f32, device);
  Graph graph(device);
  const Storage output = graph.bind_output(record(graph.leaf(input)));
  Program program = compile(graph);

  std::vector<float> rows(size_t(batch * x.columns)), costs(static_cast<size_t>(batch));
  std::vector<double> result;
  for (int64_t begin = 0; begin < x.rows; begin += batch) {
    const int64_t count = std::min(batch, x.rows - begin);  // rows beyond are left from the batch before
    std::copy_n(x.values.begin() + begin * x.columns, count * x.columns, rows.begin());
    input.upload(std::span<const float>(rows));
    program.run();
    output.download(std::span<float>(costs));
    result.insert(result.end(), costs.begin(), costs.begin() + count);
  }
  return result;
}

std::vector<CostDistribution> Regressor::distribution(const FeatureMatrix&) const {
  fail("[{}] does not know how certain it is; fit a predictor with --model gp", kind());
}

RecordedDistribution Regressor::record_distribution(Tensor) const {
  fail("[{}] does not know how certain it is; fit a predictor with --model gp, or search with --certainty 0",
       kind());
}

RelativeCovariance Regressor::covariance(const FeatureMatrix&) const {
  fail("[{}] does not know how certain it is; fit a predictor with --model gp", kind());
}

std::unique_ptr<Regressor> make_regressor(std::string_view kind, const nlohmann::json& configuration,
                                          Device device) try {
  const auto features = configuration.at("features").get<int64_t>();
  require(features > 0, "[predictor] a regressor of {} features", features);
  if (kind == "additive")
    return std::make_unique<AdditiveRegressor>(std::vector<double>(size_t(features)), 0.0, device);
  if (kind == "gp") return make_gp(configuration, device);
  if (kind == "transfer" || kind == "stack") return make_transfer(kind, configuration, device);
  require(kind == "mlp",
          "[predictor] unknown kind of regressor '{}'; known are gp, stack, transfer, mlp and additive",
          kind);
  MlpOptions options;
  options.hidden = configuration.at("hidden").get<std::vector<int>>();
  options.linear_skip = configuration.at("linear_skip").get<bool>();
  options.members = configuration.at("members").get<int>();
  return std::make_unique<MlpRegressor>(features, options, device);
} catch (const nlohmann::json::exception& e) {
  fail("[predictor] configuration of the regressor: {}", e.what());
}

}  // namespace ladarts
