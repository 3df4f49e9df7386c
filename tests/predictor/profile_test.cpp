// Profiles of programs: what they count is the plan's, their marks follow each other, disturbed pairs do not
// count.
#include "predictor/profile.h"

#include "core/error.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/pool2d.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

Storage storage(Shape shape) {
  return Storage::create(shape);
}

// conv2d 3 -> 4, 3x3, on 8x8; its pixels' mean; linear 4 -> 5.
Program small_program() {
  Graph g;
  Tensor x = g.leaf(storage({2, 3, 8, 8}));
  {
    const Graph::Scope scope(g, "stem");
    x = conv2d(x, g.leaf(storage({4, 3, 3, 3})), {.padding = 1});
  }
  g.bind_output(linear(global_avg_pool(x), g.leaf(storage({5, 4}))));
  return compile(g);
}

}  // namespace

TEST_CASE("profile: nodes, FLOPs and bytes are those of the plan and of arithmetic by hand",
          "[predictor][profile]") {
  Program program = small_program();
  const ProgramProfile p = profile_program(program, {.repeats = 4});
  REQUIRE(p.nodes.size() == size_t(program.stats().nodes));
  REQUIRE(p.node_us.size() == p.nodes.size());
  double flops = 0, bytes = 0;
  for (const NodeInfo& n : p.nodes) {
    flops += n.cost.flops;
    bytes += n.cost.bytes_moved;
  }
  CHECK(flops == program.stats().flops);
  CHECK(bytes == program.stats().bytes_moved);
  CHECK(p.nodes[0].op == "conv2d");
  CHECK(p.nodes[0].scope == "stem");
  CHECK(p.nodes[0].cost.flops == 2.0 * (2 * 8 * 8) * 4 * (3 * 3 * 3));             // pixels, outputs, inputs
  CHECK(p.nodes[0].cost.bytes_moved == 4.0 * (2 * 3 * 64 + 4 * 27 + 2 * 4 * 64));  // x, weight, y
  CHECK(p.nodes.back().op == "linear");
  CHECK(p.nodes.back().cost.flops == 2.0 * 2 * 5 * 4);
  CHECK(p.nodes[0].outputs == std::vector<Shape>{{2, 4, 8, 8}});

  REQUIRE(p.marks_ns.size() == p.nodes.size() + 1);
  CHECK(p.marks_ns[0] == 0);
  for (size_t i = 0; i < p.nodes.size(); ++i) CHECK(p.marks_ns[i] <= p.marks_ns[i + 1]);
  CHECK(p.repeats == 4);
  CHECK(p.whole_us > 0);
  CHECK(p.whole_best_us <= p.whole_us);
  CHECK(p.clock_us > 0);
}

TEST_CASE("profile: pairs of runs beside a slowdown do not count unless few others are left",
          "[predictor][profile]") {
  Program program = small_program();
  int asked = 0;
  ProfileOptions options{.repeats = 6, .slowdown = [&] { return asked++ == 2 ? 2.0 : 1.0; }};
  const ProgramProfile once = profile_program(program, options);
  CHECK(once.repeats == 6);
  CHECK(once.disturbed == 2);  // the pair before and the one after
  CHECK_FALSE(once.noisy);
  options.slowdown = [] { return 1.5; };
  const ProgramProfile always = profile_program(program, options);
  CHECK(always.noisy);
  CHECK(always.disturbed == 12);
  CHECK(always.repeats == 12);
}

TEST_CASE("profile: what progress throws stops it", "[predictor][profile]") {
  Program program = small_program();
  CHECK_THROWS_AS(profile_program(program, {.progress = [](int done) { require(done < 2, "stop"); }}), Error);
}

TEST_CASE("roofline: the slower of arithmetic and memory bounds an op", "[predictor][profile]") {
  const MachinePeak peak{.gflops = 100, .copy_gbs = 10};
  const Roofline compute = roofline({.flops = 2e6, .bytes_moved = 1e5}, peak);
  CHECK(compute.bound == Bound::compute);
  CHECK(compute.floor_us == Approx(20));  // 2 MFLOP at 100 GFLOP/s
  const Roofline memory = roofline({.flops = 2e6, .bytes_moved = 1e6}, peak);
  CHECK(memory.bound == Bound::memory);
  CHECK(memory.floor_us == Approx(100));  // 1 MB at 10 GB/s
  CHECK(roofline({}, peak).bound == Bound::nothing);
}
