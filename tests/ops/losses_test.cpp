#include "ops/losses.h"

#include <cmath>

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

OpCase cross_entropy_case(int64_t rows, int64_t classes, float smoothing) {
  return {.name = fmt::format("cross_entropy ({}, {}) smoothing {}", rows, classes, smoothing),
          .inputs = {{.shape = Shape{rows, classes}, .low = -4, .high = 4},
                     {.shape = Shape{rows}, .labels = int(classes)}},
          .record =
              [=](Graph&, const std::vector<Tensor>& x) {
                return std::vector{cross_entropy(x[0], x[1], {.label_smoothing = smoothing})};
              },
          .oracle =
              [=](const std::vector<Array>& x) {
                const double s = double(smoothing);
                Array loss(Shape{1});
                for (int64_t r = 0; r < rows; ++r) {
                  double total = 0;
                  for (int64_t k = 0; k < classes; ++k) total += std::exp(x[0].at(r, k));
                  for (int64_t k = 0; k < classes; ++k) {
                    const double target = s / double(classes) + (k == int64_t(x[1].v[size_t(r)]) ? 1 - s : 0);
                    loss.v[0] -= target * (x[0].at(r, k) - std::log(total)) / double(rows);
                  }
                }
                return std::vector{loss};
              }};
}

OpCase regression_case(std::string name, Tensor (*op)(Tensor, Tensor), double (*term)(double, double),
                       bool targets_too) {
  return {.name = std::move(name),
          .inputs = {{.shape = Shape{17, 3}, .low = 0.5, .high = 3},
                     {.shape = Shape{17, 3}, .low = 0.5, .high = 3, .differentiable = targets_too}},
          .record = [op](Graph&, const std::vector<Tensor>& x) { return std::vector{op(x[0], x[1])}; },
          .oracle =
              [term](const std::vector<Array>& x) {
                Array y(Shape{1});
                for (size_t i = 0; i < x[0].v.size(); ++i)
                  y.v[0] += term(x[0].v[i], x[1].v[i]) / double(x[0].v.size());
                return std::vector{y};
              }};
}

struct Labelled {
  Graph graph;
  Tensor logits, labels;
  Labelled(Shape shape, const std::vector<float>& x, const std::vector<int32_t>& y) {
    Storage s = Storage::create(shape), t = Storage::create({shape[0]}, DType::i32);
    s.upload(std::span<const float>(x));
    t.upload(std::span<const int32_t>(y));
    logits = graph.leaf(s);
    labels = graph.leaf(t);
  }
};

}  // namespace

TEST_CASE("cross_entropy: matches the oracle with and without label smoothing", "[ops][losses]") {
  for (float smoothing : {0.f, 0.1f, 0.9f})
    for (auto [rows, classes] : {std::pair{1, 2}, std::pair{7, 10}, std::pair{64, 3}, std::pair{130, 101}})
      check(cross_entropy_case(rows, classes, smoothing));
}

TEST_CASE("cross_entropy: finite for extreme logits", "[ops][losses]") {
  Labelled c({3, 2}, {1e30f, -1e30f, 500, 501, -1e4f, -1e4f}, {0, 0, 1});
  Storage loss = c.graph.bind_output(cross_entropy(c.logits, c.labels));
  compile(c.graph, {.debug = true}).run();
  CHECK(loss.item() == Approx((0 + std::log1p(std::exp(1.0)) + std::log(2.0)) / 3));
}

TEST_CASE("cross_entropy: a label that is no class throws when the program runs", "[ops][losses]") {
  for (int32_t label : {2, -1}) {
    Labelled c({3, 2}, std::vector<float>(6), {0, 1, label});
    c.graph.bind_output(cross_entropy(c.logits, c.labels));
    Program p = compile(c.graph);
    CHECK_THROWS_WITH(
        p.run(), ContainsSubstring(fmt::format("[cross_entropy] label {} of row 2 is not in [0, 2)", label)));
  }
}

TEST_CASE("count_correct: the first largest logit decides", "[ops][losses]") {
  Labelled c({4, 3}, {1, 2, 0, 5, 5, 5, 0, 0, 1, 3, 2, 3}, {1, 0, 0, 2});
  Storage correct = c.graph.bind_output(count_correct(c.logits, c.labels));
  compile(c.graph).run();
  CHECK(correct.item() == 2);
  CHECK_THROWS_WITH(gradients(count_correct(c.logits, c.labels), std::vector{c.logits}),
                    ContainsSubstring("[count_correct] has no gradient"));
}

TEST_CASE("regression losses: match the oracle", "[ops][losses]") {
  check(regression_case(
      "mse_loss", mse_loss, [](double p, double t) { return (p - t) * (p - t); }, true));
  check(regression_case(
      "relative_error_loss", relative_error_loss, [](double p, double t) { return std::fabs(p - t) / t; },
      false));
  check(regression_case(
      "relative_squared_loss", relative_squared_loss,
      [](double p, double t) { return (p - t) * (p - t) / (t * t); }, false));
}

TEST_CASE("relative_error_loss: no pull where the prediction is exact", "[ops][losses]") {
  Graph g;
  Storage s = Storage::create({2}), t = Storage::create({2}), d = Storage::create({2});
  s.upload(std::vector<float>{2, 3});
  t.upload(std::vector<float>{2, 4});
  Tensor p = g.leaf(s);
  gradients(relative_error_loss(p, g.leaf(t)), std::vector{p}, {.into = {d}});
  compile(g).run();
  CHECK(d.to_vector() == std::vector<float>{0, -0.125f});
}

TEST_CASE("losses: operands that do not fit are refused", "[ops][losses]") {
  Graph g;
  Tensor logits = g.leaf(Storage::create({4, 3})), labels = g.leaf(Storage::create({5}, DType::i32));
  Tensor floats = g.leaf(Storage::create({4})), fitting = g.leaf(Storage::create({4}, DType::i32));
  CHECK_THROWS_WITH(cross_entropy(logits, labels), ContainsSubstring("logits have 4 rows, labels shape (5)"));
  CHECK_THROWS_WITH(cross_entropy(logits, floats), ContainsSubstring("expected i32 class numbers"));
  CHECK_THROWS_WITH(cross_entropy(floats, fitting), ContainsSubstring("expected (N, classes)"));
  CHECK_THROWS_WITH(cross_entropy(logits, fitting, {.label_smoothing = 1}),
                    ContainsSubstring("not in [0, 1)"));
  CHECK_THROWS_WITH(count_correct(logits, labels), ContainsSubstring("[count_correct]"));
  CHECK_THROWS_WITH(mse_loss(logits, floats),
                    ContainsSubstring("[mse_loss] p has shape (4, 3), t has shape (4)"));
  CHECK_THROWS_WITH(gradients(relative_error_loss(floats, scale(floats, 2)), std::vector{floats}),
                    ContainsSubstring("[relative_error_loss] has no gradient for its targets"));
}
