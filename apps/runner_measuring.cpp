#include "apps/runner_measuring.h"

#include "apps/command.h"
#include "apps/format.h"
#include "apps/measuring_options.h"
#include "core/progress.h"
#include "nas/architecture_measuring.h"

namespace ladarts {

void add_runner_options(CLI::App& app, RunnerOptions& options) {
  const char* group = "Other hardware (docs/other-hardware.md)";
  CLI::Option* runner = app.add_option("--runner", options.command,
                                       "measure by this shell command: {model} becomes an ONNX file, {batch} "
                                       "and {threads} numbers; the last line that it prints is JSON such as "
                                       "{\"latency_ms\": 3.2}")
                            ->option_text("COMMAND")
                            ->group(group);
  app.add_option("--runner-timeout", options.timeout_s, "end the command after so many seconds")
      ->check(CLI::Range(0.001, 1e6))
      ->option_text(fmt::format("X [{}]", options.timeout_s))
      ->needs(runner)
      ->group(group);
  app.add_option("--device-name", options.device_name,
                 "name of what the command measures on; else what it calls its \"device\"")
      ->option_text("NAME")
      ->needs(runner)
      ->group(group);
}

std::unique_ptr<RunnerMeter> make_runner_meter(const RunnerOptions& options, const std::string& metric,
                                               const LatencySetup& setup, const Genotype& trial) try {
  return std::make_unique<RunnerMeter>(RunnerSetup{.space = setup.space,
                                                   .shape = setup.shape,
                                                   .batch = setup.batch,
                                                   .threads = setup.threads().threads(),
                                                   .device_name = options.device_name,
                                                   .metric = metric},
                                       Runner(options.command, options.timeout_s), trial);
} catch (const MeasuringStopped&) {
  throw Interrupted("interrupted; nothing was measured");
}

namespace {

Measurement measured(RunnerMeter& meter, const Genotype& genotype, const std::string& architecture) {
  Measurement row = new_row(meter.context(), architecture);
  try {
    meter.measure(genotype, row);
  } catch (const Error& e) {
    row.status = e.what();
  }
  return row;
}

}  // namespace

Json measure_given_by_runner(RunnerMeter& meter, const SearchSpace& space,
                             std::span<const Genotype> genotypes, std::span<const std::string> names,
                             MeasurementStore* store) {
  Progress progress("measure", int64_t(genotypes.size()), {.unit = "architecture"});
  const CostContext context = meter.context();
  const std::string cost = with_unit(context.metric, context);
  Json networks = Json::array();
  int64_t failed = 0;
  for (size_t i = 0; i < genotypes.size(); ++i) try {
      const Measurement row = measured(meter, genotypes[i], architecture_text(genotypes[i], space));
      if (store) store->insert_replica(row);
      const bool ok = row.status == "ok";
      failed += !ok;
      Json network{{"name", names[i]}, {"genotype", to_text(genotypes[i], space)}, {"status", row.status}};
      if (ok) {
        network[cost] = row.median;
        network["relative_spread"] = row.relative_spread;
        network["repeats"] = row.repeats;
      }
      networks.push_back(network);
      progress.update(int64_t(i) + 1,
                      ok ? fmt::format("last {} {}", cost_text(row.median), context.unit) : "last failed");
    } catch (const MeasuringStopped&) {
      throw Interrupted(store ? fmt::format("interrupted after {} of {} architectures, which were kept", i,
                                            genotypes.size())
                              : "interrupted; nothing was written");
    }
  progress.finish();
  return {{"what", context.str()}, {"metric", context.metric}, {"unit", context.unit},
          {"cost", cost},          {"device", context.device}, {"runner", true},
          {"failed", failed},      {"networks", networks}};
}

std::string text_of_runner_result(const Json& r) {
  std::vector<std::vector<std::string>> rows;
  std::string failures;
  for (const Json& n : r["networks"]) {
    if (n["status"] != "ok") {
      failures += fmt::format("{} failed: {}\n", text_of(n["name"]), text_of(n["status"]));
      continue;
    }
    rows.push_back({text_of(n["name"]), cost_text(n[text_of(r["cost"])].get<double>()),
                    percent(n["relative_spread"].get<double>()), with_separators(n["repeats"])});
  }
  return text_of(r["what"]) + "\n\n" +
         table({"architecture", text_of(r["metric"]) + " " + text_of(r["unit"]), "spread", "repeats"}, rows) +
         failures;
}

}  // namespace ladarts
