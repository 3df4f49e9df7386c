// ladarts measure --runner: the options, and given architectures measured by a command.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "apps/options.h"
#include "core/json_file.h"
#include "nas/inference_network.h"
#include "nas/runner_meter.h"

namespace ladarts {

struct RunnerOptions {
  std::string command;  // empty: no runner
  std::string device_name;
  double timeout_s = 600;

  bool given() const { return !command.empty(); }
};

void add_runner_options(CLI::App& app, RunnerOptions& options);

// Runs the command on `trial` once; throws Error where that fails, Interrupted.
std::unique_ptr<RunnerMeter> make_runner_meter(const RunnerOptions& options, const std::string& metric,
                                               const LatencySetup& setup, const Genotype& trial);

// Measures each once and keeps it in `store` (null: nowhere) as its next replica. What fails is a row with
// its reason. `names` are those by which they were given. Throws Interrupted.
Json measure_given_by_runner(RunnerMeter& meter, const SearchSpace& space,
                             std::span<const Genotype> genotypes, std::span<const std::string> names,
                             MeasurementStore* store);
std::string text_of_runner_result(const Json& result);

}  // namespace ladarts
