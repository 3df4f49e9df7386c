#include "core/graph.h"

#include "core/gradients.h"
#include "core/memory_plan.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/activations.h"
#include "ops/linear.h"
#include "tests/support/catch.h"

using namespace ladarts;

TEST_CASE("graph: the same storage gives the same leaf", "[core][graph]") {
  Graph g;
  Storage s = Storage::create({4});
  CHECK(g.leaf(s) == g.leaf(s));
}

TEST_CASE("graph: an input of another graph is refused with the op's name", "[core][graph]") {
  Graph a, b;
  Tensor x = a.leaf(Storage::create({2}));
  CHECK_THROWS_WITH(b.add(std::make_shared<ActivationOp>(Activation::relu), {x}, {{Shape{2}}}),
                    ContainsSubstring("[relu] input 0 belongs to another graph"));
}

TEST_CASE("program: dead nodes are not executed", "[core][program]") {
  Graph g;
  Tensor x = g.leaf(Storage::create({8}));
  relu(tanh(x));
  Tensor y = sigmoid(x);
  Storage out = g.bind_output(y);
  Program p = compile(g);
  CHECK(p.stats().nodes == 1);
  CHECK(p.stats().nodes_removed == 2);
  p.run();
  CHECK(out.to_vector()[0] == 0.5f);
}

TEST_CASE("gradients: a value that the loss does not depend on gets zeros", "[core][gradients]") {
  Graph g;
  Tensor x = g.leaf(Storage::create({1})), unused = g.leaf(Storage::create({3}));
  Storage d_unused = Storage::create({3});
  d_unused.upload(std::vector<float>{1, 2, 3});
  gradients(sigmoid(x), std::vector{unused}, {.into = {d_unused}});
  compile(g).run();
  CHECK(d_unused.to_vector() == std::vector<float>{0, 0, 0});
}

TEST_CASE("gradients: only what is needed is recorded", "[core][gradients]") {
  Graph g;
  Tensor a = g.leaf(Storage::create({1})), b = g.leaf(Storage::create({1}));
  Tensor la = sigmoid(a), lb = tanh(tanh(b));
  const size_t before = g.nodes().size();
  gradients(std::vector{la, lb}, std::vector{a});
  CHECK(g.nodes().size() == before + 3);  // two seeds, one sigmoid_grad
}

TEST_CASE("memory plan: values alive together never overlap, others share", "[core][memory]") {
  Random random(5);
  std::vector<LifetimeRequest> requests;
  for (int i = 0; i < 300; ++i) {
    const int first = int(random.below(100));
    requests.push_back({1 + random.below(5000), first, first + int(random.below(10))});
  }
  const MemoryPlan plan = plan_memory(requests);
  size_t total = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    total += requests[i].bytes;
    CHECK(plan.offsets[i] % 64 == 0);
    for (size_t j = 0; j < i; ++j) {
      const bool together = requests[i].first <= requests[j].last && requests[j].first <= requests[i].last;
      const bool overlap = plan.offsets[i] < plan.offsets[j] + requests[j].bytes &&
                           plan.offsets[j] < plan.offsets[i] + requests[i].bytes;
      CHECK(!(together && overlap));
    }
  }
  CHECK(plan.bytes < total / 3);
}

TEST_CASE("philox: known answers of the reference implementation", "[core][philox]") {
  CHECK(philox(0, 0, 0) == Philox4{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox(~0ull, ~0ull, ~0ull) == Philox4{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
}

TEST_CASE("random: seek continues a stream", "[core][philox]") {
  Random a(1, 2), b(1, 2);
  for (int i = 0; i < 7; ++i) a.bits();
  b.seek(a.position());
  CHECK(a.bits() == b.bits());
}
