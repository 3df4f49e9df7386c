#include "apps/measuring_options.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <sstream>

#include "apps/command.h"
#include "core/interrupt.h"
#include "core/progress.h"

namespace ladarts {

void add_timing_options(CLI::App& app, MeasureOptions& options) {
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
}

std::vector<Timing> measure_in_turn(const LatencySetup& setup, std::span<const Genotype> genotypes,
                                    int rounds, const std::string& title) {
  std::vector<std::unique_ptr<InferenceNetwork>> networks;
  for (const Genotype& genotype : genotypes)
    networks.push_back(std::make_unique<InferenceNetwork>(setup, genotype));
  std::vector<std::vector<double>> medians(networks.size());
  Progress progress(title, int64_t(networks.size()) * rounds, {.unit = "timing"});
  int64_t done = 0;
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < networks.size(); ++i) {
      if (interrupted()) throw Interrupted("interrupted; nothing was written");
      medians[i].push_back(measure([&] { networks[i]->run(); }, setup.measure).median_ms);
      progress.update(++done, fmt::format("last {:.3f} ms", medians[i].back()));
    }
  }
  progress.finish();
  std::vector<Timing> timings;
  for (const auto& of_network : medians) timings.push_back(summarise_times(of_network));
  return timings;
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
