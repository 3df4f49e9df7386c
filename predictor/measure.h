// Timing of something that runs in milliseconds: warm up until it is stationary, then time single runs until
// the median is known well enough.
#pragma once

#include <functional>
#include <span>
#include <vector>

namespace ladarts {

struct MeasureOptions {
  int min_warmup_runs = 3;
  int max_warmup_runs = 30;
  int min_repeats = 11;
  int max_repeats = 101;
  // Repeating ends when the 95% confidence interval of the median is within +- this fraction of it...
  double target_error = 0.01;
  // ...or when this much time has passed, warm-up included (but never before the minimum numbers of runs).
  double time_budget_s = 2.0;
  // How many times slower than at its best the machine is now (SpeedProbe::slowdown); asked between runs. A
  // run next to a slowdown above max_slowdown is disturbed: it is counted but not timed...
  std::function<double()> slowdown = {};
  double max_slowdown = 1.12;
  // Seconds that the threads have waited for a core so far (CoreWaiting::seconds). A run in which they wait
  // for more than this share of its time is disturbed, too.
  std::function<double()> waited_s = {};
  double max_waiting = 0.02;
  // ...unless this much time beyond the budget brings no min_repeats others: then all runs count and the
  // timing is marked noisy.
  double patience_s = 30.0;
  // Asked after each run of a device that works by itself: how long it worked, by its own clock.
  std::function<double()> device_ms = {};
  std::function<void()> prepare = {};  // called before each run, not timed: CacheFlush
  std::function<double()> now = {};    // seconds, for tests; the monotonic clock if not given
};

struct Timing {
  double median_ms = 0;        // of the times of single runs
  double relative_spread = 0;  // 1.4826 * median absolute deviation / median: a robust standard deviation
  double relative_error = 0;   // half width of the median's 95% confidence interval / median
  double min_ms = 0;
  double mean_ms = 0;
  int repeats = 0;
  int warmup_runs = 0;
  int disturbed_runs = 0;  // of the timed ones; not in `repeats` unless noisy
  bool noisy = false;      // disturbed runs had to be counted
  double slowdown = 1;     // median over the counted runs of what options.slowdown said after them
  double every_run_ms =
      0;                 // median over all timed runs, disturbed ones too: what a plain loop would have found
  double device_ms = 0;  // median over the counted runs of what options.device_ms said; 0: not asked
};

// Calls run() repeatedly and times each call. Warm-up ends when the median of three
// runs is no longer more than 2% below that of the three runs before. What run() throws passes through.
Timing measure(const std::function<void()>& run, const MeasureOptions& options = {});

// The summary of given times of single runs (warmup_runs stays 0).
Timing summarise_times(std::span<const double> milliseconds);

}  // namespace ladarts
