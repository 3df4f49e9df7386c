#include "ops/deferred_norm.h"

#include <cmath>

#include "core/error.h"
#include "ops/mixture.h"
#include "ops/pool2d.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// 1 / deviation and -mean / deviation of each channel.
Array affine_of(const Array& y, double eps) {
  const int64_t channels = y.shape[1], pixels = y.shape[2] * y.shape[3];
  const double count = double(y.shape[0] * pixels);
  Array affine({2, channels});
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    auto for_all = [&](auto f) {
      for (int64_t n = 0; n < y.shape[0]; ++n)
        for (int64_t i = 0; i < pixels; ++i) f(y.v[size_t((n * channels + c) * pixels + i)]);
    };
    for_all([&](double v) { sum += v; });
    for_all([&](double v) { squares += (v - sum / count) * (v - sum / count); });
    affine.at(0, c) = 1 / std::sqrt(squares / count + eps);
    affine.at(1, c) = -sum / count * affine.at(0, c);
  }
  return affine;
}

constexpr float kEps = 1e-3f;

}  // namespace

TEST_CASE("batch statistics match the double oracle", "[ops][deferred_norm]") {
  for (Shape shape :
       {Shape{3, 4, 8, 8}, Shape{2, 3, 7, 5}, Shape{5, 2, 1, 1}, Shape{1, 2, 32, 32}, Shape{35, 3, 4, 4}})
    check({.name = "batch_statistics " + shape.str(),
           .inputs = {{.shape = shape, .low = 1, .high = 3}},
           .record = [](Graph&,
                        const std::vector<Tensor>& x) { return std::vector{defer_norm(x[0], kEps).affine}; },
           .oracle = [](const std::vector<Array>& x) { return std::vector{affine_of(x[0], double(kEps))}; },
           .rtol = 1e-3,
           .atol = 1e-3});
}

// The gradient of the pooled value is a sum of scaled channels: a factor for each edge, and the statistics.
TEST_CASE("a pool with a deferred normalisation on several edges", "[ops][deferred_norm]") {
  for (bool max : {true, false})
    for (int edges : {1, 2, 5})
      for (const auto& [groups, stride] : {std::pair{1, 1}, {2, 1}, {1, 2}})
        check({.name = fmt::format("{} pool on {} edges, {} groups, stride {}", max ? "max" : "average",
                                   edges, groups, stride),
               .inputs = {{.shape = {3, 2 * groups, 9, 6}}, {.shape = {edges, 2}, .low = .2f, .high = 1}},
               .record =
                   [=, groups = groups, stride = stride](Graph&, const std::vector<Tensor>& x) {
                     const Pool2dDesc desc{.stride = stride, .channels = 2};
                     const DeferredNorm y =
                         defer_norm(max ? max_pool2d(x[0], desc) : avg_pool2d(x[0], desc), kEps);
                     const Tensor source = groups > 1 ? x[0] : Tensor();
                     return std::vector{mixture(
                         std::vector<MixtureEdge>(
                             size_t(edges), MixtureEdge{.terms = {{y, 1}}, .source = source, .pools = {}}),
                         x[1], {}, {.groups = groups})};
                   },
               .oracle =
                   [=, groups = groups, stride = stride](const std::vector<Array>& x) {
                     const Shape& in = x[0].shape;
                     const Shape s{in[0], in[1], (in[2] - 1) / stride + 1, (in[3] - 1) / stride + 1};
                     Array pooled({s[0], 2, s[2], s[3]}), out(s);
                     auto each = [&](int64_t channels, auto f) {
                       for (int64_t n = 0; n < s[0]; ++n)
                         for (int64_t c = 0; c < channels; ++c)
                           for (int64_t h = 0; h < s[2]; ++h)
                             for (int64_t w = 0; w < s[3]; ++w) f(n, c, h, w);
                     };
                     each(2, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
                       double best = -1e300, sum = 0, count = 0;
                       for (int64_t p = std::max<int64_t>(0, h * stride - 1);
                            p < std::min(in[2], h * stride + 2); ++p)
                         for (int64_t q = std::max<int64_t>(0, w * stride - 1);
                              q < std::min(in[3], w * stride + 2); ++q) {
                           best = std::max(best, x[0].at(n, c, p, q));
                           sum += x[0].at(n, c, p, q);
                           count += 1;
                         }
                       pooled.at(n, c, h, w) = max ? best : sum / count;
                     });
                     const Array affine = affine_of(pooled, double(kEps));
                     double weight = 0;
                     for (int e = 0; e < edges; ++e) weight += x[1].at(e, 1);
                     each(2, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
                       out.at(n, c * groups, h, w) =
                           weight * (affine.at(0, c) * pooled.at(n, c, h, w) + affine.at(1, c));
                     });
                     each(2 * (groups - 1), [&](int64_t n, int64_t m, int64_t h, int64_t w) {
                       out.at(n, m % 2 * groups + 1 + m / 2, h, w) = edges * x[0].at(n, 2 + m, h, w);
                     });
                     return std::vector{out};
                   },
               .rtol = 1e-3,
               .atol = 2e-3});
}

TEST_CASE("a deferred normalisation needs two values a channel", "[ops][deferred_norm]") {
  Graph g;
  CHECK_THROWS_WITH(defer_norm(g.leaf(Storage::create({1, 3, 1, 1}))),
                    ContainsSubstring("one value a channel"));
}
