#include <algorithm>
#include <set>

#include <fmt/ranges.h>

#include "apps/command.h"
#include "apps/fit_active.h"
#include "apps/format.h"
#include "apps/network_options.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "nas/architecture_measuring.h"
#include "nas/encoding.h"
#include "predictor/predictor_file.h"
#include "predictor/units.h"

namespace ladarts {
namespace {

// Which measurements of a store are meant, where it holds several kinds.
struct ContextOptions {
  std::string metric, network, device;
  int batch = 0, image = 0, threads = 0;

  MeasurementFilter filter(const std::string& space) const {
    MeasurementFilter f;
    f.space = space;
    f.status = "ok";
    if (!metric.empty()) f.metric = metric;
    if (!device.empty()) f.device = device;
    if (batch > 0) f.batch = batch;
    if (image > 0) f.image_size = image;
    if (threads > 0) f.threads = threads;
    return f;
  }
};

std::string list(const std::vector<std::pair<CostContext, int64_t>>& contexts) {
  std::string text;
  for (const auto& [context, rows] : contexts) text += fmt::format("\n  {} of {}", rows, context.str());
  return text;
}

CostContext choose_context(const MeasurementStore& store, const MeasurementFilter& filter,
                           const std::string& network) {
  auto matching = store.contexts(filter);
  if (!network.empty()) std::erase_if(matching, [&](const auto& c) { return c.first.network != network; });
  const std::string path = store.path().string();
  if (matching.empty()) {
    const auto present = store.contexts();
    require(!present.empty(), "[fit] '{}' holds no measurements; ladarts measure makes them", path);
    fail("[fit] '{}' holds no such measurements, but{}", path, list(present));
  }
  require(matching.size() == 1,
          "[fit] '{}' holds several kinds of measurements; choose one by --metric, --network, --batch, "
          "--image, --on or "
          "--measured-threads:{}",
          path, list(matching));
  return matching[0].first;
}

class FitCommand : public Command {
 public:
  std::string name() const override { return "fit"; }
  std::string summary() const override {
    return "fit a predictor of latency, or another cost, to measurements";
  }
  std::string example() const override {
    return "ladarts fit --db latency.db --out predictor.safetensors\n"
           "  ladarts fit --db latency.db --out predictor.safetensors --budget 100 --goal 0.03\n"
           "  ladarts fit --db new.db --from old_predictor.safetensors --out new_predictor.safetensors";
  }

  void declare(CLI::App& app) override {
    app.add_option("--db", db_, "measurements, made by ladarts measure, or by --budget")
        ->required()
        ->option_text("FILE");
    app.add_option("--out", out_, "where the predictor goes")->required()->option_text("FILE");
    add_space_option(app, space_);
    app.add_option(
           "--model", model_,
           fmt::format(
               "gp (a Gaussian process on operations, counts and what is live; says how certain it "
               "is), stack (the same on top of the mlp, for {} architectures and more), mlp (several "
               "small networks on top of the additive fit), paper (the one plain network of "
               "Latency-Aware DARTS), additive (a cost for each operation of each edge), or auto: gp, "
               "or stack where that is better on architectures left out",
               kMinStackRows))
        ->check(CLI::IsMember(predictor_models()))
        ->option_text("NAME [auto]");
    app.add_option(
           "--from", from_,
           "predictors of other devices, fitted on architectures of the same space: 10 to 50 measurements of "
           "this one are then enough; --model and what belongs to it are left aside")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->option_text("FILE ...");
    app.add_option("--test-fraction", options_.test_fraction,
                   "share of the architectures held out for the report")
        ->check(CLI::Range(0.01, 0.99))
        ->option_text("X [0.2]");
    app.add_option("--epochs", epochs_,
                   "epochs of the training of a network; fewer beyond 10,000 architectures unless given")
        ->check(CLI::PositiveNumber)
        ->option_text(fmt::format("N [{}]", MlpOptions().epochs));
    app.add_option("--hidden", hidden_, "widths of the hidden layers")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->check(CLI::PositiveNumber)
        ->option_text(fmt::format("N ... [mlp {}, paper {}]", fmt::join(MlpOptions().hidden, " "),
                                  fmt::join(MlpOptions::paper().hidden, " ")));
    const char* group = "Which measurements, where the file holds several kinds";
    app.add_option("--metric", context_.metric, "latency, peak_memory, parameters, macs or energy")
        ->check(CLI::IsMember(metric_names()))
        ->option_text("NAME")
        ->group(group);
    app.add_option("--network", context_.network, "network around the cells, as listed")
        ->option_text("TEXT")
        ->group(group);
    app.add_option("--batch", context_.batch, "images at once")
        ->check(CLI::Range(1, 65536))
        ->option_text("N")
        ->group(group);
    app.add_option("--image", context_.image, "side of the images")
        ->check(CLI::Range(1, 4096))
        ->option_text("N")
        ->group(group);
    app.add_option("--on", context_.device, "name of the device")->option_text("TEXT")->group(group);
    app.add_option("--measured-threads", context_.threads, "CPU threads")->option_text("N")->group(group);
    add_active_options(app, active_, space_);
    for (const char* name :
         {"--test-fraction", "--epochs", "--hidden", "--network", "--on", "--measured-threads"})
      app.get_option("--budget")->excludes(app.get_option(name));
  }

  Json run(const CommonOptions& common) override {
    const SearchSpace space = space_.load_space();
    options_.gp.expansion = structured_features(space);
    options_.seed = common.seed;
    if (active_.budget > 0) return measure_chosen(space, common);
    const MeasurementStore store(db_, MeasurementStore::Access::read_only);
    MeasurementFilter filter = context_.filter(space.id());
    const CostContext context = choose_context(store, filter, context_.network);
    filter.context = context;
    const std::vector<Measurement> rows = store.rows(filter);
    const Dataset data = measured_dataset(rows, space);

    if (model_ == "paper") options_.mlp = MlpOptions::paper();
    options_.keep_stack = model_ == "stack";
    options_.gp.progress = [](int, int) {
      if (interrupted()) throw Interrupted("interrupted; no predictor was written");
    };
    const Device device = Device::parse(common.device);
    if (!from_.empty()) {
      const TransferResult fitted = fit_from(data, load_sources(space, device), options_, device);
      save_predictor(out_, *fitted.model,
                     {context, encoding_names(space), fitted.report, store.best_probe_ms(context)});
      return describe("transfer", context, rows, fitted.report);
    }
    if (epochs_ > 0) {
      options_.mlp.epochs = epochs_;
      options_.mlp.most_row_visits = 0;  // as many as asked for
    }
    if (!hidden_.empty()) options_.mlp.hidden = hidden_;
    Progress progress("fit", options_.mlp.epochs, {.unit = "epoch"});
    options_.mlp.progress = [&](int epoch, int, double error) {
      if (interrupted()) throw Interrupted("interrupted; no predictor was written");
      progress.update(epoch, fmt::format("validation error {}", percent(error)));
    };
    const FitResult fitted = fit_predictors(data, options_, device);
    progress.finish();
    const Regressor& chosen = fitted.model(model_);
    save_predictor(out_, chosen,
                   {context, encoding_names(space), fitted.report, store.best_probe_ms(context)});
    return describe(model_ == "auto" ? std::string(chosen.kind()) : model_, context, rows, fitted.report);
  }

  std::string text(const Json& r) const override {
    const FitReport report = nlohmann::json::parse(r["report"].dump()).get<FitReport>();
    auto row = [](const char* name, const ErrorReport& e) {
      return std::vector<std::string>{name,
                                      percent(e.mean_relative_error, 2),
                                      percent(e.median_relative_error, 2),
                                      percent(e.within_5_percent),
                                      percent(e.within_10_percent),
                                      fmt::format("{:.3f}", e.spearman),
                                      fmt::format("{:.3f}", e.kendall)};
    };
    std::string notes;
    if (r["noisy"].get<int>() > 0)
      notes += fmt::format(
          "{} of the measurements are noisy, and count the less: the machine was slowed while they ran\n",
          r["noisy"].get<int>());
    if (r["commits"].size() > 1)
      notes +=
          fmt::format("they were made by {} builds of ladarts ({}), whose kernels may differ in speed\n",
                      r["commits"].size(), fmt::join(r["commits"].get<std::vector<std::string>>(), ", "));
    std::vector<std::vector<std::string>> rows = {row(r["model"] == "paper" ? "paper" : "mlp", report.mlp),
                                                  row("additive", report.additive)};
    std::string certainty;
    const auto certainty_of = [](const char* name, const Calibration& c) {
      return fmt::format(
          "{}: {} of them within its one standard deviation (68% if it knows itself), {} within two (95%)\n",
          name, percent(c.within_one), percent(c.within_two));
    };
    if (report.gp) {
      rows.insert(rows.begin(), row("gp", *report.gp));
      certainty = certainty_of("gp", *report.gp_calibration);
    }
    if (report.stack) {
      rows.insert(rows.begin(), row("stack", *report.stack));
      certainty = certainty_of("stack", *report.stack_calibration) + certainty;
    }
    if (report.transfer) {
      rows = {row("transfer", *report.transfer), row("gp alone", *report.gp),
              row("additive", report.additive)};
      certainty = certainty_of("transfer", *report.transfer_calibration);
    }
    std::string fitted = fmt::format("fitted to {} architectures, errors ", report.n_train);
    if (r.contains("choice")) {
      if (!report.transfer) rows.erase(rows.begin() + 1);  // the mlp, which was not fitted
      notes += text_of_choice(r["choice"]);
      fitted += fmt::format("by cross-validation over the {} drawn at random", report.n_test);
    } else {
      fitted += report.transfer ? "by cross-validation" : fmt::format("on {} others", report.n_test);
    }
    if (report.held_out_noise > 0)
      certainty +=
          fmt::format("these measurements themselves are off by some {}, by how they were measured\n",
                      percent(report.held_out_noise, 2));
    return fmt::format(
        "{}\n{}{}:\n\n{}{}\n{} written to {}\n", text_of(r["what"]), notes, fitted,
        table({"model", "mean error", "median error", "within 5%", "within 10%", "Spearman", "Kendall"},
              rows),
        certainty, text_of(r["model"]), text_of(r["predictor"]));
  }

 private:
  Json measure_chosen(const SearchSpace& space, const CommonOptions& common) {
    require(model_ == "auto" || model_ == "gp",
            "[fit] --budget chooses by the Gaussian process; leave out --model {}, or fit it to the same "
            "file afterwards",
            model_);
    if (!context_.metric.empty()) active_.campaign.metric = context_.metric;
    if (context_.image > 0) space_.image = context_.image;
    active_.campaign.setup.batch = std::max(context_.batch, 1);
    active_.campaign.prepare(space_, common);
    const Device device = Device::parse(common.device);
    const ActiveFit fitted = measure_and_fit(db_, active_, options_, load_sources(space, device), device);
    const MeasurementStore store(db_, MeasurementStore::Access::read_only);
    save_predictor(
        out_, *fitted.model,
        {fitted.context, encoding_names(space), fitted.report, store.best_probe_ms(fitted.context)});
    Json result = describe(std::string(fitted.model->kind()), fitted.context, fitted.rows, fitted.report);
    result["choice"] = fitted.choice;
    return result;
  }

  std::vector<std::shared_ptr<const Regressor>> load_sources(const SearchSpace& space, Device device) const {
    std::vector<std::shared_ptr<const Regressor>> sources;
    for (const std::string& path : from_) {
      Predictor p = load_predictor(path, {}, device);
      require(p.context.space == space.id() && p.regressor->features() == encoding_size(space),
              "[fit] '{}' predicts for space '{}' with {} operations of edges, not for '{}' with {}", path,
              p.context.space, p.regressor->features(), space.id(), encoding_size(space));
      sources.push_back(std::move(p.regressor));
    }
    return sources;
  }

  Json describe(const std::string& model, const CostContext& context, const std::vector<Measurement>& rows,
                const FitReport& report) const {
    return {{"predictor", out_},
            {"model", model},
            {"context", Json::parse(nlohmann::json(context).dump())},
            {"what", context.str()},
            {"unit", context.unit},
            {"noisy", std::count_if(rows.begin(), rows.end(), [](const Measurement& m) { return m.noisy; })},
            {"commits", commits_of(rows)},
            {"report", Json::parse(nlohmann::json(report).dump())}};
  }

  static std::set<std::string> commits_of(const std::vector<Measurement>& rows) {
    std::set<std::string> commits;
    for (const Measurement& row : rows) commits.insert(row.commit);
    return commits;
  }

  std::string db_, out_, model_ = "auto";
  std::vector<std::string> from_;
  NetworkOptions space_;
  ContextOptions context_;
  FitOptions options_;
  ActiveFitOptions active_;
  int epochs_ = 0;
  std::vector<int> hidden_;
};

}  // namespace

std::unique_ptr<Command> make_fit_command() {
  return std::make_unique<FitCommand>();
}

}  // namespace ladarts
