// What weighing noisy measurements is worth: fitted on rows of one store, tested on what another, quieter one
// says of the other architectures.
//
//   noise_bench loaded.db quiet1.db quiet2.db --rows 50 --rows 100 --rows 200 --seeds 10
//
// The truth of an architecture is the median over the quiet stores, each divided by its level (the median
// ratio to the first of them). Prints how the recorded noise of a row goes with its actual deviation, and for
// each model and number of rows the mean relative error and the half width of its 95% confidence interval
// over the seeds: `even` counts all rows the same, `weighed` uses what is known of their noise, `quiet`
// leaves noisy rows out.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/error.h"
#include "core/json_file.h"
#include "core/philox.h"
#include "core/thread_pool.h"
#include "nas/architecture_measuring.h"
#include "nas/encoding.h"
#include "predictor/additive.h"
#include "predictor/agreement.h"
#include "predictor/metrics.h"
#include "predictor/row_noise.h"
#include "predictor/stack.h"

using namespace ladarts;

namespace {

struct Arguments {
  std::string noisy, json_path, space = "darts";
  std::vector<std::string> quiet, models = {"gp", "additive", "mlp"};
  std::vector<int64_t> rows = {50, 100, 200};
  int seeds = 10, threads = 1;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return 0.5 * (v[(v.size() - 1) / 2] + v[v.size() / 2]);
}

std::vector<Measurement> read(const std::string& path) {
  const MeasurementStore store(path, MeasurementStore::Access::read_only);
  return representative_rows(store.rows({.status = "ok"}));
}

std::map<std::string, double> truth_of(const std::vector<std::string>& paths) {
  std::map<std::string, std::vector<double>> costs;
  std::map<std::string, double> first, truth;
  for (const std::string& path : paths) {
    const auto rows = read(path);
    std::vector<double> ratios;
    for (const Measurement& m : rows) {
      if (path == paths[0]) first[m.architecture] = m.median;
      if (const auto at = first.find(m.architecture); at != first.end())
        ratios.push_back(m.median / at->second);
    }
    require(!ratios.empty(), "[noise_bench] '{}' and '{}' have no architecture in common", path, paths[0]);
    const double level = median(ratios);
    for (const Measurement& m : rows) costs[m.architecture].push_back(m.median / level);
  }
  for (const auto& [architecture, c] : costs)
    if (c.size() == paths.size()) truth[architecture] = median(c);
  return truth;
}

struct Campaign {
  Dataset data;                // costs relative to the quiet ones' level
  std::vector<double> truth;   // of each row
  std::vector<uint8_t> noisy;  // marked so
};

Campaign read_campaign(const Arguments& a, const SearchSpace& space) {
  const auto truth = truth_of(a.quiet);
  std::vector<Measurement> rows = read(a.noisy);
  std::erase_if(rows, [&](const Measurement& m) { return !truth.count(m.architecture); });
  Campaign c;
  std::vector<double> ratios;
  for (const Measurement& m : rows) {
    c.truth.push_back(truth.at(m.architecture));
    c.noisy.push_back(m.noisy);
    if (!m.noisy) ratios.push_back(m.median / c.truth.back());
  }
  require(!ratios.empty(), "[noise_bench] '{}' has no undisturbed row of these architectures", a.noisy);
  const double level = median(ratios);
  c.data = measured_dataset(rows, space);
  for (double& cost : c.data.costs) cost /= level;
  return c;
}

// Deviation / recorded noise would be of size 1, and their ranks would go together.
nlohmann::json describe(const Campaign& c) {
  nlohmann::json j;
  for (const int noisy : {0, 1}) {
    std::vector<double> deviations, noise;
    double square = 0, expected = 0, bias = 0;
    for (size_t i = 0; i < c.truth.size(); ++i) {
      if (c.noisy[i] != noisy) continue;
      const double off = c.data.costs[i] / c.truth[i] - 1;
      deviations.push_back(std::abs(off));
      noise.push_back(c.data.relative_noise.empty() ? 0 : c.data.relative_noise[i]);
      square += off * off;
      bias += off;
      expected += noise.back() * noise.back();
    }
    const auto n = double(deviations.size());
    if (n < 3) continue;
    j[noisy ? "noisy" : "quiet"] = {{"rows", n},
                                    {"deviation", std::sqrt(square / n)},
                                    {"median_deviation", median(deviations)},
                                    {"bias", bias / n},
                                    {"recorded_noise", std::sqrt(expected / n)},
                                    {"spearman", spearman(deviations, noise)}};
    fmt::print(
        "{} rows {}: off by {:.2f}% (root mean square; median {:.2f}%, bias {:+.2f}%), recorded noise "
        "{:.2f}%, "
        "rank correlation of the two {:.2f}\n",
        n, noisy ? "marked noisy" : "undisturbed", 100 * std::sqrt(square / n), 100 * median(deviations),
        100 * bias / n, 100 * std::sqrt(expected / n), spearman(deviations, noise));
  }
  return j;
}

std::unique_ptr<Regressor> fit(const std::string& model, const Dataset& data, const SearchSpace& space,
                               uint64_t seed) {
  GpOptions gp{.expansion = structured_features(space), .seed = seed};
  MlpOptions mlp;
  mlp.seed = seed;
  if (model == "gp") return fit_gp(data, gp);
  if (model == "additive") return fit_additive(data, {.seed = seed});
  if (model == "mlp") return fit_mlp(data, mlp);
  return fit_default(data, gp, mlp);
}

// Errors of one split: [even, weighed, quiet].
std::array<double, 3> errors(const Campaign& c, const std::string& model, const SearchSpace& space, int64_t n,
                             uint64_t seed) {
  std::vector<int64_t> order(c.truth.size());
  std::iota(order.begin(), order.end(), int64_t(0));
  Random random(seed, 6);
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(uint32_t(i))]);
  const std::vector<int64_t> train(order.begin(), order.begin() + n), test(order.begin() + n, order.end());
  std::vector<int64_t> undisturbed;
  for (const int64_t i : train)
    if (!c.noisy[size_t(i)]) undisturbed.push_back(i);
  std::vector<double> truth;
  for (const int64_t i : test) truth.push_back(c.truth[size_t(i)]);
  const FeatureMatrix features = c.data.subset(test).features;
  const auto error = [&](Dataset data, bool weighed) {
    if (!weighed) data.relative_noise.clear();
    return error_report(fit(model, data, space, seed)->predict(features), truth).mean_relative_error;
  };
  const Dataset all = c.data.subset(train);
  return {error(all, false), error(all, true),
          int64_t(undisturbed.size()) >= kMinRows ? error(c.data.subset(undisturbed), false) : NAN};
}

void bench(const Arguments& a) {
  const SearchSpace space = SearchSpace::load(a.space);
  const Campaign campaign = read_campaign(a, space);
  nlohmann::json j = {{"store", a.noisy}, {"rows", describe(campaign)}, {"results", nlohmann::json::array()}};
  fmt::print("{:10} {:>5} {:>18} {:>18} {:>18}\n", "model", "n", "even", "weighed", "quiet rows only");
  for (const std::string& model : a.models)
    for (const int64_t n : a.rows) {
      if (n + 20 > int64_t(campaign.truth.size())) continue;
      std::array<std::vector<double>, 3> all;
      for (int seed = 0; seed < a.seeds; ++seed) {
        const auto e = errors(campaign, model, space, n, uint64_t(seed));
        for (size_t k = 0; k < all.size(); ++k) all[k].push_back(e[k]);
      }
      std::string line = fmt::format("{:10} {:5}", model, n);
      nlohmann::json result = {{"model", model}, {"n", n}};
      for (size_t k = 0; k < all.size(); ++k) {
        const auto count = double(all[k].size());
        const double mean = std::accumulate(all[k].begin(), all[k].end(), 0.0) / count;
        double square = 0;
        for (const double e : all[k]) square += (e - mean) * (e - mean);
        const double band = count > 1 ? 2 * std::sqrt(square / (count - 1) / count) : 0;
        line += std::isfinite(mean) ? fmt::format(" {:9.2f}% +-{:5.2f}%", 100 * mean, 100 * band)
                                    : fmt::format(" {:>18}", "too few");
        const char* name[] = {"even", "weighed", "quiet"};
        if (!std::isfinite(mean)) continue;
        result[name[k]] = {{"error", mean}, {"band", band}};
      }
      fmt::print("{}\n", line);
      std::fflush(stdout);
      j["results"].push_back(result);
      if (!a.json_path.empty()) write_json_file(a.json_path, Json::parse(j.dump()));
    }
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app("What weighing noisy measurements is worth");
  app.add_option("noisy", a.noisy, "store to fit on, of one kind of measurement")->required();
  app.add_option("quiet", a.quiet, "stores of the same architectures, measured again")->required();
  app.add_option("--space", a.space, "search space of the rows");
  app.add_option("--model", a.models, "may be repeated")
      ->check(CLI::IsMember({"gp", "additive", "mlp", "default"}));
  app.add_option("--rows", a.rows, "numbers of rows fitted on; may be repeated");
  app.add_option("--seeds", a.seeds)->check(CLI::PositiveNumber);
  app.add_option("--threads", a.threads, "CPU threads; 0: all");
  app.add_option("--json", a.json_path, "file for all figures");
  CLI11_PARSE(app, argc, argv);
  ThreadPool::set_global_threads(a.threads);
  bench(a);
} catch (const std::exception& e) {
  fmt::print(stderr, "{}\n", e.what());
  return 1;
}
