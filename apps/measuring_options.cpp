#include "apps/measuring_options.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "apps/command.h"
#include "core/progress.h"

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
  app.add_flag("--pin", setup.pin_threads, "each thread on a CPU core of its own, physical cores first")
      ->group(group);
  app.add_flag("--cold-caches", setup.cold_caches,
               "empty the CPU's caches before each run; a cost of its own, 'cold_latency'")
      ->group(group);
}

std::vector<Timing> measure_in_turn(const LatencySetup& setup, std::span<const Genotype> genotypes,
                                    int rounds, const std::string& title) {
  Progress progress(title, int64_t(genotypes.size()) * rounds, {.unit = "timing"});
  const auto timings = measure_in_turn(setup, genotypes, rounds, [&](int64_t done, double latest_ms) {
    progress.update(done, fmt::format("last {:.3f} ms", latest_ms));
  });
  if (!timings) throw Interrupted("interrupted; nothing was written");
  progress.finish();
  return *timings;
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
