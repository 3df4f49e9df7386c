// Latency of derived networks, in milliseconds of a run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "nas/architecture_meter.h"
#include "nas/inference_network.h"
#include "predictor/measure.h"

namespace ladarts {

class SpeedProbe;

// What such a latency is the latency of, on this machine.
CostContext latency_context(const LatencySetup& setup);

class LatencyMeter : public ArchitectureMeter {
 public:
  explicit LatencyMeter(const LatencySetup& setup);
  ~LatencyMeter() override;
  CostContext context() const override { return context_; }
  void measure(const Genotype& genotype, Measurement& row) override;
  double setup_seconds() const override { return setup_seconds_; }

 private:
  LatencySetup setup_;
  CostContext context_;
  std::unique_ptr<SpeedProbe> probe_;
  double setup_seconds_ = 0;
};

// Fills in what a row keeps of a timing.
void set_timing(Measurement& row, const Timing& timing);

Timing measure_latency(const LatencySetup& setup, const Genotype& genotype);

// Times the networks in turn, `rounds` times, so that a machine that slows down or speeds up meets all alike.
// Each result summarises the medians of its rounds. Empty where interrupted().
std::optional<std::vector<Timing>> measure_in_turn(
    const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest_ms)>& progress = {});

}  // namespace ladarts
