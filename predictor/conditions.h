// What a machine was like while a cost was measured on it.
#pragma once

#include <string>

namespace ladarts {

// 0 or empty where unknown.
struct Conditions {
  std::string cores = {};  // that the threads were pinned to: "0,2"; empty: not pinned
  double clock_mhz = 0, clock_mhz_after = 0;
  double temperature_c = 0, temperature_c_after = 0;
  double probe_ms = 0;  // SpeedProbe's time at the best known of the machine...
  double slowdown = 0;  // ...and how many times slower it was while the counted runs were timed
  double every_run_ms = 0, device_ms = 0;  // Timing's
};

// `details` (a JSON object as text) with what is known of these; and what an object holds of them. Throw
// Error for text that is no JSON object.
std::string with_conditions(const std::string& details, const Conditions& conditions);
Conditions conditions_of(const std::string& details);

}  // namespace ladarts
