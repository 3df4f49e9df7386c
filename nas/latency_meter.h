// Latency of derived networks, in milliseconds of a run.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/affinity.h"
#include "nas/architecture_meter.h"
#include "nas/inference_network.h"
#include "predictor/cache_flush.h"
#include "predictor/conditions.h"
#include "predictor/core_waiting.h"
#include "predictor/measure.h"
#include "predictor/speed_probe.h"

namespace ladarts {

// What such a latency is the latency of, on this machine: metric "latency", or "cold_latency" where the
// caches are emptied before each run.
CostContext latency_context(const LatencySetup& setup);

// Times networks by the protocol of predictor/measure.h, on threads and caches as the set-up wants them.
class LatencyTimer {
 public:
  // `known_probe_ms` is SpeedProbe's best time on this machine as found before; 0: unknown. Throws Error
  // where threads are to be pinned or caches emptied on another device than a CPU, or where there are more
  // threads than cores.
  explicit LatencyTimer(const LatencySetup& setup, double known_probe_ms = 0);
  ~LatencyTimer();

  Timing time(InferenceNetwork& network);
  // Waits until the machine is less than kSlowed times slower than at its best known, for the patience of the
  // set-up at most, and says so; whether it is. False where there is no probe, and where interrupted().
  bool at_full_speed();
  // What the machine was like around the latest timing.
  const Conditions& conditions() const { return conditions_; }

 private:
  const LatencySetup& setup_;
  DeviceStream* stream_ = nullptr;  // null on the CPU
  std::unique_ptr<PinnedThreads> pinned_;
  std::unique_ptr<SpeedProbe> probe_;
  std::unique_ptr<CoreWaiting> waiting_;
  std::unique_ptr<CacheFlush> flush_;
  Conditions conditions_;
  int hopeless_ = 0;  // timings in a row that found no undisturbed runs
};

class LatencyMeter : public ArchitectureMeter {
 public:
  explicit LatencyMeter(const LatencySetup& setup, double known_probe_ms = 0);
  CostContext context() const override { return context_; }
  void measure(const Genotype& genotype, Measurement& row) override;
  bool at_full_speed() override { return timer_.at_full_speed(); }
  double setup_seconds() const override { return setup_seconds_; }

 private:
  LatencySetup setup_;
  CostContext context_;
  LatencyTimer timer_;
  double setup_seconds_ = 0;
};

// Fills in what a row keeps of a timing.
void set_timing(Measurement& row, const Timing& timing);

// Times the networks in turn, `rounds` times, so that a machine that slows down or speeds up meets all alike.
// Each result summarises the medians of its rounds; its slowdown is against `known_probe_ms` (as for
// LatencyTimer), and a machine slower than that is waited for before the first. Empty where interrupted().
std::optional<std::vector<Timing>> measure_in_turn(
    const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest_ms)>& progress = {}, double known_probe_ms = 0);

// For people: what measurements on a machine so many times slower than at its best mean, or nothing where it
// is not slowed.
std::string slowed_text(double slowdown);

}  // namespace ladarts
