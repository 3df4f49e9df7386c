// ladarts fit --budget: from an empty file to a predictor, by measurements that it chooses itself.
#include <csignal>
#include <fstream>
#include <set>

#include <fmt/ranges.h>

#include "nas/active_measuring.h"
#include "predictor/predictor_file.h"
#include "tests/support/catch.h"
#include "tests/support/small_job.h"
#include "tests/support/store_rows.h"

using namespace ladarts;

namespace {

// Multiply-accumulates are known exactly and at once.
std::vector<std::string> fit(const std::string& db, const std::string& out, int budget) {
  return with({"fit", "--db", db, "--out", out, "--budget", fmt::format("{}", budget), "--image", "16",
               "--metric", "macs", "--seed", "1", "--json"},
              kSmallNetwork);
}

std::vector<std::string> fit_latency(const std::string& db, const std::string& out, int budget) {
  return with(
      {"fit", "--db", db, "--out", out, "--budget", fmt::format("{}", budget), "--image", "16", "--threads",
       "1", "--max-repeats", "3", "--seconds-each", "0.01", "--patience", "0.1", "--json"},
      kSmallNetwork);
}

}  // namespace

TEST_CASE("fit --budget: an empty file becomes a predictor, and says how many it took", "[apps][fit]") {
  TempFolder folder;
  const std::string db = folder / "new.db", out = folder / "p.safetensors";
  const ProgramResult r = run(with(fit(db, out, 60), {"--goal", "0.05"}));
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json j = r.json(), choice = j["choice"];
  const int64_t took = choice["architectures"];
  CHECK(choice["reached"] == true);
  CHECK(choice["had"] == 0);
  CHECK(choice["measured"] == took);
  CHECK(took < 60);
  CHECK(took == architectures_in(db));
  CHECK(choice["upper"].get<double>() < 0.05);
  CHECK(choice["curve"].back()["error"] == choice["error"]);
  CHECK(choice["drawn"].get<int64_t>() + choice["chosen"].get<int64_t>() == took);
  CHECK(j["model"] == "gp");
  CHECK(j["report"]["n_train"] == took);
  CHECK(j["report"]["n_test"] == choice["drawn"]);
  CHECK(j["report"]["gp"]["mean_relative_error"].get<double>() == Approx(choice["error"].get<double>()));
  CHECK_THAT(r.err, ContainsSubstring("10 measured, 5 of them drawn at random: error "));
  CHECK_THAT(r.err, ContainsSubstring("with 95% confidence"));

  // The file serves any other fit; the same command finds nothing to do.
  const Json again = run(with(fit(db, out, 60), {"--goal", "0.05"})).json()["choice"];
  CHECK(again["had"] == took);
  CHECK(again["measured"] == 0);
  CHECK(again["error"] == choice["error"]);
  CHECK(run({"fit", "--db", db, "--out", out, "--model", "additive"}).code == 0);
  // What was promised, on others.
  const std::string others = folder / "others.db";
  REQUIRE(run(with({"measure", "--db", others, "--count", "30", "--seed", "9", "--metric", "macs", "--image",
                    "16"},
                   kSmallNetwork))
              .code == 0);
  run(with(fit(db, out, 60), {"--goal", "0.05"}));
  const Predictor predictor = load_predictor(out);
  const Dataset test =
      measured_dataset(MeasurementStore(others).rows({.replica = 0}), SearchSpace::load("darts"));
  CHECK(error_report(predictor.regressor->predict(test.features), test.costs).mean_relative_error < 0.05);

  std::vector<std::string> text = fit(db, out, int(took) + 5);
  std::erase(text, "--json");
  const ProgramResult more = run(text);
  CHECK(more.code == 0);
  CHECK_THAT(more.out, ContainsSubstring(
                           fmt::format("{} architectures: {} there before, 5 measured now", took + 5, took)));
  CHECK_THAT(more.out, ContainsSubstring("by cross-validation over the"));
  CHECK_THAT(run(with(text, {"--goal", "0.001"})).out, ContainsSubstring("goal 0.1% "));
}

TEST_CASE("fit --budget that was interrupted or killed goes on and loses nothing", "[apps][fit]") {
  TempFolder folder;
  const std::string db = folder / "latency.db", out = folder / "p.safetensors";
  for (int signal : {SIGINT, SIGKILL}) {
    const int64_t before = architectures_in(db);
    RunningProgram program(LADARTS_PROGRAM, fit_latency(db, out, 3000));
    wait_until([&] { return architectures_in(db) >= before + 3; }, program);
    program.signal(signal);
    const ProgramResult r = program.wait();
    CHECK(r.code == 128 + signal);
    if (signal == SIGINT) CHECK_THAT(r.err, ContainsSubstring("the same command goes on"));
    CHECK_FALSE(std::filesystem::exists(out));
  }
  const int64_t kept = architectures_in(db);
  CHECK(kept >= 6);
  const ProgramResult last = run(fit_latency(db, out, int(kept) + 12));
  INFO(last.err);
  REQUIRE(last.code == 0);
  CHECK(last.json()["choice"]["had"] == kept);
  CHECK(last.json()["choice"]["measured"] == 12);
  CHECK(last.json()["choice"]["machine"]["timings"] == 5);
  CHECK(run({"verify", "--patience", "0.1", "--predictor", out, "--sample", "1", "--rounds", "1"}).code == 0);
}

TEST_CASE("fit --budget --from: chosen measurements of a new device on top of another's predictor",
          "[apps][fit]") {
  TempFolder folder;
  const std::string source = folder / "source.safetensors", out = folder / "p.safetensors";
  REQUIRE(run(fit(folder / "old.db", source, 16)).code == 0);
  const ProgramResult r = run(with(fit_latency(folder / "new.db", out, 15), {"--from", source}));
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["model"] == "transfer");
  CHECK(r.json()["report"]["transfer"]["n"] == r.json()["choice"]["drawn"]);
  CHECK(load_predictor(out).regressor->kind() == "transfer");
}

TEST_CASE("fit --budget --runner: a campaign on another's device, some of whose networks fail",
          "[apps][fit][runner]") {
  TempFolder folder;
  const std::string db = folder / "board.db", out = folder / "p.safetensors", calls = folder / "calls",
                    script = folder / "runner.sh";
  // Milliseconds by the size of the model. The first call is the trial; the 6th and 13th fail.
  std::ofstream(script) << "n=$(cat " << calls << " 2>/dev/null || echo 0)\nn=$((n + 1))\necho $n >" << calls
                        << "\ncase $n in 6) echo no memory >&2; exit 3;; 13) echo '{\"error\": \"too "
                           "hot\"}'; exit 0;; esac\nset -- $(wc -c <$1)\necho \"{\\\"latency_ms\\\": $(($1 / "
                           "1000)), \\\"device\\\": \\\"board\\\", \\\"library\\\": \\\"lib 7\\\"}\"\n";
  const auto fit_by_runner = [&](int budget) {
    return run(with({"fit", "--db", db, "--out", out, "--budget", fmt::format("{}", budget), "--image", "16",
                     "--runner", "sh " + script + " {model}", "--seed", "2", "--json"},
                    kSmallNetwork));
  };
  const ProgramResult r = fit_by_runner(16);
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json choice = r.json()["choice"];
  CHECK(choice["failed"] == 2);
  CHECK(choice["measured"] == 14);
  CHECK(choice["architectures"] == 14);  // a failed one costs its share of the budget
  CHECK(choice["drawn"].get<int>() >= 5);
  CHECK(choice["chosen"].get<int>() >= 5);
  CHECK(r.json()["context"]["device"] == "board");
  CHECK(r.json()["context"]["device_kind"] == "runner");
  CHECK(r.json()["context"]["library_version"] == "lib 7");
  CHECK(r.json()["report"]["held_out_noise"].is_null());  // of one number each nothing is known
  {
    const MeasurementStore store(db);
    std::set<std::string> reasons;
    for (const Measurement& row : store.rows())
      if (row.status != "ok") reasons.insert(row.status);
    REQUIRE(reasons.size() == 2);
    CHECK_THAT(*reasons.begin() + *reasons.rbegin(), ContainsSubstring("no memory"));
    CHECK_THAT(*reasons.begin() + *reasons.rbegin(), ContainsSubstring("too hot"));
    const Predictor predictor = load_predictor(out);
    const auto rows = store.rows({.status = "ok"});
    const Dataset data = measured_dataset(rows, SearchSpace::load("darts"));
    CHECK(predictor.context == rows[0].context);
    CHECK(error_report(predictor.regressor->predict(data.features), data.costs).mean_relative_error < 0.1);
  }
  // It goes on: those that failed are not tried again.
  const ProgramResult more = fit_by_runner(18);
  INFO(more.err);
  REQUIRE(more.code == 0);
  CHECK(more.json()["choice"]["had"] == 14);
  CHECK(more.json()["choice"]["measured"] == 2);
  CHECK(more.json()["choice"]["failed"] == 0);
}

TEST_CASE("fit --budget refuses what cannot be, and measures nothing then", "[apps][fit]") {
  TempFolder folder;
  const std::string db = folder / "new.db", out = folder / "p.safetensors";
  const std::vector<std::pair<std::vector<std::string>, std::string>> failing = {
      {with(fit(db, out, 20), {"--model", "mlp"}), "leave out --model mlp"},
      {with(fit(db, out, 20), {"--runner", "true"}), "a runner measures latency, energy or peak_memory"},
      {with(fit(db, out, 20), {"--from", folder / "none"}), "none"},
      {with(fit(db, out, 20), {"--space", "unheard-of"}), "unheard-of"}};
  for (const auto& [arguments, reason] : failing) {
    const ProgramResult r = run(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")));
    INFO(r.err);
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring(reason));
  }
  CHECK(architectures_in(db) == 0);
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"fit", "--db", db, "--out", out, "--goal", "0.03"},
                                             {"fit", "--db", db, "--out", out, "--channels", "4"},
                                             with(fit(db, out, 20), {"--goal", "0"}),
                                             with(fit(db, out, 20), {"--choose", "best"}),
                                             with(fit(db, out, 20), {"--test-fraction", "0.5"}),
                                             with(fit(db, out, 20), {"--on", "phone"}),
                                             fit(db, out, 9)})
    CHECK(run(arguments).code == 2);
}
