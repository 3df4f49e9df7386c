#include "benchmarks/nas/expected_cost.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "nas/encoding.h"

namespace ladarts::benchmarks {

namespace {

// Of n logits at `x`, without the first `skip`: chances that sum to one.
std::vector<double> softmax_of(const double* x, size_t n, size_t skip = 0) {
  const double largest = *std::max_element(x + skip, x + n);
  std::vector<double> p;
  for (size_t i = skip; i < n; ++i) p.push_back(std::exp(x[i] - largest));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= sum;
  return p;
}

// One node's part of alpha and beta, and the mean cost of each of its choices.
struct NodeChoices {
  size_t sources, primitives, skip;  // skip 1: none comes first and is not chosen
  bool beta;
  std::vector<double> cost;  // [pair of sources][first's primitive][second's]

  size_t choosable() const { return primitives - skip; }

  // sum over choices of their probability and cost. theta: alpha rows of the sources, then beta.
  double expected(const std::vector<double>& theta) const {
    std::vector<std::vector<double>> chances;
    std::vector<double> strength;
    for (size_t i = 0; i < sources; ++i) {
      const std::vector<double> all = softmax_of(&theta[i * primitives], primitives);
      strength.push_back(*std::max_element(all.begin() + long(skip), all.end()));
      chances.push_back(softmax_of(&theta[i * primitives], primitives, skip));
    }
    if (beta) {
      const std::vector<double> b = softmax_of(&theta[sources * primitives], sources);
      for (size_t i = 0; i < sources; ++i) strength[i] *= b[i];
    }
    const double total = std::accumulate(strength.begin(), strength.end(), 0.0);
    double sum = 0;
    size_t at = 0;
    for (size_t i = 0; i < sources; ++i)
      for (size_t k = i + 1; k < sources; ++k) {
        const double a = strength[i], b = strength[k];
        const double pair = sources == 2 ? 1 : a * b / total * (1 / (total - a) + 1 / (total - b));
        for (const double p : chances[i])
          for (const double q : chances[k]) sum += pair * p * q * cost[at++];
      }
    return sum;
  }
};

// Numbers of a cell type in a gradient.
size_t cell_size(const SearchSpace& space, bool beta) {
  return size_t(space.edges()) * (space.primitives.size() + (beta ? 1 : 0));
}

}  // namespace

FeatureMatrix all_encodings(const SearchSpace& space) {
  const size_t ops = space.primitives.size(), edges = size_t(space.edges());
  require(space.edge_rule == EdgeRule::all && space.cell_types.size() == 1 && space.architectures() < 1e6,
          "[bench] space '{}' cannot be enumerated", space.name);
  FeatureMatrix x;
  for (size_t a = 0; a < size_t(space.architectures()); ++a) {
    std::vector<float> row(edges * ops);
    for (size_t e = 0, rest = a; e < edges; ++e, rest /= ops) row[e * ops + rest % ops] = 1;
    x.append(row);
  }
  return x;
}

ExpectedCost enumerate_cost(const SearchSpace& space, const ArchitectureValues& values,
                            const std::vector<double>& costs) {
  const size_t ops = space.primitives.size(), edges = size_t(space.edges());
  std::vector<std::vector<double>> p;
  for (size_t e = 0; e < edges; ++e) {
    const std::vector<double> row(values.alpha[0].begin() + long(e * ops),
                                  values.alpha[0].begin() + long((e + 1) * ops));
    p.push_back(softmax_of(row.data(), ops));
  }
  std::vector<double> with(edges *
                           ops);  // mean cost times chance of the architectures that have this primitive
  ExpectedCost result;
  for (size_t a = 0; a < costs.size(); ++a) {
    double chance = 1;
    for (size_t e = 0, rest = a; e < edges; ++e, rest /= ops) chance *= p[e][rest % ops];
    result.value += chance * costs[a];
    for (size_t e = 0, rest = a; e < edges; ++e, rest /= ops) with[e * ops + rest % ops] += chance * costs[a];
  }
  for (size_t e = 0; e < edges; ++e)
    for (size_t o = 0; o < ops; ++o) result.gradient.push_back(with[e * ops + o] - p[e][o] * result.value);
  return result;
}

ExpectedCost average_cost(const SearchSpace& space, const ArchitectureValues& values,
                          const CostFunction& cost, int draws, uint64_t seed) {
  const size_t ops = space.primitives.size(), edges = size_t(space.edges());
  const size_t skip = space.primitive_index("none") == 0 ? 1 : 0;
  const bool beta = !values.beta.empty() && !values.beta[0].empty();
  ExpectedCost result;
  result.gradient.resize(space.cell_types.size() * cell_size(space, beta));
  std::vector<NodeChoices> nodes;
  Random random(seed, 77);
  for (int d = 0; d < draws; ++d) {
    const std::vector<float> base = encode(draw_genotype(space, values, random), space);
    FeatureMatrix x;
    for (size_t t = 0; t < space.cell_types.size(); ++t)
      for (int j = 0; j < space.nodes; ++j) {
        const size_t sources = size_t(space.inputs + j);
        const size_t first = (t * edges + size_t(space.edge_index(j, 0))) * ops;
        std::vector<float> row = base;
        std::fill_n(row.begin() + long(first), sources * ops, 0.f);
        for (size_t i = 0; i < sources; ++i)
          for (size_t k = i + 1; k < sources; ++k)
            for (size_t a = skip; a < ops; ++a)
              for (size_t b = skip; b < ops; ++b) {
                row[first + i * ops + a] = row[first + k * ops + b] = 1;
                x.append(row);
                row[first + i * ops + a] = row[first + k * ops + b] = 0;
              }
      }
    const std::vector<double> costs = cost(x);
    size_t at = 0, n = 0;
    for (size_t t = 0; t < space.cell_types.size(); ++t)
      for (int j = 0; j < space.nodes; ++j, ++n) {
        const size_t sources = size_t(space.inputs + j);
        if (d == 0) nodes.push_back({sources, ops, skip, beta, {}});
        NodeChoices& node = nodes[n];
        node.cost.resize(sources * (sources - 1) / 2 * node.choosable() * node.choosable());
        for (double& c : node.cost) c += costs[at++] / draws;
      }
  }
  size_t n = 0;
  for (size_t t = 0; t < space.cell_types.size(); ++t)
    for (int j = 0; j < space.nodes; ++j, ++n) {
      const NodeChoices& node = nodes[n];
      const auto edge = size_t(space.edge_index(j, 0));
      const auto row = values.alpha[t].begin() + long(edge * ops);
      std::vector<double> theta(row, row + long(node.sources * ops));
      if (beta)
        theta.insert(theta.end(), values.beta[t].begin() + long(edge),
                     values.beta[t].begin() + long(edge + node.sources));
      result.value += node.expected(theta) / double(nodes.size());
      for (size_t i = 0; i < theta.size(); ++i) {
        constexpr double kStep = 1e-5;
        std::vector<double> up = theta, down = theta;
        up[i] += kStep;
        down[i] -= kStep;
        const size_t place =
            t * cell_size(space, beta) +
            (i < node.sources * ops ? edge * ops + i : edges * ops + edge + i - node.sources * ops);
        result.gradient[place] = (node.expected(up) - node.expected(down)) / (2 * kStep);
      }
    }
  return result;
}

}  // namespace ladarts::benchmarks
