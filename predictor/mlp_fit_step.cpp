#include "predictor/mlp_fit_step.h"

#include "core/gradients.h"
#include "ops/arithmetic.h"
#include "ops/losses.h"
#include "ops/optimizer.h"

namespace ladarts {

// A weighted error is that of costs + w (y - costs).
Tensor MlpFitStep::loss(Tensor y, const Batch& rows) {
  const Tensor costs = y.graph().leaf(rows.costs);
  if (!rows.weights) return relative_error_loss(y, costs);
  return relative_error_loss(add(costs, mul(y.graph().leaf(rows.weights), sub(y, costs))), costs);
}

MlpFitStep::MlpFitStep(MlpRegressor& model, const MlpOptions& options, int64_t batch, ThreadPool* pool,
                       bool weighted) {
  const Device device = model.scale_.buffer()->device();
  const auto scratch = [&](Shape shape) { return Storage::create(shape, DType::f32, device); };
  learning_rate = scratch(Shape{1});
  Graph graph(device);
  std::vector<Tensor> losses;
  for (int k = 0; k < model.members_; ++k) {
    batches.push_back({scratch(Shape{batch, model.features_}), scratch(Shape{batch, 1}),
                       weighted ? scratch(Shape{batch, 1}) : Storage()});
    const Tensor y = model.record_units(model.record_member(k, graph.leaf(batches.back().features)));
    losses.push_back(loss(y, batches.back()));
  }
  std::vector<Tensor> wrt;
  std::vector<Storage> into;
  std::vector<ParameterSet*> sets = {&model.layers_};
  if (model.linear_skip_) sets.push_back(&model.skips_);
  for (ParameterSet* set : sets) {
    for (const Tensor& t : set->leaves(graph)) wrt.push_back(t);
    for (const Storage& s : set->gradient_storages()) into.push_back(s);
  }
  gradients(std::span<const Tensor>(losses), wrt, {.into = into});
  for (ParameterSet* set : sets) {
    const Storage value = set->values();
    const Tensor m = graph.leaf(scratch(value.shape())), v = graph.leaf(scratch(value.shape()));
    adam_update(graph.leaf(value), graph.leaf(set->gradients()), m, v, graph.leaf(scratch(Shape{1})),
                graph.leaf(learning_rate),
                {.weight_decay = set == &model.layers_ ? options.weight_decay : 0.f});
  }
  program_ = compile(graph, {.pool = pool});
}

}  // namespace ladarts
