// What edges cost: places in the network, gradients of the latency term, measured costs.
#include "nas/edge_costs.h"

#include <algorithm>

#include "core/philox.h"
#include "nas/encoding.h"
#include "nas/latency_term.h"
#include "predictor/mlp.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

ArchitectureValues random_architecture(const SearchSpace& space, bool betas) {
  Random random(5, 1);
  ArchitectureValues values;
  for (size_t t = 0; t < space.cell_types.size(); ++t) {
    std::vector<float> alpha(size_t(space.edges()) * space.primitives.size()), beta;
    for (float& a : alpha) a = random.uniform(-1, 1);
    if (betas) beta.resize(size_t(space.edges()));
    for (float& b : beta) b = random.uniform(-1, 1);
    values.alpha.push_back(alpha);
    values.beta.push_back(beta);
  }
  return values;
}

}  // namespace

TEST_CASE("edge costs: gradients of the latency agree with differences of it", "[nas][edge_costs]") {
  const SearchSpace space = SearchSpace::load("darts");
  const MlpRegressor predictor(encoding_size(space), MlpOptions::paper());
  for (const bool betas : {false, true}) {
    const ArchitectureValues values = random_architecture(space, betas);
    const LatencyGradients g = latency_gradients(space, values, predictor);
    REQUIRE(g.d_alpha.size() == 2);
    REQUIRE(g.d_features[1].size() == values.alpha[1].size());
    for (const size_t at : {size_t(3), size_t(40), size_t(100)}) {
      constexpr float kStep = 0.02f;
      ArchitectureValues up = values, down = values;
      up.alpha[0][at] += kStep;
      down.alpha[0][at] -= kStep;
      const double slope = (latency_gradients(space, up, predictor).latency -
                            latency_gradients(space, down, predictor).latency) /
                           (2 * double(kStep));
      // Of a float network's output: its rounding, divided by the step, limits the agreement.
      CHECK(g.d_alpha[0][at] == Approx(slope).epsilon(0.1).margin(2e-4));
    }
  }
}

TEST_CASE("edge costs: places have the shapes of the network's cells", "[nas][edge_costs]") {
  const SearchSpace space = SearchSpace::load("darts");
  const std::vector<EdgePlace> places = edge_places(space, {.channels = 8, .layers = 6, .image = 16});
  REQUIRE(places.size() == 6 * 14);
  CHECK(places[0] == EdgePlace{0, 0, 8, 16, 1});
  // Cell 2 = 6 / 3 is a reduction: edges from inputs halve the image, those between nodes find it halved.
  CHECK(places[2 * 14 + 0] == EdgePlace{1, 0, 16, 16, 2});
  CHECK(places[2 * 14 + 4] == EdgePlace{1, 4, 16, 8, 1});
  CHECK(places[5 * 14 + 13] == EdgePlace{0, 13, 32, 4, 1});

  const SearchSpace nas201 = SearchSpace::load("nasbench201");
  const std::vector<EdgePlace> stages = edge_places(nas201, {.channels = 4, .layers = 2, .image = 8});
  REQUIRE(stages.size() == 6 * 6);
  CHECK(stages[0] == EdgePlace{0, 0, 4, 8, 1});
  CHECK(stages[2 * 6] == EdgePlace{0, 0, 8, 4, 1});
}

TEST_CASE("edge costs: what computes nothing costs nothing, all else something", "[nas][edge_costs]") {
  LatencySetup setup;
  setup.space = SearchSpace::load("darts");
  setup.shape = {.channels = 4, .layers = 3, .image = 8};
  setup.measure = {.min_warmup_runs = 3, .max_warmup_runs = 3, .min_repeats = 1, .max_repeats = 1};
  int calls = 0, expected = 0;
  const auto costs = measure_edge_costs(setup, [&](int done, int total) {
    CHECK(done == ++calls);
    expected = total;
  });
  CHECK(calls == expected);
  const int none = setup.space.primitive_index("none"), skip = setup.space.primitive_index("skip_connect");
  const int primitives = int(setup.space.primitives.size());
  for (int t = 0; t < 2; ++t)
    for (int e = 0; e < 14; ++e)
      for (int p = 0; p < primitives; ++p) {
        const bool strided = t == 1 && setup.space.edge(e).source < 2;
        const bool free = p == none || (p == skip && !strided);
        INFO(t << " " << e << " " << p);
        CHECK((costs[size_t(t)][size_t(e * primitives + p)] == 0) == free);
      }
  // Edges of the same shape are the same op, measured once.
  CHECK(costs[0][5] == costs[0][size_t(primitives) + 5]);
}
