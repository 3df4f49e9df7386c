#include "predictor/measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace ladarts {

namespace {

constexpr int kWarmupWindow = 3;
constexpr double kStationary = 0.02;

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median_of_sorted(std::span<const double> v) {
  const size_t n = v.size();
  return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

double median_of(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return median_of_sorted(v);
}

// Distribution-free: the order statistics of ranks n/2 -+ 0.98 sqrt(n) enclose the median with 95%
// confidence.
double median_error_of_sorted(std::span<const double> v) {
  const double n = double(v.size()), reach = 0.98 * std::sqrt(n);
  const auto low = size_t(std::max(0.0, std::floor(n / 2 - reach)));
  const auto high = size_t(std::min(n - 1, std::ceil(n / 2 + reach) - 1));
  return 0.5 * (v[high] - v[low]);
}

// The median of the last window is not clearly below that of the window before: caches, page faults and
// clocks have settled.
bool stationary(const std::vector<double>& times) {
  if (times.size() < 2 * kWarmupWindow) return false;
  const auto window = [&](size_t back) {
    const auto end = times.end() - std::ptrdiff_t(back * kWarmupWindow);
    return median_of({end - kWarmupWindow, end});
  };
  return window(0) > (1 - kStationary) * window(1);
}

struct Run {
  double ms;
  double device_ms;
  double slowdown;  // after it
  bool disturbed;   // slow before or after it, or threads had to wait for a core in it
};

std::vector<double> each(const std::vector<Run>& runs, double Run::*value) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(run.*value);
  return values;
}

void check(const MeasureOptions& o) {
  require(o.min_warmup_runs >= 0 && o.max_warmup_runs >= o.min_warmup_runs && o.min_repeats >= 1 &&
              o.max_repeats >= o.min_repeats && o.target_error >= 0 && o.time_budget_s >= 0 &&
              o.max_slowdown >= 1 && o.patience_s >= 0,
          "[measure] needs 0 <= min_warmup_runs ({}) <= max_warmup_runs ({}), 1 <= min_repeats ({}) <= "
          "max_repeats ({}), target_error ({}), time_budget_s ({}) and patience_s ({}) not negative, "
          "and max_slowdown ({}) 1 or more",
          o.min_warmup_runs, o.max_warmup_runs, o.min_repeats, o.max_repeats, o.target_error, o.time_budget_s,
          o.patience_s, o.max_slowdown);
}

}  // namespace

Timing summarise_times(std::span<const double> milliseconds) {
  require(!milliseconds.empty(), "[measure] no times to summarise");
  std::vector<double> sorted(milliseconds.begin(), milliseconds.end());
  std::sort(sorted.begin(), sorted.end());
  Timing t;
  t.repeats = int(sorted.size());
  t.median_ms = median_of_sorted(sorted);
  t.min_ms = sorted.front();
  t.mean_ms = std::accumulate(sorted.begin(), sorted.end(), 0.0) / double(sorted.size());
  std::vector<double> deviations;
  for (const double x : sorted) deviations.push_back(std::abs(x - t.median_ms));
  if (t.median_ms > 0) {
    t.relative_spread = 1.4826 * median_of(std::move(deviations)) / t.median_ms;
    t.relative_error = median_error_of_sorted(sorted) / t.median_ms;
  }
  return t;
}

Timing measure(const std::function<void()>& run, const MeasureOptions& options) {
  check(options);
  const auto now = [&] { return options.now ? options.now() : monotonic_seconds(); };
  const auto slowdown = [&] { return options.slowdown ? options.slowdown() : 1.0; };
  double before = slowdown();
  const auto timed = [&] {
    if (options.prepare) options.prepare();
    const double waited = options.waited_s ? options.waited_s() : 0;
    const double begin = now();
    run();
    const double ms = (now() - begin) * 1e3;
    const double device_ms = options.device_ms ? options.device_ms() : 0;
    const double waited_ms = options.waited_s ? (options.waited_s() - waited) * 1e3 : 0;
    const double after = slowdown();
    const bool slow = std::max(std::exchange(before, after), after) > options.max_slowdown;
    return Run{ms, device_ms, after, slow || waited_ms > options.max_waiting * ms};
  };
  const double start = now();
  const auto in_time = [&](double seconds) { return now() - start < seconds; };

  std::vector<double> times;
  while (
      int(times.size()) < options.min_warmup_runs ||
      (int(times.size()) < options.max_warmup_runs && in_time(options.time_budget_s) && !stationary(times)))
    times.push_back(timed().ms);
  const int warmup_runs = int(times.size());

  times.clear();
  std::vector<Run> counted, disturbed;
  bool noisy = false;
  while (int(times.size()) < options.max_repeats) {
    const Run latest = timed();
    (latest.disturbed ? disturbed : counted).push_back(latest);
    if (!latest.disturbed) times.push_back(latest.ms);
    const bool enough = int(times.size()) >= options.min_repeats;
    if (enough && summarise_times(times).relative_error <= options.target_error) break;
    if (in_time(options.time_budget_s)) continue;
    if (enough) break;
    if (int(times.size() + disturbed.size()) < options.min_repeats || disturbed.empty()) continue;
    if (!in_time(options.time_budget_s + options.patience_s)) {
      noisy = true;
      break;
    }
  }
  std::vector<Run> all = counted;
  all.insert(all.end(), disturbed.begin(), disturbed.end());
  if (noisy) counted = all;
  Timing timing = summarise_times(each(counted, &Run::ms));
  timing.noisy = noisy;
  timing.slowdown = median_of(each(counted, &Run::slowdown));
  timing.every_run_ms = median_of(each(all, &Run::ms));
  timing.device_ms = median_of(each(counted, &Run::device_ms));
  timing.warmup_runs = warmup_runs;
  timing.disturbed_runs = int(disturbed.size());
  return timing;
}

}  // namespace ladarts
