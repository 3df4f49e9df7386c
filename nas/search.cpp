#include "nas/search.h"

#include <chrono>
#include <cmath>
#include <limits>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/jsonl_log.h"
#include "core/progress.h"
#include "nas/data/loader.h"
#include "nas/derive.h"
#include "nas/encoding.h"
#include "nas/run_folder.h"
#include "ops/schedule.h"

namespace ladarts {

namespace {

constexpr int kSupernetChannels = 16, kSupernetLayers = 8;
constexpr double kCheckpointSeconds = 300;  // at most so much work is lost to a kill
constexpr uint64_t kTrainingStream = 1, kValidationStream = 2;

// Sums over the steps of an epoch; kept in a checkpoint, so that an epoch may be cut anywhere.
struct EpochSums {
  double train_loss = 0, validation_loss = 0;
  int64_t train_correct = 0, validation_correct = 0;
  int64_t train_images = 0, validation_images = 0;
  double seconds = 0;
};

Json to_json(const EpochSums& s) {
  return {{"train_loss", s.train_loss},
          {"validation_loss", s.validation_loss},
          {"train_correct", s.train_correct},
          {"validation_correct", s.validation_correct},
          {"train_images", s.train_images},
          {"validation_images", s.validation_images},
          {"seconds", s.seconds}};
}

EpochSums read_sums(const Json& j) {
  return {j.at("train_loss"),   j.at("validation_loss"),   j.at("train_correct"), j.at("validation_correct"),
          j.at("train_images"), j.at("validation_images"), j.at("seconds")};
}

std::vector<double> alpha_entropies(const ArchitectureParameters& architecture) {
  std::vector<double> result;
  const SearchSpace& space = architecture.space();
  const size_t ops = space.primitives.size();
  for (int t = 0; t < int(space.cell_types.size()); ++t) {
    const std::vector<float> alpha = architecture.alpha(t);
    double total = 0;
    for (int e = 0; e < space.edges(); ++e) {
      const float* row = &alpha[size_t(e) * ops];
      double largest = row[0], sum = 0;
      for (size_t o = 0; o < ops; ++o) largest = std::max(largest, double(row[o]));
      for (size_t o = 0; o < ops; ++o) sum += std::exp(row[o] - largest);
      for (size_t o = 0; o < ops; ++o) {
        const double p = std::exp(row[o] - largest) / sum;
        if (p > 0) total -= p * std::log(p);
      }
    }
    result.push_back(total / space.edges());
  }
  return result;
}

double predict_cost(const Predictor* predictor, const Genotype& genotype, const SearchSpace& space) {
  if (!predictor) return std::numeric_limits<double>::quiet_NaN();
  FeatureMatrix features;
  features.append(encode(genotype, space));
  return predictor->regressor->predict(features)[0];
}

const SearchConfig& checked(const SearchConfig& config, const ImageSource& images) {
  require_valid(config);
  require_enough_images(config, images.dataset->count());
  return config;
}

class SearchRun {
 public:
  SearchRun(const SearchConfig& config, const ImageSource& images, const Predictor* predictor,
            const std::filesystem::path& folder)
      : config_(checked(config, images)),
        predictor_(predictor),
        run_(folder, run_config(images)),
        steps_(config.step, predictor ? predictor->regressor.get() : nullptr),
        log_(run_.file("epochs.jsonl")),
        split_(split_indices(first_images(images.dataset->count(), config.images), 0.5, config.seed)),
        training_(images.dataset, images.normalisation, split_.first, loader_options(kTrainingStream)),
        validation_(images.dataset, images.normalisation, split_.second, loader_options(kValidationStream)) {
    steps_per_epoch_ = std::min(training_.batches_per_epoch(), validation_.batches_per_epoch());
    restore();
    log_.keep(size_t(epoch_));
    run_.claim();
  }

  SearchOutcome run();

 private:
  Json run_config(const ImageSource& images) const {
    Json j = ladarts::to_json(config_);
    j["predictor"] = predictor_
                         ? Json{{"cost", predictor_->context.str()}, {"weights", fingerprint(*predictor_)}}
                         : Json();
    j["image_set"] = fingerprint(*images.dataset);
    return j;
  }

  LoaderOptions loader_options(uint64_t stream) const {
    LoaderOptions o;
    o.batch_size = config_.step.batch;
    o.seed = config_.seed * 4 + stream;  // the halves are shuffled and augmented independently
    o.augmentation = Augmentation::cifar(config_.cutout);
    return o;
  }

  void restore();
  void checkpoint();
  bool run_epoch(Progress& progress);  // false: interrupted
  SearchEpoch summarise();

  SearchConfig config_;
  const Predictor* predictor_;
  RunFolder run_;
  SearchSteps steps_;
  JsonlLog log_;
  std::pair<std::vector<int32_t>, std::vector<int32_t>> split_;  // weights, architecture
  BatchLoader training_, validation_;
  int64_t steps_per_epoch_ = 0;
  int epoch_ = 0;
  int64_t step_ = 0;  // within the epoch
  EpochSums sums_;
  Stopwatch since_checkpoint_;
};

void SearchRun::restore() {
  const Json position = run_.load_checkpoint(steps_.state());
  if (position.is_null()) return;
  epoch_ = position.at("epoch");
  step_ = position.at("step");
  sums_ = read_sums(position.at("sums"));
}

void SearchRun::checkpoint() {
  const Json position{{"epoch", epoch_}, {"step", step_}, {"sums", to_json(sums_)}};
  run_.save_checkpoint(steps_.state(), position);
  since_checkpoint_.restart();
}

bool SearchRun::run_epoch(Progress& progress) {
  using clock = std::chrono::steady_clock;
  const CosineSchedule schedule{config_.lr, config_.lr_min, config_.epochs, config_.lr_warmup_epochs};
  const float lr = float(learning_rate(schedule, epoch_));
  const bool with_architecture = epoch_ >= config_.architecture_start_epoch;
  training_.seek(epoch_, step_);
  if (with_architecture) validation_.seek(epoch_, step_);
  auto before = clock::now();
  while (step_ < steps_per_epoch_) {
    if (interrupted()) return false;
    if (since_checkpoint_.seconds() > kCheckpointSeconds) checkpoint();
    upload(training_.next(), steps_.training_batch());
    if (with_architecture) {
      upload(validation_.next(), steps_.validation_batch());
      const StepResult r = steps_.architecture_step(lr);
      sums_.validation_loss += r.loss * config_.step.batch;
      sums_.validation_correct += r.correct;
      sums_.validation_images += config_.step.batch;
    }
    const StepResult r = steps_.weight_step(lr);
    require(std::isfinite(r.loss),
            "[search] the loss is {} in epoch {}, step {}; lower the learning rate, or look for "
            "the op at fault with LADARTS_DEBUG=1",
            r.loss, epoch_ + 1, step_ + 1);
    sums_.train_loss += r.loss * config_.step.batch;
    sums_.train_correct += r.correct;
    sums_.train_images += config_.step.batch;
    ++step_;
    const auto now = clock::now();
    sums_.seconds += std::chrono::duration<double>(now - before).count();
    before = now;
    progress.update(epoch_ * steps_per_epoch_ + step_,
                    fmt::format("epoch {}/{} loss {:.3f}", epoch_ + 1, config_.epochs,
                                sums_.train_loss / double(sums_.train_images)));
  }
  return true;
}

SearchEpoch SearchRun::summarise() {
  SearchEpoch e;
  const ArchitectureParameters& architecture = steps_.architecture();
  const Genotype genotype = derive(architecture);
  e.epoch = epoch_;
  e.lr = learning_rate({config_.lr, config_.lr_min, config_.epochs, config_.lr_warmup_epochs}, epoch_);
  e.train_loss = sums_.train_loss / double(sums_.train_images);
  e.train_accuracy = double(sums_.train_correct) / double(sums_.train_images);
  if (sums_.validation_images > 0) {
    e.validation_loss = sums_.validation_loss / double(sums_.validation_images);
    e.validation_accuracy = double(sums_.validation_correct) / double(sums_.validation_images);
  }
  e.alpha_entropy = alpha_entropies(architecture);
  e.relaxed_cost = steps_.relaxed_cost();
  e.derived_cost = predict_cost(predictor_, genotype, config_.step.supernet.space);
  e.genotype = to_text(genotype, config_.step.supernet.space);
  e.seconds = sums_.seconds;
  return e;
}

SearchOutcome SearchRun::run() {
  Progress progress("search", config_.epochs * steps_per_epoch_,
                    {.unit = "step", .start = epoch_ * steps_per_epoch_ + step_});
  SearchOutcome outcome;
  while (epoch_ < config_.epochs) {
    if (!run_epoch(progress)) {
      checkpoint();
      outcome.epochs = read_jsonl(run_.file("epochs.jsonl"));
      outcome.genotype = derive(steps_.architecture());
      return outcome;
    }
    log_.append(ladarts::to_json(summarise()));
    ++epoch_;
    step_ = 0;
    sums_ = {};
    checkpoint();
  }
  progress.finish();
  outcome.finished = true;
  outcome.genotype = derive(steps_.architecture());
  outcome.epochs = read_jsonl(run_.file("epochs.jsonl"));
  write_json_file(run_.file("genotype.json"), Json::parse(ladarts::to_json(outcome.genotype)));
  return outcome;
}

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
  return {{"space", Json::parse(s.supernet.space.to_json())},
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
          {"cutout", c.cutout},
          {"images", c.images},
          {"seed", c.seed},
          {"device", s.device.str()}};
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
                                    {"lambda", s.lambda}})
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

Json to_json(const SearchEpoch& e) {
  auto number = [](double v) { return std::isfinite(v) ? Json(v) : Json(); };
  return {{"epoch", e.epoch},
          {"lr", e.lr},
          {"train_loss", e.train_loss},
          {"train_accuracy", e.train_accuracy},
          {"validation_loss", e.validation_loss},
          {"validation_accuracy", e.validation_accuracy},
          {"alpha_entropy", e.alpha_entropy},
          {"relaxed_cost", number(e.relaxed_cost)},
          {"derived_cost", number(e.derived_cost)},
          {"genotype", e.genotype},
          {"seconds", e.seconds}};
}

SearchOutcome run_search(const SearchConfig& config, const ImageSource& images, const Predictor* predictor,
                         const std::filesystem::path& folder) {
  return SearchRun(config, images, predictor, folder).run();
}

}  // namespace ladarts
