#include "nas/noise_floor.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/interrupt.h"
#include "nas/latency_meter.h"
#include "predictor/row_noise.h"

namespace ladarts {

std::optional<NoiseFloor> measure_noise_floor(const LatencySetup& setup, const Genotype& genotype,
                                              int timings, double known_probe_ms) {
  require(timings >= 2, "[measure] a noise floor from {} timings; it takes 2 or more", timings);
  InferenceNetwork network(setup, genotype);
  LatencyTimer timer(setup, known_probe_ms);
  NoiseFloor floor{.timings = timings, .pinned = setup.pin_threads};
  std::vector<double> medians, spreads;
  int runs = 0, disturbed = 0;
  for (int i = 0; i < timings; ++i) {
    if (interrupted()) return std::nullopt;
    const Timing t = timer.time(network);
    medians.push_back(t.median_ms);
    spreads.push_back(t.relative_spread);
    disturbed += t.disturbed_runs;
    runs += t.noisy ? t.repeats : t.repeats + t.disturbed_runs;
    floor.slowdown = std::max(floor.slowdown, timer.conditions().slowdown);
  }
  floor.median_ms = summarise_times(medians).median_ms;
  for (const double m : medians) floor.between = std::max(floor.between, std::abs(m / floor.median_ms - 1));
  floor.within = summarise_times(spreads).median_ms;
  floor.disturbed = double(disturbed) / runs;
  return floor;
}

void to_json(nlohmann::json& j, const NoiseFloor& floor) {
  j = {{"timings", floor.timings}, {"median_ms", floor.median_ms}, {"between", floor.between},
       {"within", floor.within},   {"disturbed", floor.disturbed}, {"slowdown", floor.slowdown},
       {"pinned", floor.pinned}};
}

std::string NoiseFloor::str() const {
  std::string out = fmt::format(
      "this machine now: one network timed {} times, medians within {:.2f}% of {:.3f} ms, single runs within "
      "{:.1f}%",
      timings, 100 * between, median_ms, 100 * within);
  if (disturbed > 0.1) out += fmt::format("; {:.1f}% of its runs were disturbed", 100 * disturbed);
  if (slowdown > kSlowed)
    out +=
        fmt::format("; it is {:.2f} times slower than at its best: close other programs, or wait", slowdown);
  return out;
}

}  // namespace ladarts
