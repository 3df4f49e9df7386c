#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "apps/network_options.h"
#include "apps/search_gap.h"
#include "nas/encoding.h"
#include "nas/latency_meter.h"
#include "nas/sampler.h"
#include "predictor/conditions.h"
#include "predictor/predictor_file.h"

namespace ladarts {
namespace {

class VerifyCommand : public Command {
 public:
  std::string name() const override { return "verify"; }
  std::string summary() const override {
    return "hold the predicted cost of architectures against the measured";
  }
  std::string example() const override {
    return "ladarts verify --predictor predictor.safetensors --genotype runs/search/genotype.json\n"
           "  ladarts verify --predictor predictor.safetensors --search runs/a runs/b --rounds 2";
  }

  void declare(CLI::App& app) override {
    app.add_option("--predictor", predictor_, "a file written by ladarts fit")
        ->required()
        ->option_text("FILE");
    app.add_option("--genotype", genotypes_, kGenotypeHelp)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->option_text("G ...");
    app.add_option(
           "--sample", samples_,
           "so many random architectures, by --seed: the last of its samples, where ladarts measure takes "
           "the first, so that no predictor has seen them")
        ->check(CLI::PositiveNumber)
        ->option_text("N");
    app.add_option(
           "--search", searches_,
           "folders of searches with this predictor: what the latency term said at each epoch, against "
           "the cost of what was derived then; every such network is measured")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->option_text("DIR ...");
    app.add_option("--rounds", rounds_, "how often each is timed, in turn")
        ->check(CLI::Range(1, 1000))
        ->option_text("N [5]");
    app.add_option("--max-error", max_error_, "fail where the mean relative error is larger: 0.05 is 5%")
        ->check(CLI::PositiveNumber)
        ->option_text("X");
    app.add_flag("--any-device", any_device_, "accept a predictor of another device");
    add_timing_options(app, setup_);
    add_space_option(app, space_);
  }

  Json run(const CommonOptions& common) override {
    setup_.space = space_.load_space();
    setup_.device = Device::parse(common.device);
    setup_.measure.min_repeats = std::min(setup_.measure.min_repeats, setup_.measure.max_repeats);
    std::vector<Genotype> genotypes = read_genotypes(common.seed);

    // The network, batch and threads are those that the predictor is for.
    const CostContext fitted = load_predictor(predictor_).context;
    setup_.shape = parse_network_text(fitted.network, fitted.image_size);
    setup_.batch = fitted.batch;
    ThreadPool pool(common.threads > 0 ? common.threads : fitted.threads);
    setup_.pool = &pool;
    const CostContext context = metric_context(fitted.metric, setup_);
    const Predictor predictor = load_predictor(
        predictor_, PredictorExpectation{context, encoding_names(setup_.space), any_device_}, setup_.device);

    std::optional<SearchGap> gap;
    if (!searches_.empty()) gap.emplace(searches_, setup_.space, predictor);
    const size_t given = genotypes.size();
    for (size_t i = 0; gap && i < gap->genotypes().size(); ++i) {
      genotypes.push_back(gap->genotypes()[i]);
      names_.push_back(fmt::format("derived {}", i));
    }
    FeatureMatrix features;
    for (const Genotype& g : genotypes) features.append(encode(g, setup_.space));
    const std::vector<double> predicted = predictor.regressor->predict(features);
    const std::vector<Measurement> measured =
        measure_in_turn(fitted.metric, setup_, genotypes, rounds_, "verify",
                        predictor.context == context ? predictor.probe_ms : 0);
    Json result = describe(context, predictor, genotypes, predicted, measured);
    if (gap) {
      std::vector<double> medians;
      for (size_t i = given; i < measured.size(); ++i) medians.push_back(measured[i].median);
      result["search_gap"] = gap->describe(medians);
    }
    return result;
  }

  std::string text(const Json& r) const override {
    std::vector<std::vector<std::string>> rows;
    const std::string unit = text_of(r["unit"]);
    // Of searches the gap's own tables tell.
    const size_t searched =
        r.contains("search_gap") ? r["search_gap"]["all"]["architectures"].get<size_t>() : 0;
    for (size_t i = 0; i + searched < r["networks"].size(); ++i) {
      const Json& n = r["networks"][i];
      rows.push_back({text_of(n["name"]), cost_text(n["predicted_" + unit].get<double>()),
                      cost_text(n["measured_" + unit].get<double>()),
                      percent(n["relative_spread"].get<double>()),
                      fmt::format("{:+.1f}%", 100 * n["error"].get<double>())});
    }
    std::string out = text_of(r["what"]) + "\n";
    if (!rows.empty())
      out += "\n" + table({"architecture", "predicted " + unit, "measured " + unit, "spread", "error"}, rows);
    const Json& report = r["report"];
    if (r["networks"].size() > 1)
      out += fmt::format(
          "\nmean relative error {}, Spearman {:.3f}, Kendall {:.3f}; when fitted, {} on held-out ones\n",
          percent(report["mean_relative_error"].get<double>(), 2), report["spearman"].get<double>(),
          report["kendall"].get<double>(), percent(r["fitted_error"].get<double>(), 2));
    double slowdown = 0;
    for (const Json& n : r["networks"]) slowdown = std::max(slowdown, n["slowdown"].get<double>());
    out += slowed_text(slowdown);
    if (r.contains("search_gap")) out += "\n" + search_gap_text(r["search_gap"]);
    return out;
  }

 private:
  std::vector<Genotype> read_genotypes(uint64_t seed) {
    std::vector<Genotype> genotypes;
    for (const std::string& g : genotypes_) {
      genotypes.push_back(parse_genotype(g, setup_.space));
      names_.push_back(g);
    }
    const ArchitectureSampler sampler(setup_.space, seed);
    require(uint64_t(samples_) <= sampler.size(), "[verify] space '{}' has only {} architectures",
            setup_.space.name, sampler.size());
    for (int64_t i = 0; i < samples_; ++i) {
      const uint64_t index = sampler.size() - 1 - uint64_t(i);
      genotypes.push_back(sampler.at(index));
      names_.push_back(fmt::format("sample {}", index));
    }
    require(!genotypes.empty() || !searches_.empty(),
            "[verify] no architecture given; use --genotype, --sample or --search");
    return genotypes;
  }

  Json describe(const CostContext& context, const Predictor& predictor,
                const std::vector<Genotype>& genotypes, const std::vector<double>& predicted,
                const std::vector<Measurement>& rows) const {
    Json networks = Json::array();
    std::vector<double> measured;
    for (size_t i = 0; i < genotypes.size(); ++i) {
      measured.push_back(rows[i].median);
      networks.push_back({{"name", names_[i]},
                          {"genotype", to_text(genotypes[i], setup_.space)},
                          {with_unit("predicted", context), predicted[i]},
                          {with_unit("measured", context), measured[i]},
                          {"relative_spread", rows[i].relative_spread},
                          {"noisy", rows[i].noisy},
                          {"slowdown", conditions_of(rows[i].details).slowdown},
                          {"error", predicted[i] / measured[i] - 1}});
    }
    const ErrorReport report = error_report(predicted, measured);
    const ErrorReport& held_out = predictor.report.of(predictor.regressor->kind());
    const Json result{{"what", context.str()},
                      {"metric", context.metric},
                      {"unit", context.unit},
                      {"networks", networks},
                      {"report", Json::parse(nlohmann::json(report).dump())},
                      {"fitted_error", held_out.mean_relative_error}};
    if (max_error_ > 0 && report.mean_relative_error > max_error_) {
      std::fputs(text(result).c_str(), stderr);
      fail(
          "[verify] the mean relative error is {}, more than the {} allowed; measure more architectures and "
          "fit again",
          percent(report.mean_relative_error, 2), percent(max_error_, 2));
    }
    return result;
  }

  std::string predictor_;
  std::vector<std::string> genotypes_, searches_, names_;
  int64_t samples_ = 0;
  int rounds_ = 5;
  double max_error_ = 0;
  bool any_device_ = false;
  NetworkOptions space_;
  LatencySetup setup_;
};

}  // namespace

std::unique_ptr<Command> make_verify_command() {
  return std::make_unique<VerifyCommand>();
}

}  // namespace ladarts
