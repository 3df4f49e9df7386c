#include "nas/experiment.h"

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "nas/architecture_measuring.h"
#include "nas/data/cifar.h"
#include "nas/encoding.h"
#include "nas/latency_meter.h"
#include "nas/meters.h"
#include "nas/noise_floor.h"
#include "nas/run_folder.h"
#include "nas/sampler.h"
#include "predictor/agreement.h"
#include "predictor/conditions.h"
#include "predictor/measurement_store.h"

namespace ladarts {

namespace {

struct Stopped {};  // an interrupt was honoured: everything so far is saved

constexpr int kNoiseTimings = 5;
constexpr int kVerifyRounds = 5;  // the found networks are measured in turn, so that drift hits all alike

void say(const std::string& line) {
  if (!Progress::silent()) std::fprintf(stderr, "%s\n", line.c_str());
}

struct Images {
  ImageSource train, test;
};

Images load_cifar(const std::filesystem::path& folder) {
  ImageSets sets = read_cifar(folder);
  return {{std::make_shared<const ImageSet>(std::move(sets.train)), sets.normalisation},
          {std::make_shared<const ImageSet>(std::move(sets.test)), sets.normalisation}};
}

class ExperimentRun {
 public:
  // `images` are empty where they are to be generated.
  ExperimentRun(const Experiment& experiment, const std::filesystem::path& folder, Images images)
      : e_(experiment), run_(folder, to_json(experiment)), images_(std::move(images)) {}

  Json run() {
    if (!e_.synthetic) require_enough_images(e_.search, images_.train.dataset->count());
    if (!is_latency(e_.metric)) make_meter(e_.metric, measured_setup());  // refuses what cannot be measured
    run_.claim();
    generate_images();
    measure();
    fit();
    Json networks = Json::array();
    for (size_t i = 0; i < e_.latency_weights.size(); ++i) {
      search(i);
      train(i);
    }
    verify();
    for (size_t i = 0; i < e_.latency_weights.size(); ++i) networks.push_back(describe(i));
    Json result{{"networks", networks},
                {"predictor", fit_report_},
                {"context", Json::parse(nlohmann::json(context_).dump())}};
    write_json_file(run_.file("result.json"), result);
    return result;
  }

 private:
  static std::string numbered(const char* stage, size_t i) { return fmt::format("{}-{}", stage, i); }

  // The result of a stage: read where it is there, else made by `work` and written.
  template <class Work>
  Json stage(const std::string& name, Work work) {
    const std::string file = name + ".json";
    if (run_.has(file)) {
      say(fmt::format("{}: done before", name));
      return read_json_file(run_.file(file));
    }
    say(fmt::format("{}: running", name));
    Json result = work();
    write_json_file(run_.file(file), result);
    return result;
  }

  void generate_images() {
    if (!e_.synthetic) return;
    if (!write_synthetic(run_.file("images"), e_.generator)) throw Stopped{};
    images_ = load_cifar(run_.file("images"));
  }

  LatencySetup measured_setup() const {
    return {.space = e_.space,
            .shape = e_.network,
            .batch = e_.measured_batch,
            .device = e_.device,
            .measure = e_.measure};
  }

  // What this machine can tell apart now, said before the work begins.
  Json noise_floor(const LatencySetup& setup, double known_probe_ms) const {
    const Genotype first = ArchitectureSampler(e_.space, e_.seed).at(0);
    const auto floor =
        measure_noise_floor(latency_setup(e_.metric, setup), first, kNoiseTimings, known_probe_ms);
    if (!floor) throw Stopped{};
    say(floor->str());
    return Json::parse(nlohmann::json(*floor).dump());
  }

  void measure();
  void fit();
  void search(size_t i);
  void train(size_t i);
  void verify();
  Json describe(size_t i) const;

  std::string measured_key() const { return "measured_" + context_.unit; }

  NetworkConfig network_of(const Genotype& genotype) const {
    return {.space = e_.space, .genotype = genotype, .shape = e_.network};
  }

  const Experiment& e_;
  RunFolder run_;
  Images images_;
  std::vector<Measurement> rows_;
  CostContext context_;
  double median_cost_ = 0, probe_ms_ = 0;
  std::optional<Predictor> predictor_;
  Json fit_report_, verified_;
  std::vector<Json> searched_, trained_;
};

void ExperimentRun::measure() {
  const LatencySetup setup = measured_setup();
  context_ = metric_context(e_.metric, setup);
  MeasurementStore store(run_.file("measurements.db"));
  stage("measure", [&]() -> Json {
    const double known_probe_ms = store.best_probe_ms(context_);
    const auto meter = make_meter(e_.metric, setup, known_probe_ms);
    const Json machine = is_latency(e_.metric) ? noise_floor(setup, known_probe_ms) : Json();
    Progress progress("measure", e_.architectures, {.unit = "architecture"});
    MeasuringOptions options;
    options.seed = e_.seed;
    options.count = e_.architectures;
    options.progress = [&](int64_t done, int64_t, const Measurement& latest) {
      progress.update(
          done, latest.median > 0 ? fmt::format("last {:.4g} {}", latest.median, context_.unit) : "present");
    };
    std::optional<Progress> again;
    options.again = show_measuring_again(progress, again);
    const MeasuringSummary summary = measure_architectures(store, e_.space, *meter, options);
    if (summary.interrupted) throw Stopped{};
    return {{"architectures", summary.measured + summary.present},
            {"failed", summary.failed},
            {"noisy", summary.noisy},
            {"slowed", summary.slowed},
            {"again", summary.again},
            {"seconds", summary.seconds},
            {"noise_floor", summary.noise_floor},
            {"drift", summary.drift},
            {"machine", machine}};
  });
  probe_ms_ = store.best_probe_ms(context_);
  MeasurementFilter filter;
  filter.context = context_;
  filter.seed = e_.seed;
  filter.status = "ok";
  rows_ = store.rows(filter);
  require(!rows_.empty(), "{}: holds no measurement of this experiment on {}; remove {} to measure again",
          store.path().string(), context_.str(), run_.file("measure.json").string());
  std::vector<double> costs;
  for (const Measurement& row : representative_rows(rows_)) costs.push_back(row.median);
  std::nth_element(costs.begin(), costs.begin() + long(costs.size() / 2), costs.end());
  median_cost_ = costs[costs.size() / 2];
}

void ExperimentRun::fit() {
  fit_report_ = stage("fit", [&]() -> Json {
    const Dataset data = measured_dataset(rows_, e_.space);
    FitOptions options;
    if (e_.model == "paper") options.mlp = MlpOptions::paper();
    options.gp.expansion = structured_features(e_.space);
    options.keep_stack = e_.model == "stack";
    options.test_fraction = e_.test_fraction;
    options.seed = e_.seed;
    Progress progress("fit", options.mlp.epochs, {.unit = "epoch"});
    options.mlp.progress = [&](int epoch, int, double) {
      if (interrupted()) throw Stopped{};
      progress.update(epoch);
    };
    const FitResult fitted = fit_predictors(data, options, e_.device);
    save_predictor(run_.file("predictor.safetensors"), fitted.model(e_.model),
                   {context_, encoding_names(e_.space), fitted.report, probe_ms_});
    return Json::parse(nlohmann::json(fitted.report).dump());
  });
  predictor_ = load_predictor(run_.file("predictor.safetensors"),
                              PredictorExpectation{context_, encoding_names(e_.space)}, e_.device);
}

void ExperimentRun::search(size_t i) {
  const std::string name = numbered("search", i);
  searched_.push_back(stage(name, [&]() -> Json {
    SearchConfig config = e_.search;
    config.step.lambda = float(e_.latency_weights[i] / median_cost_);
    const SearchOutcome outcome = run_search(config, images_.train, &*predictor_, run_.file(name));
    if (!outcome.finished) throw Stopped{};
    return {{"genotype", to_text(outcome.genotype, e_.space)},
            {"latency_weight", e_.latency_weights[i]},
            {"lambda", config.step.lambda},
            {"last_epoch", outcome.epochs.back()}};
  }));
}

void ExperimentRun::train(size_t i) {
  const std::string name = numbered("train", i);
  trained_.push_back(stage(name, [&]() -> Json {
    TrainConfig config = e_.train;
    const bool auxiliary = config.network.auxiliary;
    config.network = network_of(parse_genotype(searched_[i].at("genotype").get<std::string>(), e_.space));
    config.network.auxiliary = auxiliary;
    const TrainOutcome outcome = run_training(config, images_.train, images_.test, run_.file(name));
    if (!outcome.finished) throw Stopped{};
    return read_json_file(run_.file(name) / "result.json");
  }));
}

// Measures the found networks again, in turn.
void ExperimentRun::verify() {
  verified_ = stage("verify", [&]() -> Json {
    std::vector<Genotype> genotypes;
    for (const Json& found : searched_)
      genotypes.push_back(parse_genotype(found.at("genotype").get<std::string>(), e_.space));
    Progress progress("verify", int64_t(genotypes.size()) * kVerifyRounds, {.unit = "measurement"});
    const auto rows = measure_metric_in_turn(
        e_.metric, measured_setup(), genotypes, kVerifyRounds,
        [&](int64_t done, double latest) {
          progress.update(done, fmt::format("last {:.4g} {}", latest, context_.unit));
        },
        probe_ms_);
    if (!rows) throw Stopped{};
    Json result = Json::array();
    for (const Measurement& row : *rows)
      result.push_back({{measured_key(), row.median},
                        {"relative_spread", row.relative_spread},
                        {"rounds", row.repeats},
                        {"noisy", row.noisy},
                        {"slowdown", conditions_of(row.details).slowdown}});
    return result;
  });
}

Json ExperimentRun::describe(size_t i) const {
  const Genotype genotype = parse_genotype(searched_[i].at("genotype").get<std::string>(), e_.space);
  FeatureMatrix features;
  features.append(encode(genotype, e_.space));
  const double predicted = predictor_->regressor->predict(features)[0];
  const double measured = verified_[i].at(measured_key());
  return {{"latency_weight", e_.latency_weights[i]},
          {"lambda", searched_[i].at("lambda")},
          {"genotype", searched_[i].at("genotype")},
          {"predicted_" + context_.unit, predicted},
          {measured_key(), measured},
          {"measured_relative_spread", verified_[i].at("relative_spread")},
          {"measured_slowdown", verified_[i].value("slowdown", 0.0)},
          {"prediction_error", predicted / measured - 1},
          {"parameters", trained_[i].at("parameters")},
          {"multiply_accumulates", trained_[i].at("multiply_accumulates")},
          {"test_accuracy", trained_[i].at("test_accuracy")}};
}

}  // namespace

ExperimentOutcome run_experiment(const Experiment& asked, const std::filesystem::path& folder) {
  Experiment e = asked;
  Images images;
  if (!e.synthetic) {
    images = load_cifar(e.folder);
    e.set_images(int(images.train.dataset->classes.size()), images.train.dataset->size);
  }
  ExperimentOutcome outcome;
  try {
    outcome.result = ExperimentRun(e, folder, std::move(images)).run();
    outcome.finished = true;
  } catch (const Stopped&) {
  }
  return outcome;
}

std::string experiment_table(const Json& result) {
  const std::string unit = result.at("context").at("unit");
  std::string text =
      fmt::format("{:>8}  {:>9}  {:>18}  {:>17}  {:>7}  {:>10}  {:>9}  {:>8}\n", "weight", "lambda",
                  "predicted " + unit, "measured " + unit, "error", "parameters", "MACs", "accuracy");
  for (const Json& n : result.at("networks"))
    text += fmt::format(
        "{:>8.3g}  {:>9.3g}  {:>18.4g}  {:>17.4g}  {:>6.1f}%  {:>9.3f}M  {:>8.2f}M  {:>7.2f}%\n",
        n.at("latency_weight").get<double>(), n.at("lambda").get<double>(),
        n.at("predicted_" + unit).get<double>(), n.at("measured_" + unit).get<double>(),
        100 * n.at("prediction_error").get<double>(), n.at("parameters").get<double>() / 1e6,
        n.at("multiply_accumulates").get<double>() / 1e6, 100 * n.at("test_accuracy").get<double>());
  double slowdown = 0;
  for (const Json& n : result.at("networks"))
    slowdown = std::max(slowdown, n.value("measured_slowdown", 0.0));
  return text + slowed_text(slowdown);
}

}  // namespace ladarts
