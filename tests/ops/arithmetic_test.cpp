#include "ops/arithmetic.h"

#include <cmath>
#include <functional>

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

const std::vector<Shape> kShapes{Shape{1}, Shape{3, 5, 7}, Shape{2, 3, 41, 13}, Shape{3, 4, 65, 67}};

Array map(const Array& a, const Array& b, const std::function<double(double, double)>& f) {
  Array y(a.shape);
  for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = f(a.v[i], b.v[i]);
  return y;
}

OpCase binary(std::string name, Shape shape, Tensor (*op)(Tensor, Tensor), double (*f)(double, double)) {
  return {.name = name + " " + shape.str(),
          .inputs = {{.shape = shape}, {.shape = shape}},
          .record = [op](Graph&, const std::vector<Tensor>& x) { return std::vector{op(x[0], x[1])}; },
          .oracle = [f](const std::vector<Array>& x) { return std::vector{map(x[0], x[1], f)}; }};
}

OpCase unary(std::string name, Shape shape, std::function<Tensor(Tensor)> op, double factor) {
  return {.name = name + " " + shape.str(),
          .inputs = {{.shape = shape}},
          .record = [op](Graph&, const std::vector<Tensor>& x) { return std::vector{op(x[0])}; },
          .oracle =
              [factor](const std::vector<Array>& x) {
                return std::vector{map(x[0], x[0], [factor](double a, double) { return factor * a; })};
              }};
}

OpCase reduction(std::string name, Shape shape, Tensor (*op)(Tensor), double factor) {
  return {.name = name + " " + shape.str(),
          .inputs = {{.shape = shape}},
          .record = [op](Graph&, const std::vector<Tensor>& x) { return std::vector{op(x[0])}; },
          .oracle =
              [factor](const std::vector<Array>& x) {
                Array y(Shape{1});
                for (double v : x[0].v) y.v[0] += factor * v;
                return std::vector{y};
              }};
}

// weights: the last input holds them; otherwise a plain sum.
OpCase sum_of(int terms, Shape shape, bool weights) {
  OpCase c{.name = fmt::format("sum of {} terms {} weights {}", terms, shape.str(), weights),
           .inputs = std::vector<OpInput>(size_t(terms), OpInput{.shape = shape}),
           .record =
               [=](Graph&, const std::vector<Tensor>& x) {
                 if (!weights) return std::vector{add_n(x)};
                 return std::vector{weighted_sum({x.begin(), x.end() - 1}, x.back())};
               },
           .oracle =
               [=](const std::vector<Array>& x) {
                 Array y(shape);
                 for (int k = 0; k < terms; ++k)
                   for (size_t i = 0; i < y.v.size(); ++i)
                     y.v[i] += x[size_t(k)].v[i] * (weights ? x.back().v[size_t(k)] : 1.0);
                 return std::vector{y};
               },
           .probes = 6};
  if (weights) c.inputs.push_back({.shape = Shape{terms}});
  return c;
}

}  // namespace

TEST_CASE("arithmetic: add, sub, mul match the oracle", "[ops][arithmetic]") {
  for (const Shape& shape : kShapes) {
    check(binary("add", shape, add, [](double a, double b) { return a + b; }));
    check(binary("sub", shape, sub, [](double a, double b) { return a - b; }));
    check(binary("mul", shape, mul, [](double a, double b) { return a * b; }));
  }
}

TEST_CASE("arithmetic: one tensor as both operands gets the gradient of both", "[ops][arithmetic]") {
  check(binary(
      "add to itself", {5, 7}, [](Tensor a, Tensor) { return add(a, a); },
      [](double a, double) { return 2 * a; }));
  check(binary(
      "square", {5, 7}, [](Tensor a, Tensor) { return mul(a, a); }, [](double a, double) { return a * a; }));
  check(binary(
      "from itself", {5, 7}, [](Tensor a, Tensor) { return sub(a, a); }, [](double, double) { return 0.0; }));
}

TEST_CASE("arithmetic: scale, reshape and reductions match the oracle", "[ops][arithmetic]") {
  for (const Shape& shape : kShapes) {
    check(unary(
        "scale", shape, [](Tensor x) { return scale(x, -1.75f); }, -1.75));
    check(reduction("sum_all", shape, sum_all, 1));
    check(reduction("mean_all", shape, mean_all, 1 / double(shape.elements())));
    check({.name = "scale_by " + shape.str(),
           .inputs = {{.shape = shape}, {.shape = Shape{1}}},
           .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{scale_by(x[0], x[1])}; },
           .oracle =
               [](const std::vector<Array>& x) {
                 return std::vector{map(x[0], x[0], [&](double a, double) { return a * x[1].v[0]; })};
               },
           .rtol = 1e-3,  // the gradient of s sums 50,000 terms of either sign
           .atol = 1e-4});
  }
  check({.name = "reshape",
         .inputs = {{.shape = Shape{4, 3, 5}}},
         .record =
             [](Graph&, const std::vector<Tensor>& x) {
               return std::vector{scale(reshape(x[0], {6, 10}), 2)};
             },
         .oracle =
             [](const std::vector<Array>& x) {
               Array y(Shape{6, 10});
               for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = 2 * x[0].v[i];
               return std::vector{y};
             }});
}

TEST_CASE("arithmetic: sums of many tensors match the oracle", "[ops][arithmetic]") {
  for (bool weights : {false, true}) {
    for (int terms : {1, 2, 3, 4, 5, 8, 40}) check(sum_of(terms, {2, 3, 5, 7}, weights));
    for (int terms : {3, 9}) check(sum_of(terms, {2, 3, 61, 67}, weights));
  }
}

TEST_CASE("weighted_sum: the same tensor as several terms", "[ops][arithmetic]") {
  check({.name = "repeated terms",
         .inputs = {{.shape = Shape{4, 9}}, {.shape = Shape{3}}},
         .record =
             [](Graph&, const std::vector<Tensor>& x) {
               return std::vector{weighted_sum({x[0], x[0], x[0]}, x[1])};
             },
         .oracle =
             [](const std::vector<Array>& x) {
               return std::vector{map(
                   x[0], x[0], [&](double a, double) { return a * (x[1].v[0] + x[1].v[1] + x[1].v[2]); })};
             }});
}

TEST_CASE("sum_all: keeps its digits over a million elements", "[ops][arithmetic]") {
  Graph g;
  Storage s = Storage::create({1000, 1000});
  s.upload(std::span<const float>(std::vector<float>(1000000, 0.1f)));
  Storage out = g.bind_output(sum_all(g.leaf(s)));
  compile(g).run();
  CHECK(out.item() == Approx(1e6 * double(0.1f)).epsilon(1e-6));
}

TEST_CASE("arithmetic: operands that do not fit are refused", "[ops][arithmetic]") {
  Graph g;
  Tensor a = g.leaf(Storage::create({2, 3})), b = g.leaf(Storage::create({3, 2}));
  Tensor labels = g.leaf(Storage::create({2, 3}, DType::i32));
  CHECK_THROWS_WITH(add(a, b), ContainsSubstring("[add] a has shape (2, 3), b has shape (3, 2)"));
  CHECK_THROWS_WITH(mul(a, labels), ContainsSubstring("[mul] b holds i32 values"));
  CHECK_THROWS_WITH(sub(a, {}), ContainsSubstring("[sub] b is empty"));
  CHECK_THROWS_WITH(scale_by(a, b), ContainsSubstring("[scale_by] s has shape (3, 2); expected one element"));
  CHECK_THROWS_WITH(add_n({}), ContainsSubstring("[add_n] needs at least one tensor"));
  CHECK_THROWS_WITH(add_n({a, a, b}), ContainsSubstring("x[2] has shape (3, 2)"));
  CHECK_THROWS_WITH(weighted_sum({a, a}, b),
                    ContainsSubstring("[weighted_sum] 2 tensors, but weights of shape (3, 2)"));
  CHECK_THROWS_WITH(reshape(a, {7}), ContainsSubstring("[reshape] x of shape (2, 3)"));
}
