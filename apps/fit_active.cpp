#include "apps/fit_active.h"

#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "nas/encoding.h"
#include "nas/sampler.h"

namespace ladarts {

namespace {

std::string text_of_error(const ErrorEstimate& e) {
  return fmt::format("error {}, below {} with 95% confidence", percent(e.error, 2), percent(e.upper, 2));
}

// Errors of the models by the same cross-validation: that of the estimate, and what simpler ones give.
FitReport report_of(const ActiveResult& result, const MeasuredRows& known, const FitOptions& fit,
                    bool transfer, Device device) {
  FitReport report;
  report.n_train = known.data.size();
  report.n_test = int64_t(result.left_out.measured.size());
  report.held_out_noise = mean_noise(result.left_out.relative_noise);
  const auto errors = [](const LeftOut& l) { return error_report(l.predicted, l.measured); };
  const auto certainty = [](const LeftOut& l) { return calibration(l.distributions, l.measured); };
  const auto left_out = [&](const FitModel& model) {
    return predict_left_out(known.data, known.drawn, model, fit.seed);
  };
  const LeftOut gp =
      transfer ? left_out([&](const Dataset& d) { return fit_gp(d, fit.gp, device); }) : result.left_out;
  report.gp = errors(gp);
  report.gp_calibration = certainty(gp);
  if (transfer) {
    report.transfer = errors(result.left_out);
    report.transfer_calibration = certainty(result.left_out);
  }
  report.additive = errors(left_out([&](const Dataset& d) { return fit_additive(d, fit.additive, device); }));
  return report;
}

Json json_of(const ActiveResult& result, const ActiveFitOptions& options, const MeasuredRows& known,
             const Json& machine) {
  const ActiveRound& last = result.curve.back();
  Json j = {{"budget", options.budget},
            {"goal", options.goal > 0 ? Json(options.goal) : Json()},
            {"reached", options.goal > 0 ? Json(result.reached) : Json()},
            {"choice", options.choice},
            {"architectures", known.data.size()},
            {"had", result.had},
            {"drawn", last.estimate.rows},
            {"chosen", result.chosen},
            {"error", last.estimate.error},
            {"upper", last.estimate.upper},
            {"confidence", 0.95},
            {"fit_seconds", last.fit_seconds}};
  add_summary(j, result.summary);
  j["machine"] = machine;
  j["curve"] = Json::array();
  for (const ActiveRound& r : result.curve)
    j["curve"].push_back({{"architectures", r.measured},
                          {"drawn", r.estimate.rows},
                          {"error", r.estimate.error},
                          {"upper", r.estimate.upper},
                          {"seconds", r.seconds}});
  return j;
}

}  // namespace

void add_active_options(CLI::App& app, ActiveFitOptions& o, NetworkOptions& network) {
  const char* group = "Measuring what tells most";
  CLI::Option* budget =
      app.add_option("--budget", o.budget,
                     "choose architectures, measure them as ladarts measure does, and keep them in the --db "
                     "file until it holds N; those that it holds already are used and count")
          ->check(CLI::Range(int64_t(kFirstRound), int64_t(kMostGpRows)))
          ->option_text("N")
          ->group(group);
  app.add_option("--goal", o.goal,
                 "stop as soon as the mean relative error on other architectures is below this with 95% "
                 "confidence")
      ->check(CLI::Range(0.001, 1.0))
      ->option_text("X")
      ->group(group);
  o.choice = choice_names()[size_t(ActiveOptions().choice)];
  app.add_option("--choose", o.choice,
                 "rule for the half that is not drawn at random: telling (takes most uncertainty from all "
                 "predictions), disagreement (where the model is least certain), space-filling, or random")
      ->check(CLI::IsMember(choice_names()))
      ->option_text(fmt::format("NAME [{}]", o.choice))
      ->group(group);
  add_size_options(app, network);
  app.add_option("--classes", network.classes, "classes to tell apart")
      ->check(CLI::Range(1, 1000000))
      ->option_text("N [10]")
      ->group("Network");
  add_campaign_options(app, o.campaign);
  for (const char* name : {"--goal", "--choose", "--channels", "--layers", "--stem", "--classes", "--runner",
                           "--max-repeats", "--seconds-each", "--target-error", "--pin"})
    app.get_option(name)->needs(budget);
  app.get_option("--pin")->option_text(" ");  // else the help shows that need
}

ActiveFit measure_and_fit(const std::string& db, const ActiveFitOptions& options, FitOptions fit,
                          const std::vector<std::shared_ptr<const Regressor>>& sources, Device device) {
  const CampaignOptions& campaign = options.campaign;
  const SearchSpace& space = campaign.setup.space;
  const Genotype first = ArchitectureSampler(space, fit.seed).at(0);
  MeasurementStore store = open_campaign_store(db, campaign);
  const auto meter = make_campaign_meter(campaign, store, first);
  ActiveFit result;
  result.context = meter->context();
  const auto had = measured_rows(store, result.context, space).data.size();
  const Json machine = had < options.budget ? say_noise_floor(campaign, store, first) : Json();
  fit.gp.seed = fit.additive.seed = fit.seed;
  fit.gp.progress = [](int, int) {
    if (interrupted()) throw MeasuringStopped{};
  };
  ActiveOptions active{.budget = options.budget,
                       .goal = options.goal,
                       .seed = fit.seed,
                       .choice = parse_choice(options.choice),
                       .fit = {}};
  active.fit = [&](const Dataset& data) -> std::unique_ptr<Regressor> {
    if (sources.empty()) return fit_gp(data, fit.gp, device);
    return fit_transfer(data, sources, fit.gp, device);
  };
  Progress progress("measure", options.budget, {.unit = "architecture", .start = had});
  std::string note;
  active.progress = [&](int64_t done, int64_t, const Measurement& latest) {
    progress.update(done, latest.status != "ok" ? "last failed"
                                                : fmt::format("last {} {}{}", cost_text(latest.median),
                                                              result.context.unit, note));
  };
  active.round = [&](const ActiveRound& round) {
    progress.clear();
    Progress::say(fmt::format("{} measured, {} of them drawn at random: {}", round.measured,
                              round.estimate.rows, text_of_error(round.estimate)));
    note = fmt::format(", error {}", percent(round.estimate.error, 2));
  };
  std::optional<Progress> again;
  active.again = show_measuring_again(progress, again);
  ActiveResult measured = measure_actively(store, space, *meter, active);
  progress.finish();
  const MeasuredRows known = measured_rows(store, result.context, space);
  try {
    if (measured.interrupted) throw MeasuringStopped{};
    result.report = report_of(measured, known, fit, !sources.empty(), device);
  } catch (const MeasuringStopped&) {
    throw Interrupted(fmt::format(
        "interrupted; '{}' holds {} of at most {} architectures, the same command goes on; no predictor was "
        "written",
        db, known.data.size(), options.budget));
  }
  result.choice = json_of(measured, options, known, machine);
  result.rows = known.rows;
  result.model = std::move(measured.model);
  return result;
}

std::string text_of_choice(const Json& c) {
  std::string out = fmt::format(
      "{} architectures: {} there before, {} measured now, {} failed, in {}; {} drawn at random, {} chosen\n",
      with_separators(c["architectures"]), with_separators(c["had"]), with_separators(c["measured"]),
      with_separators(c["failed"]), format_duration(c["seconds"].get<double>()), with_separators(c["drawn"]),
      with_separators(c["chosen"]));
  const ErrorEstimate e{c["drawn"].get<int64_t>(), c["error"].get<double>(), c["upper"].get<double>()};
  if (c["goal"].is_null())
    out += text_of_error(e);
  else
    out += fmt::format("goal {} {} with {}: {}", percent(c["goal"].get<double>(), 1),
                       c["reached"].get<bool>() ? "reached" : "not reached",
                       with_separators(c["architectures"]), text_of_error(e));
  const double noise = c["noise_floor"].get<double>();
  if (noise > 0) out += fmt::format("; noise floor of the measurements {}", percent(noise, 2));
  return out + text_of_trouble(c) + "\n";
}

}  // namespace ladarts
