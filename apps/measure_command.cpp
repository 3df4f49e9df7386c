#include <optional>

#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "apps/network_options.h"
#include "apps/runner_measuring.h"
#include "core/clock.h"
#include "core/progress.h"
#include "nas/noise_floor.h"
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
    add_metric_option(app, metric_);
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
    app.add_option("--batch", setup_.batch, "images at once")
        ->check(CLI::Range(1, 65536))
        ->option_text("N [1]");
    add_timing_options(app, setup_);
    add_network_options(app, network_);
    add_runner_options(app, runner_);
    for (const char* name : {"--max-repeats", "--seconds-each", "--target-error", "--pin"})
      timing_options_.push_back(app.get_option(name));
  }

  Json run(const CommonOptions& common) override {
    setup_.space = network_.load_space();
    setup_.shape = network_.shape();
    setup_.device = Device::parse(common.device);
    setup_.measure.min_repeats = std::min(setup_.measure.min_repeats, setup_.measure.max_repeats);
    options_.seed = common.seed;
    for (const CLI::Option* option : timing_options_)
      require(!runner_.given() || option->count() == 0,
              "[measure] {} has no effect with --runner: how it runs a network is the command's matter",
              option->get_name());
    require(!runner_.given() || metric_ == "latency" || metric_ == "energy" || metric_ == "peak_memory",
            "[measure] a runner measures latency, energy or peak_memory; for {} leave out --runner", metric_);
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
    if (!runner_.given())
      make_meter(metric_, setup_);  // refuses what cannot be measured here before the file is made
    MeasurementStore store(db_);
    const double known_probe_ms = store.best_probe_ms(metric_context(metric_, setup_));
    const std::unique_ptr<ArchitectureMeter> meter = sample_meter(known_probe_ms);
    const CostContext context = meter->context();
    const Json noise = is_latency(metric_) && !runner_.given() ? noise_floor(known_probe_ms) : Json();
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
    const MeasuringSummary s = measure_architectures(store, setup_.space, *meter, options_);
    progress.finish();
    if (s.interrupted)
      throw Interrupted(
          fmt::format("interrupted; '{}' holds {} of {} architectures, the same command goes on", db_,
                      s.present + s.measured, s.requested));
    return {{"db", db_},
            {"what", context.str()},
            {"requested", s.requested},
            {"measured", s.measured},
            {"present", s.present},
            {"failed", s.failed},
            {"noisy", s.noisy},
            {"slowed", s.slowed},
            {"drift", s.drift},
            {"machine", noise},
            {"seconds", s.seconds},
            {"setup_seconds", s.setup_seconds},
            {"architectures_per_hour", s.measured > 0 ? 3600 * double(s.measured) / s.seconds : 0},
            {"median_spread", s.median_spread},
            {"noise_floor", s.noise_floor},
            {"replicas", s.replicas}};
  }

  std::unique_ptr<ArchitectureMeter> sample_meter(double known_probe_ms) const {
    if (!runner_.given()) return make_meter(metric_, setup_, known_probe_ms);
    return make_runner_meter(runner_, metric_, setup_, first_sample());
  }

  Genotype first_sample() const {
    return ArchitectureSampler(setup_.space, options_.seed).at(uint64_t(options_.begin));
  }

  static std::string text_of_trouble(const Json& r) {
    const auto noisy = r["noisy"].get<int64_t>(), slowed = r["slowed"].get<int64_t>();
    const double drift = r["drift"].get<double>();
    std::string out;
    if (drift != 0) out += fmt::format("; drift of the machine {:+.1f}%", 100 * drift);
    if (noisy > 0) out += fmt::format("; {} noisy: disturbed runs had to be counted", with_separators(noisy));
    if (slowed > 0)
      out += fmt::format("; {} measured on a machine more than {:.0f}% slower than at its best",
                         with_separators(slowed), 100 * (kSlowed - 1));
    return out;
  }

  // What this machine can tell apart now, said before the work begins.
  Json noise_floor(double known_probe_ms) const {
    const auto floor =
        measure_noise_floor(latency_setup(metric_, setup_), first_sample(), kRounds, known_probe_ms);
    if (!floor) throw Interrupted("interrupted; nothing was measured");
    Progress::say(floor->str());
    return Json::parse(nlohmann::json(*floor).dump());
  }

  Json measure_given() {
    std::vector<Genotype> genotypes;
    for (const std::string& g : genotypes_) genotypes.push_back(parse_genotype(g, setup_.space));
    std::optional<MeasurementStore> store;  // opened first: a wrong path is not found out after the work
    if (!db_.empty()) store.emplace(db_);
    if (runner_.given())
      return measure_given_by_runner(*make_runner_meter(runner_, metric_, setup_, genotypes.front()),
                                     setup_.space, genotypes, genotypes_, store ? &*store : nullptr);
    const std::vector<Measurement> rows = measure_in_turn(metric_, setup_, genotypes, kRounds, "measure");
    const CostContext& context = rows[0].context;
    const std::string cost = with_unit(metric_, context);
    Json networks = Json::array();
    for (size_t i = 0; i < genotypes.size(); ++i)
      networks.push_back({{"name", genotypes_[i]},
                          {"genotype", to_text(genotypes[i], setup_.space)},
                          {cost, rows[i].median},
                          {"relative_spread", rows[i].relative_spread},
                          {"noisy", rows[i].noisy}});
    if (store) store_given(*store, rows);
    return {{"what", context.str()},
            {"metric", metric_},
            {"unit", context.unit},
            {"cost", cost},
            {"networks", networks}};
  }

  // As the next replica of each, so that nothing measured before is lost.
  static void store_given(MeasurementStore& store, const std::vector<Measurement>& rows) {
    for (Measurement row : rows) {
      for (const Measurement& m : store.rows({.context = row.context, .architecture = row.architecture}))
        row.replica = std::max(row.replica, m.replica + 1);
      while (!store.insert(row)) ++row.replica;  // another process has taken that one
    }
  }

  std::string db_, metric_ = "latency", shard_;
  std::vector<std::string> genotypes_;
  NetworkOptions network_;
  RunnerOptions runner_;
  std::vector<CLI::Option*> timing_options_;
  LatencySetup setup_;
  MeasuringOptions options_;
};

}  // namespace

std::unique_ptr<Command> make_measure_command() {
  return std::make_unique<MeasureCommand>();
}

}  // namespace ladarts
