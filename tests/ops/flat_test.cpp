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
