#include "nas/latency_meter.h"

#include <chrono>

#include "core/interrupt.h"
#include "predictor/speed_probe.h"

namespace ladarts {

namespace {

// Tells when the CPU is disturbed; nothing tells it of a GPU.
std::unique_ptr<SpeedProbe> make_probe(const LatencySetup& setup) {
  return setup.device.kind == DeviceKind::cpu ? std::make_unique<SpeedProbe>(setup.threads()) : nullptr;
}

// Runs that `probe` shows to be disturbed are left out.
Timing measure_network(const LatencySetup& setup, InferenceNetwork& network, SpeedProbe* probe) {
  MeasureOptions options = setup.measure;
  if (probe) options.slowdown = [&] { return probe->slowdown(); };
  return measure(
      [&] {
        network.run();
        network.wait();
      },
      options);
}

}  // namespace

CostContext latency_context(const LatencySetup& setup) {
  return cost_context(setup, "latency", "ms");
}

LatencyMeter::LatencyMeter(const LatencySetup& setup)
    : setup_(setup), context_(latency_context(setup)), probe_(make_probe(setup)) {}

LatencyMeter::~LatencyMeter() = default;

void LatencyMeter::measure(const Genotype& genotype, Measurement& row) {
  const auto start = std::chrono::steady_clock::now();
  InferenceNetwork network(setup_, genotype);
  setup_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  set_timing(row, measure_network(setup_, network, probe_.get()));
}

void set_timing(Measurement& row, const Timing& timing) {
  row.median = timing.median_ms;
  row.relative_spread = timing.relative_spread;
  row.min = timing.min_ms;
  row.mean = timing.mean_ms;
  row.repeats = timing.repeats;
  row.warmup_runs = timing.warmup_runs;
  row.disturbed_runs = timing.disturbed_runs;
  row.noisy = timing.noisy;
}

Timing measure_latency(const LatencySetup& setup, const Genotype& genotype) {
  InferenceNetwork network(setup, genotype);
  const std::unique_ptr<SpeedProbe> probe = make_probe(setup);
  return measure_network(setup, network, probe.get());
}

std::optional<std::vector<Timing>> measure_in_turn(
    const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest_ms)>& progress) {
  std::vector<std::unique_ptr<InferenceNetwork>> networks;
  for (const Genotype& genotype : genotypes)
    networks.push_back(std::make_unique<InferenceNetwork>(setup, genotype));
  struct Rounds {
    std::vector<double> medians;
    int disturbed = 0, noisy = 0;
  };
  std::vector<Rounds> found(networks.size());
  const std::unique_ptr<SpeedProbe> probe = make_probe(setup);
  int64_t done = 0;
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < networks.size(); ++i) {
      if (interrupted()) return std::nullopt;
      const Timing t = measure_network(setup, *networks[i], probe.get());
      found[i].medians.push_back(t.median_ms);
      found[i].disturbed += t.disturbed_runs;
      found[i].noisy += t.noisy;
      if (progress) progress(++done, t.median_ms);
    }
  std::vector<Timing> timings;
  for (const Rounds& r : found) {
    Timing t = summarise_times(r.medians);
    t.disturbed_runs = r.disturbed;
    t.noisy = 2 * r.noisy > rounds;  // so the median round is one of them
    timings.push_back(t);
  }
  return timings;
}

}  // namespace ladarts
