// The experiment file: reading, checking, and writing as resolved.
#include <algorithm>
#include <cmath>

#include <fmt/ranges.h>

#include "core/error.h"
#include "nas/experiment.h"
#include "predictor/fit.h"
#include "predictor/units.h"

namespace ladarts {

namespace {

void read_data(const Json& json, const std::string& where, const std::filesystem::path& cifar,
               Experiment& e) {
  JsonFields f(json, where);
  const auto source = f.get_or<std::string>("source", "synthetic");
  require(source == "synthetic" || source == "cifar", "{}: source '{}' is unknown; use synthetic or cifar",
          where, source);
  const auto train = f.get_or<int64_t>("train", 0), test = f.get_or<int64_t>("test", 0);
  require(train >= 0 && test >= 0, "{}: train ({}) and test ({}) should not be negative; 0 means all", where,
          train, test);
  if (source == "cifar") {
    e.folder = f.get_or<std::string>("folder", "");
    require(!e.folder.empty() || !cifar.empty(), "{}: 'folder' names the CIFAR files; it is missing", where);
  } else {
    e.generator.size = f.get_or("size", e.generator.size);
    e.generator.noise = f.get_or("noise", e.generator.noise);
  }
  f.finish();
  if (!cifar.empty()) e.folder = cifar;
  e.synthetic = e.folder.empty();
  if (e.synthetic) {
    e.network.image = e.generator.size;
    if (train > 0) e.generator.train = train;
    if (test > 0) e.generator.test = test;
    e.generator.seed = e.seed;
  } else {
    e.train_images = train;
    e.test_images = test;
  }
}

template <class Read>
void section(JsonFields& fields, const std::string& name, Read read) {
  if (!fields.has(name)) return;
  JsonFields f(fields.at(name), fields.where() + ": " + name);
  read(f);
  f.finish();
}

// What a stage after the measuring would refuse.
void require_feasible(const Experiment& e, const std::string& where) {
  try {
    require(e.test_fraction > 0 && e.test_fraction < 1,
            "fit.test_fraction is {}; it should be between 0 and 1", e.test_fraction);
    const auto kept = int64_t(double(e.architectures) * (1 - e.test_fraction));
    require(kept >= kMinRows, "measure.architectures is {}, of which {} are left to fit; {} are needed",
            e.architectures, kept, kMinRows);
    require_valid(e.search);
    require(e.model != "stack" || kept >= kMinStackRows,
            "measure.architectures is {}, of which {} are left to fit; fit.model 'stack' takes {}",
            e.architectures, kept, kMinStackRows);
    require(e.search.step.term.certainty == 0 || e.model == "auto" || e.model == "gp" || e.model == "stack",
            "search.certainty is {}, which needs a predictor that knows how certain it is: set fit.model to "
            "gp, stack or auto",
            e.search.step.term.certainty);
    require_valid(e.train);
    if (e.synthetic) {
      require_enough_images(e.search, e.generator.train);
      require(e.train.batch <= e.generator.train, "train.batch is {}, of {} images", e.train.batch,
              e.generator.train);
      require(e.generator.size >= 8, "data.size is {}; images have 8 pixels a side or more",
              e.generator.size);
    }
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

}  // namespace

void Experiment::set_images(int classes, int side) {
  NetworkShape& searched = search.step.supernet.shape;
  network.classes = searched.classes = classes;
  network.image = searched.image = side;
}

Experiment read_experiment(const std::filesystem::path& file, const ExperimentOverrides& overrides) {
  const Json json = read_json_file(file);
  JsonFields fields(json, file.string());
  Experiment e;
  e.seed = fields.get_or<uint64_t>("seed", 0);
  if (overrides.seed) e.seed = *overrides.seed;
  e.device = overrides.device;
  e.space = SearchSpace::load(fields.get_or<std::string>("space", "darts"));
  const Json data = fields.has("data") ? fields.at("data") : Json::object();
  read_data(data, file.string() + ": data", overrides.cifar, e);
  section(fields, "network", [&](JsonFields& f) {
    e.network.channels = f.get_or("channels", e.network.channels);
    e.network.layers = f.get_or("layers", e.network.layers);
    e.measured_batch = f.get_or("batch", e.measured_batch);
  });
  e.network = resolve(e.network, e.space);
  section(fields, "measure", [&](JsonFields& f) {
    e.metric = f.get_or("metric", e.metric);
    const auto known = metric_names();
    require(std::find(known.begin(), known.end(), e.metric) != known.end(),
            "{}: metric '{}' is unknown; use {}", f.where(), e.metric, fmt::join(known, ", "));
    e.architectures = f.get_or("architectures", e.architectures);
    e.measure.max_repeats = f.get_or("max_repeats", e.measure.max_repeats);
    e.measure.min_repeats = std::min(e.measure.min_repeats, e.measure.max_repeats);
    e.measure.time_budget_s = f.get_or("seconds_each", e.measure.time_budget_s);
    e.measure.patience_s = f.get_or("patience", e.measure.patience_s);
    require(e.measure.patience_s >= 0, "{}: patience {} s is negative", f.where(), e.measure.patience_s);
  });
  section(fields, "fit", [&](JsonFields& f) {
    e.model = f.get_or("model", e.model);
    const auto& known = predictor_models();
    require(std::find(known.begin(), known.end(), e.model) != known.end(),
            "{}: model '{}' is unknown; use {}", f.where(), e.model, fmt::join(known, ", "));
    e.test_fraction = f.get_or("test_fraction", e.test_fraction);
  });
  section(fields, "search", [&](JsonFields& f) {
    e.search = search_protocol(f.get_or<std::string>("protocol", "pc-darts"));
    e.search.images = e.train_images;
    e.search.step.supernet.space = e.space;
    e.search = read_search_config(f, e.search);
    e.latency_weights = f.get_or("latency_weights", e.latency_weights);
    require(!e.latency_weights.empty(), "{}: latency_weights is empty; give one number for each search",
            f.where());
    for (double w : e.latency_weights)
      require(std::isfinite(w) && w >= 0, "{}: latency weight {} is impossible; give 0 or more", f.where(),
              w);
  });
  e.train.train_images = e.train_images;
  e.train.test_images = e.test_images;
  section(fields, "train", [&](JsonFields& f) { e.train = read_train_config(f, e.train); });
  fields.finish();
  e.search.seed = e.search.step.seed = e.train.seed = e.seed;
  e.search.step.device = e.train.device = e.device;
  e.set_images(e.network.classes, e.network.image);
  require_feasible(e, file.string());
  return e;
}

Json to_json(const Experiment& e) {
  const Json data = e.synthetic ? Json{{"source", "synthetic"},
                                       {"train", e.generator.train},
                                       {"test", e.generator.test},
                                       {"size", e.generator.size},
                                       {"noise", e.generator.noise}}
                                : Json{{"source", "cifar"},
                                       {"folder", e.folder.string()},
                                       {"train", e.train_images},
                                       {"test", e.test_images}};
  return {{"seed", e.seed},
          {"device", e.device.str()},
          {"space", Json::parse(e.space.to_json())},
          {"data", data},
          {"network",
           {{"channels", e.network.channels}, {"layers", e.network.layers}, {"batch", e.measured_batch}}},
          {"measure",
           {{"metric", e.metric},
            {"architectures", e.architectures},
            {"max_repeats", e.measure.max_repeats},
            {"seconds_each", e.measure.time_budget_s},
            {"patience", e.measure.patience_s}}},
          {"fit", {{"model", e.model}, {"test_fraction", e.test_fraction}}},
          {"search", to_json(e.search)},
          {"latency_weights", e.latency_weights},
          {"train", settings_of(e.train)}};
}

}  // namespace ladarts
