#include "predictor/transfer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "predictor/stack.h"

namespace ladarts {

namespace {

using Sources = std::vector<std::shared_ptr<const Regressor>>;

constexpr double kFloor =
    0.1;  // of a source's least prediction for the rows fitted: what is below is no cost

FeatureMatrix extended(const FeatureMatrix& x, const Sources& sources, const std::vector<double>& floors) {
  std::vector<std::vector<double>> predicted;
  for (const auto& source : sources) predicted.push_back(source->predict(x));
  return with_predictions(x, predicted, floors);
}

Device device_of(const Regressor& r) {
  return r.weights().front().second.buffer()->device();
}

Tensor constant(Graph& graph, Shape shape, const std::vector<float>& values) {
  const Storage s = Storage::create(shape, DType::f32, graph.device());
  s.upload(std::span<const float>(values));
  return graph.leaf(s);
}

// (N, columns) -> (N, width), its columns from `at` on, zeros elsewhere.
Tensor placed(Tensor x, int64_t width, int64_t at) {
  const int64_t columns = x.dim(1);
  std::vector<float> weight(size_t(width * columns));
  for (int64_t k = 0; k < columns; ++k) weight[size_t((at + k) * columns + k)] = 1;
  return linear(x, constant(x.graph(), {width, columns}, weight));
}

}  // namespace

FeatureMatrix with_predictions(const FeatureMatrix& x, const std::vector<std::vector<double>>& predicted,
                               const std::vector<double>& floors) {
  FeatureMatrix result;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<float> row(x.row(i).begin(), x.row(i).end());
    for (size_t k = 0; k < predicted.size(); ++k)
      row.push_back(float(std::log(std::max(predicted[k][size_t(i)], floors[k]))));
    result.append(row);
  }
  return result;
}

TransferRegressor::TransferRegressor(Sources sources, std::vector<double> floors,
                                     std::unique_ptr<GpRegressor> model)
    : sources_(std::move(sources)), floors_(std::move(floors)), model_(std::move(model)) {
  require(!sources_.empty() && floors_.size() == sources_.size(), "[transfer] {} sources with {} floors",
          sources_.size(), floors_.size());
  for (size_t k = 0; k < sources_.size(); ++k)
    require(sources_[k]->features() == features() && floors_[k] > 0,
            "[transfer] source {} has {} features and the floor {}; the first has {}", k,
            sources_[k]->features(), floors_[k], features());
  require(model_->features() == features() + int64_t(sources_.size()),
          "[transfer] a model of {} features for {} and {} sources", model_->features(), features(),
          sources_.size());
}

Tensor TransferRegressor::record_with_sources(Tensor x) const {
  const int64_t width = model_->features();
  Tensor all = placed(x, width, 0);
  for (size_t k = 0; k < sources_.size(); ++k) {
    // max(y, floor) = relu(y - floor) + floor
    const auto floor = float(floors_[k]);
    const Tensor one = constant(x.graph(), {1, 1}, {1.f});
    const Tensor above = relu(linear(sources_[k]->record(x), one, constant(x.graph(), {1}, {-floor})));
    const Tensor predicted = linear(above, one, constant(x.graph(), {1}, {floor}));
    all = add(all, placed(log(predicted), width, features() + int64_t(k)));
  }
  return all;
}

Tensor TransferRegressor::record(Tensor x) const {
  return model_->record(record_with_sources(x));
}

RecordedDistribution TransferRegressor::record_distribution(Tensor x) const {
  return model_->record_distribution(record_with_sources(x));
}

std::vector<CostDistribution> TransferRegressor::distribution(const FeatureMatrix& x) const {
  return model_->distribution(extended(x, sources_, floors_));
}

RelativeCovariance TransferRegressor::covariance(const FeatureMatrix& x) const {
  return model_->covariance(extended(x, sources_, floors_));
}

nlohmann::json TransferRegressor::configuration() const {
  nlohmann::json sources = nlohmann::json::array();
  for (size_t k = 0; k < sources_.size(); ++k)
    sources.push_back({{"kind", std::string(sources_[k]->kind())},
                       {"configuration", sources_[k]->configuration()},
                       {"floor", floors_[k]}});
  return {{"features", features()}, {"sources", sources}, {"model", model_->configuration()}};
}

NamedStorages TransferRegressor::weights() const {
  NamedStorages all;
  for (const auto& [name, storage] : model_->weights()) all.emplace_back("model." + name, storage);
  for (size_t k = 0; k < sources_.size(); ++k)
    for (const auto& [name, storage] : sources_[k]->weights())
      all.emplace_back(fmt::format("source{}.{}", k, name), storage);
  return all;
}

std::unique_ptr<TransferRegressor> make_transfer(std::string_view kind, const nlohmann::json& configuration,
                                                 Device device) {
  Sources sources;
  std::vector<double> floors;
  for (const auto& s : configuration.at("sources")) {
    sources.push_back(make_regressor(s.at("kind").get<std::string>(), s.at("configuration"), device));
    floors.push_back(s.at("floor").get<double>());
  }
  auto model = make_gp(configuration.at("model"), device);
  if (kind == "stack")
    return std::make_unique<StackRegressor>(std::move(sources), std::move(floors), std::move(model));
  return std::make_unique<TransferRegressor>(std::move(sources), std::move(floors), std::move(model));
}

std::unique_ptr<TransferRegressor> fit_transfer(const Dataset& data, Sources sources,
                                                const GpOptions& options, Device device) {
  data.check();
  require(!sources.empty(), "[transfer] no predictor of another device to start from");
  std::vector<double> floors;
  std::vector<std::vector<double>> predicted;
  for (const auto& source : sources) {
    require(source->features() == data.features.columns,
            "[transfer] a predictor of {} features as a source for architectures of {}", source->features(),
            data.features.columns);
    require(device_of(*source) == device, "[transfer] the sources must be loaded onto {}", device.str());
    const std::vector<double>& of_source = predicted.emplace_back(source->predict(data.features));
    const double least = *std::min_element(of_source.begin(), of_source.end());
    require(
        least > 0,
        "[transfer] a source predicts {} for one of the measured architectures; it cannot be trusted here",
        least);
    floors.push_back(kFloor * least);
  }
  Dataset more = data;
  more.features = with_predictions(data.features, predicted, floors);
  GpOptions gp = options;
  if (gp.expansion.inputs == 0) gp.expansion = FeatureExpansion::identity(data.features.columns);
  gp.expansion = gp.expansion.with_more_inputs(int64_t(sources.size()));
  auto model = fit_gp(more, gp, device);
  return std::make_unique<TransferRegressor>(std::move(sources), std::move(floors), std::move(model));
}

}  // namespace ladarts
