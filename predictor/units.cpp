#include "predictor/units.h"

#include <map>

#include "core/error.h"

namespace ladarts {

namespace {

using Units = std::vector<std::pair<std::string, double>>;

const Units& units_for(const std::string& metric) {
  static const Units times = {{"ns", 1e-6}, {"us", 1e-3}, {"ms", 1}, {"s", 1e3}};
  static const Units counts = {{"one", 1e-6}, {"thousand", 1e-3}, {"million", 1}, {"billion", 1e3}};
  static const std::map<std::string, Units> units = {
      {"latency", times},
      {"cold_latency", times},
      {"energy", {{"uJ", 1e-3}, {"mJ", 1}, {"J", 1e3}}},
      {"peak_memory",
       {{"B", 1.0 / (1 << 20)}, {"KiB", 1.0 / 1024}, {"MiB", 1}, {"GiB", 1024}, {"MB", 1e6 / (1 << 20)}}},
      {"parameters", counts},
      {"macs", counts}};
  return units.at(metric_info(metric).name);
}

}  // namespace

const std::vector<MetricInfo>& known_metrics() {
  static const std::vector<MetricInfo> metrics = {{"latency", "ms", "time of a run"},
                                                  {"cold_latency", "ms", "time of a run from emptied caches"},
                                                  {"peak_memory", "MiB", "memory of the inference program"},
                                                  {"parameters", "million", "trainable numbers"},
                                                  {"macs", "million", "multiply-accumulates of an image"},
                                                  {"energy", "mJ", "energy of a run"}};
  return metrics;
}

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const MetricInfo& m : known_metrics()) names.push_back(m.name);
  return names;
}

const MetricInfo& metric_info(const std::string& name) {
  std::string known;
  for (const MetricInfo& m : known_metrics()) {
    if (m.name == name) return m;
    known += (known.empty() ? "" : ", ") + m.name;
  }
  fail("[metric] '{}' is unknown; known are {}", name, known);
}

double unit_factor(const std::string& metric, const std::string& unit) {
  for (const auto& [name, factor] : units_for(metric))
    if (name == unit) return factor;
  fail("[unit] {} cannot be given in '{}', only in {}", metric, unit, units_of(metric));
}

std::string units_of(const std::string& metric) {
  std::string names;
  for (const auto& [name, factor] : units_for(metric)) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace ladarts
