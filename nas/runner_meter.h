// Costs of architectures on other hardware: each network is written as an ONNX model with random weights, and
// a runner measures that.
#pragma once

#include <string>

#include "core/temp_folder.h"
#include "nas/architecture_meter.h"
#include "nas/network_shape.h"
#include "predictor/runner.h"

namespace ladarts {

struct RunnerSetup {
  SearchSpace space;
  NetworkShape shape{};
  int batch = 1;
  int threads = 1;                 // what {threads} becomes
  std::string device_name = {};    // empty: the device that the runner names
  std::string metric = "latency";  // or "energy", "peak_memory": what is kept of its answer
};

class RunnerMeter : public ArchitectureMeter {
 public:
  // Runs the command once, on `trial`, so that a wrong one shows before anything else and the context knows
  // what the runner says of its device. Throws Error, MeasuringStopped.
  RunnerMeter(RunnerSetup setup, Runner runner, const Genotype& trial);

  // Its device is of kind "runner". A runner that names no precision is taken to compute in f32, the model's.
  CostContext context() const override { return context_; }
  // Throws Error also where the runner now names another device, precision or library than at first.
  void measure(const Genotype& genotype, Measurement& row) override;
  double setup_seconds() const override { return setup_seconds_; }

 private:
  RunnerReply run(const Genotype& genotype);
  CostContext context_of(const RunnerReply& reply) const;

  RunnerSetup setup_;
  Runner runner_;
  TempFolder folder_;
  double setup_seconds_ = 0;
  CostContext context_;
};

}  // namespace ladarts
