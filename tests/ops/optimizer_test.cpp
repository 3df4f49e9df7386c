#include "ops/optimizer.h"

#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

using Doubles = std::vector<double>;

std::vector<float> random_values(int64_t n, uint64_t seed) {
  Random random(seed);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& e : v) e = random.uniform(-1, 1);
  return v;
}

Storage vector_of(const std::vector<float>& v) {
  Storage s = test_storage({int64_t(v.size())});
  s.upload(std::span<const float>(v));
  return s;
}

void compare(const Storage& got, const Doubles& expected) {
  const auto v = got.to_vector();
  double worst = 0;  // in units of the tolerance
  for (size_t i = 0; i < v.size(); ++i)
    worst = std::max(worst, std::fabs(v[i] - expected[i]) / (2e-6 + 1e-5 * std::fabs(expected[i])));
  CHECK(worst < 1);
}

constexpr int64_t kCount = 70001;  // several tasks and a ragged end
constexpr int kSteps = 5;

}  // namespace

TEST_CASE("sgd_update: momentum, weight decay and a changing rate follow PyTorch's formula",
          "[ops][optimizer]") {
  for (float decay : {0.f, 0.05f})
    for (float momentum : {0.f, 0.9f}) {
      Graph g(test_device());
      Storage value = vector_of(random_values(kCount, 1)), grad = test_storage({kCount});
      Storage buf = test_storage({kCount}), lr = test_storage({1});
      sgd_update(g.leaf(value), g.leaf(grad), g.leaf(buf), g.leaf(lr), {momentum, decay});
      Program p = compile(g);
      const auto start = value.to_vector();
      Doubles w(start.begin(), start.end()), b(w.size(), 0.0);
      for (int step = 0; step < kSteps; ++step) {
        const auto d = random_values(kCount, uint64_t(10 + step));
        const float rate = 0.1f / float(1 + step);
        grad.upload(std::span<const float>(d));
        lr.set(rate);
        p.run();
        for (size_t i = 0; i < w.size(); ++i) {
          b[i] = double(momentum) * b[i] + (double(d[i]) + double(decay) * w[i]);
          w[i] -= double(rate) * b[i];
        }
      }
      compare(value, w);
      compare(buf, b);
    }
}

TEST_CASE("adam_update: bias correction and weight decay follow PyTorch's formula", "[ops][optimizer]") {
  for (AdamDesc desc : {AdamDesc{}, AdamDesc{.beta1 = 0.5f, .beta2 = 0.999f, .weight_decay = 1e-3f},
                        AdamDesc{.beta1 = 0, .beta2 = 0.5f, .eps = 0.1f}}) {
    Graph g(test_device());
    Storage value = vector_of(random_values(kCount, 2)), grad = test_storage({kCount});
    Storage m = test_storage({kCount}), v = test_storage({kCount});
    Storage steps = test_storage({1}), lr = test_storage({1});
    adam_update(g.leaf(value), g.leaf(grad), g.leaf(m), g.leaf(v), g.leaf(steps), g.leaf(lr), desc);
    Program p = compile(g);
    const double b1 = double(desc.beta1), b2 = double(desc.beta2);
    const auto start = value.to_vector();
    Doubles w(start.begin(), start.end()), em(w.size(), 0.0), ev(w.size(), 0.0);
    for (int step = 1; step <= kSteps; ++step) {
      const auto d = random_values(kCount, uint64_t(20 + step));
      const float rate = 0.01f * float(step);
      grad.upload(std::span<const float>(d));
      lr.set(rate);
      p.run();
      for (size_t i = 0; i < w.size(); ++i) {
        const double e = double(d[i]) + double(desc.weight_decay) * w[i];
        em[i] = b1 * em[i] + (1 - b1) * e;
        ev[i] = b2 * ev[i] + (1 - b2) * e * e;
        const double root = std::sqrt(ev[i]) / std::sqrt(1 - std::pow(b2, step)) + double(desc.eps);
        w[i] -= double(rate) / (1 - std::pow(b1, step)) * em[i] / root;
      }
    }
    compare(value, w);
    compare(m, em);
    compare(v, ev);
    CHECK(steps.item() == kSteps);
  }
}

TEST_CASE("clip_norm: scales only what is too long, and reports the length before", "[ops][optimizer]") {
  const auto start = random_values(kCount, 3);
  double norm = 0;
  for (float d : start) norm += double(d) * double(d);
  norm = std::sqrt(norm);
  for (float limit : {5.f, 1000.f}) {
    Graph g(test_device());
    Storage grad = vector_of(start);
    Storage out = g.bind_output(clip_norm(g.leaf(grad), limit));
    compile(g).run();
    CHECK(out.item() == Approx(norm).epsilon(1e-6));
    if (double(limit) > norm) {
      CHECK(grad.to_vector() == start);
      continue;
    }
    const double factor = double(limit) / (norm + 1e-6);
    Doubles expected(start.begin(), start.end());
    for (double& e : expected) e *= factor;
    compare(grad, expected);
  }
}

TEST_CASE("clip_norm: a gradient of zeros stays zero", "[ops][optimizer]") {
  Graph g(test_device());
  Storage grad = test_storage({100});
  Storage norm = g.bind_output(clip_norm(g.leaf(grad), 1));
  compile(g, {.debug = true}).run();
  CHECK(norm.item() == 0);
  CHECK(grad.to_vector() == std::vector<float>(100, 0.f));
}

TEST_CASE("optimizer: the same bits for any number of threads", "[ops][optimizer]") {
  auto run = [](int threads) {
    ThreadPool pool(threads);
    Graph g(test_device());
    Storage value = vector_of(random_values(kCount, 5)), grad = vector_of(random_values(kCount, 6));
    Storage m = test_storage({kCount}), v = test_storage({kCount});
    Storage steps = test_storage({1}), lr = test_storage({1});
    lr.set(0.1f);
    clip_norm(g.leaf(grad), 3);
    sgd_update(g.leaf(value), g.leaf(grad), g.leaf(m), g.leaf(lr), {.weight_decay = 0.1f});
    adam_update(g.leaf(value), g.leaf(grad), g.leaf(m), g.leaf(v), g.leaf(steps), g.leaf(lr));
    Program p = compile(g, {.pool = &pool});
    for (int i = 0; i < 3; ++i) p.run();
    return value.to_vector();
  };
  const auto one = run(1);
  CHECK(run(2) == one);
  CHECK(run(3) == one);
}

TEST_CASE("optimizer: wrong operands are refused", "[ops][optimizer]") {
  Graph g(test_device());
  Tensor four = g.leaf(test_storage({4})), five = g.leaf(test_storage({5})), one = g.leaf(test_storage({1}));
  Tensor computed = g.add(std::make_shared<SgdUpdate>(SgdDesc{}), {}, {{Shape{4}}})[0];
  CHECK_THROWS_WITH(sgd_update(four, five, four, one),
                    ContainsSubstring("[sgd_update] value has shape (4), grad has shape (5)"));
  CHECK_THROWS_WITH(sgd_update(computed, four, four, one), ContainsSubstring("must be bound to storage"));
  CHECK_THROWS_WITH(sgd_update(four, four, four, five), ContainsSubstring("lr has shape (5)"));
  CHECK_THROWS_WITH(sgd_update(four, four, four, one, {.momentum = -1}), ContainsSubstring("momentum -1"));
  CHECK_THROWS_WITH(adam_update(four, four, four, five, one, one), ContainsSubstring("v has shape (5)"));
  CHECK_THROWS_WITH(adam_update(four, four, four, four, one, one, {.beta2 = 1}),
                    ContainsSubstring("beta2 1"));
  CHECK_THROWS_WITH(clip_norm(four, 0), ContainsSubstring("[clip_norm] max_norm 0"));
  CHECK_THROWS_WITH(clip_norm(computed, 1), ContainsSubstring("[clip_norm] grad"));
}
