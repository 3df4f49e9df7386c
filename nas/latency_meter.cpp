#include "nas/latency_meter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "predictor/machine.h"
#include "predictor/row_noise.h"

namespace ladarts {

CostContext latency_context(const LatencySetup& setup) {
  return cost_context(setup, setup.cold_caches ? "cold_latency" : "latency", "ms");
}

LatencyTimer::LatencyTimer(const LatencySetup& setup, double known_probe_ms) : setup_(setup) {
  if (setup.device.kind != DeviceKind::cpu) {  // nothing tells when a GPU is disturbed
    stream_ = device_backend(setup.device.kind)->stream(setup.device);
    require(!setup.pin_threads && !setup.cold_caches,
            "[measure] threads are pinned and caches emptied on a CPU only, not on {}", setup.device.str());
    return;
  }
  if (setup.pin_threads) pinned_ = std::make_unique<PinnedThreads>(setup.threads());
  if (setup.cold_caches) flush_ = std::make_unique<CacheFlush>(setup.threads());
  probe_ = std::make_unique<SpeedProbe>(setup.threads(), known_probe_ms);
  waiting_ = std::make_unique<CoreWaiting>();
}

LatencyTimer::~LatencyTimer() = default;

Timing LatencyTimer::time(InferenceNetwork& network) {
  MeasureOptions options = setup_.measure;
  if (probe_) options.slowdown = [&] { return probe_->slowdown(); };
  if (waiting_) options.waited_s = [&] { return waiting_->seconds(); };
  if (flush_) options.prepare = [&] { (*flush_)(); };
  // Where the machine stays disturbed, waiting for it again and again only makes a campaign endless.
  options.patience_s = std::ldexp(options.patience_s, -std::min(hopeless_, 16));
  const MachineState before = machine_state();
  std::unique_ptr<DeviceMark> begin, end;
  if (stream_) options.device_ms = [&] { return end->milliseconds_since(*begin); };
  const Timing timing = ladarts::measure(
      [&] {
        if (stream_) begin = stream_->mark();
        network.run();
        if (stream_) end = stream_->mark();
        network.wait();
      },
      options);
  const MachineState after = machine_state();
  hopeless_ = timing.noisy ? hopeless_ + 1 : 0;
  conditions_ = {.cores = pinned_ ? pinned_->str() : "",
                 .clock_mhz = before.clock_mhz,
                 .clock_mhz_after = after.clock_mhz,
                 .temperature_c = before.temperature_c,
                 .temperature_c_after = after.temperature_c,
                 .every_run_ms = timing.every_run_ms,
                 .device_ms = timing.device_ms};
  if (probe_) {
    conditions_.probe_ms = probe_->best_ms();
    conditions_.slowdown = timing.slowdown * probe_->window_slowdown();
  }
  return timing;
}

bool LatencyTimer::at_full_speed() {
  if (!probe_) return false;
  constexpr int kProbes = 20;
  constexpr std::chrono::milliseconds kPause(100);
  bool said = false;
  for (const Stopwatch watch;; std::this_thread::sleep_for(kPause)) {
    double least = probe_->slowdown_of_best();
    for (int i = 1; i < kProbes; ++i) least = std::min(least, probe_->slowdown_of_best());
    if (least < kSlowed) return true;
    if (interrupted() || watch.seconds() > setup_.measure.patience_s) return false;
    if (!std::exchange(said, true))
      Progress::say(
          fmt::format("the machine is {:.2f} times slower than at its best: waiting for it, {:.3g} s at most",
                      least, setup_.measure.patience_s));
  }
}

LatencyMeter::LatencyMeter(const LatencySetup& setup, double known_probe_ms)
    : setup_(setup), context_(latency_context(setup)), timer_(setup_, known_probe_ms) {}

void LatencyMeter::measure(const Genotype& genotype, Measurement& row) {
  const Stopwatch watch;
  InferenceNetwork network(setup_, genotype);
  setup_seconds_ += watch.seconds();
  set_timing(row, timer_.time(network));
  row.details = with_conditions(row.details, timer_.conditions());
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

std::optional<std::vector<Timing>> measure_in_turn(
    const LatencySetup& setup, std::span<const Genotype> genotypes, int rounds,
    const std::function<void(int64_t done, double latest_ms)>& progress, double known_probe_ms) {
  std::vector<std::unique_ptr<InferenceNetwork>> networks;
  for (const Genotype& genotype : genotypes)
    networks.push_back(std::make_unique<InferenceNetwork>(setup, genotype));
  struct Rounds {
    std::vector<double> medians, slowdowns;
    int disturbed = 0, noisy = 0;
  };
  std::vector<Rounds> found(networks.size());
  LatencyTimer timer(setup, known_probe_ms);
  if (known_probe_ms > 0) timer.at_full_speed();
  int64_t done = 0;
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < networks.size(); ++i) {
      if (interrupted()) return std::nullopt;
      const Timing t = timer.time(*networks[i]);
      found[i].medians.push_back(t.median_ms);
      found[i].slowdowns.push_back(timer.conditions().slowdown);
      found[i].disturbed += t.disturbed_runs;
      found[i].noisy += t.noisy;
      if (progress) progress(++done, t.median_ms);
    }
  std::vector<Timing> timings;
  for (const Rounds& r : found) {
    Timing t = summarise_times(r.medians);
    t.disturbed_runs = r.disturbed;
    t.slowdown = summarise_times(r.slowdowns).median_ms;
    t.noisy = 2 * r.noisy > rounds;  // so the median round is one of them
    timings.push_back(t);
  }
  return timings;
}

std::string slowed_text(double slowdown) {
  if (slowdown <= kSlowed) return {};
  return fmt::format(
      "while these were measured, the machine was {:.2f} times slower than at its best known, which is "
      "what the predictor is for: close other programs, or measure them again later (ladarts verify)\n",
      slowdown);
}

}  // namespace ladarts
