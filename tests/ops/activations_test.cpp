#include "ops/activations.h"

#include <cmath>

#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

OpCase elementwise(std::string name, Shape shape, Tensor (*op)(Tensor), double (*f)(double),
                   double low = -2) {
  return {.name = std::move(name),
          .inputs = {{.shape = shape, .low = float(low), .high = 2}},
          .record = [op](Graph&, const std::vector<Tensor>& x) { return std::vector{op(x[0])}; },
          .oracle =
              [f](const std::vector<Array>& x) {
                Array y(x[0].shape);
                for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = f(x[0].v[i]);
                return std::vector{y};
              }};
}

}  // namespace

TEST_CASE("activations: forward and backward match the double oracle", "[ops][activations]") {
  for (Shape shape : {Shape{1}, Shape{3, 5, 7}, Shape{2, 3, 65, 129}}) {
    check(elementwise("relu", shape, relu, [](double x) { return x > 0 ? x : 0.0; }));
    check(elementwise("sigmoid", shape, sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }));
    check(elementwise("tanh", shape, ladarts::tanh, [](double x) { return std::tanh(x); }));
    check(elementwise("exp", shape, ladarts::exp, [](double x) { return std::exp(x); }));
    check(elementwise(
        "log", shape, ladarts::log, [](double x) { return std::log(x); }, 0.1));
  }
}
