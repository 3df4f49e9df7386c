#include "predictor/mlp.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"

namespace ladarts {

namespace {

std::string layer_name(int member, size_t layer) {
  return fmt::format("member{}.layer{}", member, layer);
}

void check(const MlpOptions& o, int64_t features) {
  require(features > 0, "[mlp] a regressor of {} features", features);
  require(o.members >= 1, "[mlp] {} members", o.members);
  for (const int width : o.hidden) require(width >= 1, "[mlp] a hidden layer of {} units", width);
  require(!o.hidden.empty(), "[mlp] no hidden layer; use the additive model instead");
}

}  // namespace

MlpOptions MlpOptions::paper() {
  MlpOptions o;
  o.hidden = {512, 512};
  o.linear_skip = false;
  o.members = 1;
  o.learning_rate = 1e-3f;
  return o;
}

MlpRegressor::MlpRegressor(int64_t features, const MlpOptions& options, Device device)
    : features_(features),
      hidden_(options.hidden),
      linear_skip_(options.linear_skip),
      members_(options.members),
      layers_(options.seed, device),
      skips_(options.seed, device),
      scale_(Storage::create(Shape{1, 1}, DType::f32, device)),
      shift_(Storage::create(Shape{1}, DType::f32, device)) {
  check(options, features);
  scale_.set(1);
  Graph declaration(device);
  for (int k = 0; k < members_; ++k) declare(declaration, k);
  layers_.values();
  if (linear_skip_) skips_.values();
}

MlpRegressor::~MlpRegressor() = default;

void MlpRegressor::declare(Graph& graph, int member) {
  int64_t width = features_;
  for (size_t i = 0; i <= hidden_.size(); ++i) {
    const bool last = i == hidden_.size();
    const int64_t outputs = last ? 1 : hidden_[i];
    // Beside the linear path the layers start as nothing.
    const Init init = last && linear_skip_ ? Init::constant(0) : Init::fan_in(width);
    layers_.get(graph, layer_name(member, i) + ".weight", Shape{outputs, width}, init);
    layers_.get(graph, layer_name(member, i) + ".bias", Shape{outputs}, init);
    width = outputs;
  }
  if (!linear_skip_) return;
  skips_.get(graph, fmt::format("member{}.skip.weight", member), Shape{1, features_}, Init::constant(0));
  skips_.get(graph, fmt::format("member{}.skip.bias", member), Shape{1}, Init::constant(0));
}

// (N, F) -> (N, 1), before scaling to the unit of the costs.
Tensor MlpRegressor::record_member(int member, Tensor x) const {
  Graph& graph = x.graph();
  const auto leaf = [&](const ParameterSet& set, const std::string& name) {
    const ParameterSet::Entry* e = set.find(name);
    LADARTS_CHECK(e != nullptr);
    return graph.leaf(e->value, e->name);
  };
  Tensor h = x;
  for (size_t i = 0; i <= hidden_.size(); ++i) {
    const std::string name = layer_name(member, i);
    h = linear(h, leaf(layers_, name + ".weight"), leaf(layers_, name + ".bias"), {.relu_input = i > 0});
  }
  if (!linear_skip_) return h;
  const std::string name = fmt::format("member{}.skip", member);
  return add(h, linear(x, leaf(skips_, name + ".weight"), leaf(skips_, name + ".bias")));
}

// (N, 1) -> (N, 1): shift + scale * normalised.
Tensor MlpRegressor::record_units(Tensor normalised) const {
  Graph& graph = normalised.graph();
  return linear(normalised, graph.leaf(scale_, "mlp.scale"), graph.leaf(shift_, "mlp.shift"));
}

Tensor MlpRegressor::record(Tensor x) const {
  require(x.rank() == 2 && x.dim(1) == features_, "[mlp] expects (N, {}) features, got {}", features_,
          x.shape().str());
  const Graph::Scope scope(x.graph(), "mlp");
  std::vector<Tensor> outputs;
  for (int k = 0; k < members_; ++k) outputs.push_back(record_member(k, x));
  if (members_ == 1) return record_units(outputs[0]);
  return record_units(scale(add_n(outputs), 1.f / float(members_)));
}

nlohmann::json MlpRegressor::configuration() const {
  return {{"features", features_}, {"hidden", hidden_}, {"linear_skip", linear_skip_}, {"members", members_}};
}

NamedStorages MlpRegressor::weights() const {
  NamedStorages result = {{"scale", scale_}, {"shift", shift_}};
  for (const ParameterSet* set : {&layers_, &skips_})
    for (const ParameterSet::Entry& e : set->entries()) result.emplace_back(e.name, e.value);
  return result;
}

}  // namespace ladarts
