// ladarts profile and bench ops: what they count, the trace's rules, and what is refused.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "core/atomic_file.h"
#include "tests/support/catch.h"
#include "tests/support/small_job.h"

using namespace ladarts;

namespace {

// Three stages of one cell that is a 3x3 convolution of its input.
const std::vector<std::string> kOneCell = {
    "profile",    "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|",
    "--space",    "nasbench201",
    "--channels", "4",
    "--layers",   "1",
    "--image",    "8",
    "--repeats",  "2",
    "--threads",  "1"};
const std::vector<std::string> kDarts = {"profile", "DARTS_V2", "--channels", "4", "--layers",  "3",
                                         "--image", "8",        "--repeats",  "2", "--threads", "1"};

const Json& named(const Json& groups, const std::string& name) {
  for (const Json& g : groups)
    if (g["name"] == name) return g;
  throw Error("no group " + name);
}

double sum(const Json& rows, const char* field) {
  double total = 0;
  for (const Json& r : rows) total += r[field].get<double>();
  return total;
}

int64_t ns(const Json& us) {
  return std::llround(us.get<double>() * 1e3);
}

// The rules of the trace event format, for the kinds of events that are written.
void check_events(const Json& events) {
  std::map<int, std::vector<std::pair<int64_t, int64_t>>> open;  // of each track: slices around the next one
  for (const Json& e : events) {
    REQUIRE(e["name"].is_string());
    REQUIRE(e["pid"].is_number_integer());
    REQUIRE(e["tid"].is_number_integer());
    const std::string kind = e["ph"];
    if (kind == "M") {
      CHECK(e["args"]["name"].is_string());
      continue;
    }
    REQUIRE(e["ts"].is_number());
    if (kind == "C") {
      CHECK(e["args"].begin().value().is_number());
      continue;
    }
    REQUIRE(kind == "X");
    const int64_t begin = ns(e["ts"]), end = begin + ns(e["dur"]);
    CHECK(begin >= 0);
    CHECK(end >= begin);
    auto& around = open[e["tid"].get<int>()];
    while (!around.empty() && around.back().second <= begin && end > around.back().second) around.pop_back();
    if (!around.empty()) {  // inside of the innermost slice that is open, or after it
      CHECK(begin >= around.back().first);
      CHECK(end <= around.back().second);
    }
    around.emplace_back(begin, end);
    if (e["cat"] == "op") around.pop_back();
  }
}

}  // namespace

TEST_CASE("profile counts FLOPs as by hand, and its groups add up to the plan", "[apps][profile]") {
  const Json r = run(with(kOneCell, {"--json"})).json();
  // Stem, three cells' convolutions, and per residual block two 3x3 and a 1x1: 2 * pixels * outputs * inputs
  // * K * K.
  const double stem = 2.0 * 64 * 4 * 3 * 9, cells = 2.0 * 9 * (64 * 4 * 4 + 16 * 8 * 8 + 4 * 16 * 16),
               first = 2.0 * 16 * (8 * 4 * 9 + 8 * 8 * 9 + 8 * 4),
               second = 2.0 * 4 * (16 * 8 * 9 + 16 * 16 * 9 + 16 * 8);
  const Json& conv = named(r["by_op"], "conv2d");
  CHECK(conv["nodes"] == 10);
  CHECK(conv["flops"].get<double>() == stem + cells + first + second);
  CHECK(named(r["by_op"], "linear")["flops"].get<double>() == 2.0 * 16 * 10);
  CHECK(named(r["by_part"], "stem")["flops"].get<double>() == stem);
  CHECK(named(r["by_part"], "cell0")["nodes"] == 1);
  CHECK(named(r["by_role"], "nor_conv_3x3")["flops"].get<double>() == cells);

  REQUIRE(int(r["nodes"].size()) == r["ops"].get<int>());
  for (const char* groups : {"by_op", "by_part", "by_role", "nodes"}) {
    CHECK(sum(r[groups], "flops") == Approx(r["flops"].get<double>()));
    CHECK(sum(r[groups], "bytes") == Approx(r["bytes_moved"].get<double>()));
    CHECK(sum(r[groups], "us") == Approx(r["time"]["nodes_us"].get<double>()));
    CHECK(sum(r[groups], "share") == Approx(1));
    if (groups != std::string("nodes")) CHECK(sum(r[groups], "nodes") == r["ops"].get<int>());
  }
  CHECK(r["roofline"]["floor_us"].get<double>() == Approx(sum(r["nodes"], "floor_us")));
  CHECK(r["machine"]["peak_gflops"].get<double>() > 0);
}

TEST_CASE("profile says where each op stands", "[apps][profile]") {
  const Json r = run(with(kDarts, {"--json"})).json();
  int edges = 0;
  for (const Json& n : r["nodes"]) {
    if (n["cell"].is_null() || n["edge"].is_null()) continue;
    ++edges;
    CHECK(n["cell"].get<int>() < 3);
    CHECK(n["node"].get<int>() < 4);
    CHECK(n["edge"].get<int>() < 14);
    CHECK_THAT(n["role"].get<std::string>(), ContainsSubstring("_"));
  }
  CHECK(edges > 0);
  for (const char* part : {"stem", "cell0", "cell2", "head"})
    CHECK(named(r["by_part"], part)["us"].get<double>() > 0);
  // The stem's result goes to three inputs of cells at once, that of cell 0 to one; cell 2 halves what it
  // reads.
  CHECK(named(r["by_role"], "preprocess")["nodes"] == 4);
  CHECK(r["nodes"][0]["inputs"][0] == "(1, 3, 8, 8)");

  const Json train = run(with(kDarts, {"--train", "--batch", "2", "--json"})).json();
  CHECK(train["mode"] == "training");
  bool backward = false;
  for (const Json& n : train["nodes"]) backward = backward || n["backward"].get<bool>();
  CHECK(backward);
  CHECK(train["flops"].get<double>() > 2 * r["flops"].get<double>());
}

TEST_CASE("profile writes a trace whose slices nest and fill the run", "[apps][profile]") {
  TempFolder folder;
  const std::string file = folder / "trace.json", svg = folder / "roofline.svg";
  const ProgramResult printed = run(with(kDarts, {"--trace", file, "--svg", svg}));
  INFO(printed.err);
  REQUIRE(printed.code == 0);
  CHECK_THAT(printed.out, ContainsSubstring(file));
  const Json trace = read_json_file(file);
  const Json& events = trace["traceEvents"];
  check_events(events);
  int64_t in_ops = 0, end = 0;
  int ops = 0, cells = 0;
  for (const Json& e : events) {
    if (e["ph"] != "X" || e["tid"] != 1) continue;
    end = std::max(end, ns(e["ts"]) + ns(e["dur"]));
    if (e["cat"] == "op") {
      ++ops;
      CHECK(ns(e["ts"]) == in_ops);  // where the op before it ended
      in_ops += ns(e["dur"]);
      CHECK(e["args"]["bytes"].get<double>() > 0);
      CHECK(e["args"]["inputs"].is_array());
    } else if (e["name"].get<std::string>().substr(0, 4) == "cell") {
      ++cells;
    }
  }
  CHECK(in_ops == end);
  CHECK(cells == 3);
  CHECK(ops == trace["otherData"]["ops"].get<int>());
  const std::string picture = read_file(svg);
  CHECK_THAT(picture, ContainsSubstring("<svg"));
  CHECK_THAT(picture, ContainsSubstring("</svg>"));
}

TEST_CASE("profile refuses what it cannot do", "[apps][profile]") {
  TempFolder folder;
  CHECK(run({"profile"}).code == 2);
  CHECK(run({"profile", "DARTS_V2", "--search", folder.path().string()}).code == 2);
  CHECK(run({"profile", "--search", folder.path().string(), "--channels", "8"}).code == 2);
  CHECK(run({"profile", "DARTS_V2", "--predictor", "p"}).code == 2);
  const ProgramResult unknown = run({"profile", "DARTS_V9"});
  CHECK(unknown.code == 1);
  CHECK_THAT(unknown.err, ContainsSubstring("DARTS_V9"));
  const ProgramResult path = run(with(kDarts, {"--trace", folder / "none/trace.json"}));
  CHECK(path.code == 1);
  CHECK_THAT(path.err, ContainsSubstring("none/trace.json"));
  const ProgramResult empty = run({"profile", "--search", folder.path().string()});
  CHECK(empty.code == 1);
  CHECK_THAT(empty.err, ContainsSubstring("config.json"));
}

TEST_CASE("profile --search sets the latency gradient of each op beside its cost", "[apps][profile]") {
  TempFolder folder;
  const std::string images = small_images(folder), search = folder / "search", db = folder / "m.db",
                    predictor = folder / "p.safetensors";
  REQUIRE(run(with({"search", "--data", images, "--out", search, "--protocol", "darts", "--epochs", "1",
                    "--batch", "8", "--json"},
                   kSmallNetwork))
              .code == 0);
  const ProgramResult none = run({"profile", "--search", search});
  CHECK(none.code == 1);
  CHECK_THAT(none.err, ContainsSubstring("used no predictor"));
  REQUIRE(run(with({"measure", "--db", db, "--count", "24", "--max-repeats", "3", "--seconds-each", "0.01",
                    "--patience", "0.1", "--threads", "1", "--image", "16"},
                   kSmallNetwork))
              .code == 0);
  const ProgramResult fitted = run({"fit", "--db", db, "--out", predictor, "--model", "additive"});
  INFO(fitted.err);
  REQUIRE(fitted.code == 0);
  const ProgramResult profiled =
      run({"profile", "--search", search, "--predictor", predictor, "--repeats", "1", "--json"});
  INFO(profiled.err);
  REQUIRE(profiled.code == 0);
  const Json r = profiled.json();
  CHECK(r["used_predictor"] == "none");
  REQUIRE(r["edges"].size() == 2 * 14 * 8);
  int kept = 0;
  for (const Json& e : r["edges"]) {
    kept += e["kept"].get<bool>();
    if (e["primitive"] == "none") CHECK(e["measured_us"] == 0);
    if (e["primitive"] == "sep_conv_3x3") CHECK(e["measured_us"].get<double>() > 0);
  }
  CHECK(kept == 16);
  CHECK(r["rank_correlation"].size() == 3);
  CHECK(r["rank_correlation"][0]["ops"] == 2 * 14 * 7);
  CHECK(std::abs(r["rank_correlation"][0]["feature"].get<double>()) <= 1);
  const ProgramResult text = run({"profile", "--search", search, "--predictor", predictor, "--repeats", "1"});
  CHECK_THAT(text.out, ContainsSubstring("the kept ops"));
  CHECK_THAT(text.out, ContainsSubstring("used no predictor"));
}

TEST_CASE("bench ops times every point of the grid and says what it left out", "[apps][bench]") {
  const std::vector<std::string> quick = {"--repeats", "2", "--threads", "1", "--json"};
  const Json r = run(with({"bench", "ops", "--op", "conv2d,relu", "--channels", "2,4", "--image", "4",
                           "--kernel", "1,3", "--pass", "both"},
                          quick))
                     .json();
  REQUIRE(r["rows"].size() == 2 * 2 * 2 + 2 * 2);  // ReLU has no kernel
  const Json& first = r["rows"][0];
  CHECK(first["op"] == "conv2d");
  CHECK(first["flops"].get<double>() == 2.0 * 16 * 2 * 2);
  CHECK(first["times"]["ladarts"]["median_us"].get<double>() > 0);
  CHECK(first["times"]["ladarts"]["share_of_floor"].get<double>() > 0);
  CHECK(r["rows"][1]["pass"] == "backward");
  CHECK(r["rows"][1]["flops"].get<double>() == 2 * first["flops"].get<double>());  // input and weight
  CHECK_FALSE(r["rows"].back().contains("kernel"));

  const Json left =
      run(with({"bench", "ops", "--op", "separable", "--kernel", "3,7", "--channels", "4", "--image", "4"},
               quick))
          .json();
  CHECK(left["rows"].size() == 1);
  REQUIRE(left["skipped"].size() == 1);
  CHECK(left["skipped"][0]["kernel"] == 7);

  const Json all =
      run(with({"bench", "ops", "--op",
                "conv2d,depthwise,pointwise,separable,separable_stage,max_pool,avg_pool,norm,reduce,relu,"
                "linear",
                "--channels", "4", "--image", "6", "--batch", "2", "--pass", "both"},
               quick))
          .json();
  CHECK(all["rows"].size() == 2 * 11 - 1);
  CHECK(all["skipped"].size() == 1);  // separable backward
}

TEST_CASE("bench ops refuses what concerns no op", "[apps][bench]") {
  CHECK(run({"bench"}).code == 2);
  CHECK(run({"bench", "ops", "--op", "fold"}).code == 2);
  CHECK(run({"bench", "ops", "infer"}).code == 2);
  CHECK(run({"bench", "ops", "--genotype", "DARTS_V2"}).code == 2);
  CHECK(run({"bench", "ops", "--channels", "4,zero"}).code == 2);
  const ProgramResult linear = run({"bench", "ops", "--op", "linear", "--kernel", "3"});
  CHECK(linear.code == 1);
  CHECK_THAT(linear.err, ContainsSubstring("none of the ops has --kernel"));
  const ProgramResult nothing = run({"bench", "ops", "--op", "separable", "--pass", "backward"});
  CHECK(nothing.code == 1);
  CHECK_THAT(nothing.err, ContainsSubstring("nothing could be timed"));
}
