// ladarts derive: forms of an architecture, from presets, files, searches; and what is refused.
#include <fstream>

#include <fmt/ranges.h>

#include "core/jsonl_log.h"
#include "core/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/run_program.h"

using namespace ladarts;

namespace {

ProgramResult derive_program(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"derive"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_program(LADARTS_PROGRAM, all);
}

constexpr const char* kNas201Text =
    "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|avg_pool_3x3~2|";

HostTensor filled(Shape shape, float value) {
  return {shape, std::vector<float>(size_t(shape.elements()), value)};
}

}  // namespace

TEST_CASE("derive prints a published cell with its golden counts", "[apps][derive]") {
  const Json v2 = derive_program({"DARTS_V2", "--json"}).json();
  CHECK(v2["parameters"] == 3349342);
  CHECK(v2["network"]["channels"] == 36);
  const ProgramResult text = derive_program({"PC_DARTS_cifar"});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, ContainsSubstring("Genotype(normal="));
  CHECK_THAT(text.out, ContainsSubstring("3,634,678"));
}

TEST_CASE("derive writes an architecture that it reads again, in every form", "[apps][derive]") {
  TempFolder folder;
  const std::string file = folder / "g.json";
  const Json made = derive_program({kNas201Text, "--space", "nasbench201", "--out", file, "--json"}).json();
  CHECK(made["text"] == kNas201Text);
  CHECK(derive_program({file, "--space", "nasbench201", "--json"}).json() == made);
}

TEST_CASE("derive reads a search's log at an epoch, and its last one", "[apps][derive]") {
  TempFolder folder;
  {
    JsonlLog log(folder / "epochs.jsonl");
    for (const char* name : {"DARTS_V1", "DARTS_V2"}) {
      const Json epoch = derive_program({name, "--json"}).json();
      log.append({{"genotype", epoch["text"]}});
    }
  }
  const std::string path = folder.path();
  CHECK(derive_program({path, "--epoch", "0", "--json"}).json()["parameters"] == 3169414);
  CHECK(derive_program({path, "--json"}).json()["parameters"] == 3349342);
  const ProgramResult beyond = derive_program({path, "--epoch", "2"});
  CHECK(beyond.code == 1);
  CHECK_THAT(beyond.err, ContainsSubstring("has 2 epochs"));
}

TEST_CASE("derive takes the strongest operations of a checkpoint's alpha", "[apps][derive]") {
  TempFolder folder;
  TensorFile file;
  HostTensor alpha = filled({6, 5}, 0.f);
  auto& values = std::get<0>(alpha.values);
  const std::vector<int> best = {3, 0, 1, 1, 0, 4};  // nor_conv_3x3, none, skip, skip, none, avg_pool
  for (size_t edge = 0; edge < 6; ++edge) values[edge * 5 + size_t(best[edge])] = 1.f;
  file.tensors["alpha_cell"] = alpha;
  const std::string path = folder / "checkpoint.safetensors";
  save_tensors(path, file);
  CHECK(derive_program({path, "--space", "nasbench201", "--json"}).json()["text"] == kNas201Text);

  const ProgramResult other = derive_program({path, "--space", "darts"});
  CHECK(other.code == 1);
  CHECK_THAT(other.err, ContainsSubstring("alpha_normal"));
}

TEST_CASE("derive refuses what is not an architecture of the space", "[apps][derive]") {
  TempFolder folder;
  const std::vector<std::vector<std::string>> wrong = {
      {"DARTS_V3"},
      {"DARTS_V2", "--space", "nasbench201"},
      {kNas201Text, "--space", "darts"},
      {"DARTS_V2", "--space", "no-such-space"},
      {"DARTS_V2", "--space", folder / "missing.json"},
      {folder.path()},
      {folder / "missing.json"},
      {"DARTS_V2", "--epoch", "1"},
      {"DARTS_V2", "--image", "2"},
      {"DARTS_V2", "--out", folder / "no" / "such" / "folder.json"}};
  for (const auto& arguments : wrong) {
    const ProgramResult r = derive_program(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")));
    CHECK(r.code == 1);
    CHECK(r.out.empty());
    CHECK_THAT(r.err, ContainsSubstring("ladarts: error: "));
  }
  const std::string broken = folder / "broken.json";
  std::ofstream(broken) << "{\"space\": \"darts\", ";
  const ProgramResult r = derive_program({broken});
  CHECK(r.code == 1);
  CHECK_THAT(r.err, ContainsSubstring("broken.json"));
}
