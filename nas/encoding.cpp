#include "nas/encoding.h"

#include "core/error.h"

namespace ladarts {

int encoding_size(const SearchSpace& space) {
  return int(space.cell_types.size()) * space.edges() * int(space.primitives.size());
}

std::vector<float> encode(const Genotype& genotype, const SearchSpace& space) {
  validate(genotype, space);
  const size_t edges = size_t(space.edges()), primitives = space.primitives.size();
  std::vector<float> features(size_t(encoding_size(space)), 0.f);
  for (size_t t = 0; t < genotype.cells.size(); ++t)
    for (size_t j = 0; j < genotype.cells[t].nodes.size(); ++j)
      for (const GenotypeEdge& e : genotype.cells[t].nodes[j]) {
        const size_t edge = size_t(space.edge_index(int(j), e.source));
        features[(t * edges + edge) * primitives + size_t(space.primitive_index(e.primitive))] = 1.f;
      }
  return features;
}

std::vector<std::string> encoding_names(const SearchSpace& space) {
  std::vector<std::string> names;
  for (const std::string& type : space.cell_types)
    for (int e = 0; e < space.edges(); ++e)
      for (const std::string& primitive : space.primitives) {
        const Edge edge = space.edge(e);
        names.push_back(fmt::format("{}.{}<-{}.{}", type, space.inputs + edge.node, edge.source, primitive));
      }
  return names;
}

}  // namespace ladarts
