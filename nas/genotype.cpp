#include "nas/genotype.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "nas/primitives.h"

namespace ladarts {

namespace {

void validate_node(const std::vector<GenotypeEdge>& edges, const SearchSpace& s, const std::string& type,
                   int node) {
  require(int(edges.size()) == s.kept_edges(node),
          "[genotype] {} cell, node {}: has {} incoming edges, space '{}' wants {}", type, node, edges.size(),
          s.name, s.kept_edges(node));
  for (size_t k = 0; k < edges.size(); ++k) {
    const GenotypeEdge& e = edges[k];
    require(s.primitive_index(e.primitive) >= 0,
            "[genotype] {} cell, node {}: operation '{}' is not one of space '{}' ({})", type, node,
            e.primitive, s.name, fmt::join(s.primitives, ", "));
    require(e.source >= 0 && e.source < s.inputs + node,
            "[genotype] {} cell, node {}: reads state {}, but only states 0 to {} come before it", type, node,
            e.source, s.inputs + node - 1);
    for (size_t other = 0; other < k; ++other)
      require(edges[other].source != e.source, "[genotype] {} cell, node {}: reads state {} twice", type,
              node, e.source);
  }
}

}  // namespace

void validate(const Genotype& g, const SearchSpace& s) {
  require(g.space == s.name, "[genotype] is of space '{}', not of space '{}'", g.space, s.name);
  require(g.inputs == s.inputs && g.cells.size() == s.cell_types.size(),
          "[genotype] has {} cells of {} inputs, space '{}' wants {} of {}", g.cells.size(), g.inputs, s.name,
          s.cell_types.size(), s.inputs);
  for (size_t t = 0; t < g.cells.size(); ++t) {
    const CellGenotype& cell = g.cells[t];
    require(cell.type == s.cell_types[t], "[genotype] cell {} is of type '{}', space '{}' wants '{}'", t,
            cell.type, s.name, s.cell_types[t]);
    require(int(cell.nodes.size()) == s.nodes, "[genotype] {} cell has {} nodes, space '{}' wants {}",
            cell.type, cell.nodes.size(), s.name, s.nodes);
    for (int j = 0; j < s.nodes; ++j) validate_node(cell.nodes[size_t(j)], s, cell.type, j);
  }
}

Genotype Genotype::canonical() const {
  Genotype g = *this;
  for (CellGenotype& cell : g.cells)
    for (std::vector<GenotypeEdge>& edges : cell.nodes)
      std::sort(edges.begin(), edges.end(),
                [](const GenotypeEdge& a, const GenotypeEdge& b) { return a.source < b.source; });
  return g;
}

std::string Genotype::key() const {
  std::string text = space;
  const Genotype sorted = canonical();
  for (const CellGenotype& cell : sorted.cells) {
    text += ";" + cell.type + "=";
    for (const std::vector<GenotypeEdge>& edges : cell.nodes) {
      for (const GenotypeEdge& e : edges) text += fmt::format("|{}~{}", e.primitive, e.source);
      text += "|+";
    }
    text.pop_back();
  }
  return text;
}

bool reaches_output(const Genotype& genotype, const SearchSpace& space) {
  const bool all_are_outputs = space.skeleton.kind == SkeletonKind::darts;
  for (const CellGenotype& cell : genotype.cells) {
    std::vector<bool> reached(size_t(genotype.inputs), true);
    bool output = false;
    for (const auto& node : cell.nodes) {
      bool any = false;
      for (const GenotypeEdge& e : node)
        any = any || (reached[size_t(e.source)] && find_primitive(e.primitive).kind != PrimitiveKind::none);
      reached.push_back(any);
      output = any || (output && all_are_outputs);
    }
    if (!output) return false;
  }
  return true;
}

}  // namespace ladarts
