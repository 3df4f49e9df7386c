#include "nas/search_space.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace ladarts {

int SearchSpace::edges() const {
  return nodes * inputs + nodes * (nodes - 1) / 2;
}

int SearchSpace::edge_index(int node, int source) const {
  LADARTS_CHECK(node >= 0 && node < nodes && source >= 0 && source < inputs + node);
  return node * inputs + node * (node - 1) / 2 + source;
}

Edge SearchSpace::edge(int index) const {
  LADARTS_CHECK(index >= 0 && index < edges());
  int node = 0;
  while (index >= inputs + node) index -= inputs + node++;
  return {node, index};
}

std::vector<int> SearchSpace::edges_per_node() const {
  std::vector<int> counts;
  for (int j = 0; j < nodes; ++j) counts.push_back(inputs + j);
  return counts;
}

int SearchSpace::kept_edges(int node) const {
  return edge_rule == EdgeRule::all ? inputs + node : std::min(2, inputs + node);
}

int SearchSpace::primitive_index(std::string_view primitive) const {
  const auto it = std::find(primitives.begin(), primitives.end(), primitive);
  return it == primitives.end() ? -1 : int(it - primitives.begin());
}

int SearchSpace::cell_type_of(bool reduction) const {
  return reduction ? int(cell_types.size()) - 1 : 0;
}

std::vector<int> SearchSpace::choosable_primitives() const {
  std::vector<int> result;
  for (size_t p = 0; p < primitives.size(); ++p)
    if (edge_rule == EdgeRule::all || primitives[p] != "none") result.push_back(int(p));
  return result;
}

double SearchSpace::cells_of_each_type() const {
  const double operations = double(choosable_primitives().size());
  double count = 1;
  for (int j = 0; j < nodes; ++j) {
    const double states = inputs + j;
    const bool pair_chosen = kept_edges(j) == 2 && states > 2;
    count *= (pair_chosen ? states * (states - 1) / 2 : 1) * std::pow(operations, kept_edges(j));
  }
  return count;
}

double SearchSpace::architectures() const {
  return std::pow(cells_of_each_type(), double(cell_types.size()));
}

}  // namespace ladarts
