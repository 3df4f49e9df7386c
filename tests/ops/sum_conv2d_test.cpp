#include "ops/sum_conv2d.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/gradients.h"
#include "core/program.h"
#include "ops/arithmetic.h"
#include "ops/conv2d.h"
#include "ops/norm_sum.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

// Operands: the terms of all parts, the affine of each that has one, a weight for each output.
struct SumCase {
  Shape x;
  std::vector<std::vector<bool>> parts;  // for each term whether it has an affine
  std::vector<int64_t> outputs;
  int probes = 8;
  int only = -1;  // the output that anybody reads; -1: all

  std::vector<OpInput> operands() const {
    std::vector<OpInput> in, affines;
    for (const auto& terms : parts)
      for (const bool affine : terms) {
        in.push_back({.shape = x});
        if (affine) affines.push_back({.shape = {2, x[1]}});
      }
    in.insert(in.end(), affines.begin(), affines.end());
    for (const int64_t o : outputs) in.push_back({.shape = {o, int64_t(parts.size()) * x[1], 1, 1}});
    return in;
  }
  // f(part, term, its affine or -1), by operands; returns the first weight's position.
  template <class F>
  size_t for_terms(F f) const {
    size_t term = 0, affine = 0;
    for (const auto& terms : parts) affine += terms.size();
    for (size_t p = 0; p < parts.size(); ++p)
      for (const bool has : parts[p]) {
        f(p, term++, has ? int(affine) : -1);
        affine += size_t(has);
      }
    return affine;
  }
  SumParts parts_of(const std::vector<Tensor>& in) const {
    SumParts result(parts.size());
    for_terms([&](size_t p, size_t term, int affine) {
      result[p].push_back({in[term], affine < 0 ? Tensor() : in[size_t(affine)]});
    });
    return result;
  }
};

std::vector<Array> oracle(const SumCase& c, const std::vector<Array>& in) {
  std::vector<Array> sums(c.parts.size(), Array(c.x));
  const int64_t pixels = c.x[2] * c.x[3];
  const size_t first_weight = c.for_terms([&](size_t p, size_t term, int affine) {
    for (size_t i = 0; i < sums[p].v.size(); ++i) {
      const int64_t channel = int64_t(i) / pixels % c.x[1];
      const Array* const a = affine < 0 ? nullptr : &in[size_t(affine)];
      sums[p].v[i] += a ? a->at(0, channel) * in[term].v[i] + a->at(1, channel) : in[term].v[i];
    }
  });
  const Array x = join_channels(sums);
  std::vector<Array> y;
  for (size_t k = 0; k < c.outputs.size(); ++k) {
    Array out(Shape{c.x[0], c.outputs[k], c.x[2], c.x[3]});
    const Array& w = in[first_weight + k];
    for (int64_t n = 0; n < c.x[0]; ++n)
      for (int64_t o = 0; o < c.outputs[k]; ++o)
        for (int64_t i = 0; i < x.shape[1]; ++i)
          for (int64_t p = 0; p < pixels; ++p)
            out.v[size_t((n * c.outputs[k] + o) * pixels + p)] +=
                w.at(o, i, 0, 0) * std::max(0.0, x.v[size_t((n * x.shape[1] + i) * pixels + p)]);
    y.push_back(out);
  }
  return c.only < 0 ? y : std::vector{y[size_t(c.only)]};
}

void check_sums(const SumCase& c) {
  size_t terms = 0;
  for (const auto& part : c.parts) terms += part.size();
  OpCase op{.name = fmt::format("{} parts, {} terms of {} to {} channels", c.parts.size(), terms, c.x.str(),
                                fmt::join(c.outputs, "+")),
            .inputs = c.operands(),
            .record =
                [c](Graph&, const std::vector<Tensor>& in) {
                  const size_t first_weight = c.for_terms([](size_t, size_t, int) {});
                  const auto y = sum_conv2d(c.parts_of(in), {in.begin() + int(first_weight), in.end()});
                  return c.only < 0 ? y : std::vector{y[size_t(c.only)]};
                },
            .oracle = [c](const std::vector<Array>& in) { return oracle(c, in); },
            .probes = c.probes};
  op.atol = 1e-5 * std::max(1.0, double(c.x.elements()) / double(c.x[1]) / 50);
  check(op);
}

}  // namespace

TEST_CASE("sum_conv2d: values and gradients match the double oracle", "[ops][sum_conv2d]") {
  check_sums({{2, 5, 8, 8}, {{true, true}, {true, false}, {false}, {true}}, {7, 3}});
  check_sums({{3, 4, 4, 8}, {{false, true}}, {5}});
  check_sums({{1, 1, 32, 32}, {{true, true}, {false, true}}, {4, 4}});
  check_sums({{5, 8, 16, 16}, {{true, true}, {true, true}}, {8, 8}});
  check_sums({{18, 3, 8, 8}, {{true, false}, {true, true}}, {6, 2}});  // chunks of two images
}

TEST_CASE("sum_conv2d: sizes at which kernels change match the double oracle", "[ops][sum_conv2d]") {
  check_sums({{2, 9, 32, 32}, {{true, true}, {false, true}}, {11, 12}, 4});  // dot products
  check_sums({{2, 36, 16, 16}, {{true, true}, {true, false}}, {24, 8}, 3});  // d_y transposed
  check_sums({{3, 32, 8, 8}, {{true, true}, {true, true}}, {16, 16}, 3});    // several images together
  check_sums({{1, 70, 8, 8}, {{true}, {true, true}, {true, true}, {false}}, {3}, 3});  // parts within panels
  check_sums({{1, 6, 8, 8}, {{true, true}, {true, true}}, {150, 140}, 3});             // two panels of d_y
}

TEST_CASE("sum_conv2d: an output that nobody reads has no part in gradients", "[ops][sum_conv2d]") {
  check_sums({{2, 5, 8, 8}, {{true, true}, {true, false}}, {7, 3}, 8, 1});
}

TEST_CASE("sum_conv2d: as conv2d of norm_sum, whose op is left out where nobody else reads it",
          "[ops][sum_conv2d]") {
  const Shape shape{4, 6, 8, 8};
  const SumCase c{shape, {{true, true}, {true, false}}, {5, 7}};
  std::vector<std::vector<float>> results[2];
  int nodes[2] = {};
  for (const bool fused : {false, true}) {
    Graph g(test_device());
    std::vector<Tensor> in;
    for (const OpInput& operand : c.operands()) {
      std::vector<float> values(size_t(operand.shape.elements()));
      for (size_t i = 0; i < values.size(); ++i) values[i] = float((i * 31 + in.size() * 17) % 101) / 50 - 1;
      const Storage s = test_storage(operand.shape);
      s.upload(std::span<const float>(values));
      in.push_back(g.leaf(s));
    }
    const std::vector<Tensor> w(in.end() - 2, in.end());
    std::vector<Tensor> sums;
    for (const std::vector<DeferredNorm>& terms : c.parts_of(in)) sums.push_back(norm_sum(terms));
    std::vector<Tensor> y;
    if (fused) {
      y = sum_conv2d({unread_terms(sums[0]), unread_terms(sums[1])}, w);
      CHECK(unread_terms(sums[0]).size() == 2);
    } else {
      y = conv2d(sums, {{w[0], {}}, {w[1], {}}}, {.relu_input = true});
      CHECK(unread_terms(sums[0]).size() == 1);  // conv2d reads it
    }
    CHECK(unread_terms(in[0])[0].y == in[0]);
    const Tensor loss = add(sum_all(mul(y[0], y[0])), sum_all(mul(y[1], y[1])));
    std::vector<Storage> wanted{g.bind_output(y[0]), g.bind_output(y[1])};
    for (const Tensor& t : gradients(loss, in)) wanted.push_back(g.bind_output(t));
    Program program = compile(g);
    program.run();
    program.wait();
    nodes[fused] = program.stats().nodes;
    for (const Storage& s : wanted) results[fused].push_back(s.to_vector());
  }
  CHECK(nodes[1] == nodes[0] - 5);  // two sums, their gradients, one of conv2d's
  for (size_t i = 0; i < results[0].size(); ++i)
    for (size_t k = 0; k < results[0][i].size(); ++k)
      REQUIRE(results[1][i][k] == Approx(results[0][i][k]).epsilon(1e-4).margin(1e-3));
}

TEST_CASE("sum_conv2d: what does not fit is refused", "[ops][sum_conv2d]") {
  Graph g;
  auto leaf = [&](Shape s) { return g.leaf(Storage::create(s)); };
  const Tensor x = leaf({2, 3, 8, 8}), w = leaf({4, 3, 1, 1});
  CHECK_THROWS_WITH(sum_conv2d({{{x, {}}}}, {}), ContainsSubstring("1 to 8 weights, not 0"));
  CHECK_THROWS_WITH(sum_conv2d({{{x, {}}}}, {leaf({4, 6, 1, 1})}),
                    ContainsSubstring("weight (4, 6, 1, 1) must be (O, 3, 1, 1): 1 parts of 3 channels"));
  CHECK_THROWS_WITH(sum_conv2d({{{x, leaf({2, 4})}}}, {w}),
                    ContainsSubstring("affine (2, 4) must be (2, 3)"));
  CHECK_THROWS_WITH(sum_conv2d({{{x, {}}, {leaf({2, 3, 8, 9}), {}}}}, {w}),
                    ContainsSubstring("must be equal"));
  CHECK_FALSE(readable_as_sums({}));
  CHECK_FALSE(readable_as_sums({{{x, {}}, {x, {}}, {x, {}}}}));
  CHECK_FALSE(readable_as_sums({{{leaf({2, 3, 5, 7}), {}}}}));  // no whole vectors
  CHECK_FALSE(readable_as_sums({{{leaf({2, 3, 4, 4}), {}}}}));  // too small
  CHECK_THROWS_WITH(sum_conv2d({{{leaf({2, 3, 4, 4}), {}}}}, {w}), ContainsSubstring("norm_sum()"));
}
