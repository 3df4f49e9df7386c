// How well a machine can tell two latencies apart: what a campaign says of it before it begins.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "nas/genotype.h"
#include "nas/inference_network.h"

namespace ladarts {

// One network timed several times.
struct NoiseFloor {
  double median_ms = 0;  // of the timings' medians
  double between = 0;    // their greatest difference from it, relative: what is finer cannot be told
  double within = 0;     // median over the timings of the relative spread of single runs
  double disturbed = 0;  // share of runs on a slowed machine
  double slowdown = 0;   // of the machine against its best known (Conditions::slowdown), the greatest
  int timings = 0;
  bool pinned = false;

  std::string str() const;  // one line for people
};

// Empty where interrupted(). `known_probe_ms` as for LatencyTimer.
std::optional<NoiseFloor> measure_noise_floor(const LatencySetup& setup, const Genotype& genotype,
                                              int timings = 5, double known_probe_ms = 0);

void to_json(nlohmann::json& j, const NoiseFloor& floor);

}  // namespace ladarts
