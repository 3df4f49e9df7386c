#include "nas/train_steps.h"

#include "core/deferral.h"
#include "core/gradients.h"
#include "ops/arithmetic.h"
#include "ops/losses.h"
#include "ops/optimizer.h"

namespace ladarts {

TrainSteps::TrainSteps(const TrainConfig& config, const AugmentDesc& augmentation)
    : batch(config.batch, resolve(config.network.shape, config.network.space).image, config.device),
      params(config.seed, config.device),
      buffers(0, config.device),
      random_(config.seed, config.device),
      output_(config.device, kStepsAhead) {
  Graph g(config.device);
  std::optional<DropPathInput> drop_path;
  if (config.drop_path > 0) drop_path = DropPathInput{g.leaf(drop_rate_, "drop_path"), random_};
  const Network n = record_network(g, config.network, NetworkMode::training, params, buffers,
                                   batch.record_images(g, augmentation), drop_path);
  const Tensor labels = batch.record_labels(g);
  const CrossEntropyDesc desc{config.label_smoothing};
  Tensor loss = cross_entropy(n.logits, labels, desc);
  output_.bind(g, loss, count_correct(n.logits, labels));
  if (n.auxiliary_logits)
    loss = add(loss, scale(cross_entropy(n.auxiliary_logits, labels, desc), config.auxiliary_weight));
  gradients(loss, params.leaves(g), {.into = params.gradient_storages(), .recompute = true});
  defer_norms(g);
  const Storage values = params.values();
  buffers.values();
  momentum_ = scratch(values.shape());
  const Tensor gradient = g.leaf(params.gradients());
  if (config.clip_norm > 0) clip_norm(gradient, config.clip_norm);
  sgd_update(g.leaf(values), gradient, g.leaf(momentum_), g.leaf(lr_),
             {.momentum = config.momentum, .weight_decay = config.weight_decay});
  program_ = compile(g);
}

NamedStorages TrainSteps::state() {
  NamedStorages all = named_values(params, "params.");
  for (const NamedStorages& more :
       {named_values(buffers, "buffers."), named_slices(params, momentum_, "sgd.momentum.")})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace ladarts
