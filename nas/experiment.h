// The whole job from one JSON file: images, measurements, predictor, one search for each latency weight,
// training of each derived network, and the measuring of the results.
//
//   {
//     "seed": 1,
//     "space": "darts",                          preset name or file
//     "data": {"source": "synthetic", "train": 4000, "test": 1000}
//          or {"source": "cifar", "folder": "...", "train": 0, "test": 0},   0: all
//     "network": {"channels": 16, "layers": 8, "batch": 1},    what is measured and trained
//     "measure": {"metric": "latency", "architectures": 200, "max_repeats": 21, "seconds_each": 0.5},
//     "fit": {"model": "auto", "test_fraction": 0.2},
//     "search": {"protocol": "pc-darts", "latency_weights": [0, 1], "epochs": 20, ...}, read_search_config()
//     "train": {"epochs": 10, ...}                             read_train_config()
//   }
//
// A latency weight w is relative: lambda = w / (median measured cost), so that the same file means the
// same on a fast and on a slow machine, and for every metric.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/json_file.h"
#include "nas/data/synthetic.h"
#include "nas/search.h"
#include "nas/train.h"
#include "predictor/fit.h"
#include "predictor/measure.h"

namespace ladarts {

struct Experiment {
  uint64_t seed = 0;
  Device device{};
  SearchSpace space;
  // Images.
  bool synthetic = true;
  SyntheticOptions generator;
  std::filesystem::path folder;               // of CIFAR files
  int64_t train_images = 0, test_images = 0;  // of these; 0: all
  // What is measured and trained.
  NetworkShape network;
  int measured_batch = 1;
  std::string metric =
      "latency";  // or another cost of nas/meters.h: what is measured, predicted and searched for
  int64_t architectures = 200;
  MeasureOptions measure;
  std::string model = "auto";  // or "gp", "mlp", "paper", "additive"; see FitResult::model()
  double test_fraction = 0.2;
  SearchConfig search;
  std::vector<double> latency_weights = {0, 1};
  TrainConfig train;

  // Sets what is searched, trained and measured to images of so many classes and pixels a side.
  void set_images(int classes, int side);
};

// What the command line says instead of the file.
struct ExperimentOverrides {
  std::filesystem::path cifar = {};  // images of this folder
  std::optional<uint64_t> seed = {};
  Device device{};
};

// Throws Error naming file and field. Fields that are unknown are refused, and so is all that a later stage
// could not do, so that no measurements are made for nothing.
Experiment read_experiment(const std::filesystem::path& file, const ExperimentOverrides& overrides = {});
Json to_json(const Experiment& experiment);

struct ExperimentOutcome {
  bool finished = false;  // false: interrupted; running again goes on
  Json result;            // as result.json: one entry for each latency weight
};

// A CIFAR set's own classes take the place of the experiment's. Runs, or goes on with, all stages in
// `folder`; a stage whose result is there is not repeated. Progress and a line for each stage go to stderr.
ExperimentOutcome run_experiment(const Experiment& experiment, const std::filesystem::path& folder);

// The result as a table for people.
std::string experiment_table(const Json& result);

}  // namespace ladarts
