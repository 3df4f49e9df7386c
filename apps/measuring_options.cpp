#include "apps/measuring_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "apps/command.h"
#include "core/progress.h"
#include "predictor/units.h"

namespace ladarts {

void add_timing_options(CLI::App& app, LatencySetup& setup) {
  MeasureOptions& options = setup.measure;
  const char* group = "Timing of one network";
  app.add_option("--max-repeats", options.max_repeats, "timed runs at most")
      ->check(CLI::Range(1, 1'000'000))
      ->option_text(fmt::format("N [{}]", options.max_repeats))
      ->group(group);
  app.add_option("--seconds-each", options.time_budget_s, "time at most, beyond the least number of runs")
      ->check(CLI::Range(0.001, 1e6))
      ->option_text(fmt::format("X [{}]", options.time_budget_s))
      ->group(group);
  app.add_option("--target-error", options.target_error,
                 "stop repeating once the median's 95% confidence interval is within this fraction")
      ->check(CLI::Range(0.0, 1.0))
      ->option_text(fmt::format("X [{}]", options.target_error))
      ->group(group);
  app.add_option("--patience", options.patience_s,
                 "wait so long for a machine that others disturb; then the row is kept and marked noisy")
      ->check(CLI::Range(0.0, 1e6))
      ->option_text(fmt::format("SECONDS [{}]", options.patience_s))
      ->group(group);
  app.add_flag("--pin", setup.pin_threads, "each thread on a CPU core of its own, physical cores first")
      ->group(group);
}

void add_metric_option(CLI::App& app, std::string& metric) {
  app.add_option("--metric", metric,
                 "what is measured: latency (ms), cold_latency (ms from emptied CPU caches), peak_memory "
                 "(MiB of the inference program), parameters and "
                 "macs (millions) or energy (mJ of a run; needs a counter, see ladarts info)")
      ->check(CLI::IsMember(metric_names()))
      ->option_text(fmt::format("NAME [{}]", metric));
}

void read_shard(const std::string& text, MeasuringOptions& options) {
  int parts[2] = {0, 0};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (int i = 0; i < 2; ++i) {
    const auto [next, error] = std::from_chars(at, end, parts[i]);
    const bool fits = error == std::errc() && (i == 0 ? next != end && *next == '/' : next == end);
    require(fits, "[measure] shard '{}' should look like 2/4: the second of four", text);
    at = next + 1;
  }
  require(parts[1] >= 1 && parts[0] >= 1 && parts[0] <= parts[1],
          "[measure] shard '{}': shards are counted from 1 to their number", text);
  options.shard = parts[0] - 1;
  options.shards = parts[1];
}

std::vector<Measurement> measure_in_turn(const std::string& metric, const LatencySetup& setup,
                                         std::span<const Genotype> genotypes, int rounds,
                                         const std::string& title, double known_probe_ms) {
  const std::string unit = metric_info(metric).unit;
  const bool exact = !is_latency(metric) && metric != "energy";
  Progress progress(title, int64_t(genotypes.size()) * (exact ? 1 : rounds), {.unit = "measurement"});
  const auto rows = measure_metric_in_turn(
      metric, setup, genotypes, rounds,
      [&](int64_t done, double latest) {
        progress.update(done, fmt::format("last {} {}", cost_text(latest), unit));
      },
      known_probe_ms);
  if (!rows) throw Interrupted("interrupted; nothing was written");
  progress.finish();
  return *rows;
}

std::string with_unit(const std::string& name, const CostContext& context) {
  return name + "_" + context.unit;
}

std::string cost_text(double cost) {
  return std::abs(cost) >= 0.1 ? fmt::format("{:.3f}", cost) : fmt::format("{:.4g}", cost);
}

NetworkShape parse_network_text(const std::string& text, int image) {
  NetworkShape shape;
  shape.image = image;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    int* field = key == "channels"  ? &shape.channels
                 : key == "layers"  ? &shape.layers
                 : key == "classes" ? &shape.classes
                                    : nullptr;
    if (key == "stem" && (value == "cifar" || value == "imagenet")) {
      shape.stem = value == "imagenet" ? Stem::imagenet : Stem::cifar;
      continue;
    }
    const auto [end, error] = field ? std::from_chars(value.data(), value.data() + value.size(), *field)
                                    : std::from_chars_result{nullptr, std::errc::invalid_argument};
    require(error == std::errc() && end == value.data() + value.size(), "[network] '{}' is no network: '{}'",
            text, word);
  }
  return shape;
}

}  // namespace ladarts
