// ladarts search: a small search runs, stops, goes on to the same result, and refuses what cannot be.
#include <csignal>
#include <fstream>

#include <fmt/ranges.h>

#include "tests/support/catch.h"
#include "tests/support/small_job.h"

using namespace ladarts;

namespace {

std::vector<std::string> search(const std::string& images, const std::string& out, int epochs) {
  return with({"search", "--data", images, "--out", out, "--protocol", "darts", "--epochs",
               fmt::format("{}", epochs), "--batch", "8", "--seed", "3", "--json"},
              kSmallNetwork);
}

}  // namespace

TEST_CASE("search leaves configuration, log and architecture, and is not repeated", "[apps][search]") {
  TempFolder folder;
  const std::string images = small_images(folder), out = folder / "search";
  const ProgramResult first = run(search(images, out, 2));
  INFO(first.err);
  REQUIRE(first.code == 0);
  const Json result = first.json();
  CHECK(result["epochs"].size() == 2);
  CHECK(result["reaches_output"] == true);
  CHECK(read_json_file(out + "/config.json")["epochs"] == 2);
  CHECK(log_of(out).size() == 2);
  CHECK(run({"derive", out, "--json"}).json()["text"] == result["text"]);

  CHECK(run(search(images, out, 2)).json() == result);
  // Its config.json is a file of settings for another search.
  const ProgramResult again =
      run(with(search(images, folder / "again", 2), {"--config", out + "/config.json"}));
  INFO(again.err);
  CHECK(again.json()["text"] == result["text"]);
  // The same command over other images is another search.
  REQUIRE(run({"data", "generate", images, "--train", "64", "--test", "24", "--image", "16", "--seed", "9"})
              .code == 0);
  const ProgramResult images_changed = run(search(images, out, 2));
  CHECK(images_changed.code == 1);
  CHECK_THAT(images_changed.err, ContainsSubstring("image_set"));
  const ProgramResult other = run(search(images, out, 3));
  CHECK(other.code == 1);
  CHECK_THAT(other.err, ContainsSubstring("epochs"));
}

TEST_CASE("a search that was interrupted or killed goes on to the same result", "[apps][search]") {
  TempFolder folder;
  const std::string images = small_images(folder);
  const ProgramResult straight = run(search(images, folder / "straight", 4));
  INFO(straight.err);
  REQUIRE(straight.code == 0);

  const std::string out = folder / "stopped";
  {
    RunningProgram program(LADARTS_PROGRAM, search(images, out, 4));
    wait_until([&] { return !log_of(out).empty(); }, program);
    program.signal(SIGINT);
    const ProgramResult r = program.wait();
    CHECK(r.code == 130);
    CHECK_THAT(r.err, ContainsSubstring("goes on"));
    CHECK(r.json()["exit_code"] == 130);
  }
  {
    const size_t before = log_of(out).size();
    RunningProgram program(LADARTS_PROGRAM, search(images, out, 4));
    wait_until([&] { return log_of(out).size() > before; }, program);
    program.signal(SIGKILL);
    CHECK(program.wait().code == 128 + SIGKILL);
  }
  const ProgramResult last = run(search(images, out, 4));
  REQUIRE(last.code == 0);
  CHECK(last.json()["genotype"] == straight.json()["genotype"]);
  CHECK(without_times(log_of(out)) == without_times(log_of(folder / "straight")));
}

TEST_CASE("search refuses impossible options before it starts", "[apps][search]") {
  TempFolder folder;
  const std::string images = small_images(folder), out = folder / "search";
  const auto base = search(images, out, 2);
  const std::string broken = folder / "broken.json", predictor = folder / "broken.safetensors";
  std::ofstream(broken) << "[1, 2";
  std::ofstream(predictor) << "not tensors";

  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {with(base, {"--lambda", "1"}), "--predictor"},
      {with(base, {"--set", "epoch=3"}), "epoch"},
      {with(base, {"--set", "lr"}), "NAME=VALUE"},
      {with(base, {"--set", "lr=fast"}), "lr"},
      {with(base, {"--set", "lr=-0.1"}), "lr"},
      {with(base, {"--set", "lambda=-1"}), "lambda"},
      {with(base, {"--set", "partial_k=3"}), "partial"},
      {with(base, {"--set", "relaxation=hard"}), "expected, drawn, gumbel, derived"},
      {with(base, {"--set", "temperature=0"}), "temperature"},
      {with(base, {"--set", "draws=0"}), "draws"},
      {with(base, {"--set", "certainty=-1"}), "certainty"},
      {with(base, {"--set", "architecture_start_epoch=2"}), "architecture_start_epoch"},
      {with(base, {"--config", broken}), "broken.json"},
      {with(base, {"--config", folder / "none.json"}), "none.json"},
      {with(base, {"--predictor", predictor}), "broken.safetensors"},
      {with(base, {"--predictor", folder / "none"}), "none"},
      {with(base, {"--space", "unheard-of"}), "unheard-of"},
      {with(base, {"--batch", "1000"}), "batch"},
      {search(folder / "nothing", out, 2), "nothing"}};
  for (const auto& [arguments, message] : wrong) {
    const ProgramResult r = run(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")));
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring(message));
    CHECK_FALSE(std::filesystem::exists(out + "/config.json"));
  }
  CHECK(run({"search", "--data", images}).code == 2);
  CHECK(run(with(base, {"--lambda", "-1"})).code == 2);
  CHECK(run(with(base, {"--protocol", "evolution"})).code == 2);
  CHECK(run(with(base, {"--relaxation", "hard"})).code == 2);
  CHECK(run(with(base, {"--draws", "0"})).code == 2);
}
