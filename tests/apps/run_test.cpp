// ladarts run: the whole job of an experiment file; stopped in every stage it goes on, and what cannot be is
// refused before anything is measured.
#include <csignal>

#include "nas/experiment.h"
#include "predictor/fit.h"
#include "tests/support/catch.h"
#include "tests/support/file_size_limit.h"
#include "tests/support/small_job.h"

using namespace ladarts;

namespace {

// Every stage takes a moment.
Json small_experiment() {
  return {{"seed", 3},
          {"data", {{"train", 64}, {"test", 24}, {"size", 16}}},
          {"network", {{"channels", 4}, {"layers", 3}}},
          {"measure", {{"architectures", 16}, {"max_repeats", 3}, {"seconds_each", 0.01}, {"patience", 0.1}}},
          {"search",
           {{"protocol", "darts"},
            {"latency_weights", {0, 1}},
            {"channels", 4},
            {"layers", 3},
            {"batch", 8},
            {"epochs", 2}}},
          {"train", {{"epochs", 2}, {"batch", 8}, {"drop_path", 0}, {"cutout", 0}}}};
}

std::string written(const TempFolder& folder, const Json& experiment) {
  const std::string path = folder / "experiment.json";
  write_json_file(path, experiment);
  return path;
}

std::vector<std::string> run_of(const std::string& experiment, const std::string& out) {
  return {"run", experiment, "--out", out, "--threads", "1", "--json"};
}

// What does not depend on the clock: the search without the latency term, and the training of what it found.
Json timeless(const Json& result) {
  const Json& n = result["networks"][0];
  return {n["genotype"], n["parameters"], n["multiply_accumulates"], n["test_accuracy"]};
}

}  // namespace

TEST_CASE("run: stopped or killed in any stage, the job goes on to the same result", "[apps][run]") {
  TempFolder folder;
  const std::string experiment = written(folder, small_experiment()), out = folder / "stopped";
  const ProgramResult straight = run(run_of(experiment, folder / "straight"));
  INFO(straight.err);
  REQUIRE(straight.code == 0);
  REQUIRE(straight.json()["networks"].size() == 2);

  int signal = SIGINT;
  for (const char* stage : {"measure", "fit", "search-0", "train-0", "search-1", "train-1", "verify"}) {
    RunningProgram program(LADARTS_PROGRAM, run_of(experiment, out));
    const std::string begun = fmt::format("{}: running", stage);
    wait_until([&] { return program.err_so_far().find(begun) != std::string::npos; }, program);
    program.signal(signal);
    const ProgramResult stopped = program.wait();
    INFO(begun << ": " << stopped.err);
    CHECK(stopped.code == 128 + signal);
    signal = signal == SIGINT ? SIGKILL : SIGINT;
  }
  const ProgramResult last = run(run_of(experiment, out));
  INFO(last.err);
  REQUIRE(last.code == 0);
  CHECK(timeless(last.json()) == timeless(straight.json()));
  CHECK(read_json_file(out + "/result.json") == last.json());
  CHECK(run(run_of(experiment, out)).json() == last.json());  // nothing is done twice
}

TEST_CASE("run: a disk that fills up in any stage costs nothing that was done", "[apps][run]") {
  TempFolder folder;
  const std::string experiment = written(folder, small_experiment()), out = folder / "run";
  for (const size_t bytes : {size_t(4) << 10, size_t(16) << 10, size_t(64) << 10}) {
    ProgramResult full;
    {
      const FileSizeLimit limit(bytes);
      full = run(run_of(experiment, out));
    }
    INFO(bytes << " bytes: " << full.err);
    CHECK(full.code == 1);
    CHECK_THAT(full.err, ContainsSubstring("ladarts: error: "));
    CHECK_FALSE(std::filesystem::exists(out + "/result.json"));
  }
  const ProgramResult r = run(run_of(experiment, out));
  INFO(r.err);
  CHECK(r.code == 0);
}

TEST_CASE("run: an experiment takes every model that fit takes", "[apps][run]") {
  TempFolder folder;
  for (const std::string& model : predictor_models()) {
    Json experiment = small_experiment();
    experiment["fit"]["model"] = model;
    experiment["measure"]["architectures"] = 400;
    const Experiment e = read_experiment(written(folder, experiment));
    CHECK(e.model == model);
    experiment["search"]["certainty"] = 1;
    const std::string path = written(folder, experiment);
    if (model == "auto" || model == "gp" || model == "stack")
      CHECK(read_experiment(path).search.step.term.certainty == 1);
    else
      CHECK_THROWS_WITH(read_experiment(path), ContainsSubstring("gp, stack or auto"));
  }
}

TEST_CASE("run: what a later stage cannot do is refused first, and the folder stays free", "[apps][run]") {
  TempFolder folder;
  const std::string out = folder / "run";
  const std::vector<std::tuple<const char*, const char*, Json, const char*>> wrong = {
      {"measure", "architectures", 9, "architectures"},
      {"measure", "architecture", 9, "architecture"},
      {"measure", "metric", "beauty", "peak_memory"},
      {"measure", "patience", -1, "patience -1 s is negative"},
      {"fit", "test_fraction", 2, "test_fraction"},
      {"fit", "model", "oracle", "oracle"},
      {"search", "architecture_start_epoch", 2, "architecture_start_epoch"},
      {"search", "batch", 33, "batch"},
      {"search", "partial_k", 3, "partial"},
      {"search", "lr", -1, "lr"},
      {"search", "latency_weights", {-1}, "latency weight"},
      {"search", "relaxation", "hard", "relaxation 'hard' is unknown"},
      {"fit", "model", "stack", "fit.model 'stack' takes 300"},
      {"search", "protocol", "evolution", "evolution"},
      {"train", "batch", 65, "batch"},
      {"train", "drop_path", 1.5, "drop_path"},
      {"data", "size", 4, "size"},
      {"data", "source", "camera", "camera"},
      {"network", "layers", -1, "layers"}};
  for (const auto& [section, field, value, message] : wrong) {
    Json experiment = small_experiment();
    experiment[section][field] = value;
    const ProgramResult r = run(run_of(written(folder, experiment), out));
    INFO(section << "." << field << ": " << r.err);
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring(message));
    CHECK_FALSE(std::filesystem::exists(out + "/measurements.db"));
    CHECK_FALSE(std::filesystem::exists(out + "/config.json"));
  }
  Json uncertain = small_experiment();
  uncertain["search"]["certainty"] = 1;
  uncertain["fit"]["model"] = "mlp";
  CHECK_THAT(run(run_of(written(folder, uncertain), out)).err, ContainsSubstring("set fit.model to gp"));
  const std::string experiment = written(folder, small_experiment());
  CHECK(run({"run", experiment, "--out", out, "--cifar", folder / "none"}).code == 1);
  CHECK(run({"run", folder / "none.json", "--out", out}).code == 1);
  CHECK(run({"run", experiment}).code == 2);
  CHECK(run(run_of(experiment, out)).code == 0);
}

TEST_CASE("run: another cost than latency goes the same way", "[apps][run]") {
  TempFolder folder;
  Json experiment = small_experiment();
  experiment["measure"]["metric"] = "peak_memory";
  const std::string out = folder / "memory";
  const ProgramResult r = run(run_of(written(folder, experiment), out));
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.err.find("this machine now") == std::string::npos);  // says how well times can be told apart
  const Json result = r.json();
  CHECK(result["context"]["metric"] == "peak_memory");
  for (const Json& n : result["networks"]) {
    CHECK(n["measured_MiB"].get<double>() > 0);
    CHECK(n["predicted_MiB"].get<double>() == Approx(n["measured_MiB"].get<double>()).epsilon(0.3));
  }
  const Json times = small_experiment();
  const ProgramResult latency = run(run_of(written(folder, times), folder / "latency"));
  CHECK_THAT(latency.err, ContainsSubstring("this machine now: one network timed"));
}

TEST_CASE("run: seed and images of the command line take the place of the file's", "[apps][run]") {
  TempFolder folder;
  const std::string experiment = written(folder, small_experiment());
  const std::string seeded = folder / "seeded";
  REQUIRE(run(with(run_of(experiment, seeded), {"--seed", "5"})).code == 0);
  const Json config = read_json_file(seeded + "/config.json");
  CHECK(config["seed"] == 5);
  CHECK(config["search"]["seed"] == 5);
  CHECK(read_json_file(seeded + "/images/image_set.json")["generator"]["seed"] == 5);
  const ProgramResult other = run(run_of(experiment, seeded));
  CHECK(other.code == 1);
  CHECK_THAT(other.err, ContainsSubstring("seed"));

  const std::string images = small_images(folder), given = folder / "given";
  Json limited = small_experiment();
  limited["data"]["train"] = 48;
  REQUIRE(run(with(run_of(written(folder, limited), given), {"--cifar", images})).code == 0);
  CHECK(read_json_file(given + "/config.json")["search"]["images"] == 48);
  CHECK(read_json_file(given + "/train-0/config.json")["test_images"] == 24);
}
