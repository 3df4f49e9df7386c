// Whole training programs on a toy problem: recording, differentiation, planning, optimisers and kernels
// together.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "core/gradients.h"
#include "core/parameters.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/activations.h"
#include "ops/batch_norm.h"
#include "ops/dropout.h"
#include "ops/linear.h"
#include "ops/losses.h"
#include "ops/optimizer.h"
#include "tests/support/allocations.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

constexpr int64_t kBatch = 256, kFeatures = 2, kHidden = 64, kClasses = 3;

// Points on three arms of a spiral; an arm is a class.
void spiral(std::vector<float>& x, std::vector<int32_t>& labels) {
  Random random(11);
  for (int64_t i = 0; i < kBatch; ++i) {
    const auto arm = int32_t(i % kClasses);
    const float radius = random.uniform(0.1f, 1.f);
    const float angle = 4 * radius + 2.0944f * float(arm) + 0.1f * random.normal();
    x.push_back(radius * std::cos(angle));
    x.push_back(radius * std::sin(angle));
    labels.push_back(arm);
  }
}

enum class Optimizer { sgd, adam };

struct Training {
  ParameterSet parameters{3};
  RandomState random{17};
  Storage x = Storage::create({kBatch, kFeatures}), labels = Storage::create({kBatch}, DType::i32);
  Storage rate = Storage::create({1});
  Storage loss, correct, norm;
  std::optional<Program> program;

  Training(Optimizer optimizer, ThreadPool& pool) {
    std::vector<float> points;
    std::vector<int32_t> classes;
    spiral(points, classes);
    x.upload(std::span<const float>(points));
    labels.upload(std::span<const int32_t>(classes));
    Graph g;
    Tensor logits = network(g), truth = g.leaf(labels);
    Tensor mean_loss = cross_entropy(logits, truth, {.label_smoothing = 0.01f});
    loss = g.bind_output(mean_loss);
    correct = g.bind_output(count_correct(logits, truth));
    gradients(mean_loss, parameters.leaves(g), {.into = parameters.gradient_storages()});
    record_update(g, optimizer);
    program.emplace(compile(g, {.pool = &pool}));
  }

  Tensor dense(Graph& g, Tensor in, int64_t out, const std::string& name) {
    const int64_t n = in.dim(1);
    return linear(in, parameters.get(g, name + ".weight", {out, n}, Init::fan_in(n)),
                  parameters.get(g, name + ".bias", {out}, Init::fan_in(n)));
  }

  Tensor network(Graph& g) {
    Tensor h = relu(dense(g, g.leaf(x), kHidden, "first"));
    Tensor gamma = parameters.get(g, "norm.gamma", {kHidden}, Init::constant(1));
    Tensor beta = parameters.get(g, "norm.beta", {kHidden}, Init::constant(0));
    h = batch_norm(h, gamma, beta, {});
    h = relu(dense(g, h, kHidden, "second"));
    h = dropout(h, 0.05f, random, 1);
    return dense(g, h, kClasses, "last");
  }

  void record_update(Graph& g, Optimizer optimizer) {
    Tensor value = g.leaf(parameters.values()), grad = g.leaf(parameters.gradients());
    auto state = [&](Shape shape) { return g.leaf(Storage::create(shape)); };
    norm = g.bind_output(clip_norm(grad, 5));
    if (optimizer == Optimizer::sgd) {
      rate.set(0.1f);
      sgd_update(value, grad, state(value.shape()), g.leaf(rate), {.momentum = 0.9f, .weight_decay = 1e-4f});
    } else {
      rate.set(0.01f);
      adam_update(value, grad, state(value.shape()), state(value.shape()), state({1}), g.leaf(rate));
    }
  }

  void step() {
    random.advance();
    program->run();
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_CASE("training: a small network learns a spiral by SGD and by Adam", "[ops][training]") {
  for (Optimizer optimizer : {Optimizer::sgd, Optimizer::adam}) {
    ThreadPool pool(2);
    Training t(optimizer, pool);
    t.step();
    const float before = t.loss.item();
    CHECK(before > 0.8f);
    CHECK(t.correct.item() < 0.7f * float(kBatch));
    for (int i = 0; i < 400; ++i) t.step();
    CHECK(t.loss.item() < 0.15f);
    CHECK(t.correct.item() > 0.97f * float(kBatch));
    CHECK(std::isfinite(t.norm.item()));
  }
}

TEST_CASE("training: the same bits for one, two and three threads", "[ops][training]") {
  for (Optimizer optimizer : {Optimizer::sgd, Optimizer::adam}) {
    std::vector<float> reference;
    for (int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      Training t(optimizer, pool);
      for (int i = 0; i < 25; ++i) t.step();
      const auto weights = t.parameters.values().to_vector();
      if (reference.empty()) reference = weights;
      CHECK(same_bits(weights, reference));
    }
  }
}

TEST_CASE("training: another step of the random state gives other weights", "[ops][training]") {
  ThreadPool pool(1);
  Training a(Optimizer::sgd, pool), b(Optimizer::sgd, pool);
  b.random.set_step(1000);
  for (int i = 0; i < 3; ++i) a.step(), b.step();
  CHECK(!same_bits(a.parameters.values().to_vector(), b.parameters.values().to_vector()));
}

TEST_CASE("training: after the first run a program allocates nothing", "[ops][training]") {
  ThreadPool pool(2);
  for (Optimizer optimizer : {Optimizer::sgd, Optimizer::adam}) {
    const int64_t at_start = testing::allocations();
    Training t(optimizer, pool);
    const int64_t recorded = testing::allocations();
    REQUIRE(recorded > at_start);  // the counter counts
    t.step();
    const int64_t before = testing::allocations();
    for (int i = 0; i < 10; ++i) t.step();
    const int64_t after = testing::allocations();
    CHECK(after == before);
  }
}
