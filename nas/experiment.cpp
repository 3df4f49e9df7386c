#include "nas/experiment.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
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
  std::fprintf(stderr, "%s\n", line.c_str());
}

class ExperimentRun {
 public:
  ExperimentRun(const Experiment& experiment, const std::filesystem::path& folder)
      : e_(experiment), run_(folder, to_json(experiment)) {}

  Json run() {
    load_images();
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

  void load_images() {
    std::filesystem::path folder = e_.folder;
    if (e_.synthetic) {
      folder = run_.file("images");
      write_synthetic(folder, e_.generator);
    }
    ImageSets sets = read_cifar(folder);
    require(int(sets.train.classes.size()) == e_.network.classes && sets.train.size == e_.network.image,
            "{}: has {} classes of {}x{} pixels, the experiment's network is for {} of {}x{}",
            folder.string(), sets.train.classes.size(), sets.train.size, sets.train.size, e_.network.classes,
            e_.network.image, e_.network.image);
    train_ = {std::make_shared<const ImageSet>(std::move(sets.train)), sets.normalisation};
    test_ = {std::make_shared<const ImageSet>(std::move(sets.test)), sets.normalisation};
  }

  LatencySetup latency_setup() const {
    return {.space = e_.space, .shape = e_.network, .batch = e_.measured_batch, .measure = e_.measure};
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
  ImageSource train_, test_;
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
  for (const Measurement& row : rows_) costs.push_back(row.median);
  std::nth_element(costs.begin(), costs.begin() + long(costs.size() / 2), costs.end());
  median_cost_ = costs[costs.size() / 2];
}

void ExperimentRun::fit() {
  fit_report_ = stage("fit", [&]() -> Json {
    const Dataset data = measured_dataset(rows_, e_.space);
    FitOptions options;
    options.test_fraction = e_.test_fraction;
    options.seed = e_.seed;
    const FitResult fitted = fit_predictors(data, options);
    const Regressor& chosen =
        e_.model == "mlp" ? static_cast<const Regressor&>(*fitted.mlp) : *fitted.additive;
    save_predictor(run_.file("predictor.safetensors"), chosen,
                   {context_, encoding_names(e_.space), fitted.report});
    return Json::parse(nlohmann::json(fitted.report).dump());
  });
  predictor_ = load_predictor(run_.file("predictor.safetensors"),
                              PredictorExpectation{context_, encoding_names(e_.space)});
}

void ExperimentRun::search(size_t i) {
  const std::string name = numbered("search", i);
  searched_.push_back(stage(name, [&]() -> Json {
    SearchConfig config = e_.search;
    config.step.supernet.space = e_.space;
    config.step.supernet.shape.classes = e_.network.classes;
    config.step.supernet.shape.image = e_.network.image;
    config.step.lambda = float(e_.latency_weights[i] / median_cost_);
    config.seed = config.step.seed = e_.seed;
    const SearchOutcome outcome = run_search(config, train_, &*predictor_, run_.file(name));
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
    config.seed = e_.seed;
    const TrainOutcome outcome = run_training(config, train_, test_, run_.file(name));
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
    const auto timings = measure_in_turn(latency_setup(), genotypes, kVerifyRounds);
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

void read_data(const Json& json, const std::string& where, const std::filesystem::path& override_folder,
               Experiment& e) {
  JsonFields f(json, where);
  const auto source = f.get_or<std::string>("source", "synthetic");
  require(source == "synthetic" || source == "cifar", "{}: source '{}' is unknown; use synthetic or cifar",
          where, source);
  e.synthetic = source == "synthetic" && override_folder.empty();
  const int64_t train = f.get_or<int64_t>("train", 0), test = f.get_or<int64_t>("test", 0);
  if (source == "synthetic") {
    e.generator.size = e.network.image = f.get_or("size", e.generator.size);
    e.generator.noise = f.get_or("noise", e.generator.noise);
    if (train > 0) e.generator.train = train;
    if (test > 0) e.generator.test = test;
    e.generator.seed = e.seed;
  } else {
    e.folder = f.get_or<std::string>("folder", "");
    require(!e.folder.empty() || !override_folder.empty(),
            "{}: 'folder' names the CIFAR files; it is missing", where);
    e.search.images = e.train.train_images = train;
    e.train.test_images = test;
  }
  if (!override_folder.empty()) e.folder = override_folder;
  f.finish();
}

template <class Read>
void section(JsonFields& fields, const std::string& name, Read read) {
  if (!fields.has(name)) return;
  JsonFields f(fields.at(name), fields.where() + ": " + name);
  read(f);
  f.finish();
}

}  // namespace

Experiment read_experiment(const std::filesystem::path& file, const std::filesystem::path& cifar_override) {
  const Json json = read_json_file(file);
  JsonFields fields(json, file.string());
  Experiment e;
  e.seed = fields.get_or<uint64_t>("seed", 0);
  e.space = SearchSpace::load(fields.get_or<std::string>("space", "darts"));
  const Json data = fields.has("data") ? fields.at("data") : Json::object();
  read_data(data, file.string() + ": data", cifar_override, e);
  section(fields, "network", [&](JsonFields& f) {
    e.network.channels = f.get_or("channels", e.network.channels);
    e.network.layers = f.get_or("layers", e.network.layers);
    e.measured_batch = f.get_or("batch", e.measured_batch);
  });
  e.network = resolve(e.network, e.space);
  section(fields, "measure", [&](JsonFields& f) {
    e.architectures = f.get_or("architectures", e.architectures);
    e.measure.max_repeats = f.get_or("max_repeats", e.measure.max_repeats);
    e.measure.min_repeats = std::min(e.measure.min_repeats, e.measure.max_repeats);
    e.measure.time_budget_s = f.get_or("seconds_each", e.measure.time_budget_s);
  });
  section(fields, "fit", [&](JsonFields& f) {
    e.model = f.get_or("model", e.model);
    require(e.model == "mlp" || e.model == "additive", "{}: model '{}' is unknown; use mlp or additive",
            f.where(), e.model);
    e.test_fraction = f.get_or("test_fraction", e.test_fraction);
  });
  section(fields, "search", [&](JsonFields& f) {
    const int64_t images = e.search.images;
    e.search = search_protocol(f.get_or<std::string>("protocol", "pc-darts"));
    e.search.images = images;
    e.search = read_search_config(f, e.search);
    e.latency_weights = f.get_or("latency_weights", e.latency_weights);
    require(!e.latency_weights.empty(), "{}: latency_weights is empty; give one number for each search",
            f.where());
    for (double w : e.latency_weights)
      require(std::isfinite(w) && w >= 0, "{}: latency weight {} is impossible; give 0 or more", f.where(),
              w);
  });
  section(fields, "train", [&](JsonFields& f) { e.train = read_train_config(f, e.train); });
  fields.finish();
  require(e.architectures >= 10, "{}: measure.architectures is {}; a predictor needs 10 or more",
          file.string(), e.architectures);
  return e;
}

Json to_json(const Experiment& e) {
  SearchConfig search = e.search;
  search.step.supernet.space = e.space;
  search.step.supernet.shape.classes = e.network.classes;
  search.step.supernet.shape.image = e.network.image;
  TrainConfig train = e.train;
  train.network.space = e.space;
  Json t = {{"epochs", train.epochs},
            {"batch", train.batch},
            {"lr", train.lr},
            {"momentum", train.momentum},
            {"weight_decay", train.weight_decay},
            {"clip_norm", train.clip_norm},
            {"auxiliary", train.network.auxiliary},
            {"auxiliary_weight", train.auxiliary_weight},
            {"drop_path", train.drop_path},
            {"label_smoothing", train.label_smoothing},
            {"cutout", train.cutout},
            {"train_images", train.train_images},
            {"test_images", train.test_images}};
  const Json data = e.synthetic ? Json{{"source", "synthetic"},
                                       {"train", e.generator.train},
                                       {"test", e.generator.test},
                                       {"size", e.generator.size},
                                       {"noise", e.generator.noise}}
                                : Json{{"source", "cifar"}, {"folder", e.folder.string()}};
  return {{"seed", e.seed},
          {"space", Json::parse(e.space.to_json())},
          {"data", data},
          {"network",
           {{"channels", e.network.channels}, {"layers", e.network.layers}, {"batch", e.measured_batch}}},
          {"measure",
           {{"architectures", e.architectures},
            {"max_repeats", e.measure.max_repeats},
            {"seconds_each", e.measure.time_budget_s}}},
          {"fit", {{"model", e.model}, {"test_fraction", e.test_fraction}}},
          {"search", to_json(search)},
          {"latency_weights", e.latency_weights},
          {"train", t}};
}

ExperimentOutcome run_experiment(const Experiment& experiment, const std::filesystem::path& folder) {
  ExperimentOutcome outcome;
  try {
    outcome.result = ExperimentRun(experiment, folder).run();
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
