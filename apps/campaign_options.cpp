#include "apps/campaign_options.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "core/progress.h"
#include "nas/noise_floor.h"
#include "predictor/row_noise.h"

namespace ladarts {

namespace {

constexpr int kTimings = 5;  // for the noise floor

double known_probe_ms(const CampaignOptions& o, const MeasurementStore& store) {
  return store.best_probe_ms(metric_context(o.metric, o.setup));
}

}  // namespace

void CampaignOptions::prepare(const NetworkOptions& network, const CommonOptions& common) {
  setup.space = network.load_space();
  setup.shape = network.shape();
  setup.device = Device::parse(common.device);
  setup.measure.min_repeats = std::min(setup.measure.min_repeats, setup.measure.max_repeats);
  for (const CLI::Option* option : timing)
    require(!runner.given() || option->count() == 0,
            "[measure] {} has no effect with --runner: how it runs a network is the command's matter",
            option->get_name());
  require(!runner.given() || metric == "latency" || metric == "energy" || metric == "peak_memory",
          "[measure] a runner measures latency, energy or peak_memory; for {} leave out --runner", metric);
}

void add_campaign_options(CLI::App& app, CampaignOptions& options) {
  add_timing_options(app, options.setup);
  add_runner_options(app, options.runner);
  for (const char* name : {"--max-repeats", "--seconds-each", "--target-error", "--pin"})
    options.timing.push_back(app.get_option(name));
}

MeasurementStore open_campaign_store(const std::string& db, const CampaignOptions& options) {
  if (!options.runner.given()) make_meter(options.metric, options.setup);
  return MeasurementStore(db);
}

std::unique_ptr<ArchitectureMeter> make_campaign_meter(const CampaignOptions& options,
                                                       const MeasurementStore& store, const Genotype& trial) {
  if (!options.runner.given())
    return make_meter(options.metric, options.setup, known_probe_ms(options, store));
  return make_runner_meter(options.runner, options.metric, options.setup, trial);
}

Json say_noise_floor(const CampaignOptions& options, const MeasurementStore& store, const Genotype& trial) {
  if (!is_latency(options.metric) || options.runner.given()) return {};
  const auto floor = measure_noise_floor(latency_setup(options.metric, options.setup), trial, kTimings,
                                         known_probe_ms(options, store));
  if (!floor) throw Interrupted("interrupted; nothing was measured");
  Progress::say(floor->str());
  return Json::parse(nlohmann::json(*floor).dump());
}

void add_summary(Json& result, const MeasuringSummary& s) {
  result["measured"] = s.measured;
  result["failed"] = s.failed;
  result["noisy"] = s.noisy;
  result["slowed"] = s.slowed;
  result["again"] = s.again;
  result["drift"] = s.drift;
  result["seconds"] = s.seconds;
  result["setup_seconds"] = s.setup_seconds;
  result["median_spread"] = s.median_spread;
  result["noise_floor"] = s.noise_floor;
  result["replicas"] = s.replicas;
}

std::string text_of_trouble(const Json& r) {
  const auto noisy = r["noisy"].get<int64_t>(), slowed = r["slowed"].get<int64_t>();
  const double drift = r["drift"].get<double>();
  std::string out;
  if (drift != 0) out += fmt::format("; drift of the machine {:+.1f}%", 100 * drift);
  if (noisy > 0) out += fmt::format("; {} noisy: disturbed runs had to be counted", with_separators(noisy));
  if (const auto again = r["again"].get<int64_t>(); again > 0)
    out += fmt::format("; {} measured again: the machine had been slow", with_separators(again));
  if (slowed > 0)
    out += fmt::format(
        "; {} measured on a machine more than {:.0f}% slower than at its best (the same command measures "
        "them again when it is not)",
        with_separators(slowed), 100 * (kSlowed - 1));
  return out;
}

}  // namespace ladarts
