#include "ops/flat.h"

#include <cmath>

#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

TEST_CASE("flat: copy and axpy change their target in place", "[ops][flat]") {
  Graph g(test_device());
  Storage x = test_storage({100'003}), y = test_storage({100'003}), saved = test_storage({100'003}),
          c = test_storage({1});
  std::vector<float> values(100'003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i % 17);
  x.upload(std::span<const float>(values));
  c.set(-0.5f);
  flat_copy(g.leaf(saved), g.leaf(y));
  flat_axpy(g.leaf(y), g.leaf(x), g.leaf(c));
  std::vector<float> halves = values;
  for (float& v : halves) v *= 0.5f;
  for (int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    y.upload(std::span<const float>(values));
    saved.zero();
    compile(g, {.pool = &pool}).run();
    CHECK(saved.to_vector() == values);
    CHECK(y.to_vector() == halves);
  }
}

TEST_CASE("flat: a step has the length asked for, and no length along nothing", "[ops][flat]") {
  Graph g(test_device());
  Storage x = test_storage({1003}), y = test_storage({1003}), length = test_storage({1});
  const Tensor along = g.leaf(x);
  flat_step(g.leaf(y), along, flat_norm(along), g.leaf(length));
  Program p = compile(g);
  length.set(-0.5f);
  p.run();
  CHECK(y.to_vector() == std::vector<float>(1003, 0.f));
  std::vector<float> values(1003);
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i % 17) - 5;
  x.upload(std::span<const float>(values));
  p.run();
  const std::vector<float> moved = y.to_vector();
  double product = 0, square = 0, norm = 0;
  for (size_t i = 0; i < moved.size(); ++i) {
    product += double(moved[i]) * values[i];
    square += double(moved[i]) * moved[i];
    norm += double(values[i]) * values[i];
  }
  CHECK(std::sqrt(square) == Approx(0.5));
  CHECK(product == Approx(-0.5 * std::sqrt(norm)));
}

TEST_CASE("flat: sizes that differ are refused", "[ops][flat]") {
  Graph g(test_device());
  const Tensor a = g.leaf(test_storage({3})), b = g.leaf(test_storage({4}));
  CHECK_THROWS_WITH(flat_copy(a, b), ContainsSubstring("[flat_copy] sizes differ"));
  CHECK_THROWS_WITH(flat_axpy(a, Tensor{}, a), ContainsSubstring("[flat_axpy] the source is empty"));
}

TEST_CASE("flat: norm matches the double oracle", "[ops][flat]") {
  check({.name = "flat_norm",
         .inputs = {{.shape = {200'001}}},
         .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{flat_norm(x[0])}; },
         .oracle =
             [](const std::vector<Array>& x) {
               Array y(Shape{1});
               for (double v : x[0].v) y.v[0] += v * v;
               y.v[0] = std::sqrt(y.v[0]);
               return std::vector{y};
             },
         .gradients = false});
}
