#include "nas/relaxation.h"

#include <cmath>

#include "benchmarks/nas/expected_cost.h"
#include "core/error.h"
#include "core/gradients.h"
#include "core/philox.h"
#include "core/program.h"
#include "nas/derive.h"
#include "nas/encoding.h"
#include "nas/latency_term.h"
#include "predictor/additive.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

constexpr RelaxationKind kExpected = RelaxationKind::expected, kDrawn = RelaxationKind::drawn,
                         kGumbel = RelaxationKind::gumbel, kDerived = RelaxationKind::derived;

ArchitectureParameters random_architecture(const std::string& space, uint64_t seed) {
  const SearchSpace s = SearchSpace::load(space);
  ArchitectureParameters architecture(s, s.edge_rule == EdgeRule::darts, seed);
  std::vector<float> values = architecture.set().values().to_vector();
  Random random(seed);
  for (float& v : values) v = random.normal();
  architecture.set().values().upload(std::span<const float>(values));
  return architecture;
}

// (points, features) at one step of the noise.
std::vector<float> points_of(ArchitectureParameters& architecture, const Relaxation& relaxation,
                             RelaxationNoise* noise = nullptr) {
  Graph g;
  const Storage out = g.bind_output(record_relaxation(g, architecture, relaxation, noise));
  compile(g).run();
  return out.to_vector();
}

std::unique_ptr<Regressor> additive(const SearchSpace& space) {
  std::vector<double> costs(size_t(encoding_size(space)));
  for (size_t k = 0; k < costs.size(); ++k) costs[k] = 0.2 + 0.05 * double(k * k % 37);
  return std::make_unique<AdditiveRegressor>(costs, 1.0);
}

// d term / d (alpha and beta, flat), and the term.
std::pair<std::vector<float>, float> gradient_of(ArchitectureParameters& architecture,
                                                 const Regressor& predictor, const Relaxation& relaxation,
                                                 const RelaxationNoise* noise = nullptr) {
  Graph g;
  const Tensor term = record_latency_term(g, architecture, predictor, {relaxation}, noise);
  const Storage value = g.bind_output(term);
  ParameterSet& set = architecture.set();
  gradients(term, set.leaves(g), {.into = set.gradient_storages()});
  compile(g).run();
  return {set.gradients().to_vector(), value.item()};
}

// Means of n yes-or-no values against their probabilities, by six standard deviations.
void check_shares(const std::vector<double>& means, const std::vector<float>& expected, double n) {
  REQUIRE(means.size() == expected.size());
  for (size_t i = 0; i < means.size(); ++i) {
    const double p = double(expected[i]);
    INFO("feature " << i << ": " << means[i] << " where " << p << " is expected");
    CHECK(std::fabs(means[i] - p) < 6 * std::sqrt(p * (1 - p) / n) + 1e-5);
  }
}

}  // namespace

TEST_CASE("relaxation: drawn genotypes have the relaxed encoding as their mean", "[nas][relaxation]") {
  for (const auto& [space, temperature] : {std::pair<std::string, float>{"darts", 1.f},
                                           {"darts", 0.3f},
                                           {"nasbench201", 1.f},
                                           {"nasbench201", 3.f}}) {
    ArchitectureParameters architecture = random_architecture(space, 3);
    constexpr int kCount = 20000;
    Random random(8);
    std::vector<double> means(size_t(encoding_size(architecture.space())));
    for (int i = 0; i < kCount; ++i) {
      const std::vector<float> x =
          encode(draw_genotype(architecture.space(), values_of(architecture), random, double(temperature)),
                 architecture.space());
      for (size_t k = 0; k < x.size(); ++k) means[k] += double(x[k]) / kCount;
    }
    check_shares(means, points_of(architecture, {.temperature = temperature}), kCount);
  }
}

TEST_CASE("relaxation: a program's draws are decided architectures of the same distribution",
          "[nas][relaxation]") {
  for (const std::string space : {"darts", "nasbench201"})
    for (const RelaxationKind kind : {kDrawn, kGumbel}) {
      ArchitectureParameters architecture = random_architecture(space, 4);
      const Relaxation relaxation{kind, 50, 0.5f};
      RelaxationNoise noise(architecture.space(), relaxation.draws, 1);
      Graph g;
      const Storage out = g.bind_output(record_relaxation(g, architecture, relaxation, &noise));
      Program program = compile(g);
      constexpr int kSteps = 200;
      const size_t features = size_t(encoding_size(architecture.space()));
      std::vector<double> means(features);
      int64_t ones = 0, others = 0;
      for (int step = 0; step < kSteps; ++step) {
        noise.draw(uint64_t(step));
        program.run();
        const std::vector<float> x = out.to_vector();
        REQUIRE(x.size() == features * 50);
        for (size_t i = 0; i < x.size(); ++i) {
          means[i % features] += double(x[i]) / (kSteps * 50);
          ones += x[i] == 1;
          others += x[i] != 1 && x[i] != 0;
        }
      }
      CHECK(others == 0);
      CHECK(ones == kSteps * 50 * (space == "darts" ? 16 : 6));
      check_shares(means, points_of(architecture, {.temperature = 0.5f}), kSteps * 50);
    }
}

TEST_CASE("relaxation: derived is the encoding of the derived genotype", "[nas][relaxation]") {
  for (const std::string space : {"darts", "nasbench201"})
    for (const uint64_t seed : {1, 2, 3}) {
      ArchitectureParameters architecture = random_architecture(space, seed);
      const std::vector<float> derived = encode(derive(architecture), architecture.space());
      CHECK(points_of(architecture, {kDerived}) == derived);
      // The colder, the nearer the mean comes to it; of two that are nearly equal neither is decided.
      double before = 1e9;
      for (const float temperature : {1.f, 0.3f, 0.1f, kLeastTemperature}) {
        const std::vector<float> mean = points_of(architecture, {.temperature = temperature});
        double apart = 0;
        for (size_t i = 0; i < mean.size(); ++i) apart += std::fabs(double(mean[i] - derived[i]));
        CHECK(apart < 0.85 * before);
        before = apart;
      }
      CHECK(before < 4);
    }
}

TEST_CASE("relaxation: draws depend on seed and step alone", "[nas][relaxation]") {
  ArchitectureParameters architecture = random_architecture("darts", 5);
  const Relaxation relaxation{kGumbel, 3};
  RelaxationNoise a(architecture.space(), 3, 1), b(architecture.space(), 3, 1), c(architecture.space(), 3, 2);
  a.draw(7);
  const auto at_seven = points_of(architecture, relaxation, &a);
  a.draw(8);
  CHECK(points_of(architecture, relaxation, &a) != at_seven);
  b.draw(7);
  c.draw(7);
  CHECK(points_of(architecture, relaxation, &b) == at_seven);
  CHECK(points_of(architecture, relaxation, &c) != at_seven);
}

// Where the cost is a sum, its slope is the same at every point: what is left is the way back.
TEST_CASE("relaxation: of an additive cost the straight-through gradients are the expected cost's",
          "[nas][relaxation]") {
  for (const std::string space : {"darts", "nasbench201"}) {
    ArchitectureParameters architecture = random_architecture(space, 6);
    const auto predictor = additive(architecture.space());
    const auto [expected, mean_cost] = gradient_of(architecture, *predictor, {});
    RelaxationNoise noise(architecture.space(), 4, 1);
    // Perturbed by nothing, Gumbel-softmax is the mean, and its draw is what would be derived.
    RelaxationNoise nothing(architecture.space(), 1, 1);
    for (int t = 0; t < int(architecture.space().cell_types.size()); ++t) {
      nothing.primitives(t).zero();
      nothing.edges(t).zero();
    }
    const auto drawn = gradient_of(architecture, *predictor, {kDrawn, 4}, &noise);
    const auto derived = gradient_of(architecture, *predictor, {kDerived});
    const auto still = gradient_of(architecture, *predictor, {kGumbel, 1}, &nothing);
    const auto gumbel = gradient_of(architecture, *predictor, {kGumbel, 4}, &noise);
    double largest = 0, apart = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      CHECK(drawn.first[i] == Approx(expected[i]).margin(2e-5));
      CHECK(derived.first[i] == Approx(expected[i]).margin(2e-5));
      CHECK(still.first[i] == Approx(expected[i]).margin(2e-5));
      largest = std::max(largest, std::fabs(double(expected[i])));
      apart = std::max(apart, std::fabs(double(gumbel.first[i] - expected[i])));
    }
    CHECK(largest > 0.01);
    CHECK(apart > 0.01);
    FeatureMatrix one;
    one.append(encode(derive(architecture), architecture.space()));
    CHECK(double(derived.second) == Approx(predictor->predict(one)[0]).epsilon(1e-5));
    CHECK(still.second == derived.second);
    CHECK(drawn.second == gumbel.second);
    CHECK(drawn.second != mean_cost);
  }
}

// The reference of relaxation_bench, by enumeration, against the same gradient by the graph.
TEST_CASE("relaxation: of an additive cost the relaxed gradient is the expected cost's by enumeration",
          "[nas][relaxation]") {
  for (const std::string name : {"darts", "nasbench201"}) {
    ArchitectureParameters architecture = random_architecture(name, 7);
    const SearchSpace& space = architecture.space();
    const auto predictor = additive(space);
    const auto [flat, mean_cost] = gradient_of(architecture, *predictor, {});
    std::vector<double> relaxed;
    for (const std::string& cell : space.cell_types)
      for (const char* kind : {"alpha_", "beta_"})
        if (const auto* entry = architecture.set().find(kind + cell))
          for (const float v : entry->gradient.to_vector()) relaxed.push_back(double(v));
    const benchmarks::CostFunction cost = [&](const FeatureMatrix& x) { return predictor->predict(x); };
    const benchmarks::ExpectedCost exact =
        name == "darts" ? benchmarks::average_cost(space, values_of(architecture), cost, 40, 1)
                        : benchmarks::enumerate_cost(space, values_of(architecture),
                                                     cost(benchmarks::all_encodings(space)));
    // A node's mean over draws of the other nodes has their cost as noise: the value alone.
    CHECK(exact.value == Approx(double(mean_cost)).epsilon(name == "darts" ? 0.03 : 1e-5));
    REQUIRE(exact.gradient.size() == relaxed.size());
    for (size_t i = 0; i < relaxed.size(); ++i) {
      INFO(name << " " << i);
      CHECK(relaxed[i] == Approx(exact.gradient[i]).margin(1e-4));
    }
  }
}

TEST_CASE("relaxation: what cannot be is refused", "[nas][relaxation]") {
  ArchitectureParameters architecture = random_architecture("darts", 1);
  Graph g;
  CHECK_THROWS_WITH(record_relaxation(g, architecture, {kDrawn, 2}), ContainsSubstring("needs noise"));
  CHECK_THROWS_WITH(parse_relaxation("hard"), ContainsSubstring("expected, drawn, gumbel, derived"));
  CHECK_THROWS_WITH(RelaxationNoise(architecture.space(), 0, 1), ContainsSubstring("0 draws"));
  for (const std::string& name : relaxation_names()) CHECK(to_string(parse_relaxation(name)) == name);
}
