#include "nas/supernet.h"

#include "core/error.h"
#include "nas/skeleton.h"
#include "nas/supernet_cell.h"
#include "ops/softmax.h"

namespace ladarts {

ArchitectureParameters::ArchitectureParameters(SearchSpace space, bool edge_normalisation, uint64_t seed,
                                               Device device)
    : space_(std::move(space)), edge_normalisation_(edge_normalisation), set_(seed, device) {
  Graph declarations(device);
  for (int t = 0; t < int(space_.cell_types.size()); ++t) record_alpha(declarations, t);
  for (int t = 0; t < int(space_.cell_types.size()); ++t) record_beta(declarations, t);
  set_.values();
}

Tensor ArchitectureParameters::record_alpha(Graph& graph, int cell_type) {
  return set_.get(graph, "alpha_" + space_.cell_types.at(size_t(cell_type)),
                  {space_.edges(), int64_t(space_.primitives.size())}, Init::normal(1e-3f));
}

Tensor ArchitectureParameters::record_beta(Graph& graph, int cell_type) {
  if (!edge_normalisation_) return {};
  return set_.get(graph, "beta_" + space_.cell_types.at(size_t(cell_type)), {space_.edges()},
                  Init::normal(1e-3f));
}

const Storage& ArchitectureParameters::storage(const char* kind, int cell_type) const {
  const ParameterSet::Entry* entry = set_.find(kind + space_.cell_types.at(size_t(cell_type)));
  LADARTS_CHECK(entry != nullptr);
  return entry->value;
}

std::vector<float> ArchitectureParameters::alpha(int cell_type) const {
  return storage("alpha_", cell_type).to_vector();
}

std::vector<float> ArchitectureParameters::beta(int cell_type) const {
  return edge_normalisation_ ? storage("beta_", cell_type).to_vector() : std::vector<float>();
}

void ArchitectureParameters::set_alpha(int cell_type, const std::vector<float>& values) {
  storage("alpha_", cell_type).upload(std::span<const float>(values));
}

void ArchitectureParameters::set_beta(int cell_type, const std::vector<float>& values) {
  storage("beta_", cell_type).upload(std::span<const float>(values));
}

ArchitectureWeights record_architecture_weights(Graph& graph, ArchitectureParameters& architecture) {
  const Graph::Scope scope(graph, "architecture");
  const SearchSpace& space = architecture.space();
  ArchitectureWeights weights;
  for (int t = 0; t < int(space.cell_types.size()); ++t) {
    weights.operations.push_back(softmax(architecture.record_alpha(graph, t)));
    Tensor beta = architecture.record_beta(graph, t);
    weights.edges.push_back(beta ? segment_softmax(beta, space.edges_per_node()) : Tensor());
  }
  return weights;
}

Tensor record_supernet(Graph& graph, const SupernetConfig& config, ParameterSet& params,
                       const ArchitectureWeights& weights, Tensor images) {
  const NetworkShape shape = resolve(config.shape, config.space);
  const SearchSpace& space = config.space;
  require(config.partial_k >= 1 && shape.channels % config.partial_k == 0,
          "[supernet] partial channels: K = {} must divide the {} channels", config.partial_k,
          shape.channels);
  LADARTS_CHECK(weights.operations.size() == space.cell_types.size());
  SkeletonLayers layers{.outer = Layers(graph, params, {}),
                        .inner = Layers(graph, params, {.affine = false}),
                        .imagenet_stem_factor = 3};
  const auto body = [&](const CellInputs& inputs) {
    const size_t type = size_t(space.cell_type_of(inputs.reduction));
    const SupernetCell cell{config,
                            inputs.name,
                            inputs.reduction,
                            inputs.channels,
                            inputs.states,
                            weights.operations[type],
                            weights.edges[type]};
    return config.fused ? record_fused_cell(graph, cell, params) : record_cell(graph, cell, params);
  };
  return record_skeleton(layers, space, shape, images, body).logits;
}

}  // namespace ladarts
