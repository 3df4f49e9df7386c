// Metrics and their units. A store, a predictor and a search keep each metric in the one unit given here.
#pragma once

#include <string>
#include <vector>

namespace ladarts {

struct MetricInfo {
  std::string name;  // "latency"
  std::string unit;  // "ms"
  std::string what;  // for people: "time of a run"
};

const std::vector<MetricInfo>& known_metrics();
std::vector<std::string> metric_names();
// Throws Error listing the known ones.
const MetricInfo& metric_info(const std::string& name);

// What one `unit` is in the unit of the metric: 0.001 for "us" of latency. Throws Error listing those that
// the metric can be given in.
double unit_factor(const std::string& metric, const std::string& unit);
// All that unit_factor() takes, joined for help texts: "ns, us, ms, s".
std::string units_of(const std::string& metric);

}  // namespace ladarts
