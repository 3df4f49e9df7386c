// ladarts measure, fit and verify: from an empty file to a predictor, with stops and wrong input on the way.
#include <cmath>
#include <csignal>
#include <fstream>

#include <fmt/ranges.h>

#include "predictor/measurement_store.h"
#include "tests/support/catch.h"
#include "tests/support/small_job.h"
#include "tests/support/store_rows.h"

using namespace ladarts;

namespace {

std::vector<std::string> measure(const std::string& db, int count) {
  return with({"measure", "--db", db, "--count", fmt::format("{}", count), "--image", "16", "--threads", "1",
               "--max-repeats", "3", "--seconds-each", "0.01", "--patience", "0.1", "--seed", "1", "--json"},
              kSmallNetwork);
}

}  // namespace

TEST_CASE("measure, fit and verify: from an empty file to a checked predictor", "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "latency.db", predictor = folder / "predictor.safetensors";
  const ProgramResult measured = run(measure(db, 24));
  INFO(measured.err);
  REQUIRE(measured.code == 0);
  CHECK(measured.json()["measured"] == 24);
  CHECK(measured.json()["machine"]["timings"] == 5);
  CHECK(measured.json()["machine"]["median_ms"].get<double>() > 0);
  CHECK(measured.json()["architectures_per_hour"].get<double>() > 0);
  CHECK_THAT(measured.err, ContainsSubstring("this machine now: one network timed 5 times"));
  CHECK(run(measure(db, 24)).json()["present"] == 24);

  const ProgramResult fitted = run({"fit", "--db", db, "--out", predictor, "--epochs", "20", "--json"});
  INFO(fitted.err);
  REQUIRE(fitted.code == 0);
  const Json report = fitted.json()["report"];
  CHECK(report["n_train"].get<int>() + report["n_test"].get<int>() == 24);
  CHECK(fitted.json()["unit"] == "ms");

  const Json verified = run({"verify", "--patience", "0.1", "--predictor", predictor, "--genotype",
                             "DARTS_V2", "--sample", "2", "--rounds", "3", "--json"})
                            .json();
  REQUIRE(verified["networks"].size() == 3);
  for (const Json& n : verified["networks"]) {
    const double predicted = n["predicted_ms"], real = n["measured_ms"];
    CHECK(real > 0);
    CHECK(n["error"].get<double>() == Approx(predicted / real - 1));
  }
  CHECK(run({"verify", "--patience", "0.1", "--predictor", predictor, "--sample", "3", "--rounds", "1",
             "--max-error", "1e-9"})
            .code == 1);
  const ProgramResult text =
      run({"verify", "--patience", "0.1", "--predictor", predictor, "--genotype", "DARTS_V2"});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, ContainsSubstring("DARTS_V2"));
}

TEST_CASE("measuring that was interrupted or killed goes on and loses nothing", "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "latency.db";
  for (int signal : {SIGINT, SIGKILL}) {
    const int64_t before = architectures_in(db);
    RunningProgram program(LADARTS_PROGRAM, measure(db, 100'000));
    wait_until([&] { return architectures_in(db) >= before + 3; }, program);
    program.signal(signal);
    const ProgramResult r = program.wait();
    CHECK(r.code == 128 + signal);
    if (signal == SIGINT) CHECK_THAT(r.err, ContainsSubstring("goes on"));
  }
  const int64_t kept = architectures_in(db);
  CHECK(kept >= 6);
  const Json last = run(measure(db, int(kept) + 2)).json();
  CHECK(last["present"] == kept);
  CHECK(last["measured"] == 2);
}

TEST_CASE("verify --search: what a search's term said, against the measured cost of what was derived",
          "[apps][verify]") {
  TempFolder folder;
  const std::string db = folder / "counts.db", predictor = folder / "p.safetensors",
                    images = small_images(folder);
  // Multiply-accumulates are measured to the digit.
  REQUIRE(run(with(measure(db, 40), {"--metric", "macs"})).code == 0);
  REQUIRE(run({"fit", "--db", db, "--model", "gp", "--out", predictor, "--json"}).code == 0);
  const auto search = [&](const std::string& out, const std::vector<std::string>& more) {
    return run(
        with(with({"search", "--data", images, "--out", folder / out, "--epochs", "3", "--batch", "8",
                   "--set", "architecture_start_epoch=1", "partial_k=2", "architecture_lr=0.1", "--json"},
                  kSmallNetwork),
             more));
  };
  const ProgramResult drawn = search("drawn", {"--predictor", predictor, "--lambda", "0.5", "--relaxation",
                                               "drawn", "--draws", "2", "--certainty", "1"});
  INFO(drawn.err);
  REQUIRE(drawn.code == 0);
  CHECK(drawn.json()["epochs"][2]["derived_deviation"].get<double>() > 0);
  REQUIRE(search("cold", {"--predictor", predictor, "--temperature", "0.2"}).code == 0);

  const ProgramResult verified = run({"verify", "--patience", "0.1", "--predictor", predictor, "--search",
                                      folder / "drawn", folder / "cold", "--json"});
  INFO(verified.err);
  REQUIRE(verified.code == 0);
  const Json gap = verified.json()["search_gap"];
  REQUIRE(gap["searches"].size() == 2);
  CHECK(gap["searches"][0]["relaxation"] == "drawn");
  CHECK(gap["all"]["epochs"] == 4);  // those before the architecture's start are left out
  double sum = 0;
  for (const Json& s : gap["searches"]) {
    REQUIRE(s["epochs"].size() == 2);
    for (const Json& e : s["epochs"])
      sum += std::abs(e["derived_cost"].get<double>() / e["measured"].get<double>() - 1);
  }
  CHECK(gap["all"]["derived"]["mean_relative"].get<double>() == Approx(sum / 4));
  const double factor = gap["factor"];
  double beside = 0;
  for (const Json& s : gap["searches"])
    for (const Json& e : s["epochs"])
      beside += std::abs(factor * e["derived_cost"].get<double>() / e["measured"].get<double>() - 1);
  CHECK(gap["all"]["derived"]["beside_factor"].get<double>() == Approx(beside / 4));
  CHECK_THAT(run({"verify", "--patience", "0.1", "--predictor", predictor, "--search", folder / "cold"}).out,
             ContainsSubstring("mean of draws"));

  REQUIRE(search("plain", {}).code == 0);
  const std::string other = folder / "other.safetensors";
  REQUIRE(run({"fit", "--db", db, "--model", "additive", "--out", other, "--json"}).code == 0);
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{predictor, folder / "plain"}, "without a predictor"},
      {{other, folder / "cold"}, "with another predictor"},
      {{predictor, images}, "no folder of ladarts search"}};
  for (const auto& [files, message] : wrong) {
    const ProgramResult r =
        run({"verify", "--patience", "0.1", "--predictor", files[0], "--search", files[1]});
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring(message));
  }
  const ProgramResult uncertain = search("u", {"--predictor", other, "--lambda", "1", "--certainty", "1"});
  CHECK(uncertain.code == 1);
  CHECK_THAT(uncertain.err, ContainsSubstring("does not know how certain it is"));
}

TEST_CASE("measure: threads pinned and caches cold, a cost of its own that fit and verify know",
          "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "latency.db", predictor = folder / "predictor.safetensors";
  const ProgramResult cold = run(with(measure(db, 12), {"--metric", "cold_latency", "--pin"}));
  INFO(cold.err);
  REQUIRE(cold.code == 0);
  CHECK(cold.json()["measured"] == 12);
  CHECK(cold.json()["machine"]["pinned"] == true);
  REQUIRE(run(measure(db, 12)).json()["measured"] == 12);  // warm ones are others
  CHECK(run({"fit", "--db", db, "--out", predictor, "--model", "additive"}).code == 1);  // which of the two?
  REQUIRE(
      run({"fit", "--db", db, "--out", predictor, "--model", "additive", "--metric", "cold_latency"}).code ==
      0);
  const Json verified = run({"verify", "--patience", "0.1", "--predictor", predictor, "--sample", "1",
                             "--rounds", "1", "--json"})
                            .json();
  CHECK_THAT(verified["what"].get<std::string>(), ContainsSubstring("cold_latency in ms"));
  CHECK(run(with(measure(db, 4), {"--threads", "1000", "--pin"})).code == 1);
}

TEST_CASE("measure times given architectures, and keeps them where a file is named", "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "latency.db";
  const auto given = with({"measure", "--genotype", "DARTS_V1", "PC_DARTS_cifar", "--image", "16",
                           "--max-repeats", "3", "--seconds-each", "0.01", "--patience", "0.1", "--json"},
                          kSmallNetwork);
  CHECK(run(given).json()["networks"].size() == 2);
  REQUIRE(run(with(given, {"--db", db})).code == 0);
  REQUIRE(run(with(given, {"--db", db})).code == 0);
  CHECK(MeasurementStore(db).count() == 4);
}

TEST_CASE("a predictor is refused for another space and another device", "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "latency.db", predictor = folder / "predictor.safetensors";
  REQUIRE(run(measure(db, 16)).code == 0);
  REQUIRE(run({"fit", "--db", db, "--out", predictor, "--model", "additive"}).code == 0);

  const ProgramResult space = run(
      {"verify", "--patience", "0.1", "--predictor", predictor, "--space", "nasbench201", "--sample", "1"});
  CHECK(space.code == 1);
  CHECK_THAT(space.err, ContainsSubstring("nasbench201"));

  // The same measurements, as if another machine had made them.
  const std::string elsewhere = folder / "elsewhere.db", foreign = folder / "foreign.safetensors";
  {
    std::vector<Measurement> rows = MeasurementStore(db).rows();
    for (Measurement& row : rows) row.context.device = "Some Other CPU";
    MeasurementStore(elsewhere).insert(rows);
  }
  REQUIRE(run({"fit", "--db", elsewhere, "--out", foreign, "--model", "additive"}).code == 0);
  const std::vector<std::string> verify = {"verify", "--patience", "0.1", "--predictor", foreign, "--sample",
                                           "1",      "--rounds",   "1"};
  const ProgramResult device = run(verify);
  CHECK(device.code == 1);
  CHECK_THAT(device.err, ContainsSubstring("Some Other CPU"));
  CHECK(run(with(verify, {"--any-device"})).code == 0);
}

TEST_CASE("fit --from: a predictor of another machine and ten measurements of this one", "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "here.db", other = folder / "other.db",
                    source = folder / "source.safetensors", out = folder / "p.safetensors";
  REQUIRE(run(measure(db, 30)).code == 0);
  std::vector<Measurement> rows = MeasurementStore(db).rows({.replica = 0});
  std::vector<Measurement> elsewhere = rows;
  for (Measurement& row : elsewhere) {
    row.context.device = "Some Other CPU";
    row.median *= 3;
  }
  MeasurementStore(other).insert(elsewhere);
  REQUIRE(run({"fit", "--db", other, "--out", source, "--model", "gp"}).code == 0);
  const std::string few = folder / "few.db";
  rows.resize(10);
  MeasurementStore(few).insert(rows);
  const ProgramResult fitted = run({"fit", "--db", few, "--from", source, "--out", out, "--json"});
  INFO(fitted.err);
  REQUIRE(fitted.code == 0);
  CHECK(fitted.json()["model"] == "transfer");
  CHECK(fitted.json()["report"]["transfer"]["n"] == 10);
  CHECK_THAT(run({"fit", "--db", few, "--from", source, "--out", out}).out, ContainsSubstring("gp alone"));
  const ProgramResult verified =
      run({"verify", "--patience", "0.1", "--predictor", out, "--genotype", "DARTS_V2", "--rounds", "1"});
  INFO(verified.err);
  CHECK(verified.code == 0);
  CHECK(run({"fit", "--db", few, "--from", folder / "none", "--out", out}).code == 1);
  rows.resize(5);
  MeasurementStore(folder / "five.db").insert(rows);
  const ProgramResult too_few = run({"fit", "--db", folder / "five.db", "--from", source, "--out", out});
  CHECK(too_few.code == 1);
  CHECK_THAT(too_few.err, ContainsSubstring("5 measured architectures; it takes 8"));
}

TEST_CASE("fit asks which measurements are meant where there are several kinds", "[apps][measure]") {
  TempFolder folder;
  const std::string db = folder / "latency.db", out = folder / "p.safetensors";
  REQUIRE(run(measure(db, 16)).code == 0);
  REQUIRE(run(with(measure(db, 16), {"--batch", "2"})).code == 0);
  const std::vector<std::string> fit = {"fit", "--db", db, "--out", out, "--model", "additive"};
  const ProgramResult several = run(fit);
  CHECK(several.code == 1);
  CHECK_THAT(several.err, ContainsSubstring("batch 2"));
  CHECK_FALSE(std::filesystem::exists(out));
  CHECK(run(with(fit, {"--batch", "2"})).code == 0);
  const ProgramResult none = run(with(fit, {"--batch", "3"}));
  CHECK(none.code == 1);
  CHECK_THAT(none.err, ContainsSubstring("batch 1"));
}

TEST_CASE("measure, fit and verify refuse broken and missing files and impossible options",
          "[apps][measure]") {
  TempFolder folder;
  const std::string broken = folder / "broken.db", none = folder / "none.db", out = folder / "p.safetensors";
  std::ofstream(broken) << "this is no database, but it is long enough to be taken for one by its size alone";
  const std::vector<std::vector<std::string>> failing = {
      measure(broken, 2),
      measure(folder / "no" / "folder.db", 2),
      {"measure", "--count", "2"},
      {"measure", "--genotype", "DARTS_V9"},
      with(measure(none, 2), {"--image", "2"}),
      with(measure(none, 2), {"--space", "unheard-of"}),
      with(measure(none, 2), {"--space", "nasbench201", "--first", "99999999"}),
      {"fit", "--db", folder / "missing.db", "--out", out},
      {"fit", "--db", broken, "--out", out},
      {"verify", "--patience", "0.1", "--predictor", broken, "--genotype", "DARTS_V2"},
      {"verify", "--patience", "0.1", "--predictor", folder / "missing", "--genotype", "DARTS_V2"}};
  for (const auto& arguments : failing) {
    const ProgramResult r = run(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")));
    INFO(r.err);
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring("ladarts: error: "));
  }
  CHECK_FALSE(std::filesystem::exists(out));
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"measure", "--db", none, "--count", "0"},
                                             {"measure", "--db", none, "--batch", "0"},
                                             {"fit", "--db", none},
                                             {"fit", "--db", none, "--out", out, "--model", "x"},
                                             {"verify", "--genotype", "DARTS_V2"}})
    CHECK(run(arguments).code == 2);
}
