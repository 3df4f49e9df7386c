#include "nas/train.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/jsonl_log.h"
#include "core/program.h"
#include "core/progress.h"
#include "nas/data/loader.h"
#include "nas/network_file.h"
#include "nas/run_folder.h"
#include "nas/step_loop.h"
#include "nas/train_steps.h"
#include "ops/schedule.h"

namespace ladarts {

namespace {

// Adds the cross-entropy and the correct predictions of the first rows of logits (N, K), as many as there are
// labels.
void add_rows(std::span<const float> logits, std::span<const int32_t> labels, int64_t classes, double& loss,
              int64_t& correct) {
  for (size_t i = 0; i < labels.size(); ++i) {
    const float* row = &logits[i * size_t(classes)];
    const float* largest = std::max_element(row, row + classes);
    double sum = 0;
    for (int64_t k = 0; k < classes; ++k) sum += std::exp(double(row[k]) - *largest);
    loss += std::log(sum) + *largest - row[labels[i]];
    correct += largest - row == labels[i];
  }
}

// The evaluation network over given weights, compiled once.
class Evaluator {
 public:
  Evaluator(const NetworkConfig& config, ParameterSet& params, ParameterSet& buffers,
            const ImageSource& images, int batch, int64_t limit)
      : classes_(resolve(config.shape, config.space).classes),
        indices_(first_images(images.dataset->count(), limit)),
        loader_(images.dataset, indices_,
                {.batch_size = batch, .shuffle = false, .drop_last = false, .device = params.device()}),
        batch_(batch, images.dataset->size, params.device()) {
    Graph g(params.device());
    const Tensor x = batch_.record_images(g, images.augmentation());
    const Storage logits =
        g.bind_output(record_network(g, config, NetworkMode::evaluation, params, buffers, x).logits);
    logits_.emplace(logits.buffer(), kAhead);
    params.values();
    buffers.values();
    program_ = compile(g);
  }

  // Empty where interrupted().
  std::optional<Evaluation> run(const std::function<void(int64_t images)>& progress = {}) {
    loader_.seek(0, 0);
    double loss = 0;
    int64_t correct = 0;
    Evaluation result;
    std::vector<int32_t> labels[kAhead];  // of the batches under way
    const int64_t batches = loader_.batches_per_epoch();
    for (int64_t queued = 0, taken = 0; taken < batches;) {
      if (queued < batches && queued - taken < kAhead) {
        const Batch b = loader_.next_into(batch_);
        program_->run();
        logits_->queue();
        labels[queued++ % kAhead].assign(b.labels.begin(), b.labels.begin() + b.count);
        continue;
      }
      const std::vector<int32_t>& of_batch = labels[taken++ % kAhead];
      add_rows(logits_->take(), of_batch, classes_, loss, correct);
      if (interrupted()) {
        while (logits_->under_way() > 0) logits_->take();
        return std::nullopt;
      }
      result.images += int64_t(of_batch.size());
      if (progress) progress(result.images);
    }
    result.loss = loss / double(result.images);
    result.accuracy = double(correct) / double(result.images);
    return result;
  }

 private:
  int64_t classes_;
  std::vector<int32_t> indices_;
  static constexpr int kAhead = 2;  // batches whose logits may be on their way
  BatchLoader loader_;
  StepBatch batch_;
  std::optional<Readback> logits_;
  std::optional<Program> program_;
};

const TrainConfig& checked(const TrainConfig& config) {
  require_valid(config);
  return config;
}

class TrainRun {
 public:
  TrainRun(const TrainConfig& config, const ImageSource& train, const ImageSource& test,
           const std::filesystem::path& folder)
      : config_(checked(config)),
        run_(folder, run_config(train, test)),
        steps_(config_, train.augmentation(config.cutout)),
        evaluator_(config.network, steps_.params, steps_.buffers, test, 100, config.test_images),
        log_(run_.file("epochs.jsonl")),
        normalisation_(train.normalisation),
        loader_(train.dataset, first_images(train.dataset->count(), config.train_images),
                {.batch_size = config.batch,
                 .augmentation = Augmentation::cifar(config.cutout),
                 .seed = config.seed,
                 .device = config.device}) {
    if (const Json position = run_.load_checkpoint(steps_.state()); !position.is_null()) {
      epoch_ = position.at("epoch");
      step_ = position.at("step");
      loss_ = position.at("loss");
      correct_ = position.at("correct");
      seconds_ = position.at("seconds");
    }
    log_.keep(size_t(epoch_));
    run_.claim();
  }

  TrainOutcome run() {
    const int64_t steps = loader_.batches_per_epoch();
    Progress progress("train", config_.epochs * steps, {.unit = "step", .start = epoch_ * steps + step_});
    TrainOutcome outcome;
    while (epoch_ < config_.epochs) {
      std::optional<Evaluation> test;
      if (run_epoch(progress)) {
        checkpoint();  // so that a kill during the evaluation costs no training
        test = evaluator_.run();
      }
      if (!test) {
        checkpoint();
        outcome.epochs = read_jsonl(run_.file("epochs.jsonl"));
        return outcome;
      }
      outcome.test = *test;
      const double images = double(steps * config_.batch);
      log_.append({{"epoch", epoch_},
                   {"lr", learning_rate(schedule(), epoch_)},
                   {"train_loss", loss_ / images},
                   {"train_accuracy", double(correct_) / images},
                   {"test_loss", outcome.test.loss},
                   {"test_accuracy", outcome.test.accuracy},
                   {"seconds", seconds_}});
      ++epoch_;
      step_ = 0;
      loss_ = seconds_ = 0;
      correct_ = 0;
      checkpoint();
    }
    progress.finish();
    if (outcome.test.images == 0) {  // all epochs were done before
      const auto test = evaluator_.run();
      if (!test) return outcome;
      outcome.test = *test;
    }
    finish(outcome);
    return outcome;
  }

 private:
  Json run_config(const ImageSource& train, const ImageSource& test) const {
    Json j = ladarts::to_json(config_);
    j["train_set"] = fingerprint(*train.dataset);
    j["test_set"] = fingerprint(*test.dataset);
    return j;
  }

  CosineSchedule schedule() const { return {config_.lr, 0, config_.epochs, config_.lr_warmup_epochs}; }

  void take_step() {
    const StepResult r = steps_.take_result();
    require(std::isfinite(r.loss),
            "[train] the loss is {} in epoch {}, step {}; lower the learning rate, or look for "
            "the op at fault with LADARTS_DEBUG=1",
            r.loss, epoch_ + 1, step_ + 1);
    loss_ += double(r.loss) * config_.batch;
    correct_ += r.correct;
    ++step_;
  }

  // False: interrupted before its end.
  bool run_epoch(Progress& progress) {
    const int64_t steps = loader_.batches_per_epoch();
    steps_.set(learning_rate(schedule(), epoch_), linear_ramp(config_.drop_path, epoch_, config_.epochs));
    if (step_ < steps) loader_.seek(epoch_, step_);
    Stopwatch watch;
    const auto queue = [&](int64_t step) {
      loader_.next_into(steps_.batch);
      steps_.queue(epoch_ * steps + step);
    };
    const auto take = [&] {
      take_step();
      seconds_ += watch.seconds();
      watch.restart();
      progress.update(epoch_ * steps + step_,
                      fmt::format("epoch {}/{} loss {:.3f}", epoch_ + 1, config_.epochs,
                                  loss_ / double(step_ * config_.batch)));
    };
    return run_steps(step_, steps, TrainSteps::kStepsAhead, since_checkpoint_, queue, take,
                     [&] { checkpoint(); });
  }

  void checkpoint() {
    const Json position{
        {"epoch", epoch_}, {"step", step_}, {"loss", loss_}, {"correct", correct_}, {"seconds", seconds_}};
    run_.save_checkpoint(steps_.state(), position);
    since_checkpoint_.restart();
  }

  void finish(TrainOutcome& outcome) {
    outcome.finished = true;
    outcome.epochs = read_jsonl(run_.file("epochs.jsonl"));
    const NetworkCounts counts = count_network(config_.network);
    const Json result{{"test_accuracy", outcome.test.accuracy},
                      {"test_loss", outcome.test.loss},
                      {"test_images", outcome.test.images},
                      {"parameters", counts.parameters},
                      {"multiply_accumulates", counts.multiply_accumulates}};
    Json facts = result;  // what an exported network has to tell its caller
    facts["normalisation"] = to_json(normalisation_);
    save_network(run_.file("network.safetensors"), config_.network, steps_.params, steps_.buffers, facts);
    write_json_file(run_.file("result.json"), result);
  }

  TrainConfig config_;
  RunFolder run_;
  TrainSteps steps_;
  Evaluator evaluator_;
  JsonlLog log_;
  Normalisation normalisation_;
  BatchLoader loader_;
  int epoch_ = 0;
  int64_t step_ = 0;  // within the epoch: whose results are in the sums
  double loss_ = 0, seconds_ = 0;
  int64_t correct_ = 0;
  Stopwatch since_checkpoint_;
};

}  // namespace

TrainConfig train_protocol(const std::string& name) {
  TrainConfig c;
  c.network.auxiliary = true;
  if (name == "darts") return c;
  if (name == "pc-darts") {
    c.drop_path = 0.3f;
    return c;
  }
  require(name == "imagenet", "[train] protocol '{}' is unknown; use darts, pc-darts or imagenet", name);
  c.epochs = 250;
  c.batch = 1024;
  c.lr = 0.5;
  c.lr_warmup_epochs = 5;
  c.weight_decay = 3e-5f;
  c.drop_path = 0;
  c.label_smoothing = 0.1f;
  c.cutout = 0;
  return c;
}

void require_valid(const TrainConfig& c) {
  require(c.epochs > 0, "[train] epochs is {}; give 1 or more", c.epochs);
  require(c.batch > 0, "[train] batch is {}; give 1 or more", c.batch);
  require(c.train_images >= 0 && c.test_images >= 0 && c.cutout >= 0 && c.lr_warmup_epochs >= 0,
          "[train] train_images ({}), test_images ({}), cutout ({}) and lr_warmup_epochs ({}) should not be "
          "negative",
          c.train_images, c.test_images, c.cutout, c.lr_warmup_epochs);
  for (const auto& [name, value] : {std::pair<const char*, double>{"lr", c.lr},
                                    {"momentum", c.momentum},
                                    {"weight_decay", c.weight_decay},
                                    {"clip_norm", c.clip_norm},
                                    {"auxiliary_weight", c.auxiliary_weight}})
    require(std::isfinite(value) && value >= 0, "[train] {} is {}; give 0 or more", name, value);
  for (const auto& [name, value] :
       {std::pair<const char*, double>{"drop_path", c.drop_path}, {"label_smoothing", c.label_smoothing}})
    require(value >= 0 && value < 1, "[train] {} is {}; it should be from 0 to below 1", name, value);
}

Json to_json(const TrainConfig& c) {
  Json j{{"network", to_json(c.network)}};
  j.update(settings_of(c));
  j["seed"] = c.seed;
  j.update(device_fields(c.device));
  return j;
}

Json settings_of(const TrainConfig& c) {
  return {{"auxiliary", c.network.auxiliary},
          {"epochs", c.epochs},
          {"batch", c.batch},
          {"lr", c.lr},
          {"lr_warmup_epochs", c.lr_warmup_epochs},
          {"momentum", c.momentum},
          {"weight_decay", c.weight_decay},
          {"clip_norm", c.clip_norm},
          {"auxiliary_weight", c.auxiliary_weight},
          {"drop_path", c.drop_path},
          {"label_smoothing", c.label_smoothing},
          {"cutout", c.cutout},
          {"train_images", c.train_images},
          {"test_images", c.test_images}};
}

TrainConfig read_train_config(JsonFields& f, TrainConfig c) {
  c.network.auxiliary = f.get_or("auxiliary", c.network.auxiliary);
  c.epochs = f.get_or("epochs", c.epochs);
  c.batch = f.get_or("batch", c.batch);
  c.lr = f.get_or("lr", c.lr);
  c.lr_warmup_epochs = f.get_or("lr_warmup_epochs", c.lr_warmup_epochs);
  c.momentum = f.get_or("momentum", c.momentum);
  c.weight_decay = f.get_or("weight_decay", c.weight_decay);
  c.clip_norm = f.get_or("clip_norm", c.clip_norm);
  c.auxiliary_weight = f.get_or("auxiliary_weight", c.auxiliary_weight);
  c.drop_path = f.get_or("drop_path", c.drop_path);
  c.label_smoothing = f.get_or("label_smoothing", c.label_smoothing);
  c.cutout = f.get_or("cutout", c.cutout);
  c.train_images = f.get_or("train_images", c.train_images);
  c.test_images = f.get_or("test_images", c.test_images);
  return c;
}

TrainOutcome run_training(const TrainConfig& config, const ImageSource& train, const ImageSource& test,
                          const std::filesystem::path& folder) {
  return TrainRun(config, train, test, folder).run();
}

std::optional<Evaluation> evaluate_network(const NetworkConfig& config, ParameterSet& params,
                                           ParameterSet& buffers, const ImageSource& images, int batch,
                                           int64_t limit,
                                           const std::function<void(int64_t images)>& progress) {
  return Evaluator(config, params, buffers, images, batch, limit).run(progress);
}

}  // namespace ladarts
