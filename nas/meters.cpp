#include "nas/meters.h"

#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "nas/architecture_measuring.h"
#include "nas/network.h"
#include "predictor/machine.h"
#include "predictor/units.h"

namespace ladarts {

namespace {

void set_exact(Measurement& row, double cost) {
  row.median = row.min = row.mean = cost;
  row.repeats = 1;
}

bool is_count(const std::string& metric) {
  return metric == "parameters" || metric == "macs";
}

}  // namespace

CostContext metric_context(const std::string& metric, const LatencySetup& setup) {
  CostContext context = cost_context(setup, metric, metric_info(metric).unit);
  if (is_count(metric)) {
    context.batch = 1;
    context.device = context.device_kind = context.isa = kAnyDevice;
    context.threads = 1;
  }
  return context;
}

PeakMemoryMeter::PeakMemoryMeter(const LatencySetup& setup)
    : setup_(setup), context_(metric_context("peak_memory", setup)) {}

void PeakMemoryMeter::measure(const Genotype& genotype, Measurement& row) {
  const Stopwatch watch;
  const InferenceNetwork network(setup_, genotype);
  setup_seconds_ += watch.seconds();
  const ProgramStats& s = network.stats();
  set_exact(row, double(s.arena_bytes + s.bound_bytes) / (1 << 20));
  row.details = nlohmann::json{{"arena_bytes", s.arena_bytes}, {"bound_bytes", s.bound_bytes}}.dump();
}

CountMeter::CountMeter(const LatencySetup& setup, const std::string& metric)
    : setup_(setup), context_(metric_context(metric, setup)) {
  require(is_count(metric), "[measure] '{}' is not counted", metric);
}

void CountMeter::measure(const Genotype& genotype, Measurement& row) {
  const NetworkCounts counts =
      count_network({.space = setup_.space, .genotype = genotype, .shape = setup_.shape});
  const int64_t count = context_.metric == "macs" ? counts.multiply_accumulates : counts.parameters;
  set_exact(row, double(count) / 1e6);
}

EnergyMeter::EnergyMeter(const LatencySetup& setup, std::unique_ptr<EnergyCounter> counter,
                         EnergyOptions options)
    : setup_(setup),
      counter_(std::move(counter)),
      options_(std::move(options)),
      context_(metric_context("energy", setup)) {}

void EnergyMeter::measure(const Genotype& genotype, Measurement& row) {
  const Stopwatch watch;
  InferenceNetwork network(setup_, genotype);
  setup_seconds_ += watch.seconds();
  const EnergyReading e = measure_energy(
      [&] {
        network.run();
        network.wait();
      },
      *counter_, options_);
  row.median = e.median_mj;
  row.relative_spread = e.relative_spread;
  row.min = e.min_mj;
  row.mean = e.mean_mj;
  row.repeats = e.windows;
  row.warmup_runs = e.warmup_runs;
  row.details = nlohmann::json{{"counter", counter_->name()}, {"runs", e.runs}, {"watts", e.watts}}.dump();
}

bool is_latency(const std::string& metric) {
  return metric == "latency" || metric == "cold_latency";
}

LatencySetup latency_setup(const std::string& metric, LatencySetup setup) {
  setup.cold_caches = metric == "cold_latency";
  return setup;
}

std::unique_ptr<ArchitectureMeter> make_meter(const std::string& metric, const LatencySetup& setup,
                                              double known_probe_ms) {
  if (metric == "peak_memory") return std::make_unique<PeakMemoryMeter>(setup);
  if (is_count(metric)) return std::make_unique<CountMeter>(setup, metric);
  if (metric == "energy") return std::make_unique<EnergyMeter>(setup, open_energy_counter(setup.device));
  require(is_latency(metric_info(metric).name), "[measure] nothing measures '{}'", metric);
  return std::make_unique<LatencyMeter>(latency_setup(metric, setup), known_probe_ms);
}

std::optional<std::vector<Measurement>> measure_metric_in_turn(
    const std::string& metric, const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest)>& progress, double known_probe_ms) {
  const CostContext context = metric_context(metric, setup);
  std::vector<Measurement> rows;
  for (const Genotype& g : genotypes) rows.push_back(new_row(context, architecture_text(g, setup.space)));
  if (is_latency(metric)) {
    const auto timings =
        measure_in_turn(latency_setup(metric, setup), genotypes, rounds, progress, known_probe_ms);
    if (!timings) return std::nullopt;
    for (size_t i = 0; i < rows.size(); ++i) {
      const Timing& t = (*timings)[i];
      set_timing(rows[i], t);
      if (known_probe_ms > 0) rows[i].details = with_conditions(rows[i].details, {.slowdown = t.slowdown});
    }
    return rows;
  }
  const auto meter = make_meter(metric, setup);
  if (meter->deterministic()) rounds = 1;
  std::vector<std::vector<double>> costs(rows.size());
  int64_t done = 0;
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < rows.size(); ++i) {
      if (interrupted()) return std::nullopt;
      meter->measure(genotypes[i], rows[i]);
      costs[i].push_back(rows[i].median);
      if (progress) progress(++done, rows[i].median);
    }
  if (rounds > 1)
    for (size_t i = 0; i < rows.size(); ++i) set_timing(rows[i], summarise_times(costs[i]));
  return rows;
}

}  // namespace ladarts
