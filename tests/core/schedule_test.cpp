#include "core/schedule.h"

#include <algorithm>
#include <numeric>

#include "core/philox.h"
#include "core/program.h"
#include "ops/activations.h"
#include "ops/arithmetic.h"
#include "ops/linear.h"
#include "ops/optimizer.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

Storage random(Shape shape, uint64_t stream) {
  Random generator(3, stream);
  std::vector<float> values(size_t(shape.elements()));
  for (float& v : values) v = generator.uniform(-0.1f, 0.1f);
  Storage s = Storage::create(shape);
  s.upload(std::span<const float>(values));
  return s;
}

// A layer of 64 rows and `width` values: some 140 us of one core at 256.
Tensor layer(Tensor x, uint64_t stream, int64_t width = 256) {
  Graph& g = x.graph();
  return linear(x, g.leaf(random({width, x.dim(1)}, stream)), g.leaf(random({width}, stream + 1000)));
}

// The nodes that write these, in groups.
std::vector<NodeGroup> groups_of(const Graph& g, int threads) {
  std::vector<size_t> nodes(g.nodes().size());
  std::iota(nodes.begin(), nodes.end(), size_t(0));
  return schedule(g, nodes, threads);
}

}  // namespace

TEST_CASE("schedule: nodes of one kind and size that do not need each other run side by side",
          "[core][schedule]") {
  Graph g;
  const Tensor x = g.leaf(random({64, 256}, 0));
  const Tensor a = layer(x, 1), c = layer(a, 2), b = layer(x, 3), d = layer(b, 4);  // nodes 0 to 3
  CHECK(groups_of(g, 1) == std::vector<NodeGroup>{{0}, {1}, {2}, {3}});
  CHECK(groups_of(g, 2) == std::vector<NodeGroup>{{0, 2}, {1, 3}});
  CHECK(groups_of(g, 3) == std::vector<NodeGroup>{{0}, {1}, {2}, {3}});  // never three at once
  add(c, d);
  CHECK(groups_of(g, 2) == std::vector<NodeGroup>{{0, 2}, {1, 3}, {4}});
}

TEST_CASE("schedule: nodes of other kinds, sizes or lengths run alone", "[core][schedule]") {
  Graph g;
  const Tensor x = g.leaf(random({64, 256}, 0)), few = g.leaf(random({1, 8}, 1));
  layer(x, 1);
  layer(x, 2, 128);  // half the work
  relu(x);
  layer(few, 3, 8);  // over before another thread has heard of it
  layer(few, 4, 8);
  CHECK(groups_of(g, 2) == std::vector<NodeGroup>{{0}, {1}, {2}, {3}, {4}});
}

TEST_CASE("schedule: where values are changed in place the order stays", "[core][schedule]") {
  Graph g;
  const Tensor x = g.leaf(random({64, 256}, 0)), a = layer(x, 1), b = layer(x, 2);
  const Storage weights = random({64, 256}, 9);
  sgd_update(g.leaf(weights), add(a, b), g.leaf(Storage::create({64, 256})), g.leaf(Storage::create({1})),
             {});
  for (const NodeGroup& group : groups_of(g, 2)) CHECK(group.size() == 1);
}

TEST_CASE("schedule: any number of threads gives the same bits", "[core][schedule]") {
  const Storage x = random({64, 256}, 0);
  const auto run = [&](int threads, uint64_t seed) {
    ThreadPool pool(threads);
    Random pick(5, seed);
    Graph g;
    std::vector<Tensor> values{g.leaf(x)};
    for (uint64_t i = 0; i < 40; ++i) {
      const auto any = [&] { return values[size_t(pick.uniform(0.f, float(values.size()) - 0.01f))]; };
      const Tensor one = any(), other = any();
      values.push_back(i % 3 == 2 ? add(one, other) : layer(one, i));
    }
    Tensor sum = values[1];
    for (size_t i = 2; i < values.size(); i += 5) sum = add(sum, values[i]);
    const Storage result = g.bind_output(sum);
    Program program = compile(g, {.pool = &pool});
    program.run();
    const std::vector<float> first = result.to_vector();
    std::vector<int64_t> marks;
    program.run_timed(marks);  // the same once more
    CHECK(result.to_vector() == first);
    CHECK(int(marks.size()) == program.stats().nodes + 1);
    CHECK(std::is_sorted(marks.begin(), marks.end()));
    return first;
  };
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const std::vector<float> expected = run(1, seed);
    CHECK(run(2, seed) == expected);
    CHECK(run(3, seed) == expected);
  }
}
