// What a runner may answer, and what becomes of other answers.
#include "predictor/runner.h"

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/temp_folder.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

std::string refusal(const std::string& out) {
  try {
    parse_runner_reply(out);
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

std::string failure(const std::string& command, double timeout_s = 60) {
  TempFolder folder;
  const auto model = folder / "model.onnx";
  write_file_atomically(model, "model");
  try {
    Runner(command, timeout_s).run(model, 1, 1);
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("runner: a reply with single times is summarised", "[predictor][runner]") {
  const RunnerReply r = parse_runner_reply(
      "starting\n{\"not\": \"this\"}\n{\"times_ms\": [3, 1, 2, 10, 2], \"warmup_runs\": 4, \"device\": "
      "\"A\", "
      "\"precision\": \"f16\", \"library\": \"L 1\", \"threads\": 3}\n\n");
  REQUIRE(r.latency);
  CHECK(r.latency->median_ms == 2);
  CHECK(r.latency->min_ms == 1);
  CHECK(r.latency->mean_ms == Approx(3.6));
  CHECK(r.latency->repeats == 5);
  CHECK(r.latency->warmup_runs == 4);
  CHECK(r.device == "A");
  CHECK(r.precision == "f16");
  CHECK(r.library == "L 1");
  CHECK(r.threads == 3);
}

TEST_CASE("runner: a reply with one latency, energy and memory", "[predictor][runner]") {
  const RunnerReply r = parse_runner_reply(
      R"({"latency_ms": 3.5, "relative_spread": 0.02, "repeats": 7, "energy_mj": 12, "peak_memory_mib": 5.5})");
  REQUIRE(r.latency);
  CHECK(r.latency->median_ms == 3.5);
  CHECK(r.latency->min_ms == 3.5);
  CHECK(r.latency->relative_spread == 0.02);
  CHECK(r.latency->repeats == 7);
  CHECK(r.energy_mj == 12.0);
  CHECK(r.peak_memory_mib == 5.5);
  CHECK_FALSE(parse_runner_reply(R"({"energy_mj": 1})").latency);
}

TEST_CASE("runner: what is no answer is refused with the reason", "[predictor][runner]") {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "printed nothing"},
      {" \n\n", "printed nothing"},
      {"3.2 ms", "should be a JSON object"},
      {"[3.2]", "should be a JSON object"},
      {"{\"latency_ms\": 3.2}\nbye", "is: bye"},
      {"{\"latency_ms\": NaN}", "should be a JSON object"},
      {"{\"latency_ms\": 1e999}", "should be a JSON object"},
      {"{\"latency_ms\": -1}", "'latency_ms' is -1"},
      {"{\"latency_ms\": 0}", "above 0"},
      {"{\"latency_ms\": \"3\"}", "should be a number"},
      {"{\"times_ms\": []}", "is empty"},
      {"{\"times_ms\": [1, -2]}", "'times_ms' is -2"},
      {"{\"times_ms\": [1, null]}", "times_ms"},
      {"{\"times_ms\": [1], \"latency_ms\": 1}", "not both"},
      {"{\"latency_s\": 0.003}", "latency_s"},
      {"{\"device\": \"A\"}", "has no cost"},
      {"{\"energy_mj\": 0}", "above 0"},
      {"{\"latency_ms\": 1, \"repeats\": -1}", "repeats"},
      {"{\"latency_ms\": 1, \"relative_spread\": -1}", "relative_spread"},
      {"{\"error\": \"no memory\\nleft\"}", "no memory left"},
      {"{\"a\":" + std::string(100'000, '['), "should be a JSON object"}};
  for (const auto& [out, reason] : wrong) {
    INFO(out.substr(0, 100));
    CHECK_THAT(refusal(out), ContainsSubstring(reason));
  }
}

TEST_CASE("runner: the command is given the model, the batch and the threads", "[predictor][runner]") {
  TempFolder folder;
  const auto model = folder / "model.onnx";
  write_file_atomically(model, "a model of 27 bytes or more");
  const Runner runner(
      "test -f '{model}' && echo '{\"latency_ms\":' $(wc -c < {model})', \"device\": \"{batch}x{threads}\"}'",
      60);
  const RunnerReply r = runner.run(model, 5, 2);
  CHECK(r.latency->median_ms == 27);
  CHECK(r.device == "5x2");
}

TEST_CASE("runner: how a command failed and what it said last is told", "[predictor][runner]") {
  CHECK_THAT(failure("true {model}"), ContainsSubstring("printed nothing"));
  const std::string status =
      failure("echo '{\"latency_ms\": 1}' {model}; echo one >&2; echo two >&2; exit 3");
  CHECK_THAT(status, ContainsSubstring("exit status 3"));
  CHECK_THAT(status, ContainsSubstring("one two"));
  CHECK_THAT(failure("no-such-command {model}"), ContainsSubstring("no-such-command"));
  CHECK_THAT(failure("kill -BUS $$ {model}"), ContainsSubstring("signal 7"));
  CHECK_THAT(failure("sleep 1000; echo {model}", 0.2), ContainsSubstring("still ran after"));
  CHECK_THAT(failure("echo nonsense {model}; echo why >&2"), ContainsSubstring("it said: why"));
}

TEST_CASE("runner: commands that do not take a model, and times that cannot be, are refused",
          "[predictor][runner]") {
  CHECK_THROWS_WITH(Runner("bench {modle}", 1), ContainsSubstring("{model}"));
  CHECK_THROWS_WITH(Runner("bench {model}", 0), ContainsSubstring("time limit"));
  TempFolder folder;
  CHECK_THROWS_WITH(Runner("true {model}", 1).run(folder / "a; b", 1, 1), ContainsSubstring("TMPDIR"));
}
