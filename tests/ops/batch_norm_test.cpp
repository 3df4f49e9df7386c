#include "ops/batch_norm.h"

#include <cmath>

#include "core/error.h"
#include "core/philox.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

Storage filled(Shape shape, float low, float high, uint64_t seed) {
  Storage s = test_storage(shape);
  Random random(seed);
  std::vector<float> v(size_t(shape.elements()));
  for (float& e : v) e = random.uniform(low, high);
  s.upload(std::span<const float>(v));
  return s;
}

struct Moments {
  double mean = 0, variance = 0;  // biased
  double count = 0;
};

int64_t plane_of(const Shape& s) {
  return s.rank() == 4 ? s[2] * s[3] : 1;
}

Moments moments(const Array& x, int64_t c) {
  const int64_t channels = x.shape[1], plane = plane_of(x.shape);
  Moments m;
  m.count = double(x.shape[0] * plane);
  auto each = [&](auto f) {
    for (int64_t n = 0; n < x.shape[0]; ++n)
      for (int64_t i = 0; i < plane; ++i) f(x.v[size_t((n * channels + c) * plane + i)]);
  };
  each([&](double v) { m.mean += v / m.count; });
  each([&](double v) { m.variance += (v - m.mean) * (v - m.mean) / m.count; });
  return m;
}

Array normalise(const Array& x, const std::function<Moments(int64_t)>& of, const Array* gamma,
                const Array* beta, double eps) {
  const int64_t channels = x.shape[1], plane = plane_of(x.shape);
  Array y(x.shape);
  for (int64_t c = 0; c < channels; ++c) {
    const Moments m = of(c);
    for (int64_t n = 0; n < x.shape[0]; ++n)
      for (int64_t i = 0; i < plane; ++i) {
        const auto at = size_t((n * channels + c) * plane + i);
        y.v[at] = (x.v[at] - m.mean) / std::sqrt(m.variance + eps);
        if (gamma) y.v[at] = y.v[at] * gamma->v[size_t(c)] + beta->v[size_t(c)];
      }
  }
  return y;
}

OpCase training_case(Shape shape, bool affine, float low, float high) {
  const Shape c{shape[1]};
  OpCase result{
      .name = fmt::format("batch_norm {} affine {} in [{}, {})", shape.str(), affine, low, high),
      .inputs = {{.shape = shape, .low = low, .high = high}},
      .record =
          [=](Graph&, const std::vector<Tensor>& x) {
            return std::vector{affine ? batch_norm(x[0], x[1], x[2], {}) : batch_norm(x[0], {}, {}, {})};
          },
      .oracle =
          [=](const std::vector<Array>& x) {
            return std::vector{normalise(
                x[0], [&](int64_t k) { return moments(x[0], k); }, affine ? &x[1] : nullptr,
                affine ? &x[2] : nullptr, 1e-5)};
          },
      .rtol = 2e-4,
      .atol = 2e-4};
  if (affine) result.inputs.insert(result.inputs.end(), {{.shape = c, .low = 0.5, .high = 2}, {.shape = c}});
  return result;
}

}  // namespace

TEST_CASE("batch_norm: training matches the double oracle", "[ops][batch_norm]") {
  for (Shape shape : {Shape{4, 3, 8, 8}, Shape{5, 7, 3, 5}, Shape{2, 1, 1, 1}, Shape{3, 17, 16, 16},
                      Shape{9, 6}, Shape{2, 2, 33, 37}, Shape{64, 5, 4, 4}})
    for (bool affine : {true, false}) check(training_case(shape, affine, -1, 1));
}

TEST_CASE("batch_norm: evaluation matches the double oracle", "[ops][batch_norm]") {
  for (Shape shape :
       {Shape{1, 3, 8, 8}, Shape{5, 7, 3, 5}, Shape{1, 1, 1, 1}, Shape{70, 30, 5, 5}, Shape{9, 6}}) {
    const Shape c{shape[1]};
    const BatchNormState state{filled(c, -1, 1, 1), filled(c, 0.3f, 2, 2)};
    const auto mean = state.running_mean.to_vector(), variance = state.running_var.to_vector();
    auto of = [=](int64_t k) { return Moments{mean[size_t(k)], variance[size_t(k)]}; };
    check({.name = "batch_norm evaluation " + shape.str(),
           .inputs = {{.shape = shape}, {.shape = c, .low = 0.5, .high = 2}, {.shape = c}},
           .record =
               [=](Graph&, const std::vector<Tensor>& x) {
                 return std::vector{batch_norm(x[0], x[1], x[2], state, {.training = false, .eps = 1e-3f})};
               },
           .oracle =
               [=](const std::vector<Array>& x) {
                 return std::vector{normalise(x[0], of, &x[1], &x[2], double(1e-3f))};
               }});
    check({.name = "batch_norm evaluation without affine " + shape.str(),
           .inputs = {{.shape = shape}},
           .record =
               [=](Graph&, const std::vector<Tensor>& x) {
                 return std::vector{batch_norm(x[0], {}, {}, state, {.training = false})};
               },
           .oracle =
               [=](const std::vector<Array>& x) {
                 return std::vector{normalise(x[0], of, nullptr, nullptr, 1e-5)};
               }});
    CHECK(state.running_mean.to_vector() == mean);
    CHECK(state.running_var.to_vector() == variance);
  }
}

TEST_CASE("batch_norm: evaluation without running statistics uses those of the batch", "[ops][batch_norm]") {
  Graph g(test_device());
  Tensor x = g.leaf(filled({4, 3, 5, 5}, -1, 1, 3));
  Storage train = g.bind_output(batch_norm(x, {}, {}, {}));
  Storage eval = g.bind_output(batch_norm(x, {}, {}, {}, {.training = false}));
  compile(g).run();
  CHECK(train.to_vector() == eval.to_vector());
}

TEST_CASE("batch_norm: running statistics follow the batches as in PyTorch", "[ops][batch_norm]") {
  const Shape shape{6, 3, 4, 5};
  Graph g(test_device());
  Storage s = test_storage(shape);
  const BatchNormState state{test_storage({3}), test_storage({3})};
  state.running_var.upload(std::vector<float>{1, 1, 1});
  batch_norm(g.leaf(s), {}, {}, state, {.momentum = 0.25f});  // its output is not used: the update alone runs
  Program p = compile(g);
  std::vector<double> mean(3, 0), variance(3, 1);
  for (uint64_t step = 0; step < 4; ++step) {
    const auto values = filled(shape, -1, 3, step).to_vector();
    s.upload(std::span<const float>(values));
    p.run();
    Array x(shape);
    x.v.assign(values.begin(), values.end());
    for (int64_t c = 0; c < 3; ++c) {
      const Moments m = moments(x, c);
      mean[size_t(c)] += 0.25 * (m.mean - mean[size_t(c)]);
      variance[size_t(c)] += 0.25 * (m.variance * m.count / (m.count - 1) - variance[size_t(c)]);
      CHECK(state.running_mean.to_vector()[size_t(c)] == Approx(mean[size_t(c)]).epsilon(1e-6));
      CHECK(state.running_var.to_vector()[size_t(c)] == Approx(variance[size_t(c)]).epsilon(1e-6));
    }
  }
}

TEST_CASE("batch_norm: a large mean does not spoil a small variance", "[ops][batch_norm]") {
  const Shape shape{16, 2, 9, 7};
  Graph g(test_device());
  const auto values = filled(shape, 999.5f, 1000.5f, 8).to_vector();
  Storage s = test_storage(shape);
  s.upload(std::span<const float>(values));
  const BatchNormState state{test_storage({2}), test_storage({2})};
  Storage out = g.bind_output(batch_norm(g.leaf(s), {}, {}, state, {.momentum = 1}));
  compile(g).run();
  Array x(shape);
  x.v.assign(values.begin(), values.end());
  const Array expected = normalise(
      x, [&](int64_t c) { return moments(x, c); }, nullptr, nullptr, 1e-5);
  const auto y = out.to_vector();
  double worst = 0;
  for (size_t i = 0; i < y.size(); ++i) worst = std::max(worst, std::fabs(y[i] - expected.v[i]));
  CHECK(worst < 2e-4);  // the mean itself is rounded by up to 3e-5, a ten-thousandth of the deviation
  for (int64_t c = 0; c < 2; ++c) {
    const Moments m = moments(x, c);
    CHECK(state.running_var.to_vector()[size_t(c)] ==
          Approx(m.variance * m.count / (m.count - 1)).epsilon(1e-5));
  }
}

TEST_CASE("batch_norm: images of very different means are normalised exactly enough", "[ops][batch_norm]") {
  // The first image is the pivot of the sums and lies far from the rest.
  const Shape shape{32, 1, 8, 8};
  Array x(shape);
  auto values = filled(shape, 0, 1, 9).to_vector();
  for (size_t i = 0; i < 64; ++i) values[i] += 300;
  Storage s = test_storage(shape);
  s.upload(std::span<const float>(values));
  Graph g(test_device());
  Storage out = g.bind_output(batch_norm(g.leaf(s), {}, {}, {}));
  compile(g).run();
  x.v.assign(values.begin(), values.end());
  const Array expected = normalise(
      x, [&](int64_t c) { return moments(x, c); }, nullptr, nullptr, 1e-5);
  const auto y = out.to_vector();
  for (size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == Approx(expected.v[i]).margin(1e-5).epsilon(1e-5));
}

TEST_CASE("batch_norm: wrong operands are refused", "[ops][batch_norm]") {
  Graph g(test_device());
  Tensor x = g.leaf(test_storage({2, 3, 4, 4})), three = g.leaf(test_storage({3}));
  Tensor four = g.leaf(test_storage({4})), single = g.leaf(test_storage({1, 3, 1, 1}));
  CHECK_THROWS_WITH(batch_norm(x, four, three, {}),
                    ContainsSubstring("gamma has shape (4); x has 3 channels"));
  CHECK_THROWS_WITH(batch_norm(x, three, {}, {}), ContainsSubstring("both gamma and beta"));
  CHECK_THROWS_WITH(batch_norm(x, {}, {}, {test_storage({3}), {}}),
                    ContainsSubstring("both running statistics"));
  CHECK_THROWS_WITH(batch_norm(x, {}, {}, {test_storage({2}), test_storage({3})}),
                    ContainsSubstring("running_mean has shape (2)"));
  CHECK_THROWS_WITH(batch_norm(single, {}, {}, {}), ContainsSubstring("one value a channel"));
  CHECK_THROWS_WITH(batch_norm(three, {}, {}, {}), ContainsSubstring("(N, C, H, W) or (N, C)"));
  CHECK_THROWS_WITH(batch_norm(x, {}, {}, {}, {.eps = 0}), ContainsSubstring("eps is positive"));
}
