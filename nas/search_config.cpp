// The settings of a search: protocols, reading, checking, and writing as resolved.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "nas/run_folder.h"
#include "nas/search.h"

namespace ladarts {

namespace {

constexpr int kSupernetChannels = 16, kSupernetLayers = 8;

}  // namespace

SearchConfig search_protocol(const std::string& name) {
  SearchConfig c;
  c.step.supernet.fused = true;
  if (name == "darts") return c;
  require(name == "pc-darts", "[search] protocol '{}' is unknown; use darts or pc-darts", name);
  c.step.batch = 256;
  c.lr = 0.1;
  c.lr_min = 0;
  c.step.architecture_lr = 6e-4f;
  c.architecture_start_epoch = 15;
  c.step.supernet.partial_k = 4;
  c.step.supernet.edge_normalisation = true;
  return c;
}

Json to_json(const SearchConfig& c) {
  const SearchStepConfig& s = c.step;
  const NetworkShape shape = resolve(s.supernet.shape, s.supernet.space);
  Json j{{"space", Json::parse(s.supernet.space.to_json())},
         {"channels", shape.channels},
         {"layers", shape.layers},
         {"classes", shape.classes},
         {"image", shape.image},
         {"stem", shape.stem == Stem::imagenet ? "imagenet" : "cifar"},
         {"partial_k", s.supernet.partial_k},
         {"edge_normalisation", s.supernet.edge_normalisation},
         {"fused", s.supernet.fused},
         {"epochs", c.epochs},
         {"batch", s.batch},
         {"lr", c.lr},
         {"lr_min", c.lr_min},
         {"lr_warmup_epochs", c.lr_warmup_epochs},
         {"momentum", s.momentum},
         {"weight_decay", s.weight_decay},
         {"clip_norm", s.clip_norm},
         {"architecture_lr", s.architecture_lr},
         {"architecture_beta1", s.architecture_beta1},
         {"architecture_beta2", s.architecture_beta2},
         {"architecture_weight_decay", s.architecture_weight_decay},
         {"architecture_start_epoch", c.architecture_start_epoch},
         {"second_order", s.second_order},
         {"lambda", s.lambda},
         {"relaxation", to_string(s.term.relaxation.kind)},
         {"draws", s.term.relaxation.draws},
         {"temperature", s.term.relaxation.temperature},
         {"certainty", s.term.certainty},
         {"cutout", c.cutout},
         {"images", c.images},
         {"seed", c.seed}};
  j.update(device_fields(s.device));
  return j;
}

SearchConfig read_search_config(JsonFields& f, SearchConfig c) {
  SearchStepConfig& s = c.step;
  NetworkShape& shape = s.supernet.shape;
  shape.channels = f.get_or("channels", shape.channels);
  shape.layers = f.get_or("layers", shape.layers);
  s.supernet.partial_k = f.get_or("partial_k", s.supernet.partial_k);
  s.supernet.edge_normalisation = f.get_or("edge_normalisation", s.supernet.edge_normalisation);
  s.supernet.fused = f.get_or("fused", s.supernet.fused);
  c.epochs = f.get_or("epochs", c.epochs);
  s.batch = f.get_or("batch", s.batch);
  c.lr = f.get_or("lr", c.lr);
  c.lr_min = f.get_or("lr_min", c.lr_min);
  c.lr_warmup_epochs = f.get_or("lr_warmup_epochs", c.lr_warmup_epochs);
  s.momentum = f.get_or("momentum", s.momentum);
  s.weight_decay = f.get_or("weight_decay", s.weight_decay);
  s.clip_norm = f.get_or("clip_norm", s.clip_norm);
  s.architecture_lr = f.get_or("architecture_lr", s.architecture_lr);
  s.architecture_beta1 = f.get_or("architecture_beta1", s.architecture_beta1);
  s.architecture_beta2 = f.get_or("architecture_beta2", s.architecture_beta2);
  s.architecture_weight_decay = f.get_or("architecture_weight_decay", s.architecture_weight_decay);
  c.architecture_start_epoch = f.get_or("architecture_start_epoch", c.architecture_start_epoch);
  s.second_order = f.get_or("second_order", s.second_order);
  s.lambda = f.get_or("lambda", s.lambda);
  s.term.relaxation.kind = parse_relaxation(f.get_or("relaxation", to_string(s.term.relaxation.kind)));
  s.term.relaxation.draws = f.get_or("draws", s.term.relaxation.draws);
  s.term.relaxation.temperature = f.get_or("temperature", s.term.relaxation.temperature);
  s.term.certainty = f.get_or("certainty", s.term.certainty);
  c.cutout = f.get_or("cutout", c.cutout);
  c.images = f.get_or("images", c.images);
  // The published supernets are smaller than the networks that are trained, whose size is the space's
  // default.
  if (const Skeleton& skeleton = s.supernet.space.skeleton; skeleton.kind == SkeletonKind::darts) {
    if (shape.channels == 0) shape.channels = std::min(kSupernetChannels, skeleton.channels);
    if (shape.layers == 0) shape.layers = std::min(kSupernetLayers, skeleton.layers);
  }
  return c;
}

void require_valid(const SearchConfig& c) {
  const SearchStepConfig& s = c.step;
  require(c.epochs > 0, "[search] epochs is {}; give 1 or more", c.epochs);
  require(
      c.architecture_start_epoch >= 0 && c.architecture_start_epoch < c.epochs,
      "[search] architecture_start_epoch is {} of {} epochs: the architecture would never be updated; give a "
      "smaller one, or more epochs",
      c.architecture_start_epoch, c.epochs);
  require(s.batch > 0, "[search] batch is {}; give 1 or more", s.batch);
  require(s.term.relaxation.draws >= 1 && s.term.relaxation.draws <= kMostDraws,
          "[search] draws is {}; give 1 to {} architectures a step", s.term.relaxation.draws, kMostDraws);
  require(s.term.relaxation.temperature >= kLeastTemperature &&
              s.term.relaxation.temperature <= 1 / kLeastTemperature,
          "[search] temperature is {}; give {} to {}", s.term.relaxation.temperature, kLeastTemperature,
          1 / kLeastTemperature);
  require(s.supernet.partial_k > 0, "[search] partial_k is {}; give 1 or more", s.supernet.partial_k);
  require(c.images >= 0 && c.cutout >= 0 && c.lr_warmup_epochs >= 0,
          "[search] images ({}), cutout ({}) and lr_warmup_epochs ({}) should not be negative", c.images,
          c.cutout, c.lr_warmup_epochs);
  for (const auto& [name, value] : {std::pair<const char*, double>{"lr", c.lr},
                                    {"lr_min", c.lr_min},
                                    {"momentum", s.momentum},
                                    {"weight_decay", s.weight_decay},
                                    {"clip_norm", s.clip_norm},
                                    {"architecture_lr", s.architecture_lr},
                                    {"architecture_weight_decay", s.architecture_weight_decay},
                                    {"lambda", s.lambda},
                                    {"certainty", s.term.certainty}})
    require(std::isfinite(value) && value >= 0, "[search] {} is {}; give 0 or more", name, value);
  for (const auto& [name, value] :
       {std::pair<const char*, double>{"architecture_beta1", s.architecture_beta1},
        {"architecture_beta2", s.architecture_beta2}})
    require(value >= 0 && value < 1, "[search] {} is {}; it should be from 0 to below 1", name, value);
  // Recording checks the rest: channels that partial_k must divide, the side of the image.
  Graph scratch;
  ParameterSet weights;
  ArchitectureParameters architecture(s.supernet.space, s.supernet.edge_normalisation, 0);
  const int64_t side = resolve(s.supernet.shape, s.supernet.space).image;
  record_supernet(scratch, s.supernet, weights, record_architecture_weights(scratch, architecture),
                  scratch.leaf(Storage::create({s.batch, kImageChannels, side, side})));
}

void require_enough_images(const SearchConfig& config, int64_t images) {
  const int64_t used = config.images > 0 ? config.images : images;
  require(used <= images, "[search] {} images asked for, the training set has {}", used, images);
  require(used / 2 >= config.step.batch,
          "[search] {} images make no batch of {} in each half; give more images or a smaller batch", used,
          config.step.batch);
}

}  // namespace ladarts
