#include <optional>

#include "apps/campaign_options.h"
#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "apps/network_options.h"
#include "apps/runner_measuring.h"
#include "core/clock.h"
#include "core/progress.h"
#include "nas/sampler.h"

namespace ladarts {
namespace {

constexpr int kRounds = 5;  // of given architectures

class MeasureCommand : public Command {
 public:
  std::string name() const override { return "measure"; }
  std::string summary() const override { return "measure the latency of sampled or given architectures"; }
  std::string example() const override {
    return "ladarts measure --db latency.db --count 1000 --channels 16 --layers 8\n"
           "  ladarts measure --genotype DARTS_V2 PC_DARTS_cifar\n"
           "  ladarts measure --db phone.db --count 200 --device-name \"my phone\" \\\n"
           "      --runner \"./on_phone.sh {model} {batch}\"";
  }

  void declare(CLI::App& app) override {
    add_metric_option(app, campaign_.metric);
    app.add_option("--db", db_, "where measurements are kept; what it holds is not measured again")
        ->option_text("FILE");
    app.add_option("--count", options_.count, "how many architectures to sample")
        ->check(CLI::PositiveNumber)
        ->option_text(fmt::format("N [{}]", options_.count));
    app.add_option("--first", options_.begin, "number of the first sample; machines can share the work")
        ->check(CLI::NonNegativeNumber)
        ->option_text("N [0]");
    app.add_option(
           "--shard", shard_,
           "measure the I-th of N equal parts of the samples: the same samples whatever N, each in one "
           "part; ladarts db merge joins the files")
        ->option_text("I/N");
    app.add_option("--genotype", genotypes_, "measure these instead of samples: published, text or file")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->option_text("G ...");
    app.add_option("--batch", campaign_.setup.batch, "images at once")
        ->check(CLI::Range(1, 65536))
        ->option_text("N [1]");
    add_campaign_options(app, campaign_);
    add_network_options(app, network_);
  }

  Json run(const CommonOptions& common) override {
    campaign_.prepare(network_, common);
    options_.seed = common.seed;
    if (!shard_.empty()) read_shard(shard_, options_);
    return genotypes_.empty() ? measure_samples() : measure_given();
  }

  std::string text(const Json& r) const override {
    if (r.contains("runner")) return text_of_runner_result(r);
    std::string out = text_of(r["what"]) + "\n\n";
    if (r.contains("networks")) {
      std::vector<std::vector<std::string>> rows;
      const std::string cost = text_of(r["cost"]), unit = text_of(r["unit"]);
      for (const Json& n : r["networks"])
        rows.push_back({text_of(n["name"]), cost_text(n[cost].get<double>()),
                        percent(n["relative_spread"].get<double>())});
      return out + table({"architecture", text_of(r["metric"]) + " " + unit, "spread"}, rows);
    }
    const double noise = r["noise_floor"].get<double>();
    return out + fmt::format(
                     "{} architectures in {}: {} measured now, {} there before, {} failed, in {}\n"
                     "median spread of single runs {}; noise floor {}{}\n",
                     with_separators(r["requested"]), text_of(r["db"]), with_separators(r["measured"]),
                     with_separators(r["present"]), with_separators(r["failed"]),
                     format_duration(r["seconds"].get<double>()), percent(r["median_spread"].get<double>()),
                     noise > 0 ? percent(noise, 2) : "unknown (too few replicas)", text_of_trouble(r));
  }

 private:
  Json measure_samples() {
    require(!db_.empty(), "[measure] sampled architectures are kept in a file; name it by --db");
    const SearchSpace& space = campaign_.setup.space;
    const Genotype first = ArchitectureSampler(space, options_.seed).at(uint64_t(options_.begin));
    MeasurementStore store = open_campaign_store(db_, campaign_);
    const std::unique_ptr<ArchitectureMeter> meter = make_campaign_meter(campaign_, store, first);
    const CostContext context = meter->context();
    const Json noise = say_noise_floor(campaign_, store, first);
    const int64_t in_shard =  // whole rounds, and one more where the shard comes in the rest
        options_.count / options_.shards +
        ((options_.shard - options_.begin % options_.shards + options_.shards) % options_.shards <
         options_.count % options_.shards);
    Progress progress("measure", in_shard, {.unit = "architecture"});
    options_.progress = [&](int64_t done, int64_t, const Measurement& latest) {
      progress.update(done, latest.status != "ok" ? "last failed"
                            : latest.median > 0
                                ? fmt::format("last {} {}", cost_text(latest.median), context.unit)
                                : "present");
    };
    std::optional<Progress> again;
    options_.again = show_measuring_again(progress, again);
    const MeasuringSummary s = measure_architectures(store, space, *meter, options_);
    if (again) again->finish();
    progress.finish();
    if (s.interrupted)
      throw Interrupted(
          fmt::format("interrupted; '{}' holds {} of {} architectures, the same command goes on", db_,
                      s.present + s.measured, s.requested));
    Json result = {{"db", db_}, {"what", context.str()}, {"requested", s.requested}, {"present", s.present}};
    add_summary(result, s);
    result["machine"] = noise;
    result["architectures_per_hour"] = s.measured > 0 ? 3600 * double(s.measured) / s.seconds : 0;
    return result;
  }

  Json measure_given() {
    std::vector<Genotype> genotypes;
    for (const std::string& g : genotypes_) genotypes.push_back(parse_genotype(g, campaign_.setup.space));
    std::optional<MeasurementStore> store;  // opened first: a wrong path is not found out after the work
    if (!db_.empty()) store.emplace(db_);
    if (campaign_.runner.given())
      return measure_given_by_runner(
          *make_runner_meter(campaign_.runner, campaign_.metric, campaign_.setup, genotypes.front()),
          campaign_.setup.space, genotypes, genotypes_, store ? &*store : nullptr);
    const std::vector<Measurement> rows =
        measure_in_turn(campaign_.metric, campaign_.setup, genotypes, kRounds, "measure");
    const CostContext& context = rows[0].context;
    const std::string cost = with_unit(campaign_.metric, context);
    Json networks = Json::array();
    for (size_t i = 0; i < genotypes.size(); ++i)
      networks.push_back({{"name", genotypes_[i]},
                          {"genotype", to_text(genotypes[i], campaign_.setup.space)},
                          {cost, rows[i].median},
                          {"relative_spread", rows[i].relative_spread},
                          {"noisy", rows[i].noisy}});
    if (store)
      for (const Measurement& row : rows) store->insert_replica(row);
    return {{"what", context.str()},
            {"metric", campaign_.metric},
            {"unit", context.unit},
            {"cost", cost},
            {"networks", networks}};
  }

  std::string db_, shard_;
  std::vector<std::string> genotypes_;
  NetworkOptions network_;
  CampaignOptions campaign_;
  MeasuringOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_measure_command() {
  return std::make_unique<MeasureCommand>();
}

}  // namespace ladarts
