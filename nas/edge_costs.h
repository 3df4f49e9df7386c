// What the edges of a searched cell cost: what the latency term of the search says of each primitive on each
// edge, and what that primitive takes when it is measured alone.
#pragma once

#include <functional>
#include <vector>

#include "nas/architecture_measuring.h"
#include "nas/derive.h"
#include "predictor/regressor.h"

namespace ladarts {

// The gradients of LAT(alpha), in the predictor's unit, as the architecture step takes them
// (nas/relaxation.h).
struct LatencyGradients {
  double latency = 0;                          // LAT of the relaxed encoding
  std::vector<std::vector<float>> d_alpha;     // [cell type] -> (edges, primitives)
  std::vector<std::vector<float>> d_features;  // likewise, with respect to the relaxed encoding x itself
};
LatencyGradients latency_gradients(const SearchSpace& space, const ArchitectureValues& values,
                                   const Regressor& predictor, Device device = {});

// An edge of one cell of the network, as the ops on it see it.
struct EdgePlace {
  int cell_type = 0, edge = 0;
  int64_t channels = 0, side = 0;  // of the state that it reads
  int stride = 1;
  bool operator==(const EdgePlace&) const = default;
};
// Of all cells, in order: the network's shape decides, not the genotype.
std::vector<EdgePlace> edge_places(const SearchSpace& space, const NetworkShape& shape);

// Microseconds of each primitive on each edge, [cell type] -> (edges, primitives): the primitive alone, in
// inference with folded normalisation, summed over the cells of that type. 0 for `none` and for an identity.
// Each different op is measured once; `progress` may throw.
std::vector<std::vector<double>> measure_edge_costs(
    const LatencySetup& setup, const std::function<void(int done, int total)>& progress = {});

}  // namespace ladarts
