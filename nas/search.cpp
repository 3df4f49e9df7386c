#include "nas/search.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonl_log.h"
#include "core/philox.h"
#include "core/progress.h"
#include "nas/data/loader.h"
#include "nas/derive.h"
#include "nas/encoding.h"
#include "nas/run_folder.h"
#include "nas/step_loop.h"
#include "ops/schedule.h"

namespace ladarts {

namespace {

constexpr uint64_t kTrainingStream = 1, kValidationStream = 2;
constexpr int kDraws = 64;                           // architectures of an epoch's drawn_cost
constexpr uint64_t kDrawStream = uint64_t(1) << 61;  // apart from other uses of the seed

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

// What the predictor says of decided architectures, for an epoch's log.
void predict_costs(const Predictor* predictor, const SearchConfig& config, const ArchitectureValues& values,
                   const Genotype& genotype, SearchEpoch& e) {
  e.derived_deviation = std::numeric_limits<double>::quiet_NaN();
  if (!predictor) {
    e.derived_cost = e.drawn_cost = e.drawn_deviation = std::numeric_limits<double>::quiet_NaN();
    return;
  }
  const SearchSpace& space = config.step.supernet.space;
  FeatureMatrix features;
  features.append(encode(genotype, space));
  if (config.step.term.certainty > 0)
    e.derived_deviation = predictor->regressor->distribution(features)[0].deviation;
  Random random(config.seed, kDrawStream + uint64_t(e.epoch));
  for (int i = 0; i < kDraws; ++i)
    features.append(
        encode(draw_genotype(space, values, random, double(config.step.term.relaxation.temperature)), space));
  const std::vector<double> costs = predictor->regressor->predict(features);
  e.derived_cost = costs[0];
  e.drawn_cost = std::accumulate(costs.begin() + 1, costs.end(), 0.0) / kDraws;
  double squares = 0;
  for (int i = 1; i <= kDraws; ++i) squares += std::pow(costs[size_t(i)] - e.drawn_cost, 2);
  e.drawn_deviation = std::sqrt(squares / kDraws);
}

Json architecture_record(int epoch, const SearchSpace& space, const ArchitectureValues& values) {
  Json j{{"epoch", epoch}};
  for (size_t t = 0; t < space.cell_types.size(); ++t) {
    j["alpha_" + space.cell_types[t]] = values.alpha[t];
    if (!values.beta[t].empty()) j["beta_" + space.cell_types[t]] = values.beta[t];
  }
  return j;
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
        steps_(config.step, predictor ? predictor->regressor.get() : nullptr,
               images.augmentation(config.cutout)),
        log_(run_.file("epochs.jsonl")),
        architecture_log_(run_.file("architecture.jsonl")),
        split_(split_indices(first_images(images.dataset->count(), config.images), 0.5, config.seed)),
        training_(images.dataset, split_.first, loader_options(kTrainingStream)),
        validation_(images.dataset, split_.second, loader_options(kValidationStream)) {
    steps_per_epoch_ = std::min(training_.batches_per_epoch(), validation_.batches_per_epoch());
    restore();
    log_.keep(size_t(epoch_));
    architecture_log_.keep(size_t(epoch_));
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
    o.device = config_.step.device;
    return o;
  }

  void restore();
  void checkpoint();
  bool run_epoch(Progress& progress);  // false: interrupted before its end
  // Of the epoch's steps with and without the architecture's part.
  void queue_step(float lr, bool with_architecture);
  void take_step(bool with_architecture);
  SearchEpoch summarise();

  SearchConfig config_;
  const Predictor* predictor_;
  RunFolder run_;
  SearchSteps steps_;
  JsonlLog log_, architecture_log_;
  std::pair<std::vector<int32_t>, std::vector<int32_t>> split_;  // weights, architecture
  BatchLoader training_, validation_;
  int64_t steps_per_epoch_ = 0;
  int epoch_ = 0;
  int64_t step_ = 0;  // within the epoch: whose results are in the sums
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

void SearchRun::queue_step(float lr, bool with_architecture) {
  training_.next_into(steps_.training_batch());
  if (with_architecture) {
    validation_.next_into(steps_.validation_batch());
    steps_.queue_architecture_step(lr);
  }
  steps_.queue_weight_step(lr);
}

void SearchRun::take_step(bool with_architecture) {
  if (with_architecture) {
    const StepResult r = steps_.take_architecture_result();
    sums_.validation_loss += r.loss * config_.step.batch;
    sums_.validation_correct += r.correct;
    sums_.validation_images += config_.step.batch;
  }
  const StepResult r = steps_.take_weight_result();
  require(std::isfinite(r.loss),
          "[search] the loss is {} in epoch {}, step {}; lower the learning rate, or look for "
          "the op at fault with LADARTS_DEBUG=1",
          r.loss, epoch_ + 1, step_ + 1);
  sums_.train_loss += r.loss * config_.step.batch;
  sums_.train_correct += r.correct;
  sums_.train_images += config_.step.batch;
  ++step_;
}

bool SearchRun::run_epoch(Progress& progress) {
  const CosineSchedule schedule{config_.lr, config_.lr_min, config_.epochs, config_.lr_warmup_epochs};
  const float lr = float(learning_rate(schedule, epoch_));
  const bool with_architecture = epoch_ >= config_.architecture_start_epoch;
  training_.seek(epoch_, step_);
  if (with_architecture) validation_.seek(epoch_, step_);
  Stopwatch watch;
  const auto queue = [&](int64_t) { queue_step(lr, with_architecture); };
  const auto take = [&] {
    take_step(with_architecture);
    sums_.seconds += watch.seconds();
    watch.restart();
    progress.update(epoch_ * steps_per_epoch_ + step_,
                    fmt::format("epoch {}/{} loss {:.3f}", epoch_ + 1, config_.epochs,
                                sums_.train_loss / double(sums_.train_images)));
  };
  return run_steps(step_, steps_per_epoch_, SearchSteps::kStepsAhead, since_checkpoint_, queue, take,
                   [&] { checkpoint(); });
}

SearchEpoch SearchRun::summarise() {
  SearchEpoch e;
  const ArchitectureParameters& architecture = steps_.architecture();
  const SearchSpace& space = config_.step.supernet.space;
  const ArchitectureValues values = values_of(architecture);
  const Genotype genotype = derive(space, values);
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
  predict_costs(predictor_, config_, values, genotype, e);
  e.genotype = to_text(genotype, space);
  e.seconds = sums_.seconds;
  architecture_log_.append(architecture_record(epoch_, space, values));
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
          {"drawn_cost", number(e.drawn_cost)},
          {"drawn_deviation", number(e.drawn_deviation)},
          {"derived_deviation", number(e.derived_deviation)},
          {"genotype", e.genotype},
          {"seconds", e.seconds}};
}

SearchOutcome run_search(const SearchConfig& config, const ImageSource& images, const Predictor* predictor,
                         const std::filesystem::path& folder) {
  return SearchRun(config, images, predictor, folder).run();
}

}  // namespace ladarts
