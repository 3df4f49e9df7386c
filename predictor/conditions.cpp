#include "predictor/conditions.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace ladarts {

namespace {

using nlohmann::json;

json parse_object(const std::string& details) {
  json j = json::parse(details, nullptr, false);
  require(j.is_object(), "[store] the details of a measurement are no JSON object: '{}'", details);
  return j;
}

// Calls f(name, field) for each number.
template <class C, class F>
void for_each_number(C& c, F&& f) {
  f("clock_mhz", c.clock_mhz);
  f("clock_mhz_after", c.clock_mhz_after);
  f("temperature_c", c.temperature_c);
  f("temperature_c_after", c.temperature_c_after);
  f("probe_ms", c.probe_ms);
  f("slowdown", c.slowdown);
  f("every_run_ms", c.every_run_ms);
  f("device_ms", c.device_ms);
}

}  // namespace

std::string with_conditions(const std::string& details, const Conditions& conditions) {
  json j = parse_object(details);
  if (!conditions.cores.empty()) j["cores"] = conditions.cores;
  for_each_number(conditions, [&](const char* name, double value) {
    if (value > 0) j[name] = value;
  });
  return j.dump();
}

Conditions conditions_of(const std::string& details) {
  const json j = parse_object(details);
  Conditions c;
  if (j.contains("cores") && j["cores"].is_string()) c.cores = j["cores"].get<std::string>();
  for_each_number(c, [&](const char* name, double& value) {
    if (j.contains(name) && j[name].is_number()) value = j[name].get<double>();
  });
  return c;
}

}  // namespace ladarts
