// Meters of every cost that ladarts can find out by itself. docs/costs-and-stores.md says what each counts.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nas/architecture_meter.h"
#include "nas/inference_network.h"
#include "predictor/energy.h"

namespace ladarts {

// Memory of the inference program, in MiB, exactly as planned: arena (activations and kernels' scratch),
// parameters, images and logits. It is what one program needs beside the code, the process, and the runtime
// of a GPU.
class PeakMemoryMeter : public ArchitectureMeter {
 public:
  explicit PeakMemoryMeter(const LatencySetup& setup);
  CostContext context() const override { return context_; }
  void measure(const Genotype& genotype, Measurement& row) override;
  bool deterministic() const override { return true; }
  double setup_seconds() const override { return setup_seconds_; }

 private:
  LatencySetup setup_;
  CostContext context_;
  double setup_seconds_ = 0;
};

// "parameters" of the network as it is trained, without the auxiliary head, or "macs", the
// multiply-accumulates of the convolutions and linear layers of one image; both in millions. They depend on
// no device, so their context is device "any", batch 1.
class CountMeter : public ArchitectureMeter {
 public:
  CountMeter(const LatencySetup& setup, const std::string& metric);
  CostContext context() const override { return context_; }
  void measure(const Genotype& genotype, Measurement& row) override;
  bool deterministic() const override { return true; }

 private:
  LatencySetup setup_;
  CostContext context_;
};

// Energy of a run in mJ, by a counter of the whole CPU packages or the whole GPU board: what else runs there,
// and what the device takes when idle, is included.
class EnergyMeter : public ArchitectureMeter {
 public:
  EnergyMeter(const LatencySetup& setup, std::unique_ptr<EnergyCounter> counter, EnergyOptions options = {});
  CostContext context() const override { return context_; }
  void measure(const Genotype& genotype, Measurement& row) override;
  double setup_seconds() const override { return setup_seconds_; }

 private:
  LatencySetup setup_;
  std::unique_ptr<EnergyCounter> counter_;
  EnergyOptions options_;
  CostContext context_;
  double setup_seconds_ = 0;
};

// Throws Error for an unknown metric, and for energy where its counter cannot be read. For `known_probe_ms`
// see LatencyTimer.
std::unique_ptr<ArchitectureMeter> make_meter(const std::string& metric, const LatencySetup& setup,
                                              double known_probe_ms = 0);

// The set-up of a latency of this metric: caches cold for "cold_latency".
LatencySetup latency_setup(const std::string& metric, LatencySetup setup);
bool is_latency(const std::string& metric);  // "latency" or "cold_latency"

// The context of such a meter, without opening a counter.
CostContext metric_context(const std::string& metric, const LatencySetup& setup);

// Measures the networks in turn, `rounds` times (once where the meter is deterministic): a row for each, with
// the median and spread of its rounds. Latencies come from networks that stay prepared
// (latency_meter.h), and their details tell how slowed the machine was against `known_probe_ms`, where that
// is given. What cannot be measured throws Error. Empty where interrupted().
std::optional<std::vector<Measurement>> measure_metric_in_turn(
    const std::string& metric, const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest)>& progress = {}, double known_probe_ms = 0);

}  // namespace ladarts
