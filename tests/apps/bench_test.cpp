// ladarts bench: what it reports of a search step and of a network, and what it refuses.
#include "tests/support/catch.h"
#include "tests/support/run_program.h"

using namespace ladarts;

namespace {

ProgramResult bench(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"bench"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  for (const char* a :
       {"--channels", "8", "--layers", "3", "--image", "8", "--repeats", "1", "--threads", "1"})
    all.emplace_back(a);
  return run_program(LADARTS_PROGRAM, all);
}

// Sums over ops must be what the program as a whole counts.
void check_program(const Json& p) {
  CHECK(p["min_ms"].get<double>() > 0);
  CHECK(p["floor_ms"].get<double>() > 0);
  CHECK(p["share_of_floor"].get<double>() == Approx(p["floor_ms"].get<double>() / p["min_ms"].get<double>()));
  int nodes = 0;
  double gflop = 0, before = 1e30;
  for (const Json& op : p["by_op"]) {
    nodes += op["nodes"].get<int>();
    gflop += op["gflop"].get<double>();
    CHECK(op["ms"].get<double>() <= before);
    before = op["ms"].get<double>();
  }
  CHECK(nodes == p["ops"].get<int>());
  CHECK(gflop == Approx(p["gflop"].get<double>()));
  CHECK(p["planned_mib"].get<double>() > 0);
}

}  // namespace

TEST_CASE("bench reports both steps of a search, op by op", "[apps][bench]") {
  const Json r = bench({"step", "--partial-k", "4", "--batch", "2", "--slowest", "3", "--json"}).json();
  CHECK(r["network"]["partial_k"] == 4);
  CHECK(r["peak_gflops"].get<double>() > 0);
  CHECK(r["copy_gbs"].get<double>() > 0);
  REQUIRE(r["programs"].size() == 2);
  for (const Json& p : r["programs"]) {
    check_program(p);
    CHECK(p["slowest"].size() == 3);
  }
  const Json plain = bench({"step", "--unfused", "--batch", "2", "--json"}).json();
  CHECK(plain["programs"]["weight_step"]["ops"] > r["programs"]["weight_step"]["ops"]);
}

TEST_CASE("bench reports a step of fitting the predictor", "[apps][bench]") {
  const Json r =
      run_program(LADARTS_PROGRAM, {"bench", "fit", "--batch", "32", "--repeats", "2", "--json"}).json();
  CHECK(r["network"]["features"] == 224);
  REQUIRE(r["programs"].size() == 1);
  check_program(r["programs"]["fit_step"]);
  const ProgramResult refused = run_program(LADARTS_PROGRAM, {"bench", "fit", "--channels", "8"});
  CHECK(refused.code != 0);
  CHECK_THAT(refused.err, ContainsSubstring("no --channels"));
}

TEST_CASE("bench reports training and inference of a network", "[apps][bench]") {
  for (const char* what : {"train", "infer"}) {
    const Json r = bench({what, "--genotype", "PC_DARTS_cifar", "--batch", "2", "--json"}).json();
    CHECK(r["network"]["genotype"] == "PC_DARTS_cifar");
    REQUIRE(r["programs"].size() == 1);
    check_program(r["programs"].begin().value());
  }
  const ProgramResult text = bench({"infer"});
  CHECK(text.code == 0);
  CHECK_THAT(text.out, ContainsSubstring("conv2d"));
  CHECK_THAT(text.out, ContainsSubstring("the machine's peaks allow"));
}

TEST_CASE("bench refuses options of another kind", "[apps][bench]") {
  CHECK(bench({"nothing"}).code == 2);
  const ProgramResult k = bench({"train", "--partial-k", "4"});
  CHECK(k.code == 1);
  CHECK_THAT(k.err, ContainsSubstring("--partial-k and --unfused are about a supernet"));
  CHECK_THAT(bench({"step", "--genotype", "DARTS_V1"}).err, ContainsSubstring("has no --genotype"));
  CHECK_THAT(bench({"infer", "--genotype", "DARTS_V9"}).err, ContainsSubstring("DARTS_V9"));
}
