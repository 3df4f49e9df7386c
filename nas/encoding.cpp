#include "nas/encoding.h"

#include "core/error.h"

namespace ladarts {

namespace {

// Edges of one cell type as forms of the encoding.
class CellFeatures {
 public:
  CellFeatures(ExpansionBuilder& builder, const SearchSpace& space, int cell_type)
      : builder_(builder), space_(space), first_(cell_type * space.edges() * int(space.primitives.size())) {
    for (size_t p = 0; p < space.primitives.size(); ++p)
      if (find_primitive(space.primitives[p]).kind != PrimitiveKind::none) primitives_.push_back(int(p));
  }

  const std::vector<int>& primitives() const { return primitives_; }
  Form operation(int edge, int primitive) const {
    return builder_.input(first_ + edge * int(space_.primitives.size()) + primitive);
  }

  // Of each edge: whether its source has something and its node's result is used.
  std::vector<Form> used_edges() const {
    const int states = space_.inputs + space_.nodes;
    std::vector<Form> reached(size_t(states), Form(1)), needed(size_t(states), Form(0));
    // A node that keeps the strongest edges keeps no none, so it always has something.
    if (space_.edge_rule == EdgeRule::all)
      for (int j = 0; j < space_.nodes; ++j) {
        Form& node = reached[size_t(space_.inputs + j)] = Form(0);
        for (int source = 0; source < space_.inputs + j; ++source)
          node =
              either(node, builder_.product(present(space_.edge_index(j, source)), reached[size_t(source)]));
      }
    const bool last_only = space_.skeleton.kind == SkeletonKind::residual_stages;
    for (int state = states; state-- > space_.inputs;) {
      Form& used = needed[size_t(state)];
      if (!last_only || state == states - 1) {
        used = Form(1);
        continue;
      }
      for (int j = state - space_.inputs + 1; j < space_.nodes; ++j)
        used = either(
            used, builder_.product(present(space_.edge_index(j, state)), needed[size_t(space_.inputs + j)]));
    }
    std::vector<Form> edges;
    for (int e = 0; e < space_.edges(); ++e) {
      const Edge edge = space_.edge(e);
      edges.push_back(
          builder_.product(reached[size_t(edge.source)], needed[size_t(space_.inputs + edge.node)]));
    }
    return edges;
  }

 private:
  Form present(int edge) const {
    Form sum;
    for (const int p : primitives_) sum = sum + operation(edge, p);
    return sum;
  }
  Form either(const Form& a, const Form& b) const {
    return a.is_constant() && a.constant() == 0 ? b : builder_.either(a, b);
  }

  ExpansionBuilder& builder_;
  const SearchSpace& space_;
  int first_;
  std::vector<int> primitives_;
};

}  // namespace

FeatureExpansion structured_features(const SearchSpace& space) {
  ExpansionBuilder builder(encoding_size(space));
  std::vector<CellFeatures> cells;
  for (int t = 0; t < int(space.cell_types.size()); ++t) cells.emplace_back(builder, space, t);
  using Operations = std::vector<std::vector<std::vector<Form>>>;  // [cell type][primitive][edge]
  auto emit = [&](const Operations& operations) {
    for (const auto& cell : operations)
      for (const auto& edges : cell)
        for (const Form& f : edges) builder.feature(f);
    builder.end_group();
    for (const auto& cell : operations)
      for (const auto& edges : cell) {
        Form count;
        for (const Form& f : edges) count = count + f;
        builder.feature(count);
      }
    builder.end_group();
  };
  Operations written, live;
  for (const CellFeatures& cell : cells) {
    const std::vector<Form> used = cell.used_edges();
    auto &w = written.emplace_back(), &l = live.emplace_back();
    for (const int p : cell.primitives()) {
      w.emplace_back();
      l.emplace_back();
      for (int e = 0; e < space.edges(); ++e) {
        w.back().push_back(cell.operation(e, p));
        l.back().push_back(builder.product(w.back().back(), used[size_t(e)]));
      }
    }
  }
  emit(written);
  const bool may_be_dead =
      space.edge_rule == EdgeRule::all || space.skeleton.kind == SkeletonKind::residual_stages;
  if (may_be_dead) emit(live);
  if (space.skeleton.kind == SkeletonKind::darts) {
    const auto& cell = written[size_t(space.cell_type_of(true))];
    for (const auto& edges : cell) {
      Form count;
      for (int e = 0; e < space.edges(); ++e)
        if (space.edge(e).source < space.inputs) count = count + edges[size_t(e)];
      builder.feature(count);
    }
    builder.end_group();
  }
  return builder.build();
}

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
