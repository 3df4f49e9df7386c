#include "ops/separable_conv.h"

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

struct Case {
  Shape x;
  int outputs, kernel, dilation, stride;
  bool addend;
};

std::vector<Array> oracle(const Case& s, const std::vector<Array>& in) {
  const int64_t pad = s.dilation * (s.kernel - 1) / 2;
  Array y({s.x[0], s.outputs, (s.x[2] + s.stride - 1) / s.stride, (s.x[3] + s.stride - 1) / s.stride});
  for (int64_t n = 0; n < y.shape[0]; ++n)
    for (int64_t h = 0; h < y.shape[2]; ++h)
      for (int64_t w = 0; w < y.shape[3]; ++w) {
        for (int64_t o = 0; o < s.outputs; ++o)
          y.at(n, o, h, w) = in[3].v[size_t(o)] + (s.addend ? in[4].at(n, o, h, w) : 0);
        for (int64_t c = 0; c < s.x[1]; ++c) {
          double t = 0;
          for (int64_t p = 0; p < s.kernel; ++p)
            for (int64_t q = 0; q < s.kernel; ++q)
              t +=
                  in[1].at(c, 0, p, q) * std::max(0.0, in[0].padded(n, c, h * s.stride - pad + p * s.dilation,
                                                                    w * s.stride - pad + q * s.dilation));
          for (int64_t o = 0; o < s.outputs; ++o) y.at(n, o, h, w) += in[2].at(o, c, 0, 0) * t;
        }
      }
  return {y};
}

void check_case(const Case& s) {
  OpCase c;
  c.name = fmt::format("{} to {} channels, kernel {}, dilation {}, stride {}, addend {}", s.x.str(),
                       s.outputs, s.kernel, s.dilation, s.stride, s.addend);
  const int64_t channels = s.x[1];
  c.inputs = {{.shape = s.x},
              {.shape = {channels, 1, s.kernel, s.kernel}},
              {.shape = {s.outputs, channels, 1, 1}},
              {.shape = {s.outputs}}};
  if (s.addend)
    c.inputs.push_back({.shape = {s.x[0], s.outputs, (s.x[2] + s.stride - 1) / s.stride,
                                  (s.x[3] + s.stride - 1) / s.stride}});
  c.record = [s](Graph&, const std::vector<Tensor>& x) {
    return std::vector{separable_conv(x[0], x[1], x[2], x[3], {.stride = s.stride, .dilation = s.dilation},
                                      s.addend ? x[4] : Tensor())};
  };
  c.oracle = [s](const std::vector<Array>& in) { return oracle(s, in); };
  c.gradients = false;
  check(c);
}

}  // namespace

TEST_CASE("separable_conv: every kernel, stride and dilation matches the double oracle",
          "[ops][separable_conv]") {
  for (int kernel : {3, 5})
    for (int dilation : {1, 2})
      for (int stride : {1, 2})
        for (bool addend : {false, true}) {
          check_case({{1, 5, 16, 16}, 7, kernel, dilation, stride, addend});
          check_case({{2, 3, 9, 11}, 4, kernel, dilation, stride, addend});
        }
}

TEST_CASE("separable_conv: shapes of the published networks and small ones", "[ops][separable_conv]") {
  check_case({{1, 36, 32, 32}, 36, 3, 1, 1, true});
  for (int kernel : {3, 5})
    for (int dilation : {1, 2}) {
      check_case({{1, 3, 8, 8}, 2, kernel, dilation, 1, false});
      check_case({{2, 2, 24, 32}, 3, kernel, dilation, 1, false});
      check_case({{1, 2, 8, 16}, 3, kernel, dilation, 1, false});  // fewer rows than are read where they lie
    }
  check_case({{3, 18, 8, 8}, 18, 5, 2, 1, true});
  check_case({{1, 12, 32, 32}, 24, 5, 1, 2, false});
  check_case({{2, 1, 1, 1}, 1, 5, 2, 1, false});
  check_case({{1, 2, 2, 3}, 3, 3, 2, 2, true});
  check_case({{1, 9, 28, 56}, 5, 5, 2, 1, true});
}

TEST_CASE("separable_conv: what does not fit is refused", "[ops][separable_conv]") {
  Graph g;
  auto leaf = [&](Shape s) { return g.leaf(Storage::create(s)); };
  const Tensor x = leaf({1, 4, 8, 8}), d = leaf({4, 1, 3, 3}), p = leaf({6, 4, 1, 1}), b = leaf({6});
  CHECK_THROWS_WITH(separable_conv(x, leaf({4, 1, 7, 7}), p, b),
                    ContainsSubstring("conv2d takes other kernels"));
  CHECK_THROWS_WITH(separable_conv(x, d, leaf({6, 5, 1, 1}), b), ContainsSubstring("must be (O, 4, 1, 1)"));
  CHECK_THROWS_WITH(separable_conv(x, d, p, leaf({4})), ContainsSubstring("bias (4) must be (6)"));
  CHECK_THROWS_WITH(separable_conv(x, d, p, b, {.stride = 3}), ContainsSubstring("stride 3"));
  CHECK_THROWS_WITH(separable_conv(x, d, p, b, {.dilation = 4}), ContainsSubstring("dilation 4"));
  CHECK_THROWS_WITH(separable_conv(x, d, p, b, {}, leaf({1, 6, 4, 4})),
                    ContainsSubstring("addend (1, 6, 4, 4)"));
}
