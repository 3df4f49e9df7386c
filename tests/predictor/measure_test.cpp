#include "predictor/measure.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <regex>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "core/affinity.h"
#include "core/clock.h"
#include "core/error.h"
#include "predictor/cache_flush.h"
#include "predictor/core_waiting.h"
#include "predictor/machine.h"
#include "predictor/speed_probe.h"
#include "tests/support/catch.h"
#include "tests/support/temp_folder.h"

using namespace ladarts;

TEST_CASE("measure: the summary of known times", "[predictor][measure]") {
  const std::vector<double> times = {10, 12, 11, 100, 9};
  const Timing t = summarise_times(times);
  CHECK(t.median_ms == 11);
  CHECK(t.relative_spread == Approx(1.4826 * 1 / 11));  // deviations 0 1 1 2 89
  CHECK(t.min_ms == 9);
  CHECK(t.mean_ms == Approx(28.4));
  CHECK(t.repeats == 5);
  CHECK_THROWS_AS(summarise_times({}), Error);
}

TEST_CASE("measure: the interval of the median narrows with more times", "[predictor][measure]") {
  std::vector<double> times;
  for (int i = 0; i < 400; ++i) times.push_back(100 + (i * 37) % 100);
  const double many = summarise_times(times).relative_error;
  times.resize(25);
  const double few = summarise_times(times).relative_error;
  CHECK(many > 0);
  CHECK(many < 0.5 * few);
}

namespace {

// Runs that take what a schedule says, on a clock that only they move.
struct SimulatedRuns {
  std::function<double(int call)> milliseconds;
  int calls = 0;
  double seconds = 0;

  Timing measure(MeasureOptions options) {
    options.now = [this] { return seconds; };
    return ladarts::measure([this] { seconds += milliseconds(++calls) / 1e3; }, options);
  }
};

}  // namespace

TEST_CASE("measure: warm-up lasts until runs stop getting faster", "[predictor][measure]") {
  SimulatedRuns runs{[](int call) { return call < 9 ? 20.0 / call : 2.0; }};
  const Timing t = runs.measure({.min_repeats = 5, .max_repeats = 5});
  CHECK(t.warmup_runs ==
        13);  // runs 11 to 13 are the first three with a median no lower than that of the three before
  CHECK(t.repeats == 5);
  CHECK(runs.calls == 18);
  CHECK(t.min_ms == Approx(2));
  CHECK(t.median_ms == Approx(2));
  CHECK(t.relative_spread == Approx(0).margin(1e-9));
}

TEST_CASE("measure: repeats go on until the median is known well enough", "[predictor][measure]") {
  const auto noisy = [](int call) { return 10.0 + (call * 37) % 11; };  // 10 to 20 ms
  SimulatedRuns loose{noisy}, strict{noisy}, steady{[](int) { return 10.0; }};
  const MeasureOptions options{.max_repeats = 5000, .target_error = 0.2, .time_budget_s = 1000};
  MeasureOptions fine = options;
  fine.target_error = 0.05;
  const Timing a = loose.measure(options), b = strict.measure(fine), c = steady.measure(fine);
  CHECK(a.relative_error <= 0.2);
  CHECK(b.relative_error <= 0.05);
  CHECK(a.repeats < b.repeats);
  CHECK(b.repeats < 5000);
  CHECK(c.repeats == options.min_repeats);
}

TEST_CASE("measure: the time budget ends it, the minimum numbers of runs stay", "[predictor][measure]") {
  const auto slowly_faster = [](int call) {
    return 1000.0 * std::pow(0.9, call) + std::fmod(call * 0.618, 1.0);
  };
  const MeasureOptions options{.min_warmup_runs = 2,
                               .max_warmup_runs = 1000,
                               .min_repeats = 4,
                               .max_repeats = 100000,
                               .target_error = 0,
                               .time_budget_s = 0};
  SimulatedRuns none{slowly_faster};
  const Timing t = none.measure(options);
  CHECK(t.warmup_runs == 2);
  CHECK(t.repeats == 4);
  CHECK(none.calls == 6);
  MeasureOptions longer = options;
  longer.time_budget_s = 11;
  SimulatedRuns some{slowly_faster};
  some.measure(longer);
  CHECK(some.seconds >= 11);
  CHECK(some.seconds < 12);
  CHECK_THROWS_WITH(none.measure({.min_repeats = 9, .max_repeats = 3}), ContainsSubstring("max_repeats (3)"));
}

TEST_CASE("measure: runs on a slowed machine are counted but not timed", "[predictor][measure]") {
  SimulatedRuns runs{[](int call) { return call > 20 && call <= 60 ? 20.0 : 10.0; }};
  MeasureOptions options{.min_warmup_runs = 6, .max_warmup_runs = 6, .min_repeats = 40, .max_repeats = 40};
  options.slowdown = [&] { return runs.calls > 20 && runs.calls <= 60 ? 2.0 : 1.1; };
  const Timing t = runs.measure(options);
  CHECK(t.repeats == 40);
  CHECK(t.disturbed_runs == 41);  // and the one that began on a slow machine
  CHECK(!t.noisy);
  CHECK(t.median_ms == Approx(10));
  CHECK(t.mean_ms == Approx(10));
}

TEST_CASE("measure: a timing tells how slow the machine was while its runs were counted",
          "[predictor][measure]") {
  SimulatedRuns runs{[](int) { return 10.0; }};
  MeasureOptions options{.max_warmup_runs = 6, .min_repeats = 5, .time_budget_s = 1};
  options.slowdown = [&] { return runs.calls == 8 ? 3.0 : 1.05; };  // runs 8 and 9 are not counted
  CHECK(runs.measure(options).slowdown == Approx(1.05));
  options.slowdown = [] { return 1.4; };
  CHECK(runs.measure(options).slowdown == Approx(1.4));
  options.slowdown = {};
  CHECK(runs.measure(options).slowdown == 1);
}

TEST_CASE("measure: a run whose threads waited for a core is disturbed", "[predictor][measure]") {
  double waited = 0;
  SimulatedRuns runs{[&](int call) {
    if (call % 2 == 0) waited += 0.004;  // of another program's turn
    waited += 0.0001;
    return call % 2 == 0 ? 14.0 : 10.0;
  }};
  MeasureOptions options{.max_warmup_runs = 6, .min_repeats = 20, .max_repeats = 20, .time_budget_s = 10};
  options.waited_s = [&] { return waited; };
  const Timing t = runs.measure(options);
  CHECK(t.median_ms == Approx(10));
  CHECK(t.mean_ms == Approx(10));
  CHECK(t.repeats == 20);
  CHECK(t.disturbed_runs >= 19);
  CHECK(!t.noisy);
  CHECK(t.every_run_ms == Approx(12).margin(2));  // half of them took 14 ms
}

TEST_CASE("core waiting: threads without a core of their own wait, and that is seen",
          "[predictor][measure]") {
  std::atomic<bool> stop{false};
  std::vector<std::thread> rivals;
  for (unsigned i = 0; i < 3 * std::thread::hardware_concurrency(); ++i)
    rivals.emplace_back([&] {
      while (!stop) {
      }
    });
  const CoreWaiting waiting;
  const double before = waiting.seconds();
  for (const Stopwatch watch; waiting.known() && waiting.seconds() < before + 0.05 && watch.seconds() < 30;) {
  }
  const double after = waiting.seconds();
  stop = true;
  for (std::thread& t : rivals) t.join();
  if (waiting.known()) CHECK(after >= before + 0.05);
  CHECK(waiting.seconds() >= 0);  // threads that have ended
}

TEST_CASE("measure: what prepares a run is not in its time", "[predictor][measure]") {
  SimulatedRuns runs{[](int) { return 10.0; }};
  int prepared = 0;
  MeasureOptions options{.max_warmup_runs = 6, .min_repeats = 5, .time_budget_s = 100};
  options.prepare = [&] {
    ++prepared;
    runs.seconds += 0.5;
  };
  const Timing t = runs.measure(options);
  CHECK(t.median_ms == Approx(10));
  CHECK(prepared == runs.calls);
}

TEST_CASE("cache flush: its memory is twice the largest cache", "[predictor][measure]") {
  const TempFolder system;
  const auto cache = std::filesystem::path(system / "devices/system/cpu/cpu0/cache");
  for (const auto& [index, size] : {std::pair{0, "48K"}, {1, "2048K"}, {2, "33M"}}) {
    std::filesystem::create_directories(cache / fmt::format("index{}", index));
    std::ofstream(cache / fmt::format("index{}", index) / "size") << size << "\n";
  }
  CHECK(largest_cache_bytes(system.path()) == int64_t(33) << 20);
  const TempFolder nothing;
  CHECK(largest_cache_bytes(nothing.path()) == int64_t(32) << 20);
  ThreadPool pool(2);
  CacheFlush flush(pool);
  CHECK(flush.bytes() == 2 * largest_cache_bytes());
  flush();
  flush();
}

TEST_CASE("machine: clocks and temperatures are read where there are any", "[predictor][machine]") {
  const TempFolder system;
  const auto write = [&](const std::string& path, const std::string& text) {
    const std::filesystem::path file = system / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
  };
  CHECK(machine_state(system.path()).temperature_c == 0);
  write("class/thermal/thermal_zone0/type", "acpitz");
  write("class/thermal/thermal_zone0/temp", "71500");
  CHECK(machine_state(system.path()).temperature_c == Approx(71.5));
  write("class/hwmon/hwmon1/name", "nvme");
  write("class/hwmon/hwmon1/temp1_input", "80000");
  CHECK(machine_state(system.path()).temperature_c == Approx(80));
  write("class/hwmon/hwmon2/name", "k10temp");
  write("class/hwmon/hwmon2/temp1_input", "55000");
  write("class/hwmon/hwmon2/temp1_label", "99000");
  write("class/hwmon/hwmon2/temp3_input", "56250");
  CHECK(machine_state(system.path()).temperature_c == Approx(56.25));  // the CPU's goes before hotter others
  for (const int core : cores_by_preference())
    write(fmt::format("devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", core), "2400000");
  CHECK(machine_state(system.path()).clock_mhz == Approx(2400));
}

TEST_CASE("measure: where every run is disturbed, patience ends and the timing is noisy",
          "[predictor][measure]") {
  SimulatedRuns runs{[](int) { return 20.0; }};
  MeasureOptions options{.max_warmup_runs = 6, .min_repeats = 5, .time_budget_s = 1};
  options.slowdown = [] { return 1.5; };
  options.patience_s = 2;
  const Timing t = runs.measure(options);
  CHECK(t.noisy);
  CHECK(t.repeats == t.disturbed_runs);
  CHECK(runs.seconds >= 3);
  CHECK(runs.seconds < 3.1);
  CHECK(t.median_ms == Approx(20));
}

TEST_CASE("speed probe: rivals for the cores slow it down, and only they", "[predictor][measure]") {
  ThreadPool pool(2);
  SpeedProbe probe(pool);
  const auto least = [&](int probes) {
    double slowdown = probe.slowdown();
    for (int i = 1; i < probes; ++i) slowdown = std::min(slowdown, probe.slowdown());
    return slowdown;
  };
  CHECK(least(200) < 1.3);
  // Three threads for each core: a probe cannot have both of its cores for long.
  std::atomic<bool> stop{false};
  std::vector<std::thread> rivals;
  for (unsigned i = 0; i < 3 * std::thread::hardware_concurrency(); ++i)
    rivals.emplace_back([&] {
      while (!stop) {
      }
    });
  double most = 0;
  for (const Stopwatch watch; most < 1.3 && watch.seconds() < 30;) most = std::max(most, probe.slowdown());
  stop = true;
  for (std::thread& t : rivals) t.join();
  CHECK(most >= 1.3);
}

TEST_CASE("measure: without a clock given it is wall time", "[predictor][measure]") {
  const Timing t = measure([] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); },
                           {.max_warmup_runs = 3, .min_repeats = 2, .max_repeats = 2});
  CHECK(t.min_ms >= 2);
}

TEST_CASE("measure: what the run throws passes through", "[predictor][measure]") {
  CHECK_THROWS_WITH(measure([] { fail("[op] at fault"); }), ContainsSubstring("at fault"));
}

TEST_CASE("machine: what identifies a measurement is known", "[predictor][machine]") {
  const Machine m = this_machine();
  CHECK(!m.cpu.empty());
  CHECK(m.cores >= 1);
  CHECK(m.clock_mhz >= 0);
  CHECK(std::regex_match(utc_now(), std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")));
  CHECK(std::regex_match(library_commit(), std::regex("([0-9a-f]{12,}(-dirty)?)|unknown")));
  CostContext c;
  describe_device(c, {}, 3);
  CHECK(c.device == m.cpu);
  CHECK(c.threads == 3);
  CHECK(c.library_version == library_version());
}
