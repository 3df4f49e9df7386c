#include "ops/dropout.h"

#include <cmath>

#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

float number(const RandomState& s, uint32_t stream, uint64_t i) {
  return uniform01(philox(s.seed(), s.step(), uint64_t(stream + 0x80000000u) << 32 | i / 4)[i % 4]);
}

Storage ones(Shape shape) {
  Storage s = test_storage(shape);
  s.upload(std::span<const float>(std::vector<float>(size_t(shape.elements()), 1.f)));
  return s;
}

}  // namespace

TEST_CASE("dropout: the mask is that of Philox, forward and backward", "[ops][dropout]") {
  RandomState state(0x123456789abcdefu, test_device());
  state.set_step(0x100000005u);
  for (Shape shape : {Shape{1}, Shape{3, 5, 7}, Shape{2, 3, 121, 113}})
    for (float rate : {0.f, 0.3f, 0.9f})
      check(
          {.name = fmt::format("dropout {} rate {}", shape.str(), rate),
           .inputs = {{.shape = shape}},
           .record = [&](Graph&,
                         const std::vector<Tensor>& x) { return std::vector{dropout(x[0], rate, state, 7)}; },
           .oracle =
               [&](const std::vector<Array>& x) {
                 Array y(shape);
                 for (size_t i = 0; i < y.v.size(); ++i)
                   y.v[i] = number(state, 7, i) >= rate ? x[0].v[i] / (1 - double(rate)) : 0.0;
                 return std::vector{y};
               },
           .probes = 5});
}

TEST_CASE("drop_path: one factor a sample, forward and backward", "[ops][dropout]") {
  RandomState state(99, test_device());
  Storage rate = test_storage({1});
  for (Shape shape : {Shape{9}, Shape{11, 3, 5, 5}, Shape{64, 4, 32, 32}})
    for (float r : {0.f, 0.2f, 0.75f}) {
      rate.set(r);
      check({.name = fmt::format("drop_path {} rate {}", shape.str(), r),
             .inputs = {{.shape = shape}},
             .record =
                 [&](Graph& g, const std::vector<Tensor>& x) {
                   return std::vector{drop_path(x[0], g.leaf(rate), state, 3)};
                 },
             .oracle =
                 [&](const std::vector<Array>& x) {
                   Array y(shape);
                   const size_t size = y.v.size() / size_t(shape[0]);
                   for (size_t i = 0; i < y.v.size(); ++i)
                     y.v[i] = number(state, 3, i / size) >= r ? x[0].v[i] / (1 - double(r)) : 0.0;
                   return std::vector{y};
                 },
             .probes = 5});
    }
}

TEST_CASE("drop_path: a rate of one drops everything", "[ops][dropout]") {
  RandomState state(4, test_device());
  Graph g(test_device());
  Storage rate = test_storage({1});
  rate.set(1);
  Storage y = g.bind_output(drop_path(g.leaf(ones({8, 3})), g.leaf(rate), state, 0));
  compile(g, {.debug = true}).run();
  CHECK(y.to_vector() == std::vector<float>(24, 0.f));
}

TEST_CASE("dropout: drops its rate and keeps the mean, anew at each step and stream", "[ops][dropout]") {
  constexpr int64_t kCount = 200000;
  RandomState state(5, test_device());
  Graph g(test_device());
  Tensor x = g.leaf(ones({kCount}));
  Storage a = g.bind_output(dropout(x, 0.3f, state, 0)), b = g.bind_output(dropout(x, 0.3f, state, 1));
  Program p = compile(g);
  p.run();
  const auto first = a.to_vector(), other = b.to_vector();
  state.advance();
  p.run();
  const auto second = a.to_vector();
  int64_t dropped = 0, both_streams = 0, both_steps = 0, neither = 0;
  for (size_t i = 0; i < size_t(kCount); ++i) {
    dropped += first[i] == 0;
    both_streams += first[i] == 0 && other[i] == 0;
    both_steps += first[i] == 0 && second[i] == 0;
    neither += first[i] != 0 && std::fabs(double(first[i]) - 1 / 0.7) > 1e-6;
  }
  CHECK(neither == 0);
  // Binomial: five standard deviations.
  const double n = double(kCount);
  CHECK(std::fabs(double(dropped) - 0.3 * n) < 5 * std::sqrt(n * 0.3 * 0.7));
  CHECK(std::fabs(double(both_streams) - 0.09 * n) < 5 * std::sqrt(n * 0.09 * 0.91));
  CHECK(std::fabs(double(both_steps) - 0.09 * n) < 5 * std::sqrt(n * 0.09 * 0.91));
}

TEST_CASE("drop_path: drops its rate over samples", "[ops][dropout]") {
  constexpr int64_t kSamples = 100000;
  RandomState state(6, test_device());
  Graph g(test_device());
  Storage rate = test_storage({1});
  Storage y = g.bind_output(drop_path(g.leaf(ones({kSamples})), g.leaf(rate), state, 2));
  Program p = compile(g);
  for (float r : {0.1f, 0.3f}) {  // the same program at another rate
    rate.set(r);
    p.run();
    int64_t dropped = 0;
    for (float v : y.to_vector()) dropped += v == 0;
    const double n = double(kSamples), q = double(r);
    CHECK(std::fabs(double(dropped) - q * n) < 5 * std::sqrt(n * q * (1 - q)));
  }
}

TEST_CASE("RandomState: copies share the memory that programs read", "[ops][dropout]") {
  RandomState a(0xfedcba9876543210u), b = a;
  a.set_step(0xffffffffu);
  b.advance();
  CHECK(a.step() == 0x100000000u);
  CHECK(a.seed() == 0xfedcba9876543210u);
}

TEST_CASE("dropout: impossible rates and streams are refused", "[ops][dropout]") {
  Graph g(test_device());
  RandomState state(1, test_device());
  Tensor x = g.leaf(test_storage({4})), rate = g.leaf(test_storage({1}));
  CHECK_THROWS_WITH(dropout(x, 1.f, state, 0), ContainsSubstring("[dropout] rate 1 is not in [0, 1)"));
  CHECK_THROWS_WITH(dropout(x, -0.1f, state, 0), ContainsSubstring("[dropout] rate"));
  CHECK_THROWS_WITH(dropout(x, 0.1f, state, 0x80000000u), ContainsSubstring("below 2^31"));
  CHECK_THROWS_WITH(drop_path(x, x, state, 0), ContainsSubstring("[drop_path] rate has shape (4)"));
  CHECK_THROWS_WITH(gradients(sum_all(drop_path(x, rate, state, 0)), std::vector{rate}),
                    ContainsSubstring("[drop_path] has no gradient for its rate"));
}
