// The supernet: every edge computes all candidate operations, mixed by the softmax of alpha. This file is the
// whole network (stems, preprocessing, head) with the plain body of a cell; the fused body has the same
// signature, names and results (nas/supernet_cell.h).
//
// Every normalisation inside uses the statistics of the batch, in evaluation too: running statistics of a
// network whose mixture changes at each step describe no network.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/parameters.h"
#include "nas/network_shape.h"
#include "nas/search_space.h"

namespace ladarts {

struct SupernetConfig {
  SearchSpace space;
  NetworkShape shape{};
  int partial_k = 1;                // PC-DARTS: 1/K of the channels go through the operations
  bool edge_normalisation = false;  // PC-DARTS: beta
  bool fused = false;               // the cells' bodies as fused ops
};

// alpha and beta, a flat set of their own: "alpha_normal" (edges, primitives), "beta_normal" (edges), and so
// on for each cell type. They start as 1e-3 * N(0,1).
class ArchitectureParameters {
 public:
  ArchitectureParameters(SearchSpace space, bool edge_normalisation, uint64_t seed, Device device = {});

  ParameterSet& set() { return set_; }
  const SearchSpace& space() const { return space_; }
  bool edge_normalisation() const { return edge_normalisation_; }

  // Host copies and their replacement; cell_type indexes space().cell_types.
  std::vector<float> alpha(int cell_type) const;  // (edges, primitives)
  std::vector<float> beta(int cell_type) const;   // (edges), or empty
  void set_alpha(int cell_type, const std::vector<float>& values);
  void set_beta(int cell_type, const std::vector<float>& values);

  Tensor record_alpha(Graph& graph, int cell_type);  // leaf (edges, primitives)
  Tensor record_beta(Graph& graph, int cell_type);   // leaf (edges); empty without edge normalisation

 private:
  const Storage& storage(const char* kind, int cell_type) const;
  SearchSpace space_;
  bool edge_normalisation_;
  ParameterSet set_;
};

// The mixture weights that the network and the latency term both read. One entry for each cell type.
struct ArchitectureWeights {
  std::vector<Tensor> operations;  // softmax of alpha's rows: (edges, primitives)
  std::vector<Tensor> edges;       // softmax of beta over each node's edges: (edges); empty without beta
};
ArchitectureWeights record_architecture_weights(Graph& graph, ArchitectureParameters& architecture);

// images (N, 3, H, W) -> logits (N, classes). Parameters are declared in `params`. Call params.values()
// (which initialises them) before running. Throws Error where the image is too small or partial_k does not
// divide the channels.
Tensor record_supernet(Graph& graph, const SupernetConfig& config, ParameterSet& params,
                       const ArchitectureWeights& weights, Tensor images);

}  // namespace ladarts
