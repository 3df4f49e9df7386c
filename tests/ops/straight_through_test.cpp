#include "ops/straight_through.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// By sorting.
std::vector<double> largest(const double* x, size_t n, size_t keep) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] > x[b]; });
  std::vector<double> y(n);
  for (size_t i = 0; i < std::min(n, keep); ++i) y[order[i]] = 1;
  return y;
}

}  // namespace

TEST_CASE("keep_largest: marks what sorting puts first, in groups and in rows", "[ops][straight_through]") {
  std::vector<int> many;
  for (int i = 0; i < 150; ++i) many.push_back(1 + i % 5);  // more than a launch takes
  for (const std::vector<int>& groups : {std::vector<int>{2, 3, 4, 5}, {1}, many})
    for (const int keep : {1, 2, 3}) {
      const int64_t total = std::accumulate(groups.begin(), groups.end(), int64_t(0));
      check({.name = fmt::format("{} groups, keep {}", groups.size(), keep),
             .inputs = {{.shape = {total}}},
             .record =
                 [&](Graph&, const std::vector<Tensor>& x) {
                   return std::vector{keep_largest(x[0], groups, keep)};
                 },
             .oracle =
                 [&](const std::vector<Array>& x) {
                   Array y(Shape{total});
                   size_t at = 0;
                   for (const int n : groups) {
                     const auto marked = largest(&x[0].v[at], size_t(n), size_t(keep));
                     std::copy(marked.begin(), marked.end(), y.v.begin() + long(at));
                     at += size_t(n);
                   }
                   return std::vector{y};
                 },
             .gradients = false});
    }
  check(
      {.name = "rows",
       .inputs = {{.shape = {9, 7}}},
       .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{keep_largest(x[0], {}, 1)}; },
       .oracle =
           [](const std::vector<Array>& x) {
             Array y(Shape{9, 7});
             for (size_t r = 0; r < 9; ++r) {
               const auto marked = largest(&x[0].v[r * 7], 7, 1);
               std::copy(marked.begin(), marked.end(), y.v.begin() + long(r * 7));
             }
             return std::vector{y};
           },
       .gradients = false});
}

TEST_CASE("keep_largest: among equals the first", "[ops][straight_through]") {
  Graph g(test_device());
  const Storage x = test_storage({5});
  x.upload(std::span<const float>(std::vector<float>{1, 3, 3, 3, 2}));
  const Storage y = g.bind_output(keep_largest(g.leaf(x), {5}, 2));
  compile(g).run();
  CHECK(y.to_vector() == std::vector<float>{0, 1, 1, 0, 0});
}

TEST_CASE("straight_through: forward it is hard, its gradient is soft's", "[ops][straight_through]") {
  check({.name = "forward",
         .inputs = {{.shape = {3, 4}}, {.shape = {3, 4}}},
         .record = [](Graph&,
                      const std::vector<Tensor>& x) { return std::vector{straight_through(x[0], x[1])}; },
         .oracle = [](const std::vector<Array>& x) { return std::vector{x[0]}; },
         .gradients = false});
  // y = (hard copy of the largest of x) * w: to x goes w, as if x were the result.
  Graph g(test_device());
  const Storage x = test_storage({4}), w = test_storage({4}), d_x = test_storage({4});
  x.upload(std::span<const float>(std::vector<float>{0.1f, 0.7f, 0.2f, 0.3f}));
  w.upload(std::span<const float>(std::vector<float>{2, 3, 5, 7}));
  const Tensor soft = g.leaf(x);
  const Tensor loss = sum_all(mul(straight_through(keep_largest(soft, {4}, 1), soft), g.leaf(w)));
  const Storage value = g.bind_output(loss);
  gradients(loss, std::vector{soft}, {.into = {d_x}});
  compile(g, {.debug = true}).run();
  CHECK(value.item() == 3);
  CHECK(d_x.to_vector() == w.to_vector());
}

TEST_CASE("straight_through: impossible operands are refused", "[ops][straight_through]") {
  Graph g(test_device());
  const Tensor x = g.leaf(test_storage({4})), y = g.leaf(test_storage({2, 2}));
  CHECK_THROWS_WITH(straight_through(x, y), ContainsSubstring("they must be equal"));
  CHECK_THROWS_WITH(keep_largest(x, {3}, 1), ContainsSubstring("groups of 3 items"));
  CHECK_THROWS_WITH(keep_largest(x, {4}, 0), ContainsSubstring("keep is 0"));
  CHECK_THROWS_WITH(gradients(sum_all(keep_largest(x, {4}, 1)), std::vector{x}),
                    ContainsSubstring("keep_largest"));
}
