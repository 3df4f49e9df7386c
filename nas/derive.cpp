#include "nas/derive.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace ladarts {

namespace {

void softmax_in_place(double* values, int count) {
  const double largest = *std::max_element(values, values + count);
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += values[i] = std::exp(values[i] - largest);
  for (int i = 0; i < count; ++i) values[i] /= sum;
}

struct EdgeChoice {
  int source;
  int primitive;
  double strength;
};

// The best of the choosable primitives; the first among equals.
EdgeChoice best_of_edge(const std::vector<int>& choosable, const double* weights, int source) {
  EdgeChoice best{source, choosable[0], weights[choosable[0]]};
  for (int p : choosable)
    if (weights[p] > best.strength) best = {source, p, weights[p]};
  return best;
}

// An index, with chances in proportion to exp(logits): the largest of them with Gumbel noise, which bears any
// size.
int draw_index(const std::vector<double>& logits, Random& random) {
  int chosen = 0;
  double largest = -std::numeric_limits<double>::infinity();
  for (int i = 0; i < int(logits.size()); ++i) {
    const double u = (double(random.bits() >> 8) + 0.5) * 0x1p-24;  // in (0, 1)
    const double value = logits[size_t(i)] - std::log(-std::log(u));
    if (value > largest) {
      largest = value;
      chosen = i;
    }
  }
  return chosen;
}

}  // namespace

std::vector<double> mixture_weights(const SearchSpace& space, const ArchitectureValues& values,
                                    int cell_type) {
  const std::vector<float>& alpha = values.alpha.at(size_t(cell_type));
  const int edges = space.edges(), primitives = int(space.primitives.size());
  require(alpha.size() == size_t(edges * primitives), "[derive] alpha_{} has {} values, space '{}' wants {}",
          space.cell_types[size_t(cell_type)], alpha.size(), space.name, edges * primitives);
  std::vector<double> weights(alpha.begin(), alpha.end());
  for (int e = 0; e < edges; ++e) softmax_in_place(&weights[size_t(e * primitives)], primitives);
  if (values.beta.empty() || values.beta[size_t(cell_type)].empty()) return weights;
  const std::vector<float>& beta = values.beta[size_t(cell_type)];
  require(beta.size() == size_t(edges), "[derive] beta_{} has {} values, space '{}' wants {}",
          space.cell_types[size_t(cell_type)], beta.size(), space.name, edges);
  std::vector<double> edge_weights(beta.begin(), beta.end());
  for (int node = 0; node < space.nodes; ++node)
    softmax_in_place(&edge_weights[size_t(space.edge_index(node, 0))], space.inputs + node);
  for (size_t i = 0; i < weights.size(); ++i) weights[i] *= edge_weights[i / size_t(primitives)];
  return weights;
}

Genotype derive(const SearchSpace& space, const ArchitectureValues& values) {
  require(values.alpha.size() == space.cell_types.size(),
          "[derive] alpha for {} cell types, space '{}' has {}", values.alpha.size(), space.name,
          space.cell_types.size());
  const std::vector<int> choosable = space.choosable_primitives();
  Genotype genotype{space.name, space.inputs, {}};
  for (int t = 0; t < int(space.cell_types.size()); ++t) {
    const std::vector<double> weights = mixture_weights(space, values, t);
    for (double w : weights)
      require(std::isfinite(w), "[derive] alpha or beta of space '{}' is not finite", space.name);
    CellGenotype& cell = genotype.cells.emplace_back();
    cell.type = space.cell_types[size_t(t)];
    for (int node = 0; node < space.nodes; ++node) {
      std::vector<EdgeChoice> choices;
      for (int source = 0; source < space.inputs + node; ++source) {
        const size_t edge = size_t(space.edge_index(node, source));
        choices.push_back(best_of_edge(choosable, &weights[edge * space.primitives.size()], source));
      }
      if (space.edge_rule == EdgeRule::darts)
        std::stable_sort(choices.begin(), choices.end(),
                         [](const EdgeChoice& a, const EdgeChoice& b) { return a.strength > b.strength; });
      choices.resize(size_t(space.kept_edges(node)));
      std::vector<GenotypeEdge>& edges = cell.nodes.emplace_back();
      for (const EdgeChoice& c : choices) edges.push_back({space.primitives[size_t(c.primitive)], c.source});
    }
  }
  return genotype;
}

ArchitectureValues values_of(const ArchitectureParameters& architecture) {
  ArchitectureValues values;
  for (int t = 0; t < int(architecture.space().cell_types.size()); ++t) {
    values.alpha.push_back(architecture.alpha(t));
    values.beta.push_back(architecture.beta(t));
  }
  return values;
}

Genotype derive(const ArchitectureParameters& architecture) {
  return derive(architecture.space(), values_of(architecture));
}

Genotype draw_genotype(const SearchSpace& space, const ArchitectureValues& values, Random& random,
                       double temperature) {
  const std::vector<int> choosable = space.choosable_primitives();
  Genotype genotype{space.name, space.inputs, {}};
  for (int t = 0; t < int(space.cell_types.size()); ++t) {
    std::vector<double> logits = mixture_weights(space, values, t);
    for (double& w : logits) w = std::log(std::max(w, 1e-300)) / temperature;
    CellGenotype& cell = genotype.cells.emplace_back();
    cell.type = space.cell_types[size_t(t)];
    for (int node = 0; node < space.nodes; ++node) {
      const int sources = space.inputs + node, kept = space.kept_edges(node);
      const auto row = [&](int source) {
        return &logits[size_t(space.edge_index(node, source)) * space.primitives.size()];
      };
      std::vector<double> strengths;
      for (int source = 0; source < sources; ++source)
        strengths.push_back(best_of_edge(choosable, row(source), source).strength);
      std::vector<GenotypeEdge>& edges = cell.nodes.emplace_back();
      for (int k = 0; k < kept; ++k) {
        const int source = kept == sources ? k : draw_index(strengths, random);
        strengths[size_t(source)] = -std::numeric_limits<double>::infinity();
        std::vector<double> choices;
        for (const int p : choosable) choices.push_back(row(source)[p]);
        edges.push_back({space.primitives[size_t(choosable[size_t(draw_index(choices, random))])], source});
      }
    }
  }
  return genotype;
}

}  // namespace ladarts
