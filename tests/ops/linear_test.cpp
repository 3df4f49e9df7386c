#include "ops/linear.h"

#include <algorithm>

#include "core/error.h"
#include "ops/arithmetic.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// y[r][k] of x = in[0], w = in[1] and, where there is one, the bias in[bias].
double output_at(const std::vector<Array>& in, size_t bias, int64_t r, int64_t k, bool relu_input = false) {
  double sum = in.size() > bias ? in[bias].v[size_t(k)] : 0;
  for (int64_t f = 0; f < in[0].shape[1]; ++f) {
    const double x = in[0].at(r, f);
    sum += (relu_input ? std::max(x, 0.0) : x) * in[1].at(k, f);
  }
  return sum;
}

// sparse: one entry of x in seven is not zero.
void check_linear(int64_t batch, int64_t features, int64_t outputs, bool with_bias, bool sparse = false) {
  OpCase c{.name = fmt::format("batch {} features {} outputs {} bias {} sparse {}", batch, features, outputs,
                               with_bias, sparse),
           .inputs = {{.shape = {batch, features}, .every = sparse ? 7 : 1}, {.shape = {outputs, features}}},
           .record =
               [](Graph&, const std::vector<Tensor>& in) {
                 return std::vector{linear(in[0], in[1], in.size() > 2 ? in[2] : Tensor{})};
               },
           .oracle =
               [](const std::vector<Array>& in) {
                 Array y(Shape{in[0].shape[0], in[1].shape[0]});
                 for (int64_t r = 0; r < y.shape[0]; ++r)
                   for (int64_t k = 0; k < y.shape[1]; ++k) y.at(r, k) = output_at(in, 2, r, k);
                 return std::vector{y};
               }};
  if (with_bias) c.inputs.push_back({.shape = {outputs}});
  check(c);
}

// mask * linear(x).
void check_masked(const std::string& name, const OpInput& x, const OpInput& mask, LinearDesc desc,
                  bool with_bias) {
  const int64_t batch = x.shape[0], features = x.shape[1], outputs = mask.shape[1];
  OpCase c{.name = fmt::format("batch {} features {} outputs {} bias {}, {}", batch, features, outputs,
                               with_bias, name),
           .inputs = {x, {.shape = {outputs, features}}, mask},
           .record =
               [desc](Graph&, const std::vector<Tensor>& in) {
                 const Tensor bias = in.size() > 3 ? in[3] : Tensor{};
                 return std::vector{mul(linear(in[0], in[1], bias, desc), in[2])};
               },
           .oracle =
               [desc](const std::vector<Array>& in) {
                 Array y(in[2].shape);
                 for (int64_t r = 0; r < y.shape[0]; ++r)
                   for (int64_t k = 0; k < y.shape[1]; ++k)
                     y.at(r, k) = output_at(in, 3, r, k, desc.relu_input) * in[2].at(r, k);
                 return std::vector{y};
               }};
  if (with_bias) c.inputs.push_back({.shape = {outputs}});
  check(c);
}

// One entry in `every` of x, and every second of the mask, is not zero.
void check_between_zeros(int64_t batch, int64_t features, int64_t outputs, bool with_bias, int every = 2) {
  check_masked(fmt::format("one in {} of x", every), {.shape = {batch, features}, .every = every},
               {.shape = {batch, outputs}, .every = 2}, {}, with_bias);
}

// Through ReLU, of x in [low, 1), which has no entry at its kink; with and without zeros in the output's
// gradient.
void check_relu_input(int64_t batch, int64_t features, int64_t outputs, float low = -1) {
  for (const int every : {1, 2})
    check_masked(fmt::format("ReLU of x from {} on, one in {} of the gradient", low, every),
                 {.shape = {batch, features}, .low = low}, {.shape = {batch, outputs}, .every = every},
                 {.relu_input = true}, every == 1);
}

}  // namespace

TEST_CASE("linear: forward and backward match the double oracle", "[ops][linear]") {
  for (bool bias : {false, true}) {
    check_linear(1, 1, 1, bias);
    check_linear(3, 5, 7, bias);
    check_linear(1, 256, 10, bias);
    check_linear(64, 64, 10, bias);
    check_linear(13, 130, 67, bias);
    check_linear(33, 17, 129, bias);
    check_linear(2, 600, 4, bias);
    check_linear(70, 33, 64, bias);
  }
}

TEST_CASE("linear: inputs that are mostly zero, like encoded architectures", "[ops][linear]") {
  for (bool bias : {false, true}) {
    check_linear(64, 224, 64, bias, true);
    check_linear(21, 30, 48, bias, true);
    check_linear(19, 35, 20, bias, true);
  }
  check_linear(140, 70, 512, false, true);  // more rows of d_y than the weights' gradient takes at a time
}

TEST_CASE("linear: half of the input and of the output's gradient is zero, as around ReLU", "[ops][linear]") {
  for (bool bias : {false, true}) {
    check_between_zeros(64, 130, 256, bias);
    check_between_zeros(150, 96, 80, bias);  // panels of unequal width; the batch ends within a vector
    check_between_zeros(17, 48, 208, bias);
    check_between_zeros(40, 35, 64, bias);
    check_between_zeros(64, 144, 256, bias, 4);  // the weights' gradient by x's zeros
    check_between_zeros(150, 96, 80, bias, 3);
  }
}

TEST_CASE("linear: x read through ReLU, small and odd sizes", "[ops][linear]") {
  check_relu_input(1, 1, 1);
  check_relu_input(3, 5, 7);
  check_relu_input(2, 100, 32);  // few rows
  check_relu_input(13, 130, 67);
  check_relu_input(70, 33, 64);
  check_relu_input(40, 35, 64, -3);
  check_relu_input(21, 30, 48, -9);
  check_relu_input(19, 35, 20, -9);
  check_relu_input(150, 96, 1);  // one output: d_w sums over panels of rows of x
  check_relu_input(150, 75, 3);
}

TEST_CASE("linear: half of x is positive, or little or most of it, and it is read through ReLU",
          "[ops][linear]") {
  for (const float low : {-9.f, -3.f, -1.f, -0.25f})  // a tenth, quarter, half, four fifths are positive
    check_relu_input(150, 96, 80, low);
  check_relu_input(17, 48, 208);
  check_relu_input(64, 144, 256, -3);
  check_relu_input(64, 130, 256, -0.25f);
}

TEST_CASE("linear: shapes that do not fit are refused with the remedy", "[ops][linear]") {
  Graph graph;
  auto leaf = [&](Shape s) { return graph.leaf(Storage::create(s)); };
  CHECK_THROWS_WITH(linear(leaf({2, 3}), leaf({4, 5})),
                    ContainsSubstring("[linear] weight (4, 5) expects 5 features, x (2, 3) has 3"));
  CHECK_THROWS_WITH(linear(leaf({2, 3, 1, 1}), leaf({4, 3})), ContainsSubstring("reshape() flattens"));
  CHECK_THROWS_WITH(linear(leaf({2, 3}), leaf({4, 3}), leaf({3})), ContainsSubstring("bias (3) must be (4)"));
  CHECK_THROWS_WITH(linear(leaf({2, 3}), Tensor{}), ContainsSubstring("one of them is empty"));
}
