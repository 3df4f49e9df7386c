// What ladarts profile says of a GPU's kernels. There is a GPU seldom, so the profile is made by hand.
#include "apps/chrome_trace.h"
#include "apps/profile_report.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

KernelTime kernel(int node, const char* name, double start_us, double us) {
  return {.node = node,
          .us = us,
          .start_us = start_us,
          .record = {.name = name,
                     .begin_ns = int64_t(1e9 + 1e3 * start_us),
                     .end_ns = int64_t(1e9 + 1e3 * (start_us + us)),
                     .grid = {7, 2, 1},
                     .block = {128, 1, 1},
                     .registers = 40,
                     .shared_bytes = 512,
                     .local_bytes = 8}};
}

// Two nodes; the first has two kernels.
ProgramProfile traced_profile() {
  ProgramProfile p;
  p.nodes = {{.op = "batch_norm",
              .scope = "stem",
              .inputs = {{1, 2}},
              .outputs = {{1, 2}},
              .cost = {},
              .scratch_bytes = 0,
              .kernel = "ladarts"},
             {.op = "max_pool2d",
              .scope = "cell0",
              .inputs = {{1, 2}},
              .outputs = {{1, 2}},
              .cost = {},
              .scratch_bytes = 0,
              .kernel = "ladarts"}};
  p.node_us = {9, 3};
  p.node_spread = {0, 0};
  p.marks_ns = {0, 9000, 12000};
  p.whole_us = 14;
  p.kernels = {kernel(0, "moments", 0, 2), kernel(0, "normalise<3>", 2.5, 4), kernel(1, "moments", 8, 1.5)};
  p.kernel_span_us = 9.5;
  p.kernel_gap_us = 2;
  return p;
}

}  // namespace

TEST_CASE("kernels of a profile: by name, at their node, and their sum beside the time between them",
          "[apps][profile]") {
  const ProgramProfile p = traced_profile();
  const Json kernels = kernels_json(p);
  REQUIRE(kernels.size() == 2);
  CHECK(kernels[0]["name"] == "normalise<3>");
  CHECK(kernels[0]["us"] == 4);
  CHECK(kernels[1]["name"] == "moments");
  CHECK(kernels[1]["launches"] == 2);
  CHECK(kernels[1]["us"] == 3.5);
  CHECK(kernels[1]["share"].get<double>() == Approx(3.5 / 7.5));
  CHECK(kernels[1]["registers"] == 40);
  const std::string table = kernels_table(kernels, 1);
  CHECK_THAT(table, ContainsSubstring("normalise<3>") && ContainsSubstring("7 x 2 x 1"));
  CHECK_THAT(table, !ContainsSubstring("moments"));

  const Json nodes = nodes_json(p, std::nullopt);
  REQUIRE(nodes[0]["kernels"].size() == 2);
  CHECK(nodes[0]["kernels"][1]["name"] == "normalise<3>");
  CHECK(nodes[1]["kernels"][0]["start_us"] == 8);
  const Json times = times_json(p);
  CHECK(times["kernels_us"] == 7.5);
  CHECK(times["kernel_gap_us"] == 2);
  CHECK(times["kernel_span_us"] == 9.5);
  CHECK_FALSE(times.contains("no_kernels"));
}

TEST_CASE("kernels of a profile have a track of their own in the trace", "[apps][profile]") {
  const Json events = chrome_trace(traced_profile(), "test", {})["traceEvents"];
  double end = 0;
  int seen = 0, named = 0;
  for (const Json& e : events) {
    if (e["tid"] != 3) continue;
    if (e["ph"] == "M") {
      ++named;
      continue;
    }
    CHECK(e["ph"] == "X");
    CHECK(e["ts"].get<double>() >= end);
    end = e["ts"].get<double>() + e["dur"].get<double>();
    CHECK(e["args"]["op"] == (seen < 2 ? "batch_norm" : "max_pool2d"));
    ++seen;
  }
  CHECK(named == 1);
  CHECK(seen == 3);
  CHECK(end == Approx(9.5));
}

TEST_CASE("a profile without a tracer says what is missing and has no kernels", "[apps][profile]") {
  ProgramProfile p = traced_profile();
  p.kernels.clear();
  p.no_kernels = "[cupti] libcupti.so.13 cannot be loaded";
  CHECK(times_json(p)["no_kernels"] == p.no_kernels);
  CHECK(kernels_json(p).empty());
  CHECK(kernels_table(kernels_json(p), 10).empty());
  const Json trace = chrome_trace(p, "test", {});
  for (const Json& e : trace["traceEvents"]) CHECK(e["tid"] != 3);
}
