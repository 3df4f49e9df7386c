// The expected cost of an architecture drawn from alpha and beta (nas/relaxation.h), and its gradient,
// without any relaxation: what the treatments of soft input are held against.
#pragma once

#include <functional>
#include <vector>

#include "nas/derive.h"
#include "predictor/dataset.h"

namespace ladarts::benchmarks {

using CostFunction = std::function<std::vector<double>(const FeatureMatrix&)>;

struct ExpectedCost {
  double value = 0;
  std::vector<double> gradient;  // alpha and beta of each cell type in turn
};

// A space that keeps every edge, by enumeration; `costs` of all architectures, edge 0's primitive varying
// fastest.
ExpectedCost enumerate_cost(const SearchSpace& space, const ArchitectureValues& values,
                            const std::vector<double>& costs);
FeatureMatrix all_encodings(const SearchSpace& space);

// A space whose nodes keep two edges. Each node's choices are enumerated, those of the other nodes drawn
// `draws` times: exact where costs are sums over nodes, of little variance elsewhere.
ExpectedCost average_cost(const SearchSpace& space, const ArchitectureValues& values,
                          const CostFunction& cost, int draws, uint64_t seed);

}  // namespace ladarts::benchmarks
