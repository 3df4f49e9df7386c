#include "ops/conv2d.h"

#include <algorithm>

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

Array convolve(const Conv2dDesc& d, const Array& x, const Array& w, const Array* bias) {
  const int64_t cg = w.shape[1], og = w.shape[0] / d.groups;
  auto extent = [&](int i) {
    return (x.shape[i] + 2 * d.padding - d.dilation * (w.shape[i] - 1) - 1) / d.stride + 1;
  };
  Array y(Shape{x.shape[0], w.shape[0], extent(2), extent(3)});
  for (int64_t n = 0; n < y.shape[0]; ++n)
    for (int64_t o = 0; o < y.shape[1]; ++o)
      for (int64_t i = 0; i < y.shape[2]; ++i)
        for (int64_t j = 0; j < y.shape[3]; ++j) {
          double sum = bias ? bias->v[size_t(o)] : 0;
          for (int64_t c = 0; c < cg; ++c)
            for (int64_t p = 0; p < w.shape[2]; ++p)
              for (int64_t q = 0; q < w.shape[3]; ++q) {
                const double v = x.padded(n, o / og * cg + c, i * d.stride - d.padding + p * d.dilation,
                                          j * d.stride - d.padding + q * d.dilation);
                sum += w.at(o, c, p, q) * (d.relu_input ? std::max(v, 0.0) : v);
              }
          y.at(n, o, i, j) = sum;
        }
  return y;
}

// x (n, c, h, w) with weight (o, c/groups, kh, kw), checked with and without relu_input and bias.
void check_conv2d(Shape x, int64_t o, int64_t kh, int64_t kw, Conv2dDesc desc) {
  const Shape w{o, x[1] / desc.groups, kh, kw};
  for (bool relu_input : {false, true}) {
    for (bool with_bias : {false, true}) {
      desc.relu_input = relu_input;
      OpCase c{.name = fmt::format("x {} w {} stride {} padding {} dilation {} groups {} relu {} bias {}",
                                   x.str(), w.str(), desc.stride, desc.padding, desc.dilation, desc.groups,
                                   relu_input, with_bias),
               .inputs = {{.shape = x}, {.shape = w}},
               .record =
                   [desc](Graph&, const std::vector<Tensor>& in) {
                     return std::vector{conv2d(in[0], in[1], desc, in.size() > 2 ? in[2] : Tensor{})};
                   },
               .oracle =
                   [desc](const std::vector<Array>& in) {
                     return std::vector{convolve(desc, in[0], in[1], in.size() > 2 ? &in[2] : nullptr)};
                   },
               .probes = 6};
      if (with_bias) c.inputs.push_back({.shape = {o}});
      // Sums of products of values in [-1, 1): rounding grows with the square root of the length, weight
      // gradients sum over all pixels of the batch.
      c.atol = 1e-5 * std::max(1.0, double(x.elements()) / double(x[1]) / 100);
      check(c);
    }
  }
}

// Convolutions of one x in `parts` of shape x each, to so many channels each.
struct JointCase {
  Shape x;
  int parts;
  std::vector<int64_t> outputs;
  Conv2dDesc desc = {};
  int64_t kernel = 1;
  bool one_op = true;  // that reads the parts where they lie; else each reads a concatenation
  int only = -1;       // the output that anybody reads; -1: all
  int probes = 6;      // of each operand: few where the oracle takes long
};

// with_bias: of every output.
void check_joint(JointCase j, bool relu_input, bool with_bias) {
  const auto parts = size_t(j.parts), n = j.outputs.size();
  j.desc.relu_input = relu_input;
  auto read = [j](auto results) { return j.only < 0 ? results : decltype(results){results[size_t(j.only)]}; };
  OpCase c{
      .name = fmt::format("{} parts {} to {} channels, kernel {} relu {} bias {} only {}", parts, j.x.str(),
                          fmt::join(j.outputs, "+"), j.kernel, relu_input, with_bias, j.only),
      .inputs = std::vector<OpInput>(parts, {.shape = j.x}),
      .record =
          [=](Graph& graph, const std::vector<Tensor>& in) {
            std::vector<ConvWeights> w;
            for (size_t i = 0; i < n; ++i)
              w.push_back({in[parts + i], with_bias ? in[parts + n + i] : Tensor()});
            const auto y = conv2d({in.begin(), in.begin() + j.parts}, w, j.desc);
            const Node& last = graph.nodes()[size_t(graph.value(y.back()).writers[0])];
            CHECK(last.outputs.size() == (j.one_op ? n : 1));
            CHECK(last.inputs.size() ==
                  (j.one_op ? parts + n * (1 + size_t(with_bias)) : 2 + size_t(with_bias)));
            return read(y);
          },
      .oracle =
          [=](const std::vector<Array>& in) {
            const Array joined = join_channels({in.begin(), in.begin() + j.parts});
            std::vector<Array> y;
            for (size_t i = 0; i < n; ++i)
              y.push_back(convolve(j.desc, joined, in[parts + i], with_bias ? &in[parts + n + i] : nullptr));
            return read(y);
          },
      .probes = j.probes};
  for (const int64_t o : j.outputs) c.inputs.push_back({.shape = {o, j.parts * j.x[1], j.kernel, j.kernel}});
  for (const int64_t o : j.outputs)
    if (with_bias) c.inputs.push_back({.shape = {o}});
  c.atol = 1e-5 * std::max(1.0, double(j.x.elements()) / double(j.x[1]) / 100);
  check(c);
}
void check_joint(const JointCase& j) {
  for (bool relu_input : {false, true})
    for (bool with_bias : {false, true}) check_joint(j, relu_input, with_bias);
}

Conv2dDesc depthwise(int64_t channels, int stride, int padding, int dilation) {
  return {.stride = stride, .padding = padding, .dilation = dilation, .groups = int(channels)};
}

}  // namespace

TEST_CASE("conv2d: depthwise kernels of the search spaces match the double oracle", "[ops][conv2d]") {
  for (int k : {3, 5, 7})
    for (int stride : {1, 2})
      for (int dilation : {1, 2}) {
        const int padding = dilation * (k - 1) / 2;
        check_conv2d({2, 3, 8, 8}, 3, k, k, depthwise(3, stride, padding, dilation));
        check_conv2d({1, 2, 16, 16}, 2, k, k, depthwise(2, stride, padding, dilation));
      }
  check_conv2d({1, 2, 32, 32}, 2, 3, 3, depthwise(2, 1, 1, 1));
  check_conv2d({1, 2, 32, 32}, 2, 5, 5, depthwise(2, 1, 4, 2));
}

TEST_CASE("conv2d: depthwise on odd sizes and paddings matches the double oracle", "[ops][conv2d]") {
  check_conv2d({2, 3, 5, 7}, 3, 3, 3, depthwise(3, 1, 1, 1));
  check_conv2d({2, 2, 7, 19}, 2, 5, 5, depthwise(2, 1, 2, 1));
  check_conv2d({1, 2, 9, 33}, 2, 3, 3, depthwise(2, 2, 1, 1));
  check_conv2d({1, 3, 11, 13}, 3, 5, 5, depthwise(3, 2, 4, 2));
  check_conv2d({1, 2, 9, 9}, 2, 3, 3, depthwise(2, 1, 0, 1));
  check_conv2d({1, 2, 6, 6}, 2, 3, 3, depthwise(2, 1, 3, 1));  // more padding than the kernel reaches
  check_conv2d({1, 2, 9, 10}, 2, 3, 3, depthwise(2, 3, 1, 1));
  check_conv2d({2, 2, 8, 8}, 2, 2, 2, depthwise(2, 2, 0, 1));
  check_conv2d({1, 2, 8, 9}, 2, 1, 7, depthwise(2, 1, 3, 1));
  check_conv2d({1, 2, 8, 8}, 2, 1, 1, depthwise(2, 1, 0, 1));
  check_conv2d({1, 2, 13, 12}, 2, 9, 9, depthwise(2, 1, 4, 1));
  check_conv2d({1, 2, 13, 12}, 2, 3, 3, depthwise(2, 5, 1, 1));
  check_conv2d({3, 2, 1, 1}, 2, 3, 3, depthwise(2, 1, 1, 1));
  check_conv2d({2, 2, 8, 8}, 6, 3, 3, depthwise(2, 1, 1, 1));  // three filters per channel
}

TEST_CASE("conv2d: pointwise matches the double oracle", "[ops][conv2d]") {
  for (int stride : {1, 2}) {
    check_conv2d({2, 4, 8, 8}, 4, 1, 1, {.stride = stride});
    check_conv2d({2, 36, 8, 8}, 36, 1, 1, {.stride = stride});
    check_conv2d({1, 13, 16, 16}, 7, 1, 1, {.stride = stride});
    check_conv2d({2, 5, 7, 7}, 9, 1, 1, {.stride = stride});
    check_conv2d({3, 17, 3, 5}, 21, 1, 1, {.stride = stride});
  }
  check_conv2d({1, 300, 4, 4}, 8, 1, 1, {});  // a reduction longer than one block
  check_conv2d({5, 6, 1, 1}, 3, 1, 1, {});
  // Fewer outputs than half of the inputs: the weights' gradient transposes d_y.
  check_conv2d({3, 300, 3, 5}, 30, 1, 1, {});
  check_conv2d({2, 64, 5, 7}, 30, 1, 1, {.groups = 2});
  check_conv2d({1, 33, 24, 25}, 16, 1, 1, {});
  check_conv2d({1, 290, 2, 3}, 144, 1, 1, {});
  check_conv2d({1, 3, 4, 4}, 2, 1, 1, {.padding = 1});
}

TEST_CASE("conv2d: pointwise of an x in parts matches the double oracle of their concatenation",
          "[ops][conv2d]") {
  check_joint({{2, 16, 8, 8}, 4, {16}});  // a cell's four nodes
  check_joint({{2, 36, 8, 8}, 4, {12}});
  check_joint({{2, 3, 7, 7}, 3, {9}});  // images are taken together, rows do not fill vectors
  check_joint({{2, 5, 1, 3}, 8, {2}});
  check_joint({{1, 70, 4, 4}, 4, {3}});    // parts end within a panel
  check_joint({{1, 130, 3, 3}, 2, {40}});  // a reduction longer than one block
  check_joint({{2, 1, 5, 5}, 2, {1}});
}

TEST_CASE("conv2d: several weights of one x match the double oracle of each", "[ops][conv2d]") {
  check_joint({{2, 16, 8, 8}, 4, {16, 16}});    // two cells read a cell's four nodes
  check_joint({{2, 9, 7, 5}, 4, {9, 18}});      // the second one halves its size
  check_joint({{3, 12, 4, 4}, 1, {4, 5, 11}});  // the stem
  check_joint({{1, 6, 16, 17}, 2, {1, 2}});
  // The weights' gradient transposes d_y, in blocks of fewer pixels where there are many outputs.
  check_joint({{2, 21, 6, 6}, 2, {10, 6}}, true, false);
  check_joint({{1, 104, 5, 13}, 4, {112, 96}, {}, 1, true, -1, 2}, true, false);
  check_joint({{1, 8, 3, 3}, 2, {200, 190}, {}, 1, true, -1, 2}, true, false);  // outputs end within a panel
  // Large images: d_y and x are read where they lie, in tiles of 6 x 4, the latter cut into 1024 pixels.
  check_joint({{2, 7, 23, 25}, 2, {5, 9}});
  check_joint({{1, 3, 33, 36}, 1, {2, 4}}, true, false);
  check_joint({{2, 3, 5, 5}, 2, {4, 6}, {}, 1, true, 0}, true, true);
  check_joint({{2, 3, 5, 5}, 2, {4, 6, 3}, {}, 1, true, 1}, true, true);
  check_joint({{2, 3, 5, 5}, 2, {2, 2, 2, 2, 2, 2, 2, 2, 2}, {}, 1, false}, false, true);  // too many
}

TEST_CASE("conv2d: what cannot read parts where they lie reads their concatenation", "[ops][conv2d]") {
  check_joint({{2, 3, 6, 6}, 2, {4}, {.padding = 1}, 3, false});
  check_joint({{2, 3, 6, 6}, 2, {4, 2}, {.stride = 2}, 1, false});
  check_joint({{1, 2, 4, 4}, 9, {4}, {}, 1, false});
  check_joint({{1, 2, 4, 4}, 1, {4}});
}

TEST_CASE("conv2d: dense kernels match the double oracle", "[ops][conv2d]") {
  check_conv2d({2, 3, 8, 8}, 48, 3, 3, {.padding = 1});  // stem
  check_conv2d({1, 3, 9, 11}, 5, 3, 3, {.stride = 2, .padding = 1});
  check_conv2d({1, 4, 16, 16}, 7, 3, 3, {.padding = 1});
  check_conv2d({1, 4, 8, 8}, 6, 3, 3, {.padding = 2, .dilation = 2});
  check_conv2d({1, 3, 10, 7}, 4, 5, 3, {.stride = 2, .padding = 2, .dilation = 2});
  check_conv2d({3, 8, 2, 2}, 12, 2, 2, {});  // auxiliary head
  check_conv2d({1, 2, 6, 6}, 3, 3, 3, {.stride = 3});
  check_conv2d({1, 40, 5, 5}, 3, 3, 3, {.padding = 1});
  check_conv2d({1, 2, 4, 4}, 2, 4, 4, {.padding = 6});                 // some outputs see padding only
  check_conv2d({1, 4, 23, 27}, 5, 3, 3, {.stride = 2, .padding = 1});  // panels of pixels begin within a row
  check_conv2d({1, 4, 23, 27}, 5, 1, 1, {.stride = 2});
  check_conv2d({1, 2, 13, 12}, 3, 3, 3, {.stride = 5, .padding = 1});
  check_conv2d({1, 3, 5, 5}, 2, 3, 3, {.padding = 300, .dilation = 300});  // planes too large to keep
}

TEST_CASE("conv2d: grouped convolution matches the double oracle", "[ops][conv2d]") {
  check_conv2d({2, 6, 7, 7}, 4, 3, 3, {.padding = 1, .groups = 2});
  check_conv2d({1, 8, 8, 8}, 12, 1, 1, {.groups = 4});
  check_conv2d({1, 6, 9, 8}, 9, 3, 3, {.stride = 2, .padding = 2, .dilation = 2, .groups = 3});
}

TEST_CASE("conv2d: many images and planes match the double oracle", "[ops][conv2d]") {
  // More planes than one task copies at a time; more images than there are chunks of weight-gradient sums.
  check_conv2d({2, 40, 8, 8}, 40, 3, 3, depthwise(40, 1, 1, 1));
  check_conv2d({2, 40, 8, 8}, 40, 5, 5, depthwise(40, 2, 2, 1));
  check_conv2d({35, 2, 8, 8}, 2, 3, 3, depthwise(2, 1, 2, 2));
  check_conv2d({35, 5, 7, 7}, 3, 1, 1, {});
  check_conv2d({35, 3, 8, 8}, 5, 3, 3, {.padding = 1});
  check_conv2d({35, 4, 2, 2}, 3, 2, 2, {});
  check_conv2d({3, 3, 7, 19}, 7, 3, 3, {.padding = 1});
  check_conv2d({2, 300, 2, 2}, 5, 1, 1, {.stride = 2});
  check_conv2d({3, 4, 3, 3}, 270, 1, 1, {.padding = 1});  // more outputs than one panel holds
}

TEST_CASE("conv2d: shapes that do not fit are refused with the remedy", "[ops][conv2d]") {
  Graph graph;
  auto leaf = [&](Shape s) { return graph.leaf(Storage::create(s)); };
  const Tensor x = leaf({2, 3, 8, 8});
  auto message = [&](auto record) -> std::string {
    try {
      record();
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  CHECK_THAT(message([&] {
               conv2d(x, leaf({4, 16, 3, 3}));
             }),
             ContainsSubstring("[conv2d] weight (4, 16, 3, 3)") &&
                 ContainsSubstring("expects 16 input channels") && ContainsSubstring("(2, 3, 8, 8) has 3"));
  CHECK_THAT(message([&] {
               conv2d(x, leaf({4, 3, 3, 3}), {.groups = 2});
             }),
             ContainsSubstring("groups 2 must divide"));
  CHECK_THAT(message([&] {
               conv2d(x, leaf({4, 3, 9, 9}));
             }),
             ContainsSubstring("spans 9 pixels") && ContainsSubstring("enlarge the padding"));
  CHECK_THAT(message([&] {
               conv2d(x, leaf({4, 3, 3}));
             }),
             ContainsSubstring("must be (O, C/groups, KH, KW)"));
  CHECK_THAT(message([&] {
               conv2d(leaf({2, 3}), leaf({4, 3, 3, 3}));
             }),
             ContainsSubstring("must be (N, C, H, W)"));
  CHECK_THAT(message([&] { conv2d(x, leaf({4, 3, 3, 3}), {.stride = 0}); }), ContainsSubstring("stride 0"));
  CHECK_THAT(message([&] {
               conv2d(x, leaf({4, 3, 3, 3}), {}, leaf({5}));
             }),
             ContainsSubstring("bias (5) must be (4)"));
  CHECK_THAT(message([&] { conv2d(x, Tensor{}); }), ContainsSubstring("one of them is empty"));
  CHECK_THAT(message([&] {
               conv2d(std::vector{x, x}, leaf({4, 3, 1, 1}));
             }),
             ContainsSubstring("weight (4, 3, 1, 1) expects 3 input channels, 2 parts (2, 3, 8, 8) have 6"));
  CHECK_THAT(message([&] {
               conv2d(std::vector{x, x}, leaf({4, 6, 1, 1}), {}, leaf({5}));
             }),
             ContainsSubstring("bias (5) must be (4)"));
  CHECK_THAT(message([&] {
               conv2d(std::vector<Tensor>{}, leaf({4, 6, 1, 1}));
             }),
             ContainsSubstring("at least one part"));
  CHECK_THAT(message([&] { conv2d({x}, std::vector<ConvWeights>{}); }),
             ContainsSubstring("there must be a weight"));
  CHECK_THAT(message([&] {
               conv2d({x}, std::vector<ConvWeights>{{leaf({4, 3, 1, 1}), {}}, {leaf({4, 5, 1, 1}), {}}});
             }),
             ContainsSubstring("weight (4, 5, 1, 1)") && ContainsSubstring("expects 5 input channels"));
  CHECK_THAT(message([&] {
               conv2d(leaf({0, 3, 8, 8}), leaf({4, 3, 3, 3}));
             }),
             ContainsSubstring("must not be empty"));
}
