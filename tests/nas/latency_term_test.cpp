#include "nas/latency_term.h"

#include <algorithm>
#include <cmath>

#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "nas/derive.h"
#include "nas/encoding.h"
#include "nas/sampler.h"
#include "predictor/gp.h"
#include "tests/support/catch.h"
#include "tests/support/op_case.h"

using namespace ladarts;
using testing::Array;

namespace {

std::vector<double> softmax_of(const double* x, size_t n) {
  std::vector<double> p(n);
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += p[i] = std::exp(x[i]);
  for (double& v : p) v /= sum;
  return p;
}

// The relaxed encoding of one cell type by its definition: a sum over all ordered pairs of edges.
std::vector<double> relaxed_cell(const SearchSpace& space, const Array& alpha, const Array& beta) {
  const size_t ops = space.primitives.size();
  std::vector<double> x(size_t(space.edges()) * ops, 0.0);
  size_t first = 0;
  for (int size : space.edges_per_node()) {
    const size_t n = size_t(size);
    const auto b = softmax_of(&beta.v[first], n);
    std::vector<double> strength(n), kept(n, 0.0);
    double total = 0;
    for (size_t i = 0; i < n; ++i) {
      const auto p = softmax_of(&alpha.v[(first + i) * ops], ops);
      total += strength[i] = b[i] * *std::max_element(p.begin() + 1, p.end());
    }
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) {
        if (i == j) continue;
        const double pair = strength[i] / total * strength[j] / (total - strength[i]);
        kept[i] += pair;
        kept[j] += pair;
      }
    for (size_t i = 0; i < n; ++i) {
      const auto choice = softmax_of(&alpha.v[(first + i) * ops + 1], ops - 1);
      for (size_t o = 1; o < ops; ++o) x[(first + i) * ops + o] = kept[i] * choice[o - 1];
    }
    first += n;
  }
  return x;
}

std::vector<float> run_encoding(ArchitectureParameters& architecture) {
  Graph g;
  const Storage out = g.bind_output(record_relaxation(g, architecture));
  compile(g).run();
  return out.to_vector();
}

void set_random(ArchitectureParameters& architecture, float scale, uint64_t seed) {
  Random random(seed);
  for (int t = 0; t < int(architecture.space().cell_types.size()); ++t) {
    std::vector<float> alpha = architecture.alpha(t), beta = architecture.beta(t);
    for (float& v : alpha) v = scale * random.normal();
    for (float& v : beta) v = 0.1f * scale * random.normal();
    architecture.set_alpha(t, alpha);
    if (!beta.empty()) architecture.set_beta(t, beta);
  }
}

}  // namespace

TEST_CASE("latency term: relaxed encoding and its gradient match the definition", "[nas][latency]") {
  const SearchSpace space = SearchSpace::load("darts");
  const int64_t edges = space.edges(), ops = int64_t(space.primitives.size());
  testing::check(
      {.name = "relaxed encoding",
       .inputs = {{.shape = {edges, ops}}, {.shape = {edges, ops}}, {.shape = {edges}}, {.shape = {edges}}},
       .record =
           [&](Graph& g, const std::vector<Tensor>& x) {
             return std::vector{record_relaxation(g, space, {x[0], x[1]}, {x[2], x[3]})};
           },
       .oracle =
           [&](const std::vector<Array>& x) {
             Array y(Shape{1, encoding_size(space)});
             y.v = relaxed_cell(space, x[0], x[2]);
             const auto reduce = relaxed_cell(space, x[1], x[3]);
             y.v.insert(y.v.end(), reduce.begin(), reduce.end());
             return std::vector{y};
           }});
}

TEST_CASE("latency term: the relaxed encoding becomes that of the derived genotype", "[nas][latency]") {
  const SearchSpace space = SearchSpace::load("darts");
  for (uint64_t seed : {1, 2, 3, 4}) {
    ArchitectureParameters architecture(space, false, seed);
    architecture.set().values();
    set_random(architecture, 1.f, seed);
    const std::vector<float> derived = encode(derive(architecture), space);
    const std::vector<float> soft = run_encoding(architecture);
    // Every node's features sum to two, as the derived ones do.
    double sum = 0;
    for (float v : soft) sum += v;
    CHECK(sum == Approx(2.0 * space.nodes * double(space.cell_types.size())).epsilon(1e-5));

    // Sharper alphas on the kept edges, none elsewhere: the limit is the discrete encoding.
    const size_t ops = space.primitives.size();
    for (int t = 0; t < 2; ++t) {
      std::vector<float> alpha(size_t(space.edges()) * ops, 0.f);
      for (size_t e = 0; e < size_t(space.edges()); ++e) {
        const float* row = &derived[(size_t(t) * size_t(space.edges()) + e) * ops];
        const auto chosen = std::find(row, row + ops, 1.f);
        alpha[e * ops + (chosen == row + ops ? 0 : size_t(chosen - row))] = 40.f;
      }
      architecture.set_alpha(t, alpha);
    }
    const std::vector<float> sharp = run_encoding(architecture);
    for (size_t i = 0; i < sharp.size(); ++i) {
      // Of an edge that is not kept, some 1e-17 remains.
      CHECK(std::fabs(sharp[i] - derived[i]) < 1e-5f);
    }
  }
}

TEST_CASE("latency term: nasbench201 features are the softmax weights", "[nas][latency]") {
  const SearchSpace space = SearchSpace::load("nasbench201");
  ArchitectureParameters architecture(space, false, 1);
  architecture.set().values();
  set_random(architecture, 1.f, 9);
  const std::vector<float> soft = run_encoding(architecture);
  REQUIRE(soft.size() == 30);
  for (size_t e = 0; e < 6; ++e) {
    double sum = 0;
    for (size_t o = 0; o < 5; ++o) sum += soft[e * 5 + o];
    CHECK(sum == Approx(1.0));
  }
}

TEST_CASE("latency term: a certain search weighs the predictor's deviation, whose gradient reaches alpha",
          "[nas][latency]") {
  const SearchSpace space = SearchSpace::load("nasbench201");
  // 30 measured architectures of some edges' operations alone: of others little is known.
  const ArchitectureSampler sampler(space, 3);
  Dataset data;
  for (uint64_t i = 0; i < 30; ++i) {
    const std::vector<float> row = encode(sampler.at(i), space);
    double cost = 2;
    for (size_t k = 0; k < row.size(); ++k) cost += double(row[k]) * 0.1 * double(k % 7);
    data.features.append(row);
    data.costs.push_back(cost * (1 + 0.02 * double(i % 3)));
  }
  GpOptions fit;
  fit.expansion = structured_features(space);
  const auto predictor = fit_gp(data, fit);
  ArchitectureParameters architecture(space, false, 1);
  architecture.set().values();
  set_random(architecture, 1.f, 4);
  RelaxationNoise noise(space, 3, 2);
  noise.draw(5);
  for (const RelaxationKind kind :
       {RelaxationKind::expected, RelaxationKind::derived, RelaxationKind::drawn}) {
    std::vector<double> terms;
    for (const float certainty : {0.f, 1.f, 2.f}) {
      Graph g;
      const Storage term =
          g.bind_output(record_latency_term(g, architecture, *predictor, {{kind, 3}, certainty}, &noise));
      compile(g).run();
      terms.push_back(double(term.item()));
    }
    INFO(to_string(kind));
    CHECK(terms[1] > terms[0]);
    CHECK(terms[2] - terms[1] == Approx(terms[1] - terms[0]).epsilon(1e-3));
    if (kind != RelaxationKind::derived) continue;
    FeatureMatrix derived;
    derived.append(encode(derive(architecture), space));
    CHECK(terms[1] - terms[0] == Approx(predictor->distribution(derived)[0].deviation).epsilon(2e-2));
  }
  // Finite differences of the expected encoding's term.
  Graph g;
  const Tensor term = record_latency_term(g, architecture, *predictor, {{}, 3.f});
  const Storage value = g.bind_output(term);
  gradients(term, architecture.set().leaves(g), {.into = architecture.set().gradient_storages()});
  Program program = compile(g);
  program.run();
  const std::vector<float> gradient = architecture.set().find("alpha_cell")->gradient.to_vector();
  const std::vector<float> start = architecture.alpha(0);
  for (size_t i = 0; i < start.size(); ++i) {
    std::vector<float> moved = start;
    const float h = 2e-2f;
    moved[i] += h;
    architecture.set_alpha(0, moved);
    program.run();
    const double up = double(value.item());
    moved[i] -= 2 * h;
    architecture.set_alpha(0, moved);
    program.run();
    CHECK(double(gradient[i]) == Approx((up - double(value.item())) / (2 * double(h))).margin(2e-3));
  }
}
