#include "predictor/profile.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "core/error.h"
#include "predictor/measure.h"

namespace ladarts {

namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// One reading of the clock: the median of short rounds, so that an interruption does not count.
double clock_reading_us() {
  constexpr int kReadings = 200;
  std::vector<double> rounds;
  for (int r = 0; r < 21; ++r) {
    const auto start = Clock::now();
    auto last = start;
    for (int i = 0; i < kReadings; ++i) last = Clock::now();
    rounds.push_back(microseconds(last - start) / kReadings);
  }
  std::nth_element(rounds.begin(), rounds.begin() + rounds.size() / 2, rounds.end());
  return rounds[rounds.size() / 2];
}

struct Pair {
  double whole_us;
  std::vector<int64_t> marks_ns;
  bool disturbed;
};

std::vector<Pair> run_pairs(Program& program, const ProfileOptions& options) {
  std::vector<Pair> pairs;
  auto disturbed = [&] { return options.slowdown && options.slowdown() > options.max_slowdown; };
  bool before = disturbed();
  for (int counted = 0; counted < options.repeats && int(pairs.size()) < 2 * options.repeats;) {
    Pair pair{};
    const bool timed_first = pairs.size() % 2 == 1;  // neither kind of run always finds the other's cache
    if (timed_first) program.run_timed(pair.marks_ns);
    const auto start = Clock::now();
    program.run();
    program.wait();
    pair.whole_us = microseconds(Clock::now() - start);
    if (!timed_first) program.run_timed(pair.marks_ns);
    const bool after = disturbed();
    pair.disturbed = before || after;
    before = after;
    counted += !pair.disturbed;
    pairs.push_back(std::move(pair));
    if (options.progress) options.progress(counted);
  }
  return pairs;
}

// Microseconds of the timed run.
double length_of(const Pair& p) {
  return 1e-3 * double(p.marks_ns.back());
}

double span_us(const std::vector<KernelRecord>& run) {
  return 1e-3 * double(run.back().end_ns - run.front().begin_ns);
}

// Microseconds between the kernels of a run; those of one stream do not overlap.
double idle_us(const std::vector<KernelRecord>& run) {
  double busy = 0;
  for (const KernelRecord& k : run) busy += 1e-3 * double(k.end_ns - k.begin_ns);
  return span_us(run) - busy;
}

void trace_kernels_of(Program& program, int repeats, ProgramProfile& profile) {
  constexpr int kWarmUp = 1;
  Program::TracedRuns traced;
  try {
    traced = program.run_traced(kWarmUp + repeats);
  } catch (const Error& e) {
    profile.no_kernels = e.what();
    return;
  }
  auto& runs = traced.runs;
  runs.erase(runs.begin(), runs.begin() + kWarmUp);
  if (traced.node_of.empty()) return;
  std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) { return span_us(a) < span_us(b); });
  const auto& shown = runs[(runs.size() - 1) / 2];
  std::vector<double> times(runs.size());
  auto median_of = [&](auto of) {
    for (size_t r = 0; r < runs.size(); ++r) times[r] = of(runs[r]);
    return summarise_times(times).median_ms;
  };
  for (size_t i = 0; i < shown.size(); ++i)
    profile.kernels.push_back(
        {.node = traced.node_of[i],
         .us = median_of([&](const auto& run) { return 1e-3 * double(run[i].end_ns - run[i].begin_ns); }),
         .start_us = 1e-3 * double(shown[i].begin_ns - shown[0].begin_ns),
         .record = shown[i]});
  profile.kernel_span_us = median_of(span_us);
  profile.kernel_gap_us = median_of(idle_us);
}

}  // namespace

double ProgramProfile::kernels_us() const {
  return std::accumulate(kernels.begin(), kernels.end(), 0.0,
                         [](double sum, const KernelTime& k) { return sum + k.us; });
}

double ProgramProfile::nodes_us() const {
  return std::accumulate(node_us.begin(), node_us.end(), 0.0);
}

ProgramProfile profile_program(Program& program, const ProfileOptions& options) {
  LADARTS_CHECK(options.repeats >= 1);
  ProgramProfile profile;
  profile.nodes = program.nodes();
  require(!profile.nodes.empty(), "[profile] the program has no nodes");
  std::vector<int64_t> warm_up;
  for (int i = 0; i < options.warmup_runs; ++i) {
    program.run();
    program.wait();
    program.run_timed(warm_up);
  }
  std::vector<Pair> pairs = run_pairs(program, options);
  profile.disturbed =
      int(std::count_if(pairs.begin(), pairs.end(), [](const Pair& p) { return p.disturbed; }));
  profile.noisy = 2 * (int(pairs.size()) - profile.disturbed) < options.repeats;
  if (!profile.noisy) std::erase_if(pairs, [](const Pair& p) { return p.disturbed; });
  profile.repeats = int(pairs.size());

  std::vector<double> times(pairs.size());  // microseconds, here and in what Timing calls milliseconds
  auto summarise = [&](auto of) {
    for (size_t r = 0; r < pairs.size(); ++r) times[r] = of(pairs[r]);
    return summarise_times(times);
  };
  for (size_t i = 0; i < profile.nodes.size(); ++i) {
    const Timing t =
        summarise([&](const Pair& p) { return 1e-3 * double(p.marks_ns[i + 1] - p.marks_ns[i]); });
    profile.node_us.push_back(t.median_ms);
    profile.node_spread.push_back(t.relative_spread);
  }
  const Timing whole = summarise([](const Pair& p) { return p.whole_us; });
  profile.whole_us = whole.median_ms;
  profile.whole_best_us = whole.min_ms;
  profile.whole_spread = whole.relative_spread;
  profile.timed_us = summarise(length_of).median_ms;
  profile.clock_us = clock_reading_us() * double(profile.nodes.size() + 1);
  profile.gap_us =
      summarise([](const Pair& p) { return p.whole_us - length_of(p); }).median_ms + profile.clock_us;
  std::sort(pairs.begin(), pairs.end(),
            [](const Pair& a, const Pair& b) { return a.marks_ns.back() < b.marks_ns.back(); });
  profile.marks_ns = std::move(pairs[(pairs.size() - 1) / 2].marks_ns);
  if (options.kernels) trace_kernels_of(program, options.repeats, profile);
  return profile;
}

const char* to_string(Bound bound) {
  switch (bound) {
    case Bound::memory:
      return "memory";
    case Bound::compute:
      return "compute";
    case Bound::nothing:
      break;
  }
  return "nothing";
}

Roofline roofline(const Cost& cost, const MachinePeak& peak) {
  const double compute_us = cost.flops / peak.gflops * 1e-3,
               memory_us = cost.bytes_moved / peak.copy_gbs * 1e-3;
  if (compute_us == 0 && memory_us == 0) return {};
  return compute_us > memory_us ? Roofline{compute_us, Bound::compute} : Roofline{memory_us, Bound::memory};
}

}  // namespace ladarts
