#include "ops/mixture.h"

#include <cmath>

#include "core/program.h"
#include "ops/deferred_pool.h"
#include "ops/scaled_channels.h"
#include "ops/separable_stage.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using namespace ladarts::testing;

namespace {

struct Pool {
  bool max;
  int column;
  bool affine;
};

struct Edge {
  std::vector<int> columns;  // of the terms
  std::vector<bool> affine;
  bool whole_source = true;  // false: the bypass alone
  int identity = -1;
  std::vector<Pool> pools = {};
};

struct MixCase {
  std::string name;
  Shape term;
  int groups;
  int first_row, rows, columns;
  bool edge_weights;
  std::vector<Edge> edges;
};

bool has_source(const MixCase& m, const Edge& e) {
  return m.groups > 1 || e.identity >= 0 || !e.pools.empty();
}

// The maximum or mean of the 3x3 window around (h, w).
double window_value(const Array& x, bool max, int64_t n, int64_t c, int64_t h, int64_t w) {
  double best = -1e300, sum = 0, count = 0;
  for (int64_t p = std::max<int64_t>(0, h - 1); p < std::min(x.shape[2], h + 2); ++p)
    for (int64_t q = std::max<int64_t>(0, w - 1); q < std::min(x.shape[3], w + 2); ++q) {
      best = std::max(best, x.at(n, c, p, q));
      sum += x.at(n, c, p, q);
      count += 1;
    }
  return max ? best : sum / count;
}

Array mix_oracle(const MixCase& m, const std::vector<Array>& x) {
  const int64_t c = m.term[1];
  Array out({m.term[0], c * m.groups, m.term[2], m.term[3]});
  size_t at = 1;
  const Array* edge_weights = m.edge_weights ? &x[at++] : nullptr;
  for (size_t e = 0; e < m.edges.size(); ++e) {
    const int64_t row = m.first_row + int64_t(e);
    const double b = edge_weights ? edge_weights->v[size_t(row)] : 1;
    std::vector<std::function<double(int64_t, int64_t, int64_t, int64_t)>> terms;
    for (size_t t = 0; t < m.edges[e].columns.size(); ++t) {
      const Array& y = x[at++];
      const Array* affine = m.edges[e].affine[t] ? &x[at++] : nullptr;
      const double w = b * x[0].at(row, m.edges[e].columns[t]);
      terms.push_back([=, &y](int64_t n, int64_t j, int64_t h, int64_t k) {
        return w * (affine ? affine->at(0, j) * y.at(n, j, h, k) + affine->at(1, j) : y.at(n, j, h, k));
      });
    }
    const Array* source = has_source(m, m.edges[e]) ? &x[at++] : nullptr;
    for (const Pool& pool : m.edges[e].pools) {
      const Array* affine = pool.affine ? &x[at++] : nullptr;
      const double w = b * x[0].at(row, pool.column);
      terms.push_back([=](int64_t n, int64_t j, int64_t h, int64_t k) {
        const double v = window_value(*source, pool.max, n, j, h, k);
        return w * (affine ? affine->at(0, j) * v + affine->at(1, j) : v);
      });
    }
    const int64_t begin = m.edges[e].whole_source ? c : 0;
    for (int64_t n = 0; n < out.shape[0]; ++n)
      for (int64_t in = 0; in < out.shape[1]; ++in)
        for (int64_t h = 0; h < out.shape[2]; ++h)
          for (int64_t w = 0; w < out.shape[3]; ++w) {
            double v = 0;
            if (in < c) {
              for (const auto& term : terms) v += term(n, in, h, w);
              if (m.edges[e].identity >= 0)
                v += b * x[0].at(row, m.edges[e].identity) * source->at(n, in, h, w);
            } else {
              v = b * source->at(n, begin + in - c, h, w);
            }
            out.at(n, in % c * m.groups + in / c, h, w) += v;
          }
  }
  return out;
}

OpCase make(const MixCase& m) {
  OpCase c;
  c.name = m.name;
  c.inputs.push_back({.shape = {m.rows, m.columns}});
  if (m.edge_weights) c.inputs.push_back({.shape = {m.rows}});
  for (const Edge& e : m.edges) {
    for (size_t t = 0; t < e.columns.size(); ++t) {
      c.inputs.push_back({.shape = m.term});
      if (e.affine[t]) c.inputs.push_back({.shape = {2, m.term[1]}});
    }
    if (has_source(m, e))
      c.inputs.push_back(
          {.shape = {m.term[0], m.term[1] * (m.groups - (e.whole_source ? 0 : 1)), m.term[2], m.term[3]}});
    for (const Pool& pool : e.pools)
      if (pool.affine) c.inputs.push_back({.shape = {2, m.term[1]}});
  }
  c.record = [m](Graph&, const std::vector<Tensor>& x) {
    size_t at = 1;
    const Tensor edge_weights = m.edge_weights ? x[at++] : Tensor{};
    std::vector<MixtureEdge> edges;
    for (const Edge& e : m.edges) {
      MixtureEdge edge;
      for (size_t t = 0; t < e.columns.size(); ++t) {
        const Tensor y = x[at++];
        edge.terms.push_back({{y, e.affine[t] ? x[at++] : Tensor{}}, e.columns[t]});
      }
      if (has_source(m, e)) edge.source = x[at++];
      edge.identity_column = e.identity;
      for (const Pool& pool : e.pools)
        edge.pools.push_back(
            {pool.max ? PoolKind::max : PoolKind::average, pool.affine ? x[at++] : Tensor{}, pool.column});
      edges.push_back(edge);
    }
    return std::vector{mixture(edges, x[0], edge_weights, {.groups = m.groups, .first_row = m.first_row})};
  };
  c.oracle = [m](const std::vector<Array>& x) { return std::vector{mix_oracle(m, x)}; };
  return c;
}

}  // namespace

TEST_CASE("mixture: matches the double oracle, forward and backward", "[ops][mixture]") {
  check(make({"one edge", {2, 3, 5, 7}, 1, 0, 1, 2, false, {{{0, 1}, {true, false}}}}));
  check(
      make({"identity", {2, 4, 4, 4}, 1, 1, 3, 5, true, {{{4}, {true}, true, 2}, {{1, 0}, {false, true}}}}));
  check(make(
      {"partial channels",
       {3, 4, 8, 8},
       4,
       2,
       5,
       4,
       true,
       {{{0, 1, 2}, {true, true, false}, true, 3}, {{1}, {true}, false}, {{2, 0}, {true, true}, true}}}));
  check(make({"more terms than one pass takes",
              {20, 2, 3, 3},
              2,
              0,
              1,
              12,
              false,
              {{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, std::vector<bool>(11, true), true, 11}}}));
}

TEST_CASE("mixture: pools of a source match the double oracle", "[ops][mixture][deferred_pool]") {
  const Pool max{true, 1, true}, average{false, 0, true}, plain{false, 2, false};
  for (Shape term : {Shape{2, 3, 8, 8}, Shape{1, 2, 16, 16}, Shape{2, 2, 32, 32}, Shape{2, 3, 5, 7},
                     Shape{3, 2, 1, 8}, Shape{17, 1, 2, 33}})
    for (int groups : {1, 2}) {
      const std::string name = fmt::format("pools, {} group(s), {}", groups, term.str());
      check(make({name, term, groups, 1, 3, 4, true, {{{0}, {true}, true, 3, {max, average}}}}));
      check(make({name + ", three edges",
                  term,
                  groups,
                  0,
                  3,
                  4,
                  false,
                  {{{0}, {false}, true, -1, {average}},
                   {{1, 2}, {true, true}, true, 3, {}},
                   {{3}, {true}, true, 0, {max, plain}}}}));
    }
}

// Statistics, pools in passing and the identity of one state in several nodes: their gradients are joined.
TEST_CASE("mixture: nodes that pool one state", "[ops][mixture][deferred_pool]") {
  for (Shape shape : {Shape{3, 2, 8, 8}, Shape{2, 2, 16, 16}, Shape{2, 3, 6, 5}})
    for (int nodes : {1, 2, 5})
      for (bool in_passing : {true, false}) {
        const float eps = 1e-3f;
        OpCase c;
        c.name = fmt::format("{} nodes of {}{}", nodes, shape.str(), in_passing ? ", in passing" : "");
        c.inputs = {{.shape = shape}, {.shape = {nodes, 3}, .low = .2f, .high = 1}};
        c.record = [=](Graph&, const std::vector<Tensor>& x) {
          const int channels = int(shape[1]);
          std::vector<Tensor> out;
          MaxAndAverage affine, y;
          if (in_passing) {
            affine = pool_statistics(x[0], channels, eps);
          } else {
            y = max_avg_pool2d(x[0]);
            affine = {defer_norm(y.max, eps).affine, defer_norm(y.average, eps).affine};
          }
          for (int node = 0; node < nodes; ++node) {
            MixtureEdge edge{.terms = {{{x[0], {}}, 2}}, .source = x[0], .identity_column = 2, .pools = {}};
            if (in_passing) {
              edge.pools = {{PoolKind::max, affine.max, 0}, {PoolKind::average, affine.average, 1}};
            } else {
              edge.terms.push_back({{y.max, affine.max}, 0});
              edge.terms.push_back({{y.average, affine.average}, 1});
            }
            out.push_back(mixture({edge}, x[1], {}, {.first_row = node}));
          }
          return out;
        };
        c.oracle = [=](const std::vector<Array>& x) {
          auto normalised = [&](bool max) {
            Array y(shape);
            const int64_t pixels = shape[2] * shape[3], values = shape[0] * pixels;
            for (int64_t channel = 0; channel < shape[1]; ++channel) {
              auto each = [&](auto f) {
                for (int64_t n = 0; n < shape[0]; ++n)
                  for (int64_t p = 0; p < pixels; ++p) f(n, p / shape[3], p % shape[3]);
              };
              double mean = 0, squares = 0;
              each([&](int64_t n, int64_t h, int64_t w) {
                y.at(n, channel, h, w) = window_value(x[0], max, n, channel, h, w);
                mean += y.at(n, channel, h, w) / double(values);
              });
              each([&](int64_t n, int64_t h, int64_t w) {
                squares += std::pow(y.at(n, channel, h, w) - mean, 2) / double(values);
              });
              each([&](int64_t n, int64_t h, int64_t w) {
                double& v = y.at(n, channel, h, w);
                v = (v - mean) / std::sqrt(squares + double(eps));
              });
            }
            return y;
          };
          const Array maxima = normalised(true), averages = normalised(false);
          std::vector<Array> out;
          for (int node = 0; node < nodes; ++node) {
            Array sum(shape);
            for (size_t i = 0; i < sum.v.size(); ++i)
              sum.v[i] = x[1].at(node, 0) * maxima.v[i] + x[1].at(node, 1) * averages.v[i] +
                         2 * x[1].at(node, 2) * x[0].v[i];
            out.push_back(sum);
          }
          return out;
        };
        c.rtol = 1e-3;
        c.atol = 2e-3;
        check(c);
      }
}

// The pool of another shape that reads the state, too, leaves the nodes' pools to be recorded by themselves.
TEST_CASE("mixture: a state that is pooled in passing and by another pool", "[ops][mixture][deferred_pool]") {
  const Shape shape{2, 3, 8, 8};
  OpCase c;
  c.name = "pools of two kinds";
  c.inputs = {{.shape = shape}, {.shape = {1, 2}}};
  c.record = [](Graph&, const std::vector<Tensor>& x) {
    const Tensor halved = max_pool2d(x[0], {.stride = 2});
    const MixtureEdge edge{.terms = {{{x[0], {}}, 0}},
                           .source = x[0],
                           .identity_column = -1,
                           .pools = {{PoolKind::max, {}, 1}, {PoolKind::average, {}, 0}}};
    return std::vector{halved, mixture({edge}, x[1], {})};
  };
  c.oracle = [=](const std::vector<Array>& x) {
    Array halved({2, 3, 4, 4}), out(shape);
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t k = 0; k < 3; ++k)
        for (int64_t h = 0; h < 8; ++h)
          for (int64_t w = 0; w < 8; ++w) {
            const double largest = window_value(x[0], true, n, k, h, w);
            if (h % 2 == 0 && w % 2 == 0) halved.at(n, k, h / 2, w / 2) = largest;
            out.at(n, k, h, w) = x[1].v[0] * (x[0].at(n, k, h, w) + window_value(x[0], false, n, k, h, w)) +
                                 x[1].v[1] * largest;
          }
    return std::vector{halved, out};
  };
  check(c);
}

TEST_CASE("mixture: a separable stage reads its gradient without a copy", "[ops][mixture][separable_stage]") {
  const Shape x{2, 8, 8, 8};
  auto record = [](Graph&, const std::vector<Tensor>& in) {
    const auto y = separable_stage({{in[0], {}}}, {{0, in[1], in[2]}, {0, in[3], in[2], 2}}, {.channels = 4});
    MixtureEdge edge{.terms = {{y[0], 1}, {y[1], 0}}, .source = in[0], .identity_column = 2, .pools = {}};
    return std::vector{mixture({edge}, in[4], {}, {.groups = 2})};
  };
  OpCase c;
  c.name = "stage and mixture";
  c.inputs = {{.shape = x},
              {.shape = {4, 1, 3, 3}},
              {.shape = {4, 4, 1, 1}},
              {.shape = {4, 1, 5, 5}},
              {.shape = {1, 3}}};
  c.record = record;
  // The same out of parts whose gradients the cases above check, in double: taken from finite differences of
  // the recorded op would be too coarse in float, so the oracle repeats the arithmetic.
  c.oracle = [](const std::vector<Array>& in) {
    auto stage = [&](const Array& depthwise, int dilation) {
      const int64_t k = depthwise.shape[2], pad = dilation * (k - 1) / 2;
      Array y({2, 4, 8, 8});
      for (int64_t n = 0; n < 2; ++n)
        for (int64_t channel = 0; channel < 4; ++channel)
          for (int64_t h = 0; h < 8; ++h)
            for (int64_t w = 0; w < 8; ++w) {
              double t = 0;
              for (int64_t p = 0; p < k; ++p)
                for (int64_t q = 0; q < k; ++q)
                  t +=
                      depthwise.at(channel, 0, p, q) *
                      std::max(0.0, in[0].padded(n, channel, h - pad + p * dilation, w - pad + q * dilation));
              for (int64_t o = 0; o < 4; ++o) y.at(n, o, h, w) += in[2].at(o, channel, 0, 0) * t;
            }
      for (int64_t o = 0; o < 4; ++o) {
        double mean = 0, squares = 0;
        for (int64_t n = 0; n < 2; ++n)
          for (int64_t i = 0; i < 64; ++i) mean += y.v[size_t((n * 4 + o) * 64 + i)] / 128;
        for (int64_t n = 0; n < 2; ++n)
          for (int64_t i = 0; i < 64; ++i)
            squares += std::pow(y.v[size_t((n * 4 + o) * 64 + i)] - mean, 2) / 128;
        for (int64_t n = 0; n < 2; ++n)
          for (int64_t i = 0; i < 64; ++i) {
            double& v = y.v[size_t((n * 4 + o) * 64 + i)];
            v = (v - mean) / std::sqrt(squares + 1e-5);
          }
      }
      return y;
    };
    const Array a = stage(in[1], 1), b = stage(in[3], 2);
    Array out({2, 8, 8, 8});
    for (int64_t n = 0; n < 2; ++n)
      for (int64_t j = 0; j < 4; ++j)
        for (int64_t h = 0; h < 8; ++h)
          for (int64_t w = 0; w < 8; ++w) {
            out.at(n, 2 * j, h, w) = in[4].v[1] * a.at(n, j, h, w) + in[4].v[0] * b.at(n, j, h, w) +
                                     in[4].v[2] * in[0].at(n, j, h, w);
            out.at(n, 2 * j + 1, h, w) = in[0].at(n, 4 + j, h, w);
          }
    return std::vector{out};
  };
  c.rtol = 1e-3;  // two sums over the batch
  c.atol = 1e-3;
  check(c);

  Graph g;
  std::vector<Tensor> leaves;
  GradientOptions options;
  for (const OpInput& in : c.inputs) {
    leaves.push_back(g.leaf(Storage::create(in.shape)));
    options.into.push_back(Storage::create(in.shape));
  }
  const Tensor out = record(g, leaves)[0];
  g.bind_output(out);
  const Tensor seed = g.leaf(Storage::create(out.shape()));
  vector_jacobian(std::vector{out}, std::vector{seed}, leaves, options);
  const Program p = compile(g);
  CHECK(p.stats().nodes_removed == 2);  // the two scaled copies of d_out
}

TEST_CASE("mixture: refuses what does not fit, naming shapes", "[ops][mixture]") {
  Graph g;
  const Tensor y = g.leaf(Storage::create({2, 4, 8, 8})), w = g.leaf(Storage::create({1, 3}));
  const Tensor other = g.leaf(Storage::create({2, 4, 4, 8}));
  auto edge = [](std::vector<MixtureTerm> terms) { return MixtureEdge{terms, {}, -1, {}}; };
  const MixtureEdge one = edge({{{y, {}}, 0}});
  CHECK_THROWS_WITH(mixture({one}, w, {}, {.groups = 2}), ContainsSubstring("without source"));
  CHECK_THROWS_WITH(mixture({one, one}, w, {}), ContainsSubstring("must hold rows 0 to 1"));
  CHECK_THROWS_WITH(mixture({edge({{{y, {}}, 0}, {{other, {}}, 1}})}, w, {}),
                    ContainsSubstring("[mixture] all terms must have shape (2, 4, 8, 8)"));
  CHECK_THROWS_WITH(mixture({edge({{{y, {}}, 3}})}, w, {}), ContainsSubstring("column 3"));
  auto pools = [&](Tensor source, MixturePool pool) {
    return mixture({{{{{y, {}}, 0}}, source, -1, {pool}}}, w, {});
  };
  CHECK_THROWS_WITH(pools({}, {PoolKind::max, {}, 1}), ContainsSubstring("a pool needs the whole source"));
  CHECK_THROWS_WITH(pools(y, {PoolKind::max, {}, 3}), ContainsSubstring("a pool has column 3"));
  CHECK_THROWS_WITH(pools(y, {PoolKind::both, {}, 1}), ContainsSubstring("of maxima or of averages"));
  CHECK_THROWS_WITH(pools(y, {PoolKind::max, w, 1}), ContainsSubstring("affine (1, 3) must be (2, 4)"));
  CHECK_THROWS_WITH(pool_statistics(y, 5), ContainsSubstring("5 channels asked for"));
  CHECK_THROWS_WITH(pool_statistics(g.leaf(Storage::create({1, 3, 1, 1})), 3),
                    ContainsSubstring("one value a channel"));
}
