#include "nas/derive.h"

#include <cmath>
#include <limits>

#include "core/error.h"
#include "nas/sampler.h"
#include "tests/support/catch.h"

using namespace ladarts;

namespace {

// Strengths that make `genotype` the derived one, its edges in the order as written.
ArchitectureValues values_for(const Genotype& genotype, const SearchSpace& space) {
  const size_t primitives = space.primitives.size();
  ArchitectureValues values;
  for (const CellGenotype& cell : genotype.cells) {
    std::vector<float> alpha(size_t(space.edges()) * primitives, 0.f);
    for (size_t j = 0; j < cell.nodes.size(); ++j)
      for (size_t k = 0; k < cell.nodes[j].size(); ++k) {
        const GenotypeEdge& e = cell.nodes[j][k];
        const size_t edge = size_t(space.edge_index(int(j), e.source));
        alpha[edge * primitives + size_t(space.primitive_index(e.primitive))] = 2.f - 0.5f * float(k);
      }
    values.alpha.push_back(alpha);
    values.beta.push_back({});
  }
  return values;
}

ArchitectureValues flat_values(const SearchSpace& space) {
  return values_for({space.name, space.inputs, {{"normal", {}}, {"reduce", {}}}}, space);
}

}  // namespace

TEST_CASE("derive: strong alphas give back their genotype", "[nas][derive]") {
  const SearchSpace darts = SearchSpace::load("darts"), bench = SearchSpace::load("nasbench201");
  for (const std::string& name : genotype_preset_names()) {
    const Genotype g = parse_genotype(name);
    CHECK(derive(darts, values_for(g, darts)) == g);
  }
  const ArchitectureSampler sampler(bench, 4);
  for (uint64_t i = 0; i < 50; ++i) CHECK(derive(bench, values_for(sampler.at(i), bench)) == sampler.at(i));
}

TEST_CASE("derive: none never wins an edge, but takes strength from it", "[nas][derive]") {
  const SearchSpace space = SearchSpace::load("darts");
  ArchitectureValues v = flat_values(space);
  // Node 3 (edges 2 to 4): edge 2 has the largest alpha, but its softmax goes to none.
  v.alpha[0][2 * 8 + 0] = 9.f;
  v.alpha[0][2 * 8 + 4] = 3.f;
  v.alpha[0][3 * 8 + 5] = 1.f;
  v.alpha[0][4 * 8 + 6] = 2.f;
  const std::vector<GenotypeEdge> expected{{"dil_conv_3x3", 2}, {"sep_conv_5x5", 1}};
  CHECK(derive(space, v).cells[0].nodes[1] == expected);
}

TEST_CASE("derive: ties go to the first edge and the first operation", "[nas][derive]") {
  const SearchSpace space = SearchSpace::load("darts");
  const Genotype g = derive(space, flat_values(space));
  const std::vector<GenotypeEdge> expected{{"max_pool_3x3", 0}, {"max_pool_3x3", 1}};
  for (const CellGenotype& cell : g.cells)
    for (const std::vector<GenotypeEdge>& node : cell.nodes) CHECK(node == expected);
}

TEST_CASE("derive: beta weighs the edges of a node against each other", "[nas][derive]") {
  const SearchSpace space = SearchSpace::load("darts");
  ArchitectureValues v = flat_values(space);
  for (int e = 5; e < 9; ++e) v.alpha[0][size_t(e) * 8 + 4] = 1.f + 0.1f * float(8 - e);
  std::vector<GenotypeEdge> expected{{"sep_conv_3x3", 0}, {"sep_conv_3x3", 1}};
  CHECK(derive(space, v).cells[0].nodes[2] == expected);
  v.beta[0].assign(14, 0.f);
  v.beta[0][8] = 2.f;
  v.beta[0][7] = 1.f;
  expected = {{"sep_conv_3x3", 3}, {"sep_conv_3x3", 2}};
  CHECK(derive(space, v).cells[0].nodes[2] == expected);
  const std::vector<double> weights = mixture_weights(space, v, 0);
  double sum = 0;
  for (size_t i = 5 * 8; i < 9 * 8; ++i) sum += weights[i];
  CHECK(sum == Approx(1.0));
}

TEST_CASE("derive: values of another shape, or that are not finite, are refused", "[nas][derive]") {
  const SearchSpace darts = SearchSpace::load("darts");
  ArchitectureValues v = flat_values(darts);
  CHECK_THROWS_WITH(derive(SearchSpace::load("nasbench201"), v), ContainsSubstring("alpha for 2 cell types"));
  v.alpha[1].pop_back();
  CHECK_THROWS_WITH(derive(darts, v),
                    ContainsSubstring("alpha_reduce has 111 values, space 'darts' wants 112"));
  v = flat_values(darts);
  v.alpha[0][3] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(derive(darts, v), ContainsSubstring("not finite"));
}
