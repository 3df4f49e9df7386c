#include "ops/norm_sum.h"

#include <cmath>

#include "core/error.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

constexpr float kEps = 1e-3f;

// terms: whether each has an affine.
void check_sum(Shape shape, const std::vector<bool>& terms) {
  OpCase c;
  c.name = fmt::format("{} terms of {}", terms.size(), shape.str());
  for (size_t k = 0; k < terms.size(); ++k) c.inputs.push_back({.shape = shape});
  for (const bool affine : terms)
    if (affine) c.inputs.push_back({.shape = {2, shape[1]}});
  c.record = [terms](Graph&, const std::vector<Tensor>& in) {
    std::vector<DeferredNorm> values;
    size_t next = terms.size();
    for (size_t k = 0; k < terms.size(); ++k) values.push_back({in[k], terms[k] ? in[next++] : Tensor()});
    return std::vector{norm_sum(values)};
  };
  c.oracle = [terms](const std::vector<Array>& in) {
    Array out(in[0].shape);
    const size_t channels = size_t(out.shape[1]), pixels = size_t(out.shape[2] * out.shape[3]);
    size_t next = terms.size();
    for (size_t k = 0; k < terms.size(); ++k) {
      const Array* affine = terms[k] ? &in[next++] : nullptr;
      for (size_t i = 0; i < out.v.size(); ++i) {
        const auto channel = int64_t(i / pixels % channels);
        out.v[i] += affine ? affine->at(0, channel) * in[k].v[i] + affine->at(1, channel) : in[k].v[i];
      }
    }
    return std::vector{out};
  };
  check(c);
}

// gamma * (y - mean) / sqrt(variance + eps) + beta over the batch.
Array normalised(const Array& y, const Array& gamma, const Array& beta) {
  Array out(y.shape);
  const size_t channels = size_t(y.shape[1]), pixels = size_t(y.shape[2] * y.shape[3]);
  for (size_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0, count = 0;
    auto each = [&](auto f) {
      for (size_t i = 0; i < y.v.size(); ++i)
        if (i / pixels % channels == c) f(i);
    };
    each([&](size_t i) { sum += y.v[i], ++count; });
    each([&](size_t i) { squares += (y.v[i] - sum / count) * (y.v[i] - sum / count); });
    const double scale = gamma.v[c] / std::sqrt(squares / count + double(kEps));
    each([&](size_t i) { out.v[i] = scale * (y.v[i] - sum / count) + beta.v[c]; });
  }
  return out;
}

}  // namespace

TEST_CASE("norm_sum: any mixture of terms matches the double oracle", "[ops][norm_sum]") {
  check_sum({3, 4, 8, 8}, {true, true});
  check_sum({2, 3, 5, 7}, {true, false});
  check_sum({2, 3, 5, 7}, {false, true, false});
  check_sum({1, 2, 1, 1}, {true});
  check_sum({35, 2, 4, 4}, {true, true, true, true, true});
  check_sum({2, 5, 32, 32}, {false, false});
}

TEST_CASE("with_gamma_beta: value and gradients are those of a batch normalisation", "[ops][norm_sum]") {
  for (Shape shape : {Shape{3, 4, 8, 8}, Shape{5, 2, 3, 3}})
    check({.name = "normalisation of " + shape.str(),
           .inputs = {{.shape = shape, .low = 1, .high = 3},
                      {.shape = {shape[1]}, .low = .5f, .high = 2},
                      {.shape = {shape[1]}}},
           .record =
               [](Graph&, const std::vector<Tensor>& x) {
                 return std::vector{norm_sum({with_gamma_beta(defer_norm(x[0], kEps), x[1], x[2], {})})};
               },
           .oracle = [](const std::vector<Array>& x) { return std::vector{normalised(x[0], x[1], x[2])}; },
           .rtol = 1e-3,
           .atol = 1e-3});
}

TEST_CASE("with_gamma_beta: running statistics move as those of batch_norm()", "[ops][norm_sum]") {
  const Shape shape{4, 3, 6, 6}, channels{3};
  Graph g(test_device());
  const Storage x = test_storage(shape);
  std::vector<float> values(size_t(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = float(i % 37) * .1f - float(i / 36 % 3);
  x.upload(std::span<const float>(values));
  const BatchNormState plain{test_storage(channels), test_storage(channels)},
      deferred{test_storage(channels), test_storage(channels)};
  for (const BatchNormState& s : {plain, deferred}) s.running_var.upload(std::vector<float>{1, 1, 1});
  const Tensor leaf = g.leaf(x);
  const BatchNormDesc desc{.eps = kEps, .momentum = .3f};
  const Storage expected = g.bind_output(batch_norm(leaf, {}, {}, plain, desc));
  const Storage result =
      g.bind_output(norm_sum({with_gamma_beta(defer_norm(leaf, kEps), {}, {}, deferred, desc)}));
  Program program = compile(g);
  for (int run = 0; run < 3; ++run) program.run();
  auto compare = [](const Storage& a, const Storage& b) {
    const std::vector<float> u = a.to_vector(), v = b.to_vector();
    for (size_t i = 0; i < u.size(); ++i) CHECK(u[i] == Approx(v[i]).epsilon(1e-4).margin(1e-5));
  };
  compare(plain.running_mean, deferred.running_mean);
  compare(plain.running_var, deferred.running_var);
  compare(expected, result);
  CHECK(deferred.running_var.to_vector()[0] != 1.f);
}

TEST_CASE("norm_sum and with_gamma_beta: what does not fit is refused", "[ops][norm_sum]") {
  Graph g;
  auto leaf = [&](Shape s) { return g.leaf(Storage::create(s)); };
  const Tensor x = leaf({2, 3, 4, 4});
  CHECK_THROWS_WITH(norm_sum({}), ContainsSubstring("at least one term"));
  CHECK_THROWS_WITH(norm_sum({{x, {}}, {leaf({2, 3, 4, 5}), {}}}), ContainsSubstring("must be equal"));
  CHECK_THROWS_WITH(norm_sum({{x, leaf({2, 4})}}), ContainsSubstring("affine (2, 4) must be (2, 3)"));
  const DeferredNorm n = defer_norm(x);
  CHECK_THROWS_WITH(with_gamma_beta(n, leaf({3}), {}, {}), ContainsSubstring("both gamma and beta"));
  CHECK_THROWS_WITH(with_gamma_beta(n, leaf({3}), leaf({4}), {}), ContainsSubstring("beta has shape (4)"));
}
