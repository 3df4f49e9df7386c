#include "nas/experiment.h"

#include <algorithm>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "nas/architecture_measuring.h"
#include "nas/data/cifar.h"
#include "nas/encoding.h"
#include "nas/run_folder.h"
#include "predictor/measurement_store.h"

namespace ladarts {

namespace {

struct Stopped {};  // an interrupt was honoured: everything so far is saved

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

  LatencySetup latency_setup() const {
    return {.space = e_.space,
            .shape = e_.network,
            .batch = e_.measured_batch,
            .device = e_.device,
            .measure = e_.measure};
  }

  void measure();
  void fit();
  void search(size_t i);
  void train(size_t i);
  void verify();
  Json describe(size_t i) const;

  NetworkConfig network_of(const Genotype& genotype) const {
    return {.space = e_.space, .genotype = genotype, .shape = e_.network};
  }

  const Experiment& e_;
  RunFolder run_;
  Images images_;
  std::vector<Measurement> rows_;
  CostContext context_;
  double median_cost_ = 0;
  std::optional<Predictor> predictor_;
  Json fit_report_, verified_;
  std::vector<Json> searched_, trained_;
};

void ExperimentRun::measure() {
  const LatencySetup setup = latency_setup();
  context_ = latency_context(setup);
  MeasurementStore store(run_.file("measurements.db"));
  stage("measure", [&]() -> Json {
    Progress progress("measure", e_.architectures, {.unit = "architecture"});
    MeasuringOptions options;
    options.seed = e_.seed;
    options.count = e_.architectures;
    options.progress = [&](int64_t done, int64_t, const Measurement& latest) {
      progress.update(done, fmt::format("last {:.2f} ms", latest.median));
    };
    const MeasuringSummary summary = measure_architectures(store, setup, options);
    if (summary.interrupted) throw Stopped{};
    return {{"architectures", summary.measured + summary.present},
            {"failed", summary.failed},
            {"noisy", summary.noisy},
            {"seconds", summary.seconds},
            {"noise_floor", summary.noise_floor}};
  });
  MeasurementFilter filter;
  filter.context = context_;
  filter.seed = e_.seed;
  filter.status = "ok";
  rows_ = store.rows(filter);
  require(!rows_.empty(), "{}: holds no measurement of this experiment on {}; remove {} to measure again",
          store.path().string(), context_.str(), run_.file("measure.json").string());
  std::vector<double> costs;
  for (const Measurement& row : rows_)
    if (row.replica == 0) costs.push_back(row.median);
  std::nth_element(costs.begin(), costs.begin() + long(costs.size() / 2), costs.end());
  median_cost_ = costs[costs.size() / 2];
}

void ExperimentRun::fit() {
  fit_report_ = stage("fit", [&]() -> Json {
    const Dataset data = measured_dataset(rows_, e_.space);
    FitOptions options;
    if (e_.model == "paper") options.mlp = MlpOptions::paper();
    options.gp.expansion = structured_features(e_.space);
    options.test_fraction = e_.test_fraction;
    options.seed = e_.seed;
    Progress progress("fit", options.mlp.epochs, {.unit = "epoch"});
    options.mlp.progress = [&](int epoch, int, double) {
      if (interrupted()) throw Stopped{};
      progress.update(epoch);
    };
    const FitResult fitted = fit_predictors(data, options, e_.device);
    save_predictor(run_.file("predictor.safetensors"), fitted.model(e_.model),
                   {context_, encoding_names(e_.space), fitted.report});
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
    Progress progress("verify", int64_t(genotypes.size()) * kVerifyRounds, {.unit = "timing"});
    const auto timings =
        measure_in_turn(latency_setup(), genotypes, kVerifyRounds, [&](int64_t done, double latest_ms) {
          progress.update(done, fmt::format("last {:.3f} ms", latest_ms));
        });
    if (!timings) throw Stopped{};
    Json result = Json::array();
    for (const Timing& t : *timings)
      result.push_back({{"measured_ms", t.median_ms},
                        {"relative_spread", t.relative_spread},
                        {"rounds", kVerifyRounds},
                        {"noisy", t.noisy}});
    return result;
  });
}

Json ExperimentRun::describe(size_t i) const {
  const Genotype genotype = parse_genotype(searched_[i].at("genotype").get<std::string>(), e_.space);
  FeatureMatrix features;
  features.append(encode(genotype, e_.space));
  const double predicted = predictor_->regressor->predict(features)[0];
  const double measured = verified_[i].at("measured_ms");
  return {{"latency_weight", e_.latency_weights[i]},
          {"lambda", searched_[i].at("lambda")},
          {"genotype", searched_[i].at("genotype")},
          {"predicted_ms", predicted},
          {"measured_ms", measured},
          {"measured_relative_spread", verified_[i].at("relative_spread")},
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
  std::string text =
      fmt::format("{:>8}  {:>9}  {:>12}  {:>11}  {:>7}  {:>10}  {:>9}  {:>8}\n", "weight", "lambda",
                  "predicted ms", "measured ms", "error", "parameters", "MACs", "accuracy");
  for (const Json& n : result.at("networks"))
    text += fmt::format(
        "{:>8.3g}  {:>9.3g}  {:>12.3f}  {:>11.3f}  {:>6.1f}%  {:>9.3f}M  {:>8.2f}M  {:>7.2f}%\n",
        n.at("latency_weight").get<double>(), n.at("lambda").get<double>(),
        n.at("predicted_ms").get<double>(), n.at("measured_ms").get<double>(),
        100 * n.at("prediction_error").get<double>(), n.at("parameters").get<double>() / 1e6,
        n.at("multiply_accumulates").get<double>() / 1e6, 100 * n.at("test_accuracy").get<double>());
  return text;
}

}  // namespace ladarts
