#include "ops/pool2d.h"

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// Maximum or mean over the window of (oh, ow), padding left out.
double window_value(const Array& x, Pool2dDesc d, bool max, int64_t n, int64_t c, int64_t oh, int64_t ow) {
  double best = -1e300, sum = 0;
  int count = 0;
  for (int64_t h = oh * d.stride - d.padding; h < oh * d.stride - d.padding + d.kernel; ++h)
    for (int64_t w = ow * d.stride - d.padding; w < ow * d.stride - d.padding + d.kernel; ++w) {
      if (h < 0 || w < 0 || h >= x.shape[2] || w >= x.shape[3]) continue;
      best = std::max(best, x.at(n, c, h, w));
      sum += x.at(n, c, h, w);
      ++count;
    }
  return max ? best : sum / count;
}

Array pooled(const Array& x, Pool2dDesc d, bool max) {
  Array y(Shape{x.shape[0], d.channels ? d.channels : x.shape[1],
                (x.shape[2] + 2 * d.padding - d.kernel) / d.stride + 1,
                (x.shape[3] + 2 * d.padding - d.kernel) / d.stride + 1});
  for (int64_t n = 0; n < y.shape[0]; ++n)
    for (int64_t c = 0; c < y.shape[1]; ++c)
      for (int64_t h = 0; h < y.shape[2]; ++h)
        for (int64_t w = 0; w < y.shape[3]; ++w) y.at(n, c, h, w) = window_value(x, d, max, n, c, h, w);
  return y;
}

OpCase pool_case(Shape shape, Pool2dDesc d, bool max) {
  return {.name = fmt::format("{} pool {} kernel {} stride {} padding {}", max ? "max" : "average",
                              shape.str(), d.kernel, d.stride, d.padding),
          .inputs = {{.shape = shape}},
          .record =
              [=](Graph&, const std::vector<Tensor>& x) {
                return std::vector{max ? max_pool2d(x[0], d) : avg_pool2d(x[0], d)};
              },
          .oracle = [=](const std::vector<Array>& x) { return std::vector{pooled(x[0], d, max)}; }};
}

OpCase both_case(Shape shape, Pool2dDesc d) {
  return {.name = fmt::format("both pools {} kernel {} stride {} padding {}", shape.str(), d.kernel, d.stride,
                              d.padding),
          .inputs = {{.shape = shape}},
          .record =
              [=](Graph&, const std::vector<Tensor>& x) {
                const MaxAndAverage y = max_avg_pool2d(x[0], d);
                return std::vector{y.max, y.average};
              },
          .oracle =
              [=](const std::vector<Array>& x) {
                return std::vector{pooled(x[0], d, true), pooled(x[0], d, false)};
              }};
}

}  // namespace

TEST_CASE("pool2d: 3x3 windows of the search space match the oracle", "[ops][pool2d]") {
  for (bool max : {true, false})
    for (int stride : {1, 2}) {
      for (Shape shape : {Shape{2, 3, 8, 8}, Shape{3, 2, 16, 16}, Shape{1, 2, 32, 32}, Shape{2, 2, 7, 5},
                          Shape{1, 1, 1, 1}, Shape{1, 2, 2, 33}, Shape{2, 1, 9, 8}, Shape{40, 17, 8, 8}})
        check(pool_case(shape, {.kernel = 3, .stride = stride, .padding = 1}, max));
    }
}

TEST_CASE("pool2d: other windows match the oracle", "[ops][pool2d]") {
  for (bool max : {true, false})
    for (Pool2dDesc d : {Pool2dDesc{2, 2, 0}, Pool2dDesc{1, 1, 0}, Pool2dDesc{5, 3, 0}, Pool2dDesc{5, 1, 2},
                         Pool2dDesc{4, 2, 2}, Pool2dDesc{2, 3, 1}, Pool2dDesc{3, 5, 1}, Pool2dDesc{3, 1, 0}})
      for (Shape shape : {Shape{2, 2, 8, 8}, Shape{1, 3, 7, 11}, Shape{1, 1, 16, 32}, Shape{2, 1, 14, 14}})
        check(pool_case(shape, d, max));
}

TEST_CASE("pool2d: both kinds in one op match the oracle", "[ops][pool2d]") {
  for (Pool2dDesc d : {Pool2dDesc{}, Pool2dDesc{.stride = 2}, Pool2dDesc{5, 1, 2}, Pool2dDesc{.channels = 1}})
    for (Shape shape : {Shape{2, 3, 8, 8}, Shape{3, 2, 16, 16}, Shape{1, 2, 32, 32}, Shape{2, 2, 7, 5},
                        Shape{2, 2, 33, 32}, Shape{1, 2, 5, 16}, Shape{40, 17, 8, 8}})
      check(both_case(shape, d));
}

TEST_CASE("pool2d: rows of an image that has 8, 16 or 32 columns", "[ops][pool2d]") {
  for (bool max : {true, false})
    for (int64_t columns : {8, 16, 32})
      for (int64_t rows : {1, 2, 3, 9}) check(pool_case({2, 3, rows, columns}, {}, max));
}

TEST_CASE("pool2d: the first channels alone", "[ops][pool2d]") {
  for (bool max : {true, false})
    for (int stride : {1, 2})
      for (int channels : {1, 4})
        check(pool_case({3, 5, 8, 8}, {.stride = stride, .channels = channels}, max));
}

TEST_CASE("max_pool2d: the gradient goes to the first maximum of a window", "[ops][pool2d]") {
  // Each value several times in each window: ties along rows and columns.
  for (int stride : {1, 2}) {
    Graph g;
    Storage s = Storage::create({1, 1, 6, 6});
    std::vector<float> x(36);
    for (size_t i = 0; i < 36; ++i) x[i] = float((i / 6 / 2 + i % 6 / 3) % 2);
    s.upload(std::span<const float>(x));
    Tensor leaf = g.leaf(s), y = max_pool2d(leaf, {3, stride, 1});
    Storage seed = Storage::create(y.shape()), d = Storage::create({1, 1, 6, 6});
    const auto outputs = size_t(y.shape().elements());
    std::vector<float> ones(outputs);
    for (size_t i = 0; i < outputs; ++i) ones[i] = float(i + 1);
    seed.upload(std::span<const float>(ones));
    vector_jacobian(std::vector{y}, std::vector{g.leaf(seed)}, std::vector{leaf}, {.into = {d}});
    compile(g).run();
    std::vector<float> expected(36, 0.f);
    const int64_t size = y.dim(2);
    for (int64_t o = 0; o < size * size; ++o) {
      int64_t best = -1;
      for (int64_t h = o / size * stride - 1; h <= o / size * stride + 1; ++h)
        for (int64_t w = o % size * stride - 1; w <= o % size * stride + 1; ++w) {
          if (h < 0 || w < 0 || h > 5 || w > 5) continue;
          if (best < 0 || x[size_t(h * 6 + w)] > x[size_t(best)]) best = h * 6 + w;
        }
      expected[size_t(best)] += ones[size_t(o)];
    }
    CHECK(d.to_vector() == expected);
  }
}

TEST_CASE("global_avg_pool: matches the oracle", "[ops][pool2d]") {
  for (Shape shape : {Shape{2, 3, 8, 8}, Shape{3, 5, 7, 3}, Shape{1, 1, 1, 1}, Shape{33, 70, 5, 5}})
    check({.name = "global_avg_pool " + shape.str(),
           .inputs = {{.shape = shape}},
           .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{global_avg_pool(x[0])}; },
           .oracle =
               [](const std::vector<Array>& x) {
                 const Shape& s = x[0].shape;
                 Array y(Shape{s[0], s[1]});
                 for (int64_t n = 0; n < s[0]; ++n)
                   for (int64_t c = 0; c < s[1]; ++c) {
                     for (int64_t i = 0; i < s[2] * s[3]; ++i)
                       y.at(n, c) += x[0].at(n, c, i / s[3], i % s[3]);
                     y.at(n, c) /= double(s[2] * s[3]);
                   }
                 return std::vector{y};
               }});
}

TEST_CASE("pool2d: impossible windows are refused", "[ops][pool2d]") {
  Graph g;
  Tensor x = g.leaf(Storage::create({1, 2, 4, 4})), flat = g.leaf(Storage::create({4, 4}));
  CHECK_THROWS_WITH(max_pool2d(x, {3, 1, 2}),
                    ContainsSubstring("[max_pool2d]") && ContainsSubstring("padding 2"));
  CHECK_THROWS_WITH(avg_pool2d(x, {7, 1, 1}),
                    ContainsSubstring("[avg_pool2d]") && ContainsSubstring("a window of 7 does not fit"));
  CHECK_THROWS_WITH(max_pool2d(x, {3, 0, 1}), ContainsSubstring("stride 0"));
  CHECK_THROWS_WITH(avg_pool2d(flat), ContainsSubstring("(4, 4)") && ContainsSubstring("(N, C, H, W)"));
  CHECK_THROWS_WITH(global_avg_pool(flat), ContainsSubstring("[global_avg_pool]"));
}
