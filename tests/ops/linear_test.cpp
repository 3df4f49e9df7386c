#include "ops/linear.h"

#include "core/error.h"
#include "ops/arithmetic.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

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
                 const int64_t n = in[0].shape[0], i = in[0].shape[1], o = in[1].shape[0];
                 Array y(Shape{n, o});
                 for (int64_t r = 0; r < n; ++r)
                   for (int64_t k = 0; k < o; ++k) {
                     double sum = in.size() > 2 ? in[2].v[size_t(k)] : 0;
                     for (int64_t f = 0; f < i; ++f) sum += in[0].at(r, f) * in[1].at(k, f);
                     y.at(r, k) = sum;
                   }
                 return std::vector{y};
               }};
  if (with_bias) c.inputs.push_back({.shape = {outputs}});
  check(c);
}

// mask * linear(x): one entry in `every` of x, and every second of the mask, is not zero.
void check_between_zeros(int64_t batch, int64_t features, int64_t outputs, bool with_bias, int every = 2) {
  OpCase c{.name = fmt::format("batch {} features {} outputs {} bias {}, one in {} of x", batch, features,
                               outputs, with_bias, every),
           .inputs = {{.shape = {batch, features}, .every = every},
                      {.shape = {outputs, features}},
                      {.shape = {batch, outputs}, .every = 2}},
           .record =
               [](Graph&, const std::vector<Tensor>& in) {
                 return std::vector{mul(linear(in[0], in[1], in.size() > 3 ? in[3] : Tensor{}), in[2])};
               },
           .oracle =
               [](const std::vector<Array>& in) {
                 Array y(in[2].shape);
                 for (int64_t r = 0; r < y.shape[0]; ++r)
                   for (int64_t k = 0; k < y.shape[1]; ++k) {
                     double sum = in.size() > 3 ? in[3].v[size_t(k)] : 0;
                     for (int64_t f = 0; f < in[0].shape[1]; ++f) sum += in[0].at(r, f) * in[1].at(k, f);
                     y.at(r, k) = sum * in[2].at(r, k);
                   }
                 return std::vector{y};
               }};
  if (with_bias) c.inputs.push_back({.shape = {outputs}});
  check(c);
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

TEST_CASE("linear: shapes that do not fit are refused with the remedy", "[ops][linear]") {
  Graph graph;
  auto leaf = [&](Shape s) { return graph.leaf(Storage::create(s)); };
  CHECK_THROWS_WITH(linear(leaf({2, 3}), leaf({4, 5})),
                    ContainsSubstring("[linear] weight (4, 5) expects 5 features, x (2, 3) has 3"));
  CHECK_THROWS_WITH(linear(leaf({2, 3, 1, 1}), leaf({4, 3})), ContainsSubstring("reshape() flattens"));
  CHECK_THROWS_WITH(linear(leaf({2, 3}), leaf({4, 3}), leaf({3})), ContainsSubstring("bias (3) must be (4)"));
  CHECK_THROWS_WITH(linear(leaf({2, 3}), Tensor{}), ContainsSubstring("one of them is empty"));
}
