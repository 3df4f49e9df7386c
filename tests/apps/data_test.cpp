// ladarts data: what it writes can be read, and broken folders are refused with file and offset.
#include <fstream>

#include "core/atomic_file.h"
#include "tests/support/catch.h"
#include "tests/support/run_program.h"

using namespace ladarts;

namespace {

ProgramResult data_program(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"data"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run_program(LADARTS_PROGRAM, all);
}

std::string generate_small(const TempFolder& folder) {
  const std::string images = folder / "images";
  const ProgramResult r =
      data_program({"generate", images, "--train", "50", "--test", "20", "--image", "16"});
  REQUIRE(r.code == 0);
  return images;
}

}  // namespace

TEST_CASE("data generate writes a set that data inspect describes the same", "[apps][data]") {
  TempFolder folder;
  const std::string images = folder / "images";
  const Json made =
      data_program({"generate", images, "--train", "50", "--test", "20", "--image", "16", "--json"}).json();
  CHECK(made["train"]["images"] == 50);
  CHECK(made["test"]["images"] == 20);
  CHECK(made["image"] == 16);
  CHECK(made["classes"].size() == 10);
  CHECK(data_program({"inspect", images, "--json"}).json() == made);

  const ProgramResult text = data_program({"inspect", images});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, ContainsSubstring("16x16"));
}

TEST_CASE("data generate gives the same bytes for the same seed, others for another", "[apps][data]") {
  TempFolder folder;
  auto bytes = [&](const char* name, const char* seed) {
    const std::string images = folder / name;
    REQUIRE(data_program({"generate", images, "--train", "20", "--test", "10", "--seed", seed}).code == 0);
    return read_file(images + "/data_batch_1.bin");
  };
  const std::string first = bytes("a", "7");
  CHECK(bytes("b", "7") == first);
  CHECK(bytes("c", "8") != first);
}

TEST_CASE("data inspect refuses what is no image set", "[apps][data]") {
  TempFolder folder;
  const ProgramResult missing = data_program({"inspect", folder / "nothing"});
  CHECK(missing.code == 1);
  CHECK_THAT(missing.err, ContainsSubstring("nothing"));

  const std::string images = generate_small(folder);
  const std::string batch = images + "/data_batch_2.bin";
  const std::string whole = read_file(batch);

  std::ofstream(batch, std::ios::binary) << whole.substr(0, whole.size() - 5);
  const ProgramResult truncated = data_program({"inspect", images});
  CHECK(truncated.code == 1);
  CHECK_THAT(truncated.err, ContainsSubstring("data_batch_2.bin"));

  std::string mislabelled = whole;
  mislabelled[0] = '\x0b';  // class 11 of 10
  std::ofstream(batch, std::ios::binary) << mislabelled;
  const ProgramResult label = data_program({"inspect", images});
  CHECK(label.code == 1);
  CHECK_THAT(label.err, ContainsSubstring("data_batch_2.bin"));
  CHECK_THAT(label.err, ContainsSubstring("0"));
}

TEST_CASE("data generate refuses to write over other images and on bad options", "[apps][data]") {
  TempFolder folder;
  std::filesystem::create_directories(folder / "images");
  const std::string theirs = folder / "images" / "data_batch_1.bin";
  std::ofstream(theirs) << "mine";
  CHECK(data_program({"generate", folder / "images"}).code == 1);
  CHECK(read_file(theirs) == "mine");

  CHECK(data_program({"generate", folder / "x", "--train", "0"}).code == 2);
  CHECK(data_program({"generate", folder / "x", "--image", "4"}).code == 2);
  CHECK(data_program({"destroy", folder / "x"}).code == 2);
  CHECK(data_program({"generate"}).code == 2);
  CHECK_FALSE(std::filesystem::exists(folder / "x"));
}
