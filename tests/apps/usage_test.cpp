// Help, exit codes and what is printed for a command line that cannot be understood.
#include <fstream>

#include <fmt/ranges.h>

#include "tests/support/catch.h"
#include "tests/support/run_program.h"

using namespace ladarts;

namespace {

const std::vector<std::string> kCommands = {"run",    "data",  "measure", "fit",    "search",
                                            "derive", "train", "eval",    "verify", "info"};

ProgramResult ladarts_program(const std::vector<std::string>& arguments) {
  return run_program(LADARTS_PROGRAM, arguments);
}

}  // namespace

TEST_CASE("ladarts --help lists every command", "[apps]") {
  const ProgramResult r = ladarts_program({"--help"});
  CHECK(r.code == 0);
  CHECK(r.err.empty());
  for (const std::string& command : kCommands) CHECK_THAT(r.out, ContainsSubstring("\n  " + command + " "));
}

TEST_CASE("every command's help has an example of itself and the common options", "[apps]") {
  for (const std::string& command : kCommands) {
    const ProgramResult r = ladarts_program({command, "--help"});
    INFO(command);
    CHECK(r.code == 0);
    CHECK_THAT(r.out, ContainsSubstring("Example:"));
    CHECK_THAT(r.out, ContainsSubstring("ladarts " + command));
    for (const char* option : {"--json", "--quiet", "--seed", "--device", "--kernels", "--threads"})
      CHECK_THAT(r.out, ContainsSubstring(option));
  }
}

TEST_CASE("ladarts --version prints name and version", "[apps]") {
  const ProgramResult r = ladarts_program({"--version"});
  CHECK(r.code == 0);
  CHECK_THAT(r.out, ContainsSubstring("ladarts "));
}

TEST_CASE("a command line that cannot be understood ends with 2 and points at the help", "[apps]") {
  const std::vector<std::vector<std::string>> wrong = {
      {"no-such-command"},         {"info", "--no-such-option"},  {"info", "surplus"},
      {"info", "--threads", "-1"}, {"info", "--threads", "many"}, {"info", "--threads"},
      {"info", "--seed", "-3"},    {"info", "--device", "tpu"},   {"info", "--device", "cuda:x"}};
  for (const auto& arguments : wrong) {
    const ProgramResult r = ladarts_program(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")));
    CHECK(r.code == 2);
    CHECK(r.out.empty());
    CHECK_THAT(r.err, ContainsSubstring("ladarts: error: "));
    CHECK_THAT(r.err, ContainsSubstring("--help"));
  }
}

TEST_CASE("without a command the help goes to standard error, with 2", "[apps]") {
  const ProgramResult r = ladarts_program({});
  CHECK(r.code == 2);
  CHECK_THAT(r.err, ContainsSubstring("info"));
}

TEST_CASE("with --json an error is a JSON object on standard output", "[apps]") {
  const ProgramResult usage = ladarts_program({"info", "--json", "--threads", "-1"});
  CHECK(usage.code == 2);
  CHECK(usage.json()["exit_code"] == 2);

  const ProgramResult error = ladarts_program({"info", "--json", "--device", "cuda:999"});
  CHECK(error.code == 1);
  CHECK(error.json()["exit_code"] == 1);
  CHECK_THAT(error.json()["error"].get<std::string>(), ContainsSubstring("--device cpu"));
}

TEST_CASE("a device that is not there is refused by every command", "[apps]") {
  const std::vector<std::vector<std::string>> commands = {
      {"run", "e.json", "--out", "o"},
      {"data", "inspect", "d"},
      {"measure", "--genotype", "DARTS_V2"},
      {"fit", "--db", "m.db", "--out", "p"},
      {"search", "--data", "d", "--out", "o"},
      {"derive", "DARTS_V2"},
      {"train", "--genotype", "DARTS_V2", "--data", "d", "--out", "o"},
      {"eval", "n", "--data", "d"},
      {"verify", "--predictor", "p", "--genotype", "DARTS_V2"},
      {"info"}};
  REQUIRE(commands.size() == kCommands.size());
  for (auto command : commands) {
    command.insert(command.end(), {"--device", "cuda:999"});
    const ProgramResult r = ladarts_program(command);
    INFO(command[0] << ": " << r.err);
    CHECK(r.code == 1);
    CHECK_THAT(r.err, ContainsSubstring("--device cpu"));
  }
}

TEST_CASE("kernels of libraries are refused where they cannot run, with what to do", "[apps]") {
  const auto refused = [](std::vector<std::string> arguments, const std::string& why) {
    arguments.insert(arguments.begin(), "info");
    const ProgramResult r = ladarts_program(arguments);
    INFO(fmt::format("{}", fmt::join(arguments, " ")) << ": " << r.err);
    CHECK(r.code == 1);
    CHECK(r.out.empty());
    CHECK_THAT(r.err, ContainsSubstring(why));
  };
  refused({"--kernels", "cudnn", "--device", "cpu"}, "--kernels cudnn is about NVIDIA GPUs");
  refused({"--kernels", "fastest", "--device", "cpu"}, "--device cuda");
  refused({"--tf32", "--device", "cpu"}, "add --kernels cudnn or fastest");
  refused({"--kernels-file", "k.json", "--device", "cpu"}, "--kernels fastest");
  CHECK(ladarts_program({"info", "--kernels", "ladarts", "--device", "cpu"}).code == 0);
  const Json libraries = ladarts_program({"info", "--json"}).json()["kernel_libraries"];
  for (const auto& [name, library] : libraries.items()) {
    INFO(name << " " << library.dump());
    CHECK((library.contains("missing") || !library["ops"].empty()));
  }
}

TEST_CASE("output that cannot be written is an error", "[apps]") {
  if (!std::ofstream("/dev/full")) return;
  const ProgramResult r = run_program("/bin/sh", {"-c", "exec \"$0\" info >/dev/full", LADARTS_PROGRAM});
  CHECK(r.code == 1);
  CHECK_THAT(r.err, ContainsSubstring("cannot write to standard output"));
}

TEST_CASE("info names the machine, the device and the threads in use", "[apps]") {
  const Json info = ladarts_program({"info", "--json", "--threads", "3"}).json();
  CHECK(info["threads"] == 3);
  CHECK(info["devices"][0] == "cpu");
  CHECK(info["cores"].get<int>() >= 1);
  CHECK(info["memory_bytes"]["machine"].get<int64_t>() > (int64_t(64) << 20));
  CHECK_FALSE(info["cpu"].get<std::string>().empty());
  CHECK_FALSE(info["libraries"]["sqlite"].get<std::string>().empty());

  const ProgramResult text = ladarts_program({"info"});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, ContainsSubstring(info["cpu"].get<std::string>()));
}

TEST_CASE("info prints a search space in the form that --space reads", "[apps]") {
  TempFolder folder;
  const ProgramResult printed = ladarts_program({"info", "--space", "nasbench201"});
  REQUIRE(printed.code == 0);
  const std::string file = folder / "space.json";
  std::ofstream(file) << printed.out;
  const ProgramResult again = ladarts_program({"info", "--space", file});
  INFO(again.err);
  CHECK(again.out == printed.out);
  const ProgramResult json = ladarts_program({"info", "--space", "nasbench201", "--json"});
  CHECK(json.json() == printed.json());
}

TEST_CASE("info follows LADARTS_ISA and refuses what it does not know", "[apps]") {
  const ProgramResult baseline =
      run_program("/usr/bin/env", {"LADARTS_ISA=baseline", LADARTS_PROGRAM, "info", "--json"});
  CHECK(baseline.json()["isa"]["used"] == "baseline");
  const ProgramResult unknown = run_program("/usr/bin/env", {"LADARTS_ISA=mmx", LADARTS_PROGRAM, "info"});
  CHECK(unknown.code == 1);
  CHECK_THAT(unknown.err, ContainsSubstring("avx2"));

  for (const char* whole : {"0", "1"}) {
    const ProgramResult said = run_program(
        "/usr/bin/env", {std::string("LADARTS_WHOLE_VECTORS=") + whole, LADARTS_PROGRAM, "info", "--json"});
    CHECK(said.json()["isa"]["whole_vectors"] == (*whole == '1'));
  }
  const ProgramResult half =
      run_program("/usr/bin/env", {"LADARTS_WHOLE_VECTORS=half", LADARTS_PROGRAM, "info"});
  CHECK(half.code == 1);
  CHECK_THAT(half.err, ContainsSubstring("LADARTS_WHOLE_VECTORS=half"));
}
