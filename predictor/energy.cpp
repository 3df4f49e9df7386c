#include "predictor/energy.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/error.h"
#include "predictor/measure.h"

namespace ladarts {

namespace {

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs, with an eye on clock and counter.
class EnergyWindows {
 public:
  EnergyWindows(const std::function<void()>& run, EnergyCounter& counter, const EnergyOptions& options)
      : run_(run),
        counter_(counter),
        options_(options),
        now_(options.now ? options.now : monotonic_seconds),
        window_s_(options.window_s > 0 ? options.window_s : std::min(5.0, 250 * counter.update_period_s())) {}

  EnergyReading measure() {
    EnergyReading result;
    for (const double start = now_(); now_() - start < options_.warmup_s; ++result.warmup_runs) run_();
    result.warmup_runs += int(run_to_next_update().runs);
    std::vector<double> mj_each;
    double mj = 0, seconds = 0;
    for (int i = 0; i < options_.windows; ++i) {
      const Window w = window();
      mj_each.push_back(w.mj / double(w.runs));
      mj += w.mj;
      seconds += w.seconds;
      result.runs += w.runs;
    }
    const Timing summary = summarise_times(mj_each);
    result.median_mj = summary.median_ms;
    result.relative_spread = summary.relative_spread;
    result.min_mj = summary.min_ms;
    result.mean_mj = summary.mean_ms;
    result.windows = options_.windows;
    result.watts = mj / seconds * 1e-3;
    return result;
  }

 private:
  struct Window {
    double mj = 0, seconds = 0;
    int64_t runs = 0;
  };

  // Begins just after an update of the counter.
  Window window() {
    Window total;
    while (total.seconds < window_s_) {
      const Window part = run_to_next_update();
      total.mj += part.mj;
      total.seconds += part.seconds;
      total.runs += part.runs;
    }
    return total;
  }

  // At least one run. The counter is asked no more often than it can change: asking takes time too.
  Window run_to_next_update() {
    Window w;
    const double start = now_();
    double asked = start;
    for (;;) {
      run_();
      ++w.runs;
      const double t = now_();
      if (t - asked < counter_.update_period_s()) continue;
      asked = t;
      const double mj = counter_.millijoules();
      if (mj > last_mj_) {
        w.mj = mj - last_mj_;
        w.seconds = t - start;
        last_mj_ = mj;
        return w;
      }
      require(t - start < options_.patience_s,
              "[energy] {} has not changed for {:.0f} s of work: it does not count", counter_.name(),
              t - start);
    }
  }

  const std::function<void()>& run_;
  EnergyCounter& counter_;
  const EnergyOptions& options_;
  std::function<double()> now_;
  double window_s_;
  double last_mj_ = 0;
};

}  // namespace

EnergyReading measure_energy(const std::function<void()>& run, EnergyCounter& counter,
                             const EnergyOptions& options) {
  require(options.windows >= 1, "[energy] {} windows", options.windows);
  return EnergyWindows(run, counter, options).measure();
}

std::unique_ptr<EnergyCounter> open_energy_counter(Device device) {
  if (device.kind == DeviceKind::cpu) return open_rapl();
  for (const auto& [what, value] : device_backend(device.kind)->describe(device))
    if (what == "PCI bus") return open_nvml(value);
  fail("[energy] {} does not tell its PCI bus, by which its counter is found", device.str());
}

}  // namespace ladarts
