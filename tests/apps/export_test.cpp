// ladarts export, and ladarts measure with a runner that obeys, fails, hangs or lies.
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include <fmt/ranges.h>

#include "core/atomic_file.h"
#include "core/safetensors.h"
#include "predictor/measurement_store.h"
#include "tests/support/catch.h"
#include "tests/support/small_job.h"

using namespace ladarts;

namespace {

const std::vector<std::string> kSmall = {"--channels", "4", "--layers", "3", "--image", "16"};

// A runner script; $1 is the model. Samples are told apart by how often it was called, $n, from 1.
std::string runner_script(const TempFolder& folder, const std::string& body) {
  const std::string path = folder / "runner.sh", calls = folder / "calls";
  std::ofstream(path) << "#!/bin/sh\ntest -s \"$1\" || exit 9\necho call >>" << calls << "\nn=$(wc -l <"
                      << calls << ")\n"
                      << body << "\n";
  ::chmod(path.c_str(), 0755);
  return path + " {model} {batch}";
}

constexpr const char* kGood = R"(echo "{\"latency_ms\": $n, \"device\": \"board\", \"library\": \"lib 7\"}")";

std::vector<std::string> by_runner(const std::string& db, const std::string& runner, int count) {
  return with({"measure", "--db", db, "--count", fmt::format("{}", count), "--runner", runner, "--json"},
              kSmall);
}

}  // namespace

TEST_CASE("export writes a model and says what is in it", "[apps][export]") {
  TempFolder folder;
  const std::string out = folder / "model.onnx", example = folder / "example.safetensors";
  const ProgramResult r =
      run(with({"export", "DARTS_V2", "--out", out, "--batch", "3", "--example", example, "--json"}, kSmall));
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json j = r.json();
  CHECK(j["opset"] == 13);
  CHECK(j["weights"] == "random");
  CHECK(j["bytes"] == std::filesystem::file_size(out));
  CHECK(j["inputs"][0]["name"] == "images");
  CHECK(j["inputs"][0]["shape"] == Json({3, 3, 16, 16}));
  CHECK(j["outputs"][0]["shape"] == Json({3, 10}));
  const Json derived = run(with({"derive", "DARTS_V2", "--json"}, kSmall)).json();
  CHECK(j["multiply_accumulates"] == derived["multiply_accumulates"]);
  const TensorFile tensors = load_tensors(example);
  CHECK(tensors.tensors.at("images").shape == Shape{3, 3, 16, 16});
  CHECK(tensors.tensors.at("logits").shape == Shape{3, 10});

  const std::string first = read_file(out);
  REQUIRE(run(with({"export", "DARTS_V2", "--out", out, "--batch", "3", "--threads", "1"}, kSmall)).code ==
          0);
  CHECK(read_file(out) == first);
  const Json any = run(with({"export", "DARTS_V2", "--out", out, "--batch", "0", "--json"}, kSmall)).json();
  CHECK(any["inputs"][0]["shape"][0] == "batch");
}

TEST_CASE("export takes a trained folder with its weights and the normalisation of its images",
          "[apps][export]") {
  TempFolder folder;
  const std::string images = small_images(folder), trained = folder / "train", out = folder / "model.onnx";
  const ProgramResult t = run(with({"train", "--genotype", "DARTS_V2", "--data", images, "--out", trained,
                                    "--epochs", "1", "--batch", "32", "--set", "auxiliary=false"},
                                   kSmallNetwork));
  INFO(t.err);
  REQUIRE(t.code == 0);
  const ProgramResult r = run({"export", trained, "--out", out, "--json"});
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["weights"] == "trained");
  CHECK_THAT(r.json()["normalisation"].get<std::string>(), ContainsSubstring("\"mean\":["));
  const ProgramResult text = run({"export", trained + "/network.safetensors", "--out", out});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, ContainsSubstring("trained weights"));
  const ProgramResult sized = run({"export", trained, "--out", out, "--image", "32"});
  CHECK(sized.code == 1);
  CHECK_THAT(sized.err, ContainsSubstring("--image"));
}

TEST_CASE("export refuses what it cannot write, and leaves the old file", "[apps][export]") {
  TempFolder folder;
  const std::string out = folder / "model.onnx";
  std::ofstream(out) << "old";
  for (const auto& arguments :
       std::vector<std::vector<std::string>>{{"export", "DARTS_V9", "--out", out},
                                             {"export", "DARTS_V2", "--image", "2", "--out", out},
                                             {"export", folder.path(), "--out", out},
                                             {"export", folder / "none.safetensors", "--out", out},
                                             {"export", "DARTS_V2", "--out", folder / "no" / "model.onnx"}}) {
    const ProgramResult r = run(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")));
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring("ladarts: error: "));
  }
  CHECK(read_file(out) == "old");
  CHECK(run({"export", "DARTS_V2"}).code == 2);
  CHECK(run({"export", "DARTS_V2", "--out", out, "--batch", "-1"}).code == 2);
}

TEST_CASE("measure by a runner keeps what it answers, under the device that it names", "[apps][runner]") {
  TempFolder folder;
  const std::string db = folder / "board.db", runner = runner_script(folder, kGood);
  const ProgramResult r = run(by_runner(db, runner, 4));
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["measured"] == 4);
  const std::vector<Measurement> rows = MeasurementStore(db).rows();
  REQUIRE(rows.size() == 4);
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].median == double(i) + 2);  // call 1 was the trial
    CHECK(rows[i].context.device == "board");
    CHECK(rows[i].context.device_kind == "runner");
    CHECK(rows[i].context.library_version == "lib 7");
    CHECK(rows[i].context.unit == "ms");
  }
  CHECK(run(by_runner(db, runner, 6)).json()["present"] == 4);
  const Json named = run(with(by_runner(db, runner, 1), {"--device-name", "my phone"})).json();
  CHECK(named["measured"] == 1);
  CHECK_THAT(named["what"].get<std::string>(), ContainsSubstring("my phone"));
}

TEST_CASE("measure by a runner: each way to fail is a row with its reason, and the rest is measured",
          "[apps][runner]") {
  TempFolder folder;
  // Calls 1 and 2 are the trial and the first sample.
  const std::string body =
      std::string("case $n in\n3) (sleep 1000 & sleep 1000);;\n4) echo nonsense;;\n") +
      "5) echo '{\"latency_ms\": NaN}';;\n6) echo '{\"latency_ms\": -3}';;\n" +
      "7) kill -9 $$;;\n8) echo broken >&2; exit 3;;\n" +
      "9) head -c 30000000 /dev/zero;;\n10) rm \"$1\"; no-such-command;;\n" +
      "11) echo '{\"latency_ms\": 1, \"device\": \"other\", \"library\": \"lib 7\"}';;\n*) " + kGood +
      ";;\nesac";
  const std::string db = folder / "board.db", runner = runner_script(folder, body);
  const ProgramResult r = run(with(by_runner(db, runner, 12), {"--runner-timeout", "3"}));
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.json()["measured"] == 3);
  CHECK(r.json()["failed"] == 9);
  const std::vector<Measurement> rows = MeasurementStore(db).rows();
  REQUIRE(rows.size() == 12);
  const std::vector<std::string> reasons = {"ok",
                                            "still ran after",
                                            "should be a JSON object",
                                            "JSON object",
                                            "is -3",
                                            "signal 9",
                                            "exit status 3; it said: broken",
                                            "JSON object",
                                            "no-such-command",
                                            "other conditions",
                                            "ok",
                                            "ok"};
  for (size_t i = 0; i < rows.size(); ++i) CHECK_THAT(rows[i].status, ContainsSubstring(reasons[i]));
  // Those that failed are measured when the command is given again.
  const Json again = run(by_runner(db, runner, 12)).json();
  CHECK(again["present"] == 3);
  CHECK(again["measured"] == 9);
}

TEST_CASE("measure by a runner that fails from the first stops at once", "[apps][runner]") {
  TempFolder folder;
  const std::string db = folder / "board.db";
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"no-such-command {model}", "no-such-command"},
      {"false {model}", "exit status 1"},
      {"true {model}", "printed nothing"},
      {"bench model.onnx", "{model}"},
      {"echo '{\"latency_ms\": 1}' #{model}", "--device-name"},
      {"echo '{\"energy_mj\": 1, \"device\": \"d\"}' #{model}", "has no latency_ms"}};
  for (const auto& [command, reason] : wrong) {
    const ProgramResult r = run(by_runner(db, command, 1000));
    INFO(command);
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring(reason));
  }
  CHECK(MeasurementStore(db).count() == 0);
  CHECK(run({"measure", "--genotype", "DARTS_V2", "--device-name", "x"}).code == 2);
  const ProgramResult timing = run(with(by_runner(db, "true {model}", 1), {"--max-repeats", "3"}));
  CHECK(timing.code == 1);
  CHECK_THAT(timing.err, ContainsSubstring("--max-repeats has no effect"));
}

TEST_CASE("measure by a runner: Ctrl-C ends the command too, keeps the rows, and the same command goes on",
          "[apps][runner]") {
  TempFolder folder;
  const std::string db = folder / "board.db", pid = folder / "pid";
  const std::string body =
      "if [ $n = 4 ]; then sleep 1000 & echo $! >" + pid + "; wait; fi\n" + std::string(kGood);
  const std::string runner = runner_script(folder, body);
  RunningProgram program(LADARTS_PROGRAM, by_runner(db, runner, 5));
  wait_until([&] { return std::filesystem::exists(pid) && !read_file(pid).empty(); }, program);
  program.signal(SIGINT);
  const ProgramResult r = program.wait(20);
  CHECK(r.code == 130);
  CHECK_THAT(r.err, ContainsSubstring("goes on"));
  CHECK(MeasurementStore(db).count() == 2);
  const int sleeper = std::stoi(read_file(pid));
  for (const Stopwatch watch; ::kill(sleeper, 0) == 0 && watch.seconds() < 10;)
    if (read_file(fmt::format("/proc/{}/stat", sleeper)).find(") Z") != std::string::npos) break;
  const bool runs = ::kill(sleeper, 0) == 0 &&
                    read_file(fmt::format("/proc/{}/stat", sleeper)).find(") Z") == std::string::npos;
  CHECK_FALSE(runs);
  CHECK(run(by_runner(db, runner, 5)).json()["present"] == 2);
}

TEST_CASE("measure by a runner: given architectures, energy and memory", "[apps][runner]") {
  TempFolder folder;
  const std::string db = folder / "board.db";
  const std::string runner = runner_script(
      folder,
      "if [ $n = 3 ]; then echo '{\"error\": \"too large\"}'; exit 1; fi\n"
      "echo '{\"latency_ms\": 2, \"energy_mj\": 5, \"peak_memory_mib\": 6.5, \"device\": \"board\"}'");
  const auto given =
      with({"measure", "--genotype", "DARTS_V1", "DARTS_V2", "--db", db, "--runner", runner}, kSmall);
  const Json energy = run(with(given, {"--metric", "energy", "--json"})).json();
  CHECK(energy["networks"][0]["energy_mJ"] == 5);
  CHECK(energy["failed"] == 1);
  CHECK_THAT(energy["networks"][1]["status"].get<std::string>(),
             ContainsSubstring("exit status 1: too large"));
  const ProgramResult memory = run(with(given, {"--metric", "peak_memory"}));
  CHECK(memory.code == 0);
  CHECK_THAT(memory.out, ContainsSubstring("peak_memory MiB"));
  CHECK_THAT(memory.out, ContainsSubstring("6.500"));
  const std::vector<Measurement> rows = MeasurementStore(db).rows({.status = "ok"});
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].context.unit == "mJ");
  CHECK(rows[1].context.metric == "peak_memory");
  CHECK_THAT(rows[1].details, ContainsSubstring("\"latency_ms\":2.0"));
  const ProgramResult macs = run(with(given, {"--metric", "macs"}));
  CHECK(macs.code == 1);
  CHECK_THAT(macs.err, ContainsSubstring("leave out --runner"));
}
