// ladarts train and eval: what was trained is evaluated to the same figures, also after a stop.
#include <csignal>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/small_job.h"

using namespace ladarts;

namespace {

std::vector<std::string> train(const std::string& images, const std::string& out, int epochs) {
  return with({"train", "--genotype", "DARTS_V1", "--data", images, "--out", out, "--epochs",
               fmt::format("{}", epochs), "--batch", "8", "--seed", "5", "--json", "--set", "cutout=0"},
              kSmallNetwork);
}

}  // namespace

TEST_CASE("eval finds what train reported", "[apps][train]") {
  TempFolder folder;
  const std::string images = small_images(folder), out = folder / "train";
  const ProgramResult trained = run(train(images, out, 2));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const Json result = trained.json();
  CHECK(result["test"]["images"] == 24);

  const Json evaluated = run({"eval", out, "--data", images, "--json"}).json();
  CHECK(evaluated["accuracy"] == result["test"]["accuracy"]);
  CHECK(evaluated["images"] == 24);
  CHECK(evaluated["parameters"] == result["parameters"]);
  CHECK(run({"eval", out + "/network.safetensors", "--data", images, "--images", "10", "--json"})
            .json()["images"] == 10);
  CHECK_THAT(run({"eval", out, "--data", images}).out, ContainsSubstring("of 24 images"));
  const ProgramResult again =
      run(with(train(images, folder / "again", 2), {"--config", out + "/config.json"}));
  INFO(again.err);
  CHECK(again.json()["test"] == result["test"]);
}

TEST_CASE("eval loads a network that was trained with the auxiliary head", "[apps][train]") {
  TempFolder folder;
  const std::string images = folder / "images", out = folder / "train";
  REQUIRE(run({"data", "generate", images, "--train", "10", "--test", "8"}).code == 0);
  const ProgramResult trained =
      run(with({"train", "--genotype", "DARTS_V1", "--data", images, "--out", out, "--epochs", "1", "--batch",
                "4", "--protocol", "pc-darts", "--json"},
               kSmallNetwork));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const ProgramResult evaluated = run({"eval", out, "--data", images, "--json"});
  INFO(evaluated.err);
  REQUIRE(evaluated.code == 0);
  CHECK(evaluated.json()["accuracy"] == trained.json()["test"]["accuracy"]);
}

TEST_CASE("a training that was interrupted or killed goes on to the same result", "[apps][train]") {
  TempFolder folder;
  const std::string images = small_images(folder);
  const ProgramResult straight = run(train(images, folder / "straight", 4));
  INFO(straight.err);
  REQUIRE(straight.code == 0);

  const std::string out = folder / "stopped";
  for (int signal : {SIGINT, SIGKILL}) {
    const size_t before = log_of(out).size();
    RunningProgram program(LADARTS_PROGRAM, train(images, out, 4));
    wait_until([&] { return log_of(out).size() > before; }, program);
    program.signal(signal);
    CHECK(program.wait().code == 128 + signal);
  }
  const ProgramResult last = run(train(images, out, 4));
  REQUIRE(last.code == 0);
  CHECK(last.json()["test"] == straight.json()["test"]);
  CHECK(without_times(log_of(out)) == without_times(log_of(folder / "straight")));
}

TEST_CASE("train and eval refuse what does not fit together", "[apps][train]") {
  TempFolder folder;
  const std::string images = small_images(folder), out = folder / "train";
  REQUIRE(run(train(images, out, 1)).code == 0);

  const std::string larger = folder / "larger";
  REQUIRE(run({"data", "generate", larger, "--train", "20", "--test", "10", "--image", "24"}).code == 0);
  const ProgramResult size = run({"eval", out, "--data", larger});
  CHECK(size.code == 1);
  CHECK_THAT(size.err, ContainsSubstring("24x24"));

  CHECK(run({"eval", folder / "nothing", "--data", images}).code == 1);
  const std::string broken = folder / "broken.safetensors";
  std::ofstream(broken) << "no tensors";
  const ProgramResult damaged = run({"eval", broken, "--data", images});
  CHECK(damaged.code == 1);
  CHECK_THAT(damaged.err, ContainsSubstring("broken.safetensors"));
  CHECK(run({"eval", out + "/checkpoint.safetensors", "--data", images}).code == 1);

  const auto base = train(images, folder / "other", 1);
  CHECK(run(with(base, {"--space", "nasbench201"})).code == 1);
  CHECK(run(with(base, {"--set", "drop_paths=0.1"})).code == 1);
  CHECK(run(with(base, {"--set", "drop_path=1.5"})).code == 1);
  CHECK_FALSE(std::filesystem::exists(folder / "other/config.json"));
  CHECK(run(with(base, {"--batch", "0"})).code == 2);
  CHECK(run({"train", "--data", images, "--out", out}).code == 2);
  CHECK(run({"eval", out}).code == 2);
}
