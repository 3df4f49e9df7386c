#include "ops/separable_stage.h"

#include <cmath>

#include "core/gradients.h"
#include "core/program.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

struct Branch {
  int input, kernel, dilation, outputs;
};

struct StageCase {
  std::string name;
  Shape x;
  int channels;  // read
  int stride;
  bool affine;
  int inputs;
  std::vector<Branch> branches;
};

// y of one branch, then scale and shift of its normalisation.
std::vector<Array> branch_oracle(const Array& x, const Array* affine, const Array& depthwise,
                                 const Array& pointwise, int channels, int stride, int dilation, double eps) {
  Array u({x.shape[0], channels, x.shape[2], x.shape[3]});
  for (int64_t n = 0; n < u.shape[0]; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t h = 0; h < u.shape[2]; ++h)
        for (int64_t w = 0; w < u.shape[3]; ++w) {
          double v = x.at(n, c, h, w);
          if (affine) v = v * affine->at(0, c) + affine->at(1, c);
          u.at(n, c, h, w) = std::max(v, 0.0);
        }
  const int64_t k = depthwise.shape[2], pad = dilation * (k - 1) / 2, outputs = pointwise.shape[0];
  Array y({x.shape[0], outputs, (x.shape[2] + stride - 1) / stride, (x.shape[3] + stride - 1) / stride});
  for (int64_t n = 0; n < y.shape[0]; ++n)
    for (int64_t h = 0; h < y.shape[2]; ++h)
      for (int64_t w = 0; w < y.shape[3]; ++w)
        for (int64_t c = 0; c < channels; ++c) {
          double t = 0;
          for (int64_t p = 0; p < k; ++p)
            for (int64_t q = 0; q < k; ++q)
              t += depthwise.at(c, 0, p, q) *
                   u.padded(n, c, h * stride - pad + p * dilation, w * stride - pad + q * dilation);
          for (int64_t o = 0; o < outputs; ++o) y.at(n, o, h, w) += pointwise.at(o, c, 0, 0) * t;
        }
  Array norm({2, outputs});
  const int64_t pixels = y.shape[2] * y.shape[3];
  for (int64_t o = 0; o < outputs; ++o) {
    double sum = 0, squares = 0;
    for (int64_t n = 0; n < y.shape[0]; ++n)
      for (int64_t i = 0; i < pixels; ++i) sum += y.v[size_t((n * outputs + o) * pixels + i)];
    const double mean = sum / double(y.shape[0] * pixels);
    for (int64_t n = 0; n < y.shape[0]; ++n)
      for (int64_t i = 0; i < pixels; ++i)
        squares += std::pow(y.v[size_t((n * outputs + o) * pixels + i)] - mean, 2);
    norm.at(0, o) = 1 / std::sqrt(squares / double(y.shape[0] * pixels) + eps);
    norm.at(1, o) = -mean * norm.at(0, o);
  }
  return {y, norm};
}

OpCase make(const StageCase& s) {
  OpCase c;
  c.name = s.name;
  for (int i = 0; i < s.inputs; ++i) c.inputs.push_back({.shape = s.x});
  if (s.affine)
    for (int i = 0; i < s.inputs; ++i) c.inputs.push_back({.shape = {2, s.channels}, .low = .2f, .high = 1});
  for (const Branch& b : s.branches) {
    c.inputs.push_back({.shape = {s.channels, 1, b.kernel, b.kernel}});
    c.inputs.push_back({.shape = {b.outputs, s.channels, 1, 1}});
  }
  const size_t weights = size_t(s.inputs) * (s.affine ? 2 : 1);
  constexpr float eps = 1e-3f;
  c.record = [=](Graph&, const std::vector<Tensor>& x) {
    std::vector<DeferredNorm> inputs;
    for (int i = 0; i < s.inputs; ++i)
      inputs.push_back({x[size_t(i)], s.affine ? x[size_t(s.inputs + i)] : Tensor{}});
    std::vector<SeparableBranch> branches;
    for (size_t b = 0; b < s.branches.size(); ++b)
      branches.push_back(
          {s.branches[b].input, x[weights + 2 * b], x[weights + 2 * b + 1], s.branches[b].dilation});
    std::vector<Tensor> outputs;
    const int channels = s.channels == s.x[1] ? 0 : s.channels;
    for (const DeferredNorm& y : separable_stage(inputs, branches, {channels, s.stride, eps})) {
      outputs.push_back(y.y);
      outputs.push_back(y.affine);
    }
    return outputs;
  };
  c.oracle = [=](const std::vector<Array>& x) {
    std::vector<Array> outputs;
    for (size_t b = 0; b < s.branches.size(); ++b) {
      const int i = s.branches[b].input;
      for (Array& y :
           branch_oracle(x[size_t(i)], s.affine ? &x[size_t(s.inputs + i)] : nullptr, x[weights + 2 * b],
                         x[weights + 2 * b + 1], s.channels, s.stride, s.branches[b].dilation, eps))
        outputs.push_back(std::move(y));
    }
    return outputs;
  };
  c.rtol = 1e-3;  // sums over the batch of products of sums
  c.atol = 2e-3;
  c.probes = 10;
  return c;
}

const std::vector<Branch> kAll{{0, 3, 1, 4}, {0, 5, 1, 4}, {0, 3, 2, 4}, {0, 5, 2, 4}};

}  // namespace

TEST_CASE("separable stage: every kernel, stride and width matches the double oracle",
          "[ops][separable_stage]") {
  check(make({"part of the channels", {3, 8, 16, 16}, 4, 1, false, 1, kAll}));
  check(make({"part of the channels, stride 2", {3, 8, 16, 16}, 4, 2, false, 1, kAll}));
  check(make({"eight columns", {2, 4, 8, 8}, 4, 1, false, 1, kAll}));
  check(make({"eight columns, pairs and a channel", {2, 7, 8, 8}, 5, 1, true, 1, kAll}));
  check(make({"odd sides", {2, 5, 7, 9}, 5, 1, false, 1, {{0, 3, 1, 3}, {0, 5, 2, 6}}}));
  check(make({"odd sides, stride 2", {2, 3, 9, 17}, 3, 2, false, 1, {{0, 5, 1, 5}, {0, 3, 2, 2}}}));
  check(make({"one pixel", {4, 3, 1, 1}, 3, 1, false, 1, {{0, 3, 1, 2}, {0, 5, 2, 3}}}));
  check(make({"one column, stride 2", {4, 2, 3, 1}, 2, 2, false, 1, {{0, 5, 1, 2}}}));
}

TEST_CASE("separable stage: inputs with a deferred normalisation", "[ops][separable_stage]") {
  check(make({"two inputs", {3, 4, 16, 16}, 4, 1, true, 2, {{0, 3, 1, 4}, {1, 5, 1, 4}}}));
  check(make({"shared input", {2, 8, 8, 8}, 8, 1, true, 2, {{0, 3, 1, 8}, {1, 5, 1, 9}, {0, 5, 1, 4}}}));
  check(make({"stride 2", {2, 3, 10, 12}, 3, 2, true, 1, {{0, 3, 1, 3}, {0, 5, 1, 3}}}));
}

// As many channels as the longest vectors have lanes, or a multiple: the CPU's kernels take them in blocks.
TEST_CASE("separable stage: channels in blocks", "[ops][separable_stage]") {
  if (emulated_device) return;  // which knows no blocks, and takes minutes under a sanitizer
  const std::vector<Branch> wide{{0, 3, 1, 16}, {0, 5, 1, 5}, {0, 3, 2, 17}, {0, 5, 2, 16}};
  check(make({"sixteen channels, rows of eight", {2, 16, 8, 8}, 16, 1, false, 1, wide}));
  check(make({"rows of eight, stride 2", {2, 16, 16, 16}, 16, 2, false, 1, wide}));
  check(make({"part of the channels, rows of sixteen", {2, 20, 16, 16}, 16, 1, false, 1, wide}));
  check(make({"rows of four, stride 2", {3, 16, 8, 8}, 16, 2, true, 1, wide}));
  check(make({"odd sides", {2, 16, 5, 11}, 16, 1, true, 1, {{0, 5, 2, 3}, {0, 3, 1, 16}}}));
  check(make({"odd sides, stride 2", {2, 16, 9, 7}, 16, 2, true, 1, {{0, 5, 1, 3}, {0, 5, 2, 16}}}));
  check(make({"three blocks", {2, 48, 8, 8}, 48, 1, true, 1, {{0, 3, 1, 48}, {0, 5, 2, 3}}}));
  check(make({"five blocks", {1, 80, 4, 8}, 80, 1, false, 1, {{0, 3, 2, 20}}}));
  check(make({"two inputs", {2, 32, 8, 8}, 32, 1, true, 2, {{0, 3, 1, 32}, {1, 5, 1, 32}}}));
  check(make({"35 images", {35, 16, 4, 4}, 16, 1, true, 1, {{0, 3, 1, 16}, {0, 5, 1, 2}}}));
}

// Where no two branches share an input its channels go through the CPU's backward pass in groups; those that
// fill no block come last.
TEST_CASE("separable stage: channels in groups", "[ops][separable_stage]") {
  if (emulated_device) return;  // as above
  check(make({"two blocks and a rest", {2, 40, 8, 8}, 40, 1, true, 1, {{0, 3, 1, 9}}}));
  check(make({"a block and a rest, stride 2", {2, 20, 10, 12}, 20, 2, false, 1, {{0, 5, 2, 3}}}));
  check(make({"long rows", {2, 20, 4, 33}, 20, 1, true, 1, {{0, 3, 2, 5}}}));
  check(make({"long rows, stride 2", {2, 8, 3, 64}, 8, 2, false, 1, {{0, 3, 1, 2}}}));
  check(make({"part of the channels", {3, 24, 5, 6}, 19, 1, true, 1, {{0, 3, 1, 4}}}));
  check(make({"two inputs", {2, 21, 6, 6}, 21, 1, true, 2, {{0, 3, 1, 4}, {1, 5, 1, 7}}}));
}

// Images of 16 and 32 columns and whole groups of eight rows, which CPUs with long vectors read where they
// lie.
TEST_CASE("separable stage: images without borders", "[ops][separable_stage]") {
  if (emulated_device) return;  // as above
  for (const int kernel : {3, 5})
    for (const int dilation : {1, 2}) {
      const std::vector<Branch> one{{0, kernel, dilation, 6}};
      check(make({fmt::format("only branch, kernel {} dilation {}", kernel, dilation),
                  {2, 5, 16, 16},
                  5,
                  1,
                  kernel == 3,
                  1,
                  one}));
      check(make({fmt::format("long rows, kernel {} dilation {}", kernel, dilation),
                  {1, 3, 24, 32},
                  3,
                  1,
                  dilation == 1,
                  1,
                  one}));
    }
  check(make({"shared input", {2, 3, 16, 32}, 3, 1, true, 1, kAll}));
  check(make({"a block of channels", {2, 16, 16, 16}, 16, 1, false, 1, {{0, 5, 2, 4}, {0, 3, 1, 16}}}));
  check(make({"a block of long rows", {1, 16, 16, 32}, 16, 1, true, 1, {{0, 3, 2, 5}}}));
  check(make({"part of the channels", {2, 19, 16, 16}, 18, 1, true, 1, {{0, 3, 1, 4}}}));
  check(make({"two inputs", {2, 7, 32, 16}, 7, 1, true, 2, {{0, 3, 1, 4}, {1, 5, 1, 7}}}));
}

// Blocks take sums of d * x from u = scale * x + shift, where the scale allows it. A channel more, of no
// weight, and the same is computed by whole channels.
TEST_CASE("separable stage: gradients of scales that are zero or small beside the shift",
          "[ops][separable_stage]") {
  auto gradient = [](int channels) {
    Graph g(test_device());
    auto leaf = [&](Shape shape, auto&& value) {
      std::vector<float> values(size_t(shape.elements()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = value(int(i));
      const Storage storage = test_storage(shape);
      storage.upload(values);
      return g.leaf(storage);
    };
    auto wave = [](int i) { return std::sin(float(i)); };
    const Tensor x = leaf({2, 17, 8, 8}, wave);
    const Tensor affine = leaf({2, channels}, [&](int i) {
      const float scales[] = {0, 1e-6f, -1e-3f, .5f};
      return i < channels ? scales[i % 4] : .3f + .2f * wave(i - channels);
    });
    const Tensor depthwise = leaf({channels, 1, 3, 3}, wave);
    const Tensor pointwise = leaf({4, channels, 1, 1}, [&](int i) {
      return i % channels < 16 ? wave(31 * (i / channels) + i % channels) : 0.f;
    });
    // Two branches share x, so 17 channels are not cut into a block and a rest.
    const std::vector<DeferredNorm> y = separable_stage(
        {{x, affine}}, {{0, depthwise, pointwise}, {0, depthwise, pointwise}}, {.channels = channels});
    const Tensor seed = leaf(y[0].y.shape(), [&](int i) { return wave(7 * i); });
    const Storage d = test_storage(affine.shape());
    vector_jacobian(std::vector{y[0].y, y[1].y}, std::vector{seed, seed}, std::vector{affine}, {.into = {d}});
    compile(g).run();
    std::vector<float> values(size_t(affine.shape().elements()));
    d.download(values);
    return values;
  };
  const std::vector<float> blocks = gradient(16), whole = gradient(17);
  for (int i = 0; i < 32; ++i) {
    INFO("entry " << i);
    CHECK(std::abs(blocks[size_t(i)] - whole[size_t(i + i / 16)]) < 2e-4f);
  }
}

TEST_CASE("separable stage: more images than chunks", "[ops][separable_stage]") {
  check(make({"35 images", {35, 2, 4, 5}, 2, 1, true, 1, {{0, 3, 1, 2}, {0, 5, 1, 2}}}));
}

TEST_CASE("separable stage: refuses what does not fit, naming shapes", "[ops][separable_stage]") {
  Graph g;
  const Tensor x = g.leaf(Storage::create({2, 4, 8, 8})), p = g.leaf(Storage::create({4, 4, 1, 1}));
  const Tensor d3 = g.leaf(Storage::create({4, 1, 3, 3})), d7 = g.leaf(Storage::create({4, 1, 7, 7}));
  CHECK_THROWS_WITH(separable_stage({{x, {}}}, {{0, d7, p}}),
                    ContainsSubstring("[separable_stage] depthwise weight (4, 1, 7, 7)"));
  CHECK_THROWS_WITH(separable_stage({{x, {}}}, {{1, d3, p}}), ContainsSubstring("branch reads input 1 of 1"));
  CHECK_THROWS_WITH(separable_stage({{x, {}}}, {{0, d3, p}}, {.channels = 2}),
                    ContainsSubstring("must be (2, 1, K, K)"));
  CHECK_THROWS_WITH(separable_stage({{x, {}}}, {{0, d3, p, 3}}), ContainsSubstring("dilation 3"));
}
