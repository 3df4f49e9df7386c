#include "ops/softmax.h"

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

Array softmax_of(const Array& x, const std::vector<int64_t>& lengths) {
  Array y(x.shape);
  size_t at = 0;
  for (int64_t length : lengths) {
    double total = 0;
    for (size_t i = at; i < at + size_t(length); ++i) total += std::exp(x.v[i]);
    for (size_t i = at; i < at + size_t(length); ++i) y.v[i] = std::exp(x.v[i]) / total;
    at += size_t(length);
  }
  return y;
}

}  // namespace

TEST_CASE("softmax: rows of the last dimension match the oracle", "[ops][softmax]") {
  for (Shape shape : {Shape{1}, Shape{8}, Shape{14, 8}, Shape{3, 5, 7}, Shape{700, 13}}) {
    const int64_t length = shape[shape.rank() - 1];
    check({.name = "softmax " + shape.str(),
           .inputs = {{.shape = shape, .low = -3, .high = 3}},
           .record = [](Graph&, const std::vector<Tensor>& x) { return std::vector{softmax(x[0])}; },
           .oracle =
               [=](const std::vector<Array>& x) {
                 return std::vector{
                     softmax_of(x[0], std::vector<int64_t>(size_t(shape.elements() / length), length))};
               }});
  }
}

TEST_CASE("segment_softmax: the edges of each node sum to one", "[ops][softmax]") {
  for (std::vector<int> sizes : {std::vector<int>{2, 3, 4, 5}, {1}, {1, 1, 7}})
    check({.name = fmt::format("{} segments", sizes.size()),
           .inputs = {{.shape = Shape{std::accumulate(sizes.begin(), sizes.end(), int64_t(0))}}},
           .record = [=](Graph&,
                         const std::vector<Tensor>& x) { return std::vector{segment_softmax(x[0], sizes)}; },
           .oracle =
               [=](const std::vector<Array>& x) {
                 return std::vector{softmax_of(x[0], {sizes.begin(), sizes.end()})};
               }});
}

TEST_CASE("softmax: large values neither overflow nor vanish", "[ops][softmax]") {
  Graph g(test_device());
  Storage s = test_storage({2, 3});
  s.upload(std::vector<float>{1e4f, 1e4f, -1e4f, -3e38f, -3e38f, 3e38f});
  Storage out = g.bind_output(softmax(g.leaf(s)));
  compile(g, {.debug = true}).run();
  CHECK(out.to_vector() == std::vector<float>{0.5f, 0.5f, 0, 0, 0, 1});
}

TEST_CASE("softmax: segments that do not fit are refused", "[ops][softmax]") {
  Graph g(test_device());
  Tensor x = g.leaf(test_storage({14})), matrix = g.leaf(test_storage({2, 7}));
  CHECK_THROWS_WITH(segment_softmax(x, {2, 3, 4}),
                    ContainsSubstring("segments hold 9 elements, x has shape (14)"));
  CHECK_THROWS_WITH(segment_softmax(x, {14, 0}), ContainsSubstring("a segment has 0 elements"));
  CHECK_THROWS_WITH(segment_softmax(matrix, {14}), ContainsSubstring("[segment_softmax]"));
  CHECK_THROWS_WITH(softmax(Tensor()), ContainsSubstring("[softmax] x is empty"));
}
