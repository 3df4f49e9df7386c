#include "ops/channels.h"

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// y[n, c, h, w] = f(n, c, h, w) for a shape.
Array build(Shape shape, const std::function<double(int64_t, int64_t, int64_t, int64_t)>& f) {
  Array y(shape);
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < shape[1]; ++c)
      for (int64_t h = 0; h < shape[2]; ++h)
        for (int64_t w = 0; w < shape[3]; ++w) y.at(n, c, h, w) = f(n, c, h, w);
  return y;
}

OpCase concat_case(int axis, std::vector<int64_t> sizes, Shape shape) {
  OpCase c;
  c.name = fmt::format("concat of {} along {}", sizes.size(), axis);
  int64_t total = 0;
  for (int64_t size : sizes) {
    Shape s = shape;
    s.set(axis, size);
    c.inputs.push_back({.shape = s});
    total += size;
  }
  shape.set(axis, total);
  c.record = [=](Graph&, const std::vector<Tensor>& x) {
    return std::vector{axis == 0 ? concat_rows(x) : concat_channels(x)};
  };
  c.oracle = [=](const std::vector<Array>& x) {
    return std::vector{build(shape, [&](int64_t n, int64_t ch, int64_t h, int64_t w) {
      int64_t& at = axis == 0 ? n : ch;
      size_t k = 0;
      for (; at >= sizes[k]; ++k) at -= sizes[k];
      return x[k].at(n, ch, h, w);
    })};
  };
  return c;
}

OpCase slice_case(int axis, Shape shape, int64_t begin, int64_t count) {
  return {.name = fmt::format("slice {} from {} count {} along {}", shape.str(), begin, count, axis),
          .inputs = {{.shape = shape}},
          .record =
              [=](Graph&, const std::vector<Tensor>& x) {
                return std::vector{axis == 0 ? slice_rows(x[0], begin, count)
                                             : slice_channels(x[0], begin, count)};
              },
          .oracle =
              [=](const std::vector<Array>& x) {
                Shape out = shape;
                out.set(axis, count);
                return std::vector{build(out, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
                  return axis == 0 ? x[0].at(n + begin, c, h, w) : x[0].at(n, c + begin, h, w);
                })};
              }};
}

}  // namespace

TEST_CASE("concat: channels and rows match the oracle", "[ops][channels]") {
  check(concat_case(1, {3, 1, 4}, {2, 0, 5, 7}));
  check(concat_case(1, {2, 2, 2, 2}, {3, 0, 8, 8}));
  check(concat_case(1, {5}, {1, 0, 3, 3}));
  check(concat_case(1, {16, 48}, {9, 0, 16, 16}));
  check(concat_case(0, {3, 1, 4}, {0, 2, 5, 7}));
  check(concat_case(0, {40, 30}, {0, 3, 16, 16}));
}

TEST_CASE("slice: channels and rows match the oracle", "[ops][channels]") {
  check(slice_case(1, {2, 7, 3, 5}, 0, 3));
  check(slice_case(1, {2, 7, 3, 5}, 3, 4));
  check(slice_case(1, {5, 16, 16, 16}, 4, 8));
  check(slice_case(0, {5, 2, 3, 3}, 1, 2));
  check(slice_case(0, {9, 20, 16, 16}, 0, 9));
}

TEST_CASE("concat of slices: the gradient of each part lands in its place", "[ops][channels]") {
  check({.name = "swap halves",
         .inputs = {{.shape = Shape{3, 6, 4, 4}}},
         .record =
             [](Graph&, const std::vector<Tensor>& x) {
               return std::vector{concat_channels({slice_channels(x[0], 3, 3), slice_channels(x[0], 0, 3)})};
             },
         .oracle =
             [](const std::vector<Array>& x) {
               return std::vector{build({3, 6, 4, 4}, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
                 return x[0].at(n, (c + 3) % 6, h, w);
               })};
             }});
}

TEST_CASE("channel_shuffle: out[j * groups + g] = in[g * (C / groups) + j]", "[ops][channels]") {
  for (auto [shape, groups] : {std::pair{Shape{2, 8, 3, 5}, 4}, std::pair{Shape{3, 12, 8, 8}, 2},
                               std::pair{Shape{1, 6, 2, 2}, 6}, std::pair{Shape{2, 5, 3, 3}, 1}})
    check({.name = fmt::format("channel_shuffle {} in {} groups", shape.str(), groups),
           .inputs = {{.shape = shape}},
           .record = [groups = groups](
                         Graph&,
                         const std::vector<Tensor>& x) { return std::vector{channel_shuffle(x[0], groups)}; },
           .oracle =
               [groups = groups](const std::vector<Array>& x) {
                 const int64_t per_group = x[0].shape[1] / groups;
                 return std::vector{build(x[0].shape, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
                   return x[0].at(n, c % groups * per_group + c / groups, h, w);
                 })};
               }});
}

TEST_CASE("channels: what does not fit is refused", "[ops][channels]") {
  Graph g;
  Tensor x = g.leaf(Storage::create({2, 6, 4, 4})), y = g.leaf(Storage::create({2, 6, 4, 5}));
  CHECK_THROWS_WITH(concat_channels({x, y}),
                    ContainsSubstring("[concat_channels] x[1] has shape (2, 6, 4, 5)"));
  CHECK_THROWS_WITH(concat_rows({}), ContainsSubstring("[concat_rows] needs at least one"));
  CHECK_THROWS_WITH(slice_channels(x, 4, 3),
                    ContainsSubstring("[slice_channels] 3 from 4 on are not in dimension 1"));
  CHECK_THROWS_WITH(slice_rows(x, -1, 1), ContainsSubstring("[slice_rows]"));
  CHECK_THROWS_WITH(channel_shuffle(x, 4), ContainsSubstring("6 channels do not divide into 4 groups"));
}
